// SPDX-License-Identifier: MPL-2.0

//! What holds by any clock: what the server tells of itself, the final text, limits.

use super::*;

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
    s.t.delta("One two three four", SampleInGeneration::new(160_000), &pieces[..1], Some(-0.5));
    s.t.done("One two three four", None, &pieces);
    s.poll();
    let w = s.words();
    assert!(w[1].end <= pos(2 * SAMPLE_RATE), "{w:?}");
    assert!(w[2].begin >= pos(2 * SAMPLE_RATE) && w[2].end <= pos(104_000), "{w:?}");
    assert!(w[3].begin >= pos(104_000), "{w:?}");
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
        s.t.delta(text, SampleInGeneration::new(s.position), &[], Some(p));
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
        self.t.delta("e", SampleInGeneration::new(self.position - self.start), &[], None);
        for _ in 1..left {
            self.t.delta(
                "\u{200B}",
                SampleInGeneration::new(self.position - self.start),
                &[],
                None,
            );
        }
        self.deltas += left;
        self.poll();
    }
}

#[test]
fn the_horizon_moves_on_in_silence() {
    let mut s = auto();
    s.begin(0);
    s.frames(&[""; 200]);
    assert!(s.t.horizon() + len(3 * SAMPLE_RATE) > pos(at(200)), "{}", s.t.horizon());
    assert!(s.t.horizon() <= pos(at(200)));
    assert_eq!(s.t.heard().samples(), at(199));
    let before = s.t.horizon();
    s.frames(&[" one", ""]);
    assert!(s.words()[0].begin >= before);
    assert!(s.t.resume_at() <= s.t.horizon());
}

#[test]
fn an_utterance_of_two_generations_has_the_sum_of_their_bills() {
    let mut s = auto();
    let bill = |n| Some(Usage { prompt_tokens: n, completion_tokens: 2 * n, total_tokens: 3 * n });
    for (n, start) in [(1, 0), (20, 16_000)] {
        s.begin(start);
        s.audio(16_000);
        s.end();
        match n {
            1 => s.t.done_in_pause("one", bill(n), &[]),
            _ => s.t.done("two", bill(n), &[]),
        }
    }
    s.poll();
    let Some(Output::Utterance(u)) = s.out.last() else { panic!("{:?}", s.out) };
    assert_eq!((u.text.as_str(), u.usage), ("one two", bill(21)));
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
    s.t.delta(&"x".repeat(15 << 20), SampleInGeneration::new(16_000), &[], None);
    s.t.abort();
    assert_eq!(s.t.overrun(), None);
    s.begin(0);
    for _ in 0..1_000_000 {
        s.t.delta("", SampleInGeneration::new(16_000), &[], None);
    }
    s.poll();
    assert_eq!(s.t.overrun(), None);
    s.t.delta(&" a".repeat(8 << 20), SampleInGeneration::new(16_000), &[], None);
    assert!(s.t.overrun().is_some());
    s.t.done(&" a".repeat(8 << 20), None, &[]);
    s.poll();
}

#[test]
fn a_forced_clock_stays() {
    for timing in [Timing::Frames, Timing::Segments, Timing::Arrival, Timing::Utterance] {
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
