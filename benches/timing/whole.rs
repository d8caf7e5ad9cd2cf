// SPDX-License-Identifier: MPL-2.0

//! All figures: sets of recordings through the whole element, in each cadence.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use gstvllmrealtime::transcript::Timing;
use serde::Serialize;
use vllm_standin::Cadence;

use crate::corpus::{self, Clip};
use crate::element;
use crate::report::{Goal, Report};
use crate::score::{Gathered, Score, Timed};
use crate::spread::spread;
use crate::{cost, prompt, vad};

/// Pipelines at a time; they wait for their audio for the most part.
const THREADS: usize = 8;
/// What may lack at each end of a word that counts as whole: seconds.
const WHOLE: f64 = 0.005;
/// How often real speech is heard by frames.
const ROUNDS: u64 = 12;
/// How much softer the soft speech is.
const SOFT: f32 = -30.0;

/// A cadence, and what words of a real reading have to reach in it: ms, and times the even spread.
struct Goals {
    cadence: Cadence,
    timing: Timing,
    name: &'static str,
    starts: f64,
    starts_p95: Option<f64>,
    ends: Option<f64>,
    ratio: f64,
}

const CADENCES: [Goals; 4] = [
    Goals {
        cadence: Cadence::Frames,
        timing: Timing::Frames,
        name: "frames",
        starts: 50.0,
        starts_p95: Some(130.0),
        ends: Some(40.0),
        ratio: 8.0,
    },
    Goals {
        cadence: Cadence::Segments,
        timing: Timing::Segments,
        name: "segments",
        starts: 130.0,
        starts_p95: Some(350.0),
        ends: None,
        ratio: 2.0,
    },
    Goals {
        cadence: Cadence::Arrival,
        timing: Timing::Arrival,
        name: "arrival",
        starts: 80.0,
        starts_p95: None,
        ends: None,
        ratio: 2.0,
    },
    Goals {
        cadence: Cadence::Utterance,
        timing: Timing::Utterance,
        name: "utterance",
        starts: 180.0,
        starts_p95: None,
        ends: None,
        ratio: 2.0,
    },
];

/// Speakers that nothing was chosen on, in four weathers: what starts by frames have to reach, mean and
/// 95th percentile in ms. Segments and `arrival` have half as much again, ends a third; and all have to
/// be so many times nearer than the even spread.
const WEATHERS: [(&str, f64, f64); 4] = [
    ("clean", 30.0, 100.0),
    ("hall", 50.0, 150.0),
    ("far", 70.0, 250.0),
    ("telephone", 40.0, 130.0),
];
const WEATHER_RATIO: (f64, f64) = (6.0, 3.0);
/// The 95th percentile of fewer words says nothing.
const FEW: usize = 200;

/// One set in one cadence.
#[derive(Serialize)]
struct Row {
    set: String,
    cadence: &'static str,
    soft: bool,
    ours: Score,
    even: Score,
    /// Words whose time counts, each once.
    timed: usize,
    /// How many times nearer to the truth than the even spread: starts.
    ratio: f64,
    speech: f64,
    sent: f64,
    /// Words of which no generation had all samples.
    damaged: Vec<String>,
    warnings: Vec<String>,
}

struct Job<'a> {
    set: &'a str,
    clips: &'a [Clip],
    goals: &'a Goals,
    soft: bool,
}

impl Job<'_> {
    /// Marks jitter otherwise in each: the few words of real speech are heard so often.
    fn rounds(&self) -> u64 {
        let jitters = self.goals.timing == Timing::Frames && !self.soft;
        let few = self.clips.iter().map(|c| c.words.len()).sum::<usize>() < FEW;
        if jitters && few && is_real(self.set) { ROUNDS } else { 1 }
    }

    fn run(&self) -> Result<Row, String> {
        let scaled: Vec<Clip>;
        let clips = if self.soft {
            scaled = vad::scaled(self.clips, SOFT);
            &scaled
        } else {
            self.clips
        };
        let (mut ours, mut even) = (Gathered::default(), Gathered::default());
        let (mut damaged, mut warnings) = (Vec::new(), Vec::new());
        let (mut speech, mut sent) = (0.0, 0.0);
        for (clip, seed) in (0..self.rounds()).flat_map(|_| clips).zip(1..) {
            let heard = element::hear(clip, self.goals.cadence, seed)
                .map_err(|e| format!("{} {} {}: {e}", self.set, clip.name, self.goals.name))?;
            if std::env::var("WORDS").is_ok() {
                for (t, g) in clip.words.iter().zip(&heard.words) {
                    eprintln!(
                        "{} {} {} {:14} {:6.2} {:6.2} {:+5.0} {:+5.0}",
                        self.goals.name,
                        self.set,
                        clip.name,
                        g.word,
                        t.start,
                        t.end,
                        (g.start - t.start) * 1e3,
                        (g.end - t.end) * 1e3
                    );
                }
            }
            ours.add(&clip.words, &heard.words);
            even.add(&clip.words, &spread(clip, self.goals.timing));
            let whole = |w: &&Timed| {
                let part = clip.inside(w, WHOLE);
                heard.log.generations().any(|g| g.audio.windows(part.len()).any(|a| a == part))
            };
            damaged.extend(clip.words.iter().filter(|w| !whole(w)).map(|w| w.word.clone()));
            speech += clip.words.iter().map(|w| w.end - w.start).sum::<f64>();
            sent += heard.log.samples() as f64 / 16e3;
            warnings.extend(heard.warnings);
        }
        let (ours, even) = (ours.score(), even.score());
        let timed = ours.timed / self.rounds() as usize;
        Ok(Row {
            timed,
            set: self.set.into(),
            cadence: self.goals.name,
            soft: self.soft,
            ratio: even.starts.mean / ours.starts.mean,
            speech,
            sent,
            damaged,
            ours,
            even,
            warnings,
        })
    }
}

/// Runs all jobs, some at a time. Rows in the order of the jobs.
fn all(jobs: &[Job]) -> Result<Vec<Row>, String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((i, job)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(i).map(|j| (i, j))
        } {
            done.push((i, job.run()));
        }
        done
    };
    let mut rows = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter().map(|t| t.join().map_err(|_| "a thread panicked"));
        done.collect::<Result<Vec<_>, _>>()
    })?;
    let mut rows: Vec<_> = rows.drain(..).flatten().collect();
    rows.sort_by_key(|(i, _)| *i);
    rows.into_iter().map(|(_, row)| row).collect()
}

pub fn run(sets: &[(String, PathBuf)]) -> Result<ExitCode, String> {
    let mut loaded = Vec::new();
    for (name, path) in sets {
        let clips = corpus::clips(path)?;
        if clips.is_empty() {
            return Err(format!("{}: no NAME.wav with NAME.words.json", path.display()));
        }
        loaded.push((name, clips));
    }
    let mut jobs = Vec::new();
    for (goals, soft) in CADENCES.iter().map(|g| (g, false)).chain([(&CADENCES[0], true)]) {
        jobs.extend(loaded.iter().map(|(set, clips)| Job { set, clips, goals, soft }));
    }
    let rows = all(&jobs)?;
    table(&rows);

    let mut report = Report::new("timing");
    for goals in &CADENCES {
        near(&mut report, goals, &rows);
    }
    whole(&mut report, &rows);
    let late: Vec<u64> =
        loaded.iter().flat_map(|(_, clips)| clips).flat_map(prompt::frames_late).collect();
    let mean = late.iter().sum::<u64>() as f64 / late.len().max(1) as f64;
    report.figure("word-out/mean", mean, "frames", Goal::None);
    let most = late.iter().max().map_or(f64::NAN, |m| *m as f64);
    report.figure("word-out/most", most, "frames", Goal::AtMost(2.0));
    activity(&mut report, &rows, &loaded);
    for (name, share) in cost::shares(loaded.iter().flat_map(|(_, c)| c)) {
        report.figure(&format!("cost/{name}"), share, "% core", Goal::AtMost(1.0));
    }
    report.detail("sets", serde_json::to_value(&rows).map_err(|e| e.to_string())?);
    report.finish().map_err(|e| e.to_string())
}

/// A line for each set and cadence.
fn table(rows: &[Row]) {
    println!(
        "{:9} {:25} {:>5} {:>16} {:>16} {:>4} {:>4} {:>4} {:>4} {:>6} {:>6} {:>5}",
        "cadence",
        "set",
        "words",
        "starts avg/50/95",
        "ends avg/50/95",
        "miss",
        "dbl",
        "ooo",
        "lap",
        "even",
        "ratio",
        "sent"
    );
    for r in rows {
        let (s, e) = (&r.ours.starts, &r.ours.ends);
        println!(
            "{:9} {:25} {:5} {:6.0} {:4.0} {:4.0} {:6.0} {:4.0} {:4.0} {:4} {:4} {:4} {:4} {:6.0} {:6.1} {:5.2}",
            r.cadence,
            if r.soft { format!("{} {SOFT} dB", r.set) } else { r.set.clone() },
            r.ours.words,
            s.mean,
            s.median,
            s.p95,
            e.mean,
            e.median,
            e.p95,
            r.ours.missing,
            r.ours.doubled,
            r.ours.out_of_order,
            r.ours.overlapping,
            r.even.starts.mean,
            r.ratio,
            r.sent / r.speech,
        );
        for word in &r.damaged {
            println!("          a part of {word} was cut off");
        }
        for w in &r.warnings {
            println!("          {w}");
        }
    }
}

/// How near words came. The goals in ms are for real speech.
fn near(report: &mut Report, goals: &Goals, rows: &[Row]) {
    let rows = || rows.iter().filter(|r| r.cadence == goals.name && !r.soft);
    for r in rows().filter(|r| r.is_real()) {
        if let Some(weather) = WEATHERS.iter().find(|w| w.0 == r.set) {
            in_weather(report, goals, r, weather);
            continue;
        }
        let factor = if r.set.ends_with("-noise") { 1.5 } else { 1.0 };
        let goal = |limit: Option<f64>| limit.map_or(Goal::None, |l| Goal::AtMost(factor * l));
        let name = |what: &str| format!("{}/{}/{what}", r.cadence, r.set);
        let (s, e) = (&r.ours.starts, &r.ours.ends);
        report.figure(&name("starts/mean"), s.mean, "ms", goal(Some(goals.starts)));
        report.figure(&name("starts/median"), s.median, "ms", Goal::None);
        report.figure(&name("starts/p95"), s.p95, "ms", goal(goals.starts_p95));
        report.figure(&name("ends/mean"), e.mean, "ms", goal(goals.ends));
        report.figure(&name("ends/median"), e.median, "ms", Goal::None);
        let p95 = goals.starts_p95.filter(|_| goals.ends.is_some());
        report.figure(&name("ends/p95"), e.p95, "ms", goal(p95));
        report.figure(&name("nearer-than-even"), r.ratio, "times", Goal::AtLeast(goals.ratio));
    }
    // All sets of synthetic speech in one; the table has each.
    let espeak = || rows().filter(|r| !r.is_real());
    let words: usize = espeak().map(|r| r.ours.words).sum();
    if words > 0 {
        let mean = |of: fn(&Row) -> f64| {
            espeak().map(|r| of(r) * r.ours.words as f64).sum::<f64>() / words as f64
        };
        let name = |what: &str| format!("{}/espeak/{what}", goals.name);
        let (ours, even) = (mean(|r| r.ours.starts.mean), mean(|r| r.even.starts.mean));
        report.figure(&name("starts/mean"), ours, "ms", Goal::None);
        report.figure(&name("ends/mean"), mean(|r| r.ours.ends.mean), "ms", Goal::None);
        let goal = Goal::AtLeast(goals.ratio);
        report.figure(&name("nearer-than-even"), even / ours, "times", goal);
        let least = espeak().map(|r| r.ratio).fold(f64::INFINITY, f64::min);
        report.figure(&name("nearer-than-even/worst-set"), least, "times", goal);
    }
}

fn in_weather(report: &mut Report, goals: &Goals, r: &Row, weather: &(&str, f64, f64)) {
    let (factor, ratio) = match goals.timing {
        Timing::Frames => (1.0, Goal::AtLeast(WEATHER_RATIO.0)),
        Timing::Segments => (1.5, Goal::AtLeast(WEATHER_RATIO.1)),
        Timing::Arrival => (1.5, Goal::None),
        _ => (f64::INFINITY, Goal::None),
    };
    let goal = |ms: f64, counts: bool| {
        if counts && factor.is_finite() { Goal::AtMost(ms * factor) } else { Goal::None }
    };
    let many = r.timed >= FEW;
    let &(_, mean, p95) = weather;
    for (what, errors, more) in [("starts", &r.ours.starts, 1.0), ("ends", &r.ours.ends, 1.3)] {
        let name = |of: &str| format!("{}/{}/{what}/{of}", r.cadence, r.set);
        report.figure(&name("mean"), errors.mean, "ms", goal(mean * more, true));
        report.figure(&name("p95"), errors.p95, "ms", goal(p95 * more, many));
    }
    let name = format!("{}/{}/nearer-than-even", r.cadence, r.set);
    report.figure(&name, r.ratio, "times", ratio);
}

/// Whether all words came, once and in order.
fn whole(report: &mut Report, rows: &[Row]) {
    for goals in &CADENCES {
        let all = || rows.iter().filter(|r| r.cadence == goals.name);
        let mut sum = |name: &str, count: fn(&Row) -> usize| {
            let name = format!("{}/all-sets/{name}", goals.name);
            report.figure(&name, all().map(count).sum::<usize>() as f64, "", Goal::AtMost(0.0));
        };
        sum("missing", |r| r.ours.missing);
        sum("doubled", |r| r.ours.doubled);
        sum("out-of-order", |r| r.ours.out_of_order);
        sum("overlapping", |r| r.ours.overlapping);
        sum("warnings", |r| r.warnings.len());
    }
}

/// What voice activity sends, and what it costs in words.
fn activity(report: &mut Report, rows: &[Row], loaded: &[(&String, Vec<Clip>)]) {
    let all = || rows.iter().filter(|r| r.cadence == CADENCES[0].name);
    for pauses in [false, true] {
        let sets = || all().filter(|r| !r.soft && r.set.contains("-pauses") == pauses);
        let speech: f64 = sets().map(|r| r.speech).sum();
        let sent: f64 = sets().map(|r| r.sent).sum();
        if speech > 0.0 {
            let name = if pauses { "vad/sent/pauses" } else { "vad/sent/without-pauses" };
            report.figure(name, sent / speech, "s/s", Goal::None);
        }
    }
    for soft in [false, true] {
        let name = if soft { format!("{SOFT}-dB") } else { "as-is".to_owned() };
        let sets = || all().filter(|r| r.soft == soft);
        let lost: usize = sets().map(|r| r.ours.missing).sum();
        let damaged: usize = sets().map(|r| r.damaged.len()).sum();
        report.figure(&format!("vad/words-lost/{name}"), lost as f64, "", Goal::AtMost(0.0));
        report.figure(&format!("vad/words-damaged/{name}"), damaged as f64, "", Goal::AtMost(0.0));
    }
    let delays: Vec<f64> = loaded.iter().flat_map(|(_, c)| c).flat_map(vad::delays).collect();
    if !delays.is_empty() {
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        report.figure("vad/speech-end-to-final-commit", mean, "ms", Goal::None);
    }
}

impl Row {
    fn is_real(&self) -> bool {
        is_real(&self.set)
    }
}

fn is_real(set: &str) -> bool {
    set == "corpus"
        || set == "real"
        || set.starts_with("real-")
        || WEATHERS.iter().any(|w| w.0 == set)
}
