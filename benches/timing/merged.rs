// SPDX-License-Identifier: MPL-2.0

//! What merged deltas cost: real speech, live, with and without stalls of the server's API side.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::corpus::{self, Clip};
use crate::element;
use crate::report::{Goal, Report};
use crate::score::Gathered;

/// Each clip is heard so often, each time with other stalls.
const ROUNDS: u64 = 6;
/// Pipelines at a time; they wait for their audio for the most part.
const THREADS: usize = 16;

/// What came of all clips, with stalls or without.
#[derive(Default)]
struct Side {
    gathered: Gathered,
    late: u64,
    fell_back: usize,
    merged: u64,
}

/// Both sides in one run, a clip of the one beside the same clip of the other.
fn sides(clips: &[Clip]) -> Result<[Side; 2], String> {
    let jobs: Vec<(&Clip, u64, usize)> = (1..=ROUNDS)
        .flat_map(|seed| clips.iter().flat_map(move |c| [(c, seed, 0), (c, seed, 1)]))
        .collect();
    let next = Mutex::new(jobs.iter());
    let done = Mutex::new(([Side::default(), Side::default()], Ok(())));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let job = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(&(clip, seed, side)) = job else { break };
                    let heard = element::hear_live(clip, seed, side == 1);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match heard {
                        Ok(live) => {
                            let side = &mut done.0[side];
                            side.gathered.add(&clip.words, &live.words);
                            side.late += live.late;
                            side.fell_back += live.fell_back;
                            side.merged += live.merged;
                        }
                        Err(e) => done.1 = Err(format!("{}: {e}", clip.name)),
                    }
                }
            });
        }
    });
    let (sides, result) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    result.map(|()| sides)
}

pub fn figures(report: &mut Report, set: &str, path: &Path) -> Result<(), String> {
    let clips = corpus::clips(path)?;
    let [even, merged] = sides(&clips)?;
    let (a, b) = (even.gathered.score(), merged.gathered.score());
    let name = |what: &str| format!("merged/{set}/{what}");
    report.figure(&name("frames-merged"), merged.merged as f64, "frames", Goal::None);
    report.figure(&name("starts/mean/without"), a.starts.mean, "ms", Goal::None);
    report.figure(&name("starts/mean/with"), b.starts.mean, "ms", Goal::None);
    let worse = b.starts.mean - a.starts.mean;
    report.figure(&name("starts/worse-by"), worse, "ms", Goal::AtMost(20.0));
    report.figure(&name("late/without"), even.late as f64, "words", Goal::None);
    report.figure(&name("late/with"), merged.late as f64, "words", Goal::None);
    let lost = (b.missing + b.doubled) as f64;
    report.figure(&name("missing-or-doubled"), lost, "words", Goal::AtMost(0.0));
    let fell_back = (even.fell_back + merged.fell_back) as f64;
    report.figure(&name("clock-given-up"), fell_back, "times", Goal::AtMost(0.0));
    Ok(())
}

pub fn run(dir: &Path) -> Result<std::process::ExitCode, String> {
    let mut report = Report::new("merged");
    figures(&mut report, "real", &dir.join("real"))?;
    report.finish().map_err(|e| e.to_string())
}
