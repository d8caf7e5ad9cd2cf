// SPDX-License-Identifier: MPL-2.0

use proptest::prelude::*;

use super::{Output, SampleInGeneration, Word, clock};
use crate::position::{Position, len, pos};

mod clocks;
mod mechanisms;
mod properties;
mod recordings;
mod rehearing;
mod replay;
mod words;

const FRAME: u64 = clock::FRAME.samples();
const SEGMENT: u64 = clock::SEGMENT.samples();

fn frames_in_all(sent: u64) -> u64 {
    clock::frames_in_all(SampleInGeneration::new(sent))
}

/// Words in order, without overlap, none of them blank.
fn check(words: &[Word]) {
    let mut last = pos(0);
    for w in words {
        assert!(w.begin >= last && w.begin < w.end, "{words:?}");
        assert!(!w.text.trim().is_empty() && w.text.trim() == w.text, "{w:?}");
        last = w.end;
    }
}

/// What must hold for all outputs of a transcript.
#[derive(Debug, Default)]
struct Fed {
    start: Position,
    last_end: Position,
}

impl Fed {
    fn take(&mut self, output: &Output, audio: Position) {
        match output {
            Output::Word(w) => {
                check(std::slice::from_ref(w));
                assert!(w.begin >= self.last_end.max(self.start), "{w:?} after {}", self.last_end);
                assert!(w.end <= audio, "{w:?} beyond {audio}");
                assert!((0.0..=1.0).contains(&w.time_confidence));
                self.last_end = w.end;
            }
            Output::Partial(text) => assert!(!text.trim().is_empty()),
            _ => {}
        }
    }
}

/// A text and the pieces of one way to cut it, some of them empty.
fn cut_anywhere(text: String) -> impl Strategy<Value = (String, Vec<String>)> {
    let chars = text.chars().count();
    prop::collection::vec(0..=chars, 0..(chars + 2)).prop_map(move |mut at| {
        at.sort_unstable();
        let mut pieces = Vec::new();
        let mut rest = text.chars();
        let mut from = 0;
        for to in at {
            pieces.push(rest.by_ref().take(to - from).collect());
            from = to;
        }
        pieces.push(rest.collect());
        (text.clone(), pieces)
    })
}
