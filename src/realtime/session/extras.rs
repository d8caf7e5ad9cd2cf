// SPDX-License-Identifier: MPL-2.0

//! What a session asks for beside the model (vllm#50783): a server that refuses it takes the
//! session for not validated, and gets the plain update.

use std::collections::BTreeSet;

use super::super::event::Complaint;

/// Whether extras are asked for, server by server, and how the connection's update is taken.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Servers that refused them.
    plain: BTreeSet<usize>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// The update had none, or they were taken.
    #[default]
    Settled,
    /// They were asked for, and nothing has come since.
    Asked,
    /// They were refused: so many commits that were under way are refused with them.
    Refused { commits: u32 },
}

impl Extras {
    /// An update goes to this server. Whether to ask for extras.
    pub fn ask(&mut self, server: usize) -> bool {
        let ask = !self.plain.contains(&server);
        self.state = if ask { State::Asked } else { State::Settled };
        ask
    }

    /// The server works.
    pub fn settle(&mut self) {
        self.state = State::Settled;
    }

    /// An error came from the server. Whether it refuses the extras, while so many commits were under
    /// way: where none was, one that does not say what else it is about can only be about the update.
    pub fn refuses(&mut self, server: usize, complaint: Complaint, commits: u32) -> bool {
        let refusal = match complaint {
            Complaint::Extras | Complaint::InvalidEvent => true,
            Complaint::Idle | Complaint::Model | Complaint::NotValidated | Complaint::Key => false,
            Complaint::NoEvent | Complaint::FullQueue | Complaint::Other => commits == 0,
        };
        let refused = refusal && self.state == State::Asked;
        if refused {
            self.state = State::Refused { commits };
            self.plain.insert(server);
        }
        refused
    }

    /// The connection is lost. One that went right after it was asked is not asked again.
    pub fn lost(&mut self, server: usize) {
        if self.state == State::Asked {
            self.plain.insert(server);
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
}
