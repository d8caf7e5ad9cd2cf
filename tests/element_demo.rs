// SPDX-License-Identifier: MPL-2.0

//! What `scripts/demo.sh` runs, without the picture: the five readings, a pause behind each, and
//! the small recogniser behind the stand-in.

#[path = "chaos/element.rs"]
mod element;
#[path = "chaos/speech.rs"]
mod speech;
mod support;

use std::time::Duration;

use element::{assert_accounted, assert_same, transcribe};
use speech::Speech;
use support::DEADLINE;
use vllm_standin::{Cadence, Pocketsphinx, Standin, Voice};

const RATE: usize = 16_000;

fn server() -> Standin {
    let voice = Pocketsphinx::new().unwrap_or_else(|e| panic!("{e}: scripts/setup.sh installs it"));
    Standin::builder()
        .voice(Voice::Pocketsphinx(voice))
        .cadence(Cadence::Utterance)
        .start()
        .unwrap()
}

/// `kill -9` in the middle of a sentence, and back 3 s later: the same words as without.
#[test]
fn killed_in_the_middle_of_the_demo() {
    let speech = Speech::readings(RATE);
    let calm = transcribe(element::element(&server().url()), &speech);
    assert!(calm.words.len() > 50, "{:?}", calm.words);
    let mut server = server();
    let url = server.url();
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| transcribe(element::element(&url), &speech));
        let in_the_middle = |log: &vllm_standin::Log| {
            log.done() >= 2 && log.generations().any(|g| !g.done && g.samples > RATE as u64)
        };
        assert!(server.wait(in_the_middle, DEADLINE));
        server.kill();
        // Nobody listens: this is the outage itself, and nothing else is waited for.
        assert!(!server.wait(|_| false, Duration::from_secs(3)));
        server.restart().unwrap();
        run.join().unwrap()
    });
    assert_same(&run.words, &calm.words, "killed");
    assert_accounted(&run, speech.samples.len());
    assert!(!run.lost.is_empty());
}
