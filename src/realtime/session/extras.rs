// SPDX-License-Identifier: MPL-2.0

//! What a session asks for beside the model (vllm#50783): a server that refuses it takes the
//! session for not validated, and gets the plain update.

/// Whether extras are asked for, server by server, and how the connection's update is taken.
#[derive(Debug)]
pub(super) struct Extras {
    /// Servers that refused them.
    plain: Vec<bool>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The update had none, or they were taken.
    Settled,
    /// They were asked for, and nothing has come since.
    Asked,
    /// They were refused: so many commits that were under way are refused with them.
    Refused { commits: u32 },
}

impl Extras {
    pub fn new(servers: usize) -> Extras {
        Extras { plain: vec![false; servers.max(1)], state: State::Settled }
    }

    /// An update goes to this server. Whether to ask for extras.
    pub fn ask(&mut self, server: usize) -> bool {
        let ask = !self.plain.get(server).copied().unwrap_or(true);
        self.state = if ask { State::Asked } else { State::Settled };
        ask
    }

    /// The server works.
    pub fn settle(&mut self) {
        self.state = State::Settled;
    }

    /// An error with this code came from the server. Whether it refuses the extras, while so many
    /// commits were under way.
    pub fn refuses(&mut self, server: usize, code: &str, commits: u32) -> bool {
        let refusal = matches!(
            code,
            "invalid_timestamp_granularity"
                | "unsupported_timestamp_granularity"
                | "segment_timestamps_unavailable"
                | "invalid_event"
        );
        let refused = refusal && self.state == State::Asked;
        if refused {
            self.state = State::Refused { commits };
            self.remember(server);
        }
        refused
    }

    /// The connection is lost. One that went right after it was asked is not asked again.
    pub fn lost(&mut self, server: usize) {
        if self.state == State::Asked {
            self.remember(server);
        }
        self.state = State::Settled;
    }

    /// Whether the refusal of a commit was to be expected.
    pub fn excuses_commit(&mut self) -> bool {
        let State::Refused { commits } = &mut self.state else { return false };
        let excused = *commits > 0;
        *commits = commits.saturating_sub(1);
        excused
    }

    fn remember(&mut self, server: usize) {
        if let Some(plain) = self.plain.get_mut(server) {
            *plain = true;
        }
    }
}
