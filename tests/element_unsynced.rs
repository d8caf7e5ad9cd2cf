// SPDX-License-Identifier: MPL-2.0

//! What does not wait for its time: `latency` of -1, pad `unsynced_src`; and what may change while
//! playing: `model`, `language-code`, signal `clear`.

#[path = "support/launch.rs"]
mod launch;
mod support;

use std::sync::mpsc::{Receiver, channel};

use gst::prelude::*;
use support::*;
use vllm_standin::Cadence;

const ZERO: gst::ClockTime = gst::ClockTime::ZERO;
const NOT_SYNCHRONISED: u32 = u32::MAX;
const CAPS_QUOTED: &str = "audio/x-raw,format=S16LE,rate=16000,channels=1,layout=interleaved";

/// A rig under a test clock, at this running time.
fn at(asr: gst::Element, live: bool, time: gst::ClockTime) -> Rig {
    asr.set_property("latency", NOT_SYNCHRONISED);
    let mut rig = Rig::bare(asr);
    rig.harness.use_testclock();
    rig.harness.set_live(live);
    rig.harness.play();
    rig.harness.set_time(time).unwrap();
    rig.harness.set_src_caps_str(CAPS);
    rig
}

fn latency(element: &gst::Element, pad: &str) -> (bool, gst::ClockTime, Option<gst::ClockTime>) {
    let mut query = gst::query::Latency::new();
    assert!(element.static_pad(pad).unwrap().query(&mut query), "{pad}");
    query.result()
}

#[test]
fn words_are_stamped_with_the_time_at_which_they_are_known() {
    for cadence in [Cadence::Frames, Cadence::Segments, Cadence::Utterance] {
        let server = builder("hello big world").cadence(cadence).start().unwrap();
        let mut rig = at(element(&server.url()), cadence == Cadence::Frames, 500 * SECOND);
        rig.sound(ZERO, 2 * SECOND);
        rig.eos();
        let out = rig.until_eos();
        let texts = texts(&out);
        let all: Vec<&str> = texts.iter().flat_map(|t| t.text.split(' ')).collect();
        assert_eq!(all, ["hello", "big", "world"], "{cadence:?}");
        // However fast they come.
        assert!(texts.iter().all(|t| t.pts == 500 * SECOND), "{texts:?}");
        let segment = out.iter().filter_map(Out::event).find_map(|e| match e.view() {
            gst::EventView::Segment(s) => Some(s.segment().clone()),
            _ => None,
        });
        let segment = segment.unwrap().downcast::<gst::ClockTime>().unwrap();
        assert_eq!(segment.to_running_time(texts[0].pts), Some(500 * SECOND));
        // Times on the bus are those of the stream.
        let words = rig.messages("vllmrealtimeasr/word");
        let start = words[0].get::<gst::ClockTime>("start-time").unwrap();
        assert!(start < 2 * SECOND, "{start}");
        let stats = rig.element.property::<gst::Structure>("stats");
        assert_eq!(stats.get::<u64>("late-words").unwrap(), 0);
    }
}

#[test]
fn a_gap_each_50_ms_and_no_warning() {
    let server = server("hello");
    let mut rig = at(element(&server.url()), true, ZERO);
    rig.sound(ZERO, 2 * SECOND);
    let word = rig.until(|o| o.text().is_some());
    let end = word.last().and_then(Out::text).unwrap().end;
    for _ in 0..100 {
        rig.harness.crank_single_clock_wait().unwrap();
    }
    let out = rig.until(|o| gaps(std::slice::from_ref(o)).iter().any(|g| g.1 >= end + 4 * SECOND));
    let gaps = gaps(&out);
    assert_eq!(gaps[0].0, end);
    for pair in gaps.windows(2) {
        assert_eq!(pair[0].1, pair[1].0);
    }
    assert!(gaps.iter().all(|g| g.1 - g.0 == 50 * MS), "{gaps:?}");
    // Words of long ago, as the clock has it: nobody waits for them.
    rig.sound(2 * SECOND, SECOND);
    rig.eos();
    rig.until_eos();
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Warning]).is_none());
}

#[test]
fn it_is_live_and_adds_nothing() {
    let asr = element("ws://127.0.0.1:1");
    asr.set_property("latency", NOT_SYNCHRONISED);
    for pad in ["src", "unsynced_src"] {
        assert_eq!(latency(&asr, pad), (true, ZERO, None), "{pad}, in NULL");
    }
    use gst::StateChangeSuccess::{NoPreroll, Success};
    for (state, answer) in [
        (gst::State::Ready, Success),
        (gst::State::Paused, NoPreroll),
        (gst::State::Playing, Success),
        (gst::State::Paused, NoPreroll),
        (gst::State::Null, Success),
    ] {
        assert_eq!(asr.set_state(state), Ok(answer), "{state:?}");
    }
    let mut rig = at(asr, true, ZERO);
    rig.harness.set_upstream_latency(50 * MS);
    for pad in ["src", "unsynced_src"] {
        assert_eq!(latency(&rig.element, pad), (true, 50 * MS, None), "{pad}");
    }
    // What it was when it started counts.
    rig.element.set_property("latency", 1000_u32);
    assert_eq!(latency(&rig.element, "src"), (true, 50 * MS, None));
    rig.element.set_state(gst::State::Ready).unwrap();
    rig.element.set_state(gst::State::Paused).unwrap();
    assert_eq!(latency(&rig.element, "src").1, 1050 * MS);
    rig.element.set_property("latency", NOT_SYNCHRONISED);
    assert_eq!(latency(&rig.element, "src").1, 3050 * MS);
}

/// A pad behind `unsynced_src`; what comes there.
fn listen(asr: &gst::Element) -> (gst::Pad, Receiver<Out>) {
    let (pad, heard) = sink_pad();
    asr.static_pad("unsynced_src").unwrap().link(&pad).unwrap();
    (pad, heard)
}

fn next(heard: &Receiver<Out>) -> Out {
    heard.recv_timeout(DEADLINE).expect("something from the pad")
}

/// The events of the server up to EOS, by their types.
fn events(heard: &Receiver<Out>) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    loop {
        let out = next(heard);
        if let Some(json) = out_json(&out) {
            all.push(json);
        } else if out.is(gst::EventType::Eos) {
            return all;
        }
    }
}

fn out_json(out: &Out) -> Option<serde_json::Value> {
    let Out::Buffer(buffer) = out else { return None };
    assert_eq!(buffer.pts(), Some(7 * SECOND), "{buffer:?}");
    Some(serde_json::from_slice(&buffer.map_readable().unwrap()).unwrap())
}

fn types(events: &[serde_json::Value]) -> Vec<&str> {
    events.iter().map(|e| e["type"].as_str().unwrap()).collect()
}

#[test]
fn the_events_of_the_server_come_as_they_are() {
    let server = server("hello big world");
    let asr = element(&server.url());
    let mut rig = Rig::bare(asr);
    let (_pad, heard) = listen(&rig.element);
    rig.harness.use_testclock();
    rig.harness.play();
    rig.harness.set_time(7 * SECOND).unwrap();
    rig.harness.set_src_caps_str(CAPS);
    for type_ in [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Segment] {
        assert!(next(&heard).is(type_), "{type_:?}");
    }
    assert!(next(&heard).is(gst::EventType::Gap), "whatever prerolls has something");
    rig.sound(ZERO, 2 * SECOND);
    rig.eos();
    let events = events(&heard);
    let types = types(&events);
    assert_eq!(types[0], "session.created");
    assert_eq!(types.last(), Some(&"transcription.done"));
    let text: String =
        events.iter().filter_map(|e| e["delta"].as_str()).collect::<Vec<_>>().concat();
    assert_eq!(text.trim(), "hello big world");
    assert_eq!(words(&rig.until_eos()), ["hello", "big", "world"]);
    // Begins anew behind a flush.
    assert!(rig.harness.push_event(gst::event::FlushStart::new()));
    assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    rig.sound(ZERO, 2 * SECOND);
    rig.eos();
    let again = self::events(&heard);
    assert_eq!(self::types(&again).last(), Some(&"transcription.done"));
}

/// The next stream begins behind the end of the one before it, though its audio comes sooner.
#[test]
fn each_stream_has_its_events() {
    let server = builder("hello").cadence(Cadence::Utterance).start().unwrap();
    let mut rig = Rig::bare(element(&server.url()));
    let (_pad, heard) = listen(&rig.element);
    rig.harness.use_testclock();
    rig.harness.play();
    rig.harness.set_time(7 * SECOND).unwrap();
    rig.harness.set_src_caps_str(CAPS);
    for n in 0..2 {
        if n > 0 {
            assert!(rig.harness.push_event(gst::event::StreamStart::new("next")));
            assert!(rig.harness.push_event(gst::event::Caps::new(&CAPS.parse().unwrap())));
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
        }
        rig.sound(ZERO, 2 * SECOND);
        rig.eos();
    }
    for _ in 0..2 {
        for type_ in [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Segment] {
            assert!(next(&heard).is(type_), "{type_:?}");
        }
        assert_eq!(types(&events(&heard)).last(), Some(&"transcription.done"));
    }
}

/// Outside of PLAYING the clock and base time are those of the run before.
#[test]
fn no_time_is_taken_from_the_run_before() {
    let server = server("hello big world");
    init();
    let pipeline = gst::Pipeline::new();
    let asr = element(&server.url());
    asr.set_property("latency", NOT_SYNCHRONISED);
    let source = gst::ElementFactory::make("appsrc").build().unwrap();
    source.set_property("caps", CAPS.parse::<gst::Caps>().unwrap());
    source.set_property_from_str("format", "time");
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).build().unwrap();
    pipeline.add_many([&source, &asr, &sink]).unwrap();
    gst::Element::link_many([&source, &asr, &sink]).unwrap();
    let (_pad, heard) = listen(&asr);
    let clock = gst_check::TestClock::new();
    pipeline.use_clock(Some(&clock));
    let run = |time: gst::ClockTime| {
        // Words come in PAUSED, too.
        pipeline.set_state(gst::State::Paused).unwrap();
        for n in 0..20 {
            let _: gst::FlowReturn =
                source.emit_by_name("push-buffer", &[&audio(n * 100 * MS, 100)]);
        }
        while !next(&heard).is(gst::EventType::Segment) {}
        pipeline.set_state(gst::State::Playing).unwrap();
        clock.set_time(clock.time() + time);
        let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
        let mut latest = ZERO;
        loop {
            let out = next(&heard);
            match &out {
                Out::Buffer(buffer) => latest = latest.max(buffer.pts().unwrap_or_default()),
                out if out.is(gst::EventType::Eos) => break,
                Out::Event(_) => {}
            }
        }
        let bus = pipeline.bus().unwrap();
        wait_message(&bus, |m| matches!(m.view(), gst::MessageView::Eos(_)).then_some(()));
        pipeline.set_state(gst::State::Ready).unwrap();
        latest
    };
    assert!(run(3600 * SECOND) <= 3600 * SECOND);
    assert!(run(SECOND) <= SECOND);
    pipeline.set_state(gst::State::Null).unwrap();
}

/// `commit` while audio is on its way to the session, which waits for room.
#[test]
fn an_application_ends_utterances_at_any_moment() {
    let server = builder("hello").cadence(Cadence::Utterance).pace(200.0).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("max-backlog", 2000_u32);
    let mut rig = Rig::new(asr);
    let element = rig.element.clone();
    let (stop, stopped) = channel::<()>();
    let committer = std::thread::spawn(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            element.emit_by_name::<()>("commit", &[]);
            std::thread::yield_now();
        }
    });
    for n in 0..10 {
        rig.harness.push(audio(n * 2 * SECOND, 2000)).unwrap();
    }
    drop(stop);
    committer.join().unwrap();
    rig.eos();
    rig.until_eos();
    let stats = rig.element.property::<gst::Structure>("stats");
    let count = |name| stats.get::<u64>(name).unwrap();
    assert_eq!((count("samples-in"), count("samples-dropped")), (320_000, 0), "{stats}");
    assert_eq!(count("samples-unconfirmed"), 0, "{stats}");
}

/// Of a model: the language that the server told stays.
#[test]
fn another_model_changes_no_language() {
    let server = builder("bonjour").cadence(Cadence::Segments).language("French").start().unwrap();
    let asr = element(&server.url());
    asr.set_property("language-code", "en");
    let mut rig = Rig::new(asr);
    rig.sound(ZERO, 6 * SECOND);
    let french = |o: &Out| {
        matches!(o.event().map(|e| e.view()), Some(gst::EventView::Tag(t))
        if t.tag().get::<gst::tags::LanguageCode>().is_some_and(|c| c.get() == "fr"))
    };
    rig.until(french);
    rig.element.set_property("model", "standin");
    rig.sound(6 * SECOND, SECOND);
    rig.eos();
    let tags = rig.until_eos().iter().filter(|o| o.is(gst::EventType::Tag)).count();
    assert_eq!(tags, 0);
}

/// The last words are refused, and EOS behind them goes through.
#[test]
fn an_end_comes_though_the_words_before_it_are_refused() {
    init();
    let server =
        builder("one two three four five six").cadence(Cadence::Utterance).start().unwrap();

    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time caps={CAPS_QUOTED} ! vllmrealtimeasr vad=false url={} ! \
         fakesink num-buffers=3",
        server.url()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let source = pipeline.by_name("in").unwrap();
    for n in 0..30 {
        let _: gst::FlowReturn = source.emit_by_name("push-buffer", &[&audio(n * 100 * MS, 100)]);
    }
    let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    wait_message(&bus, |m| matches!(m.view(), gst::MessageView::Eos(_)).then_some(()));
    pipeline.set_state(gst::State::Null).unwrap();
}

/// It is linked, and only there, while the element runs.
#[test]
fn whoever_comes_later_hears_what_comes_then() {
    let server = server("hello big world");
    let mut rig = Rig::bare(element(&server.url()));
    rig.harness.use_testclock();
    rig.harness.play();
    rig.harness.set_time(7 * SECOND).unwrap();
    rig.harness.set_src_caps_str(CAPS);
    rig.sound(ZERO, 2 * SECOND);
    rig.until(|o| o.text().is_some());
    let (pad, heard) = listen(&rig.element);
    rig.eos();
    assert_eq!(types(&events(&heard)).last(), Some(&"transcription.done"));
    rig.until_eos();
    rig.element.static_pad("unsynced_src").unwrap().unlink(&pad).unwrap();
}

/// Whoever takes no events holds up no word, and the element stops all the same.
#[test]
fn who_takes_no_events_holds_up_nothing() {
    let server = server("hello big world");
    let asr = element(&server.url());
    let mut rig = Rig::bare(asr);
    let (block, blocked) = channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .chain_function(move |_, _, _| {
            let _ = blocked.lock().unwrap().recv();
            Err(gst::FlowError::Error)
        })
        .build();
    pad.set_active(true).unwrap();
    rig.element.static_pad("unsynced_src").unwrap().link(&pad).unwrap();
    rig.harness.play();
    rig.harness.set_src_caps_str(CAPS);
    rig.sound(ZERO, 2 * SECOND);
    rig.eos();
    assert_eq!(words(&rig.until_eos()), ["hello", "big", "world"]);
    drop(block);
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Error]).is_none());
}

#[test]
fn no_secret_is_in_the_events() {
    // As they are, and as JSON has to write them.
    for key in ["sesame-open-9f2c", r#"ses"ame\open"#] {
        let server = builder(&format!("hello {key} world")).api_key(key).start().unwrap();
        let asr = element(&server.url());
        asr.set_property("api-key", key);
        let mut rig = Rig::bare(asr);
        let (_pad, heard) = listen(&rig.element);
        rig.harness.use_testclock();
        rig.harness.play();
        rig.harness.set_time(7 * SECOND).unwrap();
        rig.harness.set_src_caps_str(CAPS);
        rig.sound(ZERO, 2 * SECOND);
        rig.eos();
        let events = events(&heard);
        assert_eq!(events.last().unwrap()["text"].as_str().unwrap().trim(), "hello *** world");
    }
}

#[test]
fn what_is_cleared_has_no_words() {
    let server = builder("hello big world").cadence(Cadence::Utterance).start().unwrap();
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    rig.element.emit_by_name::<()>("clear", &[]);
    // EOS waits for nothing.
    let stats = |rig: &Rig| rig.element.property::<gst::Structure>("stats");
    rig.eos();
    assert!(words(&rig.until_eos()).is_empty());
    assert_eq!(stats(&rig).get::<u64>("samples-flushed").unwrap(), 32_000);
    // The next stream has words, at its own times.
    assert!(rig.harness.push_event(gst::event::StreamStart::new("next")));
    assert!(rig.harness.push_event(gst::event::Caps::new(&CAPS.parse().unwrap())));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    rig.sound(ZERO, 2 * SECOND);
    rig.eos();
    let texts = texts(&rig.until_eos());
    assert_eq!(texts.len(), 3);
    assert!(texts[0].discont && texts[0].pts < 2 * SECOND, "{texts:?}");
}

#[test]
fn clear_with_nothing_to_clear() {
    let asr = element("ws://127.0.0.1:1");
    asr.emit_by_name::<()>("clear", &[]);
    asr.set_state(gst::State::Paused).unwrap();
    asr.emit_by_name::<()>("clear", &[]);
    asr.set_state(gst::State::Null).unwrap();
    asr.emit_by_name::<()>("clear", &[]);
}

/// An event that waits for words does not wait for those that are cleared.
#[test]
fn events_pass_what_is_cleared() {
    let server = builder("hello").cadence(Cadence::Utterance).start().unwrap();
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    let mark = gst::Structure::new_empty("mark");
    assert!(rig.harness.push_event(gst::event::CustomDownstream::new(mark)));
    rig.element.emit_by_name::<()>("clear", &[]);
    rig.until(|o| o.event().and_then(|e| e.structure()).is_some_and(|s| s.has_name("mark")));
}

#[test]
fn a_model_that_is_not_there_is_an_error_behind_the_words_so_far() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    let gap = |at| gst::event::Gap::builder(at).duration(2 * SECOND).build();
    assert!(rig.harness.push_event(gap(2 * SECOND)));
    let out = rig.until(|o| o.text().is_some_and(|t| t.text == "world"));
    assert_eq!(words(&out), ["hello", "big", "world"]);
    rig.element.set_property("model", "wrong");
    let _ = rig.harness.push(audio(4 * SECOND, 1000));
    let (error, _) = rig.error();
    assert!(error.message().contains("property model") && error.message().contains("wrong"));
}

#[test]
fn another_model_and_language_from_the_next_utterance_on() {
    let server = server("hello big world");
    let asr = element(&server.url());
    asr.set_property("language-code", "en-GB");
    let mut rig = Rig::new(asr);
    rig.sound(ZERO, 2 * SECOND);
    rig.element.set_property("model", "standin");
    rig.element.set_property("language-code", "de");
    rig.sound(2 * SECOND, SECOND);
    // The utterance ends, and another one begins.
    assert!(
        rig.harness.push_event(gst::event::Gap::builder(3 * SECOND).duration(2 * SECOND).build())
    );
    rig.sound(5 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).len(), 6, "{out:?}");
    let log = server.log();
    let models: Vec<&str> =
        log.connections.iter().flat_map(|c| c.models.iter().map(String::as_str)).collect();
    assert_eq!(models, ["", "standin"]);
    assert_eq!(log.connections.len(), 1, "on the connection that there is");
    drop(log);
    let languages: Vec<String> = out
        .iter()
        .filter_map(|o| match o.event()?.view() {
            gst::EventView::Tag(tag) => {
                Some(tag.tag().get::<gst::tags::LanguageCode>()?.get().into())
            }
            _ => None,
        })
        .collect();
    assert_eq!(languages, ["en", "de"]);
    let language = |u: &gst::Structure| u.get::<String>("language").unwrap();
    let utterances: Vec<String> =
        rig.messages("vllmrealtimeasr/utterance").iter().map(language).collect();
    assert_eq!(utterances, ["en-GB", "de"]);
}

/// A player: behind a flushing seek the running time begins anew, once the sinks have prerolled.
#[test]
fn a_seek_sets_the_times_back() {
    init();
    let server = server("hello big world");
    let wav = launch::Wav::new("seek", 2);
    for latency in ["4294967295", "3000"] {
        let pipeline = gst::parse::launch(&format!(
            "filesrc location={wav} ! wavparse ! vllmrealtimeasr name=asr vad=false url={} \
             latency={latency} ! fakesink name=text sync=true",
            server.url()
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let asr = pipeline.by_name("asr").unwrap();
        let (_pad, heard) = listen(&asr);
        let (tell, texts) = channel();
        let sink = pipeline.by_name("text").unwrap().static_pad("sink").unwrap();
        sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let _ = tell.send(info.buffer().unwrap().pts().unwrap());
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let bus = pipeline.bus().unwrap();
        let prerolled = || {
            wait_message(&bus, |m| match m.view() {
                gst::MessageView::AsyncDone(_) => Some(()),
                gst::MessageView::Error(e) => panic!("{e:?}"),
                _ => None,
            });
        };
        prerolled();
        while !next(&heard).is(gst::EventType::Eos) {}
        let end = std::time::Instant::now() + DEADLINE;
        while pipeline.current_running_time() < Some(2 * SECOND) {
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }
        while texts.try_recv().is_ok() {}
        let seek = gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
            gst::SeekType::Set,
            ZERO,
            gst::SeekType::Set,
            gst::ClockTime::NONE,
        );
        assert!(pipeline.send_event(seek));
        prerolled();
        assert!(texts.recv_timeout(DEADLINE).unwrap() < 1500 * MS, "{latency}");
        loop {
            match next(&heard) {
                Out::Buffer(b) => assert!(b.pts().is_none_or(|t| t < 1500 * MS), "{b:?}"),
                out if out.is(gst::EventType::Eos) => break,
                Out::Event(_) => {}
            }
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
