// SPDX-License-Identifier: MPL-2.0

//! What is fuzzed: each target takes arbitrary bytes and panics where something does not hold.
//!
//! Used by the plain test (`tests/fuzz`) and by libFuzzer (`fuzz/`).

mod bytes;
mod element;
mod event;
mod memory;
mod outputs;
mod session;
mod tags;
mod transcript;
mod voice;
mod wire;
mod words;

/// A target: the name of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("event", event::run),
    ("words", words::run),
    ("tags", tags::run),
    ("transcript", transcript::run),
    ("session", session::run),
    ("element", element::run),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(n, _)| *n == name).expect("a target's name");
    target(data);
}
