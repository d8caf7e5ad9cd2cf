// SPDX-License-Identifier: MPL-2.0

//! FLUSH, in every state.

use super::*;

#[test]
fn flush_in_every_state() {
    type Prepare = fn(&mut Bench);
    let states: [(&str, Prepare); 8] = [
        ("idle", |_| {}),
        ("connecting", |b| b.audio(16_000)),
        ("greeting", |b| {
            b.audio(16_000);
            b.s.connected(b.now);
        }),
        ("running", |b| {
            b.audio(16_000);
            b.greet();
            b.delta("");
        }),
        ("finishing", |b| {
            b.audio(16_000);
            b.greet();
            b.end_utterance();
        }),
        ("settling", |b| {
            b.audio(16_000);
            b.greet();
            b.end_utterance();
            b.done("", 23);
        }),
        ("waiting", |b| {
            b.audio(16_000);
            b.greet();
            b.lose();
        }),
        ("flushed", |b| {
            b.audio(16_000);
            b.greet();
            b.s.flush(99, b.now);
        }),
    ];
    for (state, prepare) in states {
        let mut b = Bench::new(frames());
        prepare(&mut b);
        b.s.flush(1, b.now);
        b.sent();
        let out = b.outputs();
        assert_eq!(out.last(), Some(&Output::Flushed(1)), "{state}: {out:?}");
        assert_eq!((b.s.backlog(), b.balanced().samples_unconfirmed), (len(0), 0), "{state}");
        // A late word of before belongs to nobody.
        if b.s.link.state() == Connection::Ready {
            b.delta(" late");
            b.delta("");
        }
        let flushed = b.position;
        b.audio(16_000);
        b.s.drain(1, b.now);
        // Whatever it is doing, it comes to the new audio by itself.
        for _ in 0..5 {
            let sent = b.sent();
            if sent.contains(&Audio(8000, 2)) || sent.contains(&Audio(8000, 1)) {
                break;
            }
            match b.s.link.state() {
                Connection::Connecting { .. } | Connection::Greeting { .. } => b.greet(),
                _ if b.s.wake_at().is_some() => b.wake(),
                _ => break,
            }
        }
        assert!(
            b.finishing().is_some_and(|g| g.start() == flushed),
            "{state}: {:?}",
            b.s.generation
        );
        (0..23).for_each(|k| b.delta(if k == 9 { " new" } else { "" }));
        b.done(" new", 23);
        assert_eq!(b.texts(), ["new"], "{state}");
        assert!(b.words()[0].begin >= flushed, "{state}");
        assert_eq!(b.out.last(), Some(&Output::Drained(1)), "{state}");
        assert_eq!(b.balanced().samples_unconfirmed, 0);
    }
}

#[test]
fn a_flush_keeps_what_was_told_of_the_connection() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.lose();
    b.s.flush(1, b.now);
    b.s.flush(2, b.now);
    let out = b.outputs();
    assert!(has(&out, |o| matches!(o, Output::Warning(_))));
    assert!(out.ends_with(&[Output::Flushed(1), Output::Flushed(2)]));
}
