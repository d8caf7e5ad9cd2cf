// SPDX-License-Identifier: MPL-2.0

//! The demo: speech at live pace through `vllmrealtimeasr`, captions on a picture of the sound.
//!
//! `./scripts/demo.sh` runs it, with a server and a folder to leave the results in:
//!
//! ```text
//! demo --url ws://127.0.0.1:8000/v1/realtime [--model NAME] [--out DIR]
//!      [--readings DIR | --input FILE | --mic]
//! ```

mod lines;
mod score;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;

type Error = Box<dyn std::error::Error>;

/// Silence between two readings.
const PAUSE: Duration = Duration::from_secs(1);

/// Nothing here is shown live, and the small recogniser tells its words at the end of a sentence:
/// so the words have the time that they need, and none is moved from its place.
const LATENCY: Duration = Duration::from_secs(60);

/// Attempts to reach a server that has gone; then the demo ends with what went wrong.
const RECONNECT: i32 = 5;

enum Source {
    /// A folder with `fileids`, `transcription` and a WAV file for each.
    Readings(PathBuf),
    File(PathBuf),
    Microphone,
}

struct Options {
    url: String,
    model: String,
    out: PathBuf,
    source: Source,
}

impl Options {
    fn from_args() -> Result<Self, Error> {
        let mut options = Options {
            url: "ws://localhost:8000/v1/realtime".into(),
            model: String::new(),
            out: "target/demo".into(),
            source: Source::Readings("/usr/share/pocketsphinx/test/data/librivox".into()),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--url" => options.url = value()?,
                "--model" => options.model = value()?,
                "--out" => options.out = value()?.into(),
                "--readings" => options.source = Source::Readings(value()?.into()),
                "--input" => options.source = Source::File(value()?.into()),
                "--mic" => options.source = Source::Microphone,
                _ => return Err(format!("no option {arg}").into()),
            }
        }
        Ok(options)
    }
}

/// A word as it left the element. Times are those of the input's stream.
pub struct Word {
    text: String,
    begin: gst::ClockTime,
    end: gst::ClockTime,
}

fn main() -> Result<(), Error> {
    let options = Options::from_args()?;
    gst::init()?;
    std::fs::create_dir_all(&options.out)?;

    let (source, transcript) = match &options.source {
        Source::Readings(folder) => {
            let joined = options.out.join("readings.wav");
            let readings = score::Reading::load(folder)?;
            join(&readings, &joined)?;
            let transcript: Vec<_> = readings.iter().map(|r| r.transcript.as_str()).collect();
            (file_source(&joined)?, Some(transcript.join(" ")))
        }
        Source::File(file) => (file_source(file)?, None),
        Source::Microphone => ("autoaudiosrc".to_string(), None),
    };
    let (words, audio_end) = caption(&source, &options)?;

    if words.is_empty() {
        return Err("no word was heard".into());
    }
    for pair in words.windows(2) {
        if pair[1].begin < pair[0].end {
            return Err(format!("{:?} comes before {:?} ends", pair[1].text, pair[0].text).into());
        }
    }
    if words[words.len() - 1].end > audio_end {
        return Err(format!("words after the audio's end at {audio_end}").into());
    }
    let json: Vec<_> = words
        .iter()
        .map(|w| {
            let (start, end) = (w.begin.seconds_f64(), w.end.seconds_f64());
            serde_json::json!({ "word": w.text, "start": start, "end": end })
        })
        .collect();
    std::fs::write(options.out.join("words.json"), serde_json::to_string_pretty(&json)?)?;
    still(&options.out, lines::fullest(&words))?;

    println!("\n{} words in {:.1} s of audio", words.len(), audio_end.seconds_f64());
    if let Some(transcript) = transcript {
        let heard: Vec<_> = words.iter().map(|w| w.text.as_str()).collect();
        let score = score::word_errors(&transcript, &heard.join(" "));
        println!("word error rate {:.3} ({} of {})", score.rate(), score.errors, score.words);
    }
    for name in ["captions.srt", "captions.webm", "frame.png", "words.json"] {
        println!("{}", options.out.join(name).display());
    }
    Ok(())
}

fn file_source(file: &Path) -> Result<String, Error> {
    let path = std::fs::canonicalize(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let uri = glib::filename_to_uri(path, None)?;
    Ok(format!("uridecodebin uri=\"{uri}\" caps=audio/x-raw expose-all-streams=false"))
}

/// Joins the readings, with a pause after each, in one file.
fn join(readings: &[score::Reading], joined: &Path) -> Result<(), Error> {
    let caps = "audio/x-raw,format=S16LE,rate=16000,channels=1";
    let mut launch = format!("concat name=c ! {caps} ! wavenc ! filesink name=out ");
    for i in 0..readings.len() {
        launch += &format!(
            "filesrc name=in{i} ! wavparse ! c. \
             audiotestsrc wave=silence samplesperbuffer=160 num-buffers={} ! {caps} ! c. ",
            PAUSE.as_millis() / 10
        );
    }
    let pipeline = parse(&launch)?;
    set_location(&pipeline, "out", joined);
    for (i, reading) in readings.iter().enumerate() {
        set_location(&pipeline, &format!("in{i}"), &reading.file);
    }
    run(&pipeline)
}

fn parse(launch: &str) -> Result<gst::Pipeline, Error> {
    gst::parse::launch(launch)?.downcast().map_err(|_| "no pipeline".into())
}

fn element(pipeline: &gst::Pipeline, name: &str) -> gst::Element {
    pipeline.by_name(name).expect("named in the launch line")
}

fn set_location(pipeline: &gst::Pipeline, name: &str, file: &Path) {
    element(pipeline, name).set_property("location", file);
}

/// Runs a pipeline to its end.
fn run(pipeline: &gst::Pipeline) -> Result<(), Error> {
    let main_loop = glib::MainLoop::new(None, false);
    let failure = Arc::new(Mutex::new(None::<String>));
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let _watch = bus.add_watch({
        let (main_loop, failure) = (main_loop.clone(), failure.clone());
        move |_, message| {
            match message.view() {
                gst::MessageView::Eos(..) => main_loop.quit(),
                gst::MessageView::Error(error) => {
                    *failure.lock().unwrap() = Some(error.error().to_string());
                    main_loop.quit();
                }
                gst::MessageView::Warning(warning) => eprintln!("warning: {}", warning.error()),
                _ => (),
            }
            glib::ControlFlow::Continue
        }
    })?;
    let started = pipeline.set_state(gst::State::Playing);
    if started.is_ok() {
        main_loop.run();
    } else if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
        && let gst::MessageView::Error(error) = message.view()
    {
        *failure.lock().unwrap() = Some(error.error().to_string());
    }
    pipeline.set_state(gst::State::Null)?;
    if let Some(failure) = failure.lock().unwrap().take() {
        return Err(failure.into());
    }
    started?;
    Ok(())
}

/// The pipeline of the demo. Returns the words, and the end of the audio.
///
/// The picture is made from the sound and waits at `textoverlay` for its words; what waits there
/// is sound, which is small, so its queue has no bound.
fn caption(source: &str, options: &Options) -> Result<(Vec<Word>, gst::ClockTime), Error> {
    let queue = "queue max-size-time=0 max-size-bytes=0 max-size-buffers=0";
    let pipeline = parse(&format!(
        "{source} ! audioconvert ! audioresample
           ! audio/x-raw,format=S16LE,rate=16000,channels=1 ! clocksync ! tee name=sound
         sound. ! queue ! vllmrealtimeasr name=asr ! tee name=text
         text. ! {queue} name=cues ! srtenc ! filesink name=srt async=false
         text. ! {queue} name=captions ! overlay.text_sink
         sound. ! {queue} ! audioconvert ! audio/x-raw,channels=2 ! wavescope style=lines shader=none
           ! video/x-raw,width=640,height=360,framerate=25/1 ! videoconvert
           ! textoverlay name=overlay wait-text=true shaded-background=true
             font-desc=\"Sans 20\" ypad=30
           ! videoconvert ! vp8enc deadline=1 cpu-used=4 end-usage=cq cq-level=8
             target-bitrate=2000000 threads=2
           ! mux.
         sound. ! {queue} ! audioconvert ! audioresample ! vorbisenc ! mux.
         webmmux name=mux ! filesink name=webm async=false"
    ))?;
    set_location(&pipeline, "srt", &options.out.join("captions.srt"));
    set_location(&pipeline, "webm", &options.out.join("captions.webm"));
    let asr = element(&pipeline, "asr");
    asr.set_property("url", &options.url);
    asr.set_property("model", &options.model);
    asr.set_property("reconnect", RECONNECT);
    asr.set_property("latency", LATENCY.as_millis() as u32);

    let words = Arc::new(Mutex::new(Vec::new()));
    let audio_end = Arc::new(Mutex::new(gst::ClockTime::ZERO));
    let src = asr.static_pad("src").ok_or("no src pad")?;
    src.add_probe(gst::PadProbeType::BUFFER, {
        let (words, asr) = (words.clone(), asr.downgrade());
        move |_, info| {
            if let Some(word) = info.buffer().and_then(|b| lines::word(b)) {
                let now = asr.upgrade().and_then(|asr| asr.current_running_time());
                let late = now.map_or(0.0, |now| now.seconds_f64() - word.end.seconds_f64());
                println!(
                    "{:8.2} {:8.2}  {}  (+{late:.2} s)",
                    word.begin.seconds_f64(),
                    word.end.seconds_f64(),
                    word.text
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
    lines::install(&element(&pipeline, "cues"), lines::Style::Plain)?;
    lines::install(&element(&pipeline, "captions"), lines::Style::Spoken)?;

    if matches!(options.source, Source::Microphone) {
        println!("Speak; Enter ends it.");
        end_on_enter(&pipeline);
    }
    println!("   begin      end  word  (given out after its end)");
    run(&pipeline)?;
    let words = std::mem::take(&mut *words.lock().unwrap());
    let audio_end = *audio_end.lock().unwrap();
    Ok((words, audio_end))
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

/// Takes the frame that is shown at `time` out of the film.
fn still(out: &Path, time: gst::ClockTime) -> Result<(), Error> {
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
