// SPDX-License-Identifier: MPL-2.0

//! The demo: speech at live pace through `vllmrealtimeasr`, then its captions on a film, and a page to
//! look at.
//!
//! `./scripts/demo.sh` runs it, with a server and a folder to leave the results in:
//!
//! ```text
//! demo --url ws://127.0.0.1:8000/v1/realtime [--model NAME] [--timing CLOCK] [--out DIR] [--text]
//!      [--readings DIR | --input FILE | --mic]
//! ```

mod captions;
mod film;
mod page;
mod pipeline;
mod recognise;
mod score;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::{file_source, parse, run, set_location};

type Error = Box<dyn std::error::Error>;

/// Silence between two readings.
const PAUSE: Duration = Duration::from_secs(1);

pub enum Source {
    /// A folder with `fileids`, `transcription` and a WAV file for each.
    Readings(PathBuf),
    File(PathBuf),
    Microphone,
}

pub struct Options {
    url: String,
    model: String,
    timing: String,
    out: PathBuf,
    /// No film, and no page.
    text: bool,
    source: Source,
}

impl Options {
    fn from_args() -> Result<Self, Error> {
        let mut options = Options {
            url: "ws://localhost:8000/v1/realtime".into(),
            model: String::new(),
            timing: "auto".into(),
            out: "target/demo".into(),
            text: false,
            source: Source::Readings("/usr/share/pocketsphinx/test/data/librivox".into()),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--url" => options.url = value()?,
                "--model" => options.model = value()?,
                "--timing" => options.timing = value()?,
                "--out" => options.out = value()?.into(),
                "--text" => options.text = true,
                "--readings" => options.source = Source::Readings(value()?.into()),
                "--input" => options.source = Source::File(value()?.into()),
                "--mic" => options.source = Source::Microphone,
                _ => return Err(format!("no option {arg}").into()),
            }
        }
        Ok(options)
    }
}

/// A word as it left the element. Its times are those of the input's stream.
pub struct Word {
    text: String,
    begin: gst::ClockTime,
    end: gst::ClockTime,
    /// The running time at which it was known.
    known: gst::ClockTime,
}

impl Word {
    /// How long after its end it was known, in seconds.
    fn delay(&self) -> f64 {
        self.known.seconds_f64() - self.end.seconds_f64()
    }
}

fn main() -> Result<(), Error> {
    let options = Options::from_args()?;
    gst::init()?;
    let out = &options.out;
    std::fs::create_dir_all(out)?;

    let (source, transcript, picture) = match &options.source {
        Source::Readings(folder) => {
            let joined = out.join("readings.wav");
            let readings = score::Reading::load(folder)?;
            join(&readings, &joined)?;
            let transcript: Vec<_> = readings.iter().map(|r| r.transcript.as_str()).collect();
            (file_source(&joined, "audio/x-raw")?, Some(transcript.join(" ")), None)
        }
        Source::File(file) => {
            let picture = !options.text && film::has_picture(file)?;
            let picture = picture.then(|| file_source(file, "video/x-raw")).transpose()?;
            (file_source(file, "audio/x-raw")?, None, picture)
        }
        Source::Microphone => ("autoaudiosrc".to_string(), None, None),
    };
    let sound = out.join("sound.wav");
    let (words, audio_end) = recognise::recognise(&source, &options, &sound)?;
    check(&words, audio_end)?;
    let json: Vec<_> = words.iter().map(page::word).collect();
    std::fs::write(out.join("words.json"), serde_json::to_string_pretty(&json)?)?;
    film::subtitles(out, &words)?;

    let score = score::Score::new(&words, transcript.as_deref());
    println!("\n{} words in {:.1} s of audio", words.len(), audio_end.seconds_f64());
    for (name, value) in score.told() {
        println!("{name}: {value}");
    }
    let mut files = vec!["captions.srt", "captions.vtt", "words.json"];
    if !options.text {
        println!("Making the films ...");
        film::film(out, &sound, picture, &words)?;
        let captions = captions::captions(&words)?;
        let longest = captions.iter().max_by_key(|c| c.words());
        film::still(
            out,
            longest.map_or(gst::ClockTime::ZERO, |c| c.end - 200 * gst::ClockTime::MSECOND),
        )?;
        page::page(out, &captions, &score.told())?;
        files.extend(["film.webm", "captions.webm", "frame.png", "index.html"]);
    }
    for name in files {
        println!("{}", out.join(name).display());
    }
    Ok(())
}

/// Words that cannot be.
fn check(words: &[Word], audio_end: gst::ClockTime) -> Result<(), Error> {
    let Some(last) = words.last() else { return Err("no word was heard".into()) };
    for pair in words.windows(2) {
        if pair[1].begin < pair[0].end {
            return Err(format!("{:?} comes before {:?} ends", pair[1].text, pair[0].text).into());
        }
    }
    if last.end > audio_end {
        return Err(format!("words after the audio's end at {audio_end}").into());
    }
    Ok(())
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
