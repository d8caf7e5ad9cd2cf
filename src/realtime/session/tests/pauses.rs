// SPDX-License-Identifier: MPL-2.0

//! Generations of a segmented server end at pauses.

use super::*;
use crate::SAMPLES_PER_MS;
use crate::realtime::session::pauses::LONGEST;
use crate::speech::sample::voice;

const MS: u64 = SAMPLES_PER_MS;

fn segments(config: Config) -> Bench {
    let mut config = config;
    config.transcript.timing = Timing::Segments;
    Bench::ready(config)
}

impl Bench {
    /// So many ms of voice or of silence, as they are spoken.
    fn hears(&mut self, ms: u64, spoken: bool) {
        let sound =
            if spoken { voice((ms * MS) as usize, 8000.0) } else { vec![1; (ms * MS) as usize] };
        for piece in sound.chunks(320) {
            self.s.audio(self.position, piece.to_vec(), self.now);
            self.position += len(piece.len() as u64);
            self.pass(Duration::from_millis(20));
        }
    }

    /// What the session sent since: samples of each generation, and whether it has ended.
    fn generations(&mut self) -> Vec<(u64, bool)> {
        let mut all = Vec::new();
        for sent in self.sent() {
            match sent {
                Begin => all.push((0, false)),
                Audio(n, _) => match all.last_mut() {
                    Some((samples, _)) => *samples += n,
                    None => all.push((n, false)),
                },
                Final => all.last_mut().expect("a generation").1 = true,
                other => panic!("{other:?}"),
            }
        }
        all
    }

    /// The server's answer, and time for the next generation.
    fn says(&mut self, words: &str) {
        let text = format!("language English<asr_text>{words}");
        self.delta(&text);
        self.done(&text, 9);
        self.pass(SETTLE);
    }

    fn utterances(&mut self) -> Vec<String> {
        self.outputs();
        let text = |o: &Output| match o {
            Output::Transcript(transcript::Output::Utterance(u)) => Some(u.text.clone()),
            _ => None,
        };
        self.out.iter().filter_map(text).collect()
    }
}

#[test]
fn the_text_comes_at_the_pause_and_the_utterance_goes_on_behind_it() {
    let mut b = segments(Config { voice_activity: true, ..config() });
    b.hears(2000, true);
    assert!(b.generations().iter().all(|g| !g.1), "there was no pause");
    b.hears(400, false);
    let sent = b.generations();
    assert!(matches!(sent[..], [(_, true)]), "{sent:?}");
    b.says("one two");
    assert_eq!(b.texts(), ["one", "two"]);
    assert_eq!(b.generations(), [], "nobody speaks");
    b.hears(2000, true);
    b.hears(1500, false);
    let sent = b.generations();
    assert!(matches!(sent[..], [(n, true)] if n < 3 * SAMPLE_RATE), "{sent:?}");
    b.says("three");
    assert_eq!(b.texts(), ["one", "two", "three"]);
    assert_eq!(b.utterances(), ["one two three"]);
    b.balanced();
}

#[test]
fn behind_the_last_pause_of_an_utterance_nothing_is_sent() {
    let mut b = segments(Config { voice_activity: true, ..config() });
    b.hears(2000, true);
    b.hears(400, false);
    b.says("one two");
    assert_eq!(b.utterances(), [""; 0]);
    b.generations();
    b.hears(700, false);
    assert_eq!((b.generations(), b.utterances()), (vec![], vec!["one two".to_owned()]));
    b.s.drain(1, b.now);
    assert!(has(&b.outputs(), |o| *o == Output::Drained(1)));
    assert_eq!(b.balanced().samples_unconfirmed, 0);
}

/// Also where the source stops in the pause, or the stream ends there.
#[test]
fn an_utterance_is_over_in_its_pause() {
    for ends in [true, false] {
        let mut b = segments(Config { voice_activity: true, silence_commit: 5 * S, ..config() });
        b.s.set_live(true);
        b.hears(2000, true);
        b.hears(400, false);
        b.says("one two");
        if ends {
            b.s.drain(1, b.now);
            assert!(has(&b.outputs(), |o| *o == Output::Drained(1)));
        } else {
            b.pass(6 * S);
        }
        assert_eq!(b.utterances(), ["one two"], "{ends}");
    }
}

#[test]
fn without_a_pause_the_last_word_is_heard_again() {
    let mut b = segments(config());
    b.hears(6000, true);
    let sent = b.generations();
    let [(first, true)] = sent[..] else { panic!("{sent:?}") };
    assert!((4 * SAMPLE_RATE..5 * SAMPLE_RATE).contains(&first), "{first}");
    b.says("one two three four five");
    assert_eq!(b.texts(), ["one", "two", "three", "four"], "the cut may have hit the last one");
    let again = b.s.wanted().expect("the next one").start().samples();
    assert!((SAMPLE_RATE..3 * SAMPLE_RATE).contains(&(first - again)), "{again} of {first}");
    b.s.drain(1, b.now);
    b.says("four five six seven eight");
    assert_eq!(b.texts().concat(), "onetwothreefourfivesixseveneight");
    b.balanced();
}

#[test]
fn a_limit_that_the_user_set_wins() {
    let mut b = segments(Config { max_utterance: Some(12 * S), ..config() });
    for _ in 0..4 {
        b.hears(2000, true);
        b.hears(400, false);
    }
    let sent = b.generations();
    assert!(matches!(sent[..], [(n, false)] if n > 8 * SAMPLE_RATE), "{sent:?}");
}

/// A source that stops where the place to cut is looked for already.
#[test]
fn a_stall_shortly_before_the_limit_waits_for_nothing_more() {
    for timing in [Timing::Segments, Timing::Auto] {
        let mut config = config();
        config.transcript.timing = timing;
        let mut b = Bench::ready(config);
        b.s.set_live(true);
        b.hears(4500, true);
        while b.s.wake_at().is_some_and(|at| at < 8 * S) {
            b.wake();
        }
        let sent = b.generations();
        assert!(matches!(sent[..], [(n, true)] if n == 4500 * MS), "{timing:?}: {sent:?}");
    }
}

#[test]
fn where_all_of_it_is_there_a_generation_is_as_long_as_it_may_be() {
    let mut b = segments(config());
    // Voice and pauses by turns.
    let phrase = [voice((1000 * MS) as usize, 8000.0), vec![1; (500 * MS) as usize]].concat();
    b.s.audio(pos(0), phrase.repeat(8), b.now);
    b.pass(Duration::ZERO);
    let first = b.generations();
    // The third pause is the last one before 4.8 s.
    let (samples, ended) = first[0];
    assert!(ended && (4000 * MS..=LONGEST.samples()).contains(&samples), "{first:?}");
}

#[test]
fn a_voice_that_fades_does_not_pause() {
    let mut b = segments(Config { voice_activity: true, ..config() });
    // 2.5 dB in each half a second, and all of it at once.
    let fades = |n: u32| voice((500 * MS) as usize, 8000.0 * 0.75_f32.powi(n as i32));
    let sound: Vec<i16> = (0..9).flat_map(fades).collect();
    b.s.audio(pos(0), sound, b.now);
    b.pass(SETTLE);
    let sent = b.generations();
    assert!(matches!(sent[..], [(n, false)] if n > 3 * SAMPLE_RATE), "{sent:?}");
}
