// SPDX-License-Identifier: MPL-2.0

//! How long FLUSH and going to NULL take while the server does not do its part.

#[path = "../../tests/chaos/proxy.rs"]
#[allow(dead_code)]
mod proxy;
#[path = "../report/mod.rs"]
#[allow(dead_code)]
mod report;
#[path = "../../tests/chaos/stuck.rs"]
mod stuck;
#[path = "../../tests/support/mod.rs"]
mod support;

use report::{Goal, Report};
use stuck::{KINDS, Out, WAYS, time_to_end};

/// Each is done so many times; the longest counts.
const ROUNDS: usize = 5;

fn main() -> std::io::Result<std::process::ExitCode> {
    let mut report = Report::new("promptness");
    for way in WAYS {
        let name = match way {
            Out::Flush => "flush",
            Out::Null => "null",
            Out::NullDuringEos => "null-during-eos",
        };
        for kind in KINDS {
            let times = (0..ROUNDS).map(|_| time_to_end(kind, way));
            let longest = times.max().unwrap_or_default();
            let name = format!("{name}/{kind:?}");
            report.figure(&name, longest.as_secs_f64() * 1000.0, "ms", Goal::AtMost(100.0));
        }
    }
    report.finish()
}
