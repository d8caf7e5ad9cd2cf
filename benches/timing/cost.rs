// SPDX-License-Identifier: MPL-2.0

//! What the sound costs, as a share of one core in real time.

use std::path::Path;
use std::time::Instant;

use gstvllmrealtime::speech::{Activity, ActivityConfig, Sound};
use gstvllmrealtime::transcript::Timing;
use gstvllmrealtime::transcript::align::{Bounds, place};

use crate::corpus;
use crate::offline::sets;

const RATE: f64 = 16_000.0;

/// Speech of five minutes, with what is in the sets one after another.
pub fn run(dir: &Path) -> Result<(), String> {
    let (mut samples, mut words) = (Vec::new(), Vec::new());
    'filled: for (_, set) in sets(dir)? {
        for clip in corpus::clips(&set)? {
            let shift = samples.len() as f64 / RATE;
            words.extend(clip.words.into_iter().map(|mut w| {
                w.start += shift;
                w.end += shift;
                w
            }));
            samples.extend(clip.samples);
            if samples.len() as f64 > 300.0 * RATE {
                break 'filled;
            }
        }
    }
    let seconds = samples.len() as f64 / RATE;
    let share = |since: Instant| since.elapsed().as_secs_f64() / seconds * 100.0;
    println!("{} words in {seconds:.0} s of audio; % of one core in real time", words.len());

    let since = Instant::now();
    let mut activity = Activity::new(ActivityConfig { silence: 12_800 });
    let mut changes = Vec::new();
    for (i, piece) in samples.chunks(320).enumerate() {
        activity.push(i as u64 * 320, piece, &mut changes);
    }
    let vad = share(since);
    println!("voice activity      {vad:8.3}");

    let since = Instant::now();
    let mut sound = Sound::default();
    for (i, piece) in samples.chunks(320).enumerate() {
        sound.push(i as u64 * 320, piece);
    }
    let shape = share(since);
    println!("shape of the sound  {shape:8.3}");

    let at = |t: f64| (t * RATE) as u64;
    let since = Instant::now();
    let mut before = 0;
    for w in &words {
        let bounds = Bounds {
            text: w.word.clone(),
            earliest: before,
            end_after: at(w.end - 0.12).max(before),
            latest: at(w.end + 0.12).max(before + 1280),
        };
        before = place(&sound, Timing::Frames, None, &[bounds])[0].end;
    }
    let frames = share(since);
    println!("placing, by frames  {frames:8.3}   all: {:.3}", vad + shape + frames);

    for (name, timing, length) in [
        ("5 s", Timing::Segments, 5.0),
        ("30 s", Timing::Utterance, 30.0),
        ("all", Timing::Utterance, 1e9),
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
            place(&sound, timing, None, &bounds);
            from = to;
        }
        let placing = share(since);
        println!("placing, {name:10} {placing:8.3}   all: {:.3}", vad + shape + placing);
    }
    Ok(())
}
