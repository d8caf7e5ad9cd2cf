// SPDX-License-Identifier: MPL-2.0

//! The benchmark of times: `cargo bench --bench timing -- COMMAND [DIR]`.
//!
//! | command | what it measures |
//! |---|---|
//! | `offline` | words placed from the clocks and the sound alone, against the truth |
//! | `vad` | what voice activity sends, what it cuts, how late it ends |
//! | `cost` | what voice activity, the sound and the placing cost |
//! | `frames` | nothing: writes the sound's frames for `scripts/train-sounds.py` |
//!
//! DIR holds a folder for each set (`frames`: recordings); `target/bench/corpus` by default, made
//! by `scripts/align-corpus.py make`.

mod clock;
mod corpus;
mod cost;
mod offline;
mod score;
mod vad;

use std::path::Path;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let command = args.next().unwrap_or("offline".into());
    let dir = args.next().unwrap_or("target/bench/corpus".into());
    let dir = Path::new(&dir);
    let done = match command.as_str() {
        "offline" => offline::run(dir),
        "vad" => vad::run(dir),
        "cost" => cost::run(dir),
        "frames" => corpus::write_frames(dir),
        other => Err(format!("no command {other:?}: offline, vad, cost, frames")),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            std::process::ExitCode::FAILURE
        }
    }
}
