// SPDX-License-Identifier: MPL-2.0

//! 9.1: audio that just stops, and 9.27: more of it at once than the backlog holds.

use gst::prelude::*;
use vllm_standin::{Builder, Cadence, Standin};

use crate::speech::Speech;
use crate::support::*;

/// The readings with half a second between them, and a stand-in that hears them.
fn readings(cadence: Cadence) -> (Speech, Builder) {
    let speech = Speech::readings(8000);
    let server = Standin::builder().aligned(speech.voice()).cadence(cadence);
    (speech, server)
}

/// A live source before the element.
struct Live {
    pipeline: gst::Pipeline,
    source: gst::Element,
    bus: gst::Bus,
    /// ms of audio given so far.
    at: u64,
    words: Vec<String>,
}

impl Live {
    /// `behind` stands between the source and the element.
    fn new(server: &Standin, behind: &str) -> Live {
        Live::with(server, behind, "")
    }

    /// `settings`: of the element.
    fn with(server: &Standin, behind: &str, settings: &str) -> Live {
        init();
        let pipeline = gst::parse::launch(&format!(
            "appsrc name=src is-live=true format=time caps=\"{CAPS}\" {behind} \
             ! vllmrealtimeasr name=asr vad=false {settings} url={} ! fakesink sync=false async=false",
            server.url()
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let source = pipeline.by_name("src").unwrap();
        let bus = pipeline.bus().unwrap();
        Live { pipeline, source, bus, at: 0, words: Vec::new() }
    }

    /// So many ms of speech, as fast as the pipeline takes them: its times go on where they were.
    fn speak(&mut self, speech: &Speech, ms: u64) {
        for _ in 0..ms / 20 {
            let from = self.at as usize * 16;
            let bytes: Vec<u8> =
                speech.samples[from..from + 320].iter().flat_map(|s| s.to_le_bytes()).collect();
            let mut buffer = gst::Buffer::from_slice(bytes);
            buffer.get_mut().unwrap().set_pts(self.at * MS);
            let flow: gst::FlowReturn = self.source.emit_by_name("push-buffer", &[&buffer]);
            assert_eq!(flow, gst::FlowReturn::Ok);
            self.at += 20;
        }
    }

    /// Waits until so many words are there.
    fn hear(&mut self, count: usize) -> Vec<String> {
        while self.words.len() < count {
            let word = wait_message(&self.bus, |m| structure(m, "vllmrealtimeasr/word"));
            self.words.push(word.get("text").unwrap());
        }
        self.words.clone()
    }

    /// EOS, and all words to the end.
    fn end(mut self) -> Vec<String> {
        let _: gst::FlowReturn = self.source.emit_by_name("end-of-stream", &[]);
        wait_message(&self.bus, |m| {
            if let Some(word) = structure(m, "vllmrealtimeasr/word") {
                self.words.push(word.get("text").unwrap());
            }
            matches!(m.view(), gst::MessageView::Eos(_)).then_some(())
        });
        self.words.clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A source that stops behind the last word of 0880, and then says nothing more.
#[test]
fn all_words_come_though_nothing_follows() {
    for cadence in [Cadence::Frames, Cadence::Segments, Cadence::Arrival, Cadence::Utterance] {
        let speech = Speech::readings(8000);
        // The second one begins where the first one and its pause end.
        let begin = speech.words.iter().position(|w| w.word == "ill").unwrap() - 4;
        let words = &speech.words[begin..begin + 8];
        let from = (words[0].start * 1000.0) as u64 / 20 * 20 - 200;
        let to = (words[7].end * 1000.0) as u64;
        let mut one = Speech { samples: Vec::new(), words: Vec::new() };
        one.samples.extend(&speech.samples[from as usize * 16..to as usize * 16 + 320]);
        let server = Standin::builder().aligned(speech.voice()).cadence(cadence).start().unwrap();
        let mut live = Live::new(&server, "");
        live.speak(&one, to - from);
        let texts: Vec<String> = words.iter().map(|w| w.word.clone()).collect();
        assert_eq!(live.hear(8), texts, "{cadence:?}");
        // Nothing is parked on the server.
        assert!(server.wait(|log| log.done() == 1, DEADLINE), "{cadence:?}");
        assert_eq!(live.end(), texts, "{cadence:?}");
    }
}

/// 9.23: from a server without a clock words leave while the audio still comes.
#[test]
fn words_without_a_clock_leave_once_they_are_whole() {
    let (speech, builder) = readings(Cadence::Arrival);
    let server = builder.start().unwrap();
    // No stall ends the utterance.
    let mut live = Live::with(&server, "", "silence-commit=60000");
    live.speak(&speech, 8000);
    // The last one may still grow.
    let heard = speech.words.iter().take_while(|w| w.end < 7.5).count() - 1;
    assert_eq!(live.hear(heard), speech.text()[..heard]);
    assert_eq!(server.log().done(), 0);
    live.speak(&speech, speech.samples.len() as u64 / 320 * 20 - 8000);
    assert_eq!(live.end(), speech.text());
}

/// A stall in the middle of a word: it is heard again whole, and none is said twice.
#[test]
fn a_word_at_the_cut_is_heard_again_whole() {
    for cadence in [Cadence::Frames, Cadence::Segments] {
        let (speech, builder) = readings(cadence);
        let server = builder.start().unwrap();
        let mut live = Live::new(&server, "");
        for n in 1..=3_u32 {
            // Where a little of a word was heard: less than half, so that it is not said yet.
            let word = speech.words.iter().find(|w| w.start > 4.0 * f64::from(n)).unwrap();
            let cut = ((word.start + (word.end - word.start) * 0.3) * 50.0) as u64 * 20;
            live.speak(&speech, cut - live.at);
            let before = speech.words.iter().take_while(|w| w.end * 1000.0 < cut as f64).count();
            let heard = live.hear(before);
            assert_eq!(heard, speech.text()[..before], "{cadence:?}, cut {n}");
            assert!(server.wait(|log| log.done() >= u64::from(n), DEADLINE));
        }
        live.speak(&speech, speech.samples.len() as u64 / 320 * 20 - live.at);
        assert_eq!(live.end(), speech.text(), "{cadence:?}");
    }
}

/// `valve drop=true` in the middle of a sentence.
#[test]
fn a_microphone_that_is_muted() {
    let (speech, builder) = readings(Cadence::Frames);
    let server = builder.start().unwrap();
    let mut live = Live::new(&server, "! valve name=valve");
    let valve = live.pipeline.by_name("valve").unwrap();
    let muted = (speech.words[8].end * 50.0) as u64 * 20 + 20;
    live.speak(&speech, muted);
    let before = speech.words.iter().take_while(|w| w.end * 1000.0 < muted as f64).count();
    assert_eq!(live.hear(before - 1), speech.text()[..before - 1]);
    valve.set_property("drop", true);
    live.speak(&speech, 5000);
    let heard = live.hear(before);
    assert_eq!(heard, speech.text()[..before]);
}

/// An RTP sender that mutes, or stops: what was said is told, by frames and by segments.
#[test]
fn an_rtp_sender_that_stops() {
    for cadence in [Cadence::Frames, Cadence::Segments] {
        for mutes in [true, false] {
            let (speech, builder) = readings(cadence);
            let server = builder.start().unwrap();
            let mut live = Live::new(
                &server,
                "! audioconvert ! rtpL16pay min-ptime=20000000 max-ptime=20000000 \
                 ! valve name=valve ! rtpjitterbuffer ! rtpL16depay ! audioconvert",
            );
            let stops = (speech.words[8].end * 50.0) as u64 * 20 + 40;
            live.speak(&speech, stops);
            let heard = live.hear(9);
            assert_eq!(heard, speech.text()[..9], "{cadence:?}, mutes: {mutes}");
            assert!(server.wait(|log| log.done() >= 1, DEADLINE), "{cadence:?}");
            if mutes {
                live.pipeline.by_name("valve").unwrap().set_property("drop", true);
                live.speak(&speech, 3000);
            } else {
                assert_eq!(live.end(), speech.text()[..9], "{cadence:?}");
            }
        }
    }
}

/// PLAYING to PAUSED: the words come at once, and go on in PLAYING.
#[test]
fn a_pipeline_that_pauses() {
    for cadence in [Cadence::Frames, Cadence::Segments] {
        let (speech, builder) = readings(cadence);
        let server = builder.start().unwrap();
        let asr = element(&server.url());
        // What would end the utterance else is far away.
        asr.set_property("silence-commit", 60_000_u32);
        let mut rig = Rig::bare(asr);
        rig.harness.set_live(true);
        rig.harness.play();
        rig.harness.set_src_caps_str(CAPS);
        let cut = (speech.words[6].end * 16_000.0) as usize + 320;
        let (first, rest) = speech.samples.split_at(cut);
        let buffer = |samples: &[i16]| {
            gst::Buffer::from_slice(
                samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<u8>>(),
            )
        };
        rig.harness.push(buffer(first)).unwrap();
        rig.element.set_state(gst::State::Paused).unwrap();
        let mut heard = Vec::new();
        while heard.len() < 7 {
            let word = rig.message(|m| structure(m, "vllmrealtimeasr/word"));
            heard.push(word.get::<String>("text").unwrap());
        }
        assert_eq!(heard, speech.text()[..7], "{cadence:?}");
        assert!(server.wait(|log| log.done() >= 1, DEADLINE));
        rig.element.set_state(gst::State::Playing).unwrap();
        for piece in rest.chunks(1600) {
            rig.harness.push(buffer(piece)).unwrap();
        }
        rig.eos();
        assert_eq!(words(&rig.until_eos()).join(" "), speech.text().join(" "), "{cadence:?}");
    }
}

/// One live buffer as long as the whole backlog, with an idle server; and one that is longer.
#[test]
fn one_buffer_as_long_as_the_backlog() {
    let speech = Speech::new(62);
    for (seconds, dropped_at_most) in [(60_u64, 0), (62, 2)] {
        let server = Standin::builder().aligned(speech.voice()).start().unwrap();
        let asr = element(&server.url());
        asr.set_property("max-backlog", 60_000_u32);
        let mut rig = Rig::bare(asr);
        rig.harness.set_live(true);
        rig.harness.play();
        rig.harness.set_src_caps_str(CAPS);
        let samples = &speech.samples[..seconds as usize * 16_000];
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        rig.harness.push(gst::Buffer::from_slice(bytes)).unwrap();
        rig.eos();
        rig.until_eos();
        let stats = rig.element.property::<gst::Structure>("stats");
        let dropped = stats.get::<u64>("samples-dropped").unwrap();
        assert!(dropped <= dropped_at_most * 16_000, "{seconds} s: {stats}");
        assert_eq!(
            dropped + stats.get::<u64>("samples-confirmed").unwrap(),
            seconds * 16_000,
            "{stats}"
        );
    }
}
