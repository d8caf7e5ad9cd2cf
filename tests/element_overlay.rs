// SPDX-License-Identifier: MPL-2.0

//! The bin `vllmcaptionoverlay`: the picture with captions, whatever the sound and the server do.

#[path = "support/launch.rs"]
mod launch;
#[path = "chaos/speech.rs"]
mod speech;
mod support;

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use launch::*;
use support::*;
use vllm_standin::{Aligned, TimedWord};

const WORDS: &str = "one two three four five six seven eight nine";

/// A black picture of so many frames, 10 a second.
fn picture(frames: u32, live: bool) -> String {
    format!(
        "videotestsrc pattern=black is-live={live} num-buffers={frames} ! \
         video/x-raw,format=GRAY8,width=320,height=180,framerate=10/1 ! c.video_sink"
    )
}

/// A pipeline with the bin `c`, and what its picture was: of each frame where it is bright.
struct Film {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Film {
    /// `sync`: the sink shows each frame at its time.
    fn new(bin: &str, rest: &str, sync: bool) -> Film {
        init();
        let pipeline = gst::parse::launch(&format!(
            "vllmcaptionoverlay name=c {bin} ! fakesink name=v sync={sync} {rest}"
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let frames = Arc::new(Mutex::new(Vec::new()));
        let pad = pipeline.by_name("v").unwrap().static_pad("sink").unwrap();
        let seen = Arc::clone(&frames);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                seen.lock().unwrap().push(buffer.map_readable().unwrap().to_vec());
            }
            gst::PadProbeReturn::Ok
        });
        let bus = pipeline.bus().unwrap();
        Film { pipeline, bus, frames }
    }

    fn bin(&self) -> gst::Element {
        self.pipeline.by_name("c").unwrap()
    }

    fn play(&self) {
        let _ = self.pipeline.set_state(gst::State::Playing);
    }

    /// What is given to the overlay: PTS in s, and text.
    fn captions(&self) -> Arc<Mutex<Vec<(f64, String)>>> {
        let captions = Arc::new(Mutex::new(Vec::new()));
        let bin = self.bin().downcast::<gst::Bin>().unwrap();
        let pad = bin.by_name("overlay").unwrap().static_pad("text_sink").unwrap();
        let all = Arc::clone(&captions);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                let text = String::from_utf8_lossy(&buffer.map_readable().unwrap()).into_owned();
                all.lock().unwrap().push((buffer.pts().unwrap().nseconds() as f64 / 1e9, text));
            }
            gst::PadProbeReturn::Ok
        });
        captions
    }

    /// Plays to the end; the messages.
    fn run(&self) -> Result<Vec<gst::Message>, String> {
        self.play();
        let mut messages = Vec::new();
        let result = wait_message(&self.bus, |m| {
            messages.push(m.clone());
            match m.view() {
                gst::MessageView::Eos(_) => Some(Ok(())),
                gst::MessageView::Error(e) => Some(Err(e.error().message().to_owned())),
                _ => None,
            }
        });
        result.map(|()| messages)
    }

    /// Frames so far, as they come.
    fn frames(&self) -> Vec<Vec<u8>> {
        self.frames.lock().unwrap().clone()
    }

    fn stats(&self) -> gst::Structure {
        self.bin().property("stats")
    }
}

impl Drop for Film {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Letters are on it.
fn has_text(frame: &[u8]) -> bool {
    frame.iter().any(|p| *p > 150)
}

fn warnings(messages: &[gst::Message]) -> Vec<String> {
    let text = |m: &gst::Message| match m.view() {
        gst::MessageView::Warning(w) => Some(w.error().message().to_owned()),
        _ => None,
    };
    messages.iter().filter_map(text).collect()
}

fn sound(seconds: u64, name: &str) -> (Wav, String) {
    let wav = Wav::new(name, seconds);
    let rest = format!("filesrc location={wav} ! wavparse ! c.audio_sink");
    (wav, rest)
}

#[test]
fn captions_stand_on_the_picture_and_go() {
    let server = server(WORDS);
    let (_wav, sound) = sound(4, "shown");
    let bin = format!("url={} asr::vad=false", server.url());
    let film = Film::new(&bin, &format!("{} {sound}", picture(80, false)), false);
    film.run().unwrap();
    let frames = film.frames();
    assert_eq!(frames.len(), 80);
    let shown: Vec<bool> = frames.iter().map(|f| has_text(f)).collect();
    let first = shown.iter().position(|s| *s).unwrap();
    let last = shown.iter().rposition(|s| *s).unwrap();
    // Nine words in four seconds, and the hold: no frame without a caption between them.
    assert!(first < 10 && (35..60).contains(&last), "{first} to {last}");
    assert!(shown[first..=last].iter().all(|s| *s), "{shown:?}");
    assert_eq!(film.stats().get::<String>("captions").unwrap(), "shown");
    let rollup = film.stats().get::<gst::Structure>("rollup").unwrap();
    assert_eq!(rollup.get::<u64>("words").unwrap(), 9);
    // Frames of one caption are the same but when a word comes.
    let changes = frames[first..=last].windows(2).filter(|w| w[0] != w[1]).count();
    assert!(changes <= 9, "{changes}");
}

/// What stands in the first line is there, unmoved, until the lines scroll.
#[test]
fn what_stands_does_not_move() {
    let server = server("Wind illumines jolly, gyrating moons: quilting big fjords in May.");
    let (_wav, sound) = sound(4, "stands");
    let bin = format!("url={} asr::vad=false columns=16", server.url());
    let film = Film::new(&bin, &format!("{} {sound}", picture(60, false)), false);
    film.run().unwrap();
    let frames = film.frames();
    let bright = |f: &Vec<u8>| f.iter().filter(|p| **p > 150).count();
    let mut moved = 0;
    for pair in frames.windows(2) {
        let gone = pair[0].iter().zip(&pair[1]).filter(|(a, b)| **a > 150 && **b <= 150).count();
        // Lines that scroll up, or are taken away, change most of what was there.
        if gone > 0 && gone * 4 < bright(&pair[0]) {
            moved += 1;
        }
    }
    assert_eq!(moved, 0);
}

#[test]
fn the_picture_goes_on_without_sound() {
    let film = Film::new("", &picture(30, false), false);
    film.run().unwrap();
    assert_eq!(film.frames().len(), 30);
    assert_eq!(film.stats().get::<String>("captions").unwrap(), "no-sound");
}

#[test]
fn the_picture_goes_on_when_the_sound_ends_first() {
    let server = server("hello");
    let (_wav, sound) = sound(1, "short");
    let bin = format!("url={} asr::vad=false", server.url());
    let film = Film::new(&bin, &format!("{} {sound}", picture(60, false)), false);
    film.run().unwrap();
    assert_eq!(film.frames().len(), 60);
    assert!(film.frames().iter().any(|f| has_text(f)));
}

#[test]
fn the_picture_goes_on_where_no_server_is() {
    for live in [false, true] {
        let (_wav, file) = sound(8, "absent");
        let live_sound =
            format!("audiotestsrc is-live=true num-buffers=40 ! {CAPS} ! c.audio_sink");
        let sound = if live { live_sound } else { file };
        let bin = "url=ws://127.0.0.1:1 latency=500";
        let film = Film::new(bin, &format!("{} {sound}", picture(40, live)), live);
        let messages = film.run().unwrap();
        assert_eq!(film.frames().len(), 40);
        assert!(live || !warnings(&messages).is_empty(), "it is told");
    }
}

#[test]
fn an_error_of_the_captions_is_a_warning_and_the_picture_goes_on() {
    let server = builder(WORDS).api_key("right").start().unwrap();
    let (_wav, sound) = sound(4, "refused");
    let rest = format!("{} {sound} c.audio_src ! fakesink", picture(60, false));
    let url = server.url();
    let film = Film::new(&format!("url={url} api-key=wrong"), &rest, false);
    let messages = film.run().unwrap();
    assert_eq!(film.frames().len(), 60);
    assert!(warnings(&messages).iter().any(|w| w.contains("api-key")), "{messages:?}");
    assert_eq!(film.stats().get::<String>("captions").unwrap(), "failed");
    drop(film);
    let film = Film::new(&format!("url={url} api-key=wrong on-error=error"), &rest, false);
    assert!(film.run().unwrap_err().contains("api-key"));
}

#[test]
fn long_captions_come_again_when_the_server_is_right() {
    let server = builder("hello").api_key("right").start().unwrap();
    let bin = format!("url={} api-key=wrong latency=500 asr::vad=false", server.url());
    let rest = format!(
        "{} audiotestsrc is-live=true samplesperbuffer=160 ! {CAPS} ! c.audio_sink",
        picture(100_000, true)
    );
    let film = Film::new(&bin, &rest, true);
    film.play();
    let warned = |m: &gst::Message| matches!(m.view(), gst::MessageView::Warning(_)).then_some(());
    wait_message(&film.bus, warned);
    film.bin().set_property("api-key", "right");
    wait_message(&film.bus, |m| structure(m, "vllmrealtimeasr/word"));
    let before = film.frames().len();
    // It plays on.
    let deadline = std::time::Instant::now() + DEADLINE;
    while film.frames().len() < before + 5 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(film.stats().get::<String>("captions").unwrap(), "shown");
}

#[test]
fn passthrough_turns_captions_off_and_on() {
    let server = server(WORDS);
    let (_wav, sound) = sound(4, "off");
    let bin = format!("url={} asr::vad=false passthrough=true", server.url());
    let film = Film::new(&bin, &format!("{} {sound}", picture(60, false)), false);
    film.run().unwrap();
    assert_eq!(film.frames().len(), 60);
    assert!(!film.frames().iter().any(|f| has_text(f)));
    assert!(!server.wait(|log| log.deltas() > 0, std::time::Duration::ZERO));
    film.pipeline.set_state(gst::State::Ready).unwrap();
    film.bin().set_property("passthrough", false);
    film.run().unwrap();
    assert!(film.frames().iter().any(|f| has_text(f)));
}

#[test]
fn the_sound_and_the_captions_come_out_too() {
    let server = server(WORDS);
    let (_wav, sound) = sound(4, "out");
    let bin = format!("url={} asr::vad=false", server.url());
    let rest = format!(
        "{} {sound} c.audio_src ! fakesink name=a c.text_src ! fakesink name=t",
        picture(40, false)
    );
    let film = Film::new(&bin, &rest, false);
    let counts = ["a", "t"].map(|name| {
        let (count, pad) = (
            Arc::new(Mutex::new(Vec::new())),
            film.pipeline.by_name(name).unwrap().static_pad("sink").unwrap(),
        );
        let seen = Arc::clone(&count);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                seen.lock().unwrap().push(buffer.map_readable().unwrap().to_vec());
            }
            gst::PadProbeReturn::Ok
        });
        count
    });
    film.run().unwrap();
    let bytes: usize = counts[0].lock().unwrap().iter().map(Vec::len).sum();
    assert_eq!(bytes, 4 * 32_000);
    let cues = counts[1].lock().unwrap().clone();
    let cues: Vec<String> = cues.into_iter().map(|c| String::from_utf8(c).unwrap()).collect();
    assert_eq!(cues.join(" ").replace('\n', " "), WORDS);
    assert!(cues.len() < 4, "{cues:?}");
    // And can be taken away.
    film.pipeline.set_state(gst::State::Null).unwrap();
    for name in ["audio_src", "text_src"] {
        let pad = film.bin().static_pad(name).unwrap();
        film.bin().release_request_pad(&pad);
        assert!(film.bin().static_pad(name).is_none());
    }
}

#[test]
fn a_server_that_dies_does_not_stop_a_live_picture() {
    let server = server(WORDS);
    let bin = format!("url={} latency=500 asr::vad=false", server.url());
    let rest = format!(
        "{} audiotestsrc is-live=true num-buffers=80 ! {CAPS} ! c.audio_sink",
        picture(60, true)
    );
    let film = Film::new(&bin, &rest, true);
    film.play();
    wait_message(&film.bus, |m| structure(m, "vllmrealtimeasr/word"));
    drop(server);
    wait_message(&film.bus, |m| matches!(m.view(), gst::MessageView::Eos(_)).then_some(()));
    assert_eq!(film.frames().len(), 60);
}

/// A cover: one frame, and sound for minutes. Nobody takes its text, and that holds up nothing else.
#[test]
fn a_picture_that_ends_first_does_not_stop_the_rest() {
    let server = server(&"word ".repeat(600));
    let (_wav, sound) = sound(200, "cover");
    let bin = format!("url={} asr::vad=false", server.url());
    let rest = format!(
        "{} {sound} c.audio_src ! fakesink c.text_src ! fakesink sync=false",
        picture(1, false)
    );
    let film = Film::new(&bin, &rest, false);
    film.run().unwrap();
    let asr = film.stats().get::<gst::Structure>("asr").unwrap();
    assert_eq!(asr.get::<u64>("words").unwrap(), 600);
}

/// Where captions cannot come, what wants them ends with the sound.
#[test]
fn the_text_ends_where_captions_have_failed() {
    let server = builder(WORDS).api_key("right").start().unwrap();
    let (_wav, sound) = sound(4, "failed");
    let rest = format!("{} {sound} c.text_src ! fakesink", picture(60, false));
    for bin in [
        format!("url={} api-key=wrong", server.url()),
        "url=ws://127.0.0.1:1 asr::connect-timeout=1000".to_owned(),
    ] {
        let film = Film::new(&bin, &rest, false);
        film.run().unwrap();
        assert_eq!(film.frames().len(), 60);
    }
}

/// Who takes no text has no part in what the picture gets.
#[test]
fn a_text_pad_that_is_not_linked_does_no_harm() {
    let server = server(WORDS);
    let (_wav, sound) = sound(4, "unlinked");
    let bin = format!("url={} asr::vad=false", server.url());
    let film = Film::new(&bin, &format!("{} {sound}", picture(60, false)), false);
    assert!(film.bin().request_pad_simple("text_src").is_some());
    film.run().unwrap();
    assert!(film.frames().iter().any(|f| has_text(f)));
}

/// What the user has set on a child stays.
#[test]
fn children_keep_what_the_user_sets() {
    init();
    let bin = gst::parse::launch(
        "vllmcaptionoverlay name=c overlay::font-desc=Serif overlay::xpad=3 columns=42",
    )
    .unwrap();
    bin.set_property("lines", 3_u32);
    let child = |name: &str| bin.downcast_ref::<gst::Bin>().unwrap().by_name(name).unwrap();
    assert_eq!(child("overlay").property::<String>("font-desc"), "Serif");
    assert_eq!(child("overlay").property::<i32>("xpad"), 3);
    assert_eq!(child("rollup").property::<u32>("columns"), 42);
    assert_eq!(child("rollup").property::<u32>("lines"), 3);
    assert!(bin.request_pad_simple("text_src").is_some());
    assert_eq!(child("cues").property::<u32>("columns"), 42);
}

/// A file with picture and sound: 20 s, 10 frames a second.
fn twenty_seconds(name: &str) -> std::path::PathBuf {
    let film = std::env::temp_dir().join(format!("overlay-{name}-{}.mkv", std::process::id()));
    run(&format!(
        "matroskamux name=m ! filesink location={} \
         videotestsrc pattern=black num-buffers=200 ! \
         video/x-raw,format=GRAY8,width=320,height=180,framerate=10/1 ! queue ! m. \
         audiotestsrc samplesperbuffer=1600 num-buffers=200 ! {CAPS} ! queue ! m.",
        film.display()
    ))
    .unwrap();
    film
}

/// The first frame begins before the segment; behind its words nothing is said for long.
#[test]
fn a_seek_into_a_frame_leaves_its_caption() {
    init();
    let word = |word: &str, start, end| TimedWord { word: word.to_owned(), start, end };
    let words = Aligned::from_start(&[word("here", 0.0, 0.6), word("there", 9.0, 9.5)]);
    let server = vllm_standin::Standin::builder().aligned(words).start().unwrap();
    let file = twenty_seconds("seek");
    let source = format!(
        "filesrc location={} ! matroskademux name=d d. ! c.video_sink d. ! c.audio_sink",
        file.display()
    );
    let bin = format!("url={} asr::vad=false", server.url());
    let film = Film::new(&bin, &source, true);
    let done = |m: &gst::Message| matches!(m.view(), gst::MessageView::AsyncDone(_)).then_some(());
    film.pipeline.set_state(gst::State::Paused).unwrap();
    wait_message(&film.bus, done);
    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
    film.pipeline.seek_simple(flags, 15_050 * MS).unwrap();
    wait_message(&film.bus, done);
    film.run().unwrap();
    std::fs::remove_file(file).unwrap();
    let frames = film.frames();
    assert!(frames[frames.len() - 50..].iter().any(|f| has_text(f)), "{}", frames.len());
}

/// A demuxer without queues behind it: it stops where one of its streams is full, and the captions
/// need 5 s of sound.
#[test]
fn a_source_that_gives_the_picture_first_is_not_stuck() {
    init();
    let server = builder(WORDS).cadence(vllm_standin::Cadence::Segments).start().unwrap();
    let film = twenty_seconds("first");
    let source = format!(
        "filesrc location={} ! matroskademux name=d d. ! c.video_sink d. ! c.audio_sink \
         c.audio_src ! fakesink",
        film.display()
    );
    let bin = format!("url={} latency=500 asr::vad=false", server.url());
    let film_with_captions = Film::new(&bin, &source, false);
    film_with_captions.run().unwrap();
    std::fs::remove_file(film).unwrap();
    assert_eq!(film_with_captions.frames().len(), 200);
    let stats = film_with_captions.stats().get::<gst::Structure>("rollup").unwrap();
    assert!(stats.get::<u64>("words").unwrap() > 0);
}

/// What is wrong with a caption at this time, if it is not what is said there: its words come one
/// after the other, and the last of them has begun a moment ago or stands on.
fn wrong(speech: &speech::Speech, pts: f64, text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let all = &speech.words;
    let said = |last: usize| {
        let first = (last + 1).checked_sub(words.len());
        let alike =
            |first| all[first..=last].iter().map(|w| w.word.as_str()).eq(words.iter().copied());
        let next = all.get(last + 1).map_or(f64::MAX, |w| w.start);
        // What stands on does so until the next word, or for `hold`.
        let to = (all[last].end + 3.0).min(next + 0.5);
        first.is_some_and(alike) && (all[last].start - 0.4..=to).contains(&pts)
    };
    !(0..all.len()).any(said)
}

/// A player: seeks, pauses, and other speeds, one after the other, at any moment. No caption is of
/// another place than where the film is.
#[test]
fn long_seeks_and_pauses_of_any_kind() {
    init();
    let speech = Arc::new(speech::Speech::paused(56, &[0.3, 2.0, 5.0]));
    let server = vllm_standin::Standin::builder().aligned(speech.voice()).start().unwrap();
    let sound: Vec<u8> = speech.samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let wav = Wav::of("seeks", &sound);
    let file = std::env::temp_dir().join(format!("overlay-seeks-{}.mkv", std::process::id()));
    run(&format!(
        "matroskamux name=m ! filesink location={} \
         videotestsrc pattern=black num-buffers=600 ! \
         video/x-raw,format=I420,width=64,height=48,framerate=10/1 ! queue ! m. \
         filesrc location={wav} ! wavparse ! queue ! m.",
        file.display()
    ))
    .unwrap();
    let source = format!(
        "filesrc location={} ! matroskademux name=d d. ! c.video_sink d. ! c.audio_sink \
         c.audio_src ! fakesink sync=true",
        file.display()
    );
    let early = speech.text()[..3].join(" ");
    assert!(!wrong(&speech, speech.words[2].start, &early));
    assert!(wrong(&speech, speech.words[2].start + 10.0, &early));
    let mut captions = 0;
    for round in 0..5 {
        let film = Film::new(&format!("url={}", server.url()), &source, true);
        let shown = film.captions();
        film.play();
        let mut random = vllm_standin::Random::new(round);
        let failed = |m: &gst::Message| match m.view() {
            gst::MessageView::Error(e) => Some(Some(format!("{} {:?}", e.error(), e.debug()))),
            gst::MessageView::AsyncDone(_) => Some(None),
            _ => None,
        };
        assert_eq!(wait_message(&film.bus, failed), None);
        let mut playing = true;
        for step in 0..40 {
            if random.chance(20) {
                playing = !playing;
                let state = if playing { gst::State::Playing } else { gst::State::Paused };
                film.pipeline.set_state(state).unwrap();
                continue;
            }
            let rate = random.pick(&[1.0, 1.0, 1.0, 0.5, 2.0]);
            let to = random.range(0, 50_000) * MS;
            let flags = gst::SeekFlags::FLUSH
                | random.pick(&[gst::SeekFlags::ACCURATE, gst::SeekFlags::KEY_UNIT]);
            let seek = gst::event::Seek::new(
                rate,
                flags,
                gst::SeekType::Set,
                to,
                gst::SeekType::Set,
                gst::ClockTime::NONE,
            );
            assert!(film.pipeline.send_event(seek), "round {round}, step {step}");
            // Each other time the next one comes before this one is through.
            if random.chance(50) {
                assert_eq!(wait_message(&film.bus, failed), None, "round {round}, step {step}");
            }
            if playing && random.chance(30) {
                let before = shown.lock().unwrap().len();
                let end = std::time::Instant::now() + DEADLINE;
                while shown.lock().unwrap().len() == before {
                    assert!(std::time::Instant::now() < end, "round {round}, step {step}");
                    let message = film.bus.timed_pop(10 * MS);
                    assert_eq!(message.as_ref().and_then(failed).flatten(), None);
                }
            }
        }
        // It still plays, with captions.
        while film.bus.pop().is_some() {}
        film.pipeline.set_state(gst::State::Playing).unwrap();
        let seek = gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
            gst::SeekType::Set,
            57 * SECOND,
            gst::SeekType::Set,
            gst::ClockTime::NONE,
        );
        assert!(film.pipeline.send_event(seek));
        let end = wait_message(&film.bus, |m| match m.view() {
            gst::MessageView::Error(e) => Some(Some(e.error().to_string())),
            gst::MessageView::Eos(_) => Some(None),
            _ => None,
        });
        assert_eq!(end, None, "round {round}");
        let shown = shown.lock().unwrap();
        for (pts, text) in shown.iter() {
            assert!(!wrong(&speech, *pts, text), "round {round}: '{text}' at {pts:.2} s");
        }
        captions += shown.len();
    }
    assert!(captions > 100, "{captions}");
    std::fs::remove_file(file).unwrap();
}

/// Played to its end, back to the beginning, and the server dies: captions come again, and the sound
/// goes on.
#[test]
fn long_a_film_that_is_played_again_has_captions_again() {
    let mut server = server(WORDS);
    let (_wav, sound) = sound(6, "again");
    let bin = format!("url={} asr::vad=false asr::messages=word", server.url());
    let rest = format!("{} {sound} c.audio_src ! fakesink name=a sync=true", picture(60, false));
    let film = Film::new(&bin, &rest, true);
    film.run().unwrap();
    let again = gst::event::Seek::new(
        1.0,
        gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
        gst::SeekType::Set,
        gst::ClockTime::ZERO,
        gst::SeekType::Set,
        gst::ClockTime::NONE,
    );
    server.stop();
    let heard = Arc::new(Mutex::new(0));
    let count = Arc::clone(&heard);
    let pad = film.pipeline.by_name("a").unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        *count.lock().unwrap() += info.buffer().map_or(0, |b| b.size());
        gst::PadProbeReturn::Ok
    });
    assert!(film.pipeline.send_event(again));
    assert!(!server.wait(|_| false, std::time::Duration::from_secs(3)));
    server.restart().unwrap();
    wait_message(&film.bus, |m| structure(m, "vllmrealtimeasr/word"));
    wait_message(&film.bus, |m| matches!(m.view(), gst::MessageView::Eos(_)).then_some(()));
    // Both sinks send the seek on: the second one may find that the first has begun.
    assert!(*heard.lock().unwrap() >= 6 * 32_000);
}

/// As a user types it: no progress of a connection keeps `gst-launch-1.0` from playing.
#[test]
fn a_film_plays_where_no_server_is() {
    let (wav, launcher) = (Wav::new("typed", 3), Launcher::new());
    let output = launcher.run(
        &format!(
            "vllmcaptionoverlay name=c url=ws://127.0.0.1:1 ! fakesink sync=true \
             videotestsrc num-buffers=30 ! video/x-raw,framerate=10/1 ! c.video_sink \
             filesrc location={wav} ! wavparse ! c.audio_sink"
        ),
        "",
    );
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn captions_on_a_picture_wait_for_their_time() {
    init();
    let bin = gst::ElementFactory::make("vllmcaptionoverlay").build().unwrap();
    let bus = gst::Bus::new();
    bin.set_bus(Some(&bus));
    bin.set_property("latency", 4000_u32);
    bin.set_property("latency", u32::MAX);
    assert_eq!(bin.property::<u32>("latency"), 4000);
    let warning = bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
    let gst::MessageView::Warning(warning) = warning.view() else { panic!() };
    assert!(warning.error().message().contains("Property latency"), "{warning:?}");
    bin.set_bus(None);
}
