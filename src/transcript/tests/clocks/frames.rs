// SPDX-License-Identifier: MPL-2.0

//! Frame-synchronous servers.

use super::*;

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
    assert!(w[0].end > pos(160_000 + at(8)) && w[0].end <= pos(160_000 + at(11)), "{w:?}");
    assert!(w[1].end > pos(160_000 + at(18)) && w[1].end <= pos(160_000 + at(21)), "{w:?}");
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
    // They have k = 20, 24, 25. With a mark: up to k, or a frame late; without: before k, likewise.
    assert!(w[0].end <= pos(at(21)) && w[1].end <= pos(at(24)) && w[2].end <= pos(at(25)), "{w:?}");
    assert!(w.iter().all(|w| w.end - w.begin >= len(16)), "{w:?}");
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
fn punctuation_that_comes_late_joins_its_word_while_that_is_inside() {
    for deltas in [
        &[" said", "", ".", "", " Then"][..],
        &[" said", "", "", ".", " Then they"],
        &[" said", "", ". Then they"],
    ] {
        // All words wait for `done`.
        let mut s = Server::timing(Timing::Utterance);
        s.begin(0);
        s.frames(&["", ""]);
        s.frames(deltas);
        s.rest();
        let u = s.done();
        assert_eq!(s.texts()[..2], ["said.", "Then"], "{deltas:?}");
        assert_eq!((s.corrections().len(), u.correction), (0, None), "{deltas:?}");
    }
}

#[test]
fn punctuation_that_is_heard_only_now_is_not_lost_with_its_word() {
    // It comes with the word that is heard again; or it came late before, and comes late again.
    for (first, again) in [
        (vec![" said", "", "", "", "", "", ""], vec![" said", "."]),
        (vec![" said", "", "", ".", "", ""], vec![" said", "", "", "."]),
    ] {
        let mut s = auto();
        s.begin(0);
        s.frames(&[""; 8]);
        s.frames(&first);
        assert_eq!(s.texts(), ["said"]);
        s.t.abort();
        let from = s.t.resume_at().samples();
        s.begin(from);
        s.frames(&vec![""; 8 - (from / FRAME) as usize]);
        s.frames(&again);
        s.frames(&["", "", "", "", "", "", "", "", "", "", "", "", "", " Then", "", ""]);
        s.rest();
        s.done();
        assert_eq!(s.texts(), ["said", "Then"]);
        assert_eq!(s.corrections(), ["said."]);
    }
}

#[test]
fn punctuation_that_comes_late_is_a_correction() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", " world", "", "", "", ",", "", "", " and", "", "", "", ".", "", ""]);
    s.rest();
    let u = s.done();
    assert_eq!(s.texts(), ["world", "and"]);
    assert_eq!(s.corrections(), ["world,", "and."]);
    assert_eq!((u.text.as_str(), u.correction), ("world, and.", None));
    assert_eq!(u.words[1].text, "and.");
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
    assert!(u.words[0].end <= pos(at(5)) && u.words[0].end > pos(at(2)), "{u:?}");
    assert_eq!(s.t.horizon(), pos(8000));
    assert_eq!(s.t.resume_at(), pos(8000));
}

/// A generation that does not fit at all speaks for itself alone.
#[test]
fn deltas_before_their_audio_disprove_the_frame_clock_of_their_generation() {
    let mut s = auto();
    s.begin(0);
    s.frames(&["", "", " one", ""]);
    // Five more, and the delay is less than any; then spare ones.
    (0..13).for_each(|_| s.say(""));
    assert_eq!(s.fell_back(), []);
    (0..4).for_each(|_| s.say(""));
    assert_eq!(s.fell_back(), [(Timing::Frames, Timing::Utterance)]);
    s.say(" two");
    s.say(" three");
    assert_eq!(s.texts(), ["one"]);
    s.audio(32_000);
    s.end();
    let u = s.done();
    assert_eq!(u.text, "one two three");
    // Of a live source the words go on to leave.
    let mut live = auto();
    live.t.set_live(true);
    live.begin(0);
    live.frames(&["", "", " one", ""]);
    (0..17).for_each(|_| live.say(""));
    assert_eq!(live.fell_back(), [(Timing::Frames, Timing::Arrival)]);
    live.say(" two");
    live.say(" three.");
    live.say("");
    assert_eq!(live.texts(), ["one", "two", "three."]);
    // The next one begins by frames again, and nothing is told twice.
    s.begin(32_000);
    s.frames(&["", "", " four", ""]);
    assert_eq!(s.t.timing(), Timing::Frames);
    assert_eq!(s.texts(), ["one", "two", "three", "four"]);
    s.rest();
    s.done();
    assert_eq!(s.fell_back().len(), 1);
    check(&s.words());
}

/// One delta too many, too few, merged, or billed wrongly is no reason to lose the clock.
#[test]
fn a_count_or_a_bill_that_is_off_changes_no_clock() {
    for (tokens, deltas) in [(36, 35), (35, 34), (35, 36), (34, 35), (35, 20)] {
        let mut s = auto();
        for generation in 0..3 {
            let start = generation * frames_audio(35);
            s.begin(start);
            for k in 0..deltas {
                s.audio((9000 + FRAME * k).min(frames_audio(35)));
                if k == 18 {
                    s.end();
                }
                s.say(if k == 10 { " one" } else { "" });
            }
            s.audio(frames_audio(35));
            s.end();
            let text = s.text.clone();
            s.done_with(&text, tokens);
            assert_eq!(
                (s.t.timing(), s.fell_back()),
                (Timing::Frames, vec![]),
                "{tokens} {deltas}"
            );
        }
        assert_eq!(s.texts().len(), 3);
        check(&s.words());
    }
}

/// A live server whose deltas are merged, or one more, at delta 40: where the words end that come
/// behind it, each with its own true end.
fn slipped(by: i64) -> Vec<(u64, u64)> {
    let mut s = auto();
    s.t.set_live(true);
    s.begin(0);
    s.frames(&[""; 20]);
    s.rest();
    s.done();
    let start = s.position;
    s.begin(start);
    let mut ends = Vec::new();
    let mut k = 0_u64;
    while k < 200 {
        s.audio(9000 + FRAME * k);
        let text = if k % 20 == 10 { " word" } else { "" };
        if !text.is_empty() {
            ends.push(at(k));
        }
        if k == 40 && by > 0 {
            // The stall: these frames come as one.
            k += by as u64;
            s.audio(9000 + FRAME * k);
        }
        s.say(text);
        if k == 40 && by < 0 {
            (by..0).for_each(|_| s.say(""));
        }
        k += 1;
    }
    assert_eq!((s.t.timing(), s.fell_back()), (Timing::Frames, vec![]));
    let words = s.words();
    check(&words);
    assert_eq!(words.len(), ends.len());
    words.iter().map(|w| w.end.samples() - start).zip(ends).collect()
}

/// A few deltas behind the stall the offset is known again.
#[test]
fn merged_and_spare_deltas_are_disciplined_away() {
    for by in [-2, -1, 0, 1, 2, 3, 8, 15, 24] {
        for (end, mark) in slipped(by) {
            // Known anew some deltas behind; before, a word may lie anywhere up to its bound.
            let uncertain = by > 0 && (at(40)..=at(60 + by as u64)).contains(&mark);
            let early = if uncertain { (by as u64 + 2) * FRAME } else { 2 * FRAME };
            assert!(end + early >= mark && end <= mark + 2 * FRAME, "{by}: {end} {mark}");
        }
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
        assert!(u.words[0].begin >= pos(1000) && u.words[4].end <= pos(49_000));
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

/// A stall that merges deltas, or a spare one: that generation alone has weaker times.
#[test]
fn the_generation_after_an_uneven_one_is_by_frames_again() {
    let mut s = auto();
    let mut start = 0;
    for uneven in [false, true, false, true, false] {
        s.begin(start);
        s.frames(&["", "", "", " one", "", "", " two", ""]);
        if uneven {
            (0..25).for_each(|_| s.say(""));
        }
        assert_eq!(s.t.timing(), if uneven { Timing::Utterance } else { Timing::Frames });
        s.rest();
        s.done();
        start = s.position;
    }
    assert_eq!(s.fell_back().len(), 1, "told once");
    // A server that is never even is of another kind.
    for _ in 0..3 {
        s.begin(start);
        s.frames(&["", "", "", " one", "", "", " two", ""]);
        (0..25).for_each(|_| s.say(""));
        s.rest();
        s.done();
        start = s.position;
    }
    s.begin(start);
    s.frames(&["", "", "", " one", "", "", " two", ""]);
    assert_eq!(s.t.timing(), Timing::Utterance);
}

/// Frames with a word of one delta every eighth, the first one on `first`; `merged`: so many empty
/// deltas before that one are missing.
fn every_eighth(s: &mut Server, first: u64, words: &[&str], merged: u64) {
    s.frames(&vec![""; (first - merged) as usize]);
    for word in words {
        s.frames(&[word, "", "", "", "", "", "", ""]);
    }
}

/// The words that are out are more than a second too early, so what was heard of the audio when they
/// are awaited again does not reach them yet (simulation, seed 13012140).
#[test]
fn words_whose_deltas_were_merged_come_once_when_they_are_heard_again() {
    let mut s = auto();
    s.begin(0);
    every_eighth(&mut s, 20, &[" one", " two", " three", " four"], 14);
    assert_eq!(s.texts(), ["one", "two", "three", "four"]);
    s.t.abort();
    s.begin(at(10));
    every_eighth(&mut s, 10, &[" one", " two", " three", " four", " five"], 0);
    s.rest();
    s.done();
    assert_eq!(s.texts(), ["one", "two", "three", "four", "five"]);
}

/// A word is out too early, and the audio that is heard again ends before it was spoken
/// (simulation, seed 13000964).
#[test]
fn a_word_that_was_out_too_early_comes_once_behind_an_end() {
    let mut s = auto();
    s.begin(0);
    every_eighth(&mut s, 20, &[" one", " two"], 0);
    s.frames(&[" three", "", ""]);
    assert_eq!(s.texts(), ["one", "two", "three"]);
    s.t.abort();
    s.begin(at(10));
    every_eighth(&mut s, 10, &[" one", " two"], 0);
    s.t.audio_end(pos(at(36)), len(0));
    for _ in s.deltas..frames_in_all(at(26)) {
        s.say("");
    }
    s.t.done_in_pause(&s.text.clone(), None, &[]);
    s.poll();
    s.begin(at(36));
    every_eighth(&mut s, 4, &[" three", " four"], 0);
    s.rest();
    s.done();
    assert_eq!(s.texts(), ["one", "two", "three", "four"]);
}
