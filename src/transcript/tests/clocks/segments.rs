// SPDX-License-Identifier: MPL-2.0

//! Segmented servers.

use super::*;

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
    assert_eq!(s.t.heard().samples(), 3 * SEGMENT);
    s.audio(3 * SEGMENT + 16_000);
    s.end();
    s.say("language German<asr_text>Nein.");
    let u = s.done();
    assert_eq!(u.text, "Hello world Und Tschüss. Nein.");
    assert_eq!((u.correction, u.language.as_deref()), (None, Some("de")));
    for (w, segment) in u.words.iter().zip([0, 0, 2, 2, 3]) {
        let from = 5000 + segment * SEGMENT;
        assert!(w.begin >= pos(from) && w.end <= pos(from + SEGMENT), "{w:?}");
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
    assert_eq!((s.t.horizon(), s.t.resume_at()), (pos(SEGMENT), pos(SEGMENT)));
}

/// What was said before leaks into what is said over silence.
#[test]
fn what_is_said_again_over_silence_is_left_out() {
    let mut s = auto();
    s.begin(0);
    let before = "language English<asr_text>One two.";
    for n in 1..=3 {
        s.audio(n * SEGMENT);
        s.say(before);
        s.say("");
    }
    s.audio(4 * SEGMENT);
    s.say("language English<asr_text>One two three.");
    s.end();
    let u = s.done();
    assert_eq!((u.text.as_str(), &u.correction), ("One two. One two three.", &None));
    assert_eq!(s.t.repetitions(), 2);
    assert!(u.words[2].begin >= pos(3 * SEGMENT), "{u:?}");
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
    assert!(u.words[5].end <= pos(SEGMENT + 4800) && u.words[6].begin >= pos(SEGMENT), "{u:?}");
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
    edge_in(&[before], &[after], speech)
}

/// As [`edge`], each segment's text in several deltas.
fn edge_in(before: &[&str], after: &[&str], speech: bool) -> Vec<String> {
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
    s.t.audio(pos(0), &samples);
    s.position = 2 * SEGMENT;
    for segment in [before, after] {
        s.say("language English<asr_text>");
        segment.iter().for_each(|text| s.say(text));
    }
    s.end();
    let u = s.done();
    assert_eq!(u.correction, None);
    s.texts()
}

/// The word that waits at the edge goes before all of the next segment, and stays its own.
#[test]
fn a_segment_of_one_word_does_not_overtake_the_one_before() {
    for (after, words) in [
        (&["Yes.", ""][..], &["I", "went", "to", "Yes."][..]),
        (&["Well...", ""], &["I", "went", "to", "Well..."]),
        (&["我们走吧。", ""], &["I", "went", "to", "我们", "走", "吧。"]),
        // The mark that comes late tells that it was said twice.
        (&[", to bed"], &["I", "went", "to\u{a0},", "to", "bed"]),
    ] {
        assert_eq!(edge_in(&["I went to"], after, true), words, "{after:?}");
    }
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

/// A word at a cut is left to the next generation only where all of it can be heard again.
#[test]
fn a_word_whose_audio_is_not_kept_is_not_left_to_the_next_generation() {
    let mut s = auto();
    s.begin(0);
    s.audio(SEGMENT);
    s.say("language English<asr_text>One two.");
    s.say("");
    assert_eq!(s.texts(), ["One", "two."]);
    s.audio(SEGMENT + 4000);
    s.end();
    s.say("language English<asr_text>three");
    s.t.done_in_speech(&s.text.clone(), None, &[]);
    s.poll();
    assert_eq!(s.texts(), ["One", "two.", "three"]);
}
