// SPDX-License-Identifier: MPL-2.0

//! Memory over an hour of audio at 30 times real time: with speech and a server that keeps up,
//! and live with a server that accepts and never answers.
//!
//! `--minutes N`: so many minutes of audio in place of 60.

#[path = "../../tests/chaos/memory.rs"]
mod memory;
#[path = "../report/mod.rs"]
#[allow(dead_code)]
mod report;
#[path = "../../tests/chaos/speech.rs"]
#[allow(dead_code)]
mod speech;
#[path = "../../tests/support/mod.rs"]
mod support;

use memory::{CASES, Case};
use report::{Goal, Report};

fn main() -> std::io::Result<std::process::ExitCode> {
    if memory::serve_as_child() {
        return Ok(std::process::ExitCode::SUCCESS);
    }
    let args: Vec<String> = std::env::args().collect();
    let minutes = args
        .iter()
        .position(|a| a == "--minutes")
        .and_then(|i| args.get(i + 1)?.parse().ok())
        .unwrap_or(60)
        .max(2);
    let mut report = Report::new("memory");
    for case in CASES {
        let m = memory::measure(case, minutes);
        let name = |what: &str| format!("{case:?}/{what}");
        report.figure(&name("audio"), minutes as f64, "min", Goal::None);
        report.figure(&name("after-first-minute"), m.first_minute, "MiB", Goal::None);
        report.figure(&name("growth"), m.most - m.first_minute, "MiB", Goal::AtMost(2.0));
        report.figure(&name("end"), m.end, "MiB", Goal::None);
        if matches!(case, Case::NeverGreets | Case::NeverAnswers) {
            // Property max-backlog, and a step of a second beyond it.
            report.figure(&name("kept"), m.kept as f64, "s", Goal::AtMost(61.0));
            report.figure(&name("dropped"), m.dropped as f64, "s", Goal::None);
        } else {
            report.figure(&name("dropped"), m.dropped as f64, "s", Goal::AtMost(0.0));
            report.figure(&name("with-words"), m.confirmed as f64, "s", Goal::None);
        }
    }
    report.finish()
}
