// SPDX-License-Identifier: MPL-2.0

//! The transcript's state: over all generations of a session.

use std::collections::VecDeque;

use super::{
    Output, ServerSegment, Timing, TranscriptConfig, Usage, Utterance, Word,
    clock::{
        Clock,
        detect::{Detector, Fallback},
    },
    generation::{Generation, Said},
    script::{Class, class, clean},
    tags::{Item, language_code},
    words,
};
use crate::{SAMPLE_RATE, speech::Features};

/// So little before a cut is no word yet; it may be the beginning of one.
const NOT_HEARD: u64 = SAMPLE_RATE / 4;

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
#[derive(Debug)]
pub struct Transcript {
    pub(super) config: TranscriptConfig,
    pub(super) out: VecDeque<Output>,
    pub(super) sound: Features,
    pub(super) forgotten: u64,
    pub(super) detector: Detector,
    pub(super) generation: Option<Generation>,
    /// The utterance under way: what was given out, and where its first generation began.
    pub(super) listed: Vec<Word>,
    /// So many of these words the server has in other words.
    pub(super) corrected: Option<(usize, String)>,
    /// The last word of a generation that was cut in speech, which is left to the next one, and
    /// where the cut was.
    pub(super) held: Option<(Word, u64)>,
    /// The bills of its generations.
    usage: Option<Usage>,
    pub(super) utterance_start: Option<u64>,
    pub(super) language: Option<String>,
    /// The last words given out.
    pub(super) last: VecDeque<Word>,
    pub(super) last_end: u64,
    pub(super) horizon: u64,
    pub(super) resume: u64,
    /// Words that are out are heard again only in audio before this position.
    pub(super) out_to: u64,
    /// The clock of what was lost, as far as it is known.
    lost: Timing,
    pub(super) heard: u64,
    pub(super) overrun: Option<String>,
    /// Whether a segment's words may be given out before the next one begins; a server that went
    /// on after it seemed over loses this.
    pub(super) early: bool,
    /// Segments over silence that said what was said before.
    pub(super) repetitions: u64,
    /// Empty frames after a word that make it whole: 1, or 2 once a word went on after one.
    pub(super) patience: u64,
}

impl Transcript {
    pub fn new(config: TranscriptConfig) -> Self {
        let detector = Detector::new(config.timing);
        Transcript {
            config,
            out: VecDeque::new(),
            sound: Features::default(),
            forgotten: 0,
            detector,
            generation: None,
            listed: Vec::new(),
            corrected: None,
            held: None,
            usage: None,
            utterance_start: None,
            language: None,
            last: VecDeque::new(),
            last_end: 0,
            horizon: 0,
            resume: 0,
            out_to: 0,
            lost: Timing::Auto,
            heard: 0,
            overrun: None,
            early: true,
            repetitions: 0,
            patience: 1,
        }
    }

    /// What is known of the server's kind.
    pub(super) fn clock(&self) -> &'static dyn Clock {
        self.detector.timing().clock()
    }

    /// Whether the audio is sent as it is spoken.
    pub fn set_live(&mut self, live: bool) {
        self.detector.set_live(live);
    }

    /// The sound, as it comes in, before it is sent. `position` never goes back; a step forward
    /// leaves out audio that nobody will ask for (silence that is not sent).
    pub fn audio(&mut self, position: u64, samples: &[i16]) {
        if position >= self.sound.end() {
            self.sound.push(position, samples);
        }
    }

    /// A generation begins: its first sample is the one at position `start`.
    ///
    /// Where `start` lies before the end of what has words (audio that is sent again after a
    /// failure), the words that come twice are dropped, found by time and by text.
    pub fn begin(&mut self, start: u64) {
        if self.generation.is_some() {
            self.abort();
        }
        self.detector.begin();
        let mut g = Generation::new(start, start < self.out_to, self.listed.len());
        g.waited = self.sound.end().saturating_sub(start);
        self.generation = Some(g);
        self.utterance_start.get_or_insert(start);
        self.overrun = None;
        self.heard = 0;
        self.horizon = self.horizon.max(start);
        self.resume = start;
    }

    /// The generation's audio ends at position `end` (the final commit was sent); `padding`
    /// samples of silence were added behind it.
    pub fn audio_end(&mut self, end: u64, padding: u64) {
        if let Some(g) = &mut self.generation {
            let end = end.max(g.start);
            g.end = Some(end);
            g.padding = padding;
            g.sent = end.saturating_sub(g.start).saturating_add(padding);
        }
    }

    /// A `transcription.delta`, the empty ones included. `sent`: samples of this generation sent
    /// so far, padding included. `segments` and `logprob` where the server offers them.
    pub fn delta(
        &mut self,
        text: &str,
        sent: u64,
        segments: &[ServerSegment],
        logprob: Option<f64>,
    ) {
        let Some(mut g) = self.generation.take() else { return };
        if g.end.is_none() {
            g.sent = g.sent.max(sent);
        }
        g.told.add(segments);
        let admitted = g.admit(text);
        let text_or_none = if admitted { text } else { "" };
        if g.overrun.is_some() {
            self.overrun.clone_from(&g.overrun);
        }
        // A tag is looked for where one may come: at the beginning, and where there are tags.
        let tagging = !g.any_text || self.clock().has_tags();
        let mut items = if tagging {
            g.tags.push(text_or_none)
        } else {
            VecDeque::from([Item::Text(text_or_none.to_owned())])
        };
        let undecided = !g.any_text
            && !g.tags.held().is_empty()
            && !items.iter().any(|i| matches!(i, Item::Text(_)));
        let tag_first = matches!(items.front(), Some(Item::Tag(_)));
        let fallback = self.detector.delta(text, g.sent, g.end.is_some(), undecided || tag_first);
        let frame = self.detector.frame();
        self.fell_back(fallback);
        let begun = g.any_text || items.iter().any(|i| matches!(i, Item::Text(_)));
        if !self.clock().has_tags() && (begun || text.is_empty()) {
            items.push_back(Item::Text(g.tags.flush()));
        }
        for item in items {
            match item {
                Item::Text(text) => {
                    g.any_text |= !text.trim().is_empty();
                    if g.quiet == 1 && g.flushed && goes_on(&text) {
                        // The word was not whole: wait longer from now on.
                        self.patience = 2;
                    }
                    g.flushed &= text.is_empty();
                    g.text(&text, frame, logprob);
                }
                Item::Tag(name) => self.tag(&mut g, &name),
            }
        }
        g.note_empty(text.is_empty());
        if text.is_empty() {
            g.quiet = g.quiet.saturating_add(1);
            self.clock().empty(self, &mut g);
        } else {
            g.quiet = 0;
        }
        self.settle(&mut g);
        self.advance(&mut g);
        self.partial(&mut g);
        self.generation = Some(g);
    }

    /// Whether a burst of text may be over without another delta that tells so.
    pub fn burst_may_be_over(&self) -> bool {
        let text_last = self.generation.as_ref().filter(|g| g.quiet == 0);
        text_last.is_some_and(|g| self.clock().burst_may_be_over(g))
    }

    /// Nothing has come for a while: the burst of text is over.
    pub fn burst_over(&mut self) {
        let Some(mut g) = self.generation.take() else { return };
        self.clock().burst_over(self, &mut g);
        self.settle(&mut g);
        self.advance(&mut g);
        self.partial(&mut g);
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
        g.over = true;
        g.told.add(segments);
        let held = g.tags.flush();
        if !held.is_empty() {
            g.text(&held, self.detector.frame(), None);
        }
        g.flush();
        let audio = g.end.map(|_| g.sent);
        let fallback = self.detector.done(audio, usage);
        self.fell_back(fallback);
        let correction = self.reconcile(&mut g, text);
        let left = self.finish(&mut g, (next == Next::Speech).then_some(kept));
        // Words that found no room in the audio are told, at least.
        let before = self.text_so_far(g.before);
        let all = || {
            let cuts = g.cuts.iter().map(|(w, space)| (w.as_str(), *space));
            words::join(std::iter::once((before.as_str(), false)).chain(cuts))
        };
        if let Some(correction) = correction.or_else(|| g.lost.then(all)) {
            self.corrected = Some((self.listed.len(), correction));
        }
        self.usage = match (self.usage, usage) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };

        let asked_for = g.end.is_some();
        self.utterance_start.get_or_insert(g.start);
        if matches!(next, Next::Utterance | Next::Again) {
            self.give_utterance(g.limit());
        }
        if asked_for {
            self.heard = g.sent;
            if left.is_none() {
                self.horizon = self.horizon.max(g.limit());
            }
            self.resume = g.limit();
            self.held.take_if(|(_, cut)| g.limit() >= *cut);
            match next {
                Next::Again => {
                    if self.speech_up_to(g.limit()) {
                        self.resume = self.before(g.limit(), g.start);
                    }
                    self.rehear(&g);
                }
                Next::Speech => {
                    self.resume = self.heard_again_from(&g, left.as_ref());
                    self.held = left.map(|word| (word, g.limit())).or(self.held.take());
                    self.rehear(&g);
                }
                // Nothing of what has words is sent again; what follows may begin a little sooner.
                Next::Pause | Next::Utterance if self.out_to <= g.limit() => self.out_to = 0,
                Next::Pause | Next::Utterance => {}
            }
        } else {
            self.resume = self.resume_in(&g);
            self.rehear(&g);
        }
        self.forget();
    }

    /// The utterance that went on behind a pause is over: nothing more was said in it.
    pub fn end_utterance(&mut self) {
        if self.generation.is_none() && self.utterance_start.is_some() {
            self.give_utterance(self.horizon);
        }
    }

    /// The utterance comes out; `limit`: where its audio ends.
    fn give_utterance(&mut self, limit: u64) {
        let start = self.utterance_start.take().unwrap_or(limit);
        let corrected = self.text_so_far(self.listed.len());
        let correction = self.corrected.take().map(|_| corrected);
        let listed = std::mem::take(&mut self.listed);
        let utterance = Utterance {
            text: words::join(listed.iter().map(|w| (w.text.as_str(), w.space_before))),
            begin: listed.first().map_or(start.min(limit), |w| w.begin),
            end: listed.last().map_or(limit, |w| w.end),
            words: listed,
            usage: self.usage.take(),
            language: self.language.clone().or_else(|| self.config.language.clone()),
            correction,
        };
        self.out.push_back(Output::Utterance(utterance));
    }

    /// The generation is lost. What was given out stays; the rest is forgotten, and the audio
    /// from [`Transcript::resume_at`] on will be sent again in a new one. No utterance comes out
    /// here: it goes on with the next `begin`.
    pub fn abort(&mut self) {
        if let Some(g) = self.generation.take() {
            self.resume = self.resume_in(&g);
            self.rehear(&g);
            self.detector.forget();
        }
        self.overrun = None;
    }

    /// Notes what was lost.
    fn rehear(&mut self, g: &Generation) {
        self.lost = match self.detector.known() {
            Timing::Auto if g.join.is_some() => self.lost,
            known => known,
        };
    }

    /// FLUSH: forget the utterance under way and all outputs not yet taken.
    pub fn flush(&mut self) {
        if let Some(g) = self.generation.take() {
            self.horizon = self.horizon.max(g.start);
            self.resume = g.limit();
        }
        self.out.clear();
        self.listed.clear();
        self.corrected = None;
        self.held = None;
        self.usage = None;
        self.last.clear();
        self.out_to = 0;
        self.utterance_start = None;
        self.overrun = None;
    }

    /// Position before which no audio is needed any more, were the generation lost now: a little
    /// before the end of the last word given out, at a pause where there is one; never before the
    /// beginning of the utterance's generation; the end of the audio after `done`.
    ///
    /// Speech that got no words is kept too, for 20 s, should the server have missed it.
    pub fn resume_at(&self) -> u64 {
        self.generation.as_ref().map_or(self.resume, |g| self.resume_in(g))
    }

    /// Whether the audio from [`Transcript::resume_at`] on, after a failure, may be cut where it
    /// was not cut before although some of its words are out. By segments their times are so
    /// coarse that they are known again by their text, wherever the cut is; by frames the words
    /// on both sides of a cut look like those that were out.
    pub fn may_be_cut_anew(&self) -> bool {
        self.lost.clock().may_be_cut_anew()
    }

    /// Position before which all words that are out were heard, and nothing else may be new.
    pub fn out_to(&self) -> u64 {
        self.horizon.max(self.out_to)
    }

    /// No word that is still to come begins before this position.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Samples of this generation that the server has certainly worked through (by frames, by
    /// segments; 0 where only `done` tells).
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Samples of this generation that the server has worked through, as far as that can be guessed:
    /// where it does not tell, those that were sent when its last text came.
    pub fn worked(&self) -> u64 {
        match &self.generation {
            Some(g) if !self.clock().tells_heard() => g.said_at,
            _ => self.heard,
        }
    }

    /// The sound of the audio that is not safe yet.
    pub fn sound(&self) -> &Features {
        &self.sound
    }

    /// The clock in use now; [`Timing::Auto`] while it is not known.
    pub fn timing(&self) -> Timing {
        self.detector.known()
    }

    /// Why the server's text is more than speech can be, once it is: a failure of the protocol.
    /// What comes beyond the limit is ignored until the next `begin`.
    ///
    /// Limits for a generation: 16 KiB and 1 KiB for each second of audio in all; 64 KiB of words
    /// that wait for their times.
    pub fn overrun(&self) -> Option<String> {
        self.overrun.clone()
    }

    /// How many segments over silence said what was said before, and were left out.
    pub fn repetitions(&self) -> u64 {
        self.repetitions
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn fell_back(&mut self, fallback: Option<Fallback>) {
        if let Some((from, to, why)) = fallback {
            self.out.push_back(Output::ClockFellBack { from, to, why });
        }
    }

    /// A segment begins.
    fn tag(&mut self, g: &mut Generation, name: &str) {
        let first_text = !g.any_text;
        g.any_text = true;
        let fallback = self.detector.tag(g.sent, g.end.is_some(), first_text);
        g.next_segment();
        self.fell_back(fallback);
        self.language(name);
    }

    /// The server says which language is spoken: by its English name, or its code.
    pub fn language(&mut self, name: &str) {
        if let Some(code) = language_code(name)
            && self.language.as_deref() != Some(code)
        {
            self.language = Some(code.to_owned());
            self.out.push_back(Output::Language(code.to_owned()));
        }
    }

    /// Gives out the words whose time can be told by now.
    pub(super) fn settle(&mut self, g: &mut Generation) {
        self.clock().settle(self, g);
        self.give(g, false);
    }

    /// The generation is over: all that is left gets its times; but, where it was cut, for a last word
    /// that the cut may have hit. `cut`: the audio is kept from there on.
    fn finish(&mut self, g: &mut Generation, cut: Option<u64>) -> Option<Word> {
        self.clock().finish(self, g);
        if let Some((word, _)) = g.withheld.take() {
            g.waiting.push_back(word);
        }
        let words: Vec<Said> = g.ready.drain(..).collect();
        let span = (self.floor(g), g.limit());
        self.place_span(g, words, span, true);
        let middle = g.start.midpoint(g.limit());
        // It must be possible to hear it again whole.
        let again = |w: &Word, kept: u64| w.begin > middle.max(kept.saturating_add(SAMPLE_RATE));
        // Where nobody spoke before the cut it lies before that, whatever its time.
        let spoken = |w: &Word| {
            let to = g.limit().saturating_sub(NOT_HEARD);
            self.sound.speech_within(self.heard_again_from(g, Some(w)), to)
        };
        let last = cut.zip(g.waiting.back());
        let hit = last.is_some_and(|(kept, w)| again(w, kept) && spoken(w));
        let hit = if hit { g.waiting.pop_back() } else { None };
        self.give(g, true);
        hit
    }

    /// From where a generation that was cut in speech is heard again, its last word `left` to the
    /// next one.
    fn heard_again_from(&self, g: &Generation, left: Option<&Word>) -> u64 {
        // Its time is no more than likely: no word of ours is longer than that.
        let from = left.map_or(g.limit(), |w| w.begin);
        self.before(from.max(g.limit().saturating_sub(SAMPLE_RATE)), g.start)
    }

    fn partial(&mut self, g: &mut Generation) {
        let text = g.pending_text();
        if text == g.partial {
            return;
        }
        g.partial.clone_from(&text);
        if text.trim().is_empty() {
            return;
        }
        if matches!(self.out.back(), Some(Output::Partial(_))) {
            self.out.pop_back();
        }
        self.out.push_back(Output::Partial(text));
    }
}

/// Whether text continues the word before it.
fn goes_on(text: &str) -> bool {
    text.chars()
        .find_map(clean)
        .is_some_and(|c| !matches!(class(c), Class::Space | Class::Unspaced))
}
