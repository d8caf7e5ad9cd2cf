// SPDX-License-Identifier: MPL-2.0

//! What goes wrong, when its time has come.

use std::time::{Duration, Instant};

use super::{Out, Session};
use crate::cadence::Step;
use crate::fault::{What, When};

impl Session {
    /// Faults of this point.
    pub(super) fn faults(&mut self, when: When, now: Instant) {
        let index = self.generation.as_ref().map_or(self.started, |g| g.index);
        let mut struck = match &mut self.generation {
            Some(generation) => std::mem::take(&mut generation.struck),
            None => Vec::new(),
        };
        self.strike(when, index, &mut struck, now);
        if let Some(generation) = &mut self.generation {
            generation.struck = struck;
        }
    }

    pub(super) fn strike(
        &mut self,
        when: When,
        generation: u64,
        struck: &mut Vec<usize>,
        now: Instant,
    ) {
        for what in self.shared.faults.strike(when, self.id, generation, struck) {
            self.shared.log.write(|log| log.faults += 1);
            self.fault(what, now);
        }
    }

    fn fault(&mut self, what: What, now: Instant) {
        let until = |ms| match What::duration(ms) {
            Some(time) => now + time,
            None => now + Duration::from_secs(1 << 30),
        };
        match what {
            What::Cut => self.out.push_back(Out::Cut),
            What::Close { code, reason } => self.out.push_back(Out::Close(code, reason)),
            What::Refuse { .. } => {}
            What::Error { message, code, object, end } => {
                self.error(&message, code.as_deref(), object);
                if end {
                    self.end_generation(&message);
                }
            }
            What::Done => {
                if let Some(generation) = &self.generation {
                    let completion = generation.deltas;
                    let prompt = 33 + self.shared.config.delay;
                    self.done(Step::Done { prompt, completion, text: None, unasked: true }, now);
                }
            }
            What::Stall { ms } => {
                self.out.push_back(Out::Stall(What::duration(ms).map(|time| now + time)));
            }
            What::Dribble { ms } => {
                self.out.push_back(Out::Dribble(Duration::from_millis(ms)));
            }
            What::Binary { bytes } => self.out.push_back(Out::Binary(vec![0x55; bytes])),
            What::Send(text) => self.send(text),
            What::Die => {
                self.shared.die(now);
                self.engine_died();
            }
            What::Kill => self.out.push_back(Out::Kill),
            What::Stop => self.out.push_back(Out::Stop),
            What::Giant { bytes } => {
                self.delta(" ".to_owned() + &"a".repeat(bytes), Vec::new(), now)
            }
            What::Pause { ms } => {
                if let Some(generation) = &mut self.generation {
                    generation.free_at = until(ms);
                }
            }
            What::Blank => {
                if let Some(generation) = &mut self.generation {
                    generation.blank = true;
                }
            }
            What::Endless => {
                if let Some(generation) = &mut self.generation {
                    generation.endless = true;
                }
            }
            What::Flood { deltas, text } => {
                if let Some(generation) = &mut self.generation {
                    generation.flood = (deltas, text);
                }
            }
        }
    }
}
