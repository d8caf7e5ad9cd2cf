// SPDX-License-Identifier: MPL-2.0

//! The transcript's state: over all generations of a session.

use super::{
    Length, Output, Position, ServerSegment, Timing, TranscriptConfig, Usage, Word,
    clock::{Clock, Memory, detect::Detector},
    emit::Emitter,
    generation::{Generation, SampleInGeneration},
    repeats::Repeats,
    retention::PAUSE,
    sound::Sound,
    tags::Item,
};

/// Speech in no more than this before a cut is not the last word: it is the beginning of the next.
const NOT_HEARD: Length = Length::of_ms(250);

/// Words whose times are more too early than this are not looked for behind a cut.
const EARLY: Length = Length::of_s(5);

/// What follows a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another utterance.
    Utterance,
    /// It may be that the audio goes on: the end of this one is heard again then.
    Again,
    /// The utterance goes on, behind a pause.
    Pause,
    /// The utterance goes on: the end of this one is heard again.
    Speech,
}

/// Text to words with times, over all generations of a session.
///
/// Each stage owns what it works on: a generation's text, its words that are placed, what is out,
/// what is heard again. What a kind of server has shown of itself the clocks remember.
#[derive(Debug)]
pub struct Transcript {
    pub(super) sound: Sound,
    pub(super) detector: Detector,
    pub(super) memory: Memory,
    generation: Option<Generation>,
    pub(super) repeats: Repeats,
    pub(super) emitter: Emitter,
    pub(super) heard: SampleInGeneration,
    resume: Position,
}

impl Transcript {
    pub fn new(config: TranscriptConfig) -> Self {
        Transcript {
            sound: Sound::default(),
            detector: Detector::new(config.timing),
            memory: Memory::default(),
            generation: None,
            repeats: Repeats::default(),
            emitter: Emitter::new(config.language),
            heard: SampleInGeneration::START,
            resume: Position::START,
        }
    }

    /// Whether an utterance is under way.
    pub fn is_in_utterance(&self) -> bool {
        self.emitter.is_open()
    }

    /// What comes next is another server's, as far as its clock goes.
    pub fn forget_server(&mut self) {
        self.detector = self.detector.anew();
        self.memory = self.memory.anew();
    }

    /// BCP 47 or ISO 639 code of the language that is expected from here on.
    pub fn expect_language(&mut self, language: Option<String>) {
        self.emitter.expect_language(language);
    }

    /// The clock by which the words of this generation are placed: that of the one before counts only
    /// once this one has shown it.
    pub(super) fn clock(&self) -> &'static dyn Clock {
        self.detector.timing().clock()
    }

    /// Whether the audio is sent as it is spoken.
    pub fn set_live(&mut self, live: bool) {
        self.detector.set_live(live);
    }

    /// The sound, as it comes in, before it is sent. `position` never goes back; a step forward
    /// leaves out audio that nobody will ask for (silence that is not sent).
    pub fn audio(&mut self, position: Position, samples: &[i16]) {
        self.audio_judged(position, samples, &mut |_, _| ());
    }

    /// As [`Transcript::audio`]; `judged` as [`crate::speech::Features::push_judged`] has it.
    pub fn audio_judged(
        &mut self,
        position: Position,
        samples: &[i16],
        judged: &mut impl FnMut(Position, f32),
    ) {
        let mut judged = |end, score| judged(Position::new(end), score);
        self.sound.0.push_judged(position.samples(), samples, &mut judged);
    }

    /// A generation begins: its first sample is the one at position `start`.
    ///
    /// Where `start` lies before the end of what has words (audio that is sent again after a
    /// failure), the words that come twice are dropped, found by time and by text.
    pub fn begin(&mut self, start: Position) {
        if self.generation.is_some() {
            self.abort();
        }
        self.detector.begin();
        let waited = self.sound.end() - start;
        let again = start < self.repeats.out_to();
        self.generation = Some(Generation::new(start, waited, again, self.emitter.listed().len()));
        self.emitter.begin(start);
        self.emitter.raise_horizon(start);
        self.heard = SampleInGeneration::START;
        self.resume = start;
    }

    /// The generation's audio ends at position `end` (the final commit was sent); so much
    /// silence was added behind it.
    pub fn audio_end(&mut self, end: Position, padding: Length) {
        if let Some(g) = &mut self.generation {
            g.end_audio(end, padding);
        }
    }

    /// A `transcription.delta`, the empty ones included. `sent`: up to here this generation was sent.
    /// `segments` and `logprob` where the server offers them.
    pub fn delta(
        &mut self,
        text: &str,
        sent: SampleInGeneration,
        segments: &[ServerSegment],
        logprob: Option<f64>,
    ) {
        let Some(mut g) = self.generation.take() else { return };
        g.note_sent(sent);
        g.told.add(segments);
        let waiting = g.placed.bytes();
        let admitted = g.text.admit(text, g.sent(), waiting);
        let mut items = g.text.items(admitted, self.clock().has_tags());
        let may_be_tag = g.text.may_be_tag(&items);
        let fallback = self.detector.delta(text, g.sent(), g.is_ended(), may_be_tag);
        let frame = self.detector.frame();
        self.emitter.fell_back(fallback);
        let begun = g.text.has_begun() || items.iter().any(|i| matches!(i, Item::Text(_)));
        if !self.clock().has_tags() && (begun || text.is_empty()) {
            items.push_back(Item::Text(g.text.no_tag()));
        }
        for item in items {
            match item {
                Item::Text(text) => {
                    if g.text.goes_on_with(&text) {
                        self.memory.word_went_on();
                    }
                    g.text.push(&text, frame, g.sent(), logprob);
                }
                Item::Tag(name) => self.tag(&mut g, &name),
            }
        }
        g.text.note_empty(text.is_empty());
        if text.is_empty() {
            self.clock().empty(self, &mut g);
        }
        self.go_on(g);
    }

    /// Whether a burst of text may be over without another delta that tells so.
    pub fn burst_may_be_over(&self) -> bool {
        let text_last = self.generation.as_ref().filter(|g| g.text.quiet() == 0);
        text_last.is_some_and(|g| self.clock().burst_may_be_over(g))
    }

    /// Nothing has come for a while: the burst of text is over.
    pub fn burst_over(&mut self) {
        let Some(mut g) = self.generation.take() else { return };
        self.clock().burst_over(self, &mut g);
        self.go_on(g);
    }

    /// What has its time comes out; the rest is a partial.
    fn go_on(&mut self, mut g: Generation) {
        self.settle(&mut g);
        self.advance(&mut g);
        if let Some(text) = g.partial() {
            self.emitter.partial(text);
        }
        self.generation = Some(g);
    }

    /// `transcription.done`: all that is left comes out, then the utterance.
    pub fn done(&mut self, text: &str, usage: Option<Usage>, segments: &[ServerSegment]) {
        self.over(text, usage, segments, Next::Utterance);
    }

    /// As [`Transcript::done`], but the audio may go on where it ended. Where that is in the middle
    /// of speech, a little of it is sent again then ([`Transcript::resume_at`]), and no word comes
    /// out twice.
    pub fn done_for_now(&mut self, text: &str, usage: Option<Usage>, segments: &[ServerSegment]) {
        self.over(text, usage, segments, Next::Again);
    }

    /// As [`Transcript::done`], but the utterance goes on behind a pause.
    pub fn done_in_pause(&mut self, text: &str, usage: Option<Usage>, segments: &[ServerSegment]) {
        self.over(text, usage, segments, Next::Pause);
    }

    /// As [`Transcript::done`], but the audio was cut in the middle of speech and the utterance
    /// goes on: the last word, which the cut may have hit, is left to the next generation. It
    /// begins at [`Transcript::resume_at`], and no word comes out twice.
    pub fn done_in_speech(&mut self, text: &str, usage: Option<Usage>, segments: &[ServerSegment]) {
        self.over(text, usage, segments, Next::Speech);
    }

    fn over(&mut self, text: &str, usage: Option<Usage>, segments: &[ServerSegment], next: Next) {
        let Some(mut g) = self.generation.take() else { return };
        // What is sent again begins no sooner.
        let kept = self.resume_in(&g);
        g.set_over();
        g.told.add(segments);
        let held_back = g.text.no_tag();
        g.text.push(&held_back, self.detector.frame(), g.sent(), None);
        g.text.complete();
        let audio = g.is_ended().then(|| g.sent());
        let fallback = self.detector.done(audio, usage);
        self.emitter.fell_back(fallback);
        let theirs = g.text.reconcile(text, g.sent());
        let left = self.finish(&mut g, (next == Next::Speech).then_some(kept));
        if let Some(theirs) =
            theirs.or_else(|| g.placed.has_lost().then(|| g.text.words().to_vec()))
        {
            // Words that found no room in the audio are told so, at least. What was heard again is
            // out, and what is left comes with the next generation.
            let count = theirs.len().saturating_sub(usize::from(left.is_some()));
            let new = theirs.get(g.again()..count).unwrap_or_default();
            self.emitter.correct_behind(g.before(), new);
        }
        self.emitter.add_usage(usage);
        self.emitter.begin(g.start());
        let limit = g.limit();
        if matches!(next, Next::Utterance | Next::Again) {
            self.emitter.utterance(limit);
        }
        if g.is_ended() {
            self.heard = g.sent();
            if left.is_none() {
                self.emitter.raise_horizon(limit);
            }
            self.resume = limit;
            self.repeats.heard_to(limit);
            match next {
                Next::Again => {
                    self.resume = self.begun_by(limit).max(g.start());
                    if self.speech_up_to(limit) {
                        self.resume = self.before(limit, g.start());
                        let known_by = self.known_by(limit);
                        if known_by < self.resume {
                            self.resume = self.before(known_by, g.start());
                        }
                    }
                    self.repeats.note_lost(&self.detector, &g);
                }
                Next::Speech => {
                    self.resume = self.heard_again_from(&g, left.as_ref());
                    let quiet = limit - PAUSE;
                    if self.resume < quiet && !self.sound.speech_within(self.resume, quiet) {
                        // A pause after all: no word is heard twice.
                        self.resume = quiet;
                        self.repeats.not_again(limit);
                    }
                    self.repeats.hold(left, limit);
                    self.repeats.note_lost(&self.detector, &g);
                }
                Next::Pause | Next::Utterance => self.repeats.not_again(limit),
            }
        } else {
            self.resume = self.resume_in(&g);
            self.repeats.note_lost(&self.detector, &g);
        }
        self.forget();
    }

    /// The utterance that went on behind a pause is over: nothing more was said in it.
    pub fn end_utterance(&mut self) {
        if self.generation.is_none() && self.emitter.is_open() {
            self.emitter.utterance(self.emitter.horizon());
        }
    }

    /// The generation is lost. What was given out stays; the rest is forgotten, and the audio
    /// from [`Transcript::resume_at`] on will be sent again in a new one. No utterance comes out
    /// here: it goes on with the next `begin`.
    pub fn abort(&mut self) {
        if let Some(g) = self.generation.take() {
            self.resume = self.resume_in(&g);
            self.repeats.note_lost(&self.detector, &g);
            self.detector.forget();
        }
    }

    /// FLUSH: forget the utterance under way and all outputs not yet taken.
    pub fn flush(&mut self) {
        if let Some(g) = self.generation.take() {
            self.emitter.raise_horizon(g.start());
            self.resume = g.limit();
        }
        self.emitter.flush();
        self.repeats.flush();
    }

    /// Position before which no audio is needed any more, were the generation lost now: a little
    /// before the end of the last word given out, at a pause where there is one; never before the
    /// beginning of the utterance's generation; the end of the audio after `done`.
    ///
    /// Speech that got no words is kept too, for 20 s, should the server have missed it.
    pub fn resume_at(&self) -> Position {
        self.generation.as_ref().map_or(self.resume, |g| self.resume_in(g))
    }

    /// Whether the audio from [`Transcript::resume_at`] on, after a failure, may be cut where it
    /// was not cut before although some of its words are out. By segments their times are so
    /// coarse that they are known again by their text, wherever the cut is; by frames the words
    /// on both sides of a cut look like those that were out.
    pub fn may_be_cut_anew(&self) -> bool {
        self.repeats.clock().may_be_cut_anew()
    }

    /// Position before which all words that are out were heard, and nothing else may be new.
    pub fn out_to(&self) -> Position {
        self.emitter.horizon().max(self.repeats.out_to())
    }

    /// No word that is still to come begins before this position.
    pub fn horizon(&self) -> Position {
        self.emitter.horizon()
    }

    /// Up to here the server has certainly worked through this generation (by frames, by segments;
    /// nothing of it where only `done` tells).
    pub fn heard(&self) -> SampleInGeneration {
        self.heard
    }

    /// Up to here the server has worked through this generation, as far as that can be guessed: where
    /// it does not tell, what was sent when its last text came.
    pub fn worked(&self) -> SampleInGeneration {
        match &self.generation {
            Some(g) if !self.clock().tells_heard() => g.text.said_at(),
            _ => self.heard,
        }
    }

    /// The sound of the audio that is not safe yet.
    pub fn sound(&self) -> &Sound {
        &self.sound
    }

    /// The kind of server, as it is known from this generation or the one before;
    /// [`Timing::Auto`] while it is not.
    pub fn timing(&self) -> Timing {
        self.detector.known()
    }

    /// Why the server's text is more than speech can be, once it is: a failure of the protocol.
    /// What comes beyond the limit is ignored until the next `begin`.
    ///
    /// Limits for a generation: 16 KiB and 1 KiB for each second of audio in all; 64 KiB of words
    /// that wait for their times.
    pub fn overrun(&self) -> Option<&str> {
        self.generation.as_ref().and_then(|g| g.text.overrun())
    }

    /// How many segments over silence said what was said before, and were left out.
    pub fn repetitions(&self) -> u64 {
        self.memory.repetitions()
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.emitter.poll()
    }

    /// A segment begins.
    fn tag(&mut self, g: &mut Generation, name: &str) {
        let first_text = !g.text.has_begun();
        let fallback = self.detector.tag(g.sent(), g.is_ended(), first_text);
        g.text.next_segment();
        self.emitter.fell_back(fallback);
        self.language(name);
    }

    /// The server says which language is spoken: by its English name, or its code.
    pub fn language(&mut self, name: &str) {
        self.emitter.tell_language(name);
    }

    /// Gives out the words whose time can be told by now.
    pub(super) fn settle(&mut self, g: &mut Generation) {
        self.clock().settle(self, g);
        self.give(g, false);
    }

    /// The generation is over: all that is left gets its times; but, where it was cut, for a last word
    /// that the cut may have hit. `cut`: the audio is kept from there on.
    fn finish(&mut self, g: &mut Generation, cut: Option<Position>) -> Option<Word> {
        self.clock().finish(self, g);
        g.placed.release();
        let words = g.text.take_all();
        let span = (self.floor(g), g.limit());
        self.place_span(g, words, span, true);
        let middle = g.start().midpoint(g.limit());
        // It must be possible to hear it again whole, and that is done.
        let again = |w: &Word, kept: Position| {
            w.begin > middle.max(kept + Length::of_s(1))
                && w.begin >= self.heard_again_from(g, Some(w))
        };
        // Where nobody spoke before the cut it lies before that, whatever its time.
        let spoken = |w: &Word| {
            self.sound.speech_within(self.heard_again_from(g, Some(w)), g.limit() - NOT_HEARD)
        };
        let last = cut.zip(g.placed.last());
        let hit = last.is_some_and(|(kept, w)| again(w, kept) && spoken(w));
        let hit = if hit { g.placed.leave() } else { None };
        self.give(g, true);
        hit
    }

    /// Where the words begin by which audio before `limit` is known again, the last two that are out:
    /// their times may be seconds too early.
    fn known_by(&self, limit: Position) -> Position {
        let first = self.emitter.last_words().rev().take(2).last();
        first.map_or(limit, |w| w.begin).clamp(limit - EARLY, limit)
    }

    /// From where a generation that was cut in speech is heard again, its last word `left` to the
    /// next one.
    fn heard_again_from(&self, g: &Generation, left: Option<&Word>) -> Position {
        // Its time is no more than likely: no word of ours is longer than that.
        let from = left.map_or(g.limit(), |w| w.begin);
        self.before(from.max(g.limit() - Length::of_s(1)), g.start())
    }
}
