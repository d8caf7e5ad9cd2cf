// SPDX-License-Identifier: MPL-2.0

//! Prints each word of a media file from the bus, with its times.
//!
//! ```text
//! GST_PLUGIN_PATH=target/release cargo run --release --example words -- FILE [URL]
//! ```
//!
//! Nothing is linked behind the element: it serves as the sink.

use gst::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("which file? words FILE [URL]")?;
    let url = args.next().unwrap_or_else(|| "ws://localhost:8000/v1/realtime".into());

    gst::init()?;
    let pipeline = gst::parse::launch(
        "filesrc name=file ! decodebin ! audioconvert ! audioresample ! vllmrealtimeasr name=asr",
    )?
    .downcast::<gst::Pipeline>()
    .map_err(|_| "no pipeline")?;
    let element = |name| pipeline.by_name(name).ok_or("named in the launch line");
    element("file")?.set_property("location", file);
    element("asr")?.set_property("url", url);

    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut result = Ok(());
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Element(element) => {
                let word = element.structure().filter(|s| s.has_name("vllmrealtimeasr/word"));
                if let Some(word) = word {
                    let begin = word.get::<gst::ClockTime>("start-time")?;
                    let end = word.get::<gst::ClockTime>("end-time")?;
                    println!("{begin:.2} {end:.2} {}", word.get::<&str>("text")?);
                }
            }
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => {
                result = Err(error.error().to_string().into());
                break;
            }
            _ => (),
        }
    }
    pipeline.set_state(gst::State::Null)?;
    result
}
