// SPDX-License-Identifier: MPL-2.0

use super::{Fed, check};
use crate::{
    SAMPLE_RATE,
    transcript::{
        Output, ServerSegment, Timing, Transcript, TranscriptConfig, Usage, Utterance, Word,
        cadence::{FRAME, SEGMENT, frames_in_all},
    },
};

/// A transcript, and a server that keeps its counts.
struct Server {
    t: Transcript,
    start: u64,
    position: u64,
    deltas: u64,
    text: String,
    out: Vec<Output>,
    fed: Fed,
}

impl Server {
    fn new(config: TranscriptConfig) -> Self {
        Server {
            t: Transcript::new(config),
            start: 0,
            position: 0,
            deltas: 0,
            text: String::new(),
            out: Vec::new(),
            fed: Fed::default(),
        }
    }

    fn timing(timing: Timing) -> Self {
        Server::new(TranscriptConfig { timing, ..Default::default() })
    }

    fn begin(&mut self, start: u64) {
        (self.start, self.position, self.deltas) = (start, self.position.max(start), 0);
        self.text.clear();
        self.t.begin(start);
    }

    /// Sends audio up to this sample of the generation.
    fn audio(&mut self, upto: u64) {
        let from = self.position;
        self.position = from.max(self.start + upto);
        self.t.audio(from, &vec![0; (self.position - from) as usize]);
    }

    /// A delta when just enough audio is there for a frame-synchronous server.
    fn frame(&mut self, text: &str) {
        self.audio(9000 + FRAME * self.deltas);
        self.say(text);
    }

    fn frames(&mut self, texts: &[&str]) {
        for t in texts {
            self.frame(t);
        }
    }

    fn say(&mut self, text: &str) {
        self.deltas += 1;
        self.text.push_str(text);
        self.t.delta(text, self.position - self.start, &[], None);
        self.poll();
    }

    fn end(&mut self) {
        self.t.audio_end(self.position, 0);
    }

    fn done(&mut self) -> Utterance {
        let text = self.text.clone();
        self.done_with(&text, self.deltas)
    }

    fn done_with(&mut self, text: &str, tokens: u64) -> Utterance {
        let usage =
            Usage { prompt_tokens: 39, completion_tokens: tokens, total_tokens: 39 + tokens };
        self.t.done(text, Some(usage), &[]);
        self.poll();
        match self.out.last() {
            Some(Output::Utterance(u)) => u.clone(),
            other => panic!("no utterance: {other:?}"),
        }
    }

    /// The frames that are left after the final commit.
    fn rest(&mut self) {
        self.end();
        for _ in self.deltas..frames_in_all(self.position - self.start) {
            self.say("");
        }
    }

    fn poll(&mut self) {
        while let Some(o) = self.t.poll() {
            self.fed.take(&o, self.position);
            self.out.push(o);
        }
    }

    fn words(&self) -> Vec<Word> {
        self.out
            .iter()
            .filter_map(|o| match o {
                Output::Word(w) => Some(w.clone()),
                _ => None,
            })
            .collect()
    }

    fn texts(&self) -> Vec<String> {
        self.words().into_iter().map(|w| w.text).collect()
    }

    fn fell_back(&self) -> Vec<(Timing, Timing)> {
        self.out
            .iter()
            .filter_map(|o| match o {
                Output::ClockFellBack { from, to, .. } => Some((*from, *to)),
                _ => None,
            })
            .collect()
    }
}

fn auto() -> Server {
    Server::timing(Timing::Auto)
}

fn at(frames: u64) -> u64 {
    frames * FRAME
}

#[test]
fn a_word_is_out_on_the_empty_frame_after_it() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", "", " Hel", "lo"]);
    assert_eq!(s.texts(), Vec::<String>::new());
    assert_eq!(s.out, [Output::Partial("Hel".into()), Output::Partial("Hello".into())]);
    s.frame("");
    assert_eq!(s.texts(), ["Hello"]);
    // What might begin a tag is not held back here.
    s.frames(&[" all", "", " language", ""]);
    assert_eq!(s.texts(), ["Hello", "all", "language"]);
    assert_eq!(s.t.timing(), Timing::Frames);
}

#[test]
fn a_word_is_out_when_the_next_one_begins() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", " one", " two", " three"]);
    assert_eq!(s.texts(), ["one", "two"]);
}

#[test]
fn the_mark_tells_the_end() {
    let mut s = auto();
    s.begin(160_000);
    let mut texts = vec![""; 10];
    texts.extend([" one", "", "", "", "", "", "", "", "", "", " two", ""]);
    s.frames(&texts);
    let w = s.words();
    // k = 10: it ended in (9, 10] frames; a mark may be a frame early or late.
    assert!(w[0].end > 160_000 + at(8) && w[0].end <= 160_000 + at(11), "{w:?}");
    assert!(w[1].end > 160_000 + at(18) && w[1].end <= 160_000 + at(21), "{w:?}");
    assert!(w[1].begin >= w[0].end);
}

#[test]
fn words_that_share_a_mark_end_before_it() {
    let mut s = auto();
    s.begin(0);
    let mut texts = vec![""; 20];
    texts.extend([" un", "be", "liev", "able", " of", " a", ""]);
    s.frames(&texts);
    let w = s.words();
    assert_eq!(s.texts(), ["unbelievable", "of", "a"]);
    // "of" has k = 24, "a" 25; each mark may be a frame late.
    assert!(w[0].end <= at(21) && w[1].end <= at(25) && w[2].end <= at(26), "{w:?}");
    assert!(w.iter().all(|w| w.end - w.begin >= 16), "{w:?}");
}

#[test]
fn text_cut_in_utf8_makes_words_wait_longer() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", " caf", "", "é", "", "", " caf", "", "é", "", "", " x", "", "", ""]);
    // The first one was given out too soon, and stays.
    assert_eq!(s.texts(), ["caf", "é", "café", "x"]);
    s.rest();
    let u = s.done();
    assert_eq!(u.text, "café café x");
    assert_eq!(u.correction, None);
}

#[test]
fn punctuation_that_comes_late_is_told_as_a_correction() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", " world", "", "", "", ",", "", "", " and", ""]);
    s.rest();
    let u = s.done();
    assert_eq!(s.texts(), ["world", "and"]);
    assert_eq!(u.text, "world and");
    assert_eq!(u.correction.as_deref(), Some("world, and"));
}

#[test]
fn all_words_of_a_short_first_utterance_come_by_the_frame_clock() {
    let mut s = auto();
    s.begin(0);
    s.audio(8000);
    s.end();
    for k in 0..frames_in_all(8000) {
        s.say(if k == 4 { " Yes." } else { "" });
    }
    assert_eq!(s.texts(), Vec::<String>::new());
    let u = s.done();
    assert_eq!((u.text.as_str(), s.t.timing()), ("Yes.", Timing::Frames));
    assert!(u.words[0].end <= at(5) && u.words[0].end > at(2), "{u:?}");
    assert_eq!(s.t.horizon(), 8000);
    assert_eq!(s.t.resume_at(), 8000);
}

#[test]
fn a_delta_before_its_audio_disproves_the_frame_clock() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", " one", ""]);
    // Five more, and the delay is less than any.
    (0..5).for_each(|_| s.say(""));
    assert_eq!(s.fell_back(), []);
    s.say("");
    assert_eq!(s.fell_back(), [(Timing::Frames, Timing::Utterance)]);
    s.say(" two");
    s.say(" three");
    assert_eq!(s.texts(), ["one"]);
    s.audio(32_000);
    s.end();
    let u = s.done();
    assert_eq!(u.text, "one two three");
    assert_eq!(s.t.timing(), Timing::Utterance);
    // Once is enough.
    s.begin(32_000);
    s.audio(48_000);
    s.say("");
    s.say(" four");
    s.end();
    s.done();
    assert_eq!(s.fell_back().len(), 1);
    check(&s.words());
}

#[test]
fn the_bill_and_the_count_are_checked() {
    for (tokens, deltas) in [(36, 35), (35, 34)] {
        let mut s = auto();
        s.begin(0);
        s.audio(frames_audio(35));
        for k in 0..deltas {
            s.say(if k == 10 { " one" } else { "" });
        }
        s.end();
        let text = s.text.clone();
        s.done_with(&text, tokens);
        assert_eq!(s.fell_back(), [(Timing::Frames, Timing::Utterance)], "{tokens} {deltas}");
    }
}

/// Samples for so many frames in all.
fn frames_audio(frames: u64) -> u64 {
    (frames - 11) * FRAME + 40
}

#[test]
fn other_delays_are_learnt() {
    // 240 ms: three frames. Delta k needs (1 + 3 + k) frames and 40 samples.
    let mut s = auto();
    s.begin(0);
    for k in 0..20 {
        s.audio((4 + k) * FRAME + 40);
        s.say("");
    }
    assert_eq!(s.fell_back(), []);
    s.rest();
    s.t.done(
        "",
        Some(Usage { prompt_tokens: 36, completion_tokens: s.deltas, total_tokens: 0 }),
        &[],
    );
    s.poll();
    assert_eq!(s.fell_back(), []);
    s.begin(s.position);
    // With the delay known, an earlier one is too early.
    s.audio(4 * FRAME + 39);
    s.say("");
    s.audio(4 * FRAME + 2000);
    s.say(" a");
    assert_ne!(s.t.timing(), Timing::Auto);
    s.end();
    s.done();
    assert_eq!(s.t.timing(), Timing::Utterance);
}

#[test]
fn text_that_comes_at_the_end_is_not_taken_for_frames() {
    for burst in [&[" All of it at once."][..], &[" All", " of", " it", " at", " once."]] {
        let mut s = auto();
        s.begin(1000);
        s.audio(48_000);
        s.end();
        for text in burst {
            s.say(text);
        }
        assert_eq!(s.texts(), Vec::<String>::new());
        let u = s.done();
        assert_eq!(u.text, "All of it at once.");
        assert_eq!((s.t.timing(), s.fell_back()), (Timing::Utterance, vec![]));
        assert!(u.words[0].begin >= 1000 && u.words[4].end <= 49_000);
    }
}

#[test]
fn text_that_streams_without_empty_frames_is_not_taken_for_frames() {
    let mut s = auto();
    s.begin(0);
    for i in 1..10 {
        s.audio(i * 16_000);
        s.say(" word");
    }
    assert_eq!(s.texts(), Vec::<String>::new());
    s.end();
    assert_eq!(s.done().words.len(), 9);
    assert_eq!(s.t.timing(), Timing::Utterance);
}

#[test]
fn segments_keep_their_words_within_their_five_seconds() {
    let mut s = auto();
    s.begin(5000);
    s.audio(SEGMENT);
    for text in ["langu", "age Eng", "lish<asr", "_text>Hello", " wor", "ld", ""] {
        s.say(text);
    }
    assert_eq!(s.t.timing(), Timing::Segments);
    assert!(s.out.contains(&Output::Language("en".into())));
    s.audio(2 * SEGMENT);
    s.say("language None<asr_text>");
    s.audio(3 * SEGMENT);
    s.say("language German<asr_text>Und Tschüss.");
    s.say("");
    assert_eq!(s.t.heard(), 3 * SEGMENT);
    s.audio(3 * SEGMENT + 16_000);
    s.end();
    s.say("language German<asr_text>Nein.");
    let u = s.done();
    assert_eq!(u.text, "Hello world Und Tschüss. Nein.");
    assert_eq!((u.correction, u.language.as_deref()), (None, Some("de")));
    for (w, segment) in u.words.iter().zip([0, 0, 2, 2, 3]) {
        let from = 5000 + segment * SEGMENT;
        assert!(w.begin >= from && w.end <= from + SEGMENT, "{w:?}");
    }
    assert_eq!(s.fell_back(), []);
}

#[test]
fn a_segment_is_out_at_the_end_of_its_burst() {
    let mut s = auto();
    s.begin(0);
    s.audio(SEGMENT);
    for text in ["language English<asr_text>", "One two", " caf", ""] {
        s.say(text);
    }
    assert_eq!(s.texts(), ["One", "two"]);
    s.say("é.");
    assert_eq!(s.texts(), ["One", "two"]);
    assert_eq!(s.t.horizon(), s.words()[1].end);
    s.say("");
    assert_eq!(s.texts(), ["One", "two", "café."]);
    assert_eq!((s.t.horizon(), s.t.resume_at()), (SEGMENT, SEGMENT));
}

#[test]
fn a_burst_that_goes_on_loses_no_word() {
    let mut s = auto();
    s.begin(0);
    s.audio(SEGMENT);
    for text in ["language English<asr_text>One two.", "", " Three", " four.", "", " Five", " six"]
    {
        s.say(text);
    }
    s.audio(2 * SEGMENT);
    s.end();
    s.say("language English<asr_text>Seven.");
    let u = s.done();
    assert_eq!(u.text, "One two. Three four. Five six Seven.");
    assert!(u.words[5].end <= SEGMENT + 4800 && u.words[6].begin >= SEGMENT, "{u:?}");
}

#[test]
fn segments_that_come_too_early_or_not_disprove_the_clock() {
    let mut s = auto();
    s.begin(0);
    s.audio(SEGMENT);
    s.say("language English<asr_text>One.");
    s.say("language English<asr_text>Two.");
    assert_eq!(s.fell_back(), [(Timing::Segments, Timing::Utterance)]);
    s.end();
    assert_eq!(s.done().text, "One. Two.");

    let mut s = auto();
    s.begin(0);
    s.audio(3 * SEGMENT);
    s.end();
    s.say("language English<asr_text>One.");
    assert_eq!(s.done().text, "One.");
    assert_eq!(s.fell_back(), [(Timing::Segments, Timing::Utterance)]);
}

#[test]
fn chinese_segments_are_joined_without_a_space() {
    let mut s = auto();
    s.begin(0);
    s.audio(2 * SEGMENT);
    s.say("language Chinese<asr_text>今天天气很好");
    s.say("language Chinese<asr_text>我们走吧。");
    s.end();
    let u = s.done();
    assert_eq!(u.text, "今天天气很好我们走吧。");
    assert_eq!(u.correction, None);
}

/// Two segments of text, with speech across the edge (`true`) or a pause there.
fn edge(before: &str, after: &str, speech: bool) -> Vec<String> {
    let mut s = auto();
    let loud = |i: u64| ((i as f64 * 0.2).sin() * 9000.0 + (i as f64 * 0.05).sin() * 9000.0) as i16;
    let samples: Vec<i16> = (0..2 * SEGMENT)
        .map(|i| {
            let pause = !speech && i.abs_diff(SEGMENT) < 6000;
            let voice = i % 4000 < 3200;
            if pause || !voice && i.abs_diff(SEGMENT) > 6000 { 0 } else { loud(i) }
        })
        .collect();
    s.begin(0);
    s.t.audio(0, &samples);
    s.position = 2 * SEGMENT;
    s.say(&format!("language English<asr_text>{before}"));
    s.say(&format!("language English<asr_text>{after}"));
    s.end();
    let u = s.done();
    assert_eq!(u.correction, None);
    s.texts()
}

#[test]
fn words_at_the_edge_are_mended_where_the_text_shows_it() {
    assert_eq!(edge("in the", "the house", true), ["in", "the", "house"]);
    assert_eq!(edge("we recog-", "recognise it", true), ["we", "recognise", "it"]);
    assert_eq!(edge("we recog...", "recognise it", true), ["we", "recognise", "it"]);
    assert_eq!(edge("a well-", "known man", true), ["a", "well-known", "man"]);
    // Not shown by the text: all stays.
    assert_eq!(edge("for", "forward", true), ["for", "forward"]);
    assert_eq!(edge("very.", "Very good", true), ["very.", "Very", "good"]);
    assert_eq!(edge("no,", "no way", true), ["no,", "no", "way"]);
    assert_eq!(edge("very very", "good", true), ["very", "very", "good"]);
    // Said again after a pause.
    assert_eq!(edge("very", "very good", false), ["very", "very", "good"]);
}

#[test]
fn the_servers_own_ends_bound_the_words() {
    let mut s = Server::timing(Timing::Utterance);
    s.begin(0);
    s.audio(160_000);
    s.end();
    let pieces = [
        ServerSegment { text: "One two".into(), end: 2.0 },
        ServerSegment { text: " three".into(), end: 6.5 },
    ];
    s.t.delta("One two three four", 160_000, &pieces[..1], Some(-0.5));
    s.t.done("One two three four", None, &pieces);
    s.poll();
    let w = s.words();
    assert!(w[1].end <= 2 * SAMPLE_RATE, "{w:?}");
    assert!(w[2].begin >= 2 * SAMPLE_RATE && w[2].end <= 104_000, "{w:?}");
    assert!(w[3].begin >= 104_000, "{w:?}");
    assert!((w[0].confidence.unwrap() - (-0.5f32).exp()).abs() < 1e-6);
}

#[test]
fn confidence_is_the_mean_of_a_words_tokens() {
    let mut s = auto();
    s.begin(0);
    s.frame("");
    for (text, p) in [(" Hel", -0.2), ("lo", -0.4), (" you", f64::NAN), ("", -9.0)] {
        s.audio(9000 + FRAME * s.deltas);
        s.deltas += 1;
        s.t.delta(text, s.position, &[], Some(p));
    }
    s.poll();
    let w = s.words();
    assert!((w[0].confidence.unwrap() - (-0.3f32).exp()).abs() < 1e-6, "{w:?}");
    assert_eq!(w[1].confidence, None);
}

#[test]
fn the_final_text_settles_the_tail_only() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", " one", "", " two", "", " thre"]);
    s.rest_with("");
    let u = s.done_with(" one too three four", frames_in_all(s.position));
    assert_eq!(u.text, "one two three four");
    assert_eq!(u.correction.as_deref(), Some("one too three four"));
    check(&u.words);

    // Fewer words, none, or others: what is out stays.
    for text in ["", " one", " something else entirely that is longer", " two"] {
        let mut s = auto();
        s.begin(0);
        s.frames(&["", "", " one", "", " two", ""]);
        s.rest();
        let u = s.done_with(text, s.deltas);
        assert_eq!(
            u.words[..2].iter().map(|w| w.text.as_str()).collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert_eq!(u.correction.is_some(), !text.is_empty(), "{u:?}");
    }
}

impl Server {
    /// The last frames, with no empty one before the end.
    fn rest_with(&mut self, text: &str) {
        self.end();
        let left = frames_in_all(self.position - self.start) - self.deltas;
        // Only the count matters here: nothing flushes the word under way before `done`.
        self.text.push_str(text);
        self.t.delta("e", self.position - self.start, &[], None);
        for _ in 1..left {
            self.t.delta("\u{200B}", self.position - self.start, &[], None);
        }
        self.deltas += left;
        self.poll();
    }
}

#[test]
fn the_offset_is_bounded_by_the_audio() {
    for offset in [-1_000_000, 1_000_000, 500] {
        let mut s = Server::new(TranscriptConfig { timing_offset: offset, ..Default::default() });
        s.begin(0);
        s.frames(&["", "", "", "", " one", "", " two", "", " three", ""]);
        s.rest();
        let u = s.done();
        assert_eq!(u.text, "one two three");
    }
}

#[test]
fn the_horizon_moves_on_in_silence() {
    let mut s = auto();
    s.begin(0);
    s.frames(&[""; 200]);
    assert!(s.t.horizon() + 3 * SAMPLE_RATE > at(200), "{}", s.t.horizon());
    assert!(s.t.horizon() <= at(200));
    assert_eq!(s.t.heard(), at(199));
    let before = s.t.horizon();
    s.frames(&[" one", ""]);
    assert!(s.words()[0].begin >= before);
    assert!(s.t.resume_at() <= s.t.horizon());
}

#[test]
fn text_without_end_is_an_overrun() {
    let mut s = auto();
    s.begin(0);
    s.audio(16_000);
    for _ in 0..10_000 {
        s.say(" word");
    }
    assert!(s.t.overrun().is_some_and(|why| why.contains("bytes of text")));
    s.t.delta(&"x".repeat(15 << 20), 16_000, &[], None);
    s.t.abort();
    assert_eq!(s.t.overrun(), None);
    s.begin(0);
    for _ in 0..1_000_000 {
        s.t.delta("", 16_000, &[], None);
    }
    s.poll();
    assert_eq!(s.t.overrun(), None);
    s.t.delta(&" a".repeat(8 << 20), 16_000, &[], None);
    assert!(s.t.overrun().is_some());
    s.t.done(&" a".repeat(8 << 20), None, &[]);
    s.poll();
}

#[test]
fn a_forced_clock_stays() {
    for timing in [Timing::Frames, Timing::Segments, Timing::Utterance] {
        let mut s = Server::timing(timing);
        s.begin(0);
        s.audio(8000);
        for text in ["language English<asr_text>One", " two", "", " three", "language X<asr_text>"]
        {
            s.say(text);
        }
        s.end();
        let u = s.done();
        assert!(u.words.len() >= 3, "{u:?}");
        assert_eq!((s.t.timing(), s.fell_back()), (timing, vec![]));
    }
}
