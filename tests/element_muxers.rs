// SPDX-License-Identifier: MPL-2.0

//! Captions beside a picture in files, and on it by the elements of GStreamer that show subtitles.

#[path = "support/launch.rs"]
mod launch;
mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use launch::*;
use support::*;

const TEXT: &str = "Tom and Ann saw three ships. Then they went home, and all was well.";
const CAPTIONS: [&str; 2] =
    ["Tom and Ann saw three ships.", "Then they went home, and all was well."];

/// A folder that goes at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("muxers-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            std::fs::read_dir(&self.0).unwrap().map(|f| f.unwrap().path()).collect();
        all.sort();
        all
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// 8 s of a picture, encoded so; and the captions of as much sound.
fn streams(encoder: &str, wav: &Wav, url: &str, rollup: &str, video: &str, text: &str) -> String {
    format!(
        "videotestsrc num-buffers=80 ! video/x-raw,format=I420,width=320,height=180,framerate=10/1 ! \
         {encoder} ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! m.{video} \
         filesrc location={wav} ! wavparse ! vllmrealtimeasr vad=false url={url} ! \
         textrollup mode=pop-on columns=42 lines=1 {rollup} ! queue ! m.{text}"
    )
}

/// The captions in a file: when, and what.
fn captions(file: &Path, demuxer: &str) -> Vec<(u64, String)> {
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! {demuxer} name=d d.subtitle_0 ! queue ! fakesink name=text",
        file.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&heard);
    let pad = pipeline.by_name("text").unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
        let text = String::from_utf8_lossy(&buffer.map_readable().unwrap()).into_owned();
        all.lock().unwrap().push((buffer.pts().map_or(0, |t| t.mseconds()), text));
        gst::PadProbeReturn::Ok
    });
    play(&pipeline);
    let all = heard.lock().unwrap();
    all.clone()
}

fn texts_of(captions: &[(u64, String)]) -> Vec<String> {
    captions.iter().map(|(_, text)| text.replace('\n', " ").trim().to_owned()).collect()
}

#[test]
fn muxers_take_captions() {
    let server = server(TEXT);
    let (wav, folder) = (Wav::new("muxed", 6), Folder::new("muxed"));
    for (muxer, encoder, demuxer) in [
        ("matroskamux", "vp8enc", "matroskademux"),
        ("mp4mux", "openh264enc ! h264parse", "qtdemux"),
        ("qtmux", "openh264enc ! h264parse", "qtdemux"),
    ] {
        let file = folder.file(muxer);
        let streams = streams(encoder, &wav, &server.url(), "", "", "");
        run(&format!("{muxer} name=m ! filesink location={} {streams}", file.display())).unwrap();
        let captions = captions(&file, demuxer);
        assert_eq!(texts_of(&captions), CAPTIONS, "{muxer}");
    }
}

#[test]
fn files_that_are_split_have_their_captions() {
    let server = server(TEXT);
    let (wav, folder) = (Wav::new("split", 6), Folder::new("split"));
    let streams = streams(
        "vp8enc keyframe-max-dist=10",
        &wav,
        &server.url(),
        "gaps=false",
        "video",
        "subtitle_%u",
    );
    run(&format!(
        "splitmuxsink name=m muxer-factory=matroskamux max-size-time=3000000000 \
         location={}/%02d.mkv {streams}",
        folder.0.display()
    ))
    .unwrap();
    let files = folder.files();
    let parts: Vec<_> = files.iter().map(|f| captions(f, "matroskademux")).collect();
    assert!(files.len() >= 2, "{files:?}");
    assert_eq!(parts.iter().flat_map(|p| texts_of(p)).collect::<Vec<_>>(), CAPTIONS);
}

#[test]
fn subtitleoverlay_shows_them() {
    let server = server(TEXT);
    let wav = Wav::new("overlaid", 6);
    init();
    let pipeline = gst::parse::launch(&format!(
        "subtitleoverlay name=m ! videoconvert ! video/x-raw,format=GRAY8 ! fakesink sync=true name=v {}",
        streams("identity", &wav, &server.url(), "", "video_sink", "subtitle_sink")
            .replace("videotestsrc", "videotestsrc pattern=black")
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let frames = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&frames);
    pipeline.by_name("v").unwrap().static_pad("sink").unwrap().add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            let map = info.buffer().unwrap().map_readable().unwrap();
            all.lock().unwrap().push(map.iter().any(|p| *p > 150));
            gst::PadProbeReturn::Ok
        },
    );
    play(&pipeline);
    let frames = frames.lock().unwrap();
    let shown = frames.iter().filter(|f| **f).count();
    assert_eq!(frames.len(), 80);
    assert!((30..75).contains(&shown), "{shown} frames have captions");
}
