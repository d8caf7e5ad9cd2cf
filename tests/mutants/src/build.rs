// SPDX-License-Identifier: MPL-2.0

//! Builds the tests with all mutants in them that build.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Mutant;
use crate::weave::{Woven, weave};

/// The switch.
const SWITCH: &str = "
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static ACTIVE: AtomicUsize = AtomicUsize::new(usize::MAX - 1);

#[inline]
pub fn on(id: usize) -> bool {
    let active = ACTIVE.load(Relaxed);
    if active == usize::MAX - 1 { find() == id } else { active == id }
}

#[cold]
fn find() -> usize {
    let set = std::env::var(\"MUTANT\").ok().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    ACTIVE.store(set, Relaxed);
    set
}
";

/// The tests that must notice.
pub struct Tests {
    pub unit: PathBuf,
    pub simulation: PathBuf,
}

/// Weaves those that are chosen, and leaves out what the compiler does not take, until all else
/// builds. Which those are. (All mutants in one build make loops of numbers four times as slow.)
pub fn build(
    tree: &Path,
    mutants: &[Mutant],
    mut chosen: HashSet<usize>,
) -> Result<(Tests, HashSet<usize>), String> {
    let mut files: Vec<&str> = mutants.iter().map(|m| m.file.as_str()).collect();
    files.dedup();
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let write = |path: PathBuf, text: &str| {
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    let sources: Vec<(&str, String)> =
        files.iter().map(|f| Ok((*f, read(tree.join(f))?))).collect::<Result<_, String>>()?;
    let library = tree.join("src/lib.rs");
    let text = read(library.clone())?.replacen("mod mechanism;", "mod mechanism;\nmod mutant;", 1);
    write(library, &text)?;
    write(tree.join("src/mutant.rs"), SWITCH)?;
    let mut unviable = HashSet::new();
    loop {
        let woven: Vec<(&str, Woven)> = sources
            .iter()
            .map(|(f, text)| Ok((*f, weave(text, f, mutants, &chosen)?)))
            .collect::<Result<_, String>>()?;
        for (file, woven) in &woven {
            write(tree.join(file), &woven.text)?;
        }
        unviable.extend(woven.iter().flat_map(|(_, w)| &w.left_out));
        chosen.retain(|id| !unviable.contains(id));
        let messages = cargo(tree, &["check", "--lib"])?;
        let before = unviable.len();
        for (file, at) in messages.iter().filter_map(error) {
            let woven = woven.iter().find(|(f, _)| *f == file).map(|(_, woven)| woven);
            let regions = woven.into_iter().flat_map(|w| &w.regions);
            let around = regions.filter(|(r, _)| r.contains(&at)).min_by_key(|(r, _)| r.len());
            let (_, ids) =
                around.ok_or_else(|| format!("it does not build, at byte {at} of {file}"))?;
            unviable.extend(ids.iter().filter(|id| chosen.contains(id)));
            chosen.retain(|id| !unviable.contains(id));
        }
        eprintln!("{} mutants do not build", unviable.len());
        if unviable.len() == before {
            break;
        }
    }
    let messages = cargo(tree, &["test", "--no-run", "--lib", "--test", "simulation"])?;
    let test = |name: &str| {
        let built = messages.iter().rev().find(|m| {
            m["reason"] == "compiler-artifact"
                && m["profile"]["test"] == true
                && m["target"]["name"] == name
        });
        let path = built.and_then(|m| m["executable"].as_str());
        path.map(PathBuf::from).ok_or_else(|| format!("no tests of {name} were built"))
    };
    let tests = Tests { unit: test("gstvllmrealtime")?, simulation: test("simulation")? };
    Ok((tests, unviable))
}

fn cargo(tree: &Path, args: &[&str]) -> Result<Vec<Value>, String> {
    let output = Command::new("cargo")
        .current_dir(tree)
        .args(args)
        .args(["--locked", "--message-format=json"])
        .stderr(Stdio::null())
        .env("RUSTFLAGS", "-Awarnings")
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(lines.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

/// File and place of an error.
fn error(message: &Value) -> Option<(String, usize)> {
    let m = &message["message"];
    if m["level"] != "error" {
        return None;
    }
    let spans = m["spans"].as_array()?;
    let span = spans.iter().find(|s| s["is_primary"] == true)?;
    Some((span["file_name"].as_str()?.to_owned(), span["byte_start"].as_u64()? as usize))
}
