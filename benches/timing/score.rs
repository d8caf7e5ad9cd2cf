// SPDX-License-Identifier: MPL-2.0

//! How near the times of words come to the truth.

use std::ops::Range;

/// A word with its time in seconds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Timed {
    pub word: String,
    pub start: f64,
    pub end: f64,
    /// In the truth: its witnesses do not agree on it. It has to come, but its time does not count.
    #[serde(default, skip_serializing_if = "is_false")]
    pub doubtful: bool,
}

fn is_false(b: &bool) -> bool {
    !b
}

impl Timed {
    pub fn new(word: impl Into<String>, start: f64, end: f64) -> Timed {
        Timed { word: word.into(), start, end, doubtful: false }
    }
}

/// Absolute errors, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Errors {
    pub mean: f64,
    pub median: f64,
    pub p95: f64,
}

impl Errors {
    /// Of absolute errors in seconds.
    pub fn of(mut errors: Vec<f64>) -> Self {
        if errors.is_empty() {
            return Errors::default();
        }
        errors.sort_by(f64::total_cmp);
        let at = |share: f64| errors[((errors.len() - 1) as f64 * share).round() as usize] * 1e3;
        let mean = errors.iter().sum::<f64>() / errors.len() as f64 * 1e3;
        Errors { mean, median: at(0.5), p95: at(0.95) }
    }
}

/// How near the words of a set came. Counts are of words.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Score {
    pub words: usize,
    /// Of these, words whose time counts.
    pub timed: usize,
    pub starts: Errors,
    pub ends: Errors,
    pub missing: usize,
    /// Words that are not in the truth, those that came twice among them.
    pub doubled: usize,
    pub out_of_order: usize,
    pub overlapping: usize,
}

/// Gathers the scores of many clips into one.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    sum: Score,
    starts: Vec<f64>,
    ends: Vec<f64>,
}

impl Gathered {
    /// Adds one clip: its words as they are, and as they came out.
    pub fn add(&mut self, truth: &[Timed], got: &[Timed]) {
        let pairs = paired(truth, got);
        for (t, g) in pairs.iter().filter(|(t, _)| truth[t.clone()].iter().all(|w| !w.doubtful)) {
            self.starts.push((truth[t.start].start - got[g.start].start).abs());
            self.ends.push((truth[t.end - 1].end - got[g.end - 1].end).abs());
        }
        self.sum.words += truth.len();
        self.sum.missing += truth.len() - pairs.iter().map(|p| p.0.len()).sum::<usize>();
        self.sum.doubled += got.len() - pairs.iter().map(|p| p.1.len()).sum::<usize>();
        for w in got.windows(2) {
            self.sum.out_of_order += usize::from(w[1].start < w[0].start);
            self.sum.overlapping += usize::from(w[1].start < w[0].end - 1e-6);
        }
    }

    pub fn score(&self) -> Score {
        Score {
            timed: self.starts.len(),
            starts: Errors::of(self.starts.clone()),
            ends: Errors::of(self.ends.clone()),
            ..self.sum.clone()
        }
    }
}

/// A word without case and punctuation.
fn bare(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Words that stand for one another: one for one, or, where one side cuts the same text otherwise
/// (Chinese has no spaces), as many as it takes for both sides to end at the same character.
fn paired(truth: &[Timed], got: &[Timed]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    let ends = [(truth.len(), got.len())];
    for (t, g) in matched(truth, got).into_iter().chain(ends) {
        pairs.extend(cut_otherwise(truth, got, (i, t), (j, g)));
        if t < truth.len() {
            pairs.push((t..t + 1, g..g + 1));
        }
        (i, j) = (t + 1, g + 1);
    }
    pairs
}

/// As [`paired`], for stretches that have no word in common.
fn cut_otherwise(
    truth: &[Timed],
    got: &[Timed],
    (mut i, t_end): (usize, usize),
    (mut j, g_end): (usize, usize),
) -> Vec<(Range<usize>, Range<usize>)> {
    let mut pairs = Vec::new();
    let (mut from_i, mut from_j) = (i, j);
    let (mut t, mut g) = (String::new(), String::new());
    while i < t_end || j < g_end {
        if i < t_end && (t.len() <= g.len() || j == g_end) {
            t.push_str(&bare(&truth[i].word));
            i += 1;
        } else if j < g_end {
            g.push_str(&bare(&got[j].word));
            j += 1;
        } else {
            break;
        }
        if t == g {
            if from_i < i && from_j < j {
                pairs.push((from_i..i, from_j..j));
            }
            (from_i, from_j) = (i, j);
            t.clear();
            g.clear();
        }
    }
    pairs
}

/// The longest run of words that both have, in order, as pairs of indices.
pub fn matched(truth: &[Timed], got: &[Timed]) -> Vec<(usize, usize)> {
    let t: Vec<_> = truth.iter().map(|w| bare(&w.word)).collect();
    let g: Vec<_> = got.iter().map(|w| bare(&w.word)).collect();
    let mut longest = vec![vec![0_u32; g.len() + 1]; t.len() + 1];
    for i in (0..t.len()).rev() {
        for j in (0..g.len()).rev() {
            longest[i][j] = if t[i] == g[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < t.len() && j < g.len() {
        if t[i] == g[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// What clients do today: the words known so far, spread evenly over the audio sent so far,
/// anew with each text that comes. `known` has, for each such moment, the seconds sent and the
/// count of words known. A word's time is the one of the moment at which it came.
pub fn even_spread(words: &[String], known: &[(f64, usize)]) -> Vec<Timed> {
    let mut out: Vec<Timed> = Vec::with_capacity(words.len());
    for &(sent, count) in known {
        let step = sent / count.max(1) as f64;
        let new = words.iter().enumerate().take(count).skip(out.len());
        out.extend(new.map(|(i, word)| {
            let start = step * i as f64;
            Timed::new(word, start, start + step)
        }));
    }
    out
}
