// SPDX-License-Identifier: MPL-2.0

//! What servers and what stands before them say.

use gst::prelude::*;
use vllm_standin::{Builder, Fault, Standin, What, When};

use crate::support::*;

const TEXT: &str = "hello big world";

fn send(when: When, json: &str) -> Fault {
    Fault::new(when, What::Send(json.into()))
}

/// Two seconds of sound to such a server.
fn play(server: Builder, key: Option<&str>) -> (Rig, Standin) {
    let server = server.start().unwrap();
    let asr = element(&server.url());
    asr.set_property("api-key", key);
    let mut rig = Rig::new(asr);
    // Where it fails it takes no more.
    if (0..20).all(|n| rig.harness.push(audio(100 * n * MS, 100)).is_ok()) {
        rig.harness.push_event(gst::event::Eos::new());
    }
    (rig, server)
}

/// The text, debug text and details of the WARNINGs that are on the bus.
fn warnings(rig: &Rig) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    while let Some(message) = rig.bus.pop() {
        if let gst::MessageView::Warning(w) = message.view() {
            let details = w.details().map(|d| d.to_string()).unwrap_or_default();
            let debug = w.debug().unwrap_or_default().to_string();
            all.push((w.error().message().to_owned(), debug, details));
        }
    }
    all
}

/// 9.11: a key that is refused once the WebSocket is open: NotAuthorized at once, in the gateway's
/// words.
#[test]
fn a_key_that_is_refused_after_the_upgrade() {
    let close = What::Close { code: 1008, reason: "token has expired".into() };
    let refused =
        |code: &str| format!(r#"{{"type":"error","error":"token has expired","code":"{code}"}}"#);
    for fault in [
        Fault::new(When::Created, close.clone()).times(0),
        Fault::new(When::Start, close).times(0),
        send(When::Created, &refused("401")).times(0),
        send(When::Created, &refused("auth_error")).times(0),
    ] {
        let (rig, server) = play(builder(TEXT).fault(fault), Some("sekrit-key"));
        let (error, debug) = rig.error();
        assert!(error.matches(gst::ResourceError::NotAuthorized), "{error}");
        assert!(error.message().contains("token has expired"), "{error}");
        assert!(error.message().contains("api-key"), "{error}");
        assert!(!format!("{error}{debug}").contains("sekrit"), "{error} {debug}");
        let log = server.log();
        assert_eq!(log.connections.len(), 1, "{log:?}");
    }
}

/// 9.13: half a character is U+FFFD, and the connection stays.
#[test]
fn half_a_character_in_a_delta() {
    let delta = r#"{"type":"transcription.delta","delta":" a\ud83d"}"#;
    let (rig, server) = play(builder(TEXT).fault(send(When::Deltas(9), delta)), None);
    // The final text does not have it; it may be out by then.
    let words = words(&rig.until_eos()).join(" ");
    assert!([TEXT, "hello big a world"].contains(&words.as_str()), "{words}");
    assert_eq!(server.log().connections.len(), 1);
}

/// 9.8: a server that refuses what newer ones offer, in whatever way: the plain update follows, and
/// nothing is lost or told.
#[test]
fn offers_that_are_refused() {
    for way in [
        "invalid_timestamp_granularity",
        "unsupported_timestamp_granularity",
        "segment_timestamps_unavailable",
        "invalid_event",
        "close",
    ] {
        let (rig, server) = play(builder(TEXT).refuses(way), None);
        assert_eq!(words(&rig.until_eos()).join(" "), TEXT, "{way}");
        let log = server.log();
        assert_eq!(log.connections.len(), if way == "close" { 2 } else { 1 }, "{way}: {log:?}");
        let stats = rig.element.property::<gst::Structure>("stats");
        assert_eq!(stats.get::<u64>("samples-confirmed"), Ok(32_000), "{way}: {stats}");
        if way != "close" {
            assert_eq!(warnings(&rig), [], "{way}");
            assert_eq!(stats.get::<u64>("errors"), Ok(0), "{way}: {stats}");
        }
    }
}

/// 9.14: a full stop that comes when its word is out stands before the next word in its buffer, or
/// leaves alone at the end, and is told beside.
#[test]
fn a_full_stop_that_comes_late() {
    // A word of the script each third of a second, a mark no sooner.
    for (text, last) in [("so he said . Then", ". Then"), ("so he said .", ".")] {
        let server = server(text);
        let asr = element(&server.url());
        asr.set_property_from_str("timing", "frames");
        let mut rig = Rig::new(asr);
        rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
        rig.eos();
        assert_eq!(words(&rig.until_eos()), ["so", "he", "said", last]);
        assert_eq!(corrections(&rig), ["said\u{A0}."]);
    }
}

fn corrections(rig: &Rig) -> Vec<String> {
    let messages = std::iter::from_fn(|| rig.bus.pop());
    let corrections = messages.filter_map(|m| structure(&m, "vllmrealtimeasr/correction"));
    corrections.map(|s| s.get("text").unwrap()).collect()
}

/// 9.24: a binary frame that is text counts as text; any other is named, once.
#[test]
fn binary_frames() {
    let binary = || Fault::new(When::Deltas(3), What::Binary { bytes: 10 });
    let (rig, server) = play(builder(TEXT).fault(binary()).fault(binary()), None);
    assert_eq!(words(&rig.until_eos()).join(" "), TEXT);
    assert_eq!(server.log().connections.len(), 1);
    let told = warnings(&rig);
    assert_eq!(told.iter().filter(|w| w.0.contains("binary frame")).count(), 1, "{told:?}");
    // All events so.
    let (rig, server) = play(builder(TEXT).binary(true), None);
    assert_eq!(words(&rig.until_eos()).join(" "), TEXT);
    assert_eq!(server.log().connections.len(), 1);
    assert_eq!(warnings(&rig), []);
}

/// 9.31: what the server itself says of a failure is in the WARNING's details; 9.25: the key in
/// it is masked before anything is cut.
#[test]
fn the_servers_own_words_are_told_without_the_key() {
    let text = format!("{} sekrit-key-of-many-letters and more", "x".repeat(990));
    let error = format!(r#"{{"type":"error","error":"{text}","code":"overloaded"}}"#);
    let (rig, _server) = play(
        builder(TEXT).fault(send(When::Deltas(3), &error)),
        Some("sekrit-key-of-many-letters"),
    );
    assert_eq!(words(&rig.until_eos()).join(" "), TEXT);
    let told = warnings(&rig);
    assert!(told.iter().any(|w| w.2.contains("xxxx") && w.1.contains("xxxx")), "{told:?}");
    assert!(!format!("{told:?}").contains("sek"), "{told:?}");
}

/// 9.15: the language that comes with deltas is a TAG.
#[test]
fn the_language_of_a_delta() {
    let delta = r#"{"type":"transcription.delta","delta":"","language":"de"}"#;
    let (rig, _server) = play(builder(TEXT).fault(send(When::Deltas(3), delta)), None);
    let out = rig.until_eos();
    let language = out.iter().filter_map(Out::event).find_map(|e| match e.view() {
        gst::EventView::Tag(tag) => {
            tag.tag().get::<gst::tags::LanguageCode>().map(|l| l.get().to_owned())
        }
        _ => None,
    });
    assert_eq!(language.as_deref(), Some("de"));
}
