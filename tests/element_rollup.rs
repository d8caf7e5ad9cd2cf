// SPDX-License-Identifier: MPL-2.0

//! The element `textrollup`: words in, captions out.

mod support;

use gst::prelude::*;
use support::*;

const TEXT: &str = "text/x-raw, format=utf8";

fn rollup(properties: &[(&str, &str)]) -> gst::Element {
    init();
    let element = gst::ElementFactory::make("textrollup").build().unwrap();
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    element
}

fn rig(properties: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::bare(rollup(properties));
    rig.harness.set_sink_caps_str("text/x-raw");
    rig.harness.play();
    rig.harness.set_src_caps_str(TEXT);
    rig
}

fn word(text: &str, ms: u64, length: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(text.to_owned().into_bytes());
    let b = buffer.get_mut().unwrap();
    b.set_pts(ms * MS);
    b.set_duration(length * MS);
    buffer
}

fn gap(ms: u64, length: u64) -> gst::Event {
    gst::event::Gap::builder(ms * MS).duration(length * MS).build()
}

/// Captions with their times in ms; those that go on joined.
fn captions(out: &[Out]) -> Vec<(String, u64, u64)> {
    let mut all: Vec<(String, u64, u64)> = Vec::new();
    for text in texts(out) {
        let (begin, end) = (text.pts.mseconds(), text.end.mseconds());
        match all.last_mut() {
            Some(last) if last.0 == text.text && last.2 == begin => last.2 = end,
            _ => all.push((text.text, begin, end)),
        }
    }
    all
}

#[test]
fn words_become_lines_that_cover_the_time() {
    let mut rig = rig(&[("columns", "9")]);
    rig.harness.push_event(gap(0, 500));
    for (i, text) in ["one", "two", "three", "four", "five"].into_iter().enumerate() {
        rig.harness.push(word(text, 500 + 400 * i as u64, 300)).unwrap();
        rig.harness.push_event(gap(800 + 400 * i as u64, 100));
    }
    rig.harness.push_event(gap(2500, 4000));
    rig.eos();
    let out = rig.until_eos();
    let expected = [
        ("one", 500, 900),
        ("one two", 900, 1300),
        ("one two\nthree", 1300, 1700),
        ("three\nfour", 1700, 2100),
        ("three\nfour five", 2100, 3900),
    ];
    let expected = expected.map(|(text, begin, end)| (text.to_owned(), begin, end));
    assert_eq!(captions(&out), expected);
    let mut at = 0;
    for o in &out {
        let (from, to) = match (o.text(), gaps(std::slice::from_ref(o)).pop()) {
            (Some(text), _) => (text.pts.mseconds(), text.end.mseconds()),
            (None, Some(gap)) => (gap.0.mseconds(), gap.1.mseconds()),
            (None, None) => continue,
        };
        assert_eq!(from, at);
        at = to;
    }
    assert_eq!(at, 6500);
    let stats = rig.element.property::<gst::Structure>("stats");
    let all = ["words", "captions", "late", "unread"].map(|n| stats.get::<u64>(n).unwrap());
    assert_eq!(all, [5, 5, 0, 0]);
}

#[test]
fn a_flush_takes_what_stands() {
    let mut rig = rig(&[]);
    rig.harness.push(word("old", 0, 300)).unwrap();
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    rig.harness.push_event(gst::event::FlushStart::new());
    rig.harness.push_event(gst::event::FlushStop::new(true));
    rig.harness.push_event(gst::event::Segment::new(&segment));
    rig.harness.push(word("new", 5000, 300)).unwrap();
    rig.eos();
    let out = rig.until_eos();
    assert_eq!(captions(&out).last().unwrap().0, "new");
    assert!(!captions(&out).iter().any(|c| c.0.contains("old new")), "{out:?}");
}

#[test]
fn times_of_two_files_go_on() {
    for (stamp, second) in [("segment", 200), ("running-time", 2200)] {
        let mut rig = rig(&[("mode", "pop-on"), ("stamp", stamp)]);
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_stop(2 * SECOND);
        rig.harness.push_event(gst::event::Segment::new(&segment));
        rig.harness.push(word("one", 100, 300)).unwrap();
        segment.set_base(2 * SECOND);
        rig.harness.push_event(gst::event::Segment::new(&segment));
        rig.harness.push(word("two", 200, 300)).unwrap();
        rig.eos();
        let out = captions(&rig.until_eos());
        assert_eq!(out, [("one".into(), 100, 1100), ("two".into(), second, second + 1000)]);
    }
}

#[test]
fn text_is_written_as_it_is_asked_for() {
    for (properties, expected) in [
        (vec![("newline", "true")], "R&D is\n"),
        (vec![("format", "pango-markup")], "R&amp;D is"),
        (vec![("replace", "replace,is=was,r_d=RD")], "R&D was"),
    ] {
        let mut rig = rig(&[vec![("mode", "pop-on")], properties].concat());
        rig.harness.push(word("R&D", 0, 300)).unwrap();
        rig.harness.push(word("is", 300, 300)).unwrap();
        rig.eos();
        assert_eq!(captions(&rig.until_eos())[0].0, expected);
    }
    let mut rig = rig(&[("format", "pango-markup"), ("highlight", "true")]);
    rig.harness.push(word("one", 0, 300)).unwrap();
    rig.harness.push(word("two", 400, 300)).unwrap();
    rig.eos();
    let all: Vec<String> = captions(&rig.until_eos()).into_iter().map(|c| c.0).collect();
    assert_eq!(all, ["<u>one</u>", "one", "one <u>two</u>", "one two"]);
}

#[test]
fn no_gap_leaves_where_none_is_wanted() {
    let mut rig = rig(&[("gaps", "false")]);
    rig.harness.push_event(gap(0, 3000));
    rig.harness.push(word("one", 3000, 300)).unwrap();
    rig.harness.push_event(gap(3300, 9000));
    rig.eos();
    let out = rig.until_eos();
    assert!(gaps(&out).is_empty());
    assert_eq!(captions(&out), [("one".into(), 3000, 4800)]);
}

#[test]
fn events_keep_their_place() {
    let custom = |name: &str| gst::Structure::new_empty(name);
    for mode in ["roll-up", "pop-on", "sentence"] {
        let mut rig = rig(&[("mode", mode), ("speaker-prefix", "{}: ")]);
        rig.harness.push(word("one.", 0, 300)).unwrap();
        let done = custom("rstranscribe/final-transcript");
        rig.harness.push_event(gst::event::CustomDownstream::new(done));
        let speaker =
            gst::Structure::builder("rstranscribe/speaker-change").field("speaker", "Ann").build();
        rig.harness.push_event(gst::event::CustomDownstream::new(speaker));
        rig.harness.push(word("two", 400, 300)).unwrap();
        rig.eos();
        let out = rig.until_eos();
        let order: Vec<String> = out
            .iter()
            .filter_map(|o| match (o.text(), o.event().and_then(|e| e.structure())) {
                (Some(text), _) => Some(text.text.replace('\n', "|")),
                (None, Some(s)) if s.name().starts_with("rstranscribe") => {
                    Some(s.name().to_string())
                }
                _ => None,
            })
            .collect();
        let [done, speaker] = ["rstranscribe/final-transcript", "rstranscribe/speaker-change"];
        let last = if mode == "roll-up" { "one.|Ann: two" } else { "Ann: two" };
        assert_eq!(order.first().unwrap(), "one.", "{mode}");
        assert_eq!(order.last().unwrap(), last, "{mode}");
        let at = |name: &str| order.iter().position(|o| o == name).unwrap();
        let two = order.iter().position(|o| o == last).unwrap();
        assert!(0 < at(done) && at(done) < at(speaker) && at(speaker) < two, "{order:?}");
    }
}

/// Where the source says nothing the clock goes on.
#[test]
fn what_stands_is_told_on_when_the_sinks_need_it() {
    let mut rig = Rig::bare(rollup(&[]));
    rig.harness.set_live(true);
    rig.harness.use_testclock();
    rig.harness.set_upstream_latency(3 * SECOND);
    rig.harness.play();
    rig.harness.set_src_caps_str(TEXT);
    assert_eq!(rig.harness.query_latency(), Some(3 * SECOND));
    // Where no sink is synchronised the pipeline tells 0: words have their time all the same.
    let latency = gst::event::Latency::new(gst::ClockTime::ZERO);
    assert!(rig.element.static_pad("src").unwrap().send_event(latency));
    rig.harness.push(word("one", 0, 300)).unwrap();
    let clock = rig.harness.testclock().unwrap();
    let mut end = 0;
    while end < 2800 {
        let out = rig.next();
        if let Some(text) = out.text() {
            end = text.end.mseconds();
        } else if let Some(gap) = gaps(&[out]).pop() {
            end = gap.1.mseconds();
        } else {
            continue;
        }
        // So long as the sinks do not need more nothing comes.
        let wait = clock.wait_for_next_pending_id();
        assert_eq!(wait.time().mseconds(), end + 3000 - 30);
        clock.set_time(wait.time());
        clock.process_next_clock_id();
    }
    rig.eos();
}

#[test]
fn whole_captions_take_their_time_and_say_so() {
    for (mode, own) in [("roll-up", 0), ("pop-on", 8500), ("sentence", 12_500)] {
        let mut rig = Rig::bare(rollup(&[("mode", mode)]));
        rig.harness.set_live(true);
        rig.harness.set_upstream_latency(500 * MS);
        rig.harness.play();
        assert_eq!(rig.harness.query_latency(), Some((500 + own) * MS), "{mode}");
    }
}

#[test]
fn a_file_of_replacements_that_is_wrong_is_an_error() {
    let element = rollup(&[("replace-file", "/nowhere/words.txt")]);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err());
    let (error, _) = wait_error(&bus);
    assert!(error.message().contains("replace-file, /nowhere/words.txt"), "{error}");
    element.set_state(gst::State::Null).unwrap();
}

#[test]
fn what_downstream_answers_is_told_upstream() {
    init();
    let element = rollup(&[]);
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), None);
    harness.play();
    harness.set_src_caps_str(TEXT);
    // Nothing is linked.
    let mut result = Ok(gst::FlowSuccess::Ok);
    for i in 0.. {
        result = harness.push(word("word", 400 * i, 300));
        if result.is_err() {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(result, Err(gst::FlowError::NotLinked));
}

/// A word without times, an empty one, one that is no text, one outside of the segment.
#[test]
fn odd_buffers_do_no_harm() {
    let mut rig = rig(&[]);
    rig.harness.push(gst::Buffer::from_slice(b"one".to_vec())).unwrap();
    rig.harness.push(gst::Buffer::new()).unwrap();
    rig.harness.push(gst::Buffer::from_slice(vec![0xff, 0xfe, b'a'])).unwrap();
    rig.harness.push(word(" \n\t", 500, 100)).unwrap();
    rig.harness.push(word("two", 400, u64::MAX / 1_000_000 - 1000)).unwrap();
    rig.eos();
    let out = captions(&rig.until_eos());
    assert_eq!(out.last().unwrap().0, "one \u{fffd}\u{fffd}a two");
}

#[test]
fn a_flush_stop_alone_goes_through() {
    let mut rig = rig(&[]);
    rig.harness.push(word("one", 0, 300)).unwrap();
    rig.until(|o| o.text().is_some());
    rig.harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    rig.harness.push_event(gst::event::Segment::new(&segment));
    rig.harness.push(word("two", 1000, 300)).unwrap();
    rig.eos();
    assert_eq!(captions(&rig.until_eos()).last().unwrap().0, "two");
}

#[test]
fn an_end_that_downstream_tells_ends_the_stream() {
    init();
    let pipeline = gst::parse::launch(
        "appsrc name=in format=time caps=text/x-raw,format=utf8 ! textrollup ! \
         identity eos-after=2 ! fakesink",
    )
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let source = pipeline.by_name("in").unwrap();
    for i in 0..20 {
        let _: gst::FlowReturn = source.emit_by_name("push-buffer", &[&word("word", 400 * i, 300)]);
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_message(&pipeline.bus().unwrap(), |m| {
        matches!(m.view(), gst::MessageView::Eos(_)).then_some(())
    });
    pipeline.set_state(gst::State::Null).unwrap();
}

/// A loop of segments: the end of each is told when its captions are out.
#[test]
fn the_end_of_a_segment_comes_behind_its_captions() {
    let mut rig = rig(&[("mode", "pop-on")]);
    rig.harness.push(word("one", 0, 300)).unwrap();
    rig.harness.push_event(gst::event::SegmentDone::new(2 * SECOND));
    let out = rig.until(|o| o.is(gst::EventType::SegmentDone));
    assert_eq!(captions(&out), [("one".into(), 0, 1000)]);
}

/// An element with nothing behind it.
fn unlinked() -> (gst::Element, gst::Bus, gst_check::Harness) {
    let element = rollup(&[]);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), None);
    harness.set_src_caps_str(TEXT);
    harness.play();
    (element, bus, harness)
}

/// As behind a `queue`: upstream hears of it, and it goes on once something is linked.
#[test]
fn what_is_linked_later_has_what_comes_then() {
    let (element, bus, mut harness) = unlinked();
    // The second one at the latest is refused, once the first has not gone anywhere.
    let end = std::time::Instant::now() + DEADLINE;
    let mut at = 0;
    while harness.push(word("one", at, 300)) != Err(gst::FlowError::NotLinked) {
        assert!(std::time::Instant::now() < end);
        at += 400;
    }
    assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none(), "that is upstream's to tell");
    let (pad, heard) = sink_pad();
    element.static_pad("src").unwrap().link(&pad).unwrap();
    assert_eq!(harness.push(word("two", at + 400, 300)), Ok(gst::FlowSuccess::Ok));
    assert!(harness.push_event(gst::event::Eos::new()));
    let mut all = Vec::new();
    while !all.last().is_some_and(|o: &Out| o.is(gst::EventType::Eos)) {
        all.push(heard.recv_timeout(DEADLINE).unwrap());
    }
    for type_ in [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Segment] {
        assert!(all.iter().any(|o| o.is(type_)), "{type_:?}");
    }
    assert!(words(&all).last().unwrap().contains("two"), "{all:?}");
    element.set_bus(None);
}

/// Nothing follows EOS by which upstream could hear of it.
#[test]
fn an_end_that_nobody_takes_is_an_error() {
    let (element, bus, mut harness) = unlinked();
    let _ = harness.push(word("one", 0, 300));
    let _ = harness.push_event(gst::event::Eos::new());
    let (error, debug) = wait_error(&bus);
    assert!(debug.contains("not linked"), "{error} {debug}");
    element.set_bus(None);
}
