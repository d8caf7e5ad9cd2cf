// SPDX-License-Identifier: MPL-2.0

//! A server that speaks only after the final commit: nothing but the span of the utterance is known.

use super::{Clock, Curve, Search};

pub struct Utterance;

impl Clock for Utterance {
    fn search(&self) -> Search {
        Search {
            marks: false,
            open: false,
            confidence: Curve { base: -0.52, fit: 0.58, clarity: 0.39 },
        }
    }
}
