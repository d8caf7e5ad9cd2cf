// SPDX-License-Identifier: MPL-2.0

mod clock;
mod corpus;
mod offline;
mod score;
mod vad;

use std::path::Path;

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let command = args.next().unwrap_or_default();
    let dir = args.next().unwrap_or("target/bench/corpus".into());
    match command.as_str() {
        "offline" => offline::run(Path::new(&dir)),
        "vad" => vad::run(Path::new(&dir)),
        "frames" => corpus::write_frames(Path::new(&dir)).unwrap(),
        _ => {}
    }
}
