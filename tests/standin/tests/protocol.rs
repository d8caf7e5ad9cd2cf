// SPDX-License-Identifier: MPL-2.0

//! The protocol as vLLM speaks it: what was tried on a real server, tried here.

mod common;

use common::{Client, LIMIT, append, get, noise};
use serde_json::json;
use vllm_standin::{Cadence, Script, Standin};

const DELTA: &str = "transcription.delta";
const DONE: &str = "transcription.done";

fn tiny() -> Standin {
    Standin::builder().start().unwrap()
}

/// Deltas for N samples: the formula of the real server.
fn formula(samples: usize) -> usize {
    ((samples as i64 - 40).div_euclid(1280) + 11) as usize
}

#[test]
fn an_utterance_in_frames() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(160_000));
    client.wait(DONE, 1);
    assert_eq!(client.count(DELTA), 135);
    let done = client.done(0);
    assert_eq!(done["text"], client.texts().concat());
    assert_eq!(done["usage"]["prompt_tokens"], 39);
    assert_eq!(done["usage"]["completion_tokens"], 135);
    assert_eq!(done["usage"]["total_tokens"], 174);
    assert!(done["text"].as_str().unwrap().starts_with(" Hello world, café 日 😀 \"q\\\"\n."));
    assert!(server.wait(|log| log.done() == 1 && log.samples() == 160_000, LIMIT));
}

#[test]
fn deltas_for_each_number_of_samples() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    let sizes = [1, 39, 40, 41, 1279, 1280, 1319, 1320, 1321, 8999, 9000, 16001, 100_000];
    for (i, &size) in sizes.iter().enumerate() {
        let before = client.count(DELTA);
        client.utterance(&noise(size));
        client.wait(DONE, i + 1);
        assert_eq!(client.count(DELTA) - before, formula(size), "{size} samples");
    }
}

/// As vLLM merges the outputs of an API side that falls behind: fewer deltas, and all of the text.
#[test]
fn deltas_are_merged_while_the_api_side_stalls() {
    let text = |stalls: bool| {
        let script = Script::text(&"one two three four five six seven eight ".repeat(10));
        let server = Standin::builder().script(script).stalls(stalls).start().unwrap();
        let mut client = Client::ready(&server.url());
        client.utterance(&noise(480_000));
        client.wait(DONE, 1);
        assert_eq!(client.done(0)["text"], client.texts().concat());
        (client.done(0)["text"].clone(), client.count(DELTA))
    };
    let ((even, all), (merged, fewer)) = (text(false), text(true));
    assert_eq!(all, formula(480_000));
    assert!(even == merged && fewer < all, "{fewer} of {all}");
}

#[test]
fn a_delta_comes_with_its_last_sample() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    client.commit();
    let audio = noise(20_000);
    let mut sent = 0;
    for (upto, deltas) in [(8999, 0), (9000, 1), (10279, 1), (10280, 2), (11559, 2), (11560, 3)] {
        client.send(&append(&audio[sent..upto]));
        sent = upto;
        client.wait(DELTA, deltas);
        client.settle();
        assert_eq!(client.count(DELTA), deltas, "{upto} samples");
    }
}

#[test]
fn silence_has_only_empty_deltas() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    client.utterance(&[0; 48_000]);
    client.wait(DONE, 1);
    assert_eq!(client.texts().concat(), "");
    assert_eq!(client.count(DELTA), formula(48_000));
}

#[test]
fn a_script_in_frames_and_segments_and_whole() {
    for cadence in [Cadence::Frames, Cadence::Segments, Cadence::Utterance] {
        let server = Standin::builder()
            .cadence(cadence)
            .script(Script::text("hello wonderful world"))
            .start()
            .unwrap();
        let mut client = Client::ready(&server.url());
        for i in 0..2 {
            client.utterance(&noise(32_000));
            client.wait(DONE, i + 1);
            let text = client.done(i)["text"].as_str().unwrap().to_owned();
            let plain = match cadence {
                Cadence::Segments => text.strip_prefix("language English<asr_text>").unwrap(),
                _ => text.trim_start(),
            };
            assert_eq!(plain, "hello wonderful world", "{cadence:?}");
        }
        assert_eq!(
            client.texts().concat(),
            format!("{0}{0}", client.done(0)["text"].as_str().unwrap())
        );
    }
}

#[test]
fn audio_between_final_commit_and_done_is_lost() {
    let server = Standin::builder().tail(std::time::Duration::from_millis(300)).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(32_000));
    client.feed(&noise(32_000));
    client.wait(DONE, 1);
    assert_eq!(client.count(DELTA), 35);
    client.commit();
    client.last();
    client.wait(DONE, 2);
    assert_eq!(client.count(DELTA), 35);
    assert_eq!(client.done(1)["usage"]["total_tokens"], 0);
    assert!(server.wait(|log| log.connections[0].samples_lost == 32_000, LIMIT));
}

#[test]
fn models_and_health_are_told() {
    let server =
        Standin::builder().model("voxtral").max_model_len(1024).api_key("key").start().unwrap();
    assert_eq!(get(&server.url(), "/health", &[]).0, 200);
    assert_eq!(get(&server.url(), "/v1/models", &[]).0, 401);
    let (status, body) = get(&server.url(), "/v1/models", &[("Authorization", "Bearer key")]);
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["data"][0]["id"], json!("voxtral"));
    assert_eq!(body["data"][0]["max_model_len"], json!(1024));
}

const TAG: &str = "language English<asr_text>";

fn qwen(set: impl FnOnce(vllm_standin::Builder) -> vllm_standin::Builder) -> Standin {
    set(Standin::builder().cadence(Cadence::Segments)).start().unwrap()
}

/// The only answer to a message: code and beginning of the text; none: nothing is answered.
fn answer(client: &mut Client, message: &str) -> Option<(String, String)> {
    client.send(message);
    let answers = client.settle();
    assert!(answers.len() <= 1, "{message}: {answers:?}");
    let answer = answers.first()?;
    assert_eq!(answer["type"], "error");
    let part = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    Some((part("code"), part("error")))
}

#[test]
fn each_refusal_has_its_code_and_text() {
    let server = Standin::builder().model("voxtral").start().unwrap();
    let mut client = Client::connect(&server.url());
    client.wait("session.created", 1);
    let update = |rest: &str| format!(r#"{{"type":"session.update"{rest}}}"#);
    let audio = |rest: &str| format!(r#"{{"type":"input_audio_buffer.append"{rest}}}"#);
    let commit = |rest: &str| format!(r#"{{"type":"input_audio_buffer.commit"{rest}}}"#);
    let unvalidated = Some(("model_not_validated", "Model not validated. Make sure"));
    let bad = Some(("invalid_audio", "Invalid audio data"));
    let processing = |text| Some(("processing_error", text));
    let missing = Some(("invalid_event", "Missing required field: model"));
    for (message, expected) in [
        (commit(""), unvalidated),
        (commit(r#","final":true"#), unvalidated),
        (update(""), missing),
        (update(r#","model":null"#), missing),
        (update(r#","session":{"model":"voxtral"}"#), missing),
        (update(r#","model":"x""#), Some(("model_not_found", "The model `x` does not exist."))),
        (update(r#","model":7"#), Some(("model_not_found", "The model `7` does not exist."))),
        (commit(""), unvalidated),
        (update(r#","model":"voxtral""#), None),
        (update(r#","model":"x""#), Some(("model_not_found", "The model `x`"))),
        (audio(r#","audio":"!!!!""#), bad),
        (audio(r#","audio":"abc""#), bad),
        (audio(r#","audio":"AAAAAA""#), bad),
        (audio(r#","audio":"""#), bad),
        (audio(r#","audio":"AA==""#), bad),
        (audio(r#","audio":"AAAA\u00e9AAAA""#), bad),
        (audio(r#","audio":"data:audio/pcm;base64,AAAAAAAA""#), bad),
        (audio(r#","audio":"AAAA\nAAAA","more":1"#), None),
        (audio(""), processing("1 validation error for InputAudioBufferAppend\naudio\n  Field")),
        (audio(r#","audio":5"#), processing("1 validation error for InputAudioBufferAppend")),
        (commit(r#","final":"maybe""#), processing("1 validation error for InputAudioBufferC")),
        ("{not json".into(), Some(("invalid_json", "Invalid JSON"))),
        (String::new(), Some(("invalid_json", "Invalid JSON"))),
        ("[]".into(), processing("'list' object has no attribute 'get'")),
        ("5".into(), processing("'int' object has no attribute 'get'")),
        ("null".into(), processing("'NoneType' object has no attribute 'get'")),
        (r#"{"foo":1}"#.into(), Some(("unknown_event", "Unknown event type: None"))),
        (
            r#"{"type":"input_audio_buffer.clear"}"#.into(),
            Some(("unknown_event", "Unknown event type: input_audio_buffer.clear")),
        ),
    ] {
        let found = answer(&mut client, &message);
        match (&found, expected) {
            (None, None) => {}
            (Some((code, text)), Some((expected, begin))) => {
                assert_eq!(code, expected, "{message}");
                assert!(text.starts_with(begin), "{message}: {text}");
            }
            _ => panic!("{message}: {found:?}, not {expected:?}"),
        }
    }
    // None of that closed the connection or did harm.
    client.last();
    client.commit();
    client.wait(DONE, 1);
    client.utterance(&noise(16_000));
    client.wait(DONE, 2);
    assert_eq!(client.count(DELTA), 10 + 23);
}

#[test]
fn a_stray_final_commit_ends_the_next_generation_at_once() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    client.last();
    client.commit();
    client.wait(DONE, 1);
    assert_eq!(client.done(0)["text"], "");
    assert_eq!(client.done(0)["usage"]["prompt_tokens"], 0);
    client.feed(&noise(16_000));
    client.last();
    client.settle();
    assert_eq!((client.count(DONE), client.count(DELTA)), (1, 0));
}

#[test]
fn a_commit_while_generating_is_ignored() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    client.commit();
    client.feed(&noise(16_000));
    client.commit();
    client.feed(&noise(16_000));
    client.last();
    client.last();
    client.wait(DONE, 1);
    assert_eq!(client.count(DELTA), formula(32_000));
    // The second final commit went with the queue.
    client.utterance(&noise(16_000));
    client.wait(DONE, 2);
    assert_eq!(client.count(DELTA), formula(32_000) + formula(16_000));
    assert!(server.wait(|log| log.connections[0].commits_ignored == 1, LIMIT));
}

#[test]
fn audio_before_the_commit_waits_for_it() {
    let server = tiny();
    let mut client = Client::connect(&server.url());
    client.feed(&noise(8000));
    client.send(r#"{"type":"session.update","model":""}"#);
    client.feed(&noise(8000));
    client.settle();
    assert_eq!(client.count(DELTA), 0);
    client.utterance(&noise(16_000));
    client.wait(DONE, 1);
    assert_eq!(client.count(DELTA), formula(32_000));
}

#[test]
fn no_audio_gives_an_empty_done() {
    for server in [tiny(), qwen(|b| b)] {
        let mut client = Client::ready(&server.url());
        for i in 0..2 {
            client.commit();
            client.last();
            client.wait(DONE, i + 1);
            assert_eq!(client.done(i)["usage"]["total_tokens"], 0);
        }
        client.utterance(&noise(16_000));
        client.wait(DONE, 3);
        assert_ne!(client.done(2)["text"], "");
    }
}

#[test]
fn frames_end_unasked_for_at_max_model_len() {
    let server = Standin::builder().max_model_len(64).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.commit();
    client.send(&append(&noise(40_000)));
    client.wait(DONE, 1);
    assert_eq!(client.count(DELTA), 64 - 39);
    assert_eq!(client.done(0)["usage"]["total_tokens"], 64);
    // Later audio waits for the next commit.
    client.feed(&noise(16_000));
    client.settle();
    assert_eq!(client.count(DELTA), 25);
    client.commit();
    client.last();
    client.wait(DONE, 2);
    assert_eq!(client.count(DELTA), 25 + 23);
    assert!(server.log().connections[0].generations[0].unasked);
}

#[test]
fn a_burst_for_each_five_seconds() {
    let server = qwen(|b| b);
    let mut client = Client::ready(&server.url());
    client.commit();
    client.feed(&noise(79_999));
    client.settle();
    assert_eq!(client.count(DELTA), 0);
    client.send(&append(&noise(1)));
    client.wait(DELTA, 1);
    client.feed(&noise(80_000));
    client.feed(&noise(40_000));
    client.last();
    client.wait(DONE, 1);
    let one = format!("{TAG}Hello world, café.");
    assert_eq!(client.done(0)["text"], format!("{one}{one}{one}"));
    assert_eq!(client.texts().concat(), client.done(0)["text"]);
    let usage = &client.done(0)["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(86), &json!(36)));
}

#[test]
fn segment_tails_that_fail() {
    let server = qwen(|b| b);
    let mut client = Client::ready(&server.url());
    for (i, size) in [1, 200, 201, 319, 80_001, 80_319].into_iter().enumerate() {
        client.utterance(&noise(size));
        client.wait("error", i + 1);
    }
    assert_eq!((client.count(DONE), client.count(DELTA)), (0, 0));
    assert!(
        client
            .events
            .iter()
            .filter(|e| e["type"] == "error")
            .all(|e| { e["code"] == "processing_error" })
    );
    for (i, size) in [320, 80_000, 80_320].into_iter().enumerate() {
        client.utterance(&noise(size));
        client.wait(DONE, i + 1);
    }
}

#[test]
fn a_segment_has_64_tokens_at_most() {
    let words: Vec<String> = (0..100).map(|i| format!("w{i}")).collect();
    let mut script = Script::text(&words.join(" "));
    script.utterances[0].rate = 25.0;
    let server = qwen(|b| b.script(script));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(80_000));
    client.wait(DONE, 1);
    // Three tokens of the tag, one for the end.
    assert_eq!(client.done(0)["text"], format!("{TAG}{}", words[..60].join(" ")));
    assert_eq!(client.done(0)["usage"]["completion_tokens"], 64);
}

#[test]
fn tags_are_cut_and_deltas_merged_anywhere() {
    let server = qwen(|b| b.script(Script::text("language is what we speak")));
    let mut client = Client::ready(&server.url());
    let mut firsts = std::collections::BTreeSet::new();
    for i in 0..40 {
        let before = client.texts().len();
        client.utterance(&noise(32_000));
        client.wait(DONE, i + 1);
        assert_eq!(client.done(i)["text"], format!("{TAG}language is what we speak"));
        firsts.insert(client.texts()[before].clone());
    }
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[test]
fn silence_has_language_none() {
    let mut script = Script::text("one");
    script.repeat = false;
    let server = qwen(|b| b.script(script));
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(160_000));
    client.wait(DONE, 1);
    assert_eq!(client.done(0)["text"], format!("{TAG}onelanguage None<asr_text>"));
}

#[test]
fn segments_over_max_model_len_take_the_server_down() {
    let mut server =
        qwen(|b| b.max_model_len(128).death_time(std::time::Duration::from_millis(20)));
    let mut client = Client::ready(&server.url());
    client.commit();
    client.feed(&noise(80_000));
    client.wait(DELTA, 1);
    client.feed(&noise(80_000));
    client.wait("error", 1);
    assert_eq!(client.wait_closed().code, 1012);
    server.join();
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port())).is_err());
}

#[test]
fn a_binary_frame_kills_the_connection_without_a_close_frame() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    client.message(tungstenite::Message::binary(vec![1, 2]));
    assert_eq!(client.wait_closed().code, 1006);
}

#[test]
fn a_message_of_16_mib_is_taken_and_one_byte_more_is_not() {
    let server = tiny();
    for (size, taken) in [(1 << 24, true), ((1 << 24) + 1, false)] {
        let mut client = Client::ready(&server.url());
        let mut message = append(&vec![0; 6_000_000]);
        message.push_str(&" ".repeat(size - message.len()));
        client.send(&message);
        if taken {
            client.settle();
        } else {
            let closed = client.wait_closed();
            assert_eq!(closed.code, 1009);
            assert!(closed.reason.contains("16777217 bytes exceeds limit of 16777216"));
        }
    }
}

#[test]
fn characters_cut_between_tokens_are_held_back() {
    let server = tiny();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(16_000));
    client.wait(DONE, 1);
    let texts = client.texts();
    assert_eq!(texts[11..14], [" caf", "", "é"]);
    assert_eq!(texts[14..19], ["", "", "", "", " 日"]);
}

#[test]
fn audio_in_the_instant_of_done_can_be_lost() {
    let server =
        Standin::builder().clear_time(std::time::Duration::from_millis(300)).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(16_000));
    client.wait(DONE, 1);
    client.feed(&noise(16_000));
    assert!(server.wait(|log| log.connections[0].samples_lost == 16_000, LIMIT));
}
