// SPDX-License-Identifier: MPL-2.0

//! What cannot work ends in an ERROR that says what to do, and never in a hang.

mod support;

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use gst::glib;
use gst::prelude::*;
use support::*;
use vllm_standin::{Builder, Flavour, Standin};

/// Runs audio and EOS into a server, and returns the ERROR.
fn failure(url: &str, set: impl FnOnce(&gst::Element)) -> glib::Error {
    let asr = element(url);
    // Not to be waited for.
    asr.set_property("connect-timeout", 3_600_000_u32);
    set(&asr);
    let mut rig = Rig::new(asr);
    // The error can come at any of them; a file's worth of audio waits for it.
    let flow = (0..).find_map(|n| rig.harness.push(audio(100 * n * MS, 100)).err());
    assert_eq!(flow, Some(gst::FlowError::Error));
    // The user was told before upstream was.
    let message = rig.bus.pop_filtered(&[gst::MessageType::Error]).expect("an ERROR message");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    // EOS still passes, and there is no second ERROR.
    rig.eos();
    rig.until_eos();
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Error]).is_none());
    error.error()
}

fn refused(server: Builder) -> glib::Error {
    let server = server.start().unwrap();
    failure(&server.url(), |_| ())
}

/// An application takes its time with the ERROR: until it is through, nothing tells of the failure.
#[test]
fn nothing_overtakes_the_error() {
    let server = Standin::builder().api_key("right").start().unwrap();
    let mut rig = Rig::new(element(&server.url()));
    let (tell, told) = channel();
    let (go_on, may_go_on) = channel();
    let may_go_on = Mutex::new(may_go_on);
    rig.bus.set_sync_handler(move |_, message| {
        if message.type_() == gst::MessageType::Error {
            tell.send(()).unwrap();
            may_go_on.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
        gst::BusSyncReply::Pass
    });
    told.recv_timeout(DEADLINE).unwrap();
    // No error flow, and no wait.
    rig.sound(gst::ClockTime::ZERO, SECOND);
    rig.eos();
    assert!(rig.ready().iter().all(|o| !o.is(gst::EventType::Eos)));
    go_on.send(()).unwrap();
    rig.until_eos();
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Error]).is_some());
    rig.bus.unset_sync_handler();
}

#[test]
fn no_server() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = failure(&format!("ws://127.0.0.1:{port}/v1/realtime"), |asr| {
        asr.set_property("connect-timeout", 3000_u32);
    });
    assert!(error.matches(gst::ResourceError::OpenReadWrite), "{error}");
    assert!(error.message().contains(&port.to_string()), "{error}");
    assert!(error.message().contains("property url"), "{error}");
}

#[test]
fn no_server_and_no_attempt_more() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = failure(&format!("ws://127.0.0.1:{port}/v1/realtime"), |asr| {
        asr.set_property("reconnect", 0);
    });
    assert!(error.matches(gst::ResourceError::OpenReadWrite), "{error}");
}

#[test]
fn a_server_that_says_nothing() {
    for flavour in
        [Flavour::SilentAfterUpgrade, Flavour::SilentBeforeUpgrade, Flavour::NeverAccepts]
    {
        let server = Standin::builder().flavour(flavour).start().unwrap();
        let error = failure(&server.url(), |asr| asr.set_property("connect-timeout", 200_u32));
        let fits = error.matches(gst::ResourceError::Read)
            || error.matches(gst::ResourceError::OpenReadWrite);
        assert!(fits, "{flavour:?}: {error}");
        assert!(error.message().contains("connect-timeout"), "{flavour:?}: {error}");
    }
}

#[test]
fn a_wrong_key() {
    let error = refused(Standin::builder().api_key("right"));
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{error}");
    assert!(error.message().contains("api-key"), "{error}");
    let error = refused(Standin::builder().refuse(401));
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{error}");
}

#[test]
fn no_such_route() {
    for status in [403, 404] {
        let error = refused(Standin::builder().refuse(status).models_status(status));
        let fits = error.matches(gst::ResourceError::NotFound)
            || error.matches(gst::ResourceError::NotAuthorized);
        assert!(fits, "{status}: {error}");
        assert!(error.message().contains(&status.to_string()), "{error}");
    }
}

/// 9.11: a server that answers beside the route says what it serves.
#[test]
fn no_such_route_though_a_model_is_served() {
    for status in [403, 404] {
        let server = Standin::builder().model("qwen3-0.6b").refuse(status).start().unwrap();
        let error = failure(&server.url(), |_| ());
        assert!(error.matches(gst::ResourceError::NotFound), "{error}");
        for hint in ["serves qwen3-0.6b", "not a realtime model", "Rust front end"] {
            assert!(error.message().contains(hint), "{error}");
        }
        // Only the path is wrong.
        let elsewhere = server.url().replace("/v1/realtime", "/realtime");
        let error = failure(&elsewhere, |_| ());
        for hint in ["serves qwen3-0.6b", "/v1/realtime"] {
            assert!(error.message().contains(hint), "{error}");
        }
    }
}

#[test]
fn no_such_model() {
    let server = server("hello");
    let error = failure(&server.url(), |asr| asr.set_property("model", "nobody/knows-it"));
    assert!(error.matches(gst::ResourceError::NotFound), "{error}");
    assert!(error.message().contains("nobody/knows-it"), "{error}");
    assert!(error.message().contains("model"), "{error}");
}

#[test]
fn another_protocol() {
    let error = refused(Standin::builder().flavour(Flavour::OpenAi));
    assert!(error.matches(gst::StreamError::WrongType), "{error}");
}

#[test]
fn settings_that_cannot_work_are_named() {
    for (set, names) in [
        (("url", "http://h/v1/realtime"), ["url", "http://h/v1/realtime"]),
        (("url", "ws://a,nonsense"), ["url", "nonsense"]),
        (("api-key", "sekrit\r\nX: y"), ["api-key", "control character"]),
    ] {
        let asr = element("ws://127.0.0.1:1");
        asr.set_property(set.0, set.1);
        let bus = gst::Bus::new();
        asr.set_bus(Some(&bus));
        asr.set_state(gst::State::Ready).unwrap();
        assert!(asr.set_state(gst::State::Paused).is_err());
        let (error, debug) = wait_error(&bus);
        assert!(error.matches(gst::ResourceError::Settings), "{error}");
        for name in names {
            assert!(error.message().contains(name), "{error}");
        }
        assert!(!error.message().contains("sekrit") && !debug.contains("sekrit"));
        // It can be mended.
        asr.set_property("url", "ws://127.0.0.1:1");
        asr.set_property("api-key", "fine");
        asr.set_state(gst::State::Paused).unwrap();
        asr.set_state(gst::State::Null).unwrap();
        asr.set_bus(None);
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let asr = element("wss://127.0.0.1:1");
    asr.set_property("ca-certificate", "/nowhere/ca.pem");
    let bus = gst::Bus::new();
    asr.set_bus(Some(&bus));
    assert!(asr.set_state(gst::State::Paused).is_err());
    let (error, _) = wait_error(&bus);
    assert!(error.matches(gst::ResourceError::Settings), "{error}");
    assert!(error.message().contains("ca-certificate"), "{error}");
    assert!(error.message().contains("/nowhere/ca.pem"), "{error}");
    asr.set_state(gst::State::Null).unwrap();
    asr.set_bus(None);
}

#[test]
fn the_right_key_opens_and_shows_nowhere() {
    let server = builder("hello").api_key("sekrit").start().unwrap();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    init();
    gst::log::set_threshold_for_name("vllmrealtimeasr", gst::DebugLevel::Memdump);
    let logger = gst::log::add_log_function({
        let seen = seen.clone();
        move |_, _, _, _, _, _, message| {
            let mut seen = seen.lock().unwrap();
            seen.push_str(message.get().as_deref().unwrap_or_default());
            seen.push('\n');
        }
    });
    let asr = element(&server.url());
    asr.set_property("api-key", "sekrit");
    let pipeline = gst::Pipeline::new();
    pipeline.add(&asr).unwrap();
    let dot = pipeline.debug_to_dot_data(gst::DebugGraphDetails::all());
    assert!(dot.contains("vllmrealtimeasr") && !dot.contains("sekrit"));
    pipeline.remove(&asr).unwrap();
    let mut rig = Rig::new(asr);
    rig.sound(gst::ClockTime::ZERO, SECOND);
    rig.eos();
    assert_eq!(words(&rig.until_eos()), ["hello"]);
    while let Some(message) = rig.bus.pop() {
        assert!(!format!("{message:?}").contains("sekrit"));
    }
    drop(rig);
    gst::log::remove_log_function(logger);
    let seen = seen.lock().unwrap();
    assert!(seen.contains("Starting with"), "the log was not seen");
    assert!(!seen.contains("sekrit"));
}

#[test]
fn audio_before_any_segment_is_an_error() {
    let asr = element("ws://127.0.0.1:1");
    let bus = gst::Bus::new();
    asr.set_bus(Some(&bus));
    asr.set_state(gst::State::Playing).unwrap();
    let pad = gst::Pad::new(gst::PadDirection::Src);
    pad.link(&asr.static_pad("sink").unwrap()).unwrap();
    pad.set_active(true).unwrap();
    assert!(pad.push_event(gst::event::StreamStart::new("s")));
    let caps = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, 16_000, 1);
    let caps = caps.build().unwrap().to_caps().unwrap();
    assert!(pad.push_event(gst::event::Caps::new(&caps)));
    let sink = asr.static_pad("sink").unwrap();
    assert_eq!(sink.chain(audio(gst::ClockTime::ZERO, 10)), Err(gst::FlowError::Error));
    assert!(wait_error(&bus).0.matches(gst::StreamError::Format));
    asr.set_state(gst::State::Null).unwrap();
    asr.set_bus(None);
}
