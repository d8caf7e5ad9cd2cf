// SPDX-License-Identifier: MPL-2.0

//! What is really in the audio: words with times, and samples that tell their own position.

use std::sync::OnceLock;

use vllm_standin::Random;

mod voice;

/// Low bits of the samples: a sequence in which each window of [`WINDOW`] bits is found once.
struct Marks {
    bits: Vec<u8>,
    /// Window to its position.
    at: Vec<u32>,
}

/// Bits that tell a position.
pub const WINDOW: usize = 22;
/// Positions that can be told apart: 262 s of audio.
pub const POSITIONS: u64 = (1 << WINDOW) - 1;

fn marks() -> &'static Marks {
    static MARKS: OnceLock<Marks> = OnceLock::new();
    MARKS.get_or_init(|| {
        // The longest sequence of a shift register: x^22 + x + 1.
        let mut bits = vec![1u8; WINDOW];
        let count = POSITIONS as usize + WINDOW - 1;
        while bits.len() < count {
            let n = bits.len();
            bits.push(bits[n - WINDOW] ^ bits[n - WINDOW + 1]);
        }
        let mut at = vec![u32::MAX; 1 << WINDOW];
        let mut window = 0usize;
        for (i, bit) in bits.iter().enumerate() {
            window = (window << 1 | usize::from(*bit)) & ((1 << WINDOW) - 1);
            if i + 1 >= WINDOW {
                at[window] = (i + 1 - WINDOW) as u32;
            }
        }
        Marks { bits, at }
    })
}

/// So much of a word is enough where the audio stops, in percent.
const ENOUGH: u64 = 25;

/// A word and where it is.
#[derive(Clone)]
pub struct Word {
    pub text: String,
    /// What the model makes of it, token by token; the first begins with a space.
    pub pieces: Vec<String>,
    pub begin: u64,
    pub end: u64,
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}..{}", self.text, self.begin, self.end)
    }
}

impl Word {
    /// Whoever hears this sample hears enough to know the word.
    pub fn middle(&self) -> u64 {
        self.begin.midpoint(self.end)
    }
}

/// The words, in order.
#[derive(Debug, Default)]
pub struct Truth {
    pub words: Vec<Word>,
    stops: Vec<u64>,
    /// Behind the samples with these marks the gap is so much longer than the marks tell.
    long_gaps: Vec<(u64, u64)>,
}

impl Truth {
    /// Words for the stretches of audio between two commands.
    pub fn new(rng: &mut Random, spans: &[(u64, u64)], vocabulary: Option<u64>) -> Truth {
        let mut words: Vec<Word> = Vec::new();
        for &(begin, end) in spans {
            let mut at = begin + rng.range(320, 9600);
            loop {
                let length = rng.range(2600, 9000);
                if at + length + 1600 > end {
                    break;
                }
                let n = vocabulary.map_or(words.len(), |most| rng.range(0, most - 1) as usize);
                words.push(word(n, at, length));
                at += length + rng.range(1300, 2600);
                if rng.chance(15) {
                    at += rng.range(3200, 32_000);
                }
            }
        }
        Truth { words, ..Truth::default() }
    }

    /// The audio stops for a while at these positions.
    pub fn stop_at(&mut self, positions: Vec<u64>) {
        self.stops = positions;
    }

    /// The word in which the audio stops that was heard from there to there: who hears its beginning
    /// may well know it, as may who hears no more than its second half.
    pub fn half_a_word(&self, from: u64, to: u64) -> Option<usize> {
        let i = self.first_behind(to);
        let w = self.words.get(i).filter(|_| self.stops.contains(&to))?;
        let enough = w.begin + (w.end - w.begin) * ENOUGH / 100;
        (from <= w.begin && enough <= to).then_some(i)
    }

    /// The gaps before these positions are so much longer than they were drawn.
    pub fn lengthen(&mut self, gaps: Vec<(u64, u64)>) {
        self.long_gaps = gaps;
        let mut words = std::mem::take(&mut self.words);
        for w in &mut words {
            (w.begin, w.end) = (self.behind_gaps(w.begin), self.behind_gaps(w.end));
        }
        self.words = words;
        let stops = std::mem::take(&mut self.stops);
        self.stops = stops.into_iter().map(|at| self.behind_gaps(at)).collect();
    }

    /// Where what was drawn at this position lies.
    pub fn behind_gaps(&self, drawn: u64) -> u64 {
        let before = self.long_gaps.iter().filter(|(at, _)| *at <= drawn);
        drawn + before.map(|(_, by)| by).sum::<u64>()
    }

    /// Where what lies at this position was drawn.
    fn drawn(&self, position: u64) -> u64 {
        let mut longer = 0;
        for (at, by) in &self.long_gaps {
            if at + longer + by <= position {
                longer += by;
            }
        }
        position - longer
    }

    /// The position of these samples, if all of them are of our audio and in a row. `expected`:
    /// where the ones before ended.
    pub fn position(&self, samples: &[i16], expected: Option<u64>) -> Option<u64> {
        position(samples, expected.map(|p| self.drawn(p))).map(|p| self.behind_gaps(p))
    }

    /// The first word that ends behind this position.
    pub fn first_behind(&self, position: u64) -> usize {
        self.words.partition_point(|w| w.end <= position)
    }

    /// The audio at this position.
    pub fn audio(&self, from: u64, count: usize) -> Vec<i16> {
        let drawn = self.drawn(from) as usize;
        let bits = &marks().bits[drawn..drawn + count];
        // Silence is never zero: zeros are padding.
        let mut out: Vec<i16> = bits.iter().map(|b| i16::from(*b) + 2).collect();
        let to = from + count as u64;
        for w in self.words[self.first_behind(from)..].iter().take_while(|w| w.begin < to) {
            let (a, b) = (w.begin.max(from), w.end.min(to));
            for (s, at) in out[(a - from) as usize..(b - from) as usize].iter_mut().zip(a..) {
                let v = voice::sample(&w.text, at, w.begin, w.end) & !1;
                *s = if v == 0 { 2 } else { v } | (*s & 1);
            }
        }
        out
    }
}

fn position(samples: &[i16], expected: Option<u64>) -> Option<u64> {
    let marks = marks();
    let fits = |p: u64| {
        let bits = marks.bits.get(p as usize..p as usize + samples.len());
        bits.is_some_and(|bits| samples.iter().zip(bits).all(|(s, b)| (*s & 1) as u8 == *b))
    };
    if samples.contains(&0) {
        return None;
    }
    if let Some(p) = expected.filter(|p| fits(*p)) {
        return Some(p);
    }
    let window = samples.get(..WINDOW)?;
    let window = window.iter().fold(0, |w, s| w << 1 | (*s & 1) as usize);
    Some(u64::from(marks.at[window])).filter(|p| fits(*p))
}

/// The word with this number.
fn word(n: usize, begin: u64, length: u64) -> Word {
    const SYLLABLES: [&str; 20] = [
        "ba", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "da", "ge", "hi", "jo", "lu",
        "ma", "ne", "pi", "ro", "zu",
    ];
    // More tokens than frames would queue up.
    let most = (length / 1280).saturating_sub(1).clamp(1, 3) as usize;
    let mut syllables = vec![SYLLABLES[n % 20], SYLLABLES[n / 20 % 20], SYLLABLES[n / 400 % 20]];
    syllables.truncate(if n < 20 { 1 } else { 3 });
    let mut pieces: Vec<String> = syllables.iter().map(|s| (*s).to_owned()).collect();
    while pieces.len() > most {
        let last = pieces.pop().unwrap();
        pieces.last_mut().unwrap().push_str(&last);
    }
    pieces[0].insert(0, ' ');
    Word { text: syllables.concat(), pieces, begin, end: begin + length }
}

#[test]
fn samples_tell_their_position() {
    let truth = Truth::new(&mut Random::new(1), &[(0, 160_000)], None);
    assert!(truth.words.len() > 5);
    for from in [0, 1, 77_777, 4_000_000] {
        let audio = truth.audio(from, 5000);
        assert_eq!(position(&audio, None), Some(from));
        assert_eq!(position(&audio, Some(from)), Some(from));
        assert_eq!(position(&audio, Some(from + 1)), Some(from));
        assert_eq!(position(&audio[..10], Some(from)), Some(from));
        assert_eq!(position(&[&audio[..50], &audio[51..]].concat(), None), None);
    }
    assert_eq!(position(&[0; 300], Some(5)), None);
}
