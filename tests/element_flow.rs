// SPDX-License-Identifier: MPL-2.0

//! Audio in, words out: buffers, GAPs, events and messages of the element against the stand-in.

mod support;

use gst::prelude::*;
use support::*;

const TEXT: &str = "one two three four five six seven eight nine";

#[test]
fn words_leave_in_order_with_gaps_between_them() {
    let server = server(TEXT);
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 4 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let types: Vec<_> = out.iter().filter_map(|o| Some(o.event()?.type_())).collect();
    assert_eq!(
        &types[..3],
        [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Segment]
    );
    let gst::EventView::StreamStart(start) = out[0].event().unwrap().view() else { unreachable!() };
    assert!(start.stream_flags().contains(gst::StreamFlags::SPARSE));
    assert!(start.stream_id().ends_with("/text"));
    assert_eq!(words(&out).join(" "), TEXT);
    let texts = texts(&out);
    assert!(texts[0].discont);
    assert!(texts[1..].iter().all(|t| !t.discont), "{texts:?}");
    // Buffers and GAPs cover the time without a hole or an overlap.
    let mut at = gst::ClockTime::ZERO;
    let mut empty = 0;
    for o in &out {
        let (from, to) = match (o.text(), gaps(std::slice::from_ref(o)).pop()) {
            (Some(text), _) => (text.pts, text.end),
            (None, Some(gap)) => gap,
            (None, None) => continue,
        };
        assert_eq!(from, at, "{out:#?}");
        // The GAP to preroll with alone is of no length.
        empty += u32::from(from == to);
        assert!(to > from || o.text().is_none() && empty == 1, "{o:?}");
        at = to;
    }
    assert_eq!(at, 4 * SECOND);
    assert!(out.last().unwrap().is(gst::EventType::Eos));
}

#[test]
fn the_bus_tells_of_words_partial_text_and_utterances() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    let texts = texts(&rig.until_eos());
    let mut words = Vec::new();
    let mut partials = 0;
    let utterance = rig.message(|m| {
        words.extend(structure(m, "vllmrealtimeasr/word"));
        partials += usize::from(structure(m, "vllmrealtimeasr/partial").is_some());
        structure(m, "vllmrealtimeasr/utterance")
    });
    assert!(partials > 0);
    let time = |s: &gst::Structure, name: &str| s.get::<gst::ClockTime>(name).unwrap();
    assert_eq!(words.len(), 3);
    for (word, text) in words.iter().zip(&texts) {
        assert_eq!(word.get::<&str>("text").unwrap(), text.text);
        assert_eq!(time(word, "start-time"), text.pts);
        assert_eq!(time(word, "end-time"), text.end);
        assert_eq!(time(word, "duration"), text.end - text.pts);
        assert_eq!(time(word, "running-time"), text.pts);
        assert_eq!(time(word, "stream-time"), text.pts);
        let confidence = word.get::<f64>("time-confidence").unwrap();
        assert!((0.0..=1.0).contains(&confidence));
        assert!(!word.has_field("confidence"), "this server tells none");
    }
    assert!(words[1].get::<bool>("space-before").unwrap());
    assert_eq!(utterance.get::<&str>("text").unwrap(), "hello big world");
    assert_eq!(time(&utterance, "start-time"), texts[0].pts);
    assert_eq!(time(&utterance, "end-time"), texts[2].end);
    let inside = utterance.get::<gst::ArrayRef>("words").unwrap();
    let inside: Vec<_> = inside.iter().map(|w| w.get::<gst::Structure>().unwrap()).collect();
    assert_eq!(inside, words);
    let usage = utterance.get::<gst::Structure>("usage").unwrap();
    assert!(usage.get::<u64>("completion-tokens").unwrap() > 0);
    assert_eq!(
        usage.get::<u64>("total-tokens").unwrap(),
        usage.get::<u64>("prompt-tokens").unwrap() + usage.get::<u64>("completion-tokens").unwrap()
    );
}

#[test]
fn with_post_messages_off_the_bus_is_quiet() {
    let server = server("hello big world");
    let asr = element(&server.url());
    asr.set_property("post-messages", false);
    let mut rig = Rig::new(asr);
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    assert_eq!(words(&rig.until_eos()).len(), 3);
    rig.element.set_state(gst::State::Null).unwrap();
    while let Some(message) = rig.bus.pop() {
        assert_ne!(message.type_(), gst::MessageType::Element, "{message:?}");
    }
}

#[test]
fn connecting_is_told_as_progress_and_as_state() {
    let server = server("hello");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, SECOND);
    rig.eos();
    rig.until_eos();
    let mut seen = Vec::new();
    rig.message(|m| {
        if let gst::MessageView::Progress(p) = m.view() {
            let (kind, code, text) = p.get();
            assert_eq!(code, "connect");
            assert!(text.contains("127.0.0.1"), "{text}");
            seen.push(format!("{kind:?}"));
        }
        if let Some(s) = structure(m, "vllmrealtimeasr/connection") {
            assert_eq!(s.get::<&str>("server").unwrap(), server.url());
            seen.push(s.get::<String>("state").unwrap());
        }
        (seen.len() == 4).then_some(())
    });
    assert_eq!(seen, ["Start", "connecting", "Complete", "connected"]);
}

#[test]
fn the_events_of_the_ecosystem_go_out() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    let last_word = out.iter().rposition(|o| o.text().is_some()).unwrap();
    let finals: Vec<_> = out
        .iter()
        .enumerate()
        .filter(|(_, o)| {
            let structure = o.event().and_then(|e| e.structure());
            structure.is_some_and(|s| s.has_name("rstranscribe/final-transcript"))
        })
        .map(|(n, _)| n)
        .collect();
    assert_eq!(finals.len(), 1);
    assert!(finals[0] > last_word);

    let mut items = Vec::new();
    while let Some(event) = rig.harness.try_pull_upstream_event() {
        if let Some(s) = event.structure().filter(|s| s.has_name("rstranscribe/new-item")) {
            assert_eq!(event.type_(), gst::EventType::CustomUpstream);
            assert_eq!(s.get::<Option<&str>>("speaker").unwrap(), None);
            items.push((
                s.get::<String>("content").unwrap(),
                s.get::<gst::ClockTime>("running-time").unwrap(),
                s.get::<gst::ClockTime>("duration").unwrap(),
            ));
        }
    }
    let texts = texts(&out).into_iter().map(|t| (t.text, t.pts, t.end - t.pts));
    assert_eq!(items, texts.collect::<Vec<_>>());
}

#[test]
fn eos_without_any_audio() {
    let server = server(TEXT);
    let mut rig = Rig::new(element(&server.url()));
    rig.eos();
    assert_eq!(words(&rig.until_eos()), [""; 0]);
}

#[test]
fn eos_without_anything() {
    let mut rig = Rig::bare(element("ws://127.0.0.1:1"));
    rig.harness.play();
    rig.eos();
    rig.until_eos();
}

#[test]
fn eos_after_ten_milliseconds() {
    let server = server(TEXT);
    let mut rig = Rig::new(element(&server.url()));
    rig.harness.push(audio(gst::ClockTime::ZERO, 10)).unwrap();
    rig.eos();
    rig.until_eos();
    assert_eq!(server.log().generations().map(|g| g.done).collect::<Vec<_>>(), [true]);
    assert_eq!(
        rig.harness.push(audio(10 * MS, 10)),
        Err(gst::FlowError::Eos),
        "after EOS there is nothing more"
    );
}

#[test]
fn a_stream_after_eos_is_recognised_too() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    assert_eq!(words(&rig.until_eos()).len(), 3);
    assert!(rig.harness.push_event(gst::event::StreamStart::new("second")));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(rig.harness.push_event(gst::event::Segment::new(&segment)));
    rig.sound(2 * SECOND, 2 * SECOND);
    rig.eos();
    assert_eq!(words(&rig.until_eos()).len(), 3);
}

#[test]
fn a_language_that_is_known_is_told_as_tag_behind_the_segment() {
    let server = server("hello");
    let asr = element(&server.url());
    asr.set_property("language-code", "pt-BR");
    let mut rig = Rig::new(asr);
    rig.sound(gst::ClockTime::ZERO, SECOND);
    let mut tags = gst::TagList::new();
    tags.make_mut().set_scope(gst::TagScope::Stream);
    tags.make_mut().add::<gst::tags::Title>(&"talk", gst::TagMergeMode::Append);
    assert!(rig.harness.push_event(gst::event::Tag::new(tags)));
    rig.eos();
    let out = rig.until_eos();
    let segment = out.iter().position(|o| o.is(gst::EventType::Segment)).unwrap();
    let tags: Vec<_> = out
        .iter()
        .enumerate()
        .filter_map(|(n, o)| match o.event()?.view() {
            gst::EventView::Tag(tag) => Some((n, tag.tag_owned())),
            _ => None,
        })
        .collect();
    assert_eq!(tags.len(), 2);
    for (n, tag) in &tags {
        assert!(*n > segment);
        assert_eq!(tag.get::<gst::tags::LanguageCode>().unwrap().get(), "pt");
    }
    assert_eq!(tags[1].1.get::<gst::tags::Title>().unwrap().get(), "talk");
}

#[test]
fn a_language_that_the_server_finds_is_told() {
    let server = builder("hallo große welt")
        .cadence(vllm_standin::Cadence::Segments)
        .language("German")
        .start()
        .unwrap();
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 6 * SECOND);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), "hallo große welt");
    let tag = out.iter().find_map(|o| match o.event()?.view() {
        gst::EventView::Tag(tag) => Some(tag.tag_owned()),
        _ => None,
    });
    assert_eq!(tag.unwrap().get::<gst::tags::LanguageCode>().unwrap().get(), "de");
    let code = rig
        .message(|m| structure(m, "vllmrealtimeasr/language")?.get::<String>("language-code").ok());
    assert_eq!(code, "de");
}

#[test]
fn events_keep_their_place_between_the_words() {
    let server = server(TEXT);
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 15 * 100 * MS);
    let mark = gst::event::CustomDownstream::new(gst::Structure::new_empty("mark"));
    assert!(rig.harness.push_event(mark));
    rig.sound(15 * 100 * MS, 25 * 100 * MS);
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), TEXT);
    let mark = out
        .iter()
        .position(|o| o.event().is_some_and(|e| e.structure().is_some_and(|s| s.has_name("mark"))))
        .unwrap();
    assert!(texts(&out[..mark]).iter().all(|t| t.pts < 1500 * MS));
    assert!(texts(&out[mark..]).iter().all(|t| t.pts >= 1500 * MS));
    assert!(!texts(&out[..mark]).is_empty() && !texts(&out[mark..]).is_empty());
}

#[test]
fn buffers_of_odd_size_lose_nothing() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    for n in 0..20 {
        let mut bytes = audio(gst::ClockTime::ZERO, 100).map_readable().unwrap().to_vec();
        bytes.push(7);
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.get_mut().unwrap().set_pts(100 * n * MS);
        rig.harness.push(buffer).unwrap();
    }
    rig.harness.push(gst::Buffer::from_slice([1_u8])).unwrap();
    rig.harness.push(gst::Buffer::new()).unwrap();
    rig.eos();
    assert_eq!(words(&rig.until_eos()).join(" "), "hello big world");
    assert_eq!(server.log().samples(), 20 * 3201 / 2);
}

#[test]
fn audio_without_times_follows_on() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    for _ in 0..20 {
        let mut buffer = audio(gst::ClockTime::ZERO, 100);
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::NONE);
        rig.harness.push(buffer).unwrap();
    }
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(words(&out).join(" "), "hello big world");
    assert_eq!(gaps(&out).last().unwrap().1, 2 * SECOND);
}

#[test]
fn stats_count() {
    let server = server("hello big world");
    let mut rig = Rig::new(element(&server.url()));
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    rig.eos();
    rig.until_eos();
    rig.message(|m| structure(m, "vllmrealtimeasr/utterance"));
    rig.element.set_state(gst::State::Null).unwrap();
    let stats = rig.element.property::<gst::Structure>("stats");
    let of = |name: &str| stats.get::<u64>(name).unwrap();
    assert_eq!(of("samples-in"), 32_000, "{stats}");
    assert_eq!(of("samples-sent"), 32_000);
    assert_eq!(of("samples-confirmed"), 32_000);
    assert_eq!(of("samples-unconfirmed"), 0);
    assert_eq!((of("words"), of("text-buffers")), (3, 3));
    assert_eq!((of("utterances"), of("connections"), of("generations")), (1, 1, 1));
    assert!(of("gap-events") > 0 && of("bytes-sent") > 64_000);
    assert_eq!(of("late-words"), 0);
}

#[test]
fn a_blocked_sink_blocks_neither_the_messages_nor_the_input() {
    let server = server(TEXT);
    let mut rig = Rig::bare(element(&server.url()));
    let src = rig.element.static_pad("src").unwrap();
    let block = src
        .add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, |_, _| {
            gst::PadProbeReturn::Ok
        })
        .unwrap();
    rig.harness.play();
    rig.harness.set_src_caps_str(CAPS);
    rig.sound(gst::ClockTime::ZERO, 4 * SECOND);
    rig.eos();
    let mut words = 0;
    rig.message(|m| {
        words += usize::from(structure(m, "vllmrealtimeasr/word").is_some());
        structure(m, "vllmrealtimeasr/utterance")
    });
    assert_eq!(words, 9);
    src.remove_probe(block);
    rig.until_eos();
}
