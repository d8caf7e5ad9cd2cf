// SPDX-License-Identifier: MPL-2.0

//! Recordings through the element, in a pipeline, against the stand-in.

use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use vllm_standin::{Aligned, Cadence, Edges, Log, Standin, TimedWord};

use crate::corpus::Clip;
use crate::score::Timed;

/// Samples of a buffer: 20 ms, as live sources have them.
const BUFFER: usize = 320;
/// A pipeline that takes longer is stuck.
const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(120);
/// Times real time: so fast that it does not take long, so slow that a server can follow.
const PACE: u32 = 20;
const CAPS: &str = "audio/x-raw, format=S16LE, rate=16000, channels=1, layout=interleaved";

/// What came of a clip.
pub struct Outcome {
    /// As text buffers had them.
    pub words: Vec<Timed>,
    /// Warnings that the element posted.
    pub warnings: Vec<String>,
    pub log: Log,
}

fn start() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        match std::env::var_os("BENCH_PLUGIN") {
            Some(file) => drop(gst::Plugin::load_file(file).expect("BENCH_PLUGIN")),
            None => gstvllmrealtime::plugin_register_static().expect("the plugin"),
        }
    });
}

/// A clip through a pipeline, `vad` and all else as users have it. Sub-words queue, marks jitter.
pub fn hear(clip: &Clip, cadence: Cadence, seed: u64) -> Result<Outcome, String> {
    start();
    let words: Vec<TimedWord> = clip.words.iter().map(said).collect();
    let server = Standin::builder()
        .aligned(Aligned::in_recordings([(&clip.samples[..], &words[..])]))
        .cadence(cadence)
        .jitter(true)
        .keep_audio(true)
        .seed(seed)
        .start()
        .map_err(|e| e.to_string())?;
    let mut warnings = Vec::new();
    let live = cadence == Cadence::Arrival;
    let words = run(&server.url(), &clip.samples, live, &mut warnings)?;
    Ok(Outcome { words, warnings, log: server.log() })
}

/// What came of a clip that was spoken live.
pub struct Live {
    /// As messages had them, each at its own time.
    pub words: Vec<Timed>,
    /// Words whose buffers were moved, as they came too late.
    pub late: u64,
    pub fell_back: usize,
    /// Frames that got no delta of their own.
    pub merged: u64,
}

/// A clip in real time, by frames. `stalls`: the server's API side stalls now and then.
pub fn hear_live(clip: &Clip, seed: u64, stalls: bool) -> Result<Live, String> {
    start();
    let words: Vec<TimedWord> = clip.words.iter().map(said).collect();
    let server = Standin::builder()
        .aligned(Aligned::in_recordings([(&clip.samples[..], &words[..])]))
        .jitter(true)
        .stalls(stalls)
        .seed(seed)
        .start()
        .map_err(|e| e.to_string())?;
    let launch = "appsrc name=in format=time is-live=true min-latency=20000000 \
                  ! vllmrealtimeasr name=asr timing=auto ! fakesink sync=true";
    let mut live = Live { words: Vec::new(), late: 0, fell_back: 0, merged: 0 };
    let asr = play(
        launch,
        &server.url(),
        &clip.samples,
        1,
        |_| (),
        |message| {
            let Some(s) = message.structure() else { return };
            match s.name().as_str() {
                "vllmrealtimeasr/word" => live.words.extend(told(s)),
                "vllmrealtimeasr/clock" => live.fell_back += 1,
                _ => {}
            }
        },
    )?;
    let stats = asr.property::<gst::Structure>("stats");
    live.late = stats.get("late-words").map_err(|e| e.to_string())?;
    for g in server.log().generations() {
        let due = g.samples.saturating_sub(40) / 1280 + 11;
        live.merged += due.saturating_sub(g.deltas);
    }
    Ok(live)
}

/// What came of a clip, and when.
pub struct Heard {
    /// From the end of each word until its message, in seconds.
    pub delays: Vec<f64>,
    /// Words that are missing, were said twice, or are none that was said.
    pub wrong: usize,
}

/// A clip in real time, by a segmented server with the faults of Qwen3-ASR.
pub fn hear_as_it_comes(clip: &Clip, seed: u64) -> Result<Heard, String> {
    start();
    let words: Vec<TimedWord> = clip.words.iter().map(said).collect();
    let server = Standin::builder()
        .aligned(Aligned::in_recordings([(&clip.samples[..], &words[..])]))
        .cadence(Cadence::Segments)
        .edges(Edges::Cut)
        .leak(true)
        .seed(seed)
        .start()
        .map_err(|e| e.to_string())?;
    let launch = "appsrc name=in format=time is-live=true min-latency=20000000 \
                  ! vllmrealtimeasr name=asr ! fakesink sync=true";
    let came: Arc<Mutex<Vec<(Instant, Timed)>>> = Arc::default();
    let mut began = None;
    let coming = came.clone();
    let listen = |asr: &gst::Element| {
        let pipeline = asr.parent().and_downcast::<gst::Pipeline>();
        let Some(bus) = pipeline.and_then(|p| p.bus()) else { return };
        bus.set_sync_handler(move |_, message| {
            let word = message.structure().filter(|s| s.has_name("vllmrealtimeasr/word"));
            let mut coming = coming.lock().unwrap_or_else(PoisonError::into_inner);
            coming.extend(word.and_then(told).map(|w| (Instant::now(), w)));
            gst::BusSyncReply::Pass
        });
        began = Some(Instant::now());
    };
    play(launch, &server.url(), &clip.samples, 1, listen, |_| ())?;
    let began = began.ok_or("it did not begin")?;
    let came = std::mem::take(&mut *came.lock().unwrap_or_else(PoisonError::into_inner));
    let got: Vec<Timed> = came.iter().map(|(_, w)| w.clone()).collect();
    let pairs = crate::score::matched(&clip.words, &got);
    let delays = pairs
        .iter()
        .map(|&(truth, got)| {
            came[got].0.duration_since(began).as_secs_f64() - clip.words[truth].end
        })
        .collect();
    let wrong = clip.words.len() + got.len() - 2 * pairs.len();
    // Which words those are.
    if std::env::var_os("BENCH_TELL").is_some() {
        for (i, w) in
            clip.words.iter().enumerate().filter(|(i, _)| !pairs.iter().any(|p| p.0 == *i))
        {
            eprintln!("{} {seed}: missing {i} {w:?}", clip.name);
        }
        for (i, w) in got.iter().enumerate().filter(|(i, _)| !pairs.iter().any(|p| p.1 == *i)) {
            eprintln!("{} {seed}: none that was said {i} {w:?}", clip.name);
        }
    }
    Ok(Heard { delays, wrong })
}

/// A word message's word.
fn told(s: &gst::StructureRef) -> Option<Timed> {
    let seconds = |name| s.get::<gst::ClockTime>(name).ok().map(|t| t.nseconds() as f64 / 1e9);
    let word: String = s.get("text").ok()?;
    Some(Timed::new(word, seconds("start-time")?, seconds("end-time")?))
}

fn said(w: &Timed) -> TimedWord {
    TimedWord { word: w.word.clone(), start: w.start, end: w.end }
}

/// `live`: the words' own times are those of the messages then.
fn run(
    url: &str,
    samples: &[i16],
    live: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Timed>, String> {
    let launch = format!(
        "appsrc name=in format=time is-live={live} ! vllmrealtimeasr name=asr ! fakesink sync=false"
    );
    let words = Arc::new(Mutex::new(Vec::new()));
    let taken = words.clone();
    let probe = move |asr: &gst::Element| {
        let Some(pad) = asr.static_pad("src") else { return };
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.extend(info.buffer().and_then(timed));
            gst::PadProbeReturn::Ok
        });
    };
    let mut messages = Vec::new();
    play(&launch, url, samples, PACE, probe, |message| match message.view() {
        gst::MessageView::Warning(w) => warnings.push(w.error().to_string()),
        gst::MessageView::Element(e) => {
            let word = e.structure().filter(|s| s.name() == "vllmrealtimeasr/word");
            messages.extend(word.and_then(told));
        }
        _ => {}
    })?;
    if live {
        return Ok(messages);
    }
    Ok(std::mem::take(&mut *words.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Plays the samples so many times as fast as they were spoken, to the end; the element.
fn play(
    launch: &str,
    url: &str,
    samples: &[i16],
    pace: u32,
    prepare: impl FnOnce(&gst::Element),
    mut hear: impl FnMut(&gst::Message),
) -> Result<gst::Element, String> {
    let pipeline = gst::parse::launch(launch).map_err(|e| e.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let by_name = |name| pipeline.by_name(name).ok_or("no such element");
    let (source, asr) = (by_name("in")?, by_name("asr")?);
    source.set_property_from_str("caps", CAPS);
    asr.set_property("url", url);
    prepare(&asr);
    let bus = pipeline.bus().ok_or("no bus")?;
    pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
    let begin = Instant::now();
    for (i, piece) in samples.chunks(BUFFER).enumerate() {
        let due = Duration::from_micros((i * BUFFER) as u64 * 125 / 2) / pace;
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        let bytes: Vec<u8> = piece.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        if let Some(b) = buffer.get_mut() {
            b.set_pts(time(i * BUFFER));
            b.set_duration(time(piece.len()));
        }
        let _: gst::FlowReturn = source.emit_by_name("push-buffer", &[&buffer]);
    }
    let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
    let end = loop {
        let Some(message) = bus.timed_pop(LIMIT) else { break Err("stuck".to_owned()) };
        hear(&message);
        match message.view() {
            gst::MessageView::Eos(_) => break Ok(()),
            gst::MessageView::Error(e) => break Err(e.error().to_string()),
            _ => {}
        }
    };
    pipeline.set_state(gst::State::Null).map_err(|e| e.to_string())?;
    end.map(|()| asr)
}

fn time(samples: usize) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(samples as u64 * 62_500)
}

/// A text buffer's word.
fn timed(buffer: &gst::Buffer) -> Option<Timed> {
    let word = String::from_utf8(buffer.map_readable().ok()?.to_vec()).ok()?;
    let start = buffer.pts()?;
    let seconds = |t: gst::ClockTime| t.nseconds() as f64 / 1e9;
    Some(Timed::new(word, seconds(start), seconds(start + buffer.duration()?)))
}
