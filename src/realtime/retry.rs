// SPDX-License-Identifier: MPL-2.0

//! When to try which server again, and when to give up.

use std::time::Duration;

use super::{Error, Reconnect};

/// Wait before the second attempt; doubled with each failure.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Longest wait while somebody speaks; with its jitter 750 ms.
const LONGEST_WAIT_LIVE: Duration = Duration::from_millis(600);

/// Exponential backoff with jitter, over several servers.
#[derive(Debug)]
pub struct Retry {
    policy: Reconnect,
    /// With [`Reconnect::Auto`]: how long to try before any server has answered.
    patience: Duration,
    /// Servers that can never work.
    hopeless: Vec<bool>,
    server: usize,
    first_attempt: Option<Duration>,
    answered: bool,
    /// Failures in a row.
    failures: u32,
    random: u64,
}

impl Retry {
    pub fn new(policy: Reconnect, patience: Duration, servers: usize, seed: u64) -> Self {
        Retry {
            policy,
            patience,
            hopeless: vec![false; servers.max(1)],
            server: 0,
            first_attempt: None,
            answered: false,
            failures: 0,
            random: seed | 1,
        }
    }

    /// Index of the server to try.
    pub fn server(&self) -> usize {
        self.server
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt begins.
    pub fn attempt(&mut self, now: Duration) {
        self.first_attempt.get_or_insert(now);
    }

    /// The time by which a first answer must have come.
    fn give_up_at(&self) -> Option<Duration> {
        let first = self.first_attempt.filter(|_| !self.answered)?;
        (self.policy == Reconnect::Auto).then(|| first + self.patience)
    }

    /// A server took a session.
    pub fn answered(&mut self) {
        self.answered = true;
    }

    /// Words or frames came: the next failure is a first one.
    pub fn progress(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed, or a connection was lost. `permanent`: this server can never work.
    /// `live`: audio waits, and its words are late already. Returns when to try [`Retry::server`];
    /// `None`: give up.
    pub fn failed(&mut self, now: Duration, permanent: bool, live: bool) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if permanent && let Some(h) = self.hopeless.get_mut(self.server) {
            *h = true;
        }
        let n = self.hopeless.len();
        let next = (1..=n).map(|i| (self.server + i) % n).find(|&i| !self.hopeless[i])?;
        // Another server is tried at once, the same one again after a pause.
        let fresh = next != self.server && self.failures < n as u32;
        self.server = next;
        if let Reconnect::Attempts(most) = self.policy
            && self.failures > most
            && !fresh
        {
            return None;
        }
        let at = if fresh { now } else { now + self.wait(live) };
        // Patience is over when each has had its chance: the first may have taken all of it.
        match self.give_up_at().filter(|_| !fresh) {
            Some(end) if now >= end => None,
            // A last attempt is due just before patience ends.
            Some(end) => Some(at.min(end)),
            None => Some(at),
        }
    }

    /// The wait after the failures so far: doubled each time, plus or minus a quarter.
    fn wait(&mut self, live: bool) -> Duration {
        let rounds = (self.failures - 1) / self.hopeless.len() as u32;
        let longest = if live { LONGEST_WAIT_LIVE } else { LONGEST_WAIT };
        let wait = FIRST_WAIT.saturating_mul(1 << rounds.min(6)).min(longest);
        // xorshift64: all that jitter needs.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        wait.mul_f64(0.75 + (self.random % 1000) as f64 / 2000.0)
    }

    /// What to tell where it ends.
    pub fn explain(&self, error: &Error) -> Error {
        let mut error = error.clone();
        match self.policy {
            Reconnect::Attempts(most) if most > 0 && self.failures > most => {
                error.message +=
                    &format!(" Given up after {} attempts (property reconnect).", most + 1);
            }
            Reconnect::Auto if !self.answered && self.failures > 1 => {
                error.message += " No server answered within connect-timeout; set property reconnect to wait for one.";
            }
            _ => {}
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut r = Retry::new(Reconnect::Forever, S, 1, 7);
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..40 {
            let Some(t) = r.failed(now, false, false) else { panic!() };
            waits.push(t - now);
            now = t;
        }
        assert!(waits[0] <= FIRST_WAIT.mul_f64(1.25) && waits[0] >= FIRST_WAIT.mul_f64(0.75));
        assert!(waits.iter().all(|w| *w <= LONGEST_WAIT.mul_f64(1.25)));
        assert!(waits[30] >= LONGEST_WAIT.mul_f64(0.75));
        // Nobody who speaks waits so long, and not all come back at the same time.
        let mut live = Vec::new();
        for _ in 0..20 {
            let Some(t) = r.failed(now, false, true) else { panic!() };
            live.push(t - now);
        }
        assert!(live.iter().all(|w| *w <= LONGEST_WAIT_LIVE.mul_f64(1.25)), "{live:?}");
        assert!(live.windows(2).any(|w| w[0] != w[1]), "{live:?}");
        r.progress();
        let Some(t) = r.failed(now, false, false) else { panic!() };
        assert!(t - now <= FIRST_WAIT.mul_f64(1.25));
    }

    #[test]
    fn no_answer_since_the_start_is_an_error_in_time() {
        let mut r = Retry::new(Reconnect::Auto, 10 * S, 1, 7);
        let mut now = S;
        r.attempt(now);
        for _ in 0..100 {
            match r.failed(now, false, false) {
                Some(t) => now = t,
                None => break,
            }
        }
        assert_eq!(now, 11 * S);
    }

    #[test]
    fn once_answered_it_goes_on_for_ever() {
        let mut r = Retry::new(Reconnect::Auto, S, 1, 7);
        r.attempt(S);
        r.answered();
        assert!((0..100).all(|i| r.failed(100 * i * S, false, false).is_some()));
    }

    #[test]
    fn attempts_are_counted() {
        let mut r = Retry::new(Reconnect::Attempts(0), S, 1, 7);
        assert_eq!(r.failed(S, false, false), None);
        let mut r = Retry::new(Reconnect::Attempts(2), S, 1, 7);
        assert!(r.failed(S, false, false).is_some());
        assert!(r.failed(S, false, false).is_some());
        assert_eq!(r.failed(S, false, false), None);
    }

    #[test]
    fn each_server_has_its_chance_however_long_another_took() {
        let mut r = Retry::new(Reconnect::Auto, 10 * S, 3, 7);
        r.attempt(S);
        assert_eq!((r.failed(11 * S, false, false), r.server()), (Some(11 * S), 1));
        r.attempt(11 * S);
        assert_eq!((r.failed(21 * S, false, false), r.server()), (Some(21 * S), 2));
        assert_eq!(r.failed(31 * S, false, false), None);
    }

    #[test]
    fn servers_in_turn() {
        let mut r = Retry::new(Reconnect::Attempts(0), S, 3, 7);
        assert_eq!((r.failed(S, false, false), r.server()), (Some(S), 1));
        assert_eq!((r.failed(S, false, false), r.server()), (Some(S), 2));
        assert_eq!(r.failed(S, false, false), None);
        let mut r = Retry::new(Reconnect::Forever, S, 2, 7);
        assert_eq!((r.failed(S, true, false), r.server()), (Some(S), 1));
        assert!(matches!(r.failed(S, false, false), Some(t) if t > S));
        assert_eq!(r.server(), 1);
        assert_eq!(r.failed(S, true, false), None);
    }
}
