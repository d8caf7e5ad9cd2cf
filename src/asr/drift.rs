// SPDX-License-Identifier: MPL-2.0

//! How far the clock of the buffers' PTS and that of the samples have run apart, with all jitter
//! averaged out. Pure.

use std::collections::VecDeque;

use crate::Length;

/// Audio whose deviations are kept as one mean.
const SLOT: Length = Length::of_ms(100);

/// Means that are averaged at least and at most: 2 s to 20 s.
const LEAST_SLOTS: usize = 20;
const MOST_SLOTS: usize = 200;

/// Standard error (ns) of an average that is good enough: as many slots as that takes, since the
/// average of more of them lags behind the drift by more.
const GOOD: f64 = 8e6;

/// A drift of less (ns) is not followed.
const LEAST: f64 = 15e6;

/// Deviations of PTS from what the count of samples says, in ns.
#[derive(Debug, Default)]
pub struct Drift {
    /// The slot under way and, weighted by them, the sum of their deviations.
    length: Length,
    sum: f64,
    /// Means of the slots before, oldest first.
    slots: VecDeque<f64>,
    /// The average after an anchor: what is usual here. A source may stamp its buffers when a
    /// whole bunch of them is there.
    usual: Option<f64>,
    /// What was followed already.
    followed: f64,
}

impl Drift {
    /// By how much (ns) buffers deviate here where nothing is wrong.
    pub fn usual(&self) -> i64 {
        self.usual.unwrap_or(0.0) as i64
    }

    /// A buffer of this length deviates by so much from the times as they are now. Returns by
    /// how much they have drifted, where they should follow.
    pub fn push(&mut self, deviation: i64, length: Length) -> Option<i64> {
        self.length += length;
        self.sum += (deviation as f64 + self.followed) * length.samples() as f64;
        if self.length < SLOT {
            return None;
        }
        if self.slots.len() >= MOST_SLOTS {
            self.slots.pop_front();
        }
        self.slots.push_back(self.sum / self.length.samples() as f64);
        (self.length, self.sum) = (Length::ZERO, 0.0);
        let average = self.average()?;
        let usual = *self.usual.get_or_insert(average);
        let by = average - usual - self.followed;
        (by.abs() >= LEAST).then(|| {
            self.followed += by;
            by as i64
        })
    }

    /// The average deviation, once it is good enough.
    fn average(&self) -> Option<f64> {
        let pairs = self.slots.iter().zip(self.slots.iter().skip(1));
        // Of neighbours: a drift does not show in them.
        let variance = pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>()
            / (2 * (self.slots.len() - 1).max(1)) as f64;
        let count = (variance / (GOOD * GOOD)).ceil() as usize;
        let count = count.clamp(LEAST_SLOTS, MOST_SLOTS);
        let first = self.slots.len().checked_sub(count)?;
        Some(self.slots.range(first..).sum::<f64>() / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::len;

    const MS: i64 = 1_000_000;

    /// Pushes buffers of 20 ms for so many seconds; the sum of what was followed.
    fn run(drift: &mut Drift, seconds: i64, mut deviation: impl FnMut(i64, i64) -> i64) -> i64 {
        let mut followed = 0;
        for n in 0..seconds * 50 {
            followed += drift.push(deviation(n, followed), len(320)).unwrap_or(0);
        }
        followed
    }

    #[test]
    fn what_is_steady_is_not_followed() {
        assert_eq!(run(&mut Drift::default(), 60, |_, _| 0), 0);
        assert_eq!(run(&mut Drift::default(), 60, |n, _| -(n % 12) * 20 * MS), 0);
    }

    #[test]
    fn a_drift_is_followed_through_jitter() {
        for per_buffer in [-100_000, 100_000] {
            let mut drift = Drift::default();
            let followed = run(&mut drift, 120, |n, followed| {
                n * per_buffer - followed + (n * 7919 % 500 - 250) * MS
            });
            let all = 120 * 50 * per_buffer;
            assert!((followed - all).abs() < 50 * MS, "{followed} of {all}");
        }
    }
}
