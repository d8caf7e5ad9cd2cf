// SPDX-License-Identifier: MPL-2.0

//! Connections, and what goes over them.

use gstvllmrealtime::realtime::session::Lost;
use gstvllmrealtime::realtime::{Error, ErrorKind};

use super::{Event, News, World};
use crate::schedule::{SECOND, Trouble};
use crate::server::{Connection, Meaning, Micros, Reply};

/// One connection of the client.
pub(super) struct Link {
    pub(super) server: usize,
    pub(super) connection: Connection,
    pub(super) up_at: Micros,
    pub(super) down_at: Micros,
    /// Nothing gets through any more.
    pub(super) cut_up: bool,
    pub(super) cut_down: bool,
    /// The server has no such connection any more.
    pub(super) gone: bool,
    pub(super) step_at: Option<Micros>,
}

impl World<'_> {
    /// When a message that is sent now arrives.
    pub(super) fn delayed(&mut self, link: usize, up: bool) -> Micros {
        let delay = self.schedule.servers[self.links[link].server].delay;
        let at = self.now.max(self.jam_until) + self.rng.range(delay.0, delay.1);
        let link = &mut self.links[link];
        let last = if up { &mut link.up_at } else { &mut link.down_at };
        *last = at.max(*last);
        *last
    }

    pub(super) fn connect(&mut self, server: usize) -> Result<(), String> {
        if self.active.is_some() {
            return Err("connects on top of a connection".into());
        }
        let spec = self.schedule.servers.get(server).ok_or("no such server")?.clone();
        let trouble = self.troubles.pop_front();
        let refused = self.down_until[server] > self.now;
        self.log(|| format!("connect to {server}: {trouble:?}, refused: {refused}"));
        let link = self.links.len();
        self.links.push(Link {
            server,
            connection: Connection::new(spec, self.rng.fork()),
            up_at: 0,
            down_at: 0,
            cut_up: false,
            cut_down: false,
            gone: false,
            step_at: None,
        });
        if let Some(life) = self.links[link].connection.spec.life {
            self.at(self.now + life, Event::Dies(link));
        }
        self.active = Some((link, false));
        let at = self.delayed(link, false);
        match trouble {
            _ if refused => self.at(at, Event::Down(link, lost("refused"))),
            Some(Trouble::Refused) => self.at(at, Event::Down(link, lost("refused"))),
            Some(Trouble::Unavailable) => self.at(at, Event::Down(link, lost("HTTP 503"))),
            Some(Trouble::Hangs) => {}
            Some(Trouble::NoGreeting) => self.at(at, Event::Down(link, News::Connected)),
            None | Some(Trouble::Seat(_)) => {
                if let Some(Trouble::Seat(time)) = trouble {
                    self.links[link].connection.stalled_until = self.now + time;
                }
                self.at(at, Event::Down(link, News::Connected));
                let greeting = self.links[link].connection.greet();
                let at = self.delayed(link, false);
                self.at(at, Event::Down(link, News::Message(greeting, Meaning::Other)));
            }
        }
        Ok(())
    }

    pub(super) fn up(&mut self, i: usize, message: &str) -> Result<(), String> {
        let link = &mut self.links[i];
        if link.cut_up || link.gone {
            return Ok(());
        }
        self.messages += 1;
        let truth = &self.schedule.truth;
        let replies = link.connection.receive(message, self.now, truth, &mut self.generations);
        let ahead = link.connection.ahead();
        self.checks.ahead(ahead)?;
        self.reply(i, replies)
    }

    pub(super) fn step(&mut self, i: usize) -> Result<(), String> {
        let link = &mut self.links[i];
        if link.gone || link.step_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        link.step_at = None;
        let before = link.connection.is_broken();
        let replies = match link.connection.next_step() {
            Some(at) if at <= self.now => link.connection.step(self.now, &self.schedule.truth),
            _ => vec![],
        };
        if !before && link.connection.is_broken() {
            self.checks.trouble();
        }
        self.reply(i, replies)
    }

    pub(super) fn reply(&mut self, i: usize, replies: Vec<Reply>) -> Result<(), String> {
        for reply in replies {
            match reply {
                Reply::Send(text, meaning) => {
                    if meaning == Meaning::Other && text.contains("transcription.done") {
                        // Nobody asked for it.
                        self.checks.trouble();
                    }
                    self.log(|| format!("   server: {text} {meaning:?}"));
                    let at = self.delayed(i, false);
                    self.at(at, Event::Down(i, News::Message(text, meaning)));
                }
                Reply::Binary(bytes) => {
                    let at = self.delayed(i, false);
                    self.at(at, Event::Down(i, News::Binary(bytes)));
                }
                Reply::Close(code) => {
                    let at = self.delayed(i, false);
                    self.at(at, Event::Down(i, lost(&format!("closed with {code}"))));
                    self.links[i].gone = true;
                }
                Reply::Die => self.restart(self.links[i].server, 2 * SECOND, false),
            }
        }
        if let Some(breach) = self.links[i].connection.breaches.pop() {
            return Err(format!("protocol: {breach}"));
        }
        self.plan_step(i);
        Ok(())
    }

    pub(super) fn plan_step(&mut self, i: usize) {
        let link = &mut self.links[i];
        let Some(mut at) = link.connection.next_step().filter(|_| !link.gone) else { return };
        at = at.max(self.now);
        if self.slow.1 > self.now && !link.connection.is_emptying() {
            at = self.now + (at - self.now) * self.slow.0;
        }
        if link.step_at.is_none_or(|planned| at < planned) {
            link.step_at = Some(at);
            self.at(at, Event::Step(i));
        }
    }

    pub(super) fn down(&mut self, link: usize, news: News) {
        let now = self.time();
        if self.links[link].cut_down || self.active.is_none_or(|a| a.0 != link) {
            return;
        }
        self.messages += 1;
        match news {
            News::Connected => {
                self.log(|| "connected".into());
                self.active = Some((link, true));
                self.session.connected(now);
            }
            News::Message(text, meaning) => {
                self.log(|| format!("<- {text}"));
                if let Meaning::Heard { generation, samples } = meaning {
                    self.checks.heard(generation, samples, &self.links[link].connection);
                }
                self.checks.message(&text);
                self.proven |= text.contains("transcription.d");
                self.session.message(&text, now);
            }
            News::Binary(bytes) => self.session.binary(bytes, now),
            News::Lost(why) => {
                self.log(|| format!("lost: {}", why.error.message));
                self.active = None;
                self.checks.trouble();
                self.session.disconnected(why, now);
            }
        }
    }
}

pub(super) fn lost(why: &str) -> News {
    let error = Error {
        kind: ErrorKind::Unreachable,
        message: format!("The connection is lost: {why}."),
        detail: String::new(),
    };
    News::Lost(Lost { error, permanent: false })
}
