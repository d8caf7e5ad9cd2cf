// SPDX-License-Identifier: MPL-2.0

use super::{Output, Word};

mod recordings;

/// Words in order, without overlap, none of them blank.
fn check(words: &[Word]) {
    let mut last = 0;
    for w in words {
        assert!(w.begin >= last && w.begin < w.end, "{words:?}");
        assert!(!w.text.trim().is_empty() && w.text.trim() == w.text, "{w:?}");
        last = w.end;
    }
}

/// What must hold for all outputs of a transcript.
#[derive(Debug, Default)]
struct Fed {
    start: u64,
    last_end: u64,
}

impl Fed {
    fn take(&mut self, output: &Output, audio: u64) {
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
