// SPDX-License-Identifier: MPL-2.0

//! Each fault does what it says.

mod common;

use std::time::{Duration, Instant};

use common::{Client, LIMIT, append, noise};
use vllm_standin::{Cadence, Fault, Script, Standin, What, When};

const DELTA: &str = "transcription.delta";
const DONE: &str = "transcription.done";

fn server(fault: Fault) -> Standin {
    Standin::builder().fault(fault).start().unwrap()
}

fn error(message: &str, object: bool, end: bool) -> What {
    What::Error { message: message.into(), code: Some("processing_error".into()), object, end }
}

#[test]
fn cut_after_deltas_once() {
    let server = server(Fault::new(When::Deltas(20), What::Cut));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(160_000));
    assert_eq!(client.wait_closed().code, 1006);
    // Some may be lost on their way, as the connection is reset.
    assert!(client.count(DELTA) <= 20);
    assert!(server.wait(|log| log.connections[0].deltas == 20, LIMIT));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(160_000));
    client.wait(DONE, 1);
    assert!(server.wait(|log| log.connections[0].generations[0].cut && log.faults == 1, LIMIT));
}

#[test]
fn cut_on_one_connection_in_one_generation() {
    let fault = Fault::new(When::Samples(16_000), What::Cut).on_connection(1).in_generation(1);
    let server = server(fault);
    for connection in 0..2 {
        let mut client = Client::ready(&server.url());
        client.utterance(&noise(32_000));
        client.wait(DONE, 1);
        client.utterance(&noise(32_000));
        match connection {
            0 => client.wait(DONE, 2),
            _ => assert_eq!(client.wait_closed().code, 1006),
        }
    }
}

#[test]
fn errors_as_text_and_as_object() {
    for object in [false, true] {
        let server = server(Fault::new(When::Deltas(3), error("broken", object, true)));
        let mut client = Client::ready(&server.url());
        client.utterance(&noise(32_000));
        client.wait("error", 1);
        let found = client.events.iter().find(|e| e["type"] == "error").unwrap();
        let text = if object { &found["error"]["message"] } else { &found["error"] };
        assert_eq!(text, "broken");
        assert_eq!(found["code"], "processing_error");
        // No `done` follows, but the connection goes on.
        client.settle();
        assert_eq!((client.count(DONE), client.count(DELTA)), (0, 3));
        client.commit();
        client.last();
        client.wait(DONE, 1);
    }
}

#[test]
fn an_error_that_ends_nothing() {
    let server = server(Fault::new(When::Deltas(3), error("never mind", false, false)));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(32_000));
    client.wait(DONE, 1);
    assert_eq!(client.count("error"), 1);
    assert_eq!(client.count(DELTA), 35);
}

#[test]
fn done_that_nobody_asked_for() {
    let server = server(Fault::new(When::Deltas(5), What::Done));
    let mut client = Client::ready(&server.url());
    client.commit();
    client.send(&append(&noise(32_000)));
    client.wait(DONE, 1);
    assert_eq!(client.count(DELTA), 5);
    assert_eq!(client.done(0)["usage"]["completion_tokens"], 5);
    assert!(server.wait(|log| log.generations().next().is_some_and(|g| g.unasked), LIMIT));
}

#[test]
fn blank_rut() {
    let server = server(Fault::new(When::Deltas(7), What::Blank));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(160_000));
    client.wait(DONE, 1);
    let texts = client.texts();
    assert_eq!(texts.len(), 135);
    assert!(!texts[..7].concat().is_empty());
    assert!(texts[7..].concat().is_empty());
}

#[test]
fn close_frames_with_code_and_reason() {
    let close = What::Close { code: 1012, reason: "restart".into() };
    let server = server(Fault::new(When::Final, close));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(16_000));
    let closed = client.wait_closed();
    assert_eq!((closed.code, closed.reason.as_str()), (1012, "restart"));
    assert!(server.wait(|log| log.connections[0].closed == Some(1012), LIMIT));
}

#[test]
fn stall_for_ever_answers_not_even_pings() {
    let server =
        Standin::builder().fault(Fault::new(When::Start, What::Stall { ms: 0 })).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(16_000));
    client.send(r#"{"type":"marker"}"#);
    client.message(tungstenite::Message::Ping(vec![1].into()));
    assert!(!client.read(Instant::now() + Duration::from_millis(200)));
    assert!(client.closed.is_none());
}

#[test]
fn stall_for_a_time() {
    let server = server(Fault::new(When::Deltas(2), What::Stall { ms: 100 }));
    let mut client = Client::ready(&server.url());
    let begin = Instant::now();
    client.utterance(&noise(32_000));
    client.wait(DONE, 1);
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.count(DELTA), 35);
}

#[test]
fn the_engine_rests_and_the_connection_lives() {
    let server = server(Fault::new(When::Start, What::Pause { ms: 0 }));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(32_000));
    client.settle();
    assert_eq!((client.count(DELTA), client.count(DONE)), (0, 0));
}

#[test]
fn flood_and_giant_and_binary_and_anything() {
    let faults = [
        Fault::new(When::Deltas(1), What::Flood { deltas: 5000, text: "x".into() }),
        Fault::new(When::Created, What::Binary { bytes: 100 }),
        Fault::new(When::Updated, What::Send("{\"type\":\"unheard.of\",\"n\":[1]}".into())),
        Fault::new(When::Updated, What::Send("not JSON".into())),
        Fault::new(When::AfterDone, What::Send("{\"type\":\"afterwards\"}".into())),
        Fault::new(When::Final, What::Giant { bytes: 3_000_000 }),
    ];
    let server = faults.into_iter().fold(Standin::builder(), |b, f| b.fault(f)).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.wait("unheard.of", 1);
    client.utterance(&noise(16_000));
    client.wait(DONE, 1);
    client.wait("afterwards", 1);
    assert_eq!(client.binary, 1);
    assert!(client.events.iter().any(|e| e["text"] == "not JSON"));
    assert_eq!(client.texts().iter().filter(|t| *t == "x").count(), 5000);
    assert_eq!(client.texts().iter().map(String::len).max(), Some(3_000_001));
}

#[test]
fn endless_text_waits_for_its_reader() {
    let server = server(Fault::new(When::Final, What::Endless));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(16_000));
    client.wait(DELTA, 2000);
    assert_eq!(client.count(DONE), 0);
}

#[test]
fn a_message_a_byte_at_a_time() {
    let server = server(Fault::new(When::Created, What::Dribble { ms: 1 }));
    let mut client = Client::connect(&server.url());
    client.send(r#"{"type":"session.update","model":""}"#);
    client.commit();
    client.feed(&noise(16_000));
    client.last();
    client.wait(DONE, 1);
    assert_eq!(client.count(DELTA), 23);
}

#[test]
fn refused_twice_then_taken() {
    let fault = Fault::new(When::Request, What::Refuse { status: 503 }).times(2);
    let server = server(fault);
    assert_eq!(Client::connect_with(&server.url(), &[]).err(), Some(503));
    assert_eq!(Client::connect_with(&server.url(), &[]).err(), Some(503));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(16_000));
    client.wait(DONE, 1);
    let statuses =
        server.inspect(|log| log.connections.iter().map(|c| c.status).collect::<Vec<_>>());
    assert_eq!(statuses, [503, 503, 101]);
}

#[test]
fn the_engine_dies_and_the_server_with_it() {
    let mut server = Standin::builder()
        .fault(Fault::new(When::Deltas(4), What::Die))
        .death_time(Duration::from_millis(50))
        .start()
        .unwrap();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(16_000));
    client.wait("error", 1);
    assert_eq!(client.wait_closed().code, 1012);
    server.join();
    assert!(server.ended());
}

#[test]
fn faults_of_a_script_file() {
    let script: Script = serde_json::from_str(
        r#"{
            "utterances": [{"deltas": ["", " Hel", "lo"], "done": "Hello"}],
            "faults": [
                {"when": {"deltas": 20}, "do": "cut", "connection": 1},
                {"when": "final", "do": {"close": {"code": 1012}}, "generation": 1, "times": 0}
            ]
        }"#,
    )
    .unwrap();
    let server = Standin::builder().script(script).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(32_000));
    client.wait(DONE, 1);
    assert_eq!(client.done(0)["text"], "Hello");
    assert_eq!(client.texts()[..4], ["", " Hel", "lo", ""]);
    client.utterance(&noise(32_000));
    assert_eq!(client.wait_closed().code, 1012);
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(32_000));
    assert_eq!(client.wait_closed().code, 1006);
    assert!(serde_json::from_str::<Script>(r#"{"utterance": []}"#).is_err());
}

#[test]
fn a_slow_engine_keeps_its_pace() {
    for cadence in [Cadence::Frames, Cadence::Segments] {
        let server = Standin::builder().cadence(cadence).pace(100.0).start().unwrap();
        let mut client = Client::ready(&server.url());
        let begin = Instant::now();
        client.utterance(&noise(320_000));
        client.wait(DONE, 1);
        assert!(begin.elapsed() >= Duration::from_millis(140), "{cadence:?}");
        let most = server.inspect(|log| log.generations().next().unwrap().most_ahead);
        assert!(most > 80_000, "{cadence:?}: {most}");
    }
}

#[test]
fn done_comes_late_or_never() {
    let begin = Instant::now();
    let late = server(Fault::new(When::Done, What::Pause { ms: 100 }));
    let mut client = Client::ready(&late.url());
    client.utterance(&noise(16_000));
    client.wait(DONE, 1);
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.count(DONE), 1);
    let never = server(Fault::new(When::Done, What::Pause { ms: 0 }));
    let mut client = Client::ready(&never.url());
    client.utterance(&noise(16_000));
    client.wait(DELTA, 23);
    assert!(never.wait(|log| log.faults == 1, LIMIT));
    client.settle();
    assert_eq!(client.count(DONE), 0);
    let failing = server(Fault::new(When::Done, error("broken", false, true)));
    let mut client = Client::ready(&failing.url());
    client.utterance(&noise(16_000));
    client.wait("error", 1);
    client.settle();
    assert_eq!(client.count(DONE), 0);
}
