// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines against a real server with one of the tiny models of `scripts/test.sh --vllm`,
//! whose text is noise: events, counts and times are not. `VLLM_REALTIME_URL` names the server,
//! `VLLM_MODEL` the model; `scripts/test.sh --vllm` starts both in turn.

#[path = "chaos/speech.rs"]
mod speech;
mod support;

use std::sync::mpsc::{self, RecvTimeoutError};

use gst::prelude::*;
use speech::Speech;
use support::SECOND;
use vllm_standin::Random;

/// About 8 s, and no whole number of frames or of segments.
const SAMPLES: u64 = 165 * 777;

/// The server's address and model.
fn server() -> (String, String) {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    (variable("VLLM_REALTIME_URL"), variable("VLLM_MODEL"))
}

/// Loud noise, which the tiny models take for speech, through the element and `after` it.
fn run(url: &str, after: &str) -> Vec<gst::Message> {
    support::run(&format!(
        "audiotestsrc wave=white-noise volume=0.1 samplesperbuffer=777 num-buffers={} \
         ! {} ! vllmrealtimeasr name=asr url={url} vad=false {after}",
        SAMPLES / 777,
        support::CAPS,
    ))
    .unwrap()
}

fn all(messages: &[gst::Message], name: &str) -> Vec<gst::Structure> {
    messages.iter().filter_map(|m| support::structure(m, name)).collect()
}

fn check(messages: &[gst::Message], model: &str) {
    let words = all(messages, "vllmrealtimeasr/word");
    let utterances = all(messages, "vllmrealtimeasr/utterance");
    assert!(!words.is_empty());
    assert_eq!(utterances.len(), 1);
    let mut last = gst::ClockTime::ZERO;
    for word in &words {
        let text = word.get::<String>("text").unwrap();
        assert!(!text.contains("asr_text") && !text.contains("language"), "{text}");
        assert_eq!(text.trim(), text);
        let begin = word.get::<gst::ClockTime>("start-time").unwrap();
        let end = word.get::<gst::ClockTime>("end-time").unwrap();
        assert!(last <= begin && begin < end, "{text}: {begin} to {end}, after {last}");
        last = end;
    }
    assert!(last <= gst::ClockTime::from_nseconds(SAMPLES * 62_500), "{last}");
    let usage = utterances[0].get::<gst::Structure>("usage").unwrap();
    let tokens = usage.get::<u64>("completion-tokens").unwrap();
    if model.starts_with("voxtral") {
        // One for each 80 ms of audio, and what the server adds behind its end.
        assert_eq!(tokens, (SAMPLES - 40) / 1280 + 11);
    }
    assert!(tokens > 0);
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_as_a_sink() {
    let (url, model) = server();
    check(&run(&url, ""), &model);
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_into_subtitles() {
    let (url, model) = server();
    let file = std::env::temp_dir().join(format!("vllm-{}.srt", std::process::id()));
    let messages = run(&url, &format!("! srtenc ! filesink location={}", file.display()));
    check(&messages, &model);
    let srt = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(srt.matches("-->").count(), all(&messages, "vllmrealtimeasr/word").len());
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_without_such_a_model() {
    let (url, _) = server();
    let launch = format!("audiotestsrc ! {} ! vllmrealtimeasr url={url} model=none", support::CAPS);
    let error = support::run(&launch).unwrap_err();
    assert!(error.contains("model"), "{error}");
}

/// Speech live, as sources are at their worst: buffers of any size that come in bunches and are
/// stamped as they come, a valve that shuts now and then, and a pause of the pipeline.
struct Weather {
    pipeline: gst::Pipeline,
    random: Random,
}

impl Weather {
    fn new(url: &str) -> Weather {
        support::init();
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=source is-live=true do-timestamp=true format=time caps=\"{}\" \
             ! valve name=valve ! vllmrealtimeasr name=asr url={url} ! fakesink async=false",
            support::CAPS
        ));
        let pipeline = pipeline.unwrap().downcast().unwrap();
        Weather { pipeline, random: Random::new(9) }
    }

    fn element(&self, name: &str) -> gst::Element {
        self.pipeline.by_name(name).unwrap()
    }

    /// Speaks all of it at the pace of the clock.
    fn speak(&mut self, samples: &[i16]) {
        let (source, valve) = (self.element("source"), self.element("valve"));
        let clock = gst::SystemClock::obtain();
        let mut begin = clock.time();
        let (mut at, mut bunch) = (0, 0);
        let (mut next_valve, mut pause) = (20 * 16_000, Some(samples.len() / 2));
        while at < samples.len() {
            let n = (self.random.range(1, 1600) as usize).min(samples.len() - at);
            let bytes: Vec<u8> = samples[at..at + n].iter().flat_map(|s| s.to_le_bytes()).collect();
            at += n;
            if at > bunch {
                // What was spoken meanwhile comes all at once.
                bunch = at + self.random.range(0, 4000) as usize;
                let due = begin + at as u64 * 62_500 * gst::ClockTime::NSECOND;
                let _ = clock.new_single_shot_id(due).wait();
            }
            let buffer = gst::Buffer::from_slice(bytes);
            let flow = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
            assert_eq!(flow, gst::FlowReturn::Ok);
            if at > next_valve {
                let shut = valve.property::<bool>("drop");
                valve.set_property("drop", !shut);
                next_valve = at + 16_000 * if shut { 20 } else { 3 };
            }
            if pause.take_if(|pause| at > *pause).is_some() {
                self.pipeline.set_state(gst::State::Paused).unwrap();
                let resume = clock.time() + 5 * SECOND;
                let _ = clock.new_single_shot_id(resume).wait();
                begin += 5 * SECOND;
                self.pipeline.set_state(gst::State::Playing).unwrap();
            }
        }
        let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
    }
}

/// 9, in the end: every sample is accounted for, and nothing is an error.
#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_three_minutes_of_all_weathers() {
    let (url, _) = server();
    let readings = Speech::readings(8000).samples;
    let speech: Vec<i16> = readings.iter().copied().cycle().take(180 * 16_000).collect();
    let mut weather = Weather::new(&url);
    let bus = weather.pipeline.bus().unwrap();
    let asr = weather.element("asr");
    let pipeline = weather.pipeline.clone();
    pipeline.set_state(gst::State::Playing).unwrap();
    let said = std::thread::scope(|scope| {
        scope.spawn(|| weather.speak(&speech));
        let mut words = 0;
        loop {
            let message = bus.timed_pop(240 * SECOND).expect("the end of the stream");
            words += u64::from(support::structure(&message, "vllmrealtimeasr/word").is_some());
            match message.view() {
                gst::MessageView::Eos(_) => break words,
                gst::MessageView::Error(e) => panic!("{} {:?}", e.error(), e.debug()),
                gst::MessageView::Warning(w) => println!("{}", w.error()),
                _ => {}
            }
        }
    });
    let stats = asr.property::<gst::Structure>("stats");
    pipeline.set_state(gst::State::Null).unwrap();
    println!("{said} words, {stats}");
    let of = |field: &str| stats.get::<u64>(field).unwrap();
    let accounted = of("samples-confirmed") + of("samples-skipped") + of("samples-dropped");
    assert_eq!(of("samples-in"), accounted, "{stats}");
    assert!(said > 0 && of("samples-confirmed") > 60 * 16_000, "{stats}");
}

/// What came of a minute of speech, live.
struct Minute {
    words: Vec<(String, u64)>,
    merged: u64,
    gave_up: usize,
}

/// A minute of speech in real time, with all utterances in one: no voice activity.
fn minute(url: &str, speech: &[i16]) -> Minute {
    support::init();
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=source is-live=true format=time caps=\"{}\" \
         ! vllmrealtimeasr name=asr url={url} vad=false ! fakesink async=false",
        support::CAPS
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("source").unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut minute = Minute { words: Vec::new(), merged: 0, gave_up: 0 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let clock = gst::SystemClock::obtain();
            let begin = clock.time();
            for (i, piece) in speech.chunks(320).enumerate() {
                let time = i as u64 * 20 * gst::ClockTime::MSECOND;
                let _ = clock.new_single_shot_id(begin + time).wait();
                let bytes: Vec<u8> = piece.iter().flat_map(|s| s.to_le_bytes()).collect();
                let mut buffer = gst::Buffer::from_slice(bytes);
                buffer.get_mut().unwrap().set_pts(time);
                let _ = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
            }
            let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
        });
        loop {
            let message = bus.timed_pop(120 * SECOND).expect("the end of the stream");
            if let Some(word) = support::structure(&message, "vllmrealtimeasr/word") {
                let start = word.get::<gst::ClockTime>("start-time").unwrap().mseconds();
                minute.words.push((word.get("text").unwrap(), start));
            }
            minute.gave_up +=
                usize::from(support::structure(&message, "vllmrealtimeasr/clock").is_some());
            match message.view() {
                gst::MessageView::Eos(_) => break,
                gst::MessageView::Error(e) => panic!("{} {:?}", e.error(), e.debug()),
                _ => {}
            }
        }
    });
    let stats = pipeline.by_name("asr").unwrap().property::<gst::Structure>("stats");
    pipeline.set_state(gst::State::Null).unwrap();
    let of = |field: &str| stats.get::<u64>(field).unwrap();
    let frames = of("samples-sent") / 1280 + 11 * of("generations");
    minute.merged = frames.saturating_sub(of("deltas"));
    minute
}

/// 9.23: the API process stands still for 0.3 s now and then, not the engine's, so that vLLM
/// merges deltas. `VLLM_API_PID` names it; the engine has a process of its own.
#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_whose_api_process_stops() {
    let (url, model) = server();
    if !model.starts_with("voxtral") {
        return; // the others have no frames
    }
    let Ok(pid) = std::env::var("VLLM_API_PID") else {
        return println!("VLLM_API_PID is not set: somebody else's server is not stopped");
    };
    let readings = Speech::readings(8000).samples;
    let speech: Vec<i16> = readings.iter().copied().cycle().take(60 * 16_000).collect();
    let even = minute(&url, &speech);
    let (stop, stopped) = mpsc::channel::<()>();
    let merged = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Random::new(23);
            let signal = |name: &str| {
                std::process::Command::new("kill").args([name, &pid]).status().unwrap()
            };
            // Until the other side is gone.
            let goes_on = |ms| {
                stopped.recv_timeout(std::time::Duration::from_millis(ms))
                    == Err(RecvTimeoutError::Timeout)
            };
            while goes_on(random.range(500, 5000)) {
                signal("-STOP");
                goes_on(300);
                signal("-CONT");
            }
        });
        let merged = minute(&url, &speech);
        drop(stop);
        merged
    });
    let moved: Vec<u64> = even
        .words
        .iter()
        .zip(&merged.words)
        .filter(|(a, b)| a.0 == b.0)
        .map(|(a, b)| a.1.abs_diff(b.1))
        .collect();
    println!(
        "{} and {} words; {} and {} frames without a delta; {} words are the same, moved by {} ms \
         (mean), {} ms (most)",
        even.words.len(),
        merged.words.len(),
        even.merged,
        merged.merged,
        moved.len(),
        moved.iter().sum::<u64>() / (moved.len() as u64).max(1),
        moved.iter().max().unwrap_or(&0)
    );
    assert_eq!((even.gave_up, merged.gave_up), (0, 0), "the clock stays by frames");
}
