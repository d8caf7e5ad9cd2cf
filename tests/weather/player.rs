// SPDX-License-Identifier: MPL-2.0

//! 9.6: a player that pauses, starts paused, and seeks while paused.

use gst::prelude::*;
use vllm_standin::{Cadence, Fault, What, When};

use crate::launch::Wav;
use crate::support::*;

/// A file to words and to sound, as a player has it; the server says nothing while it plays.
fn player(wav: &Wav) -> (gst::Pipeline, vllm_standin::Standin) {
    let server =
        builder("hello").fault(Fault::new(When::Start, What::Pause { ms: 0 })).start().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={wav} ! wavparse ! tee name=t \
         t. ! queue ! vllmrealtimeasr vad=false url={} ! fakesink name=text sync=true \
         t. ! queue ! fakesink name=sound sync=true",
        server.url()
    ))
    .unwrap();
    (pipeline.downcast().unwrap(), server)
}

/// Asks for a state and waits until it is there.
fn reach(pipeline: &gst::Pipeline, state: gst::State) {
    pipeline.set_state(state).unwrap();
    let limit = gst::ClockTime::from_seconds(DEADLINE.as_secs());
    let (result, now, _) = pipeline.state(limit);
    assert_eq!((result.is_ok(), now), (true, state));
}

/// Waits until the sound is there.
fn play_to(pipeline: &gst::Pipeline, time: gst::ClockTime) {
    let (tell, told) = std::sync::mpsc::channel();
    let pad = pipeline.by_name("sound").unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if info.buffer().and_then(|b| b.pts()).is_some_and(|pts| pts >= time) {
            let _ = tell.send(());
        }
        gst::PadProbeReturn::Ok
    });
    told.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_player_pauses_and_goes_on() {
    let wav = Wav::new("pauses", 20);
    let (pipeline, _server) = player(&wav);
    reach(&pipeline, gst::State::Playing);
    for n in 1..=2 {
        play_to(&pipeline, n * 500 * MS);
        reach(&pipeline, gst::State::Paused);
        reach(&pipeline, gst::State::Playing);
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_player_starts_paused_and_seeks() {
    let wav = Wav::new("seeks", 20);
    let (pipeline, _server) = player(&wav);
    reach(&pipeline, gst::State::Paused);
    for to in [10, 3] {
        pipeline.seek_simple(gst::SeekFlags::FLUSH, to * SECOND).unwrap();
        reach(&pipeline, gst::State::Paused);
    }
    reach(&pipeline, gst::State::Playing);
    play_to(&pipeline, 3500 * MS);
    pipeline.set_state(gst::State::Null).unwrap();
}

/// What a paused element prerolls its sinks with: a GAP at the output's position, of no length, and
/// not beyond a word that may still come.
#[test]
fn a_gap_to_preroll_with_lies_where_the_output_is() {
    let gap = |rig: &mut Rig, said: usize| {
        rig.harness.play();
        rig.harness.set_src_caps_str(CAPS);
        rig.sound(SECOND, 2 * SECOND);
        let mut out = Vec::new();
        while texts(&out).len() < said {
            out.push(rig.next());
        }
        rig.element.set_state(gst::State::Paused).unwrap();
        let preroll = |o: &Out| gaps(std::slice::from_ref(o)).iter().any(|g| g.0 == g.1);
        out.extend(rig.until(preroll));
        (gaps(&out).last().unwrap().0, texts(&out).last().map(|t| t.end))
    };
    // Nothing is said: where the stream begins.
    let silent = Fault::new(When::Start, What::Pause { ms: 0 });
    let mute = builder("hello").fault(silent).start().unwrap();
    let mut rig = Rig::bare(element(&mute.url()));
    let (at, last) = gap(&mut rig, 0);
    assert_eq!((at <= SECOND, last), (true, None), "{at}");
    rig.element.set_state(gst::State::Null).unwrap();

    let server = server("hello big world");
    let mut rig = Rig::bare(element(&server.url()));
    let (at, last) = gap(&mut rig, 2);
    assert!(Some(at) >= last && at <= 3 * SECOND, "{at} {last:?}");
    rig.element.set_state(gst::State::Playing).unwrap();
    rig.eos();
    let rest = texts(&rig.until_eos());
    assert!(rest.iter().all(|t| t.pts >= at), "{at}: {rest:?}");
}

/// A muxer waits for words, which need more audio than the default queue beside them lets through:
/// one WARNING names the queue and the size that it needs, and that size does.
fn stands_still(timing: &str, size: u64) {
    init();
    let wav = Wav::new(&format!("stands-{timing}"), 12);
    let server = builder("hello").cadence(Cadence::Segments).start().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={wav} ! wavparse ! tee name=t \
         t. ! queue name=small ! m. \
         t. ! queue ! vllmrealtimeasr vad=false timing={timing} url={} ! m. \
         matroskamux name=m ! fakesink",
        server.url()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut told = Vec::new();
    wait_message(&bus, |m| match m.view() {
        gst::MessageView::Warning(w) => {
            let text = w.error().message().to_owned();
            assert!(text.contains("small") && text.contains("stands still"), "{text}");
            assert!(text.contains(&format!("max-size-time={size} ")), "{text}");
            told.push(text);
            let small = pipeline.by_name("small").unwrap();
            small.set_property("max-size-time", size);
            small.set_property("max-size-bytes", 0_u32);
            small.set_property("max-size-buffers", 0_u32);
            None
        }
        gst::MessageView::Eos(_) => Some(()),
        _ => None,
    });
    assert_eq!(told.len(), 1, "{told:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_queue_that_is_too_small_for_segments() {
    stands_still("segments", 8_000_000_000);
}

/// Nobody can know yet what kind of server it is.
#[test]
fn a_queue_that_is_too_small_for_the_first_words() {
    stands_still("auto", 0);
}
