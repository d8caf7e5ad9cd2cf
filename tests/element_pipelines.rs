// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines, as users write them.

#[path = "support/launch.rs"]
mod launch;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gst::prelude::*;
use launch::Wav;
use support::*;
use vllm_standin::{Aligned, Cadence, Random, Standin, TimedWord};

const TEXT: &str = "one two three four five six seven eight nine";

#[test]
fn a_file_to_subtitles() {
    let server = server(TEXT);
    let wav = Wav::new("subtitles", 4);
    let srt = wav.0.with_extension("srt");
    let result = run(&format!(
        "filesrc location={wav} ! decodebin ! audioconvert ! audioresample ! \
         vllmrealtimeasr vad=false url={} ! srtenc ! filesink location={}",
        server.url(),
        srt.display()
    ));
    let text = std::fs::read_to_string(&srt).unwrap();
    std::fs::remove_file(&srt).unwrap();
    result.unwrap();
    let cues: Vec<_> = text.split("\n\n").filter(|c| !c.trim().is_empty()).collect();
    assert_eq!(cues.len(), 9, "{text}");
    for (cue, word) in cues.iter().zip(TEXT.split(' ')) {
        assert_eq!(cue.lines().nth(2), Some(word), "{text}");
    }
}

#[test]
fn as_a_sink_it_adds_no_latency_and_takes_seeks() {
    let server = server(TEXT);
    init();
    let wav = Wav::new("seek", 4);
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={wav} ! wavparse ! vllmrealtimeasr name=asr vad=false url={}",
        server.url()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let bus = pipeline.bus().unwrap();
    let play_to_eos = || {
        let mut words = 0;
        wait_message(&bus, |m| {
            words += usize::from(structure(m, "vllmrealtimeasr/word").is_some());
            assert_ne!(m.type_(), gst::MessageType::Error, "{m:?}");
            (m.type_() == gst::MessageType::Eos).then_some(())
        });
        words
    };
    pipeline.set_state(gst::State::Playing).unwrap();
    assert_eq!(play_to_eos(), 9);
    assert!(pipeline.by_name("asr").unwrap().element_flags().contains(gst::ElementFlags::SINK));
    let mut query = gst::query::Latency::new();
    assert!(pipeline.query(&mut query));
    assert_eq!(query.result().1, gst::ClockTime::ZERO);
    assert_eq!(pipeline.query_duration::<gst::ClockTime>(), Some(4 * SECOND));
    // EOS is told again in PLAYING.
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    assert_eq!(play_to_eos(), 0);
    // A seek goes through the element as the pipeline's sink.
    pipeline.seek_simple(gst::SeekFlags::FLUSH, 2 * SECOND).unwrap();
    assert!(play_to_eos() > 0);
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(!pipeline.by_name("asr").unwrap().element_flags().contains(gst::ElementFlags::SINK));
}

/// Twelve seconds with a word in each, from 0.25 s to 0.75 s of it: bursts of noise.
fn words_by_the_second() -> (Vec<i16>, Vec<TimedWord>) {
    let mut random = Random::new(5);
    let loud = |n: usize| (4000..12_000).contains(&(n % 16_000));
    let mut sample = |n| random.range(0, 8000) as i16 / if loud(n) { 1 } else { 1000 };
    let samples = (0..12 * 16_000).map(&mut sample).collect();
    let word = |n: u8| TimedWord {
        word: format!("word{}", char::from(b'a' + n)),
        start: f64::from(n) + 0.25,
        end: f64::from(n) + 0.75,
    };
    (samples, (0..12).map(word).collect())
}

#[test]
fn words_behind_a_flushing_seek_have_their_own_times() {
    init();
    let (samples, truth) = words_by_the_second();
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let wav = Wav::of("seeks", &bytes);
    for cadence in [Cadence::Frames, Cadence::Segments] {
        let voice = Aligned::in_recordings([(samples.as_slice(), truth.as_slice())]);
        let server = Standin::builder().aligned(voice).cadence(cadence).start().unwrap();
        let pipeline = gst::parse::launch(&format!(
            "filesrc location={wav} ! wavparse ! vllmrealtimeasr vad=false max-backlog=6000 url={} \
             ! fakesink name=out sync=false",
            server.url()
        ));
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let (tell, out) = std::sync::mpsc::channel();
        let pad = pipeline.by_name("out").unwrap().static_pad("sink").unwrap();
        let what = gst::PadProbeType::DATA_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
        pad.add_probe(what, move |_, info| {
            let _ = match &info.data {
                Some(gst::PadProbeData::Buffer(b)) => tell.send(Out::Buffer(b.clone())),
                Some(gst::PadProbeData::Event(e)) => tell.send(Out::Event(e.clone())),
                _ => Ok(()),
            };
            gst::PadProbeReturn::Ok
        });
        let until = |last: fn(&Out) -> bool| {
            let next = || out.recv_timeout(DEADLINE).expect("something from the element");
            let mut all = vec![next()];
            while !last(&all[all.len() - 1]) {
                all.push(next());
            }
            all
        };
        pipeline.set_state(gst::State::Playing).unwrap();
        for to in [6, 3, 8] {
            until(|o| o.text().is_some());
            pipeline.seek_simple(gst::SeekFlags::FLUSH, to * SECOND).unwrap();
            until(|o| o.is(gst::EventType::FlushStop));
        }
        let last = texts(&until(|o| o.is(gst::EventType::Eos)));
        pipeline.set_state(gst::State::Null).unwrap();
        let names: Vec<&str> = last.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(names, ["wordi", "wordj", "wordk", "wordl"], "{cadence:?}");
        for (n, word) in last.iter().enumerate() {
            let begin = (8 + n as u64) * SECOND + 250 * MS;
            let end = begin + 500 * MS;
            assert!(word.pts + 200 * MS >= begin && word.pts < end, "{cadence:?}: {last:?}");
            assert!(word.end.max(end) - word.end.min(end) < 200 * MS, "{cadence:?}: {last:?}");
        }
    }
}

#[test]
fn after_an_error_it_works_again() {
    let (bad, good) = (builder(TEXT).api_key("other").start().unwrap(), server(TEXT));
    let wav = Wav::new("again", 4);
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={wav} ! wavparse ! vllmrealtimeasr name=asr vad=false ! fakesink"
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let asr = pipeline.by_name("asr").unwrap();
    let bus = pipeline.bus().unwrap();
    for state in [gst::State::Ready, gst::State::Null] {
        asr.set_property("url", bad.url());
        // The failure is told on the bus.
        let _ = pipeline.set_state(gst::State::Playing);
        assert!(wait_error(&bus).0.matches(gst::ResourceError::NotAuthorized));
        down(&pipeline, state);
        while bus.pop().is_some() {}
        asr.set_property("url", good.url());
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut words = 0;
        wait_message(&bus, |m| {
            words += usize::from(structure(m, "vllmrealtimeasr/word").is_some());
            assert_ne!(m.type_(), gst::MessageType::Error, "{m:?}");
            (m.type_() == gst::MessageType::Eos).then_some(())
        });
        assert_eq!(words, 9);
        pipeline.set_state(gst::State::Null).unwrap();
        while bus.pop().is_some() {}
    }
}

#[test]
fn what_is_linked_anew_gets_the_stream_from_there_on() {
    let server = server(TEXT);
    let asr = element(&server.url());
    let src = asr.static_pad("src").unwrap();
    let sink = |tell: std::sync::mpsc::Sender<Out>| {
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).build().unwrap();
        sink.set_property("async", false);
        let pad = sink.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::DATA_DOWNSTREAM, move |_, info| {
            let _ = match &info.data {
                Some(gst::PadProbeData::Buffer(b)) => tell.send(Out::Buffer(b.clone())),
                Some(gst::PadProbeData::Event(e)) => tell.send(Out::Event(e.clone())),
                _ => Ok(()),
            };
            gst::PadProbeReturn::Ok
        });
        sink.set_state(gst::State::Playing).unwrap();
        (sink, pad)
    };
    let until = |out: &std::sync::mpsc::Receiver<Out>, last: fn(&Out) -> bool| {
        let next = || out.recv_timeout(DEADLINE).expect("something from the element");
        let mut all = vec![next()];
        while !last(&all[all.len() - 1]) {
            all.push(next());
        }
        all
    };
    let (tell, out) = std::sync::mpsc::channel();
    let (first, pad) = sink(tell);
    src.link(&pad).unwrap();
    let mut harness = gst_check::Harness::with_element(&asr, Some("sink"), None);
    harness.set_live(false);
    harness.play();
    harness.set_src_caps_str(CAPS);
    for n in 0..20 {
        harness.push(audio(100 * n * MS, 100)).unwrap();
    }
    until(&out, |o| o.text().is_some());
    src.unlink(&pad).unwrap();
    let (tell, out) = std::sync::mpsc::channel();
    let (second, pad) = sink(tell);
    src.link(&pad).unwrap();
    for n in 20..40 {
        harness.push(audio(100 * n * MS, 100)).unwrap();
    }
    assert!(harness.push_event(gst::event::Eos::new()));
    let all = until(&out, |o| o.is(gst::EventType::Eos));
    let sticky: Vec<_> = all.iter().filter_map(Out::event).map(|e| e.type_()).take(3).collect();
    use gst::EventType::{Caps, Segment, StreamStart};
    assert_eq!(sticky, [StreamStart, Caps, Segment]);
    assert!(!texts(&all).is_empty());
    for sink in [first, second] {
        sink.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn two_sinks_both_count() {
    let server = server(TEXT);
    let wav = Wav::new("two", 4);
    let messages = run(&format!(
        "filesrc location={wav} ! wavparse ! tee name=t \
         t. ! queue ! fakesink \
         t. ! queue ! vllmrealtimeasr vad=false url={}",
        server.url()
    ))
    .unwrap();
    let words = messages.iter().filter(|m| structure(m, "vllmrealtimeasr/word").is_some());
    assert_eq!(words.count(), 9, "EOS of the pipeline waits for the last word");
}

#[test]
fn an_overlay_that_waits_for_text_is_not_held_up() {
    let server = server("hello");
    let wav = Wav::new("overlay", 5);
    // One word in five seconds: the rest of the picture moves on by GAPs alone.
    let messages = run(&format!(
        "videotestsrc num-buffers=50 ! video/x-raw,width=64,height=48,framerate=10/1 ! \
         textoverlay name=o wait-text=true ! fakesink name=v sync=false \
         filesrc location={wav} ! wavparse ! vllmrealtimeasr vad=false url={} ! o.text_sink",
        server.url()
    ));
    assert!(messages.is_ok(), "{messages:?}");
}

#[test]
fn a_muxer_takes_the_words() {
    let server = server(TEXT);
    let wav = Wav::new("mux", 4);
    run(&format!(
        "matroskamux name=m ! fakesink \
         filesrc location={wav} ! wavparse ! tee name=t \
         t. ! queue max-size-time=0 max-size-buffers=0 max-size-bytes=0 ! m. \
         t. ! queue ! vllmrealtimeasr vad=false url={} ! m.",
        server.url()
    ))
    .unwrap();
}

#[test]
fn an_error_ends_the_pipeline_with_the_elements_own_words() {
    let wav = Wav::new("error", 2);
    let error = run(&format!(
        "filesrc location={wav} ! wavparse ! vllmrealtimeasr url=ws://127.0.0.1:1 reconnect=0 ! \
         fakesink"
    ))
    .unwrap_err();
    assert!(error.contains("ws://127.0.0.1:1"), "{error}");
}

#[test]
fn stopped_in_full_run() {
    let server = builder(TEXT).pace(1.0).start().unwrap();
    init();
    let pipeline = gst::parse::launch(&format!(
        "audiotestsrc samplesperbuffer=1600 ! {CAPS} ! \
         vllmrealtimeasr name=asr vad=false max-backlog=2000 url={} ! fakesink",
        server.url()
    ))
    .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    assert!(server.wait(|log| log.deltas() > 0, DEADLINE));
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(server.wait(|log| log.open() == 0, DEADLINE));
}

#[test]
fn the_peer_learns_that_it_is_linked() {
    // As textoverlay, whose link function tells it that there is text to wait for.
    let element = element("ws://127.0.0.1:1/v1/realtime");
    let linked = Arc::new(AtomicU32::new(0));
    let peer = gst::Pad::builder(gst::PadDirection::Sink)
        .link_function({
            let linked = linked.clone();
            move |_, _, _| {
                linked.fetch_add(1, Ordering::SeqCst);
                Ok(gst::PadLinkSuccess)
            }
        })
        .build();
    element.static_pad("src").unwrap().link(&peer).unwrap();
    assert_eq!(linked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_bin_around_the_element_ends_too() {
    let server = server(TEXT);
    let asr = element(&server.url());
    let pipeline = gst::Pipeline::new();
    let bin = gst::Bin::new();
    let wav = Wav::new("bin", 4);
    let source =
        gst::parse::bin_from_description(&format!("filesrc location={wav} ! wavparse"), true)
            .unwrap();
    bin.add(&asr).unwrap();
    let sink = gst::GhostPad::with_target(&asr.static_pad("sink").unwrap()).unwrap();
    bin.add_pad(&sink).unwrap();
    pipeline.add_many([source.upcast_ref::<gst::Element>(), bin.upcast_ref()]).unwrap();
    source.link(&bin).unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(60 * SECOND, &ends).expect("no end");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    for element in [asr.upcast_ref::<gst::Element>(), bin.upcast_ref(), pipeline.upcast_ref()] {
        assert!(!element.element_flags().contains(gst::ElementFlags::SINK), "{element:?}");
    }
}
