// SPDX-License-Identifier: MPL-2.0

//! Runs mutants of cargo-mutants, all in one build: `scripts/mutants.sh`.
//!
//! cargo-mutants builds anew for each mutant, which takes a minute. Here each is woven into the
//! sources behind a switch, `MUTANT=N` in the environment, and the tests run once for each.

mod build;
mod run;
mod weave;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;

/// As `cargo mutants --list --json` has them.
#[derive(Debug, Clone, Deserialize)]
pub struct Mutant {
    pub name: String,
    pub file: String,
    pub genre: String,
    pub replacement: String,
    pub span: Span,
    pub function: Option<Function>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Span {
    pub start: At,
    pub end: At,
}

/// Both from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Function {
    pub span: Span,
}

/// `LIST TREE RESULTS SECONDS [CHOSEN]`: the mutants of LIST (or those of them whose names are in the
/// file CHOSEN) in the copy of the sources TREE, for so long; what comes of them is added to RESULTS.
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [list, tree, results, seconds] => all(list, tree, results, seconds, None),
        [list, tree, results, seconds, chosen] => all(list, tree, results, seconds, Some(chosen)),
        _ => Err("mutants: LIST TREE RESULTS SECONDS [CHOSEN]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn all(
    list: &str,
    tree: &str,
    results: &str,
    seconds: &str,
    chosen: Option<&String>,
) -> Result<(), String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let mutants: Vec<Mutant> =
        serde_json::from_str(&read(list)?).map_err(|e| format!("{list}: {e}"))?;
    // In the order of that file.
    let chosen: Vec<usize> = match chosen {
        None => (0..mutants.len()).collect(),
        Some(path) => {
            let ids: HashMap<&str, usize> =
                mutants.iter().enumerate().map(|(id, m)| (m.name.as_str(), id)).collect();
            read(path)?.lines().filter_map(|name| ids.get(name).copied()).collect()
        }
    };
    let seconds = seconds.parse().map_err(|_| format!("for how many seconds? {seconds}"))?;
    let woven = chosen.iter().copied().collect();
    let (tests, unviable) = build::build(Path::new(tree), &mutants, woven)?;
    run::run(&tests, &mutants, &chosen, &unviable, Path::new(results), seconds)
}
