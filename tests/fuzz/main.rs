// SPDX-License-Identifier: MPL-2.0

//! The fuzz targets on their kept corpus, and on mutations of it.
//!
//! `FUZZ_ROUNDS=N` asks for N mutations of each target instead of the usual number,
//! `FUZZ_SEED=N` for others. An input that fails is written to the folder for temporary files;
//! `FUZZ_INPUT=FILE` runs one input. `fuzz/` does the same with libFuzzer.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

mod mutate;
mod targets;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|f| (f.clone(), std::fs::read(f).unwrap())).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().expect("a number"))
}

/// Runs the kept inputs, then so many mutations of them.
fn run(name: &str, rounds: u64) {
    if let Some(file) = std::env::var_os("FUZZ_INPUT") {
        return targets::run(name, &std::fs::read(file).unwrap());
    }
    let kept = corpus(name);
    assert!(!kept.is_empty(), "no corpus of {name}");
    for (file, data) in &kept {
        attempt(name, data, &file.display().to_string());
    }
    let inputs: Vec<Vec<u8>> = kept.into_iter().map(|(_, data)| data).collect();
    let first = number("FUZZ_SEED").unwrap_or(1);
    for seed in first..first + number("FUZZ_ROUNDS").unwrap_or(rounds) {
        attempt(name, &mutate::mutation(&inputs, seed), &format!("FUZZ_SEED={seed}"));
    }
}

/// Runs one input, and tells which it was where it fails.
fn attempt(name: &str, data: &[u8], what: &str) {
    if let Err(why) = catch_unwind(AssertUnwindSafe(|| targets::run(name, data))) {
        let file = std::env::temp_dir().join(format!("fuzz-{name}-{}", std::process::id()));
        std::fs::write(&file, data).unwrap();
        eprintln!("{name}: {what}; the input is in {}", file.display());
        resume_unwind(why);
    }
}

#[test]
fn event() {
    run("event", 60_000);
}

#[test]
fn words() {
    run("words", 12_000);
}

#[test]
fn tags() {
    run("tags", 40_000);
}

#[test]
fn transcript() {
    run("transcript", 600);
}

#[test]
fn session() {
    run("session", 300);
}

#[test]
fn element() {
    run("element", 40);
}
