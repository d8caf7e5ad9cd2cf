// SPDX-License-Identifier: MPL-2.0

//! Whether captions are shown, and whether the picture waits for them. Pure.

/// Why there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No sound is linked.
    NoSound,
    /// The captions' elements have said nothing yet.
    NotBegun,
    /// Property `passthrough`.
    Passthrough,
    /// One of them failed.
    Failed,
    /// The connection is lost, in a pipeline that is not live.
    Lost,
    /// The sound that they need does not come.
    Behind,
}

const ALL: [(Reason, &str); 6] = [
    (Reason::Passthrough, "passthrough"),
    (Reason::NoSound, "no-sound"),
    (Reason::Failed, "failed"),
    (Reason::Lost, "lost"),
    (Reason::NotBegun, "not-begun"),
    (Reason::Behind, "behind"),
];

/// What stands in the way of captions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Captions(u8);

impl Captions {
    /// As a pipeline begins.
    pub fn begin(&mut self) {
        for why in [Reason::Failed, Reason::Lost, Reason::NotBegun, Reason::Behind] {
            self.set(why, false);
        }
    }

    pub fn set(&mut self, why: Reason, holds: bool) {
        let bit = 1 << why as u8;
        self.0 = if holds { self.0 | bit } else { self.0 & !bit };
    }

    pub fn is(self, why: Reason) -> bool {
        self.0 & 1 << why as u8 != 0
    }

    /// Whether the picture waits for its text.
    pub fn waits(self) -> bool {
        self.0 == 0
    }

    /// Whether the sound goes to the recogniser.
    pub fn listens(self) -> bool {
        ![Reason::Passthrough, Reason::Failed, Reason::Lost].into_iter().any(|why| self.is(why))
    }

    /// For property `stats`.
    pub fn state(self) -> &'static str {
        ALL.into_iter().find(|(why, _)| self.is(*why)).map_or("shown", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_waits_for_captions_that_can_come() {
        let mut captions = Captions::default();
        assert!(captions.waits() && captions.listens());
        for (why, name) in ALL {
            captions.set(why, true);
            assert_eq!((captions.state(), captions.waits()), (name, false));
            captions.set(why, false);
        }
        assert_eq!((captions.state(), captions.waits()), ("shown", true));
        captions.set(Reason::Failed, true);
        assert!(!captions.listens());
        captions.begin();
        assert!(captions.listens());
    }
}
