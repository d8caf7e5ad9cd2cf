// SPDX-License-Identifier: MPL-2.0

//! Pipelines with the element, or with `identity` in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::Role;
use crate::process::{Usage, audio, cpu, size, waits};

const CAPS: &str = "audio/x-raw,format=S16LE,rate=16000,channels=1,layout=interleaved";
/// Samples of a buffer: 20 ms, as live sources have them.
const BUFFER: usize = 320;

struct Stream {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
}

fn build(role: Role, url: &str, live: bool, words: &Arc<AtomicUsize>) -> Result<Stream, String> {
    let middle = match role {
        Role::Element => format!("vllmrealtimeasr url={url} latency=2000 post-messages=false"),
        _ => "identity".into(),
    };
    let text = format!(
        "appsrc name=in caps={CAPS} format=time is-live={live} block={} max-bytes=64000 \
         ! {middle} ! appsink name=out sync={live}",
        !live
    );
    let pipeline = gst::parse::launch(&text).map_err(|e| e.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let named = |name| pipeline.by_name(name).ok_or("an element is missing");
    let source = named("in")?.downcast::<gst_app::AppSrc>().map_err(|_| "no appsrc")?;
    let sink = named("out")?.downcast::<gst_app::AppSink>().map_err(|_| "no appsink")?;
    let words = words.clone();
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                if sink.pull_sample().is_ok() {
                    words.fetch_add(1, Ordering::Relaxed);
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
    Ok(Stream { pipeline, source })
}

/// So many pipelines at a time, all with the same audio: in time, or as fast as they take it.
pub fn run(
    role: Role,
    url: &str,
    seconds: usize,
    live: bool,
    streams: usize,
) -> Result<Usage, String> {
    gst::init().map_err(|e| e.to_string())?;
    gstvllmrealtime::plugin_register_static().map_err(|e| e.to_string())?;
    let samples = audio(seconds);
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    // Without a copy for each stream.
    let whole = gst::Buffer::from_slice(bytes);
    let words = Arc::new(AtomicUsize::new(0));
    let built: Result<Vec<Stream>, String> =
        (0..streams).map(|_| build(role, url, live, &words)).collect();
    let built = built?;
    let before = cpu();
    let began = Instant::now();
    for stream in &built {
        stream.pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
    }
    let (mut size_then, waited) = ((0.0, 0), waits());
    let mut wake_ups = 0.0;
    let count = samples.len() / BUFFER;
    for i in 0..count {
        let time = |i: usize| gst::ClockTime::from_mseconds(20 * i as u64);
        for stream in &built {
            let mut buffer = whole
                .copy_region(gst::BufferCopyFlags::MEMORY, i * BUFFER * 2..(i + 1) * BUFFER * 2)
                .map_err(|e| e.to_string())?;
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(time(i));
                buffer.set_duration(time(1));
            }
            stream.source.push_buffer(buffer).map_err(|e| e.to_string())?;
        }
        if live {
            let due = Duration::from_millis(20 * (i as u64 + 1));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        if i + 1 == count {
            size_then = size();
            wake_ups = waits() - waited;
        }
    }
    for stream in &built {
        stream.source.end_of_stream().map_err(|e| e.to_string())?;
    }
    for stream in &built {
        let bus = stream.pipeline.bus().ok_or("no bus")?;
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &types);
        match end.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => {}
            other => return Err(format!("no EOS: {other:?}")),
        }
    }
    let (cpu_ms, seconds) = (cpu() - before, began.elapsed().as_secs_f64());
    for stream in &built {
        stream.pipeline.set_state(gst::State::Null).map_err(|e| e.to_string())?;
    }
    let (memory_kb, threads) = size_then;
    let words = words.load(Ordering::Relaxed);
    Ok(Usage { cpu_ms, seconds, memory_kb, threads, words, wake_ups })
}
