// SPDX-License-Identifier: MPL-2.0

//! What holds for any server and any order of calls.

use icu_segmenter::GraphemeClusterSegmenter;
use proptest::prelude::*;

use super::{Fed, SEGMENT, cut_anywhere, len, pos, words::any_text};
use crate::transcript::{
    Output, SampleInGeneration, ServerSegment, Timing, Transcript, TranscriptConfig, Usage,
    Utterance, Word, words::words,
};

#[derive(Debug, Clone)]
enum Call {
    Audio(u16),
    Begin(u32),
    End(u16),
    /// Text, with so many thousandths of the audio sent.
    Delta(String, u16, Option<f64>),
    Frames(u8),
    Done(String, Option<u64>, Option<(String, f64)>),
    Abort,
    Flush,
}

fn any_delta() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        3 => "( [a-z]{1,6}){1,3}",
        1 => "[a-z]{1,3}",
        1 => Just("language English<asr_text>".to_owned()),
        1 => any_text(),
    ]
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => any::<u16>().prop_map(Call::Audio),
        1 => (0..400_000u32).prop_map(Call::Begin),
        1 => prop_oneof![Just(0), any::<u16>()].prop_map(Call::End),
        8 => (any_delta(), 0..1200u16, proptest::option::of(any::<f64>()))
            .prop_map(|(t, s, p)| Call::Delta(t, s, p)),
        2 => any::<u8>().prop_map(Call::Frames),
        2 => (any_text(), proptest::option::of(0..200u64),
              proptest::option::of((any_text(), any::<f64>())))
            .prop_map(|(t, u, s)| Call::Done(t, u, s)),
        1 => Just(Call::Abort),
        1 => Just(Call::Flush),
    ]
}

fn any_timing() -> impl Strategy<Value = Timing> {
    prop::sample::select(vec![
        Timing::Auto,
        Timing::Auto,
        Timing::Frames,
        Timing::Segments,
        Timing::Arrival,
        Timing::Utterance,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn times_are_in_order_and_inside_the_audio_whatever_is_called(
        timing in any_timing(),
        calls in prop::collection::vec(any_call(), 0..60),
    ) {
        let mut t = Transcript::new(TranscriptConfig {
            timing, language: None,
        });
        let mut fed = Fed::default();
        let (mut position, mut start, mut ended) = (0u64, 0u64, None);
        let mut horizon = 0;
        for call in calls {
            match call {
                Call::Audio(n) => {
                    let n = u64::from(n);
                    t.audio(pos(position), &vec![(n % 9000) as i16; n as usize]);
                    position += n;
                }
                Call::Begin(at) => {
                    start = u64::from(at).min(position);
                    ended = None;
                    t.begin(pos(start));
                    fed.start = pos(start);
                }
                Call::End(padding) => {
                    ended.get_or_insert(position);
                    t.audio_end(pos(position), len(u64::from(padding)));
                }
                Call::Delta(text, part, p) => {
                    let sent = (position - start) * u64::from(part.min(1000)) / 1000;
                    t.delta(&text, SampleInGeneration::new(sent), &[], p);
                }
                Call::Frames(n) => {
                    for k in 0..n {
                        let text = if k % 5 == 4 { " word" } else { "" };
                        t.delta(text, SampleInGeneration::new(position - start), &[], None);
                    }
                }
                Call::Done(text, tokens, segment) => {
                    let usage = tokens.map(|n| Usage {
                        prompt_tokens: 39, completion_tokens: n, total_tokens: n + 39,
                    });
                    let segments: Vec<ServerSegment> =
                        segment.into_iter().map(|(text, end)| ServerSegment { text, end }).collect();
                    t.done(&text, usage, &segments);
                }
                Call::Abort => t.abort(),
                Call::Flush => {
                    t.flush();
                    prop_assert_eq!(t.poll(), None);
                }
            }
            let before = horizon;
            while let Some(o) = t.poll() {
                if let Output::Word(w) = &o {
                    prop_assert!(w.begin >= pos(before), "{:?} before {}", w, before);
                }
                fed.take(&o, pos(position));
            }
            horizon = t.horizon().samples();
            prop_assert!(horizon >= before);
            prop_assert!(t.resume_at() <= pos(position.max(start)));
            let _ = (t.heard(), t.timing(), t.overrun());
        }
    }

    #[test]
    fn any_cutting_into_deltas_gives_the_same_words(
        (text, pieces) in any_text().prop_flat_map(cut_anywhere),
        timing in prop::sample::select(vec![Timing::Auto, Timing::Segments, Timing::Utterance]),
    ) {
        let run = |pieces: &[String]| -> Vec<(String, bool)> {
            let mut t = Transcript::new(TranscriptConfig { timing, ..Default::default() });
            t.begin(pos(0));
            t.audio_end(pos(3 * SEGMENT), len(0));
            // Empty deltas mean something but for the weakest clock.
            let said = |p: &&String| timing == Timing::Utterance || !p.is_empty();
            for p in pieces.iter().filter(said) {
                t.delta(p, SampleInGeneration::new(3 * SEGMENT), &[], None);
            }
            t.done(&text, None, &[]);
            given(&mut t).0.into_iter().map(|w| (w.text, w.space_before)).collect()
        };
        let whole = run(std::slice::from_ref(&text));
        prop_assert_eq!(run(&pieces), whole);
    }

    #[test]
    fn frames_without_pauses_in_words_give_the_words_of_the_text(
        text in any_text().prop_map(|t| t.replace("language", "")),
    ) {
        // Each word in a frame of its own, an empty one after it.
        let cuts = words(&text);
        let mut t = Transcript::new(TranscriptConfig::default());
        t.begin(pos(0));
        t.delta("", SampleInGeneration::new(9000), &[], None);
        for w in &cuts {
            let space = if w.space_before { " " } else { "" };
            t.delta(&format!("{space}{}", w.text), SampleInGeneration::new(1_000_000), &[], None);
            t.delta("", SampleInGeneration::new(1_000_000), &[], None);
        }
        t.audio_end(pos(1_000_000), len(0));
        t.done(&text, None, &[]);
        // A mark that comes behind its letter has the letter's word out already.
        let marks = |c: char| GraphemeClusterSegmenter::new().segment_str(&format!("x{c}")).count() == 2;
        let text = |c: &char| c.is_alphanumeric() && !marks(*c);
        let texts = |w: &str| w.chars().filter(text).collect::<String>();
        let out: String = given(&mut t).0.iter().map(|w| texts(&w.text)).collect();
        prop_assert_eq!(out, cuts.iter().map(|w| texts(&w.text)).collect::<String>());
    }

    #[test]
    fn any_final_text_leaves_the_words_given_out_in_place(
        deltas in prop::collection::vec(any_delta(), 0..40),
        done in any_text(),
        timing in any_timing(),
    ) {
        let mut t = Transcript::new(TranscriptConfig { timing, ..Default::default() });
        t.begin(pos(0));
        for d in &deltas {
            t.delta(d, SampleInGeneration::new(2 * SEGMENT), &[], None);
        }
        let (before, _) = given(&mut t);
        t.audio_end(pos(2 * SEGMENT), len(0));
        t.done(&done, None, &[]);
        let (after, utterance) = given(&mut t);
        let utterance = utterance.unwrap();
        let all: Vec<Word> = before.into_iter().chain(after).collect();
        prop_assert_eq!(utterance.words.len(), all.len());
        for (word, given) in utterance.words.iter().zip(&all) {
            // A mark that came late is on it.
            prop_assert!(word.text.starts_with(&given.text));
            prop_assert_eq!((word.begin, word.end), (given.begin, given.end));
        }
    }
}

/// The words and the utterance given out.
fn given(t: &mut Transcript) -> (Vec<Word>, Option<Utterance>) {
    let (mut words, mut utterance) = (Vec::new(), None);
    while let Some(o) = t.poll() {
        match o {
            Output::Word(w) => words.push(w),
            Output::Utterance(u) => utterance = Some(u),
            _ => {}
        }
    }
    (words, utterance)
}
