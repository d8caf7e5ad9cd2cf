// SPDX-License-Identifier: MPL-2.0

//! Words with times, said where the audio holds them.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::reference::{BASE, Reference, WINDOW, hash};
use super::{RATE, Speech, TimedWord, Word};
use crate::log::GenerationLog;

/// Samples of unknown audio that are looked back on, once the place is found.
const BACK: usize = 1024;
/// Samples that are waited for at most, where a window fits more than one place.
const DOUBT: usize = 4000;
/// Samples that may lack of a word that counts as whole: 10 ms.
const WHOLE: u64 = 160;
/// Damaged words that a log names at most.
const NAMED: usize = 4096;

/// Words with times, and the recording that holds them.
#[derive(Debug)]
pub struct Aligned {
    /// In the order of their begins, in samples of the recording.
    words: Vec<Place>,
    reference: Option<Reference>,
}

#[derive(Debug, Clone)]
struct Place {
    text: String,
    begin: u64,
    end: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WordsFile {
    List(Vec<TimedWord>),
    Object { words: Vec<TimedWord> },
}

impl Aligned {
    /// Words with times from each generation's beginning.
    pub fn from_start(words: &[TimedWord]) -> Self {
        let mut aligned = Aligned { words: Vec::new(), reference: None };
        aligned.add_words(words, 0);
        aligned
    }

    /// Recordings (16 kHz, mono) and the words in each: audio is found in them by its samples.
    pub fn in_recordings<'a>(
        parts: impl IntoIterator<Item = (&'a [i16], &'a [TimedWord])>,
    ) -> Self {
        let mut samples = Vec::new();
        let mut aligned = Aligned { words: Vec::new(), reference: None };
        for (audio, words) in parts {
            aligned.add_words(words, samples.len() as u64);
            samples.extend_from_slice(audio);
        }
        aligned.reference = Some(Reference::new(samples));
        aligned
    }

    /// Reads pairs of a WAV file (S16LE, 16 kHz, mono) and a file of words, as JSON:
    /// `[{"word": "hello", "start": 0.2, "end": 0.5}]`, in seconds.
    ///
    /// # Errors
    /// A file cannot be read, or is of another kind.
    pub fn read(pairs: &[(impl AsRef<Path>, impl AsRef<Path>)]) -> Result<Self, String> {
        let mut parts = Vec::new();
        for (audio, words) in pairs {
            parts.push((read_wav(audio.as_ref())?, read_words(words.as_ref())?));
        }
        Ok(Self::in_recordings(parts.iter().map(|(a, w)| (a.as_slice(), w.as_slice()))))
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn add_words(&mut self, words: &[TimedWord], offset: u64) {
        let at = |seconds: f64| (seconds.max(0.0) * RATE as f64).round() as u64;
        self.words.extend(words.iter().filter(|w| !w.word.trim().is_empty()).map(|w| Place {
            text: w.word.trim().into(),
            begin: offset + at(w.start),
            end: offset + at(w.end).max(at(w.start) + 1),
        }));
        self.words.sort_by_key(|w| w.begin);
    }

    /// `hint`: where the generation before ended.
    pub(crate) fn speech(self: &Arc<Self>, hint: Option<usize>) -> Hearing {
        let place = match &self.reference {
            Some(_) => Following::Lost(hint.map(|at| (at, at))),
            None => Following::At(0),
        };
        Hearing {
            aligned: self.clone(),
            following: place,
            pending: Vec::new(),
            pending_at: 0,
            ended: false,
            active: BTreeMap::new(),
            first: 0,
            ids: 0,
            words: VecDeque::new(),
            damaged: Vec::new(),
            coverage: Vec::new(),
            known: 0,
        }
    }
}

/// Reads a WAV file: S16LE, 16 kHz, mono.
pub fn read_wav(path: &Path) -> Result<Vec<i16>, String> {
    let name = path.display();
    let mut reader =
        hound::WavReader::open(path).map_err(|e| format!("cannot read {name}: {e}"))?;
    let spec = reader.spec();
    if (spec.channels, spec.sample_rate, spec.bits_per_sample) != (1, 16_000, 16) {
        return Err(format!("{name} is not 16 bits, 16 kHz, mono; convert it (sox, ffmpeg)"));
    }
    reader.samples::<i16>().collect::<Result<_, _>>().map_err(|e| format!("{name}: {e}"))
}

/// Reads a file of words with times.
pub fn read_words(path: &Path) -> Result<Vec<TimedWord>, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {name}: {e}"))?;
    match serde_json::from_str(&text).map_err(|e| format!("{name}: {e}"))? {
        WordsFile::List(words) | WordsFile::Object { words } => Ok(words),
    }
}

/// Where the audio is in the recording.
#[derive(Debug, Clone, Copy)]
enum Following {
    /// The next sample is this one.
    At(usize),
    /// Nowhere; it was here last, and would be there now had it gone on.
    Lost(Option<(usize, usize)>),
}

/// A word of which something was heard.
#[derive(Debug)]
struct Heard {
    id: u64,
    samples: u64,
    begin: u64,
    end: u64,
}

/// The voice in one generation.
#[derive(Debug)]
pub struct Hearing {
    aligned: Arc<Aligned>,
    following: Following,
    /// Audio whose place is not known yet, and the index of its first sample.
    pending: Vec<i16>,
    pending_at: u64,
    ended: bool,
    /// Words that are being heard, by index.
    active: BTreeMap<usize, Heard>,
    /// All words before this one end before the place.
    first: usize,
    ids: u64,
    words: VecDeque<Word>,
    damaged: Vec<String>,
    coverage: Vec<(usize, f32)>,
    known: u64,
}

impl Hearing {
    /// `count` samples from `at` on of the recording were heard.
    fn credit(&mut self, at: usize, count: usize) {
        if count == 0 {
            return;
        }
        self.known += count as u64;
        let (from, to) = (at as u64, (at + count) as u64);
        let aligned = self.aligned.clone();
        let mut finished = Vec::new();
        while aligned.words.get(self.first).is_some_and(|w| w.end <= from) {
            self.first += 1;
        }
        for (i, word) in aligned.words.iter().enumerate().skip(self.first) {
            if word.begin >= to {
                break;
            }
            let (begin, end) = (word.begin.max(from), word.end.min(to));
            if begin >= end {
                continue;
            }
            let ids = &mut self.ids;
            let heard = self.active.entry(i).or_insert_with(|| {
                *ids += 1;
                Heard { id: *ids, samples: 0, begin: self.pending_at + (begin - from), end: 0 }
            });
            heard.samples += end - begin;
            heard.end = self.pending_at + (end - from);
            if end == word.end {
                finished.push(i);
            }
        }
        for i in finished {
            self.finish(i);
        }
    }

    /// No more is heard of a word.
    fn finish(&mut self, i: usize) {
        let Some(heard) = self.active.remove(&i) else { return };
        let Some(place) = self.aligned.words.get(i) else { return };
        let length = place.end - place.begin;
        self.coverage.push((i, heard.samples as f32 / length as f32));
        if heard.samples + WHOLE < length && self.damaged.len() < NAMED {
            self.damaged.push(place.text.clone());
        }
        if 2 * heard.samples >= length {
            self.words.push_back(Word {
                text: place.text.clone(),
                begin: heard.begin,
                end: heard.end,
                id: heard.id,
            });
        }
    }

    /// The audio goes on elsewhere: words that are not there are over.
    fn jump(&mut self, to: Option<usize>) {
        let words = &self.aligned.words;
        let over: Vec<usize> = self
            .active
            .keys()
            .copied()
            .filter(|&i| {
                let inside = |at: usize| {
                    words.get(i).is_some_and(|w| w.begin <= at as u64 && (at as u64) < w.end)
                };
                !to.is_some_and(inside)
            })
            .collect();
        for i in over {
            self.finish(i);
        }
        if let Some(to) = to {
            // Words are in the order of their begins; long ones may still reach here.
            let before = self.aligned.words.partition_point(|w| w.begin <= to as u64);
            self.first = before.saturating_sub(64);
        }
    }

    fn skip(&mut self, count: usize) {
        self.pending.drain(..count);
        self.pending_at += count as u64;
    }

    fn follow(&mut self) {
        let aligned = self.aligned.clone();
        let Some(reference) = &aligned.reference else {
            let Following::At(at) = self.following else { return };
            let count = self.pending.len();
            self.credit(at, count);
            self.skip(count);
            self.following = Following::At(at + count);
            return;
        };
        while !self.pending.is_empty() {
            match self.following {
                Following::At(at) => {
                    let count = reference.agrees(at, &self.pending);
                    self.credit(at, count);
                    self.skip(count);
                    self.following = Following::At(at + count);
                    if !self.pending.is_empty() {
                        self.following = Following::Lost(Some((at + count, at + count)));
                    }
                }
                Following::Lost(last) => match self.locate(reference, last) {
                    Ok((skipped, at)) => {
                        self.skip(skipped);
                        self.jump(Some(at));
                        self.following = Following::At(at);
                    }
                    Err(unknown) => {
                        self.skip(unknown);
                        self.following =
                            Following::Lost(last.map(|(was, would)| (was, would + unknown)));
                        return;
                    }
                },
            }
        }
    }

    /// Looks for the pending audio: how many samples come before it is known again, and its place;
    /// or how many samples are not worth keeping.
    fn locate(
        &self,
        reference: &Reference,
        last: Option<(usize, usize)>,
    ) -> Result<(usize, usize), usize> {
        let audio = &self.pending;
        let mut rolling = None;
        let gone = BASE.wrapping_pow(WINDOW as u32);
        for i in 0..(audio.len() + 1).saturating_sub(WINDOW) {
            let window = &audio[i..i + WINDOW];
            let hash = match rolling {
                None => hash(window),
                Some(h) => {
                    let h: u64 = h;
                    h.wrapping_mul(BASE)
                        .wrapping_add(audio[i + WINDOW - 1] as u16 as u64 + 1)
                        .wrapping_sub((audio[i - 1] as u16 as u64 + 1).wrapping_mul(gone))
                }
            };
            rolling = Some(hash);
            let mut found: Vec<(usize, usize)> = reference
                .find(hash, window)
                .map(|at| (reference.agrees(at, &audio[i..]), at))
                .collect();
            let Some(longest) = found.iter().map(|(n, _)| *n).max() else { continue };
            found.retain(|(n, _)| *n == longest);
            // The likely place: where it would be had it gone on, where it was, the next behind.
            let likely = |at: usize| match last {
                Some((_, would)) if at == would + i => 0,
                Some((was, _)) if (was..was + 2 * WINDOW).contains(&at) => 1,
                Some((was, _)) if at >= was => 2 + at - was,
                Some((was, _)) => 2 + reference.samples.len() + was - at,
                None => at,
            };
            let Some(at) = found.iter().map(|(_, at)| *at).min_by_key(|&at| likely(at)) else {
                continue;
            };
            // More than one place fits all there is: more audio may tell.
            let doubt = found.len() > 1 && likely(at) > 1 && i + longest == audio.len();
            if doubt && longest < DOUBT && !self.ended {
                return Err(i.saturating_sub(BACK));
            }
            let back = audio[..i].iter().rev().zip(reference.samples[..at].iter().rev());
            let back = back.take_while(|(a, b)| a == b).count();
            return Ok((i - back, at - back));
        }
        let keep = if self.ended { 0 } else { BACK };
        Err(audio.len().saturating_sub(keep))
    }
}

impl Speech for Hearing {
    fn hear(&mut self, samples: &[i16]) {
        self.pending.extend_from_slice(samples);
        self.follow();
    }

    fn end(&mut self) {
        self.ended = true;
        self.follow();
        self.jump(None);
    }

    fn next_word(&mut self) -> Option<Word> {
        self.words.pop_front()
    }

    fn underway(&self) -> Option<Word> {
        let (&i, heard) = self.active.first_key_value()?;
        let place = self.aligned.words.get(i)?;
        let left = (place.end - place.begin).saturating_sub(heard.samples);
        let (begin, end, id) = (heard.begin, heard.end + left, heard.id);
        Some(Word { text: place.text.clone(), begin, end, id })
    }

    fn note(&mut self, log: &mut GenerationLog, over: bool, cut: bool) {
        log.samples_known = self.known;
        if over && !cut {
            self.jump(None);
            log.words_damaged = std::mem::take(&mut self.damaged);
        }
    }

    fn place(&self) -> Option<usize> {
        match self.following {
            Following::At(at) | Following::Lost(Some((at, _))) => Some(at),
            Following::Lost(None) => None,
        }
    }

    fn coverage(&mut self) -> Vec<(usize, f32)> {
        std::mem::take(&mut self.coverage)
    }
}

#[cfg(test)]
mod tests;
