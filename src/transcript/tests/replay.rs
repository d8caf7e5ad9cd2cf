// SPDX-License-Identifier: MPL-2.0

//! A connection that is lost at any moment: each word comes once.

use super::{FRAME, SEGMENT, frames_in_all, len, pos};
use crate::{
    SAMPLE_RATE,
    transcript::{
        Output, SampleInGeneration, Timing, Transcript, TranscriptConfig, Utterance, Word,
        edit_distance::{distances, pairs, split},
        stitch,
    },
};

fn word(text: &str, begin: f64, end: f64) -> Word {
    let at = |s: f64| (s * SAMPLE_RATE as f64) as u64;
    Word {
        text: text.into(),
        begin: pos(at(begin)),
        end: pos(at(end)),
        time_confidence: 0.5,
        confidence: None,
        space_before: true,
    }
}

fn again(old: &[Word], new: &[Word]) -> usize {
    let audio = new.first().map_or(pos(0), |w| w.begin)..new.last().map_or(pos(0), |w| w.end);
    stitch::repeated((old.iter(), 0), None, new, audio, stitch::Times::FRAMES).0
}

#[test]
fn the_last_word_is_found_by_text_and_time() {
    let old = [word("in", 1.0, 1.2), word("the", 1.2, 1.4), word("house,", 1.4, 1.9)];
    // The same again, cut anew at its beginning.
    assert_eq!(
        again(&old, &[word("e", 1.3, 1.4), word("House", 1.45, 1.95), word("is", 2.0, 2.2)]),
        2
    );
    // Times are off; two words agree.
    assert_eq!(
        again(&old, &[word("the", 1.9, 2.2), word("house", 2.2, 2.6), word("is", 2.6, 3.0)]),
        2
    );
    // Another house, much later.
    assert_eq!(
        again(&old, &[word("is", 2.0, 2.2), word("a", 2.3, 2.4), word("house", 3.4, 3.9)]),
        0
    );
    // Heard otherwise: by time.
    assert_eq!(again(&old, &[word("mouse", 1.4, 1.9), word("is", 1.9, 2.2)]), 1);
    assert_eq!(again(&old, &[]), 0);
    assert_eq!(again(&[], &old), 0);
}

#[test]
fn real_repetitions_survive() {
    let old = [word("oh", 0.5, 0.9), word("no", 1.0, 1.3)];
    assert_eq!(again(&old, &[word("no", 1.0, 1.3), word("no", 1.4, 1.7), word("no", 1.8, 2.1)]), 1);
    let old = [word("no", 1.0, 1.3), word("no", 1.4, 1.7)];
    assert_eq!(again(&old, &[word("no", 1.0, 1.3), word("no", 1.4, 1.7), word("no", 1.8, 2.1)]), 2);
}

fn names(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_tail_begins_where_both_parts_agree_best() {
    let at = |given: &str, pending: &str, done: &str| {
        split(&names(given), &names(pending), &names(done))
    };
    assert_eq!(at("a b c", "", "a b c d"), 3);
    assert_eq!(at("a b c", "", "a b x d"), 3);
    assert_eq!(at("a b c", "d", "a b d"), 2);
    assert_eq!(at("a b c", "d e", "a x c d e"), 3);
    assert_eq!(at("a b c", "", "x a b c d"), 4);
    assert_eq!(at("a b", "", ""), 0);
    assert_eq!(at("", "a", "a b"), 0);
    assert_eq!(at("a b", "c", "b c"), 1);
}

#[test]
fn changes_to_each_beginning() {
    let row = |a: &str, b: &str| {
        let (a, b) = (names(a), names(b));
        distances(a.iter(), b.iter())
    };
    assert_eq!(row("a", "a b c"), [1, 0, 1, 2]);
    assert_eq!(row("a b", "x b c"), [2, 2, 1, 2]);
    assert_eq!(row("", "a b"), [0, 1, 2]);
}

#[test]
fn words_that_stand_for_one_another() {
    let p = |old: &str, new: &str| pairs(&names(old), &names(new));
    assert_eq!(p("a b c", "a c"), [Some(0), Some(2)]);
    assert_eq!(p("a c", "a b c"), [Some(0), None, Some(1)]);
    assert_eq!(p("", "a"), [None]);
    assert_eq!(p("a b", "x y z").len(), 3);
}

/// A frame-synchronous server that hears a script of words with the frames in which they end,
/// from whatever position it is given audio.
struct Frames {
    t: Transcript,
    script: Vec<(&'static str, u64)>,
    out: Vec<Word>,
    utterances: Vec<Utterance>,
}

impl Frames {
    fn new(script: &[(&'static str, u64)]) -> Self {
        Frames {
            t: Transcript::new(TranscriptConfig::default()),
            script: script.to_vec(),
            out: Vec::new(),
            utterances: Vec::new(),
        }
    }

    /// A generation over this audio; `stop`: the connection is lost after so many deltas.
    /// Whether it was not.
    fn run(&mut self, from: u64, to: u64, stop: Option<u64>) -> bool {
        let length = to - from;
        self.t.begin(pos(from));
        self.t.audio(pos(from), &vec![0; length as usize]);
        let total = frames_in_all(length);
        let mut texts = vec![String::new(); total as usize];
        for (text, end) in &self.script {
            let heard = (end * FRAME).checked_sub(from + FRAME);
            if let Some(k) = heard.map(|p| p.div_ceil(FRAME) + 1).filter(|_| end * FRAME <= to) {
                texts[k as usize] = format!(" {text}");
            }
        }
        let mut ended = false;
        for (k, text) in (0..total).zip(&texts) {
            if stop == Some(k) {
                self.poll();
                let resume = self.t.resume_at();
                self.t.abort();
                assert_eq!(self.t.resume_at(), resume);
                return false;
            }
            let sent = 9000 + FRAME * k;
            if sent > length && !ended {
                self.t.audio_end(pos(to), len(0));
                ended = true;
            }
            self.t.delta(text, SampleInGeneration::new(sent.min(length)), &[], None);
        }
        self.t.done(&texts.concat(), None, &[]);
        self.poll();
        true
    }

    fn poll(&mut self) {
        while let Some(o) = self.t.poll() {
            match o {
                Output::Word(w) => self.out.push(w),
                Output::Utterance(u) => self.utterances.push(u),
                Output::ClockFellBack { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
    }
}

const SCRIPT: &[(&str, u64)] = &[
    ("the", 10),
    ("quick", 16),
    ("brown", 22),
    ("fox", 28),
    ("jumps", 40),
    ("over", 45),
    ("the", 49),
    ("very", 55),
    ("very", 61),
    ("lazy", 68),
    ("dog", 75),
    ("again", 95),
];

#[test]
fn wherever_the_connection_is_lost_each_word_comes_once() {
    let to = 100 * FRAME;
    let all: Vec<&str> = SCRIPT.iter().map(|(w, _)| *w).collect();
    for stop in 0..frames_in_all(to) {
        let mut s = Frames::new(SCRIPT);
        s.run(0, to, Some(stop));
        let from = s.t.resume_at();
        assert!(from <= s.t.horizon() || s.out.is_empty());
        if !s.run(from.samples(), to, Some(stop / 2)) {
            s.run(s.t.resume_at().samples(), to, None);
        }
        let words: Vec<&str> = s.out.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(words, all, "lost at delta {stop}, then {}", stop / 2);
        assert!(s.out.windows(2).all(|w| w[0].end <= w[1].begin));
        let u = &s.utterances[0];
        assert_eq!((s.utterances.len(), u.text.as_str()), (1, all.join(" ").as_str()));
        assert_eq!(u.correction, None, "lost at delta {stop}");
    }
}

#[test]
fn segments_resume_at_their_edge() {
    let mut t = Transcript::new(TranscriptConfig::default());
    t.begin(pos(0));
    t.audio(pos(0), &vec![0; 3 * SEGMENT as usize]);
    t.delta("language English<asr_text>One two.", SampleInGeneration::new(SEGMENT), &[], None);
    t.delta(
        "language English<asr_text>Three four.",
        SampleInGeneration::new(2 * SEGMENT),
        &[],
        None,
    );
    t.delta("language English<asr_text>Five", SampleInGeneration::new(3 * SEGMENT), &[], None);
    assert_eq!(t.resume_at(), pos(2 * SEGMENT));
    t.abort();
    assert_eq!(t.resume_at(), pos(2 * SEGMENT));
    t.begin(pos(2 * SEGMENT));
    t.audio_end(pos(3 * SEGMENT), len(0));
    t.delta("language English<asr_text>Five six.", SampleInGeneration::new(SEGMENT), &[], None);
    t.done("language English<asr_text>Five six.", None, &[]);
    let outputs: Vec<Output> = std::iter::from_fn(|| t.poll()).collect();
    let Some(Output::Utterance(u)) = outputs.last() else { panic!("{outputs:?}") };
    assert_eq!((u.text.as_str(), &u.correction), ("One two. Three four. Five six.", &None));
    assert_eq!(t.timing(), Timing::Segments);
}

#[test]
fn an_utterance_without_a_clock_begins_again() {
    let mut t = Transcript::new(TranscriptConfig::default());
    t.begin(pos(16_000));
    t.delta(" One", SampleInGeneration::new(32_000), &[], None);
    t.delta(" two", SampleInGeneration::new(48_000), &[], None);
    assert_eq!((t.resume_at(), t.heard().samples()), (pos(16_000), 0));
    t.abort();
    t.begin(pos(16_000));
    t.audio_end(pos(64_000), len(0));
    t.done(" One two three", None, &[]);
    let words: Vec<Word> = std::iter::from_fn(|| t.poll())
        .filter_map(|o| match o {
            Output::Word(w) => Some(w),
            _ => None,
        })
        .collect();
    assert_eq!(words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), ["One", "two", "three"]);
}

#[test]
fn after_an_unasked_for_done_the_rest_is_sent_again() {
    let mut s = Frames::new(SCRIPT);
    s.t.begin(pos(0));
    s.t.audio(pos(0), &vec![0; 60 * FRAME as usize]);
    for k in 0..30u64 {
        let text = ["", " the", "", " quick", "", ""][(k % 6) as usize];
        s.t.delta(text, SampleInGeneration::new(9000 + FRAME * k), &[], None);
    }
    s.t.done(&" the quick".repeat(5), None, &[]);
    s.poll();
    assert_eq!((s.out.len(), s.utterances.len()), (10, 1));
    let (resume, end) = (s.t.resume_at(), s.out[9].end);
    assert!(resume <= end && resume + len(3 * SAMPLE_RATE) > end);
}

#[test]
fn flush_forgets() {
    let mut s = Frames::new(SCRIPT);
    s.run(0, 100 * FRAME, Some(60));
    s.t.begin(s.t.resume_at());
    s.t.delta("", SampleInGeneration::new(9000), &[], None);
    s.t.delta(" x", SampleInGeneration::new(20_000), &[], None);
    s.t.flush();
    assert_eq!(s.t.poll(), None);
    s.out.clear();
    s.run(100 * FRAME, 200 * FRAME, None);
    assert_eq!(s.utterances.last().unwrap().text, "");
}
