// SPDX-License-Identifier: MPL-2.0

//! LATENCY, live pipelines under a test clock, and what `transcriberbin` asks of a transcriber.

mod support;

use gst::prelude::*;
use support::*;
use vllm_standin::{Fault, What, When};

const ZERO: gst::ClockTime = gst::ClockTime::ZERO;

/// A rig whose upstream is live with 50 ms of latency, at running time 0 of a test clock.
fn live(asr: gst::Element) -> Rig {
    let mut rig = Rig::bare(asr);
    rig.harness.use_testclock();
    rig.harness.set_live(true);
    rig.harness.set_upstream_latency(50 * MS);
    rig.harness.play();
    rig.harness.set_src_caps_str(CAPS);
    rig
}

fn latency(pad: &gst::Pad) -> (bool, gst::ClockTime, Option<gst::ClockTime>) {
    let mut query = gst::query::Latency::new();
    assert!(pad.query(&mut query), "a LATENCY query is always answered");
    query.result()
}

#[test]
fn latency_is_answered_from_the_beginning() {
    let asr = element("ws://127.0.0.1:1");
    let pad = asr.static_pad("src").unwrap();
    for state in [gst::State::Null, gst::State::Ready, gst::State::Paused, gst::State::Playing] {
        asr.set_state(state).unwrap();
        assert_eq!(latency(&pad), (false, ZERO, None), "{state:?}");
    }
    asr.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_live_pipeline_gets_latency_and_not_lateness() {
    let asr = element("ws://127.0.0.1:1");
    asr.set_property("latency", 1200_u32);
    asr.set_property("lateness", 400_u32);
    let rig = live(asr);
    assert_eq!(latency(&rig.element.static_pad("src").unwrap()), (true, 1250 * MS, None));
    while rig.bus.pop().is_some() {}
    rig.element.set_property("latency", 1200_u32);
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Latency]).is_none(), "nothing changed");
    rig.element.set_property("latency", 2000_u32);
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Latency]).is_some());
    assert_eq!(latency(&rig.element.static_pad("src").unwrap()), (true, 2050 * MS, None));
}

/// What upstream can hold at most, and so much more as waits here.
#[test]
fn the_longest_latency_is_what_the_element_can_hold() {
    init();
    for (latency, backlog, more) in [(1000_u32, 60_000_u32, 60), (90_000, 60_000, 90)] {
        let pipeline = gst::parse::launch(&format!(
            "appsrc is-live=true format=time min-latency=20000000 max-latency=500000000 \
             caps=\"{CAPS}\" ! vllmrealtimeasr name=asr latency={latency} max-backlog={backlog} \
             url=ws://127.0.0.1:1 ! fakesink async=false",
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        pipeline.set_state(gst::State::Paused).unwrap();
        let pad = pipeline.by_name("asr").unwrap().static_pad("src").unwrap();
        let least = 20 * MS + u64::from(latency) * MS;
        assert_eq!(self::latency(&pad), (true, least, Some(500 * MS + more * SECOND)));
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// Audio that a queue holds up comes late, and its words with it: that is told as such, once.
#[test]
fn late_audio_is_told_with_the_queue_that_holds_it_up() {
    let server = server(&"one two three four five six seven eight nine ten ".repeat(2));
    let asr = element(&server.url());
    asr.set_property("latency", 3000_u32);
    asr.set_property_from_str("timing", "frames");
    let mut rig = live(asr);
    let (mut said, mut told) = (0, Vec::new());
    for n in 0..6 {
        for n in 10 * n..10 * (n + 1) {
            rig.harness.set_time((n * 100 + 2500) * MS).unwrap();
            rig.harness.push(audio(n * 100 * MS, 100)).unwrap();
        }
        // Three words a second: those of the audio before this second are there in it.
        while said < 3 * n {
            rig.message(|m| {
                if let gst::MessageView::Warning(w) = m.view() {
                    assert!(w.error().matches(gst::CoreError::Clock), "{w:?}");
                    told.push(w.error().message().to_owned());
                }
                said += u64::from(structure(m, "vllmrealtimeasr/word").is_some());
                Some(())
            });
        }
    }
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["audio itself came 2", "max-size-time=4000000000 max-size-buffers=0"] {
        assert!(told[0].contains(part), "{told:?}");
    }
}

/// `timing-offset` moves live words, and leaves them as long as they are.
#[test]
fn live_words_keep_their_length_with_an_offset() {
    let lengths = |offset: i32| {
        let server = server("hello big world");
        let asr = element(&server.url());
        asr.set_property("timing-offset", offset);
        let mut rig = live(asr);
        rig.sound(10 * SECOND, 2 * SECOND);
        rig.harness.set_time(12 * SECOND).unwrap();
        rig.eos();
        let texts = texts(&rig.until_eos());
        texts.iter().map(|t| (t.pts.mseconds(), (t.end - t.pts).mseconds())).collect::<Vec<_>>()
    };
    let plain = lengths(0);
    assert_eq!(plain.len(), 3);
    for offset in [-1500, -1000, 1000] {
        let moved = |(pts, length): &(u64, u64)| ((*pts as i32 + offset) as u64, *length);
        assert_eq!(lengths(offset), plain.iter().map(moved).collect::<Vec<_>>(), "{offset}");
    }
}

#[test]
fn latency_has_no_limit_that_could_overflow() {
    let asr = element("ws://127.0.0.1:1");
    asr.set_property("latency", u32::MAX - 1);
    asr.set_property("lateness", u32::MAX);
    let mut rig = live(asr);
    rig.harness.set_upstream_latency(gst::ClockTime::MAX - SECOND);
    let (live, minimum, _) = latency(&rig.element.static_pad("src").unwrap());
    assert!(live && minimum >= gst::ClockTime::MAX - SECOND);
    rig.harness.push(audio(ZERO, 100)).unwrap();
}

/// The steps of `transcriberbin`: not in a bin, linked to a live source for a moment.
#[test]
fn the_steps_of_transcriberbin() {
    init();
    // No server, no key.
    let asr = element("ws://127.0.0.1:1");
    asr.set_property("language-code", "en-US");
    asr.set_property("latency", 2000_u32);
    asr.set_property("lateness", 100_u32);
    let bus = gst::Bus::new();
    asr.set_bus(Some(&bus));
    let fakesrc = gst::ElementFactory::make("fakesrc").property("is-live", true).build().unwrap();
    fakesrc.link(&asr).unwrap();
    asr.set_state(gst::State::Paused).unwrap();
    let (is_live, minimum, _) = latency(&asr.static_pad("src").unwrap());
    assert!(is_live);
    assert_eq!(minimum, 2 * SECOND);
    fakesrc.unlink(&asr);
    asr.set_state(gst::State::Null).unwrap();
    assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none());
    assert!(!asr.element_flags().contains(gst::ElementFlags::SINK));
    // Nothing of it is kept: not live now.
    asr.set_state(gst::State::Paused).unwrap();
    assert_eq!(latency(&asr.static_pad("src").unwrap()), (false, ZERO, None));
    asr.set_state(gst::State::Null).unwrap();
    asr.set_bus(None);
}

#[test]
fn gaps_follow_the_clock_while_nothing_comes() {
    let server =
        builder("hello").fault(Fault::new(When::Start, What::Pause { ms: 0 })).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("latency", 1000_u32);
    let mut rig = live(asr);
    rig.sound(ZERO, SECOND);
    // The server is silent; the output is behind the clock by the latency, 50 ms and 1 s.
    for _ in 0..30 {
        rig.harness.crank_single_clock_wait().unwrap();
    }
    let at = |rig: &Rig| rig.harness.testclock().unwrap().upcast::<gst::Clock>().time();
    let now = at(&rig);
    let out = rig.until(|o| {
        let gap = gaps(std::slice::from_ref(o));
        gap.iter().any(|g| g.1 + 1050 * MS >= now)
    });
    assert!(words(&out).is_empty());
    for pair in gaps(&out).windows(2) {
        assert_eq!(pair[0].1, pair[1].0);
    }
    // Never further ahead than one step of 100 ms.
    assert!(gaps(&out).last().unwrap().1 <= now + 100 * MS - 1050 * MS);
}

/// Behind EOS nobody waits for the clock, to tell of more time.
#[test]
fn nothing_follows_eos() {
    let server = server("hello big world");
    let asr = element(&server.url());
    asr.set_property("latency", 1000_u32);
    let mut rig = live(asr);
    rig.sound(ZERO, SECOND);
    rig.eos();
    rig.until_eos();
    let clock = rig.harness.testclock().unwrap();
    // The task would find its way there meanwhile.
    for _ in 0..10_000 {
        assert_eq!(clock.peek_id_count(), 0, "it waits for the clock");
        std::thread::yield_now();
    }
}

/// A live pipeline may be in PLAYING before its sinks have anything to preroll with: they get it at
/// once, and again behind each pause.
#[test]
fn sinks_preroll_at_once() {
    let server = server("hello");
    let asr = element(&server.url());
    let mut rig = live(asr);
    let preroll = |o: &Out| gaps(std::slice::from_ref(o)).iter().any(|g| g.0 == g.1);
    rig.harness.push(audio(ZERO, 20)).unwrap();
    rig.until(preroll);
    for _ in 0..20 {
        rig.element.set_state(gst::State::Paused).unwrap();
        rig.element.set_state(gst::State::Playing).unwrap();
        rig.until(preroll);
    }
}

#[test]
fn gaps_catch_up_with_a_clock_that_is_far_ahead() {
    let server =
        builder("hello").fault(Fault::new(When::Start, What::Pause { ms: 0 })).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("latency", 1000_u32);
    let mut rig = live(asr);
    // As after a sink that blocked for long: what is due is in the past.
    rig.harness.set_time(100 * SECOND).unwrap();
    rig.sound(ZERO, SECOND);
    rig.harness.crank_single_clock_wait().unwrap();
    let out = rig.until(|o| gaps(std::slice::from_ref(o)).iter().any(|g| g.1 >= 98 * SECOND));
    assert!(words(&out).is_empty());
}

#[test]
fn nothing_follows_the_clock_where_the_source_is_not_live() {
    let server =
        builder("hello").fault(Fault::new(When::Start, What::Pause { ms: 0 })).start().unwrap();
    let mut rig = Rig::bare(element(&server.url()));
    rig.harness.use_testclock();
    rig.harness.play();
    rig.harness.set_src_caps_str(CAPS);
    rig.sound(ZERO, SECOND);
    rig.harness.set_time(100 * SECOND).unwrap();
    let clock = rig.harness.testclock().unwrap();
    assert_eq!(clock.peek_id_count(), 0);
    assert!(gaps(&rig.ready()).is_empty());
}

#[test]
fn a_word_that_comes_late_is_moved_and_told_of() {
    // The text comes at the final commit, which EOS asks for.
    let server =
        builder("hello big world").cadence(vllm_standin::Cadence::Utterance).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("latency", 500_u32);
    asr.set_property("timing", gstvllmrealtime::asr::Timing::Utterance);
    let mut rig = live(asr);
    rig.sound(ZERO, 2 * SECOND);
    let clock = rig.harness.testclock().unwrap().upcast::<gst::Clock>();
    while clock.time() < 10 * SECOND {
        rig.harness.crank_single_clock_wait().unwrap();
    }
    rig.eos();
    let out = rig.until_eos();
    let texts = texts(&out);
    // One buffer for all that is due, no longer than its last word.
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(texts[0].text, "hello big world");
    assert!(texts[0].pts >= 9 * SECOND, "{texts:?}");
    assert!(texts[0].end < texts[0].pts + SECOND, "{texts:?}");
    let delay = rig.message(|m| match m.view() {
        gst::MessageView::Warning(w) => {
            assert!(w.error().matches(gst::CoreError::Clock), "{w:?}");
            assert!(w.error().message().contains("latency"), "{w:?}");
            let details = w.details()?;
            assert_eq!(details.name(), "vllmrealtimeasr/excessive-delay");
            details.get::<gst::ClockTime>("new-observed-max-delay").ok()
        }
        _ => None,
    });
    assert!(delay >= 7 * SECOND, "{delay}");
    let observed = rig.element.property::<u32>("max-observed-delay");
    assert_eq!(u64::from(observed), delay.mseconds());
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("late-words"), Ok(3));
    // The messages tell when it was spoken.
    let word = rig.message(|m| structure(m, "vllmrealtimeasr/word"));
    assert!(word.get::<gst::ClockTime>("start-time").unwrap() < 2 * SECOND);
}

#[test]
fn words_in_time_are_where_they_were_spoken() {
    let server = server("hello big world");
    let mut rig = live(element(&server.url()));
    rig.sound(ZERO, 2 * SECOND);
    rig.harness.set_time(2 * SECOND).unwrap();
    rig.eos();
    let texts = texts(&rig.until_eos());
    assert_eq!(texts.len(), 3);
    assert!(texts[2].end <= 2 * SECOND, "{texts:?}");
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("late-words"), Ok(0));
    rig.element.set_state(gst::State::Null).unwrap();
    while let Some(message) = rig.bus.pop() {
        assert_ne!(message.type_(), gst::MessageType::Warning, "{message:?}");
    }
}

#[test]
fn a_live_source_never_waits() {
    let server =
        builder("hello").fault(Fault::new(When::Start, What::Pause { ms: 0 })).start().unwrap();
    let asr = element(&server.url());
    asr.set_property("max-backlog", 1000_u32);
    let mut rig = live(asr);
    rig.sound(ZERO, 20 * SECOND);
    let dropped = rig.message(|m| structure(m, "vllmrealtimeasr/dropped"));
    let time = |name: &str| dropped.get::<gst::ClockTime>(name).unwrap();
    assert!(time("start-time") < time("end-time"));
    assert_eq!(time("duration"), time("end-time") - time("start-time"));
    assert!(!dropped.get::<&str>("reason").unwrap().is_empty());
}

/// A long outage is not told second by second: the messages are for that.
#[test]
fn audio_that_is_given_up_is_warned_of_once() {
    let asr = element("ws://127.0.0.1:1");
    asr.set_property("reconnect", -1);
    asr.set_property("max-backlog", 2000_u32);
    let mut rig = live(asr);
    rig.sound(gst::ClockTime::ZERO, 12 * SECOND);
    let (mut dropped, mut warnings) = (0, 0);
    while dropped < 8 {
        rig.message(|m| {
            dropped += u32::from(structure(m, "vllmrealtimeasr/dropped").is_some());
            if let gst::MessageView::Warning(w) = m.view() {
                warnings += u32::from(w.error().message().contains("is given up"));
            }
            Some(())
        });
    }
    assert_eq!(warnings, 1);
}

/// Nobody has to know what a server needs.
#[test]
fn the_latency_is_found_out() {
    let server = builder("one two three four five six seven eight nine ten")
        .cadence(vllm_standin::Cadence::Segments)
        .start()
        .unwrap();
    let asr = element(&server.url());
    asr.set_property_from_str("latency-mode", "auto");
    let mut rig = live(asr);
    let pad = rig.element.static_pad("src").unwrap();
    assert_eq!(latency(&pad).1, 3050 * MS);
    while rig.bus.pop().is_some() {}
    rig.sound(ZERO, 6 * SECOND);
    rig.message(|m| matches!(m.view(), gst::MessageView::Latency(_)).then_some(()));
    assert_eq!(latency(&pad).1, 8050 * MS);
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<gst::ClockTime>("latency").unwrap(), 8 * SECOND);
    // It is known until NULL, though a run in between has learnt nothing.
    for (state, latency) in [(gst::State::Ready, 8), (gst::State::Ready, 8), (gst::State::Null, 3)]
    {
        rig.element.set_state(state).unwrap();
        rig.element.set_state(gst::State::Paused).unwrap();
        assert_eq!(self::latency(&pad).1, latency * SECOND + 50 * MS, "{state:?}");
    }
}

#[test]
fn an_application_ends_the_utterance() {
    let server = server("hello big world");
    let asr = element(&server.url());
    asr.set_property_from_str("messages", "utterance");
    let mut rig = live(asr);
    rig.sound(ZERO, 2 * SECOND);
    rig.element.emit_by_name::<()>("commit", &[]);
    let utterance = rig.message(|m| {
        assert!(structure(m, "vllmrealtimeasr/word").is_none(), "only what was chosen is posted");
        structure(m, "vllmrealtimeasr/utterance")
    });
    assert_eq!(utterance.get::<String>("text").unwrap(), "hello big world");
}
