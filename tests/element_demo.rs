// SPDX-License-Identifier: MPL-2.0

//! What `scripts/demo.sh` runs, without the picture: the five readings, a pause behind each, and
//! small recognisers behind the stand-in.

#[path = "chaos/element.rs"]
mod element;
#[path = "chaos/speech.rs"]
mod speech;
mod support;

use std::time::Duration;

use element::{assert_accounted, assert_same, stat, transcribe};
use gst::prelude::*;
use speech::Speech;
use support::{DEADLINE, MS, SECOND};
use vllm_standin::score::word_errors;
use vllm_standin::{Cadence, Moonshine, Pocketsphinx, Standin, Voice};

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

/// Eight speak live at once, which is more than the recogniser can follow: it is slow, each element
/// says so, and no word is lost.
#[test]
fn long_eight_speakers_at_once() {
    let voice = match Moonshine::open(&Moonshine::folder()) {
        Ok(voice) => voice,
        Err(why) => return println!("skipped: {why}"),
    };
    let voice = Voice::Moonshine(voice);
    let server = Standin::builder().voice(voice).cadence(Cadence::Arrival).start().unwrap();
    let speech = Speech::readings(RATE);
    let said: Vec<_> = speech.words.iter().map(|w| w.word.as_str()).collect();
    let said = said.join(" ");
    support::init();
    let runs: Vec<((usize, usize), gst::Structure, bool)> = std::thread::scope(|scope| {
        let run = || live(&server.url(), &speech, &said);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for ((words, wrong), stats, _) in &runs {
        println!("{wrong} of {words} words wrong; {stats}");
        assert!(wrong * 10 <= *words, "{wrong} of {words} words are wrong");
        let [given, dropped, unconfirmed] =
            ["samples-in", "samples-dropped", "samples-unconfirmed"].map(|n| stat(stats, n));
        assert_eq!((given, dropped, unconfirmed), (speech.samples.len() as u64, 0, 0), "{stats}");
    }
    assert!(runs.iter().any(|(.., slow)| *slow), "no WARNING tells that the server is slow");
}

/// A live stream of all that is said, at its pace: how many words there are and how many are wrong, the figures, and whether a
/// WARNING told that the server is slower than speech.
fn live(url: &str, speech: &Speech, said: &str) -> ((usize, usize), gst::Structure, bool) {
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=src is-live=true format=time max-bytes=0 caps=\"{}\" ! clocksync
           ! vllmrealtimeasr name=asr url={url} latency=4000 ! fakesink async=false",
        support::CAPS
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let (source, asr) = (pipeline.by_name("src").unwrap(), pipeline.by_name("asr").unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    for (n, part) in speech.samples.chunks(1600).enumerate() {
        let bytes: Vec<u8> = part.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.get_mut().unwrap().set_pts(n as u64 * 100 * MS);
        let flow = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    }
    let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
    let (mut words, mut slow) = (Vec::new(), false);
    let bus = pipeline.bus().unwrap();
    loop {
        let m = bus.timed_pop(120 * SECOND).expect("a message on the bus");
        if let Some(s) = support::structure(&m, "vllmrealtimeasr/word") {
            words.push(s.get::<String>("text").unwrap());
        }
        match m.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(e) => panic!("{} ({:?})", e.error(), e.debug()),
            gst::MessageView::Warning(w) => {
                slow |= w.error().to_string().contains("The server works through");
            }
            _ => {}
        }
    }
    let stats = asr.property::<gst::Structure>("stats");
    support::down(&pipeline, gst::State::Null);
    (word_errors(said, &words.join(" ")), stats, slow)
}
