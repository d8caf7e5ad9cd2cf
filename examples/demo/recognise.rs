// SPDX-License-Identifier: MPL-2.0

//! Speech at live pace through `vllmrealtimeasr`: its words, as they come.

use std::path::Path;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::pipeline::{element, parse, run, set_location};
use crate::{Error, Options, Source, Word};

/// Nothing here is shown live: words have the time that they need, and none is moved from its place.
const LATENCY_MS: u32 = 60_000;

/// Attempts to reach a server that has gone; then the demo ends with what went wrong.
const RECONNECT: i32 = 5;

/// Prints each word as soon as it is known. Returns the words, and the end of the audio, which is left
/// in the file `sound`.
pub fn recognise(
    source: &str,
    options: &Options,
    sound: &Path,
) -> Result<(Vec<Word>, gst::ClockTime), Error> {
    let pipeline = parse(&format!(
        "{source} ! audioconvert ! audioresample
           ! audio/x-raw,format=S16LE,rate=16000,channels=1 ! clocksync ! tee name=sound
         sound. ! queue ! vllmrealtimeasr name=asr ! fakesink sync=false async=false
         sound. ! queue ! wavenc ! filesink name=wav async=false"
    ))?;
    set_location(&pipeline, "wav", sound);
    let asr = element(&pipeline, "asr");
    asr.set_property("url", &options.url);
    asr.set_property("model", &options.model);
    asr.set_property("reconnect", RECONNECT);
    asr.set_property("latency", LATENCY_MS);
    asr.set_property_from_str("timing", &options.timing);

    let words = Arc::new(Mutex::new(Vec::new()));
    let audio_end = Arc::new(Mutex::new(gst::ClockTime::ZERO));
    let src = asr.static_pad("src").ok_or("no src pad")?;
    src.add_probe(gst::PadProbeType::BUFFER, {
        let (words, asr) = (words.clone(), asr.downgrade());
        move |_, info| {
            let now = asr.upgrade().and_then(|asr| asr.current_running_time());
            if let Some(word) = info.buffer().and_then(|b| word(b, now.unwrap_or_default())) {
                println!(
                    "{:8.2} {:8.2}  {}  (+{:.2} s)",
                    word.begin.seconds_f64(),
                    word.end.seconds_f64(),
                    word.text,
                    word.delay()
                );
                words.lock().unwrap().push(word);
            }
            gst::PadProbeReturn::Ok
        }
    });
    let sink = asr.static_pad("sink").ok_or("no sink pad")?;
    sink.add_probe(gst::PadProbeType::BUFFER, {
        let audio_end = audio_end.clone();
        move |_, info| {
            if let Some(buffer) = info.buffer()
                && let (Some(pts), Some(duration)) = (buffer.pts(), buffer.duration())
            {
                *audio_end.lock().unwrap() = pts + duration;
            }
            gst::PadProbeReturn::Ok
        }
    });
    if matches!(options.source, Source::Microphone) {
        println!("Speak; Enter ends it.");
        end_on_enter(&pipeline);
    }
    println!("   begin      end  word  (known after its end)");
    run(&pipeline)?;
    let words = std::mem::take(&mut *words.lock().unwrap());
    let audio_end = *audio_end.lock().unwrap();
    Ok((words, audio_end))
}

/// The word in a text buffer that came at this running time.
fn word(buffer: &gst::BufferRef, known: gst::ClockTime) -> Option<Word> {
    let map = buffer.map_readable().ok()?;
    let text = std::str::from_utf8(&map).ok()?.to_string();
    let begin = buffer.pts()?;
    Some(Word { text, begin, end: begin + buffer.duration()?, known })
}

/// Ends a pipeline whose source has no end of its own.
fn end_on_enter(pipeline: &gst::Pipeline) {
    let weak = pipeline.downgrade();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        if let Some(pipeline) = weak.upgrade() {
            pipeline.send_event(gst::event::Eos::new());
        }
    });
}
