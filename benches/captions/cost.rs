// SPDX-License-Identifier: MPL-2.0

//! What `textoverlay` costs with single words, and with captions that roll up.

use std::time::Duration;

use gst::prelude::*;

use crate::speech::Speech;

/// CPU of this process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    // Fields 14 and 15 of the file, in ticks of 10 ms.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// CPU in ms for a minute of picture: name and value.
pub fn of_overlay() -> Result<Vec<(&'static str, f64)>, String> {
    let speech = Speech::new(60);
    let mut all = Vec::new();
    for (name, text) in
        [("no-text", None), ("single-words", Some("")), ("roll-up", Some("! textrollup"))]
    {
        let text = text.map_or(String::new(), |rollup| {
            format!(
                "appsrc name=words format=time caps=text/x-raw,format=utf8 {rollup} ! o.text_sink"
            )
        });
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc pattern=black num-buffers=1800 \
             ! video/x-raw,format=I420,width=1920,height=1080,framerate=30/1 \
             ! textoverlay name=o font-desc=\"Monospace 25px\" halignment=left line-alignment=left \
             ! fakesink {text}"
        ))
        .map_err(|e| e.to_string())?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "no pipeline")?;
        if let Some(source) = pipeline.by_name("words") {
            source.set_property("max-bytes", 0_u64);
            for word in &speech.words {
                let mut buffer = gst::Buffer::from_slice(word.word.clone().into_bytes());
                let time = |s: f64| gst::ClockTime::from_nseconds((s * 1e9) as u64);
                if let Some(buffer) = buffer.get_mut() {
                    buffer.set_pts(time(word.start));
                    buffer.set_duration(time(word.end - word.start));
                }
                let _: gst::FlowReturn = source.emit_by_name("push-buffer", &[&buffer]);
            }
            let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
        }
        let before = cpu();
        pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
        let bus = pipeline.bus().ok_or("no bus")?;
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(120), &types);
        let _ = pipeline.set_state(gst::State::Null);
        if end.is_none_or(|m| m.type_() != gst::MessageType::Eos) {
            return Err("no EOS".into());
        }
        all.push((name, (cpu() - before).as_secs_f64() * 1000.0));
    }
    Ok(all)
}
