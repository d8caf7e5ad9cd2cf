// SPDX-License-Identifier: MPL-2.0

//! Recordings of a real vLLM server, replayed: what the client sent is sent again, and what the
//! server answers is compared.
//!
//! By default against the stand-in. With `VLLM_REALTIME_URL` set, against that server: then the
//! recordings of the model that it serves are replayed, those that need options of their own left
//! out. A model that is not one of the tiny ones is compared with `voxtral`, or with what
//! `VLLM_LIKE` names, without its text. `VLLM_SCENARIO` picks one scenario. `VLLM_RECORDINGS`
//! names another folder than `tests/recordings`.

mod answers;
#[path = "../common/mod.rs"]
mod common;
mod replay;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use common::get;
use replay::{Replay, Server, pings};
use serde_json::{Value, json};
use std::time::Instant;

const DELTA: &str = "transcription.delta";
const DONE: &str = "transcription.done";

/// Scenarios that need a server with options of its own, or its end.
const OWN: &[&str] = &[
    "seats",
    "seat_freed",
    "context_end",
    "context_end_qwen",
    "api_key",
    "sigterm",
    "sigterm_mp",
    "sigterm_drain",
    "sigkill",
    "engine_death",
    "ping_answered",
    "ping_ignored",
    "ping_client",
];

struct Entry {
    time: f64,
    connection: u64,
    way: char,
    event: Value,
}

fn folder() -> PathBuf {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../recordings");
    std::env::var_os("VLLM_RECORDINGS").map_or_else(ours, PathBuf::from)
}

fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap();
    let entry = |line| {
        let line: Value = serde_json::from_str(line).unwrap();
        Entry {
            time: line["t"].as_f64().unwrap(),
            connection: line["c"].as_u64().unwrap(),
            way: line["d"].as_str().unwrap().chars().next().unwrap(),
            event: line["m"].clone(),
        }
    };
    text.lines().map(entry).collect()
}

#[test]
fn recordings_are_answered_alike() {
    let real = std::env::var("VLLM_REALTIME_URL").ok();
    let served = real.as_ref().map(|url| {
        let (status, body) = get(url, "/v1/models", &[]);
        assert_eq!(status, 200, "GET /v1/models of {url}: {body}");
        let body: Value = serde_json::from_str(&body[body.find('{').unwrap()..]).unwrap();
        body["data"][0]["id"].as_str().unwrap().to_owned()
    });
    let tiny = ["voxtral", "voxtral_eos", "qwen3asr"];
    let like = served.clone().map(|served| match std::env::var("VLLM_LIKE") {
        Ok(like) => like,
        Err(_) if tiny.contains(&served.as_str()) => served,
        Err(_) => "voxtral".into(),
    });
    let only = std::env::var("VLLM_SCENARIO").ok();
    let mut paths: Vec<_> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut same, mut skipped, mut failed) = (0, 0, Vec::new());
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "jsonl")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let models = ["voxtral_eos", "voxtral", "qwen3asr", "dummy_voxtral", "dummy_qwen3asr"];
        let model = models.iter().find(|m| name.starts_with(**m)).unwrap();
        let scenario = &name[model.len() + 1..];
        if only.as_ref().is_some_and(|only| only != scenario && only != name) {
            continue;
        }
        let reason = match &served {
            _ if *model == "dummy_qwen3asr" => Some("random weights, noise for text"),
            Some(_) if like.as_deref() != Some(*model) => continue,
            Some(_) if OWN.contains(&scenario) => Some("needs a server of its own"),
            Some(served) if served != model && ["long", "urls"].contains(&scenario) => {
                Some("needs the tiny model's name and context length")
            }
            _ => None,
        };
        if let Some(reason) = reason {
            println!("skipped {name}: {reason}");
            skipped += 1;
            continue;
        }
        let entries = read(path);
        let begin = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            if scenario.starts_with("ping_") {
                return pings(&entries, scenario);
            }
            let server = match &real {
                Some(url) => Server::Real(url.clone()),
                None => Server::for_recording(model.trim_start_matches("dummy_"), scenario),
            };
            Replay {
                server,
                entries: &entries,
                model: (*model).into(),
                served: served.clone().filter(|served| served != model),
                scenario: scenario.into(),
                clients: BTreeMap::new(),
                attempt: json!(null),
                sent: 0,
            }
            .run();
        }));
        println!("{} {name} ({:?})", if result.is_ok() { "same" } else { "DIFFERENT" }, {
            begin.elapsed()
        });
        match result {
            Ok(()) => same += 1,
            Err(_) => failed.push(name.to_owned()),
        }
    }
    println!("{same} recordings answered alike, {skipped} skipped, {} not: {failed:?}", {
        failed.len()
    });
    assert!(failed.is_empty(), "{failed:?}");
    assert!(same > 0, "nothing was compared");
}
