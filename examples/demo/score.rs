// SPDX-License-Identifier: MPL-2.0

//! What was said, and how much of it was heard.

use std::path::{Path, PathBuf};

use crate::Error;

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

/// Words of the transcript, and the changes that would make it what was heard.
pub struct Score {
    pub words: usize,
    pub errors: usize,
}

impl Score {
    /// The word error rate.
    pub fn rate(&self) -> f64 {
        self.errors as f64 / self.words.max(1) as f64
    }
}

/// Levenshtein distance in words: lower case, no punctuation.
pub fn word_errors(transcript: &str, heard: &str) -> Score {
    let (said, heard) = (plain(transcript), plain(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, said) in said.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, heard) in heard.iter().enumerate() {
            let change = diagonal + usize::from(said != heard);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    Score { words: said.len(), errors: row[heard.len()] }
}

fn plain(text: &str) -> Vec<String> {
    let word = |w: &str| -> String {
        w.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    text.split_whitespace().map(word).filter(|w| !w.is_empty()).collect()
}
