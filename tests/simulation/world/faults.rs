// SPDX-License-Identifier: MPL-2.0

//! What goes wrong, when it does.

use super::{Event, News, World, lost};
use crate::schedule::Fault;
use crate::server::{Kind, Meaning, Micros, Reply, error};

impl World<'_> {
    pub(super) fn due_faults(&mut self) {
        let messages = self.messages;
        let mut due = Vec::new();
        self.faults_by_count.retain(|(n, i)| {
            if *n <= messages {
                due.push(*i);
            }
            *n > messages
        });
        for i in due {
            self.at(self.now, Event::Fault(i));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.checks.trouble();
        let active = self.active.map(|a| a.0).filter(|a| !self.links[*a].gone);
        match (fault, active) {
            (Fault::Connect(trouble), _) => self.troubles.push_back(trouble),
            (Fault::Jam(time), _) => self.jam_until = self.now + time,
            (Fault::Slow(factor, time), _) => self.slow = (factor, self.now + time),
            (Fault::Restart { down, says_so }, Some(link)) => {
                self.restart(self.links[link].server, down, says_so);
            }
            (Fault::Restart { down, .. }, None) => {
                self.down_until[0] = self.now + down;
            }
            // A server that has not shown yet that it is one is not tried again.
            (Fault::Garbage, Some(link)) if self.proven => {
                let garbage = Reply::Send("{\"type\":".to_owned(), Meaning::Other);
                let _ = self.reply(link, vec![garbage]);
            }
            // What a server says before it greets is another matter.
            (Fault::Says(event), Some(link)) if self.links[link].connection.has_greeted() => {
                let _ = self.reply(link, vec![Reply::Send(event.to_owned(), Meaning::Other)]);
            }
            (Fault::Binary, Some(link)) => {
                let _ = self.reply(link, vec![Reply::Binary(10)]);
            }
            (_, None) | (Fault::Says(_) | Fault::Garbage, _) => {}
            (Fault::Cut { loses_up, loses_down, told }, Some(link)) => {
                self.cut(link, loses_up, loses_down, told);
            }
            (Fault::Stall(time), Some(link)) => {
                let stalled = &mut self.links[link].connection.stalled_until;
                *stalled = (*stalled).max(self.now + time);
            }
            (Fault::Fails, Some(link)) => {
                if self.links[link].connection.generation.is_some() {
                    let replies = self.links[link].connection.fail();
                    let _ = self.reply(link, replies);
                }
            }
            (Fault::Error(code), Some(link)) => {
                let _ = self.reply(link, vec![Reply::Send(error(code), Meaning::Other)]);
            }
            // Only Voxtral does so.
            (Fault::Unasked, Some(link)) => {
                let frames = matches!(self.schedule.servers[0].kind, Kind::Frames { .. });
                if frames && let Some(g) = &mut self.links[link].connection.generation {
                    g.ends_unasked = true;
                }
                self.plan_step(link);
            }
            (Fault::Rut, Some(link)) => {
                if let Some(g) = &mut self.links[link].connection.generation {
                    g.rut = true;
                    self.checks.rut();
                }
            }
        }
    }

    /// A connection that lives only so long ends, for both sides at once.
    pub(super) fn dies(&mut self, link: usize) {
        let active = self.active.is_some_and(|a| a.0 == link);
        if active && !self.links[link].gone && !self.links[link].cut_down {
            self.log(|| "the connection dies".into());
            self.checks.trouble();
            self.cut(link, true, true, true);
        }
    }

    fn cut(&mut self, link: usize, loses_up: bool, loses_down: bool, told: bool) {
        let at = self.delayed(link, false);
        let l = &mut self.links[link];
        l.cut_up |= loses_up || !told;
        l.cut_down |= !told;
        if told && loses_down {
            // What is on its way never comes: the news of the end is next.
            for event in self.pending.values_mut() {
                if matches!(event, Event::Down(i, _) if *i == link) {
                    *event = Event::Down(usize::MAX, News::Connected);
                }
            }
            self.pending.retain(|_, e| !matches!(e, Event::Down(usize::MAX, _)));
        }
        if told {
            self.at(at, Event::Down(link, lost("reset")));
        }
        let up_at = self.links[link].up_at;
        self.at(up_at.max(self.now), Event::Closed(link));
    }

    pub(super) fn restart(&mut self, server: usize, down: Micros, says_so: bool) {
        if self.now < self.schedule.calm_at {
            self.down_until[server] = self.now + down;
        }
        for i in 0..self.links.len() {
            if self.links[i].server == server && !self.links[i].gone {
                self.links[i].gone = true;
                let at = self.delayed(i, false);
                let why = if says_so { "closed with 1012" } else { "reset" };
                self.at(at, Event::Down(i, lost(why)));
            }
        }
    }
}
