// SPDX-License-Identifier: MPL-2.0

//! GAP, FLUSH, SEGMENT, discontinuities and state changes.

mod support;

use std::sync::mpsc;

use gst::prelude::*;
use support::*;
use vllm_standin::{Fault, Flavour, What, When};

const TEXT: &str = "one two three four five six seven eight nine";
const ZERO: gst::ClockTime = gst::ClockTime::ZERO;

fn segment(start: gst::ClockTime) -> gst::FormattedSegment<gst::ClockTime> {
    let mut segment = gst::FormattedSegment::new();
    segment.set_start(start);
    segment.set_time(start);
    segment
}

fn push_segment(rig: &mut Rig, segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
    rig.harness.push_event(gst::event::Segment::new(segment))
}

fn flush(rig: &mut Rig) {
    assert!(rig.harness.push_event(gst::event::FlushStart::new()));
    assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
}

/// Samples of each generation.
fn generations(server: &vllm_standin::Standin) -> Vec<u64> {
    server.log().generations().map(|g| g.samples).collect()
}

#[test]
fn a_long_gap_ends_the_utterance_and_is_not_sent() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    assert!(rig.harness.push_event(gst::event::Gap::new(2 * SECOND, SECOND)));
    rig.sound(3 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), "hello big world hello big world");
    assert_eq!(generations(&server), [32_000, 32_000]);
    let texts = texts(&out);
    assert!(texts[2].end <= 2 * SECOND && texts[3].pts >= 3 * SECOND, "{texts:?}");
}

#[test]
fn words_come_out_at_a_gap_and_the_output_follows_it() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    for n in 0..20 {
        let gap = gst::event::Gap::new(2 * SECOND + 100 * n * MS, 100 * MS);
        assert!(rig.harness.push_event(gap));
    }
    // No audio and no EOS follows.
    let out = rig.until(|o| gaps(std::slice::from_ref(o)).iter().any(|g| g.1 == 4 * SECOND));
    assert_eq!(words(&out).join(" "), "hello big world");
}

#[test]
fn a_short_gap_is_sent_as_silence() {
    let server = builder("hello big world").keep_audio(true).start().unwrap();
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, SECOND);
    assert!(rig.harness.push_event(gst::event::Gap::new(SECOND, 500 * MS)));
    rig.sound(1500 * MS, SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), "hello big world");
    assert_eq!(generations(&server), [40_000]);
    let log = server.log();
    let audio = &log.generations().next().unwrap().audio;
    assert!(audio[..16_000].iter().all(|s| *s != 0));
    assert!(audio[16_000..24_000].iter().all(|s| *s == 0));
    assert!(audio[24_000..].iter().all(|s| *s != 0));
}

#[test]
fn buffers_flagged_gap_are_gaps() {
    let server = server("hello big world");
    let asr = element(&server.url());
    asr.set_property("silence-commit", 300_u32);
    let mut rig = Rig::new(asr);
    rig.sound(ZERO, 2 * SECOND);
    for n in 0..10 {
        let mut buffer = audio(2 * SECOND + 100 * n * MS, 100);
        buffer.get_mut().unwrap().set_flags(gst::BufferFlags::GAP);
        rig.harness.push(buffer).unwrap();
    }
    rig.sound(3 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), "hello big world hello big world");
    // The first 200 ms of the gap could still be short.
    assert_eq!(generations(&server), [35_200, 32_000]);
    assert!(texts(&out)[3].pts >= 3 * SECOND);
}

#[test]
fn a_gap_without_duration_is_taken() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    assert!(rig.harness.push_event(gst::event::Gap::new(3 * SECOND, gst::ClockTime::NONE)));
    rig.sound(3 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), "hello big world hello big world");
    assert!(texts(&out)[3].pts >= 3 * SECOND);
}

#[test]
fn jitter_does_not_move_times() {
    let server = server(TEXT);
    let mut rig = Rig::new(element(&server.url()));
    let jitter = |n: u64| n * 7919 % 31;
    assert!(jitter(39) > 0);
    for n in 0..40 {
        rig.harness.push(audio((100 * n + jitter(n)) * MS, 100)).unwrap();
    }
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), TEXT);
    assert!(texts(&out)[1..].iter().all(|t| !t.discont));
    // Nothing was put in, and the time ends where the samples end.
    assert_eq!(generations(&server), [64_000]);
    assert_eq!(gaps(&out).last().unwrap().1, 4 * SECOND);
}

#[test]
fn a_jump_forward_moves_the_times_behind_it() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    rig.sound_after_a_break(100 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let texts = texts(&out);
    assert_eq!(texts.len(), 6);
    assert!(texts[2].end <= 2 * SECOND);
    assert!(texts[3].pts >= 100 * SECOND && texts[3].discont, "{texts:?}");
    assert_eq!(generations(&server), [32_000, 32_000]);
}

#[test]
fn a_jump_back_never_makes_the_output_go_back() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(10 * SECOND, 2 * SECOND);
    rig.sound_after_a_break(5 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let texts = texts(&out);
    assert_eq!(texts.len(), 6);
    assert!(texts.windows(2).all(|w| w[0].end <= w[1].pts), "{texts:?}");
    // The messages tell the real times.
    let words: Vec<_> = rig
        .messages("vllmrealtimeasr/word")
        .iter()
        .map(|w| w.get::<gst::ClockTime>("start-time").unwrap())
        .collect();
    assert!(words[2] >= 10 * SECOND);
    assert!(words[3] >= 5 * SECOND && words[5] < 7 * SECOND, "{words:?}");
}

#[test]
fn a_segment_that_does_not_start_at_zero() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    assert!(push_segment(&mut rig, &segment(3600 * SECOND)));
    // What lies before the segment is clipped.
    rig.sound(3599 * SECOND, 3 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(generations(&server), [32_000]);
    let texts = texts(&out);
    assert_eq!(texts.len(), 3);
    assert!(texts[0].pts >= 3600 * SECOND && texts[2].end <= 3602 * SECOND, "{texts:?}");
    let words = rig.messages("vllmrealtimeasr/word");
    for (word, text) in words.iter().zip(texts) {
        let time = |name: &str| word.get::<gst::ClockTime>(name).unwrap();
        assert_eq!(time("start-time"), text.pts);
        assert_eq!(time("running-time"), text.pts - 3600 * SECOND);
        assert_eq!(time("stream-time"), text.pts);
    }
}

#[test]
fn a_rate_and_lateness_give_the_right_running_times() {
    let server = server("hello big world");
    let asr = element(&server.url());
    asr.set_property("lateness", 700_u32);
    let mut rig = Rig::new(asr);
    let mut fast = segment(10 * SECOND);
    fast.set_rate(2.0);
    fast.set_base(5 * SECOND);
    assert!(push_segment(&mut rig, &fast));
    rig.sound(10 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let segment = out
        .iter()
        .rev()
        .find_map(|o| match o.event()?.view() {
            gst::EventView::Segment(s) => s.segment().clone().downcast::<gst::ClockTime>().ok(),
            _ => None,
        })
        .unwrap();
    assert_eq!((segment.rate(), segment.base()), (2.0, Some(5700 * MS)));
    let texts = texts(&out);
    let words = rig.messages("vllmrealtimeasr/word");
    assert_eq!(words.len(), 3);
    for (word, text) in words.iter().zip(texts) {
        let running_time = word.get::<gst::ClockTime>("running-time").unwrap();
        assert_eq!(running_time, 5 * SECOND + (text.pts - 10 * SECOND) / 2);
        assert_eq!(segment.to_running_time(text.pts), Some(running_time + 700 * MS));
    }
}

#[test]
fn a_change_of_segment_drains_first() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    assert!(push_segment(&mut rig, &segment(50 * SECOND)));
    rig.sound(50 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let segments: Vec<_> = out
        .iter()
        .enumerate()
        .filter(|(_, o)| o.is(gst::EventType::Segment))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(segments.len(), 2);
    let (before, after) = out.split_at(segments[1]);
    assert_eq!(words(before).join(" "), "hello big world");
    assert_eq!(gaps(before).last().unwrap().1, 2 * SECOND);
    let after = texts(after);
    assert_eq!(after.len(), 3);
    assert!(after[0].discont && after[0].pts >= 50 * SECOND);
}

#[test]
fn the_same_segment_again_changes_nothing() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, SECOND);
    assert!(push_segment(&mut rig, &segment(ZERO)));
    rig.sound(SECOND, SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), "hello big world");
    assert_eq!(generations(&server), [32_000]);
    assert_eq!(out.iter().filter(|o| o.is(gst::EventType::Segment)).count(), 1);
}

#[test]
fn a_segment_in_bytes_is_refused() {
    let server = server("hello");
    let mut rig = Rig::new(element(&server.url()));
    let bytes = gst::FormattedSegment::<gst::format::Bytes>::new();
    rig.harness.push_event(gst::event::Segment::new(&bytes));
    assert_eq!(rig.harness.push(audio(ZERO, 100)), Err(gst::FlowError::Error));
    let (error, _) = rig.error();
    assert!(error.matches(gst::StreamError::Format), "{error}");
    assert!(error.message().contains("Bytes"), "{error}");
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Error]).is_none(), "told once");
}

#[test]
fn playing_backwards_is_refused() {
    let server = server("hello");
    let mut rig = Rig::new(element(&server.url()));
    let mut back = segment(ZERO);
    back.set_stop(10 * SECOND);
    back.set_rate(-1.0);
    push_segment(&mut rig, &back);
    assert_eq!(rig.harness.push(audio(ZERO, 100)), Err(gst::FlowError::Error));
    assert!(rig.error().0.matches(gst::StreamError::NotImplemented));
}

#[test]
fn after_a_flush_everything_begins_anew() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 1500 * MS);
    assert!(server.wait(|log| log.samples() >= 16_000, DEADLINE));
    flush(&mut rig);
    let before = rig.until(|o| o.is(gst::EventType::FlushStop));
    assert!(before.iter().any(|o| o.is(gst::EventType::FlushStart)));
    assert!(push_segment(&mut rig, &segment(20 * SECOND)));
    rig.sound(20 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let texts = texts(&out);
    assert_eq!(words(&out).join(" "), "hello big world");
    assert!(texts[0].discont && texts[0].pts >= 20 * SECOND && texts[2].end <= 22 * SECOND);
    assert_eq!(out.iter().filter(|o| o.is(gst::EventType::Segment)).count(), 1);
}

#[test]
fn many_flushes_in_a_row() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    for n in 0..20 {
        rig.sound(n * SECOND, 500 * MS);
        flush(&mut rig);
        assert!(push_segment(&mut rig, &segment(n * SECOND)));
    }
    rig.sound(19 * SECOND, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let last = out.iter().rposition(|o| o.is(gst::EventType::FlushStop)).unwrap();
    assert_eq!(words(&out[last..]).join(" "), "hello big world");
}

#[test]
fn a_flush_in_mid_connect_is_taken_at_once() {
    let server =
        vllm_standin::Standin::builder().flavour(Flavour::SilentBeforeUpgrade).start().unwrap();
    let asr = element(&server.url());
    // Waited for, they would end the test in an error.
    asr.set_property("connect-timeout", 3_600_000_u32);
    let mut rig = Rig::new(asr);
    rig.sound(ZERO, SECOND);
    flush(&mut rig);
    rig.until(|o| o.is(gst::EventType::FlushStop));
    assert!(push_segment(&mut rig, &segment(ZERO)));
    rig.eos();
    assert_eq!(words(&rig.until_eos()), [""; 0]);
}

#[test]
fn a_flush_ends_the_wait_of_a_full_input() {
    let server = builder("hello").pace(0.001).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("max-backlog", 1000_u32);
    let mut rig = Rig::new(asr);
    let sink = rig.element.static_pad("sink").unwrap();
    let peer = sink.peer().unwrap();
    // Nobody but the flush ends this thread's push.
    let streaming = std::thread::spawn({
        let peer = peer.clone();
        move || {
            for n in 0.. {
                if let Err(error) = peer.push(audio(100 * n * MS, 100)) {
                    return error;
                }
            }
            unreachable!()
        }
    });
    assert!(server.wait(|log| log.samples() > 0, DEADLINE));
    assert!(sink.send_event(gst::event::FlushStart::new()));
    assert_eq!(streaming.join().unwrap(), gst::FlowError::Flushing);
    assert!(sink.send_event(gst::event::FlushStop::new(true)));
    assert!(push_segment(&mut rig, &segment(ZERO)));
    rig.harness.push(audio(ZERO, 100)).unwrap();
}

#[test]
fn ready_ends_the_wait_of_a_full_input() {
    let server = builder("hello").pace(0.001).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("max-backlog", 1000_u32);
    let rig = Rig::new(asr);
    let peer = rig.element.static_pad("sink").unwrap().peer().unwrap();
    let streaming = std::thread::spawn(move || {
        for n in 0.. {
            if let Err(error) = peer.push(audio(100 * n * MS, 100)) {
                return error;
            }
        }
        unreachable!()
    });
    assert!(server.wait(|log| log.samples() > 0, DEADLINE));
    rig.element.set_state(gst::State::Ready).unwrap();
    assert_eq!(streaming.join().unwrap(), gst::FlowError::Flushing);
}

#[test]
fn flush_stop_alone_does_no_harm() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
    assert!(push_segment(&mut rig, &segment(ZERO)));
    rig.sound(ZERO, 2 * SECOND);
    rig.eos();
    assert_eq!(words(&rig.until_eos()).join(" "), "hello big world");
}

#[test]
fn a_flush_after_eos() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    rig.eos();
    rig.until_eos();
    flush(&mut rig);
    assert!(push_segment(&mut rig, &segment(ZERO)));
    rig.sound(ZERO, 2 * SECOND);
    rig.eos();
    assert_eq!(words(&rig.until_eos()).join(" "), "hello big world");
}

#[test]
fn a_hundred_starts_and_stops() {
    let server = server("hello big world");
    init();
    let launch = format!(
        "audiotestsrc num-buffers=20 samplesperbuffer=1600 ! {CAPS} ! \
         vllmrealtimeasr name=asr vad=false url={} ! fakesink name=sink",
        server.url()
    );
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let bus = pipeline.bus().unwrap();
    for n in 0..100 {
        pipeline.set_state(gst::State::Playing).unwrap();
        match n % 10 {
            0 => wait_message(&bus, |m| structure(m, "vllmrealtimeasr/word").map(|_| ())),
            1 => wait_message(&bus, |m| structure(m, "vllmrealtimeasr/connection").map(|_| ())),
            2 => wait_message(&bus, |m| (m.type_() == gst::MessageType::Eos).then_some(())),
            3 => drop(pipeline.state(gst::ClockTime::NONE).0.unwrap()),
            _ => {}
        }
        pipeline.set_state(gst::State::Null).unwrap();
    }
    // Each session has closed its connection.
    assert!(server.wait(|log| log.open() == 0, DEADLINE));
    // The last to let go may be a thread that has just told something.
    let (tx, gone) = mpsc::channel();
    pipeline.by_name("asr").unwrap().add_weak_ref_notify(move || {
        let _ = tx.send(());
    });
    drop(pipeline);
    drop(bus);
    assert_eq!(gone.recv_timeout(DEADLINE), Ok(()), "the element is leaked");
}

#[test]
fn a_lost_connection_costs_no_word() {
    let server = builder(TEXT)
        .fault(Fault::new(When::Deltas(12), What::Cut).on_connection(0))
        .start()
        .unwrap();
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(ZERO, 4 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert!(!words(&out).is_empty());
    let lost = rig.message(|m| {
        let s = structure(m, "vllmrealtimeasr/connection")?;
        (s.get::<&str>("state") == Ok("lost")).then_some(s)
    });
    assert!(!lost.get::<&str>("reason").unwrap().is_empty());
    assert!(server.log().opened >= 2);
}
