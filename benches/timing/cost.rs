// SPDX-License-Identifier: MPL-2.0

//! What the sound costs, as a share of one core in real time.

use std::path::Path;
use std::time::Instant;

use gstvllmrealtime::speech::{Activity, ActivityConfig, Features};
use gstvllmrealtime::transcript::Timing;
use gstvllmrealtime::transcript::align::{Bounds, Neighbours, place};
use gstvllmrealtime::{Length, Position};

use crate::corpus::{self, Clip};
use crate::offline::sets;
use crate::score::Timed;

const RATE: f64 = 16_000.0;

/// Speech of five minutes at most, with what is in the sets one after another.
pub fn run(dir: &Path) -> Result<(), String> {
    let mut clips = Vec::new();
    for (_, set) in sets(dir)? {
        clips.extend(corpus::clips(&set)?);
    }
    for (name, share) in shares(&clips) {
        println!("{name:24} {share:8.3} % of one core in real time");
    }
    Ok(())
}

/// Share of one core in real time, in percent, by what it is spent for.
pub fn shares<'a>(clips: impl IntoIterator<Item = &'a Clip>) -> Vec<(String, f64)> {
    let (mut samples, mut words) = (Vec::new(), Vec::new());
    for clip in clips {
        let shift = samples.len() as f64 / RATE;
        words.extend(clip.words.iter().map(|w| Timed {
            start: w.start + shift,
            end: w.end + shift,
            ..w.clone()
        }));
        samples.extend_from_slice(&clip.samples);
        if samples.len() as f64 > 300.0 * RATE {
            break;
        }
    }
    let mut out: Vec<(String, f64)> = Vec::new();
    let seconds = samples.len() as f64 / RATE;
    let share = |since: Instant| since.elapsed().as_secs_f64() / seconds * 100.0;

    let since = Instant::now();
    let mut activity = Activity::new(ActivityConfig { silence: 12_800 });
    let mut sound = Features::default();
    for (i, piece) in samples.chunks(320).enumerate() {
        sound.push_judged(i as u64 * 320, piece, &mut |end, score| {
            activity.judge(end, score);
        });
    }
    let sounds = share(since);
    out.push(("sound-and-voice".into(), sounds));

    let at = |t: f64| Position::new((t * RATE) as u64);
    let since = Instant::now();
    let mut before = Position::START;
    for w in &words {
        let bounds = Bounds {
            text: w.word.clone(),
            earliest: before,
            end_after: at(w.end - 0.12).max(before),
            latest: at(w.end + 0.12).max(before + Length::new(1280)),
        };
        before = place(&sound, Timing::Frames, None, &[bounds], &Neighbours::default())[0].end;
    }
    let frames = share(since);
    out.push(("all/frames".into(), sounds + frames));

    for (name, timing, length) in [
        ("segments", Timing::Segments, 5.0),
        ("utterance-30-s", Timing::Utterance, 30.0),
        ("utterance-5-min", Timing::Utterance, 1e9),
    ] {
        let since = Instant::now();
        let mut rest = &words[..];
        let mut from = 0.0;
        while from < seconds {
            let to = f64::min(from + length, seconds);
            let count = rest.iter().take_while(|w| w.end <= to).count();
            let (now, later) = rest.split_at(count);
            rest = later;
            let bounds: Vec<Bounds> = now
                .iter()
                .map(|w| Bounds {
                    text: w.word.clone(),
                    earliest: at(from),
                    end_after: at(from),
                    latest: at(to),
                })
                .collect();
            place(&sound, timing, None, &bounds, &Neighbours::default());
            from = to;
        }
        let placing = share(since);
        out.push((format!("all/{name}"), sounds + placing));
    }
    out
}
