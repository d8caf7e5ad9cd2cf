// SPDX-License-Identifier: MPL-2.0

//! The benchmark of times: `./scripts/bench.sh timing [--corpus DIR]`, or
//! `cargo bench --bench timing -- COMMAND [DIR]`.
//!
//! | command | what it measures |
//! |---|---|
//! | none | words through the whole element, against the truth; voice activity; costs |
//! | `offline` | words placed from the clocks and the sound alone, without server and element |
//! | `vad` | what voice activity sends, what it cuts, how late it ends |
//! | `merged` | real speech, live, while the server's API side stalls and merges deltas |
//! | `segments` | real speech, live, by a segmented server: how soon words come, and whether whole |
//! | `cost` | what voice activity, the sound and the placing cost |
//! | `frames` | nothing: writes the sound's frames for `scripts/train-sounds.sh` |
//!
//! DIR of a command holds a folder for each set (`frames`: recordings); `target/bench/corpus` by
//! default, made by `scripts/align-corpus.py make` where it is missing. The one of `--corpus` is
//! a set, `NAME.wav` with `NAME.words.json`, or a folder of sets: those that
//! `scripts/train-sounds.sh sets` makes of speakers that nothing was chosen on have goals of their own.

mod clock;
mod corpus;
mod cost;
mod element;
mod merged;
mod offline;
mod pauses;
mod prompt;
#[path = "../report/mod.rs"]
mod report;
mod score;
mod spread;
mod vad;
mod whole;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let command = args.next();
    let dir = args.next();
    let all = || {
        let dir = dir.as_deref().unwrap_or("target/bench/corpus");
        corpus::made(Path::new(dir)).map(|()| Path::new(dir))
    };
    let ok = |()| ExitCode::SUCCESS;
    let done = match command.as_deref() {
        None => all().and_then(offline::sets).and_then(|sets| whole::run(&sets)),
        Some("--corpus") => match &dir {
            // A set, or a folder of sets.
            Some(dir) => match offline::sets(Path::new(dir)) {
                Ok(sets) if !sets.is_empty() => whole::run(&sets),
                _ => whole::run(&[("corpus".into(), dir.into())]),
            },
            None => Err("--corpus needs a folder of NAME.wav with NAME.words.json".into()),
        },
        Some("offline") => all().and_then(offline::run).map(ok),
        Some("vad") => all().and_then(vad::run).map(ok),
        Some("merged") => all().and_then(merged::run),
        Some("segments") => all().and_then(pauses::run),
        Some("cost") => all().and_then(cost::run).map(ok),
        Some("frames") => all().and_then(corpus::write_frames).map(ok),
        Some(other) => Err(format!(
            "no command {other:?}: none, --corpus DIR, offline, vad, merged, segments, cost, frames"
        )),
    };
    done.unwrap_or_else(|e| {
        eprintln!("{e}");
        ExitCode::FAILURE
    })
}
