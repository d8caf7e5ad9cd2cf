// SPDX-License-Identifier: MPL-2.0

//! No GStreamer object outlives its use: start, words, flush, errors, lost servers, stop. Under the
//! `leaks` tracer, in a process of its own; `scripts/leaks.sh` runs the same under valgrind.

mod support;

use std::net::TcpListener;
use std::process::Command;

use gst::prelude::*;
use support::*;
use vllm_standin::{Fault, What, When};

/// What the tracer says of the child's objects at its end.
fn alive(child: &str) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--nocapture"])
        .env("CHILD", "1")
        .env("GST_TRACERS", "leaks(check-refs=true)")
        .env("GST_DEBUG", "GST_TRACER:7")
        .env("GST_DEBUG_NO_COLOR", "1")
        .output()
        .unwrap();
    let log = [output.stdout, output.stderr].concat();
    let log = String::from_utf8_lossy(&log);
    assert!(output.status.success(), "{log}");
    // The first lines are the format of the others.
    let is_one = |l: &&str| l.contains("object-alive, type-name=(string)") && !l.contains("%s");
    log.lines().filter(is_one).map(str::to_owned).collect()
}

#[test]
fn nothing_leaks() {
    let alive = alive("child_that_does_everything");
    assert!(alive.is_empty(), "{}", alive.join("\n"));
}

/// The tracer is there, and sees what leaks.
#[test]
fn a_leak_is_seen() {
    let alive = alive("child_that_leaks");
    assert!(alive.iter().any(|l| l.contains("GstVllmRealtimeAsr")), "{}", alive.join("\n"));
}

fn end() {
    // SAFETY: nothing of GStreamer is used after it; the threads of elements have ended.
    unsafe { gst::deinit() };
}

#[test]
#[ignore = "started by a_leak_is_seen"]
fn child_that_leaks() {
    if std::env::var_os("CHILD").is_none() {
        return;
    }
    std::mem::forget(element("ws://127.0.0.1:1"));
    end();
}

#[test]
#[ignore = "started by nothing_leaks, and by scripts/leaks.sh under valgrind"]
fn child_that_does_everything() {
    if std::env::var_os("CHILD").is_none() {
        return;
    }
    start_and_stop();
    words_and_flush();
    lost_and_found();
    errors();
    pipelines();
    end();
}

fn start_and_stop() {
    let server = server("one two three");
    for state in [gst::State::Ready, gst::State::Paused, gst::State::Playing] {
        for _ in 0..3 {
            let element = element(&server.url());
            let _ = element.set_state(state).unwrap();
            element.set_state(gst::State::Null).unwrap();
        }
    }
}

fn words_and_flush() {
    let server = server("one two three four five six");
    let mut rig = Rig::new(element(&server.url()));
    for _ in 0..3 {
        rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
        assert!(rig.harness.push_event(gst::event::FlushStart::new()));
        assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    }
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    rig.until_eos();
    // Stopped in the middle of a generation, with words and events waiting.
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    rig.element.set_state(gst::State::Null).unwrap();
}

fn lost_and_found() {
    let fault = Fault::new(When::Deltas(10), What::Cut).times(2);
    let server = builder("one two three four five six").fault(fault).start().unwrap();
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 3 * SECOND);
    rig.eos();
    rig.until_eos();
}

fn errors() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let element = element(&format!("ws://127.0.0.1:{port}"));
    element.set_property("reconnect", 0);
    let mut rig = Rig::new(element);
    while rig.harness.push(audio(gst::ClockTime::ZERO, 100)).is_ok() {}
    rig.error();
    rig.eos();
    rig.until_eos();
}

/// As an application has it: with a bus that is read, and with one that nobody reads.
fn pipelines() {
    let server = server("one two three");
    let source = format!(
        "audiotestsrc num-buffers=20 samplesperbuffer=1600 ! {CAPS} ! vllmrealtimeasr vad=false url={}",
        server.url()
    );
    run(&format!("{source} ! fakesink")).unwrap();
    run(&source).unwrap();
    run(&source.replace("url=", "model=another url=")).unwrap_err();
    let pipeline = gst::parse::launch(&source).unwrap();
    let _ = pipeline.set_state(gst::State::Playing);
    assert!(server.wait(|log| log.deltas() > 0, DEADLINE));
    pipeline.set_state(gst::State::Null).unwrap();
}
