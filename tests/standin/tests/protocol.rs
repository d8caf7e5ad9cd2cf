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
