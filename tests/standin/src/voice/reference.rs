// SPDX-License-Identifier: MPL-2.0

//! A recording in which audio is found by its samples.

/// Samples of a window by which audio is found.
pub(super) const WINDOW: usize = 64;
/// Base of the hash of a window; odd.
pub(super) const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A recording, and an index of its windows.
#[derive(Debug)]
pub(super) struct Reference {
    pub samples: Vec<i16>,
    /// (hash, place) of each window that is not flat, every `WINDOW` samples; sorted.
    index: Vec<(u64, u32)>,
}

impl Reference {
    pub fn new(samples: Vec<i16>) -> Self {
        let windows = samples.chunks_exact(WINDOW).enumerate();
        let mut index: Vec<_> = windows
            .filter(|(_, window)| !flat(window))
            .map(|(i, window)| (hash(window), (i * WINDOW) as u32))
            .collect();
        index.sort_unstable();
        Reference { samples, index }
    }

    /// Places of a window.
    pub fn find<'a>(&'a self, hash: u64, window: &'a [i16]) -> impl Iterator<Item = usize> + 'a {
        let from = self.index.partition_point(|(h, _)| *h < hash);
        let found = self.index[from..].iter().take_while(move |(h, _)| *h == hash);
        found
            .map(|(_, at)| *at as usize)
            .filter(move |&at| self.samples.get(at..at + WINDOW) == Some(window))
    }

    /// How far `audio` agrees with the recording from `at` on.
    pub fn agrees(&self, at: usize, audio: &[i16]) -> usize {
        let reference = self.samples.get(at..).unwrap_or_default();
        reference.iter().zip(audio).take_while(|(a, b)| a == b).count()
    }
}

/// Nearly digital silence: such a window says nothing about its place.
fn flat(window: &[i16]) -> bool {
    let mut values: Vec<i16> = window.to_vec();
    values.sort_unstable();
    values.dedup();
    values.len() < 12
}

pub(super) fn hash(window: &[i16]) -> u64 {
    window.iter().fold(0, |h: u64, &s| h.wrapping_mul(BASE).wrapping_add(s as u16 as u64 + 1))
}
