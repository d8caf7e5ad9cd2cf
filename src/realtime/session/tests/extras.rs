// SPDX-License-Identifier: MPL-2.0

//! What is asked for beside the model, and refused.

use super::*;

const REFUSALS: [&str; 4] = [
    "invalid_timestamp_granularity",
    "unsupported_timestamp_granularity",
    "segment_timestamps_unavailable",
    "invalid_event",
];

#[test]
fn the_plain_update_follows_once_and_is_remembered() {
    for code in REFUSALS {
        let mut b = Bench::ready(config());
        b.audio(SAMPLE_RATE);
        assert_eq!(b.sent().first(), Some(&Begin));
        b.error(code);
        assert_eq!(b.sent(), [Update, Begin], "{code}: the commit is repeated");
        b.error("model_not_validated");
        assert_eq!(b.sent(), [], "{code}: that was the commit before");
        b.delta("");
        b.delta(" one");
        assert_eq!(b.s.stats().errors, 0);
        // On the next connection nobody asks again.
        b.lose();
        b.wake();
        assert!(b.sent().contains(&Connect(0)));
        b.greet();
        let asked = b.sent();
        assert_eq!(asked[0], Update);
        b.error(code);
        assert!(!b.sent().contains(&Update), "{code}");
    }
}

#[test]
fn a_final_commit_under_way_is_repeated_too() {
    let mut b = Bench::ready(config());
    b.audio(SAMPLE_RATE);
    b.end_utterance();
    assert_eq!(b.sent().last(), Some(&Final));
    b.error(REFUSALS[1]);
    assert_eq!(b.sent(), [Update, Begin, Final]);
    b.error("model_not_validated");
    b.error("model_not_validated");
    assert_eq!(b.sent(), []);
    // One more is a real one.
    b.error("model_not_validated");
    assert!(b.sent().contains(&Disconnect));
}

/// Whatever it is called, while nothing else is under way.
#[test]
fn any_error_to_the_update_refuses_it() {
    for error in [
        r#"{"type":"error","error":"no such field","code":"something_new"}"#,
        r#"{"type":"error","error":"no such field"}"#,
    ] {
        let mut b = Bench::ready(config());
        b.hear(error);
        assert_eq!(b.sent(), [Update], "{error}");
        b.hear(error);
        assert_eq!(b.sent(), [Disconnect], "{error}: once");
    }
    for code in ["idle_timeout", "model_not_found", "auth_error"] {
        let mut b = Bench::ready(config());
        b.error(code);
        assert_eq!(b.sent(), [Disconnect], "{code} is about something else");
    }
}

/// What one server refuses another one may have.
#[test]
fn each_server_is_asked_once() {
    let servers = ServerUrl::parse_list("ws://a,ws://b").unwrap();
    let mut b = Bench::ready(Config { servers, ..config() });
    b.error(REFUSALS[0]);
    assert_eq!(b.sent(), [Update]);
    b.audio(SAMPLE_RATE);
    b.sent();
    // At the first one that was the whole update by now, and its error is one.
    for (server, updates) in [(1, 2), (0, 1)] {
        b.lose();
        b.wake();
        assert!(b.sent().contains(&Connect(server)));
        b.greet();
        b.error(REFUSALS[0]);
        let sent = b.sent();
        assert_eq!(sent.iter().filter(|s| **s == Update).count(), updates, "{server}: {sent:?}");
    }
}

#[test]
fn any_other_error_is_one() {
    let mut b = Bench::ready(config());
    b.audio(SAMPLE_RATE);
    b.sent();
    b.error("processing_error");
    assert!(b.sent().contains(&Disconnect));
    // Nor is a refusal that comes when the server works.
    let mut b = Bench::ready(config());
    b.audio(SAMPLE_RATE);
    b.delta("");
    b.sent();
    b.error(REFUSALS[0]);
    assert!(b.sent().contains(&Disconnect));
}

/// Found by the simulation: a flush while the refusal is on its way.
#[test]
fn a_flush_before_the_refusal_is_known_ends_nothing_but_the_connection() {
    let mut b = Bench::ready(config());
    b.audio(SAMPLE_RATE);
    b.s.flush(1, b.now);
    b.sent();
    b.error("invalid_event");
    b.error("model_not_validated");
    b.error("model_not_validated");
    assert_eq!(b.failure(), None);
    assert!(b.sent().contains(&Disconnect));
    b.audio(SAMPLE_RATE);
    if b.s.wake_at().is_some() {
        b.wake();
    }
    assert!(b.sent().iter().any(|s| matches!(s, Connect(_))));
    assert_eq!(b.failure(), None);
}

/// A connection that goes before any audio is given, right after it was asked.
#[test]
fn a_server_that_closes_when_it_is_asked_is_not_asked_again() {
    let mut b = Bench::ready(config());
    b.lose();
    b.audio(SAMPLE_RATE);
    assert!(b.sent().contains(&Connect(0)));
    b.greet();
    b.sent();
    b.error("invalid_event");
    assert!(!b.sent().contains(&Update), "that refuses nothing");
}
