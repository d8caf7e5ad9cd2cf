// SPDX-License-Identifier: MPL-2.0

//! Runs the tests once for each mutant.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Mutant;
use crate::build::Tests;

/// Unit tests that take seconds: after the others, and after the simulation.
const SLOW: [&str; 8] = [
    "fates",
    "properties",
    "recordings",
    "rehearing",
    "replay",
    "more_words_than_one_says",
    "overlap_at_a_cut_no_word",
    "words_within_the_delay_before",
];
/// The tests of the code that is mutated.
const OF: [&str; 3] = ["realtime::session", "transcript::", "speech::"];
/// What takes longer than this hangs: five times what it takes on a machine that is as busy.
const QUICK_HANGS: Duration = Duration::from_secs(50);
const SIMULATION_HANGS: Duration = Duration::from_secs(250);
const SLOW_HANGS: Duration = Duration::from_secs(400);

/// What comes of a mutant is added to the file `results`: outcome, name. Those that are there are not
/// run again.
pub fn run(
    tests: &Tests,
    mutants: &[Mutant],
    chosen: &[usize],
    unviable: &HashSet<usize>,
    results: &Path,
    seconds: u64,
) -> Result<(), String> {
    let known = std::fs::read_to_string(results).unwrap_or_default();
    let known: HashSet<&str> =
        known.lines().filter_map(|l| l.split_once('\t')).map(|(_, name)| name).collect();
    let file = OpenOptions::new().create(true).append(true).open(results);
    let file = Mutex::new(file.map_err(|e| format!("{}: {e}", results.display()))?);
    if known.is_empty()
        && let Some(failed) = outcome(tests, usize::MAX)
    {
        return Err(format!("without a mutant the tests fail: {failed}"));
    }
    let due = chosen.iter().filter(|&&id| !known.contains(mutants[id].name.as_str()));
    let due: Vec<usize> = due.copied().collect();
    let (next, begin) = (AtomicUsize::new(0), Instant::now());
    let threads = std::env::var("THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while begin.elapsed().as_secs() < seconds
                    && let Some(&id) = due.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let outcome = if unviable.contains(&id) {
                        "unviable"
                    } else {
                        outcome(tests, id).unwrap_or("survived")
                    };
                    if let Ok(mut file) = file.lock() {
                        let _ = writeln!(file, "{outcome}\t{}", mutants[id].name);
                    }
                }
            });
        }
    });
    Ok(())
}

/// How the tests end with this mutant; `None`: well.
fn outcome(tests: &Tests, id: usize) -> Option<&'static str> {
    let unit = |args: Vec<&'static str>| {
        let mut command = Command::new(&tests.unit);
        command.args(args).arg("--test-threads=1").env("PROPTEST_CASES", "64");
        command
    };
    let quick = unit(OF.into_iter().chain(SLOW.iter().flat_map(|s| ["--skip", s])).collect());
    let mut simulation = Command::new(&tests.simulation);
    simulation.args(["schedules", "--nocapture"]).env("SIM_SEED", "1").env("SIM_COUNT", "500");
    [(quick, QUICK_HANGS), (simulation, SIMULATION_HANGS), (unit(SLOW.to_vec()), SLOW_HANGS)]
        .into_iter()
        .find_map(|(command, hangs)| fails(command, id, hangs))
}

/// Whether it fails; it is ended with its first failure.
fn fails(mut command: Command, id: usize, hangs: Duration) -> Option<&'static str> {
    command.env("MUTANT", id.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Some("did not start") };
    let (tell, told) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.ends_with("FAILED") || line.starts_with("SIM_SEED=") {
                    let _ = tell.send(());
                    return;
                }
            }
        });
    }
    // The thread ends with the output.
    let failed = match told.recv_timeout(hangs) {
        Ok(()) => Some("caught"),
        Err(RecvTimeoutError::Timeout) => Some("hung"),
        Err(RecvTimeoutError::Disconnected) => None,
    };
    if failed.is_some() {
        let _ = child.kill();
    }
    let status = child.wait();
    failed.or(match status {
        Ok(status) if status.success() => None,
        _ => Some("caught"),
    })
}
