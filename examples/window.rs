// SPDX-License-Identifier: MPL-2.0

//! What the microphone hears, as captions in a window; the line in the terminal tells how far behind
//! the speaker they are.
//!
//! ```text
//! GST_PLUGIN_PATH=target/release cargo run --release --example window -- [URL]
//! ```
//!
//! `AUDIO` and `SINK` in the environment are other elements than the microphone and a window.

use gst::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://localhost:8000/v1/realtime".into());
    let or = |name, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.into());
    gst::init()?;
    let pipeline = gst::parse::launch(&format!(
        "vllmcaptionoverlay name=captions columns=32 lines=3 ! {} \
         videotestsrc is-live=true pattern=solid-color foreground-color=0xff202020 ! \
         video/x-raw,width=960,height=240,framerate=30/1 ! captions.video_sink \
         {} ! audioconvert ! captions.audio_sink",
        or("SINK", "videoconvert ! autovideosink"),
        or("AUDIO", "autoaudiosrc"),
    ))?
    .downcast::<gst::Pipeline>()
    .map_err(|_| "no pipeline")?;
    let captions = pipeline.by_name("captions").ok_or("named in the launch line")?;
    captions.set_property("url", url);

    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut result = Ok(());
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(e) => {
                result = Err(e.error().to_string().into());
                break;
            }
            gst::MessageView::Warning(w) => eprintln!("{}", w.error().message()),
            // The captions need more time than was thought.
            gst::MessageView::Latency(_) => pipeline.recalculate_latency()?,
            gst::MessageView::Element(e) => {
                let word = e.structure().filter(|s| s.has_name("vllmrealtimeasr/word"));
                let spoken = word.and_then(|w| w.get::<gst::ClockTime>("running-time").ok());
                if let (Some(spoken), Some(now)) = (spoken, pipeline.current_running_time()) {
                    println!(
                        "{:.1} s behind",
                        now.saturating_sub(spoken).mseconds() as f64 / 1000.0
                    );
                }
            }
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null)?;
    result
}
