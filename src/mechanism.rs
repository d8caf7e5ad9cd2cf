// SPDX-License-Identifier: MPL-2.0

//! Mechanisms whose loss shows only in rare cases. Unit tests switch them off one at a time, and
//! each has a test that notices. Anywhere else they are always on: no other build has a switch.

/// A mechanism with a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// In speech without a pause the next generation hears the end of the last one again.
    OverlapAtCut,
    /// Audio sent again to a segmented server may be cut among words that are out.
    CutAnew,
    /// Audio sent again in shorter generations is cut in equal parts.
    EqualParts,
    /// Short generations are counted from where words are missing.
    KnownTo,
    /// Speech without words is kept for 20 s.
    RutKept,
    /// The last 100 ms of a generation are kept until it is done.
    EndKept,
    /// The horizon stays 100 ms before speech that may be a word under way.
    OnsetKept,
    /// Words that find no room in their audio are given some behind it.
    LateRoom,
}

#[cfg(not(test))]
impl Mechanism {
    pub const fn is_on(self) -> bool {
        true
    }
}

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Mechanism;

    thread_local! {
        static OFF: Cell<Option<Mechanism>> = const { Cell::new(None) };
    }

    impl Mechanism {
        pub fn is_on(self) -> bool {
            OFF.get() != Some(self)
        }

        /// Runs `case` as it is, where it must end well, and without this mechanism, where it must
        /// not.
        pub fn is_needed_by(self, case: impl Fn() -> Result<(), String>) {
            assert_eq!(case(), Ok(()));
            OFF.set(Some(self));
            let without = case();
            OFF.set(None);
            println!("without {self:?}: {without:?}");
            assert!(without.is_err(), "nobody misses {self:?}");
        }
    }
}
