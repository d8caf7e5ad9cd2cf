// SPDX-License-Identifier: MPL-2.0

//! 9.6: a player that pauses, starts paused, and seeks while paused.

use gst::prelude::*;
use vllm_standin::{Fault, What, When};

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
