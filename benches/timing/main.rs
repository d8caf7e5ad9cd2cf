// SPDX-License-Identifier: MPL-2.0

mod corpus;
mod score;
mod vad;

use std::path::Path;

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let command = args.next().unwrap_or_default();
    let dir = args.next().unwrap_or("target/bench/corpus".into());
    match command.as_str() {
        "vad" => vad::run(Path::new(&dir)),
        _ => {}
    }
}
