// SPDX-License-Identifier: MPL-2.0

//! The connection: its state, what is tried next, and what is known of the server behind it.

use std::time::Duration;

use super::super::event::Complaint;
use super::super::retry::Retry;
use super::super::{Config, Error};
use super::extras::Extras;

/// State of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// There is none, and no need of one.
    Idle,
    /// The next attempt is due then.
    Waiting {
        until: Duration,
    },
    /// The transport is at it.
    Connecting {
        deadline: Duration,
    },
    /// `session.created` is awaited.
    Greeting {
        deadline: Duration,
    },
    Ready,
    /// For good.
    Failed,
}

#[derive(Debug)]
pub(super) struct Link {
    state: Connection,
    servers: Vec<String>,
    timeout: Duration,
    retry: Retry,
    extras: Extras,
    /// Whether this outage was told of already.
    warned: bool,
    /// The server said something that only a server of this protocol says.
    proven: bool,
}

impl Link {
    pub fn new(config: &Config, seed: u64) -> Link {
        let servers: Vec<String> = config.servers.iter().map(ToString::to_string).collect();
        Link {
            state: Connection::Idle,
            timeout: config.connect_timeout,
            retry: Retry::new(config.reconnect, config.connect_timeout, servers.len(), seed),
            extras: Extras::default(),
            servers,
            warned: false,
            proven: false,
        }
    }

    pub fn state(&self) -> Connection {
        self.state
    }

    pub fn has_failed(&self) -> bool {
        self.state == Connection::Failed
    }

    /// What the server is called.
    pub fn name(&self) -> String {
        self.servers.get(self.retry.server()).cloned().unwrap_or_default()
    }

    /// An attempt begins, with this server.
    pub fn attempt(&mut self, now: Duration) -> usize {
        self.retry.attempt(now);
        self.state = Connection::Connecting { deadline: now + self.timeout };
        self.retry.server()
    }

    /// The transport has a WebSocket.
    pub fn connected(&mut self) {
        if let Connection::Connecting { deadline } = self.state {
            self.state = Connection::Greeting { deadline };
        }
    }

    /// The server greets. Whether to ask it for extras.
    pub fn greeted(&mut self) -> bool {
        self.retry.answered();
        self.state = Connection::Ready;
        self.warned = false;
        self.updates()
    }

    /// The server is told anew what is wanted. Whether to ask it for extras.
    pub fn updates(&mut self) -> bool {
        self.extras.ask(self.retry.server())
    }

    /// Words came, or the end of them.
    pub fn heard(&mut self) {
        self.proven = true;
        self.extras.settle();
    }

    /// The server works: the next failure is a first one.
    pub fn progress(&mut self) {
        self.retry.progress();
    }

    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether an error refuses the extras, while so many commits were under way.
    pub fn refuses_extras(&mut self, complaint: Complaint, commits: u32) -> bool {
        self.extras.refuses(self.retry.server(), complaint, commits)
    }

    /// Whether the refusal of a commit was to be expected.
    pub fn excuses_commit(&mut self) -> bool {
        self.extras.excuses_commit()
    }

    /// Whether this would be a first failure.
    pub fn has_worked(&self) -> bool {
        self.retry.failures() == 0
    }

    /// The server has closed, for which there is no blame.
    pub fn closed(&mut self) {
        self.extras.lost(self.retry.server());
        self.leave();
    }

    /// The connection is not needed any more.
    pub fn leave(&mut self) {
        self.state = Connection::Idle;
    }

    /// The attempt or the connection has failed. Whether the transport still holds it.
    pub fn lost(&mut self) -> bool {
        self.extras.lost(self.retry.server());
        !matches!(self.state, Connection::Idle | Connection::Waiting { .. })
    }

    /// What follows from that: another attempt, of which it is said whether this outage was told of
    /// before, or the error with which all ends.
    pub fn try_again(
        &mut self,
        now: Duration,
        permanent: bool,
        hurry: bool,
        error: &Error,
    ) -> Result<bool, Error> {
        let next = self.retry.failed(now, permanent, hurry);
        let until = next.ok_or_else(|| self.retry.explain(error))?;
        self.state = Connection::Waiting { until };
        Ok(std::mem::replace(&mut self.warned, true))
    }

    /// For good.
    pub fn fail(&mut self) {
        self.state = Connection::Failed;
    }

    /// When the state does not last any longer.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            Connection::Idle | Connection::Ready | Connection::Failed => None,
            Connection::Waiting { until: deadline }
            | Connection::Connecting { deadline }
            | Connection::Greeting { deadline } => Some(deadline),
        }
    }
}
