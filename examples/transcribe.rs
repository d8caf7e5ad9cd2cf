// SPDX-License-Identifier: MPL-2.0

//! Transcribes media files: subtitles, text or JSON beside each of them.
//!
//! ```text
//! cargo run --release --example transcribe -- [OPTIONS] FILE...
//!
//! --url URL            the server (ws://localhost:8000/v1/realtime)
//! --model NAME         its model; without it the one that is served
//! --language CODE      the language that is expected, as en or pt-BR
//! --format FORMAT      srt (default), vtt, txt, json; several separated by commas
//! --output-dir FOLDER  where the results go; without it beside each file
//! --jobs N             files at a time (2)
//! --quiet              no progress
//! ```
//!
//! Ends with 0 when all files went well, 1 when one did not (the others are done all the same), 2 when
//! it was not called right.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use gst::prelude::*;
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

const FORMATS: [&str; 4] = ["srt", "vtt", "txt", "json"];

#[derive(Clone)]
struct Options {
    url: String,
    model: String,
    language: Option<String>,
    formats: Vec<String>,
    folder: Option<PathBuf>,
    jobs: usize,
    quiet: bool,
    files: Vec<PathBuf>,
}

impl Options {
    fn from_args() -> Result<Options, Error> {
        let mut o = Options {
            url: "ws://localhost:8000/v1/realtime".into(),
            model: String::new(),
            language: None,
            formats: vec!["srt".into()],
            folder: None,
            jobs: 2,
            quiet: !std::io::stderr().is_terminal(),
            files: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--url" => o.url = value()?,
                "--model" => o.model = value()?,
                "--language" => o.language = Some(value()?),
                "--format" => o.formats = value()?.split(',').map(str::to_owned).collect(),
                "--output-dir" => o.folder = Some(value()?.into()),
                "--jobs" => o.jobs = value()?.parse().map_err(|_| "--jobs needs a number")?,
                "--quiet" => o.quiet = true,
                "--help" | "-h" => return Err(USAGE.into()),
                _ if arg.starts_with('-') => return Err(format!("no option {arg}").into()),
                _ => o.files.push(arg.into()),
            }
        }
        if let Some(other) = o.formats.iter().find(|f| !FORMATS.contains(&f.as_str())) {
            return Err(format!("no format {other}; there are {}", FORMATS.join(", ")).into());
        }
        if o.files.is_empty() {
            return Err(USAGE.into());
        }
        let outputs: std::collections::HashSet<PathBuf> =
            o.files.iter().map(|file| o.output(file, "srt")).collect();
        if outputs.len() < o.files.len() {
            return Err("two of the files would have the same result".into());
        }
        if let Some(folder) = o.folder.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(format!("{} is no folder", folder.display()).into());
        }
        o.jobs = o.jobs.clamp(1, 64);
        Ok(o)
    }

    /// Where a result goes.
    fn output(&self, file: &Path, format: &str) -> PathBuf {
        let output = file.with_extension(format);
        match (&self.folder, output.file_name()) {
            (Some(folder), Some(name)) => folder.join(name),
            _ => output,
        }
    }
}

const USAGE: &str = "transcribe [--url URL] [--model NAME] [--language CODE] [--format srt,vtt,txt,json] \
    [--output-dir FOLDER] [--jobs N] [--quiet] FILE...";

/// The pipeline of a file, and its recogniser.
fn pipeline(o: &Options, file: &Path) -> Result<(gst::Pipeline, gst::Element), Error> {
    let branch = |format: &String| match format.as_str() {
        "srt" => "t. ! queue ! textrollup mode=pop-on columns=42 ! srtenc ! filesink name=srt",
        "vtt" => {
            "t. ! queue ! textrollup mode=pop-on columns=42 format=pango-markup ! webvttenc \
             ! filesink name=vtt"
        }
        "txt" => "t. ! queue ! textrollup mode=sentence newline=true ! filesink name=txt",
        // Made of the messages.
        _ => "t. ! queue ! fakesink async=false",
    };
    let branches: Vec<&str> = o.formats.iter().map(branch).collect();
    let pipeline = gst::parse::launch(&format!(
        "filesrc name=file ! decodebin ! audioconvert ! audioresample ! vllmrealtimeasr name=asr \
         ! tee name=t {}",
        branches.join(" ")
    ))?
    .downcast::<gst::Pipeline>()
    .map_err(|_| "no pipeline")?;
    let element = |name: &str| pipeline.by_name(name).ok_or(format!("no element {name}"));
    element("file")?.set_property("location", file);
    for format in o.formats.iter().filter(|f| *f != "json") {
        let sink = element(format)?;
        sink.set_property("location", o.output(file, format));
        // The first cue may come late.
        sink.set_property("async", false);
    }
    let asr = element("asr")?;
    asr.set_property("url", &o.url);
    asr.set_property("model", &o.model);
    if let Some(language) = &o.language {
        asr.set_property("language-code", language);
    }
    Ok((pipeline, asr))
}

/// A word as JSON has it: times in seconds.
fn word(s: &gst::StructureRef) -> Option<Value> {
    let time = |name| s.get::<gst::ClockTime>(name).ok().map(|t| t.seconds_f64());
    let text = s.get::<String>("text").ok()?;
    Some(json!({ "word": text, "start": time("start-time")?, "end": time("end-time")? }))
}

fn transcribe(o: &Options, file: &Path, progress: &Progress) -> Result<(), Error> {
    std::fs::metadata(file)?;
    let (pipeline, asr) = pipeline(o, file)?;
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    if pipeline.set_state(gst::State::Playing).is_err() {
        let message = bus.pop_filtered(&[gst::MessageType::Error]);
        pipeline.set_state(gst::State::Null)?;
        return Err(match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => error.error().to_string().into(),
            _ => "the pipeline does not start".into(),
        });
    }
    let (mut words, mut text, mut result) = (Vec::new(), Vec::new(), Ok(()));
    let began = Instant::now();
    loop {
        let message = bus.timed_pop(gst::ClockTime::from_mseconds(200));
        let done = asr.property::<gst::Structure>("stats").get::<u64>("samples-confirmed");
        let length = asr.static_pad("sink").and_then(|p| p.peer_query_duration::<gst::ClockTime>());
        progress.tell(file, done.unwrap_or(0) as f64 / 16_000.0, length, began);
        let Some(message) = message else { continue };
        match message.view() {
            gst::MessageView::Element(element) => match element.structure() {
                Some(s) if s.has_name("vllmrealtimeasr/word") => words.extend(word(s)),
                Some(s) if s.has_name("vllmrealtimeasr/utterance") => {
                    text.extend(s.get::<String>("text"));
                }
                _ => {}
            },
            gst::MessageView::Warning(warning) => progress.line(file, &warning.error().to_string()),
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => {
                result = Err(error.error().to_string().into());
                break;
            }
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null)?;
    if result.is_ok() && o.formats.iter().any(|f| f == "json") {
        let json = json!({ "text": text.join(" "), "words": words });
        std::fs::write(o.output(file, "json"), serde_json::to_string_pretty(&json)?)?;
    }
    result
}

/// What is told while it goes on.
struct Progress {
    quiet: bool,
    /// One line at a time.
    line: Mutex<()>,
}

impl Progress {
    fn tell(&self, file: &Path, done: f64, length: Option<gst::ClockTime>, began: Instant) {
        let Some(length) = length.map(|l| l.seconds_f64()).filter(|_| !self.quiet && done > 0.0)
        else {
            return;
        };
        let speed = done / began.elapsed().as_secs_f64().max(0.001);
        let left = (length - done).max(0.0) / speed;
        let full = (20.0 * done / length.max(done)) as usize;
        let _line = self.line.lock();
        eprint!(
            "\r[{}{}] {:3.0} %  {speed:.1}x  {left:.0} s left  {}   ",
            "#".repeat(full),
            " ".repeat(20 - full),
            100.0 * done / length.max(done),
            file.display()
        );
        let _ = std::io::stderr().flush();
    }

    fn line(&self, file: &Path, text: &str) {
        let _line = self.line.lock();
        eprintln!("{}{}: {text}", if self.quiet { "" } else { "\r\x1b[K" }, file.display());
    }
}

fn main() -> ExitCode {
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = gst::init() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let progress = Progress { quiet: options.quiet, line: Mutex::new(()) };
    let (next, failed) = (Mutex::new(options.files.iter()), Mutex::new(false));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.min(options.files.len()) {
            scope.spawn(|| {
                loop {
                    let file = next.lock().ok().and_then(|mut files| files.next());
                    let Some(file) = file else { break };
                    match transcribe(&options, file, &progress) {
                        Ok(()) => progress.line(file, "done"),
                        Err(error) => {
                            progress.line(file, &error.to_string());
                            if let Ok(mut failed) = failed.lock() {
                                *failed = true;
                            }
                        }
                    }
                }
            });
        }
    });
    if failed.into_inner().unwrap_or(true) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
