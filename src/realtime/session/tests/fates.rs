// SPDX-License-Identifier: MPL-2.0

//! Servers that die again and again, and audio that none survives: what is lost, and what holds
//! what up.

use super::super::super::{ErrorKind, Output};
use super::super::*;
use super::{SAMPLE_RATE, len, pos};

const S: u64 = SAMPLE_RATE;
const CREATED: &str = r#"{"type":"session.created","id":"sess-1","created":1}"#;

/// What a server does with what it has of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits for more.
    Waits,
    /// The connection goes.
    Dies,
    /// `processing_error`, and the session leaves.
    Fails,
    /// The words of a segment come.
    Says,
    /// All of it gets its word; only where the final commit came.
    Ends,
}
pub(super) use Fate::*;

pub(super) struct Outcome {
    /// Lives of the server.
    lives: u32,
    pub(super) dropped: Vec<(u64, u64)>,
    stats: Stats,
}

/// `seconds` of audio through a segmented server; `fate` sees each generation each time something
/// was sent: where it begins and ends so far, whether that is all, and which life it is.
fn serve(seconds: u64, fate: impl FnMut(std::ops::Range<u64>, bool, u32) -> Fate) -> Outcome {
    serve_sounding(&[1; S as usize], seconds, fate)
}

/// The same with this second of audio over and over.
pub(super) fn serve_sounding(
    second: &[i16],
    seconds: u64,
    mut fate: impl FnMut(std::ops::Range<u64>, bool, u32) -> Fate,
) -> Outcome {
    // Generations as long as it takes, not up to the next pause.
    let config = super::long();
    let mut s = Session::new(config, 7);
    let mut now = Duration::ZERO;
    let (mut given, mut lives, mut dropped) = (0, 0, Vec::new());
    for step in 0.. {
        assert!(step < 200_000, "it never ends: {:?}", s.stats());
        while s.poll_action().is_some() {}
        while let Some(output) = s.poll_output() {
            match output {
                Output::Dropped { begin, end, .. } => {
                    dropped.push((begin.samples(), end.samples()))
                }
                Output::Failed(e) => panic!("{e:?}"),
                _ => {}
            }
        }
        if given < seconds * S && s.backlog() < len(30 * S) {
            s.audio(pos(given), second.to_vec(), now);
            given += S;
            if given == seconds * S {
                s.drain(1, now);
            }
            continue;
        }
        let stats = s.stats();
        if stats.samples_unconfirmed == 0 {
            return Outcome { lives, dropped, stats };
        }
        let (g, ended) = match (s.link.state(), s.wanted()) {
            (Connection::Ready, Some(g)) => (g, !g.is_running()),
            (Connection::Connecting { .. }, _) => {
                lives += 1;
                s.connected(now);
                s.message(CREATED, now);
                continue;
            }
            _ => {
                now = s.wake_at().expect("something to wait for").max(now);
                s.time(now);
                continue;
            }
        };
        match fate(g.start().samples()..g.at().samples(), ended, lives) {
            Waits => {
                now = s.wake_at().expect("something to wait for").max(now);
                s.time(now);
            }
            Dies => {
                let error = Error {
                    kind: ErrorKind::Unreachable,
                    message: "Lost.".into(),
                    detail: String::new(),
                };
                s.disconnected(Lost { error, permanent: false }, now);
            }
            Fails => s.message(r#"{"type":"error","error":"x","code":"processing_error"}"#, now),
            Says => {
                let text = "language English<asr_text>One two.";
                let delta = serde_json::json!({"type": "transcription.delta", "delta": text});
                s.message(&delta.to_string(), now);
            }
            Ends => {
                assert!(ended);
                let tags = g.length().samples().div_ceil(5 * S);
                let text = "language English<asr_text>Word.".repeat(tags as usize);
                let delta = serde_json::json!({"type": "transcription.delta", "delta": text});
                s.message(&delta.to_string(), now);
                let done = serde_json::json!({"type": "transcription.done", "text": text});
                s.message(&done.to_string(), now);
            }
        }
    }
    unreachable!()
}

/// A server that works so much audio through in each life, and dies at the next sample.
fn mortal(seconds: u64, life: u64) -> Outcome {
    let (mut born, mut left) = (0, life);
    serve(seconds, |audio, ended, lives| {
        if lives != born {
            (born, left) = (lives, life);
        }
        let length = audio.end - audio.start;
        if length > left {
            Dies
        } else if ended {
            left -= length;
            Ends
        } else {
            Waits
        }
    })
}

/// In an hour of audio a server dies 720 times and more, and always before it has said anything of
/// a generation as long as they usually are.
#[test]
fn a_server_that_dies_every_five_seconds_for_an_hour_loses_nothing() {
    let o = mortal(3600, 5 * S);
    assert!(o.lives >= 720, "{}", o.lives);
    assert_eq!((o.dropped.as_slice(), o.stats.samples_confirmed), (&[][..], 3600 * S));
    // Nor is most of it in vain.
    assert!(o.stats.samples_sent < 5 * 3600 * S, "{:?}", o.stats);
}

#[test]
fn nor_does_one_that_lives_for_a_second_and_a_half() {
    let o = mortal(300, 3 * S / 2);
    assert_eq!((o.dropped.as_slice(), o.stats.samples_confirmed), (&[][..], 300 * S));
}

/// Nothing is known to be good: it must end all the same.
#[test]
fn a_server_that_never_gets_anywhere_holds_nothing_up_for_ever() {
    let mut first = true;
    let o = serve(60, |_, ended, _| match (first, ended) {
        // That it is the right protocol has to be known.
        (true, true) => {
            first = false;
            Ends
        }
        (true, false) => Waits,
        _ => Dies,
    });
    assert_eq!(o.stats.samples_confirmed + o.stats.samples_dropped, 60 * S);
}

/// Audio that no server survives: this sample.
const POISON_AT: u64 = 33 * S + 777;

fn poisoned(fatal: Fate, over: u64) -> Outcome {
    let poison = POISON_AT..POISON_AT + over;
    serve(100, |audio, ended, _| {
        if audio.start < poison.end && audio.end > poison.start {
            fatal
        } else if ended {
            Ends
        } else {
            Waits
        }
    })
}

/// It costs a second or two around it and no more, whatever is sent together with it.
#[test]
fn one_poisoned_place_costs_no_more_than_it_must() {
    for (fatal, most) in [(Fails, 20), (Dies, 80)] {
        let o = poisoned(fatal, 1);
        let &[(begin, end)] = o.dropped.as_slice() else { panic!("{:?}", o.dropped) };
        assert!((begin..end).contains(&POISON_AT), "{:?}", o.dropped);
        assert!(end - begin <= 2 * S, "{fatal:?}: {:?}", o.dropped);
        assert_eq!(o.stats.samples_confirmed, 100 * S - (end - begin));
        assert!(o.lives <= most, "{fatal:?}: {} lives", o.lives);
    }
}

#[test]
fn a_long_poisoned_stretch_is_passed_in_the_end() {
    let o = poisoned(Fails, 10 * S);
    let dropped: u64 = o.dropped.iter().map(|(a, b)| b - a).sum();
    assert!((10 * S..=13 * S).contains(&dropped), "{:?}", o.dropped);
    assert_eq!(o.stats.samples_confirmed, 100 * S - dropped);
}
