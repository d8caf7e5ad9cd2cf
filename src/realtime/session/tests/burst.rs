// SPDX-License-Identifier: MPL-2.0

//! A burst of text that ends without a word.

use super::*;

fn words(b: &mut Bench) -> Vec<String> {
    b.outputs()
        .into_iter()
        .filter_map(|o| match o {
            Output::Transcript(transcript::Output::Word(w)) => Some(w.text),
            _ => None,
        })
        .collect()
}

#[test]
fn a_burst_is_over_when_nothing_more_comes() {
    let mut b = Bench::ready(long());
    b.audio(6 * SAMPLE_RATE);
    b.delta("language English<asr_text>One two");
    b.delta(" three.");
    assert_eq!(words(&mut b), [""; 0]);
    b.pass(S / 10);
    assert_eq!(words(&mut b), [""; 0], "more may come");
    b.wake();
    assert!(b.now <= S / 2, "{:?}", b.now);
    assert_eq!(words(&mut b), ["One", "two", "three."]);
    // Once, and not for each moment in which nothing comes.
    assert!(b.s.wake_at().is_none_or(|at| at > b.now + S));
}

#[test]
fn without_a_clock_too() {
    let mut b = Bench::ready(long());
    b.s.set_live(true);
    for word in [" one", " two", " three."] {
        b.audio(SAMPLE_RATE);
        b.delta(word);
    }
    assert_eq!(words(&mut b), ["one", "two"]);
    b.wake();
    assert!(b.now <= S / 2, "{:?}", b.now);
    assert_eq!(words(&mut b), ["three."]);
}

#[test]
fn a_burst_whose_audio_is_not_all_there_is_not_over() {
    let mut b = Bench::ready(long());
    b.audio(6 * SAMPLE_RATE);
    b.delta("language English<asr_text>One");
    b.wake();
    b.delta("language English<asr_text>Two three");
    b.pass(S);
    let out = words(&mut b);
    assert!(!out.contains(&"Two".to_owned()), "{out:?}");
}
