// SPDX-License-Identifier: MPL-2.0

//! With the elements of others: closed captions and text of gst-plugins-rs, in the versions that
//! `plugins/Cargo.toml` names. `scripts/setup.sh long` builds them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use vllm_standin::{Builder, Cadence, Standin};

#[path = "../support/launch.rs"]
mod launch;
mod mux;
#[path = "../chaos/speech.rs"]
mod speech;
#[path = "../support/mod.rs"]
mod support;

use launch::*;
use speech::Speech;
use support::*;

const CLOSED_CAPTIONS: &str = "libgstrsclosedcaption.so";

/// Where `scripts/setup.sh long` puts the plugins.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    target.join("others/debug")
}

/// Loads the plugins of others.
fn others() {
    init();
    for library in [CLOSED_CAPTIONS, "libgsttextwrap.so"] {
        let path = folder().join(library);
        assert!(path.exists(), "{} is not there: scripts/setup.sh long", path.display());
        gst::Plugin::load_file(&path).unwrap();
    }
    static MUX: std::sync::Once = std::sync::Once::new();
    MUX.call_once(mux::register);
}

fn speaker(speech: &Speech) -> Builder {
    Standin::builder().aligned(speech.voice())
}

type Heard = Arc<Mutex<Vec<(gst::ClockTime, Vec<u8>)>>>;

/// The words in the pairs of bytes of CEA-608 (CTA-608-E): characters, and codes in between. Each
/// code comes twice, and is meant once.
fn words_of_608(pairs: &[(gst::ClockTime, Vec<u8>)]) -> Vec<String> {
    let mut text = String::new();
    for pair in pairs.iter().flat_map(|(_, bytes)| bytes.chunks_exact(2)) {
        match [pair[0] & 0x7f, pair[1] & 0x7f] {
            [0, _] => {}
            // A row's beginning, a carriage return.
            [0x10..0x20, 0x2d | 0x40..] => text.push(' '),
            [0x10..0x20, _] => {}
            characters => text.extend(characters.iter().filter(|c| **c != 0).map(|c| *c as char)),
        }
    }
    text.split_whitespace().map(str::to_owned).collect()
}

/// A pipeline whose source `speech` gives this sound, all of it at once.
struct Line {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
}

impl Line {
    fn new(launch: &str, speech: &Speech) -> Line {
        let pipeline = gst::parse::launch(launch).unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("speech").unwrap();
        let bytes: Vec<u8> = speech.samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        // In buffers as a microphone has them.
        for (n, piece) in bytes.chunks(640).enumerate() {
            let mut buffer = gst::Buffer::from_slice(piece.to_vec());
            let b = buffer.get_mut().unwrap();
            b.set_pts(n as u64 * 20 * MS);
            b.set_duration(20 * MS);
            let _: gst::FlowReturn = source.emit_by_name("push-buffer", &[&buffer]);
        }
        let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
        let bus = pipeline.bus().unwrap();
        Line { pipeline, bus }
    }

    /// What comes at this sink: time and bytes.
    fn listen(&self, sink: &str) -> Heard {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let pad = self.pipeline.by_name(sink).unwrap().static_pad("sink").unwrap();
        let all = Arc::clone(&heard);
        let note = move |buffer: &gst::BufferRef| {
            let bytes = buffer.map_readable().unwrap().to_vec();
            all.lock().unwrap().push((buffer.pts().unwrap(), bytes));
        };
        let data = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(data, move |_, info| {
            info.buffer().into_iter().for_each(|buffer| note(buffer));
            info.buffer_list().into_iter().flat_map(|l| l.iter()).for_each(&note);
            gst::PadProbeReturn::Ok
        });
        heard
    }

    /// Plays to the end.
    fn run(&self) {
        let _ = self.pipeline.set_state(gst::State::Playing);
        let ended = wait_message(&self.bus, |m| match m.view() {
            gst::MessageView::Eos(_) => Some(Ok(())),
            gst::MessageView::Error(e) => Some(Err(format!("{e:?}"))),
            _ => None,
        });
        ended.unwrap();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

const SOURCE: &str = "appsrc name=speech format=time max-bytes=0 \
     caps=audio/x-raw,format=S16LE,rate=16000,channels=1,layout=interleaved";

#[test]
fn long_closed_captions_have_every_word() {
    others();
    let speech = Speech::readings(16_000);
    let server = speaker(&speech).start().unwrap();
    for mode in ["roll-up2", "roll-up3", "roll-up4", "paint-on", "pop-on"] {
        let line = Line::new(
            &format!(
                "{SOURCE} ! vllmrealtimeasr url={} ! tttocea608 mode={mode} ! \
                 closedcaption/x-cea-608,format=raw,framerate=30/1 ! fakesink name=cc",
                server.url()
            ),
            &speech,
        );
        let heard = line.listen("cc");
        line.run();
        assert_eq!(words_of_608(&heard.lock().unwrap()), speech.text(), "{mode}");
    }
}

/// 9.4: words that come late, joined in one buffer for all that is due.
#[test]
fn long_closed_captions_have_late_words_too() {
    others();
    let speech = Speech::paused(1, &[1.0]);
    let server = speaker(&speech).cadence(Cadence::Utterance).start().unwrap();
    let line = Line::new(
        &format!(
            "{SOURCE} is-live=true ! clocksync ! \
             vllmrealtimeasr name=asr timing=utterance latency=500 url={} ! \
             tttocea608 mode=roll-up2 ! closedcaption/x-cea-608,format=raw,framerate=30/1 ! \
             fakesink sync=true name=cc",
            server.url()
        ),
        &speech,
    );
    let asr = line.pipeline.by_name("asr").unwrap();
    let heard = line.listen("cc");
    line.run();
    assert_eq!(words_of_608(&heard.lock().unwrap()), speech.text());
    let stats = asr.property::<gst::Structure>("stats");
    assert!(stats.get::<u64>("late-words").unwrap() > 5, "{stats}");
}

#[test]
fn long_textwrap_wraps_every_word() {
    others();
    let speech = Speech::readings(16_000);
    let server = speaker(&speech).start().unwrap();
    for settings in ["columns=20 lines=2", "columns=12 lines=2 accumulate-time=1000000000"] {
        let line = Line::new(
            &format!(
                "{SOURCE} ! vllmrealtimeasr url={} ! textwrap {settings} ! fakesink name=text",
                server.url()
            ),
            &speech,
        );
        let heard = line.listen("text");
        line.run();
        let heard = heard.lock().unwrap();
        let text: Vec<_> = heard.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
        let words: Vec<&str> = text.iter().flat_map(|t| t.split_whitespace()).collect();
        assert_eq!(words, speech.text(), "{settings}");
    }
}

/// A black picture with sound that is spoken now, as a camera gives them, through `transcriberbin`:
/// captions at `cc`, the picture with the captions drawn on it at `v`.
fn live(frames: u32) -> String {
    format!(
        "transcriberbin name=b latency=3000 \
         videotestsrc is-live=true pattern=black num-buffers={frames} ! \
         video/x-raw,format=I420,width=320,height=180,framerate=30000/1001 ! queue ! b.sink_video \
         {SOURCE} is-live=true ! clocksync ! b.sink_audio \
         b.src_audio ! queue ! fakesink sync=true \
         b.src_video ! ccextractor name=x x.src ! cea608overlay ! video/x-raw ! queue ! fakesink sync=true name=v \
         x.caption ! queue ! fakesink sync=true name=cc async=false"
    )
}

#[test]
fn long_transcriberbin_puts_every_word_into_a_live_picture() {
    others();
    let speech = Speech::paused(1, &[1.0]);
    let server = speaker(&speech).start().unwrap();
    let line = Line::new(&live(400), &speech);
    line.pipeline.by_name("b").unwrap().set_property("transcriber", element(&server.url()));
    let (captions, frames) = (line.listen("cc"), line.listen("v"));
    line.run();
    assert_eq!(words_of_608(&captions.lock().unwrap()), speech.text());
    let frames = frames.lock().unwrap();
    assert_eq!(frames.len(), 400);
    // I420: the brightness comes first.
    let drawn = |(_, f): &&(_, Vec<u8>)| f[..320 * 180].iter().any(|p| *p > 150);
    assert!(frames.iter().filter(drawn).count() > 100);
    assert_eq!(late(&line, "v"), 0);
}

/// Buffers that this sink dropped as too late.
fn late(line: &Line, sink: &str) -> u64 {
    let stats = line.pipeline.by_name(sink).unwrap().property::<gst::Structure>("stats");
    stats.get("dropped").unwrap()
}

/// The server comes late, goes, and comes back: the picture goes on, captions come whenever it is
/// there. Without `reconnect` the first part would be an ERROR, and passthrough until the application
/// ends that; but in 0.13 the probe by which the bin goes there may be called twice, which it counts
/// below zero (transcriberbin/imp.rs, `tearing_down`).
#[test]
fn long_transcriberbin_without_a_server_and_with_one() {
    others();
    let speech = Speech::new(60);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line = Line::new(&live(60 * 30), &speech);
    let asr = element(&format!("ws://127.0.0.1:{port}/v1/realtime"));
    asr.set_property("connect-timeout", 1000_u32);
    asr.set_property("reconnect", -1);
    let bin = line.pipeline.by_name("b").unwrap();
    bin.set_property("transcriber", &asr);
    let (captions, frames) = (line.listen("cc"), line.listen("v"));
    let words = |captions: &Heard| words_of_608(&captions.lock().unwrap()).len();
    let goes_on = |what: &str| {
        let from = frames.lock().unwrap().len();
        wait(what, || frames.lock().unwrap().len() >= from + 60);
    };
    let _ = line.pipeline.set_state(gst::State::Playing);
    goes_on("a picture without a server");
    wait_message(&line.bus, |m| match m.view() {
        gst::MessageView::Warning(_) => Some(()),
        gst::MessageView::Error(e) => panic!("{e:?}"),
        _ => None,
    });
    goes_on("a picture still");
    assert_eq!(words(&captions), 0);
    let start = || speaker(&speech).port(port).start().unwrap();
    let server = start();
    wait("captions with a server", || words(&captions) >= 5);
    drop(server);
    goes_on("a picture after the server");
    let before = words(&captions);
    let _server = start();
    wait("captions by the server that is back", || words(&captions) >= before + 5);
    assert!(!bin.property::<bool>("passthrough"));
    assert!(line.bus.pop_filtered(&[gst::MessageType::Error]).is_none());
}

/// Until this holds.
fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(std::time::Instant::now() < end, "no {what}");
        std::thread::yield_now();
    }
}

/// The recipe, as a user runs it.
#[test]
fn long_a_film_with_closed_captions() {
    others();
    let speech = Speech::readings(16_000);
    let server = speaker(&speech).start().unwrap();
    let launcher = Launcher::new();
    launcher.add(&folder().join(CLOSED_CAPTIONS));
    let (film, output) = (launcher.file("film.mkv"), launcher.file("captions.mov"));
    let sound: Vec<u8> = speech.samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let wav = Wav::of("captioned", &sound);
    run(&format!(
        "matroskamux name=m ! filesink location={} filesrc location={wav} ! wavparse ! queue ! m. \
         videotestsrc num-buffers=300 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 ! \
         vp8enc ! queue ! m.",
        film.display()
    ))
    .unwrap();
    let script = format!("{}/examples/film-cea608.sh", env!("CARGO_MANIFEST_DIR"));
    let out = launcher.command(&script).args([&film, &output]).arg(server.url()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let line = format!(
        "filesrc location={} ! qtdemux ! closedcaption/x-cea-608 ! ccconverter ! \
         closedcaption/x-cea-608,format=raw ! fakesink name=cc",
        output.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
    let line = Line { bus: pipeline.bus().unwrap(), pipeline };
    let heard = line.listen("cc");
    line.run();
    assert_eq!(words_of_608(&heard.lock().unwrap()), speech.text());
}
