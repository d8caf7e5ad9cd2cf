// SPDX-License-Identifier: MPL-2.0

//! What does not wait for its time: `latency` of -1, pad `unsynced_src`; and what may change while
//! playing: `model`, `language-code`, signal `clear`.

mod support;

use std::sync::mpsc::{Receiver, channel};

use gst::prelude::*;
use support::*;
use vllm_standin::Cadence;

const ZERO: gst::ClockTime = gst::ClockTime::ZERO;
const NOT_SYNCHRONISED: u32 = u32::MAX;

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
        // Forward only, none before its time, and no more ahead than the words before it last.
        let mut end = 500 * SECOND;
        for text in &texts {
            assert_eq!(text.pts, end, "{texts:?}");
            end = text.end;
        }
        assert!(end < 503 * SECOND);
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
    let (tell, heard) = channel();
    let events = tell.clone();
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .chain_function(move |_, _, buffer| {
            let _ = tell.send(Out::Buffer(buffer));
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| events.send(Out::Event(event)).is_ok())
        .build();
    pad.set_active(true).unwrap();
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
    let key = "sesame-open-9f2c";
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
    let done = events.last().unwrap().to_string();
    assert!(done.contains("hello *** world"), "{done}");
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
