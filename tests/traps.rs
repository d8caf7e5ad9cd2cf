// SPDX-License-Identifier: MPL-2.0

//! Each trap of the protocol (`docs/protocol.md`), against the stand-in, which has them all.
//!
//! | trap | test |
//! |---|---|
//! | audio between the final commit and `done` is lost | [`held_back_between_final_commit_and_done`] |
//! | audio in the instant after `done` may be lost | the same, with the queue emptied late |
//! | a second final commit ends the next generation | [`one_final_commit_for_each_generation`] |
//! | `done` that nobody asked for, at `max_model_len` (frames) | [`unasked_done_is_recovered_from`] |
//! | `max_model_len` is known: rotation before it (frames) | [`rotates_before_the_context_is_full_frames`] |
//! | the engine dies at `max_model_len` (segments) | [`death_at_the_context_limit_is_recovered_from`] |
//! | `max_model_len` is known: rotation before it (segments) | [`rotates_before_the_context_is_full_segments`] |
//! | `commit(final=false)` while generating is ignored | every test here: [`assert_clean`] |
//! | `processing_error`: no `done`, the queue stays | [`processing_error_costs_a_connection_and_no_word`] |
//! | final commit with no audio | [`no_audio_no_final_commit`] |
//! | an append of zero bytes, or of an odd number | [`appends_are_whole_samples`] |
//! | a binary frame ends the connection | every test here: [`assert_clean`] |
//! | a message over 16 MiB | [`appends_stay_small`] |
//! | no pong within 20 s | [`pongs_while_downstream_is_blocked`] |
//! | restart: 1012 | [`restart_1012`]; just gone: `tests/chaos/kills.rs` |
//! | more sessions than slots: silence | [`waits_for_a_slot`] |
//! | 60 s without audio in a running generation | [`no_generation_is_parked`] |
//! | the server's queue is unbounded | [`bounded_ahead_of_the_server`] |
//! | the blank rut | [`blank_rut_is_left`] |
//! | closing in mid-generation | [`final_commit_before_closing`] |
//! | a tail of 1 to 319 samples (segments) | [`short_tails_are_padded`] |
//! | a malformed event gives `processing_error` too | every test here: [`assert_clean`] |
//! | the base64 of URLs, or with line breaks | [`standard_base64_on_one_line`] |
//! | commit before `session.update` | [`the_model_is_asked_for_first`] |
//! | an unknown model: `model_not_found` | [`an_unknown_model_is_an_error`] |
//! | HTTP 401, 403, 404 | `what_can_never_work_is_an_error_at_once` in `tests/transport` |
//! | another protocol on the same path | [`another_protocol_is_named`] |

#[path = "chaos/element.rs"]
mod element;
#[path = "chaos/speech.rs"]
mod speech;
mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use element::{assert_accounted, assert_same, transcribe};
use gst::prelude::*;
use speech::Speech;
use support::*;
use vllm_standin::{Builder, Cadence, Fault, Flavour, Log, Standin, What, When};

const RATE: u64 = 16_000;

/// Nothing was sent that a server answers with an error, ignores, or forgets.
fn assert_clean(log: &Log) {
    for c in &log.connections {
        assert_eq!(c.commits_ignored, 0, "a commit while generating");
        assert_eq!(c.samples_lost, 0, "audio between the final commit and done");
        assert!(c.errors.is_empty(), "{:?}", c.errors);
        assert!(c.final_commits <= c.started, "{} for {}", c.final_commits, c.started);
        assert!(c.closed.is_none_or(|code| code < 1002), "closed with {:?}", c.closed);
        for g in &c.generations {
            assert!(g.samples > 0 || !g.final_commit, "a final commit without audio");
        }
    }
}

fn aligned(speech: &Speech, cadence: Cadence) -> Builder {
    Standin::builder().aligned(speech.voice()).cadence(cadence)
}

/// A pause that ends the utterance: `silence-commit` and more.
fn pause(rig: &mut Rig, from: gst::ClockTime, length: gst::ClockTime) {
    assert!(rig.harness.push_event(gst::event::Gap::builder(from).duration(length).build()));
}

#[test]
fn held_back_between_final_commit_and_done() {
    for clear in [Duration::ZERO, Duration::from_millis(5)] {
        let server = builder("one two three")
            .tail(Duration::from_millis(200))
            .clear_time(clear)
            .start()
            .unwrap();
        let mut rig = Rig::new(element(&server.url()));
        for n in 0..4 {
            let from = n * 3 * SECOND;
            rig.sound(from, 2 * SECOND);
            // The next audio comes while `done` is still awaited.
            pause(&mut rig, from + 2 * SECOND, SECOND);
        }
        rig.eos();
        assert_eq!(words(&rig.until_eos()).join(" "), ["one two three"; 4].join(" "));
        let log = server.log();
        assert_clean(&log);
        assert_eq!(log.samples(), 4 * 2 * RATE);
        assert_eq!(log.done(), 4);
    }
}

#[test]
fn one_final_commit_for_each_generation() {
    let server = server("one two three");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    // A pause, a second one, and the end: all three ask for the same.
    pause(&mut rig, 2 * SECOND, SECOND);
    pause(&mut rig, 3 * SECOND, SECOND);
    rig.sound(4 * SECOND, 2 * SECOND);
    pause(&mut rig, 6 * SECOND, SECOND);
    rig.eos();
    rig.until_eos();
    let log = server.log();
    assert_clean(&log);
    let c = &log.connections[0];
    assert_eq!((c.started, c.final_commits, c.done), (2, 2, 2));
    assert!(c.generations.iter().all(|g| !g.unasked && g.deltas > 10), "{:?}", c.generations);
}

fn unasked(log: &Log) -> usize {
    log.generations().filter(|g| g.unasked).count()
}

#[test]
fn unasked_done_is_recovered_from() {
    let speech = Speech::new(30);
    // 8 s of audio; and nobody tells.
    let server =
        aligned(&speech, Cadence::Frames).max_model_len(139).models_status(404).start().unwrap();
    let run = transcribe(element::element(&server.url()), &speech);
    assert_same(&run.words, &speech.text(), "context full");
    assert_accounted(&run, speech.samples.len());
    assert!(unasked(&server.log()) > 0);
}

#[test]
fn rotates_before_the_context_is_full_frames() {
    let speech = Speech::new(60);
    // Not faster than the answer to the question for the limit can come.
    let server = aligned(&speech, Cadence::Frames).max_model_len(256).pace(10.0).start().unwrap();
    let run = transcribe(element::element(&server.url()), &speech);
    assert_same(&run.words, &speech.text(), "rotated");
    assert_accounted(&run, speech.samples.len());
    let log = server.log();
    assert_eq!(unasked(&log), 0);
    assert!(run.lost.is_empty(), "{:?}", run.lost);
    assert!(log.generations().count() >= 5);
    assert_clean(&log);
}

#[test]
fn rotates_before_the_context_is_full_segments() {
    let speech = Speech::new(60);
    let server = aligned(&speech, Cadence::Segments).max_model_len(640).pace(20.0);
    let server = server.start().unwrap();
    let run = transcribe(element::element(&server.url()), &speech);
    assert_same(&run.words, &speech.text(), "rotated");
    assert_accounted(&run, speech.samples.len());
    let log = server.log();
    assert!(run.lost.is_empty(), "{:?}", run.lost);
    assert!(log.generations().count() >= 4);
    assert!(!server.ended());
    assert_clean(&log);
}

/// The server dies of it, again and again, and somebody starts it again.
#[test]
fn death_at_the_context_limit_is_recovered_from() {
    let speech = Speech::new(120);
    let mut server = aligned(&speech, Cadence::Segments)
        .max_model_len(500)
        .models_status(404)
        .death_time(Duration::from_millis(50))
        .start()
        .unwrap();
    let url = server.url();
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let asr = element::element(&url);
            // Generations that end at pauses would not get there.
            asr.set_property("max-utterance", 3_600_000u32);
            transcribe(asr, &speech)
        });
        let mut deaths = 0;
        while !run.is_finished() {
            let died = |log: &Log| log.generations().any(|g| g.error.is_some());
            if server.wait(died, Duration::from_millis(50)) {
                server.join();
                server.restart().unwrap();
                deaths += 1;
            }
        }
        // Nobody tells how long the context is; two deaths at the same length do.
        assert!((1..=3).contains(&deaths), "{deaths}");
        run.join().unwrap()
    });
    assert_same(&run.words, &speech.text(), "died");
    assert_accounted(&run, speech.samples.len());
}

#[test]
fn processing_error_costs_a_connection_and_no_word() {
    let speech = Speech::new(20);
    let error = |end| What::Error {
        message: "Realtime generation failed".into(),
        code: Some("processing_error".into()),
        object: false,
        end,
    };
    for cadence in [Cadence::Frames, Cadence::Segments] {
        for end in [true, false] {
            let fault = Fault::new(When::Deltas(40), error(end)).on_connection(0);
            let server = aligned(&speech, cadence).models_status(404).fault(fault);
            // The question for the context is a connection of its own, refused or not.
            let server = server.start().unwrap();
            let element = element::element(&server.url());
            element.set_property("max-utterance", 600_000_u32);
            let run = transcribe(element, &speech);
            assert_same(&run.words, &speech.text(), "processing_error");
            assert_accounted(&run, speech.samples.len());
            assert_eq!(run.lost.len(), 1, "{:?}", run.lost);
            let log = server.log();
            assert_eq!(log.faults, 1);
            assert_eq!(log.connections[0].done, 0, "nothing more is asked of that connection");
        }
    }
}

#[test]
fn no_audio_no_final_commit() {
    let server = server("one two three");
    let mut rig = Rig::new(element(&server.url()));
    // It is connected before there is audio.
    assert!(server.wait(|log| log.open() == 1, DEADLINE));
    pause(&mut rig, gst::ClockTime::ZERO, 2 * SECOND);
    assert!(rig.harness.push_event(gst::event::FlushStart::new()));
    assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    pause(&mut rig, gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    rig.until_eos();
    drop(rig);
    let log = server.log();
    assert_clean(&log);
    assert_eq!(log.connections.iter().map(|c| c.commits + c.final_commits).sum::<u64>(), 0);
}

#[test]
fn appends_are_whole_samples() {
    let server = server("one two three");
    let mut rig = Rig::new(element(&server.url()));
    let mut at = gst::ClockTime::ZERO;
    let mut bytes = 0;
    // Sizes in bytes, odd ones and none included, and buffers of a sample.
    for size in [0, 1, 2, 3, 7, 320, 321, 0, 31_999].into_iter().chain([2; 500]) {
        let mut buffer = gst::Buffer::from_slice(vec![7; size]);
        buffer.get_mut().unwrap().set_pts(at);
        rig.harness.push(buffer).unwrap();
        bytes += size as u64;
        at += gst::ClockTime::from_nseconds(size as u64 / 2 * 62_500);
    }
    rig.eos();
    rig.until_eos();
    let log = server.log();
    assert_clean(&log);
    assert_eq!(log.samples(), bytes / 2);
}

#[test]
fn appends_stay_small() {
    // As many words as there are, so that it does not look like a blank rut.
    let server = server(&"word ".repeat(150));
    let mut rig = Rig::new(element(&server.url()));
    // 50 s at once: 1.6 MB.
    rig.harness.push(samples(gst::ClockTime::ZERO, 50 * RATE)).unwrap();
    rig.eos();
    rig.until_eos();
    let log = server.log();
    assert_clean(&log);
    assert_eq!(log.samples(), 50 * RATE);
    assert!(log.connections.iter().all(|c| c.largest_append as u64 <= RATE));
}

#[test]
fn pongs_while_downstream_is_blocked() {
    let server = builder("one two three four")
        .ping_interval(Duration::from_millis(50))
        .ping_timeout(Duration::from_secs(5))
        .start()
        .unwrap();
    let mut rig = Rig::bare(element(&server.url()));
    let (tell, blocked) = channel();
    let src = rig.element.static_pad("src").unwrap();
    let block = src.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, move |_, _| {
        let _ = tell.send(());
        gst::PadProbeReturn::Ok
    });
    rig.harness.play();
    rig.harness.set_src_caps_str(CAPS);
    rig.sound(gst::ClockTime::ZERO, 3 * SECOND);
    rig.eos();
    blocked.recv_timeout(DEADLINE).unwrap();
    let pongs = server.inspect(|log| log.connections.iter().map(|c| c.pongs).sum::<u64>());
    let more = |log: &Log| log.connections.iter().any(|c| c.pongs >= pongs + 20);
    assert!(server.wait(more, DEADLINE), "no pongs");
    src.remove_probe(block.unwrap());
    assert_eq!(words(&rig.until_eos()).join(" "), "one two three four");
    assert_clean(&server.log());
}

#[test]
fn restart_1012() {
    let speech = Speech::new(20);
    for cadence in [Cadence::Frames, Cadence::Segments] {
        let close = What::Close { code: 1012, reason: "Service Restart".into() };
        let fault = Fault::new(When::Deltas(10), close);
        let server = aligned(&speech, cadence).fault(fault).start().unwrap();
        let run = transcribe(element::element(&server.url()), &speech);
        assert_same(&run.words, &speech.text(), "restarted");
        assert_accounted(&run, speech.samples.len());
        assert_eq!(run.lost.len(), 1, "{:?}", run.lost);
        assert!(run.lost[0].contains("restarts"), "{:?}", run.lost);
    }
}

#[test]
fn waits_for_a_slot() {
    let server = builder("one two three").seats(1).start().unwrap();
    let mut first = Rig::new(element(&server.url()));
    first.sound(gst::ClockTime::ZERO, 2 * SECOND);
    assert!(server.wait(|log| log.deltas() > 0, DEADLINE));
    let mut second = Rig::new(element(&server.url()));
    second.sound(gst::ClockTime::ZERO, 2 * SECOND);
    second.eos();
    // All of its audio is there, and nothing comes of it.
    assert!(server.wait(|log| log.samples() == 4 * RATE, DEADLINE));
    first.eos();
    assert_eq!(words(&first.until_eos()).join(" "), "one two three");
    assert_eq!(words(&second.until_eos()).join(" "), "one two three");
    let log = server.log();
    assert_clean(&log);
    assert_eq!(log.connections.iter().filter(|c| c.started > 0).count(), 2);
}

/// A minute of nothing, by GAP and by silence: the generation has ended before it.
#[test]
fn no_generation_is_parked() {
    let server = server("one two three");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    pause(&mut rig, 2 * SECOND, 70 * SECOND);
    assert!(server.wait(|log| log.done() == 1, DEADLINE));
    rig.sound(72 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).len(), 6);
    assert!(texts(&out)[3].pts >= 72 * SECOND, "{:?}", texts(&out));
    assert_clean(&server.log());
    assert_eq!(server.log().samples(), 4 * RATE, "the pause is not sent");

    // The same with digital silence in place of the GAP, found by the voice activity detection.
    let speech = Speech::new(10);
    let server = aligned(&speech, Cadence::Frames).start().unwrap();
    let mut rig = Rig::new(element::element(&server.url()));
    let said = speech.samples.iter().copied();
    for (n, part) in said.chain(vec![0; 30 * 16_000]).collect::<Vec<_>>().chunks(1600).enumerate() {
        let bytes: Vec<u8> = part.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.get_mut().unwrap().set_pts(n as u64 * 100 * MS);
        rig.harness.push(buffer).unwrap();
    }
    assert!(server.wait(|log| log.done() == log.generations().count() as u64, DEADLINE));
    rig.eos();
    assert_same(&words(&rig.until_eos()), &speech.text(), "silence behind it");
    assert!(server.log().samples() < speech.samples.len() as u64 + 2 * RATE);
    assert_clean(&server.log());
}

#[test]
fn bounded_ahead_of_the_server() {
    let speech = Speech::new(60);
    // One segment more is on its way while its words come.
    for (cadence, bound) in [(Cadence::Frames, 9 * RATE), (Cadence::Segments, 21 * RATE)] {
        let server = aligned(&speech, cadence).pace(20.0).start().unwrap();
        let run = transcribe(element::element(&server.url()), &speech);
        assert_same(&run.words, &speech.text(), "slow");
        let most = server.log().generations().map(|g| g.most_ahead).max().unwrap();
        assert!(most <= bound, "{most} samples ahead, {cadence:?}");
        assert_clean(&server.log());
    }
}

#[test]
fn blank_rut_is_left() {
    let speech = Speech::new(40);
    let rut = Fault::new(When::Deltas(100), What::Blank);
    let server = aligned(&speech, Cadence::Frames).fault(rut).start().unwrap();
    let run = transcribe(element::element(&server.url()), &speech);
    assert_same(&run.words, &speech.text(), "blank rut");
    assert_accounted(&run, speech.samples.len());
    assert_eq!(run.lost.len(), 1, "{:?}", run.lost);
}

#[test]
fn final_commit_before_closing() {
    let server = server("one two three");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    // All that the server has to say by now is here: a socket that is closed with something unread
    // in it resets the connection, and what was sent last may be lost with it.
    let end = std::time::Instant::now() + DEADLINE;
    let heard = || rig.element.property::<gst::Structure>("stats").get::<u64>("deltas").unwrap();
    while heard() < 18 {
        assert!(std::time::Instant::now() < end, "{} deltas", heard());
        std::thread::park_timeout(Duration::from_millis(2));
    }
    rig.element.set_state(gst::State::Null).unwrap();
    let over = |log: &Log| log.connections.iter().all(|c| c.closed.is_some());
    assert!(server.wait(over, DEADLINE));
    let log = server.log();
    let c = log.connections.iter().find(|c| c.started > 0).unwrap();
    assert_eq!(c.final_commits, 1);
}

#[test]
fn short_tails_are_padded() {
    for tail in [1, 2, 79, 80, 160, 318, 319, 320] {
        for segments in [0, 1, 2] {
            let length = segments * 5 * RATE + tail;
            let server = builder("one two three four five six seven eight nine")
                .cadence(Cadence::Segments)
                .start()
                .unwrap();
            let asr = element(&server.url());
            // As long as the user wants, not up to the next pause.
            asr.set_property("max-utterance", 60_000u32);
            let mut rig = Rig::new(asr);
            rig.harness.push(samples(gst::ClockTime::ZERO, length)).unwrap();
            rig.eos();
            let out = rig.until_eos();
            let log = server.log();
            assert_clean(&log);
            assert_eq!(log.done(), 1, "{length} samples");
            let end = gst::ClockTime::from_nseconds(length * 62_500);
            assert!(texts(&out).iter().all(|t| t.end <= end), "{:?}", texts(&out));
            let stats = rig.element.property::<gst::Structure>("stats");
            assert_eq!(element::stat(&stats, "samples-confirmed"), length, "{stats}");
        }
    }
}

#[test]
fn standard_base64_on_one_line() {
    let server = builder("one two three").keep_audio(true).start().unwrap();
    let mut rig = Rig::new(element(&server.url()));
    // All values that two bytes have: each of the 64 signs occurs at each place.
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let mut buffer = gst::Buffer::from_slice(all.clone());
    buffer.get_mut().unwrap().set_pts(gst::ClockTime::ZERO);
    rig.harness.push(buffer).unwrap();
    rig.eos();
    rig.until_eos();
    let log = server.log();
    assert_clean(&log);
    let heard: Vec<u8> =
        log.generations().flat_map(|g| &g.audio).flat_map(|s| s.to_le_bytes()).collect();
    assert!(heard == all, "{} bytes, and others", heard.len());
}

#[test]
fn the_model_is_asked_for_first() {
    for model in ["", "standin"] {
        let server = server("one two three");
        let element = element(&server.url());
        element.set_property("model", model);
        let mut rig = Rig::new(element);
        rig.sound(gst::ClockTime::ZERO, SECOND);
        rig.eos();
        rig.until_eos();
        let log = server.log();
        assert_clean(&log);
        let asked = log.connections.iter().find(|c| c.started > 0).unwrap();
        assert_eq!(asked.models, [model]);
    }
}

#[test]
fn an_unknown_model_is_an_error() {
    let server = server("one two three");
    let element = element(&server.url());
    element.set_property("model", "another");
    let rig = Rig::new(element);
    let (e, debug) = rig.error();
    assert!(e.matches(gst::ResourceError::NotFound), "{e}");
    assert!(e.message().contains("'another'") && e.message().contains("property model"), "{e}");
    assert!(debug.contains("model_not_found"), "{debug}");
}

#[test]
fn another_protocol_is_named() {
    let server = builder("one").flavour(Flavour::OpenAi).start().unwrap();
    let rig = Rig::new(element(&server.url()));
    let (e, _) = rig.error();
    assert!(e.message().contains("another protocol"), "{e}");
    assert!(e.message().contains("property url"), "{e}");
}
