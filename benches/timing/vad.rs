// SPDX-License-Identifier: MPL-2.0

//! What voice activity sends, and what it cuts.

use std::path::Path;

use gstvllmrealtime::speech::{Activity, ActivityConfig, Change, Features};

use crate::corpus::{self, Clip};
use crate::offline::sets;

/// Utterances found in samples: begin, end, and where the end was found out.
pub fn utterances(samples: &[i16], silence: u64) -> Vec<(u64, u64, u64)> {
    let mut activity = Activity::new(ActivityConfig { silence });
    let mut sound = Features::default();
    let mut found = Vec::new();
    let mut begin = None;
    let mut position = 0;
    for piece in samples.chunks(320) {
        let to = position + piece.len() as u64;
        sound.push_judged(position, piece, &mut |end, score| match activity.judge(end, score) {
            Some(Change::Begin(p)) => begin = Some(p),
            Some(Change::End(p)) => found.extend(begin.take().map(|b| (b, p, to))),
            None => {}
        });
        position = to;
    }
    found.extend(begin.map(|b| (b, position, position)));
    found
}

/// From the end of the last word to where the utterance's end is found out, in ms of audio: for
/// each utterance that ends before the audio does. Of a server's answer nothing is waited for.
pub fn delays(clip: &Clip) -> Vec<f64> {
    let found = utterances(&clip.samples, 12_800);
    let ended = found.iter().filter(|f| f.1 != f.2);
    ended
        .filter_map(|f| {
            let last = clip.words.iter().rfind(|w| w.start * 16e3 < f.1 as f64)?;
            Some(f.2 as f64 / 16.0 - last.end * 1e3)
        })
        .collect()
}

/// The clips `decibels` louder.
pub fn scaled(clips: &[Clip], decibels: f32) -> Vec<Clip> {
    let scaled = |c: &Clip| Clip {
        name: c.name.clone(),
        samples: louder(&c.samples, decibels),
        words: c.words.clone(),
    };
    clips.iter().map(scaled).collect()
}

/// The samples `decibels` louder.
fn louder(samples: &[i16], decibels: f32) -> Vec<i16> {
    let gain = 10_f32.powf(decibels / 20.0);
    samples.iter().map(|&s| (f32::from(s) * gain).round() as i16).collect()
}

pub fn run(dir: &Path) -> Result<(), String> {
    println!(
        "{:28} {:>6} {:>8} {:>8} {:>6} {:>6} {:>9} {:>9}",
        "set", "words", "speech s", "sent/s", "lost", "cut", "most cut", "delay ms"
    );
    for (name, set) in sets(dir)? {
        let clips = corpus::clips(&set)?;
        for (suffix, gain) in [("", 0.0), (" -30 dB", -30.0), (" +20 dB clipped", 20.0)] {
            report(&format!("{name}{suffix}"), &scaled(&clips, gain), 12_800);
        }
    }
    Ok(())
}

fn report(name: &str, clips: &[Clip], silence: u64) {
    let (mut words, mut speech, mut sent, mut lost, mut cut) = (0, 0.0, 0, 0, 0);
    let mut most = 0.0_f64;
    let mut delays = Vec::new();
    for clip in clips {
        let found = utterances(&clip.samples, silence);
        if std::env::var("CLIPS").is_ok() {
            for f in &found {
                println!("  {:12} {:7.2} {:7.2}", clip.name, f.0 as f64 / 16e3, f.1 as f64 / 16e3);
            }
            for w in &clip.words {
                let (b, e) = ((w.start * 16e3) as u64, (w.end * 16e3) as u64);
                if !found.iter().any(|f| f.0 <= b && e <= f.1) {
                    println!("  cut: {w:?}");
                }
            }
        }
        sent += found.iter().map(|f| f.1 - f.0).sum::<u64>();
        for w in &clip.words {
            words += 1;
            speech += w.end - w.start;
            let (b, e) = ((w.start * 16e3) as u64, (w.end * 16e3) as u64);
            let kept: u64 = found.iter().map(|f| f.1.min(e).saturating_sub(f.0.max(b))).sum();
            let missing = (e - b - kept.min(e - b)) as f64 / 16.0;
            lost += usize::from(kept * 2 < e - b);
            if missing > 0.0 && kept * 2 >= e - b {
                cut += 1;
                most = most.max(missing);
            }
        }
        delays.extend(self::delays(clip));
    }
    let delay = delays.iter().sum::<f64>() / delays.len().max(1) as f64;
    println!(
        "{name:28} {words:6} {speech:8.1} {:8.2} {lost:6} {cut:6} {most:9.0} {delay:9.0}",
        sent as f64 / 16e3 / speech
    );
}
