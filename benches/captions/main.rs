// SPDX-License-Identifier: MPL-2.0

//! Live captions on a picture, as a viewer sees them: `vllmcaptionoverlay` between a live picture of 30
//! frames a second and a sink that shows each frame at its time.
//!
//! `--minutes N`: length of the first run (2). The others take 40 s each: the server is killed for 10 s,
//! the sender stops for 10 s, the server works at half the speed of speech. Last, what the overlay costs.

#[path = "../report/mod.rs"]
#[allow(dead_code)]
mod report;
#[path = "../../tests/chaos/speech.rs"]
mod speech;

mod cost;
mod seen;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gst::prelude::*;
use report::{Goal, Report};
use seen::Seen;
use speech::Speech;
use vllm_standin::Standin;

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Weather {
    Calm,
    ServerKilled,
    SenderStops,
    HalfSpeed,
}

/// When something happens, and for how long.
const AT: Duration = Duration::from_secs(15);
const FOR: Duration = Duration::from_secs(10);

/// Pauses between readings, in s.
const PAUSES: [f64; 10] = [0.2, 1.2, 0.5, 3.0, 2.0, 8.0, 0.7, 1.8, 2.6, 60.0];

fn run(speech: &Speech, weather: Weather) -> Result<Seen, String> {
    let pace = if weather == Weather::HalfSpeed { 0.5 } else { 2.5 };
    let voice = Standin::builder().aligned(speech.voice()).pace(pace);
    let mut server = voice.start().map_err(|e| e.to_string())?;
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time is-live=true min-latency=20000000 \
         caps=audio/x-raw,format=S16LE,rate=16000,channels=1,layout=interleaved ! c.audio_sink \
         videotestsrc is-live=true pattern=black \
         ! video/x-raw,format=GRAY8,width=640,height=360,framerate=30/1 ! c.video_sink \
         vllmcaptionoverlay name=c url={} ! fakesink name=v sync=true",
        server.url()
    ))
    .map_err(|e| e.to_string())?
    .downcast::<gst::Pipeline>()
    .map_err(|_| "no pipeline")?;
    let bus = pipeline.bus().ok_or("no bus")?;
    let watch = seen::watch(&pipeline).ok_or("no pads")?;
    pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
    let source = pipeline.by_name("in").ok_or("no source")?;
    let began = Instant::now();
    let (mut killed, mut back) = (false, false);
    for (n, samples) in speech.samples.chunks(320).enumerate() {
        let at = Duration::from_millis(20 * n as u64);
        sleep((began + at).saturating_duration_since(Instant::now()));
        match bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Latency]) {
            Some(message) if message.type_() == gst::MessageType::Error => {
                return Err(format!("{message:?}"));
            }
            // As an application does.
            Some(_) => drop(pipeline.recalculate_latency()),
            None => {}
        }
        if weather == Weather::ServerKilled {
            if !killed && at >= AT {
                server.stop();
                killed = true;
            }
            if killed && !back && at >= AT + FOR {
                server.restart().map_err(|e| e.to_string())?;
                back = true;
            }
        }
        if weather == Weather::SenderStops && at >= AT && at < AT + FOR {
            continue;
        }
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_mseconds(20 * n as u64));
        }
        let _: gst::FlowReturn = source.emit_by_name("push-buffer", &[&buffer]);
    }
    // What was said last is shown.
    sleep(Duration::from_secs(4));
    let _ = pipeline.set_state(gst::State::Null);
    Ok(watch.take())
}

fn main() -> Result<ExitCode, String> {
    gst::init().map_err(|e| e.to_string())?;
    gstvllmrealtime::plugin_register_static().map_err(|e| e.to_string())?;
    let mut arguments = std::env::args().skip_while(|a| a != "--minutes").skip(1);
    let minutes = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(2);
    let mut report = Report::new("captions");
    for (name, weather, seconds) in [
        ("calm", Weather::Calm, minutes * 60),
        ("server-killed", Weather::ServerKilled, 40),
        ("sender-stops", Weather::SenderStops, 40),
        ("half-speed", Weather::HalfSpeed, 40),
    ] {
        let speech = Speech::paused(seconds, &PAUSES);
        let seen = run(&speech, weather)?;
        let figure = |what: &str| format!("{name}/{what}");
        let late = seen.late();
        report.figure(&figure("frames"), seen.frames.len() as f64, "", Goal::None);
        report.figure(&figure("frames-late"), late.len() as f64, "", Goal::AtMost(0.0));
        let most = late.iter().max().map_or(0.0, |l| l.as_secs_f64() * 1000.0);
        report.figure(&figure("latest-frame"), most, "ms", Goal::None);
        report.figure(
            &figure("longest-standstill"),
            seen.longest_wait(),
            "ms",
            Goal::AtMost(200.0),
        );
        if weather != Weather::Calm {
            continue;
        }
        report.figure(&figure("frames-blank"), seen.blank() as f64, "", Goal::AtMost(0.0));
        report.figure(&figure("frames-moved"), seen.moved() as f64, "", Goal::AtMost(0.0));
        let words = seen.words(&speech.words);
        report.figure(&figure("words"), speech.words.len() as f64, "", Goal::None);
        report.figure(&figure("words-missing"), words.missing as f64, "", Goal::AtMost(0.0));
        report.figure(&figure("word-off/median"), words.median, "ms", Goal::AtMost(100.0));
        report.figure(&figure("word-off/most"), words.most, "ms", Goal::AtMost(2000.0));
    }
    for (name, ms) in cost::of_overlay()? {
        report.figure(&format!("cpu-a-minute-1080p/{name}"), ms, "ms", Goal::None);
    }
    report.finish().map_err(|e| e.to_string())
}
