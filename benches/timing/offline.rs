// SPDX-License-Identifier: MPL-2.0

//! Times of words from the clocks and the sound, without server and element.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gstvllmrealtime::Position;
use gstvllmrealtime::speech::Features;
use gstvllmrealtime::transcript::Timing;
use gstvllmrealtime::transcript::align::{Bounds, Neighbours, Placed, place_weighed};
use gstvllmrealtime::transcript::viterbi::Weights;

use crate::clock::{self, Dice, SEGMENT};
use crate::corpus::{self, Clip};
use crate::score::{Gathered, Timed};
use crate::spread::spread;
use crate::vad::utterances;

const RATE: f64 = 16_000.0;
/// Samples between a word's end and its text, from and to, where there is no clock.
const ARRIVAL: (u64, u64) = (8_000, 24_000);
/// How often marks jitter otherwise.
const ROUNDS: u64 = 8;

/// Words that came out of a clip, and as the even spread has them.
struct Heard {
    words: Vec<Timed>,
    placed: Vec<Placed>,
    spent: Duration,
}

/// Sets below `dir`, by name.
pub fn sets(dir: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| {
        format!("{}: {e}: make the corpus with scripts/align-corpus.py make", dir.display())
    })?;
    let mut found: Vec<_> = entries
        .flatten()
        .map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()))
        .filter(|(_, p)| p.is_dir())
        .collect();
    found.sort();
    Ok(found)
}

fn timed(text: &str, placed: &Placed) -> Timed {
    Timed::new(text, placed.begin.samples() as f64 / RATE, placed.end.samples() as f64 / RATE)
}

/// One clip through one cadence; `seed`: of the jitter.
fn hear(clip: &Clip, timing: Timing, jitter: bool, weights: &Weights, seed: u64) -> Heard {
    let mut heard = Heard { words: vec![], placed: vec![], spent: Duration::ZERO };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed * 7919));
    let (mut next, alone) = (0, Neighbours::default());
    let found = utterances(&clip.samples, 12_800);
    let mut sound = Features::default();
    let mut known = 0;
    let mut push = |sound: &mut Features, to: u64| {
        let to = to.min(clip.samples.len() as u64).max(known);
        sound.push(known, &clip.samples[known as usize..to as usize]);
        known = to;
    };
    for (i, &(begin, end, _)) in found.iter().enumerate() {
        let start = begin as f64 / RATE;
        let last = i + 1 == found.len();
        let till = next
            + clip.words[next..]
                .iter()
                .take_while(|w| last || (w.start + w.end) / 2.0 * RATE < end as f64)
                .count();
        let words = &clip.words[next..till];
        next = till;
        let since = Instant::now();
        match timing {
            Timing::Frames => {
                let marks = clock::marks(words, start, jitter, &mut dice);
                let mut before = begin;
                let mut neighbours = Neighbours::default();
                for (i, (w, mark)) in words.iter().zip(&marks).enumerate() {
                    push(&mut sound, begin + clock::sent(mark.last + 1));
                    // It is whole with the next delta, which may be the next word's first.
                    let next = words.get(i + 1).zip(marks.get(i + 1));
                    neighbours.after =
                        next.filter(|(_, m)| m.first == mark.last + 1).map(|(w, m)| {
                            let part: String = w.word.chars().take(clock::SUBWORD).collect();
                            clock::bounds(&part, *m, begin, before)
                        });
                    let bounds = [clock::bounds(&w.word, *mark, begin, before)];
                    let placed = place_weighed(&sound, timing, None, &bounds, &neighbours, weights);
                    neighbours.before = bounds.to_vec();
                    before = placed[0].end.samples();
                    heard.words.push(timed(&w.word, &placed[0]));
                    heard.placed.push(placed[0]);
                }
            }
            Timing::Segments => {
                let mut at = begin;
                let (mut i, mut before) = (0, begin);
                while at < end {
                    let edge = at + SEGMENT;
                    let stop = edge.min(end);
                    push(&mut sound, stop);
                    let count = words[i..]
                        .iter()
                        .take_while(|w| edge >= end || (w.start + w.end) / 2.0 * RATE < edge as f64)
                        .count();
                    // A word may lie across an edge.
                    let slack = 3_200;
                    let bounds: Vec<Bounds> = words[i..i + count]
                        .iter()
                        .map(|w| Bounds {
                            text: w.word.clone(),
                            earliest: Position::new(at.saturating_sub(slack).max(before)),
                            end_after: Position::new(at.saturating_sub(slack).max(before)),
                            latest: Position::new(stop.min(sound.end())),
                        })
                        .collect();
                    let placed = place_weighed(&sound, timing, None, &bounds, &alone, weights);
                    for (w, p) in words[i..].iter().zip(&placed) {
                        heard.words.push(timed(&w.word, p));
                        heard.placed.push(*p);
                        before = p.end.samples();
                    }
                    i += count;
                    at = edge;
                }
            }
            Timing::Arrival => {
                let (mut before, mut said) = (begin, begin);
                let mut neighbours = Neighbours::default();
                for w in words {
                    let late = (dice.roll() * (ARRIVAL.1 - ARRIVAL.0) as f64) as u64 + ARRIVAL.0;
                    let sent = ((w.end * RATE) as u64 + late).min(end);
                    push(&mut sound, sent);
                    let latest = sent.max(before + 1);
                    let end_after = said.saturating_sub(64_000).clamp(before, latest);
                    let [earliest, end_after, latest] =
                        [before, end_after, latest].map(Position::new);
                    let bounds = Bounds { text: w.word.clone(), earliest, end_after, latest };
                    said = sent;
                    let one = std::slice::from_ref(&bounds);
                    let placed = place_weighed(&sound, timing, None, one, &neighbours, weights);
                    neighbours.before.push(bounds);
                    let many = neighbours.before.len().saturating_sub(8);
                    neighbours.before.drain(..many);
                    before = placed[0].end.samples();
                    heard.words.push(timed(&w.word, &placed[0]));
                    heard.placed.push(placed[0]);
                }
            }
            _ => {
                push(&mut sound, end);
                let bounds: Vec<Bounds> = words
                    .iter()
                    .map(|w| Bounds {
                        text: w.word.clone(),
                        earliest: Position::new(begin),
                        end_after: Position::new(begin),
                        latest: Position::new(end),
                    })
                    .collect();
                let placed = place_weighed(&sound, timing, None, &bounds, &alone, weights);
                heard.placed.extend(&placed);
                heard.words.extend(words.iter().zip(&placed).map(|(w, p)| timed(&w.word, p)));
            }
        }
        heard.spent += since.elapsed();
    }
    heard
}

/// Weights from `NAME=VALUE` in the environment, to find out what each does.
fn weights() -> Weights {
    let mut w = Weights::default();
    let get = |name: &str, value: &mut f32| {
        if let Some(v) = std::env::var(name).ok().and_then(|v| v.parse().ok()) {
            *value = v;
        }
    };
    get("ACOUSTICS", &mut w.acoustics);
    get("LASTING_V", &mut w.lasting[0]);
    get("LASTING_C", &mut w.lasting[1]);
    get("SILENT", &mut w.silent);
    get("PAUSE", &mut w.pause);
    get("UNKNOWN", &mut w.unknown);
    get("STRAY", &mut w.stray);
    get("MARK", &mut w.mark);
    get("LENGTH", &mut w.length);
    for (i, name) in ["SHORT_V", "SHORT_C"].iter().enumerate() {
        let mut v = w.shortest[i] as f32;
        get(name, &mut v);
        w.shortest[i] = v as usize;
    }
    w
}

/// What `of` makes of each clip, in order, on all processors.
fn side_by_side<T: Send>(clips: &[Clip], of: impl Fn(&Clip) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let each = clips.len().div_ceil(threads).max(1);
    let of = &of;
    std::thread::scope(|scope| {
        let work = |part: &'_ [Clip]| part.iter().map(of).collect::<Vec<T>>();
        let started: Vec<_> = clips.chunks(each).map(|p| scope.spawn(move || work(p))).collect();
        let joined = |t: std::thread::ScopedJoinHandle<_>| {
            t.join().unwrap_or_else(|fault| std::panic::resume_unwind(fault))
        };
        started.into_iter().flat_map(joined).collect()
    })
}

pub fn run(dir: &Path) -> Result<(), String> {
    let weights = weights();
    let rounds = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(ROUNDS);
    let only = std::env::var("ONLY").unwrap_or_default();
    let cadences = [
        ("frames", Timing::Frames, false),
        ("frames~", Timing::Frames, true),
        ("segments", Timing::Segments, false),
        ("arrival", Timing::Arrival, true),
        ("utterance", Timing::Utterance, false),
    ];
    println!(
        "{:9} {:22} {:>5}  {:>21}  {:>21}  {:>4} {:>4} {:>4} {:>4}  {:>12} {:>5} {:>6}",
        "cadence",
        "set",
        "words",
        "starts mean/med/p95",
        "ends mean/med/p95",
        "miss",
        "dbl",
        "ooo",
        "lap",
        "even st/end",
        "ratio",
        "cost %"
    );
    for (cadence, timing, jitter) in cadences {
        if !only.is_empty() && !only.split(',').any(|o| o == cadence) {
            continue;
        }
        for (name, path) in sets(dir)? {
            let clips = corpus::clips(&path)?;
            let (mut ours, mut even) = (Gathered::default(), Gathered::default());
            let (mut spent, mut audio) = (Duration::ZERO, 0.0);
            // Other jitter each time.
            let rounds = if jitter { rounds } else { 1 };
            let all = side_by_side(&clips, |clip| {
                (0..rounds)
                    .map(|seed| hear(clip, timing, jitter, &weights, seed))
                    .collect::<Vec<_>>()
            });
            for (clip, all) in clips.iter().zip(all) {
                for heard in all {
                    if std::env::var("WORDS").is_ok() {
                        let came = heard.words.iter().zip(&heard.placed);
                        for (t, (g, p)) in clip.words.iter().zip(came).filter(|(t, _)| !t.doubtful)
                        {
                            println!(
                                "  {:7.4} {:7.4} {:7.4} {:14} {:6.2} {:6.2}  start {:+5.0} end {:+5.0}",
                                p.confidence,
                                p.evidence.fit,
                                p.evidence.clarity,
                                t.word,
                                t.start,
                                t.end,
                                (g.start - t.start) * 1e3,
                                (g.end - t.end) * 1e3
                            );
                        }
                    }
                    ours.add(&clip.words, &heard.words);
                    even.add(&clip.words, &spread(clip, timing));
                    spent += heard.spent;
                    audio += clip.samples.len() as f64 / RATE;
                }
            }
            let (s, e) = (ours.score(), even.score());
            println!(
                "{cadence:9} {name:26} {:5}  {:6.0} {:6.0} {:6.0}   {:6.0} {:6.0} {:6.0}   {:4} {:4} {:4} {:4}  {:6.0} {:5.0} {:5.1} {:6.2}",
                s.words,
                s.starts.mean,
                s.starts.median,
                s.starts.p95,
                s.ends.mean,
                s.ends.median,
                s.ends.p95,
                s.missing,
                s.doubled,
                s.out_of_order,
                s.overlapping,
                e.starts.mean,
                e.ends.mean,
                e.starts.mean / s.starts.mean,
                spent.as_secs_f64() / audio * 100.0
            );
        }
    }
    Ok(())
}
