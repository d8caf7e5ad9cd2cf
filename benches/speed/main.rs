// SPDX-License-Identifier: MPL-2.0

//! What a stream costs, beside what it would cost at least: a bare loop over the same bytes
//! (`floor`), a pipeline with `identity` in place of the element (`pass-through`), and the least
//! that a client in Python must do, which places no words (`client.py`). Each is a process of its own
//! against a stand-in of its own, all at the same time.
//!
//! `--seconds N`: so much live audio in place of 60.

mod client;
mod pipeline;
mod process;
#[path = "../report/mod.rs"]
#[allow(dead_code)]
mod report;
#[path = "../../tests/chaos/speech.rs"]
#[allow(dead_code)]
mod speech;

use std::process::ExitCode;

use process::{Child, Usage};
use report::{Goal, Report};

/// Seconds of audio at full speed.
const LONG: usize = 600;
/// Live streams in one process.
const STREAMS: [usize; 4] = [1, 10, 50, 200];

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Floor,
    PassThrough,
    Element,
    Python,
}

impl Role {
    const ALL: [Role; 4] = [Role::Floor, Role::PassThrough, Role::Element, Role::Python];

    fn name(self) -> &'static str {
        match self {
            Role::Floor => "floor",
            Role::PassThrough => "pass-through",
            Role::Element => "element",
            Role::Python => "python",
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(done) = process::serve_as_child(&args) {
        return done;
    }
    let seconds = args.iter().position(|a| a == "--seconds");
    let seconds = seconds.and_then(|i| args.get(i + 1)?.parse().ok()).unwrap_or(60);
    run(seconds).unwrap_or_else(|e| {
        eprintln!("{e}");
        ExitCode::FAILURE
    })
}

fn run(seconds: usize) -> Result<ExitCode, String> {
    let mut report = Report::new("speed");
    live(&mut report, seconds)?;
    full_speed(&mut report)?;
    many(&mut report, seconds.min(20))?;
    report.finish().map_err(|e| e.to_string())
}

/// CPU in ms for a minute of audio.
fn for_a_minute(usage: &Usage, seconds: usize) -> f64 {
    usage.cpu_ms * 60.0 / seconds as f64
}

fn live(report: &mut Report, seconds: usize) -> Result<(), String> {
    let children: Result<Vec<Child>, String> =
        Role::ALL.iter().map(|role| Child::start(*role, seconds, true, 1)).collect();
    let usages: Result<Vec<Usage>, String> = children?.into_iter().map(Child::wait).collect();
    let usages = usages?;
    let cost = |role: Role| for_a_minute(&usages[role as usize], seconds);
    let (floor, through) = (cost(Role::Floor), cost(Role::PassThrough));
    let (element, python) = (cost(Role::Element), cost(Role::Python));
    for role in Role::ALL {
        let goal =
            if role == Role::Element { Goal::AtMost(1.6 * (floor + through)) } else { Goal::None };
        report.figure(&format!("live/{}", role.name()), cost(role), "ms/min", goal);
        let wake_ups = usages[role as usize].wake_ups / seconds as f64;
        report.figure(&format!("live/{}/wake-ups", role.name()), wake_ups, "/s", Goal::None);
    }
    let base = floor + through;
    report.figure(
        "live/element/times-floor-and-pass-through",
        element / base,
        "",
        Goal::AtMost(1.6),
    );
    let own = (element - base) / 60_000.0 * 100.0;
    report.figure("live/element/own", own, "% core", Goal::AtMost(0.2));
    report.figure("live/element/of-python", element / python, "", Goal::AtMost(0.6));
    let usage = &usages[Role::Element as usize];
    report.figure("live/element/words", usage.words as f64, "", Goal::None);
    report.figure("live/element/threads", usage.threads as f64, "", Goal::None);
    report.figure("live/element/memory", usage.memory_kb / 1024.0, "MiB", Goal::None);
    Ok(())
}

fn full_speed(report: &mut Report) -> Result<(), String> {
    let mut costs = Vec::new();
    for role in Role::ALL {
        let usage = Child::start(role, LONG, false, 1)?.wait()?;
        let cost = for_a_minute(&usage, LONG);
        let goal = if role == Role::Element { Goal::AtMost(80.0) } else { Goal::None };
        report.figure(&format!("full-speed/{}", role.name()), cost, "ms/min", goal);
        if role == Role::Element {
            let times = LONG as f64 / usage.seconds;
            report.figure("full-speed/element/real-time", times, "times", Goal::AtLeast(700.0));
        }
        costs.push(cost);
    }
    let of = costs[Role::Element as usize] / costs[Role::Python as usize];
    report.figure("full-speed/element/of-python", of, "", Goal::AtMost(1.0));
    Ok(())
}

fn many(report: &mut Report, seconds: usize) -> Result<(), String> {
    let mut first: Option<(f64, f64)> = None;
    for streams in STREAMS {
        let usage = Child::start(Role::Element, seconds, true, streams)?.wait()?;
        let cost = for_a_minute(&usage, seconds) / streams as f64;
        let name = |what: &str| format!("streams-{streams}/{what}");
        report.figure(&name("cost-of-each"), cost, "ms/min", Goal::None);
        report.figure(&name("threads"), usage.threads as f64, "", Goal::None);
        report.figure(&name("words-of-each"), usage.words as f64 / streams as f64, "", Goal::None);
        match first {
            None => first = Some((cost, usage.memory_kb)),
            Some((one, memory)) => {
                report.figure(&name("cost-to-that-of-one"), cost / one, "", Goal::AtMost(1.2));
                let each = (usage.memory_kb - memory) / 1024.0 / (streams - 1) as f64;
                report.figure(&name("memory-of-each"), each, "MiB", Goal::AtMost(0.4));
            }
        }
    }
    Ok(())
}
