// SPDX-License-Identifier: MPL-2.0

//! 9.10: a segmented server cuts words at its edges, and what it has said leaks into what it says.

use gst::prelude::*;
use gstvllmrealtime::asr::Timing;
use vllm_standin::{Cadence, Edges, GenerationLog, Standin};

use crate::speech::Speech;
use crate::support::*;

/// All words of the speech, by a server that has both faults, and what it heard.
fn hear(speech: &Speech, vad: bool, most: u32, seed: u64) -> (Vec<String>, Vec<GenerationLog>) {
    let server = Standin::builder()
        .aligned(speech.voice())
        .cadence(Cadence::Segments)
        .edges(Edges::Cut)
        .leak(true)
        .seed(seed)
        .start()
        .unwrap();
    let asr = element(&server.url());
    asr.set_property("vad", vad);
    asr.set_property("timing", Timing::Segments);
    asr.set_property("max-utterance", most);
    let mut rig = Rig::new(asr);
    for (n, piece) in speech.samples.chunks(1600).enumerate() {
        let bytes: Vec<u8> = piece.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.get_mut().unwrap().set_pts(n as u64 * 100 * MS);
        rig.harness.push(buffer).unwrap();
    }
    rig.eos();
    let words = words(&rig.until_eos());
    let generations = server.log().generations().cloned().collect();
    (words, generations)
}

#[test]
fn every_word_comes_once_and_whole() {
    // As it is read; without any silence between the readings; with some.
    for pause in [0, 8000] {
        let speech = Speech::readings(pause);
        for vad in [true, false] {
            let (words, generations) = hear(&speech, vad, 0, 1);
            assert_eq!(words, speech.text(), "{pause}, {vad}");
            let longest = generations.iter().map(|g| g.samples).max();
            assert!(longest < Some(80_000), "no edge is reached: {longest:?}");
        }
    }
}

/// A limit that the user set wins, with all that it costs.
#[test]
fn who_wants_long_generations_has_them() {
    let speech = Speech::readings(0);
    let (_, generations) = hear(&speech, false, 60_000, 1);
    assert!(generations.iter().any(|g| g.samples > 20 * 16_000));
}

/// Silence that is sent: what is said before leaks into it, and is said once.
#[test]
fn nothing_is_said_again_over_silence() {
    let mut speech = Speech::readings(0);
    speech.samples.resize(speech.samples.len() + 20 * 16_000, 0);
    let server = Standin::builder()
        .aligned(speech.voice())
        .cadence(Cadence::Segments)
        .leak(true)
        .start()
        .unwrap();
    let asr = element(&server.url());
    asr.set_property("timing", Timing::Segments);
    asr.set_property("max-utterance", 600_000_u32);
    let mut rig = Rig::new(asr);
    // One generation with four segments: speech, and then silence.
    let (from, bytes) = (speech.samples.len() - 23 * 16_000, 23 * 16_000);
    let audio: Vec<u8> =
        speech.samples[from..from + bytes].iter().flat_map(|s| s.to_le_bytes()).collect();
    rig.harness.push(gst::Buffer::from_slice(audio)).unwrap();
    rig.eos();
    let words = words(&rig.until_eos());
    let said = server.log().generations().next().unwrap().text.matches("<asr_text>").count();
    assert_eq!(said, 5, "segments");
    let end: Vec<String> = speech.text().into_iter().rev().take(words.len()).rev().collect();
    assert!(!words.is_empty() && words == end, "{words:?}");
    let stats = rig.element.property::<gst::Structure>("stats");
    assert!(stats.get::<u64>("repetitions").unwrap() >= 3, "{stats}");
}

/// The sound of what still waits for its words is known, however long nothing came behind it.
#[test]
fn hours_without_sound_cost_no_word_before_them() {
    let speech = Speech::readings(8000);
    let server = Standin::builder()
        .aligned(speech.voice())
        .cadence(Cadence::Segments)
        .pace(200.0)
        .start()
        .unwrap();
    let asr = element(&server.url());
    asr.set_property("vad", true);
    let mut rig = Rig::new(asr);
    let bytes: Vec<u8> = speech.samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let length = speech.samples.len() as u64 * 62_500 * gst::ClockTime::NSECOND;
    let hours = 2 * 3600 * 1000 * MS;
    for begin in [gst::ClockTime::ZERO, length + hours] {
        let mut buffer = gst::Buffer::from_slice(bytes.clone());
        buffer.get_mut().unwrap().set_pts(begin);
        rig.harness.push(buffer).unwrap();
        let pts = begin + length;
        let gap = gst::event::Gap::builder(pts).duration(hours);
        assert!(rig.harness.push_event(gap.build()));
    }
    rig.eos();
    let said = words(&rig.until_eos());
    assert_eq!(said, [speech.text(), speech.text()].concat());
}
