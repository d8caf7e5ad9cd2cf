// SPDX-License-Identifier: MPL-2.0

//! Folders of `NAME.wav` with `NAME.words.json`.

use std::path::Path;

use gstvllmrealtime::speech::Features;

use crate::score::Timed;

/// A recording with the time of each word.
pub struct Clip {
    pub name: String,
    /// 16 kHz, mono.
    pub samples: Vec<i16>,
    pub words: Vec<Timed>,
}

impl Clip {
    /// The samples of a word, less so many seconds at each end.
    pub fn inside(&self, word: &Timed, less: f64) -> &[i16] {
        let at = |t: f64| ((t * 16e3) as usize).min(self.samples.len());
        let begin = at(word.start + less);
        &self.samples[begin..at(word.end - less).max(begin + 1).min(self.samples.len())]
    }
}

/// Makes the corpus where it is missing.
pub fn made(folder: &Path) -> Result<(), String> {
    if folder.is_dir() {
        return Ok(());
    }
    let part = folder.with_extension("part");
    eprintln!("making {}", folder.display());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/align-corpus.py");
    let made = std::process::Command::new("python3").arg(script).arg("make").arg(&part).status();
    match made {
        Ok(status) if status.success() => {
            std::fs::rename(&part, folder).map_err(|e| format!("{}: {e}", folder.display()))
        }
        Ok(status) => Err(format!("{script} make: {status}; see ./scripts/setup.sh")),
        Err(e) => Err(format!("python3: {e}; see ./scripts/setup.sh")),
    }
}

/// The clips of a folder, by name.
pub fn clips(folder: &Path) -> Result<Vec<Clip>, String> {
    let told = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.extension().is_some_and(|e| e == "wav") {
            found.push(clip(&path)?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn clip(wav: &Path) -> Result<Clip, String> {
    let json = wav.with_extension("words.json");
    let read = |p: &Path| std::fs::read(p).map_err(|e| format!("{}: {e}", p.display()));
    let words =
        serde_json::from_slice(&read(&json)?).map_err(|e| format!("{}: {e}", json.display()))?;
    let samples = samples(&read(wav)?)
        .ok_or_else(|| format!("{}: not a WAV of 16 kHz, mono, 16 bits", wav.display()))?;
    let name = wav.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Clip { name, samples, words })
}

/// Writes what `Features` makes of each WAV of a folder beside it, for `scripts/train-sounds.sh`:
/// a byte for each band and one for the voice, every 10 ms.
pub fn write_frames(folder: &Path) -> Result<(), String> {
    let told = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        if path.extension().is_none_or(|e| e != "wav") {
            continue;
        }
        let wav = std::fs::read(&path).map_err(told)?;
        let samples = samples(&wav).ok_or_else(|| format!("{}: no WAV", path.display()))?;
        let mut sound = Features::default();
        sound.push(0, &samples);
        let (_, frames) = sound.frames(0, sound.end());
        let bytes: Vec<u8> =
            frames.flat_map(|f| f.levels.iter().copied().chain([f.voice])).collect();
        std::fs::write(path.with_extension("frames"), bytes).map_err(told)?;
    }
    Ok(())
}

/// The samples of a WAV file.
fn samples(wav: &[u8]) -> Option<Vec<i16>> {
    let mut rest = wav.strip_prefix(b"RIFF")?.get(4..)?.strip_prefix(b"WAVE")?;
    let mut format_fits = false;
    loop {
        let (head, body) = rest.split_at_checked(8)?;
        let length = u32::from_le_bytes(head[4..].try_into().ok()?) as usize;
        let chunk = &body[..length.min(body.len())];
        match &head[..4] {
            b"fmt " => {
                // PCM, one channel, 16 kHz, 16 bits.
                let fits = [(0, [1, 0]), (2, [1, 0]), (4, [0x80, 0x3e]), (14, [16, 0])];
                format_fits = fits.iter().all(|(at, v)| chunk.get(*at..at + 2) == Some(v));
            }
            b"data" if format_fits => {
                let pairs = chunk.chunks_exact(2);
                return Some(pairs.map(|b| i16::from_le_bytes([b[0], b[1]])).collect());
            }
            _ => {}
        }
        rest = body.get(length + length % 2..)?;
    }
}
