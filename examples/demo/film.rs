// SPDX-License-Identifier: MPL-2.0

//! Subtitles and films of what was heard.

use std::path::Path;

use gst::prelude::*;

use crate::pipeline::{element, feed, parse, run, set_location};
use crate::{Error, Word};

const QUEUE: &str = "queue max-size-time=0 max-size-bytes=0 max-size-buffers=0";
const VP8: &str = "vp8enc deadline=1 cpu-used=8 end-usage=cq cq-level=8 target-bitrate=2000000 \
                   keyframe-max-dist=25 threads=2";

/// Leaves `captions.srt` and `captions.vtt` in the folder.
pub fn subtitles(out: &Path, words: &[Word]) -> Result<(), Error> {
    // In WebVTT & and < have to be escaped, as in markup.
    let pipeline = parse(&format!(
        "appsrc name=words ! tee name=t
         t. ! {QUEUE} ! textrollup mode=pop-on ! srtenc ! filesink name=srt async=false
         t. ! {QUEUE} ! textrollup mode=pop-on format=pango-markup ! webvttenc
           ! filesink name=vtt async=false"
    ))?;
    set_location(&pipeline, "srt", &out.join("captions.srt"));
    set_location(&pipeline, "vtt", &out.join("captions.vtt"));
    feed(&pipeline, "words", words)?;
    run(&pipeline)
}

/// Leaves `film.webm` in the folder, and `captions.webm`, in which the captions are burnt in as they
/// roll up, the word that is being spoken underlined. `picture`: a source of one, or that of the sound
/// is drawn.
pub fn film(
    out: &Path,
    sound: &Path,
    picture: Option<String>,
    words: &[Word],
) -> Result<(), Error> {
    let picture = picture.unwrap_or_else(|| {
        format!("sound. ! {QUEUE} ! audioconvert ! audio/x-raw,channels=2 ! wavescope style=lines shader=none")
    });
    let pipeline = parse(&format!(
        "filesrc name=wav ! wavparse ! tee name=sound
         {picture} ! videoconvert ! videoscale ! videorate
           ! video/x-raw,width=640,height=360,framerate=25/1,pixel-aspect-ratio=1/1 ! tee name=picture
         picture. ! {QUEUE} ! {VP8} ! plain.
         picture. ! {QUEUE} ! textoverlay name=overlay wait-text=true shaded-background=true
             halignment=left line-alignment=left font-desc=\"Monospace 25px\" xpad=32 ypad=24
           ! videoconvert ! {VP8} ! burnt.
         appsrc name=words ! textrollup format=pango-markup highlight=true ! overlay.text_sink
         sound. ! {QUEUE} ! audioconvert ! audioresample ! vorbisenc ! tee name=heard
         heard. ! {QUEUE} ! plain.
         heard. ! {QUEUE} ! burnt.
         webmmux name=plain ! filesink name=film async=false
         webmmux name=burnt ! filesink name=captioned async=false"
    ))?;
    set_location(&pipeline, "wav", sound);
    set_location(&pipeline, "film", &out.join("film.webm"));
    set_location(&pipeline, "captioned", &out.join("captions.webm"));
    feed(&pipeline, "words", words)?;
    run(&pipeline)
}

/// Leaves the frame that `captions.webm` shows at `time` as `frame.png`.
pub fn still(out: &Path, time: gst::ClockTime) -> Result<(), Error> {
    let pipeline = parse(
        "filesrc name=film ! matroskademux ! queue ! vp8dec name=frames ! videoconvert \
         ! pngenc snapshot=true ! filesink name=frame",
    )?;
    set_location(&pipeline, "film", &out.join("captions.webm"));
    set_location(&pipeline, "frame", &out.join("frame.png"));
    let pad = element(&pipeline, "frames").static_pad("src").ok_or("no src pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        match info.buffer().and_then(|b| b.pts()) {
            Some(pts) if pts >= time => gst::PadProbeReturn::Ok,
            _ => gst::PadProbeReturn::Handled,
        }
    });
    run(&pipeline)
}

/// Whether a media file has a picture.
pub fn has_picture(file: &Path) -> Result<bool, Error> {
    let source = crate::pipeline::file_source(file, "video/x-raw")?;
    let pipeline = parse(&format!("{source} ! videoconvert ! fakesink"))?;
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    pipeline.set_state(gst::State::Paused)?;
    let kinds = [gst::MessageType::AsyncDone, gst::MessageType::Error, gst::MessageType::Eos];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &kinds);
    pipeline.set_state(gst::State::Null)?;
    Ok(message.is_some_and(|m| m.type_() == gst::MessageType::AsyncDone))
}
