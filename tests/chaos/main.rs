// SPDX-License-Identifier: MPL-2.0

//! The real element over real sockets, with everything that can happen to them: whatever it is,
//! the transcript is the undisturbed one, word for word, each once.

mod element;
mod kills;
mod memory;
mod promptness;
mod proxied;
mod proxy;
mod speech;
mod stuck;
#[path = "../support/mod.rs"]
mod support;
mod vllm;

/// Short runs of what `benches/memory` does for an hour.
mod memory_bounds {
    use crate::memory::{Case, measure};

    /// Grows by a few hundred KiB while the allocator finds its level.
    const GROWTH: f64 = 2.0;

    fn bounded(case: Case) {
        let m = measure(case, 4);
        println!("{m:?}");
        assert!(m.most - m.first_minute <= GROWTH, "{m:?}");
        assert!(m.kept <= 61, "{m:?}");
    }

    #[test]
    fn speech_in_frames() {
        bounded(Case::Frames);
    }

    #[test]
    fn speech_in_segments() {
        bounded(Case::Segments);
    }

    #[test]
    fn no_greeting() {
        bounded(Case::NeverGreets);
    }

    #[test]
    fn no_answer() {
        bounded(Case::NeverAnswers);
    }
}

/// The server of the memory tests, in a process of its own.
#[test]
#[ignore = "started by the memory tests"]
fn memory_server() {
    memory::serve_as_child();
}
