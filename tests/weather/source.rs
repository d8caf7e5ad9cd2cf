// SPDX-License-Identifier: MPL-2.0

//! What sources send: jittered clocks, odd bytes; and where their times are moved on purpose.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstvllmrealtime::asr::Timing;
use vllm_standin::{Fault, Random, Standin, What, When};

use crate::speech::Speech;
use crate::support::*;

/// A buffer: bytes, PTS in ms, whether the source marks it as discontinuous.
type Piece = (Vec<u8>, Option<f64>, bool);

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// The readings in buffers of so many bytes, each with a PTS as `pts` says (in ms, of the time in
/// ms at which it was spoken).
fn pieces(speech: &Speech, size: usize, mut pts: impl FnMut(f64) -> Option<f64>) -> Vec<Piece> {
    let all = bytes(&speech.samples);
    let time = |n: usize| (n * size) as f64 / 32.0;
    all.chunks(size).enumerate().map(|(n, b)| (b.to_vec(), pts(time(n)), n == 0)).collect()
}

/// What the element says of it: words, and their times in ms.
#[derive(Default)]
struct Heard {
    words: Vec<(String, f64)>,
    warnings: Vec<String>,
}

fn hear(speech: &Speech, pieces: Vec<Piece>) -> Heard {
    let server = Standin::builder().aligned(speech.voice()).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("timing", Timing::Frames);
    let mut rig = Rig::new(asr);
    for (bytes, pts, discont) in pieces {
        let mut buffer = gst::Buffer::from_slice(bytes);
        let b = buffer.get_mut().unwrap();
        b.set_pts(pts.map(|ms| gst::ClockTime::from_nseconds((ms * 1e6) as u64)));
        if discont {
            b.set_flags(gst::BufferFlags::DISCONT);
        }
        rig.harness.push(buffer).unwrap();
    }
    rig.eos();
    rig.until_eos();
    Heard::on(&rig.bus)
}

impl Heard {
    /// What is there by now.
    fn on(bus: &gst::Bus) -> Heard {
        let mut heard = Heard::default();
        while let Some(message) = bus.pop() {
            heard.take(&message);
        }
        heard
    }

    fn take(&mut self, message: &gst::Message) {
        if let gst::MessageView::Warning(w) = message.view() {
            self.warnings.push(w.error().message().to_owned());
        }
        if let Some(word) = structure(message, "vllmrealtimeasr/word") {
            let start = word.get::<gst::ClockTime>("start-time").unwrap();
            self.words.push((word.get("text").unwrap(), start.nseconds() as f64 / 1e6));
        }
    }
}

/// All words, in order, each within 60 ms of where `clock` (in ms) puts what `steady` heard.
fn same(name: &str, steady: &Heard, heard: &Heard, clock: impl Fn(f64) -> f64) {
    let texts = |h: &Heard| h.words.iter().map(|w| w.0.clone()).collect::<Vec<_>>();
    assert_eq!(texts(heard), texts(steady), "{name}");
    for (a, b) in steady.words.iter().zip(&heard.words) {
        let off = b.1 - clock(a.1);
        assert!(off.abs() <= 60.0, "{name}: {} is off by {off:.0} ms", a.0);
    }
}

/// 30 s of real speech, and what is heard of it where nothing is wrong.
fn readings() -> (Speech, Heard) {
    let speech = Speech::readings(3200);
    let steady = hear(&speech, pieces(&speech, 3200, Some));
    assert_eq!(steady.words.iter().map(|w| w.0.clone()).collect::<Vec<_>>(), speech.text());
    assert!(steady.warnings.is_empty(), "{:?}", steady.warnings);
    (speech, steady)
}

/// 9.3: half a sample at a buffer's end waits for its other half.
#[test]
fn buffers_of_odd_sizes() {
    let (speech, steady) = readings();
    for size in [4095, 641, 1] {
        let heard = hear(&speech, pieces(&speech, size, Some));
        same(&format!("{size} bytes"), &steady, &heard, |t| t);
        let heard = hear(&speech, pieces(&speech, size, |_| None));
        same(&format!("{size} bytes without times"), &steady, &heard, |t| t);
    }
}

/// 9.3: what is carried over ends where the stream breaks off: DISCONT, FLUSH, a new segment.
#[test]
fn half_a_sample_does_not_outlive_a_break() {
    let (speech, steady) = readings();
    let all = bytes(&speech.samples);
    // Each buffer begins with a whole sample and ends with a lone byte.
    let broken: Vec<Piece> = all
        .chunks(32_000)
        .enumerate()
        .map(|(n, b)| ([b, &[0x7f]].concat(), Some(1000.0 * n as f64), true))
        .collect();
    same("DISCONT", &steady, &hear(&speech, broken), |t| t);

    let server = Standin::builder().aligned(speech.voice()).start().unwrap();
    let mut rig = Rig::new(element(&server.url()));
    let odd = |bytes: &[u8]| gst::Buffer::from_slice([&[0x7f], bytes].concat());
    rig.harness.push(odd(&[])).unwrap();
    assert!(rig.harness.push_event(gst::event::FlushStart::new()));
    assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    // The lone byte would shift all that follows.
    rig.harness.push(gst::Buffer::from_slice(all.clone())).unwrap();
    rig.harness.push(odd(&[])).unwrap();
    let mut other = gst::FormattedSegment::<gst::ClockTime>::new();
    other.set_start(100 * SECOND);
    assert!(rig.harness.push_event(gst::event::Segment::new(&other)));
    rig.harness.push(gst::Buffer::from_slice(all.clone())).unwrap();
    rig.eos();
    let twice = [speech.text(), speech.text()].concat();
    assert_eq!(words(&rig.until_eos()), twice);
    // Another stream, whose segment says the same.
    let mut rig = Rig::new(element(&server.url()));
    rig.harness.push(odd(&[])).unwrap();
    rig.eos();
    rig.until_eos();
    assert!(rig.harness.push_event(gst::event::StreamStart::new("another")));
    assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    rig.harness.push(gst::Buffer::from_slice(all)).unwrap();
    rig.eos();
    assert_eq!(words(&rig.until_eos()), speech.text());
}

/// 9.2: clocks that are off to and fro by up to 250 ms.
#[test]
fn jittered_clocks() {
    let (speech, steady) = readings();
    for (size, wide) in [(640, 45.0), (640, 250.0), (3200, 100.0), (3200, 250.0)] {
        for seed in 0..5 {
            let mut rng = Random::new(seed);
            let mut jitter = || (rng.range(0, 2000) as f64 / 1000.0 - 1.0) * wide;
            let fed = pieces(&speech, size, |t| {
                Some(if t == 0.0 { 1000.0 } else { 1000.0 + t + jitter() })
            });
            let name = format!("{size} bytes, ±{wide} ms, seed {seed}");
            let heard = hear(&speech, fed);
            same(&name, &steady, &heard, |t| 1000.0 + t);
        }
    }
}

/// 9.2: bunches of 250 ms, each stamped when it arrives (`fdsrc do-timestamp=true`).
#[test]
fn bunches() {
    let (speech, steady) = readings();
    let fed = pieces(&speech, 640, |t| Some((t / 250.0).floor() * 250.0));
    same("bunches", &steady, &hear(&speech, fed), |t| t);
    let fed = pieces(&speech, 640, |t| Some((t / 1250.0).floor() * 1250.0));
    same("bunches of more than a second", &steady, &hear(&speech, fed), |t| t);
}

/// 9.2: a clock that runs 0.5 % fast or slow, with jitter and without.
#[test]
fn drifting_clocks() {
    let (speech, steady) = readings();
    for rate in [0.995, 1.005] {
        let name = format!("rate {rate}");
        let fed = pieces(&speech, 3200, |t| Some(t * rate));
        same(&name, &steady, &hear(&speech, fed), |t| t * rate);
        let fed = pieces(&speech, 640, |t| Some((t / 250.0).floor() * 250.0 * rate));
        same(&format!("{name}, bunches"), &steady, &hear(&speech, fed), |t| t * rate);
    }
}

/// 9.2: a source that marks each buffer as discontinuous is taken at its word; below 500 ms
/// nothing is put in and no utterance ends, and the user is told what helps, once.
#[test]
fn a_source_that_breaks_off_again_and_again() {
    let (speech, steady) = readings();
    let mut rng = Random::new(7);
    let fed = pieces(&speech, 3200, |t| Some(1000.0 + t + rng.range(0, 240) as f64));
    let fed = fed.into_iter().map(|(bytes, pts, _)| (bytes, pts, true)).collect();
    let heard = hear(&speech, fed);
    let texts = |h: &Heard| h.words.iter().map(|w| w.0.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&heard), texts(&steady));
    let told: Vec<&String> = heard.warnings.iter().filter(|w| w.contains("audiorate")).collect();
    assert_eq!(told.len(), 1, "{:?}", heard.warnings);
    assert!(told[0].contains("audiobuffersplit"));
}

/// 9.2, 9.3: a pipe that a recorder fills in bunches of 250 ms, read in whole samples or in odd sizes
/// and stamped as it is read; and the same bunches by `appsrc`.
#[test]
fn bunches_through_real_sources() {
    let (speech, steady) = readings();
    let length = 5 * 16_000;
    let parse = "rawaudioparse use-sink-caps=false format=pcm pcm-format=s16le sample-rate=16000 num-channels=1";
    let said = steady.words.iter().take_while(|w| w.1 < 4300.0).count();
    std::thread::scope(|scope| {
        for (way, source) in [
            ("a parser", format!("fdsrc name=in do-timestamp=true blocksize=640 ! {parse}")),
            (
                "a pipe of odd sizes",
                format!("fdsrc name=in do-timestamp=true blocksize=641 ! {CAPS}"),
            ),
            (
                "appsrc",
                format!(
                    "appsrc name=in do-timestamp=true is-live=true format=time caps=\"{CAPS}\""
                ),
            ),
        ] {
            let (speech, steady) = (&speech, &steady);
            scope.spawn(move || {
                let (heard, late) = through(&source, &speech.samples[..length], speech);
                let off: Vec<f64> =
                    heard.words.iter().zip(&steady.words).map(|(a, b)| a.1 - b.1).collect();
                let texts = |h: &Heard| -> Vec<String> {
                    h.words.iter().take(said).map(|w| w.0.clone()).collect()
                };
                assert_eq!(texts(&heard), texts(steady), "{way}");
                assert!(heard.warnings.is_empty(), "{way}: {:?}", heard.warnings);
                // The stream's time begins when the first bunch was read.
                let mut sorted = off[..said].to_vec();
                sorted.sort_by(f64::total_cmp);
                let begins = sorted[said / 2];
                let worst = off[..said].iter().map(|o| (o - begins).abs()).fold(0.0, f64::max);
                assert!(worst < 60.0 + late, "{way}: {late} {off:?}");
            });
        }
    });
}

/// What a pipeline with this source hears of the sound, which comes as it is spoken, in bunches; and by
/// how many ms one of those was late itself.
fn through(source: &str, samples: &[i16], speech: &Speech) -> (Heard, f64) {
    let server = Standin::builder().aligned(speech.voice()).start().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "{source} ! vllmrealtimeasr vad=false timing=frames url={} ! fakesink sync=false async=false",
        server.url()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let input = pipeline.by_name("in").unwrap();
    let mut pipe = None;
    if input.has_property("fd") {
        let (reader, writer) = std::io::pipe().unwrap();
        input.set_property("fd", reader.as_raw_fd());
        pipe = Some((reader, writer));
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let (begun, mut late) = (Instant::now(), 0.0_f64);
    for (n, bunch) in samples.chunks(4000).enumerate() {
        // A recorder's pace.
        let at = begun + n as u32 * Duration::from_millis(250);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        late = late.max(at.elapsed().as_secs_f64() * 1000.0);
        match &mut pipe {
            Some((_, writer)) => writer.write_all(&bytes(bunch)).unwrap(),
            None => {
                for piece in bytes(bunch).chunks(640) {
                    let buffer = gst::Buffer::from_slice(piece.to_vec());
                    let _: gst::FlowReturn = input.emit_by_name("push-buffer", &[&buffer]);
                }
            }
        }
    }
    // The reading end stays open until the pipeline is done with it.
    let reader = pipe.map(|(reader, _)| reader);
    if reader.is_none() {
        let _: gst::FlowReturn = input.emit_by_name("end-of-stream", &[]);
    }
    let mut heard = Heard::default();
    wait_message(&pipeline.bus().unwrap(), |m| {
        heard.take(m);
        matches!(m.view(), gst::MessageView::Eos(_)).then_some(())
    });
    pipeline.set_state(gst::State::Null).unwrap();
    drop(reader);
    (heard, late)
}

/// 9.7: the offset moves what is shown and nothing that is heard, through failures too.
#[test]
fn an_offset_moves_times_and_nothing_else() {
    let (speech, steady) = readings();
    for ms in [0, -5000, -1000, 1000, 5000] {
        // Both ends of the connection are lost in the middle of speech.
        let fault = Fault::new(When::Deltas(100), What::Cut).times(3);
        let server = Standin::builder().aligned(speech.voice()).fault(fault).start().unwrap();
        let asr = element(&server.url());
        asr.set_property("timing", Timing::Frames);
        asr.set_property("timing-offset", ms);
        let mut rig = Rig::new(asr);
        for (bytes, pts, _) in pieces(&speech, 3200, |t| Some(t + 10_000.0)) {
            let mut buffer = gst::Buffer::from_slice(bytes);
            let pts = pts.map(|ms| gst::ClockTime::from_nseconds((ms * 1e6) as u64));
            buffer.get_mut().unwrap().set_pts(pts);
            rig.harness.push(buffer).unwrap();
        }
        rig.eos();
        let out = texts(&rig.until_eos());
        assert_eq!(out.iter().map(|t| t.text.clone()).collect::<Vec<_>>(), speech.text(), "{ms}");
        for (word, (_, start)) in out.iter().zip(&steady.words) {
            let off = word.pts.nseconds() as f64 / 1e6 - 10_000.0 - f64::from(ms) - start;
            // What is heard again is not always placed the same.
            assert!(off.abs() < 600.0, "{ms}: {word:?} is off by {off:.0} ms");
            assert!(word.end - word.pts >= 10 * MS, "{ms}: {word:?}");
        }
    }
}

/// 9.2: RESYNC is as good as DISCONT: the times are set anew, even by less than the threshold.
#[test]
fn a_buffer_to_resync_at() {
    let (speech, steady) = readings();
    let server = Standin::builder().aligned(speech.voice()).start().unwrap();
    let jump = |flags: gst::BufferFlags| {
        let asr = element(&server.url());
        asr.set_property("timing", Timing::Frames);
        let mut rig = Rig::new(asr);
        let (first, rest) = speech.samples.split_at(8 * 16_000);
        rig.harness.push(gst::Buffer::from_slice(bytes(first))).unwrap();
        let mut buffer = gst::Buffer::from_slice(bytes(rest));
        let b = buffer.get_mut().unwrap();
        b.set_pts(8030 * MS);
        b.set_flags(flags);
        rig.harness.push(buffer).unwrap();
        rig.eos();
        rig.until_eos();
        let heard = Heard::on(&rig.bus);
        assert_eq!(heard.words.len(), steady.words.len());
        heard.words.last().unwrap().1 - steady.words.last().unwrap().1
    };
    let (unmarked, resync) = (jump(gst::BufferFlags::empty()), jump(gst::BufferFlags::RESYNC));
    assert!((resync - unmarked - 30.0).abs() < 1.0, "{unmarked} {resync}");
    assert_eq!(jump(gst::BufferFlags::DISCONT), resync);
}

/// 9.7: within the segment, and in order.
#[test]
fn an_offset_stays_within_the_segment() {
    let (speech, _) = readings();
    let server = Standin::builder().aligned(speech.voice()).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("timing-offset", -3000);
    let mut rig = Rig::new(asr);
    let sound = gst::Buffer::from_slice(bytes(&speech.samples));
    rig.harness.push(sound).unwrap();
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out), speech.text());
    assert!(texts(&out).windows(2).all(|w| w[0].end <= w[1].pts));
    // The text ends with the audio, wherever its last word is shown.
    let end = speech.samples.len() as u64 * 62_500;
    assert_eq!(gaps(&out).last().unwrap().1.nseconds(), end);
}

/// 9.29: who speaks next ends the utterance: `final-transcript` goes before the event, and from
/// then on words and items tell the speaker.
#[test]
fn another_speaker() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    let (tell, items) = std::sync::mpsc::channel();
    rig.element.static_pad("sink").unwrap().add_probe(
        gst::PadProbeType::EVENT_UPSTREAM,
        move |_, info| {
            if let Some(item) = info.event().and_then(|e| e.structure())
                && item.has_name("rstranscribe/new-item")
            {
                let _ = tell.send(item.get::<Option<String>>("speaker").ok().flatten());
            }
            gst::PadProbeReturn::Ok
        },
    );
    let change = |speaker: Option<&str>| {
        gst::event::CustomDownstream::new(
            gst::Structure::builder("rstranscribe/speaker-change")
                .field("speaker", speaker)
                .build(),
        )
    };
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    assert!(rig.harness.push_event(change(Some("Ann"))));
    rig.sound(2 * SECOND, 2 * SECOND);
    assert!(rig.harness.push_event(change(None)));
    rig.sound(4 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).len(), 9, "an utterance each");
    // Words, the end of the utterance, the event; and again.
    let order: Vec<String> = out
        .iter()
        .filter_map(|o| match o {
            Out::Buffer(_) => Some("word".to_owned()),
            Out::Event(e) => Some(e.structure()?.name().to_string()),
        })
        .filter(|n| n == "word" || n.starts_with("rstranscribe/"))
        .collect();
    let utterance = ["word", "word", "word", "rstranscribe/final-transcript"];
    let event = ["rstranscribe/speaker-change"];
    let all = [&utterance[..], &event, &utterance, &event, &utterance].concat();
    assert_eq!(order, all);
    let speakers: Vec<Option<String>> = items.try_iter().collect();
    let ann = Some("Ann".to_owned());
    assert_eq!(speakers, [vec![None; 3], vec![ann.clone(); 3], vec![None; 3]].concat());
    let told: Vec<Option<String>> =
        rig.messages("vllmrealtimeasr/word").iter().map(|w| w.get("speaker").ok()).collect();
    assert_eq!(told, speakers);
}
