// SPDX-License-Identifier: MPL-2.0

//! Servers without a clock, whose text comes while the audio does.

use super::*;

fn live() -> Server {
    let mut s = auto();
    s.t.set_live(true);
    s.begin(0);
    s
}

/// A word leaves once it is whole.
#[test]
fn a_word_is_out_once_it_is_whole() {
    let mut s = live();
    for (n, (text, out)) in
        [(" one", 0), (" two", 0), (" th", 2), ("ree", 2), (" four", 3)].into_iter().enumerate()
    {
        s.audio((n as u64 + 1) * SAMPLE_RATE);
        s.say(text);
        assert_eq!(s.texts().len(), out, "{text}");
    }
    assert_eq!(s.t.timing(), Timing::Arrival);
    // Before the end of the audio that had been sent when its text came.
    assert!(s.words().iter().zip([1, 2, 4]).all(|(w, n)| w.end <= pos(n * SAMPLE_RATE)));
    s.end();
    assert_eq!(s.done().text, "one two three four");
    // Its kind is known from then on.
    s.begin(s.position);
    s.audio(8 * SAMPLE_RATE);
    s.say(" five");
    s.say(" six");
    assert_eq!(s.texts().last().unwrap(), "five");
}

/// A server of which nobody knows how far it is says a word a few seconds after its end.
#[test]
fn a_word_is_not_placed_long_before_its_text() {
    let mut s = live();
    for n in 1..=40 {
        s.audio(n * SAMPLE_RATE);
        s.say(" a");
    }
    let w = s.words();
    assert_eq!(w.len(), 39);
    for (i, w) in w.iter().enumerate() {
        let before = i as u64 * SAMPLE_RATE;
        assert!(w.end >= pos(before.saturating_sub(4 * SAMPLE_RATE)), "{i}: {w:?}");
        assert!(w.end <= pos(before + SAMPLE_RATE), "{i}: {w:?}");
    }
}

/// All of the text comes at once, behind long audio in which nothing tells where the words are: the
/// first ones leave room for the others.
#[test]
fn words_that_come_at_once_have_room() {
    let mut s = Server::timing(Timing::Arrival);
    s.begin(0);
    s.audio(20 * SAMPLE_RATE);
    for _ in 0..30 {
        s.say(" word");
    }
    s.end();
    assert_eq!(s.done().correction, None);
    assert_eq!(s.texts(), ["word"; 30]);
    let words = s.words();
    assert!(words.iter().all(|w| w.end - w.begin >= len(SAMPLE_RATE / 20)), "{words:?}");
}

#[test]
fn a_burst_of_text_that_is_over_ends_its_sentence() {
    let mut s = live();
    for n in 1..=3 {
        s.audio(n * SAMPLE_RATE);
        s.say(" word");
    }
    for (text, out) in [("s", 2), (".", 3)] {
        s.say(text);
        assert!(s.t.burst_may_be_over());
        s.t.burst_over();
        s.poll();
        assert_eq!(s.texts().len(), out, "{text}");
    }
    assert!(!s.t.burst_may_be_over(), "nothing waits");
}

/// With the space behind it a word is whole, and leaves at once; a mark is late.
#[test]
fn a_space_ends_a_word() {
    let mut s = live();
    for (n, text) in [" so", " it", " is", " said ", ". ", "Then "].into_iter().enumerate() {
        s.audio((n as u64 + 1) * SAMPLE_RATE);
        s.say(text);
    }
    assert_eq!(s.texts(), ["so", "it", "is", "said", "Then"]);
    assert!(s.words().iter().all(|w| w.space_before == (w.text != "so")), "{:?}", s.words());
}

#[test]
fn all_of_a_lost_generation_is_heard_again_and_no_word_comes_twice() {
    let mut s = live();
    for (n, text) in [" one", " two", " three", " four"].into_iter().enumerate() {
        s.audio((n as u64 + 1) * SAMPLE_RATE);
        s.say(text);
    }
    assert_eq!((s.texts().len(), s.t.heard().samples(), s.t.resume_at()), (3, 0, pos(0)));
    s.t.abort();
    s.begin(0);
    for text in [" one", " two", " three", " four", " five", " six"] {
        s.say(text);
    }
    s.audio(6 * SAMPLE_RATE);
    s.end();
    s.done();
    assert_eq!(s.texts(), ["one", "two", "three", "four", "five", "six"]);
}

/// Fast speech.
#[test]
fn more_words_than_one_says_in_a_moment_are_known_again() {
    let word = |n: u64| format!(" w{}", (n * n * 7 + n / 7 * 13) % 61);
    let mut s = live();
    for n in 0..130 {
        s.audio((n + 1) * SAMPLE_RATE / 5);
        s.say(&word(n));
    }
    let out = s.texts();
    assert_eq!(out.len(), 129);
    s.t.abort();
    s.begin(0);
    for n in 0..130 {
        s.say(&word(n));
    }
    s.say(" new");
    s.end();
    s.done();
    assert_eq!(s.texts()[..129], out);
    assert_eq!(s.texts()[129..], [&word(129)[1..], "new"]);
}

/// Half a word is no word, whatever comes between.
#[test]
fn an_empty_delta_ends_a_sentence_and_no_word() {
    let mut s = live();
    for n in 1..=3 {
        s.audio(n * SAMPLE_RATE);
        s.say(" a");
    }
    for (text, out) in [(" trans", 3), ("", 3), ("", 3), ("cription", 3), (".", 3), ("", 4)] {
        s.say(text);
        assert_eq!(s.texts().len(), out, "{text}");
    }
    assert_eq!(s.texts()[3], "transcription.");
}

/// Where segments come too early, the word that waited for the next one's goes before it.
#[test]
fn a_word_at_an_edge_stays_in_its_place() {
    let mut s = live();
    s.t.audio(pos(0), &crate::speech::sample::voice(SEGMENT as usize + 40_000, 8000.0));
    s.position = SEGMENT;
    s.say("language English<asr_text>one two");
    s.position = 2 * SEGMENT - 40_000;
    s.say("language English<asr_text>three four");
    s.say(" five");
    s.say(" six");
    s.end();
    s.done();
    assert_eq!(s.texts(), ["one", "two", "three", "four", "five", "six"]);
    assert_eq!(s.fell_back(), [(Timing::Segments, Timing::Arrival)]);
}
