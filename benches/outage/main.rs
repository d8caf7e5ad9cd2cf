// SPDX-License-Identifier: MPL-2.0

//! How long captions stay behind after an outage: live speech, a synchronised sink, and a server
//! that is stopped for 25 s. When it is back it works through 20 s of audio in a second, or 2 s, and
//! then it alone sets the pace.
//!
//! With `BENCH_PLUGIN=FILE` in the environment another build of the plugin is measured.

#[path = "../report/mod.rs"]
#[allow(dead_code)]
mod report;
#[path = "../../tests/chaos/speech.rs"]
mod speech;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use gst::prelude::*;
use report::{Goal, Report};
use speech::Speech;
use vllm_standin::{Cadence, Standin};

/// Length of the speech, in s; when the server stops, and for how long.
const LENGTH: usize = 80;
const STOPS_AT: Duration = Duration::from_secs(15);
const AWAY: Duration = Duration::from_secs(25);

/// Seconds of audio that the server works through in a second; and one that takes as long again as
/// it was away.
const PACE: f64 = 20.0;
const SLOW: f64 = 2.0;

/// A buffer that is moved by no more is in time.
const IN_TIME: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// What came out of one run.
#[derive(Default)]
struct Heard {
    /// When a buffer was pushed that was late, and by how much.
    late: Vec<(Instant, gst::ClockTime)>,
    /// Words as messages have them, and when they were spoken.
    words: Vec<(gst::ClockTime, String)>,
    /// What buffers have shown.
    text: String,
    warnings: usize,
}

fn run(
    speech: &Speech,
    cadence: Cadence,
    latency: u32,
    pace: f64,
) -> Result<(Heard, Duration, Instant), String> {
    let voice = Standin::builder().aligned(speech.voice()).cadence(cadence).pace(pace);
    let mut server = voice.start().map_err(|e| e.to_string())?;
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time is-live=true min-latency=20000000 \
         caps=audio/x-raw,format=S16LE,rate=16000,channels=1,layout=interleaved \
         ! vllmrealtimeasr name=asr url={} latency={latency} ! fakesink sync=true",
        server.url()
    ))
    .map_err(|e| e.to_string())?
    .downcast::<gst::Pipeline>()
    .map_err(|_| "no pipeline")?;
    let heard: Arc<Mutex<Heard>> = Arc::default();
    let bus = pipeline.bus().ok_or("no bus")?;
    let listens = heard.clone();
    bus.set_sync_handler(move |_, message| {
        let mut heard = listens.lock().unwrap_or_else(PoisonError::into_inner);
        heard.warnings += usize::from(message.type_() == gst::MessageType::Warning);
        let word = message.structure().filter(|s| s.has_name("vllmrealtimeasr/word"));
        if let Some(word) = word
            && let (Ok(start), Ok(text)) = (word.get("start-time"), word.get("text"))
        {
            heard.words.push((start, text));
        }
        gst::BusSyncReply::Pass
    });
    let asr = pipeline.by_name("asr").ok_or("no element")?;
    let pushed = heard.clone();
    let pad = asr.static_pad("src").ok_or("no pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
        let mut heard = pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let text = buffer.map_readable().map(|m| String::from_utf8_lossy(&m).into_owned());
        let text = text.unwrap_or_default();
        // The words of a buffer are those that follow all that was shown before.
        let shown = heard.text.split_whitespace().count();
        let first = heard.words.get(shown).map(|w| w.0);
        heard.text.push(' ');
        heard.text.push_str(&text);
        let late = buffer.pts().zip(first).and_then(|(pts, spoken)| pts.checked_sub(spoken));
        heard.late.extend(late.filter(|l| *l > IN_TIME).map(|l| (Instant::now(), l)));
        gst::PadProbeReturn::Ok
    });
    let source = pipeline.by_name("in").ok_or("no source")?;
    pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
    let began = Instant::now();
    let mut back = None;
    let mut stopped = false;
    for (n, samples) in speech.samples[..LENGTH * 16_000].chunks(320).enumerate() {
        let at = Duration::from_millis(20 * n as u64);
        sleep((began + at).saturating_duration_since(Instant::now()));
        if !stopped && at >= STOPS_AT {
            server.stop();
            stopped = true;
        }
        if back.is_none() && at >= STOPS_AT + AWAY {
            server.restart().map_err(|e| e.to_string())?;
            back = Some(Instant::now());
        }
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_mseconds(20 * n as u64));
        }
        let _: gst::FlowReturn = source.emit_by_name("push-buffer", &[&buffer]);
    }
    let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
    let ended = Instant::now();
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(120), &types);
    let eos = ended.elapsed();
    let _ = pipeline.set_state(gst::State::Null);
    if end.is_none_or(|m| m.type_() != gst::MessageType::Eos) {
        return Err("no EOS".into());
    }
    let heard = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((heard, eos, back.ok_or("the server did not come back")?))
}

/// Words that both have, in the same order.
fn common(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (n, other) in b.iter().enumerate() {
            let up = row[n + 1];
            row[n + 1] = if word == other { diagonal + 1 } else { up.max(row[n]) };
            diagonal = up;
        }
    }
    row[b.len()]
}

fn main() -> Result<ExitCode, String> {
    gst::init().map_err(|e| e.to_string())?;
    match std::env::var_os("BENCH_PLUGIN") {
        Some(file) => drop(gst::Plugin::load_file(file).map_err(|e| e.to_string())?),
        None => gstvllmrealtime::plugin_register_static().map_err(|e| e.to_string())?,
    }
    let speech = Speech::new(LENGTH);
    let mut report = Report::new("outage");
    for (name, cadence, latency, pace) in [
        ("frames", Cadence::Frames, 3000, PACE),
        ("segments", Cadence::Segments, 8000, PACE),
        ("frames-slow", Cadence::Frames, 3000, SLOW),
    ] {
        let (heard, eos, back) = run(&speech, cadence, latency, pace)?;
        let said = |w: &vllm_standin::TimedWord| w.end < LENGTH as f64;
        let said: Vec<&str> =
            speech.words.iter().filter(|w| said(w)).map(|w| w.word.as_str()).collect();
        let came: Vec<&str> = heard.words.iter().map(|w| w.1.as_str()).collect();
        let missing = (said.len() + came.len() - 2 * common(&said, &came)) as f64;
        // Which buffers and words those are.
        if std::env::var_os("BENCH_TELL").is_some() {
            if let Some(at) = said.iter().zip(&came).position(|(a, b)| a != b) {
                eprintln!("{name}: from word {at} on {:?}, not {:?}", &came[at..], &said[at..]);
            }
            for (at, by) in heard.late.iter().filter(|(at, _)| *at > back) {
                eprintln!("{name}: {:?} after the return late by {by}", at.duration_since(back));
            }
        }
        let behind = heard.late.iter().map(|(at, _)| at.saturating_duration_since(back));
        let behind = behind.max().unwrap_or_default();
        let most = heard.late.iter().map(|(_, by)| *by).max().unwrap_or_default();
        let figure = |what: &str| format!("{name}/{what}");
        report.figure(&figure("words-missing-or-doubled"), missing, "words", Goal::AtMost(0.0));
        report.figure(
            &figure("late-until-after-return"),
            behind.as_secs_f64(),
            "s",
            // What it takes itself, and no more than that: what was spoken meanwhile, too.
            Goal::AtMost(if pace == PACE { 3.0 } else { AWAY.as_secs_f64() / (pace - 1.0) + 3.0 }),
        );
        report.figure(&figure("latest-word"), most.mseconds() as f64, "ms", Goal::None);
        let most = f64::from(latency) / 1000.0 + 1.0;
        report.figure(&figure("eos-after-end"), eos.as_secs_f64(), "s", Goal::AtMost(most));
        report.figure(&figure("warnings"), heard.warnings as f64, "", Goal::None);
    }
    report.finish().map_err(|e| e.to_string())
}
