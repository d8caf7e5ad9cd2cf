// SPDX-License-Identifier: MPL-2.0

//! What is missed where one mechanism of the session is switched off.

use super::fates::{Dies, Ends, Says, Waits, serve_sounding};
use super::*;
use crate::mechanism::Mechanism;

/// A sound without a pause.
pub(super) fn loud(samples: u64) -> Vec<i16> {
    (0..samples).map(|n| if n % 160 < 80 { 8000 } else { -8000 }).collect()
}

/// A frame-synchronous server, which says a word where it heard all of it.
pub(super) struct Server {
    /// Text, beginning and end.
    words: Vec<(String, u64, u64)>,
    /// In frames.
    delay: u64,
    deltas: u64,
    text: String,
}

impl Server {
    /// Words in a row, each 400 ms long; a delay of 480 ms.
    pub fn new(words: u64) -> Server {
        let word = |n: u64| (format!("w{n}"), 6400 * n, 6400 * (n + 1));
        let words = (0..words).map(word).collect();
        Server { words, delay: 6, deltas: 0, text: String::new() }
    }

    pub fn with_delay(self, delay: u64) -> Server {
        Server { delay, ..self }
    }

    pub fn texts(&self) -> Vec<String> {
        self.words.iter().map(|w| w.0.clone()).collect()
    }

    /// Says what is due of the generation under way.
    pub fn answer(&mut self, b: &mut Bench) {
        let Some(g) = b.s.wanted() else { return };
        let all = !g.is_running();
        if g.deltas() == 0 {
            (self.deltas, self.text) = (0, String::new());
        }
        let frames = g.sent().samples().saturating_sub(40) / 1280;
        let due = if all { frames + 11 } else { frames.saturating_sub(self.delay) };
        while self.deltas < due {
            let (to, k) = (g.start().samples() + 1280 * self.deltas, self.deltas);
            let ends = |w: &&(String, u64, u64)| w.2 <= to && w.2 + 1280 > to;
            let (from, sent) = (g.start().samples(), g.at().samples());
            let word = self.words.iter().filter(ends).find(|w| w.1 >= from && w.2 <= sent);
            let text = word.map_or(String::new(), |w| format!(" {}", w.0));
            self.text += &text;
            self.deltas = k + 1;
            b.delta(&text);
        }
        if all {
            b.done_after(self.delay, &self.text, due);
        }
    }

    /// Speaks on to this position.
    pub fn hear(&mut self, b: &mut Bench, to: u64) {
        while b.position < pos(to) {
            b.s.audio(b.position, loud(1280), b.now);
            b.position += len(1280);
            b.now += Duration::from_millis(80);
            b.s.time(b.now);
            self.answer(b);
        }
    }

    /// All that is left.
    pub fn finish(&mut self, b: &mut Bench) {
        b.s.drain(1, b.now);
        for _ in 0..1000 {
            self.answer(b);
            if b.s.stats().samples_unconfirmed == 0 {
                return;
            }
            if b.s.wake_at().is_some() {
                b.wake();
            }
        }
        panic!("{:?} {:?}", b.s.generation, b.s.stats());
    }
}

fn same<T: PartialEq + std::fmt::Debug>(is: T, wanted: T) -> Result<(), String> {
    if is == wanted { Ok(()) } else { Err(format!("{is:?} instead of {wanted:?}")) }
}

#[test]
fn overlap_at_a_cut_no_word_is_cut_in_two() {
    Mechanism::OverlapAtCut.is_needed_by(|| {
        let mut b = Bench::ready(Config { max_utterance: Some(30 * S), ..frames() });
        let mut server = Server::new(200);
        server.hear(&mut b, 80 * SAMPLE_RATE);
        server.finish(&mut b);
        same(b.texts(), server.texts())
    });
}

#[test]
fn known_to_a_short_generation_goes_beyond_the_words_that_are_out() {
    Mechanism::KnownTo.is_needed_by(|| {
        let mut b = Bench::ready(frames());
        let mut server = Server::new(100);
        server.hear(&mut b, 20 * SAMPLE_RATE);
        let out = b.words().last().unwrap().end;
        for _ in 0..12 {
            b.lose();
            b.wake();
            b.greet();
        }
        b.s.audio(b.position, loud(2 * SAMPLE_RATE), b.now);
        let Some(g) = b.finishing() else {
            return Err(format!("{:?}", b.s.generation));
        };
        let beyond = g.at() > out + len(SAMPLE_RATE / 2);
        if beyond { Ok(()) } else { Err(format!("{} of {out}", g.at())) }
    });
}

/// The words of a segment are out, and its end is heard again: with that a short generation would
/// be longer than any that this server survives.
#[test]
fn may_be_cut_anew_a_server_that_dies_early_gets_on_all_the_same() {
    Mechanism::CutAnew.is_needed_by(|| {
        let (mut said, mut born, mut left) = (0, 0, 0);
        let o = serve_sounding(&loud(SAMPLE_RATE), 20, |audio, ended, lives| {
            if lives != born {
                (born, left) = (lives, 3 * SAMPLE_RATE / 2);
            }
            let length = audio.end - audio.start;
            if lives == 1 && said < 2 {
                // The first one's words are out once the second begins.
                if length < [6, 10][said] * SAMPLE_RATE {
                    return Waits;
                }
                said += 1;
                Says
            } else if length > left {
                Dies
            } else if ended {
                left -= length;
                Ends
            } else {
                Waits
            }
        });
        same(o.dropped, Vec::new())
    });
}

#[test]
fn equal_parts_no_stub_of_the_utterance_is_sent_alone() {
    Mechanism::EqualParts.is_needed_by(|| {
        let mut shortest = u64::MAX;
        serve_sounding(&loud(SAMPLE_RATE), 31, |audio, ended, lives| {
            let length = audio.end - audio.start;
            if lives < 4 {
                Dies
            } else if ended {
                shortest = shortest.min(length);
                Ends
            } else {
                Waits
            }
        });
        if shortest >= SAMPLE_RATE / 4 { Ok(()) } else { Err(format!("{shortest} samples")) }
    });
}

/// All of an utterance has its words, and the connection goes before `done`: the utterance is told
/// to be over all the same.
fn lost_before_done() -> Result<(), String> {
    let mut segments = long();
    segments.transcript.timing = Timing::Segments;
    let mut b = Bench::ready(segments);
    b.audio(5 * SAMPLE_RATE);
    b.end_utterance();
    b.delta("language English<asr_text>word.");
    b.delta("");
    b.lose();
    b.wake();
    b.greet();
    b.delta("language None<asr_text>");
    b.hear(r#"{"type":"transcription.done","text":"language None<asr_text>"}"#);
    let told = |o: &Output| matches!(o, Output::Transcript(transcript::Output::Utterance(_)));
    b.outputs();
    same((b.texts(), has(&b.out, told)), (vec!["word.".to_owned()], true))
}

#[test]
fn the_end_is_kept_an_utterance_is_told_to_be_over() {
    Mechanism::EndKept.is_needed_by(lost_before_done);
}
