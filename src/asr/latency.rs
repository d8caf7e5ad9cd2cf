// SPDX-License-Identifier: MPL-2.0

//! Property `latency-mode=auto`: which latency this server needs, learnt from how late its words come.
//! Pure: times are in ns.

use std::collections::VecDeque;

use crate::transcript::Timing;

const MS: u64 = 1_000_000;

/// Delays that are remembered, and how many it takes to learn from them.
const REMEMBERED: usize = 500;
const ENOUGH: usize = 50;

/// Never more, whatever the delays are.
const MOST: u64 = 15_000 * MS;

/// Between two changes at least.
const BETWEEN: u64 = 60_000 * MS;

/// What words need from their beginning on, before any delay is known.
fn needed_by(timing: Timing) -> Option<u64> {
    match timing {
        Timing::Auto => None,
        Timing::Frames => Some(3000 * MS),
        Timing::Arrival => Some(4000 * MS),
        Timing::Segments => Some(8000 * MS),
        Timing::Utterance => Some(10_000 * MS),
    }
}

/// The latency as it is now, and what is known of the delays.
#[derive(Debug, Default)]
pub struct Latency {
    now: u64,
    /// The kind of server, as far as it is known.
    seen: Option<Timing>,
    /// When it was changed last by what was learnt.
    changed: Option<u64>,
    delays: VecDeque<u64>,
}

impl Latency {
    /// It begins with this.
    pub fn new(begin: u64) -> Latency {
        Latency { now: begin, ..Latency::default() }
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// What this server needs, as far as that is known.
    pub fn learnt(&self) -> u64 {
        if self.seen.is_some() { self.now } else { 0 }
    }

    /// A word took so long from its beginning on, and no outage is to blame.
    pub fn word(&mut self, delay: u64) {
        if self.delays.len() >= REMEMBERED {
            self.delays.pop_front();
        }
        self.delays.push_back(delay);
    }

    /// The server is of this kind, as far as is known. Whether the latency is another now: at once,
    /// and once for each kind, where another model follows.
    pub fn server(&mut self, timing: Timing) -> bool {
        match needed_by(timing).filter(|_| self.seen != Some(timing)) {
            Some(needed) => {
                self.seen = Some(timing);
                let needed = needed.max(self.now);
                std::mem::replace(&mut self.now, needed) != needed
            }
            None => false,
        }
    }

    /// Nobody speaks, at this time. Whether the latency is another now.
    pub fn pause(&mut self, time: u64) -> bool {
        let too_soon = self.changed.is_some_and(|c| time.saturating_sub(c) < BETWEEN);
        if self.delays.len() < ENOUGH || too_soon {
            return false;
        }
        let most = self.percentile(99).unwrap_or_default();
        // A shorter one would make the frames late that wait by the longer one.
        if most <= self.now {
            return false;
        }
        // A quarter more, in steps of 100 ms.
        let needed = (most / 4).saturating_mul(5).min(MOST).next_multiple_of(100 * MS);
        if needed <= self.now {
            return false;
        }
        self.now = needed;
        self.changed = Some(time);
        true
    }

    /// Of the delays, where there are any: the one that so many of a hundred do not exceed.
    pub fn percentile(&self, of: usize) -> Option<u64> {
        let mut sorted: Vec<u64> = self.delays.iter().copied().collect();
        sorted.sort_unstable();
        let at = (sorted.len() * of).div_ceil(100).checked_sub(1)?;
        sorted.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1000 * MS;

    #[test]
    fn the_kind_of_server_counts_at_once_and_once() {
        let mut l = Latency::new(3 * S);
        assert!(!l.server(Timing::Auto));
        assert!(l.server(Timing::Segments));
        assert_eq!(l.now(), 8 * S);
        assert!(!l.server(Timing::Frames), "never shorter");
        let mut l = Latency::new(3 * S);
        assert!(!l.server(Timing::Frames));
        assert_eq!(l.now(), 3 * S);
        let mut l = Latency::new(5 * S);
        assert!(!l.server(Timing::Frames));
        assert_eq!(l.now(), 5 * S, "never shorter");
    }

    #[test]
    fn it_learns_from_the_delays_at_pauses_and_not_often() {
        let mut l = Latency::new(3 * S);
        for n in 0..49 {
            l.word(4 * S);
            assert!(!l.pause(n * S), "too few");
        }
        l.word(4 * S);
        assert!(l.pause(50 * S));
        assert_eq!(l.now(), 5 * S);
        (0..REMEMBERED).for_each(|_| l.word(400 * MS));
        assert!(!l.pause(200 * S), "never shorter");
        (0..20).for_each(|_| l.word(6 * S));
        assert!(l.pause(201 * S));
        assert_eq!(l.now(), 7500 * MS);
        (0..20).for_each(|_| l.word(60 * S));
        assert!(!l.pause(260 * S), "too soon");
        assert!(l.pause(261 * S));
        assert_eq!(l.now(), 15 * S, "never more");
        assert_eq!((l.percentile(50), l.percentile(95)), (Some(400 * MS), Some(6 * S)));
    }

    #[test]
    fn without_delays_there_is_nothing_to_tell() {
        assert_eq!(Latency::new(S).percentile(50), None);
        assert!(!Latency::new(S).pause(u64::MAX));
    }
}
