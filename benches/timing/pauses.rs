// SPDX-License-Identifier: MPL-2.0

//! A segmented server, live: whether each word comes once and whole, and how soon. With pauses
//! between phrases, with none at all, and as it was read.
//!
//! The server has both faults of Qwen3-ASR: it cuts words at its edges, and what it has said leaks
//! into what it says. With `BENCH_PLUGIN=FILE` in the environment another build of the plugin is
//! measured; the figures of commit 05b45ff, before which generations ended with the utterance, are
//! beside.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use vllm_standin::Random;

use crate::corpus::{self, Clip};
use crate::element::{self, Heard};
use crate::report::{Goal, Report};
use crate::score::Timed;

const RATE: f64 = 16_000.0;
const ROUNDS: u64 = 4;

/// How the readings are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    /// With 0.3 to 1 s of silence after each few words.
    Phrases,
    /// With no more than 60 ms between words.
    Running,
    AsRead,
}

impl Spoken {
    fn name(self) -> &'static str {
        match self {
            Spoken::Phrases => "phrases",
            Spoken::Running => "running",
            Spoken::AsRead => "as-read",
        }
    }

    /// Median delay of a word at 05b45ff, in ms.
    fn before(self) -> f64 {
        match self {
            Spoken::Phrases => BEFORE[0],
            Spoken::Running => BEFORE[1],
            Spoken::AsRead => BEFORE[2],
        }
    }
}

/// See [`Spoken::before`].
const BEFORE: [f64; 3] = [2423.6, 3486.4, 5570.7];

/// All clips in one, spoken so.
fn clip(clips: &[Clip], spoken: Spoken, seed: u64) -> Clip {
    let mut random = Random::new(seed);
    let mut all = Clip { name: spoken.name().to_owned(), samples: Vec::new(), words: Vec::new() };
    let mut left = 0;
    for clip in clips {
        let at = |t: f64| ((t * RATE) as usize).min(clip.samples.len());
        for (i, w) in clip.words.iter().enumerate() {
            let (begin, end) = (at(w.start), at(w.end));
            if i == 0 && spoken != Spoken::Running {
                all.samples.extend(&clip.samples[..begin]);
            }
            let start = all.samples.len() as f64 / RATE;
            all.samples.extend(&clip.samples[begin..end]);
            let word = w.word.clone();
            all.words.push(Timed::new(word, start, all.samples.len() as f64 / RATE));
            let next = clip.words.get(i + 1).map_or(clip.samples.len(), |n| at(n.start));
            let until = if spoken == Spoken::Running { next.min(end + 960) } else { next };
            all.samples.extend(&clip.samples[end..until.max(end)]);
            if spoken == Spoken::Phrases {
                if left == 0 {
                    left = random.range(3, 8);
                    let pause = random.range(4800, 16_000);
                    // Silence of a room, not of a machine.
                    all.samples.extend((0..pause).map(|_| random.below(5) as i16 - 2));
                }
                left -= 1;
            }
        }
    }
    all.samples.extend((0..16_000).map(|_| random.below(5) as i16 - 2));
    all
}

pub fn figures(report: &mut Report, path: &Path) -> Result<(), String> {
    let clips = corpus::clips(path)?;
    let kinds = [Spoken::Phrases, Spoken::Running, Spoken::AsRead];
    let jobs: Vec<(Spoken, u64)> =
        kinds.iter().flat_map(|k| (1..=ROUNDS).map(move |seed| (*k, seed))).collect();
    let done: Mutex<Vec<(Spoken, Result<Heard, String>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for (kind, seed) in jobs {
            let (done, clips) = (&done, &clips);
            scope.spawn(move || {
                let heard = element::hear_as_it_comes(&clip(clips, kind, seed), seed);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((kind, heard));
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    for kind in kinds {
        let (mut delays, mut wrong) = (Vec::new(), 0);
        for (_, heard) in done.iter().filter(|(k, _)| *k == kind) {
            let heard = heard.as_ref().map_err(Clone::clone)?;
            delays.extend_from_slice(&heard.delays);
            wrong += heard.wrong;
        }
        delays.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let index = (delays.len() as f64 * part) as usize;
            delays.get(index).map_or(f64::NAN, |s| s * 1000.0)
        };
        let name = |what: &str| format!("segments/{}/{what}", kind.name());
        report.figure(&name("delay/median/05b45ff"), kind.before(), "ms", Goal::None);
        let sooner = if kind == Spoken::Phrases { 1000.0 } else { 0.0 };
        let goal = Goal::AtMost(kind.before() - sooner);
        report.figure(&name("delay/median"), at(0.5), "ms", goal);
        report.figure(&name("delay/p95"), at(0.95), "ms", Goal::None);
        report.figure(&name("missing-doubled-or-cut"), wrong as f64, "words", Goal::AtMost(0.0));
    }
    Ok(())
}

pub fn run(dir: &Path) -> Result<std::process::ExitCode, String> {
    let mut report = Report::new("segments");
    figures(&mut report, &dir.join("real"))?;
    report.finish().map_err(|e| e.to_string())
}
