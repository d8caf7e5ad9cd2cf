// SPDX-License-Identifier: MPL-2.0

//! What all benches print: a line for each figure, and the same as JSON.
//!
//! ```text
//! timing  librivox/frames/start/mean      43.1 ms     <= 50    ok
//! ```
//!
//! A bench takes it in by `#[path = "../report/mod.rs"] mod report;`.

use std::path::PathBuf;
use std::process::ExitCode;

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(dead_code)] // each bench uses those that it needs
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// For orientation only.
    None,
}

impl Goal {
    fn reached(self, value: f64) -> bool {
        match self {
            Goal::AtMost(goal) => value <= goal,
            Goal::AtLeast(goal) => value >= goal,
            Goal::None => true,
        }
    }
}

/// The figures of one bench, in the order in which they were measured.
#[derive(Debug)]
pub struct Report {
    bench: &'static str,
    figures: Vec<serde_json::Value>,
    details: serde_json::Map<String, serde_json::Value>,
    short: usize,
}

impl Report {
    pub fn new(bench: &'static str) -> Self {
        Report { bench, figures: Vec::new(), details: Default::default(), short: 0 }
    }

    /// Prints a figure and keeps it. A value that is no number has not reached any goal.
    pub fn figure(&mut self, name: &str, value: f64, unit: &str, goal: Goal) {
        let reached = goal.reached(value);
        self.short += usize::from(!reached);
        let (shown, limit) = match goal {
            Goal::AtMost(limit) => (format!("<= {limit}"), Some(limit)),
            Goal::AtLeast(limit) => (format!(">= {limit}"), Some(limit)),
            Goal::None => ("-".to_string(), None),
        };
        let verdict = if reached { "ok" } else { "short" };
        println!("{}  {name:<44} {value:>10.2} {unit:<8} {shown:<9} {verdict}", self.bench);
        self.figures.push(serde_json::json!({
            "name": name, "value": value, "unit": unit, "goal": limit, "goal_text": shown,
            "verdict": verdict,
        }));
    }

    /// Keeps what stands behind the figures, for the file alone.
    #[allow(dead_code)] // not all benches have it
    pub fn detail(&mut self, name: &str, value: serde_json::Value) {
        self.details.insert(name.into(), value);
    }

    /// Writes `target/bench/NAME.json`; a failure where a figure fell short.
    pub fn finish(self) -> std::io::Result<ExitCode> {
        let folder = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
            .join("bench");
        std::fs::create_dir_all(&folder)?;
        let report = serde_json::json!({
            "bench": self.bench, "figures": self.figures, "details": self.details,
        });
        let file = folder.join(format!("{}.json", self.bench));
        std::fs::write(&file, serde_json::to_string_pretty(&report)?)?;
        println!("{}  {} short; {}", self.bench, self.short, file.display());
        Ok(if self.short == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
