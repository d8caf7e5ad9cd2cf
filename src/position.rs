// SPDX-License-Identifier: MPL-2.0

//! Places in the audio and lengths of it, which are both counts of samples and must not be mixed.
//!
//! No arithmetic wraps: it stops at the first sample, at nothing, and at the largest number.
//!
//! ```
//! use gstvllmrealtime::{Length, Position};
//! let at = Position::new(5) + Length::new(2) * 3 - Length::new(1);
//! assert_eq!((at - Position::new(4), Position::new(4) - at), (Length::new(6), Length::ZERO));
//! ```
//!
//! What makes no sense does not compile:
//!
//! ```compile_fail
//! # use gstvllmrealtime::{Length, Position};
//! let sum = Position::new(5) + Position::new(5);
//! ```
//! ```compile_fail
//! # use gstvllmrealtime::{Length, Position};
//! let later = Position::new(5) + 5;
//! ```
//! ```compile_fail
//! # use gstvllmrealtime::{Length, Position};
//! let length = Length::new(5) + Position::new(5);
//! ```

use std::time::Duration;

use crate::SAMPLE_RATE;

/// Nanoseconds in a second.
const SECOND_NS: u128 = 1_000_000_000;

/// A sample of the audio that the element was given, counted from the first one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(u64);

/// A number of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Length(u64);

/// What every count of samples has.
macro_rules! count {
    ($type:ident) => {
        impl $type {
            pub const MAX: $type = $type(u64::MAX);

            pub const fn new(samples: u64) -> $type {
                $type(samples)
            }

            pub const fn samples(self) -> u64 {
                self.0
            }
        }

        impl std::ops::AddAssign<$crate::Length> for $type {
            fn add_assign(&mut self, more: $crate::Length) {
                *self = *self + more;
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// What may be added, taken away and shared out, and what comes of it.
macro_rules! arithmetic {
    ($($op:ident::$f:ident($a:ident: $left:ty, $b:ident: $right:ty) -> $out:ty = $how:expr;)*) => {$(
        impl std::ops::$op<$right> for $left {
            type Output = $out;

            fn $f(self, $b: $right) -> $out {
                let $a = self.samples();
                $how
            }
        }
    )*};
}

pub(crate) use {arithmetic, count};

count!(Position);
count!(Length);

arithmetic! {
    Add::add(at: Position, more: Length) -> Position = Position(at.saturating_add(more.0));
    Sub::sub(at: Position, less: Length) -> Position = Position(at.saturating_sub(less.0));
    // How much lies between; nothing where it lies before.
    Sub::sub(at: Position, before: Position) -> Length = Length(at.saturating_sub(before.0));
    Add::add(length: Length, more: Length) -> Length = Length(length.saturating_add(more.0));
    Sub::sub(length: Length, less: Length) -> Length = Length(length.saturating_sub(less.0));
    Mul::mul(length: Length, times: u64) -> Length = Length(length.saturating_mul(times));
    Div::div(length: Length, parts: u64) -> Length = Length(length / parts);
    // How often the other one fits in, and what is left then.
    Div::div(length: Length, part: Length) -> u64 = length / part.0;
    Rem::rem(length: Length, part: Length) -> Length = Length(length % part.0);
}

impl Position {
    pub const START: Position = Position(0);

    pub fn midpoint(self, other: Position) -> Position {
        Position(self.0.midpoint(other.0))
    }

    /// How far apart they are.
    pub fn abs_diff(self, other: Position) -> Length {
        Length(self.0.abs_diff(other.0))
    }

    /// So many samples later, or earlier.
    pub fn moved(self, by: i64) -> Position {
        Position(self.0.saturating_add_signed(by))
    }

    /// By so many samples it is later than `other`, or earlier.
    pub fn later_than(self, other: Position) -> Option<i64> {
        self.0.checked_signed_diff(other.0)
    }
}

impl Length {
    pub const ZERO: Length = Length(0);

    /// Of these samples.
    pub fn of(samples: &[i16]) -> Length {
        Length(samples.len() as u64)
    }

    pub const fn of_s(s: u64) -> Length {
        Length(s * SAMPLE_RATE)
    }

    pub const fn of_ms(ms: u64) -> Length {
        Length(ms * SAMPLE_RATE / 1000)
    }

    /// What fits into so many ns, rounded to the nearest.
    pub fn of_ns(ns: u64) -> Length {
        let samples = (u128::from(ns) * u128::from(SAMPLE_RATE) + SECOND_NS / 2) / SECOND_NS;
        Length(u64::try_from(samples).unwrap_or(u64::MAX))
    }

    /// What lasts so long.
    pub fn lasting(time: Duration) -> Length {
        Length::of_ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long it lasts, in ns, rounded down.
    pub fn ns(self) -> u64 {
        let ns = u128::from(self.0) * SECOND_NS / u128::from(SAMPLE_RATE);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    pub fn seconds(self) -> f32 {
        self.0 as f32 / SAMPLE_RATE as f32
    }

    /// As an array has it.
    pub fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
pub fn pos(samples: u64) -> Position {
    Position(samples)
}

#[cfg(test)]
pub fn len(samples: u64) -> Length {
    Length(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_count_and_duration_agree() {
        for n in [0, 1, 2, 3, 159, 16_000, 1 << 40] {
            assert_eq!(Length::of_ns(Length(n).ns()), Length(n));
        }
    }
}
