// SPDX-License-Identifier: MPL-2.0

//! What was said, and how much of it was heard.

use std::path::{Path, PathBuf};

use vllm_standin::score::word_errors;

use crate::{Error, Word};

/// A recording and what is said in it.
pub struct Reading {
    pub file: PathBuf,
    pub transcript: String,
}

impl Reading {
    /// All the readings of a folder laid out as CMU Sphinx does: `fileids` has a name in each
    /// line, `transcription` lines as `<s> the words </s> (name)`.
    pub fn load(folder: &Path) -> Result<Vec<Self>, Error> {
        let read = |name: &str| {
            let file = folder.join(name);
            std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))
        };
        let (names, transcription) = (read("fileids")?, read("transcription")?);
        names.split_whitespace().map(|name| Reading::find(folder, name, &transcription)).collect()
    }

    fn find(folder: &Path, name: &str, transcription: &str) -> Result<Self, Error> {
        let mark = format!("({name})");
        let line = transcription.lines().find_map(|line| line.trim().strip_suffix(&mark));
        let line = line.ok_or(format!("{name} has no transcript"))?;
        let words = line.replace("<s>", " ").replace("</s>", " ");
        Ok(Reading { file: folder.join(format!("{name}.wav")), transcript: words })
    }
}

/// What is measured.
pub struct Score {
    /// Words of the transcript, and the changes that would make it what was heard.
    errors: Option<(usize, usize)>,
    /// How long after its end each word was known, sorted.
    delays: Vec<f64>,
    /// When the first word was known, and when it was spoken.
    first: (f64, f64),
}

impl Score {
    pub fn new(words: &[Word], transcript: Option<&str>) -> Score {
        let heard: Vec<_> = words.iter().map(|w| w.text.as_str()).collect();
        let mut delays: Vec<f64> = words.iter().map(Word::delay).collect();
        delays.sort_by(f64::total_cmp);
        Score {
            errors: transcript.map(|t| word_errors(t, &heard.join(" "))),
            delays,
            first: words
                .first()
                .map_or((0.0, 0.0), |w| (w.known.seconds_f64(), w.begin.seconds_f64())),
        }
    }

    /// The word error rate.
    fn rate(&self) -> Option<f64> {
        self.errors.map(|(words, errors)| errors as f64 / words.max(1) as f64)
    }

    fn delay(&self, part: f64) -> f64 {
        let at = (self.delays.len() as f64 * part) as usize;
        self.delays.get(at.min(self.delays.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    /// Name and value of each figure.
    pub fn told(&self) -> Vec<(String, String)> {
        let mut told = Vec::new();
        if let (Some((words, errors)), Some(rate)) = (self.errors, self.rate()) {
            told.push(("word error rate".into(), format!("{rate:.3} ({errors} of {words})")));
        }
        let (median, most) = (self.delay(0.5), self.delay(0.95));
        let delays = format!("{median:.2} s (median), {most:.2} s (95 of 100)");
        told.push(("from a word's end until it is known".into(), delays));
        let (known, begin) = self.first;
        told.push(("first word".into(), format!("known at {known:.2} s, spoken at {begin:.2} s")));
        told
    }
}
