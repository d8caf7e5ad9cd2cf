// SPDX-License-Identifier: MPL-2.0

//! What the tests of the element share: a rig around one element, and whole pipelines.
#![allow(dead_code)]

use std::sync::Once;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gst::prelude::*;
use vllm_standin::{Builder, Script, Standin};

/// For whatever has to come at some time: reached only where something is wrong.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub const MS: gst::ClockTime = gst::ClockTime::MSECOND;
pub const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstvllmrealtime::plugin_register_static().unwrap();
    });
}

/// A server that says these words, three a second, in each generation.
pub fn server(text: &str) -> Standin {
    builder(text).start().unwrap()
}

pub fn builder(text: &str) -> Builder {
    Standin::builder().script(Script::text(text))
}

/// The element with a server, without voice activity detection: the script speaks whatever the
/// sound.
pub fn element(url: &str) -> gst::Element {
    init();
    gst::ElementFactory::make("vllmrealtimeasr")
        .property("url", url)
        .property("vad", false)
        .build()
        .unwrap()
}

/// Sound, though no speech: `ms` of a soft buzz.
pub fn audio(pts: gst::ClockTime, ms: u64) -> gst::Buffer {
    samples(pts, ms * 16)
}

pub fn samples(pts: gst::ClockTime, samples: u64) -> gst::Buffer {
    let bytes: Vec<u8> = (0..samples)
        .flat_map(|n| (if n % 160 < 80 { 1000_i16 } else { -1000 }).to_le_bytes())
        .collect();
    let mut buffer = gst::Buffer::from_slice(bytes);
    let duration = gst::ClockTime::from_nseconds(samples * 62_500);
    let b = buffer.get_mut().unwrap();
    b.set_pts(pts);
    b.set_duration(duration);
    buffer
}

/// What left the element, in order.
#[derive(Debug, Clone)]
pub enum Out {
    Event(gst::Event),
    Buffer(gst::Buffer),
}

/// A sink pad that takes all, and what comes there.
pub fn sink_pad() -> (gst::Pad, Receiver<Out>) {
    let (tell, heard) = channel();
    let events = tell.clone();
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .chain_function(move |_, _, buffer| {
            let _ = tell.send(Out::Buffer(buffer));
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| events.send(Out::Event(event)).is_ok())
        .build();
    pad.set_active(true).unwrap();
    (pad, heard)
}

/// A text buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub pts: gst::ClockTime,
    pub end: gst::ClockTime,
    pub discont: bool,
}

impl Out {
    pub fn text(&self) -> Option<Text> {
        let Out::Buffer(buffer) = self else { return None };
        Some(Text {
            text: String::from_utf8(buffer.map_readable().unwrap().to_vec()).unwrap(),
            pts: buffer.pts().unwrap(),
            end: buffer.pts().unwrap() + buffer.duration().unwrap(),
            discont: buffer.flags().contains(gst::BufferFlags::DISCONT),
        })
    }

    pub fn event(&self) -> Option<&gst::Event> {
        match self {
            Out::Event(event) => Some(event),
            Out::Buffer(_) => None,
        }
    }

    pub fn is(&self, type_: gst::EventType) -> bool {
        self.event().is_some_and(|e| e.type_() == type_)
    }
}

/// The element in PLAYING between the pads of a harness, with a bus of its own.
pub struct Rig {
    pub harness: gst_check::Harness,
    pub element: gst::Element,
    pub bus: gst::Bus,
    out: Receiver<Out>,
}

impl Rig {
    /// In PLAYING, after STREAM_START, CAPS and SEGMENT.
    pub fn new(element: gst::Element) -> Rig {
        let mut rig = Rig::bare(element);
        rig.harness.play();
        rig.harness.set_src_caps_str(CAPS);
        rig
    }

    /// Nothing was done with it yet.
    pub fn bare(element: gst::Element) -> Rig {
        init();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let (tell, out) = channel();
        element.static_pad("src").unwrap().add_probe(
            gst::PadProbeType::DATA_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH,
            move |_, info| {
                let _ = match &info.data {
                    Some(gst::PadProbeData::Buffer(b)) => tell.send(Out::Buffer(b.clone())),
                    Some(gst::PadProbeData::Event(e)) => tell.send(Out::Event(e.clone())),
                    _ => Ok(()),
                };
                gst::PadProbeReturn::Ok
            },
        );
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_sink_caps_str("text/x-raw, format=utf8");
        // A harness is live where nothing else is said.
        harness.set_live(false);
        Rig { harness, element, bus, out }
    }

    /// Pushes sound from `from` on, in buffers of 100 ms.
    pub fn sound(&mut self, from: gst::ClockTime, length: gst::ClockTime) {
        for n in 0..length.mseconds() / 100 {
            self.harness.push(audio(from + 100 * n * MS, 100)).unwrap();
        }
    }

    /// As [`Rig::sound`]; the source marks the first buffer as discontinuous.
    pub fn sound_after_a_break(&mut self, from: gst::ClockTime, length: gst::ClockTime) {
        let mut first = audio(from, 100);
        first.get_mut().unwrap().set_flags(gst::BufferFlags::DISCONT);
        self.harness.push(first).unwrap();
        self.sound(from + 100 * MS, length - 100 * MS);
    }

    pub fn eos(&mut self) {
        assert!(self.harness.push_event(gst::event::Eos::new()));
    }

    /// The next thing that leaves the element.
    pub fn next(&self) -> Out {
        self.out.recv_timeout(DEADLINE).expect("something from the element")
    }

    /// All that has left the element and was not taken yet.
    pub fn ready(&self) -> Vec<Out> {
        self.out.try_iter().collect()
    }

    /// All up to the first thing for which `last` holds, that one included.
    pub fn until(&self, mut last: impl FnMut(&Out) -> bool) -> Vec<Out> {
        let mut all = Vec::new();
        let end = Instant::now() + DEADLINE;
        loop {
            match self.out.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(out) => {
                    let found = last(&out);
                    all.push(out);
                    if found {
                        return all;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("it did not come after {all:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the pad is gone, after {all:#?}"),
            }
        }
    }

    pub fn until_eos(&self) -> Vec<Out> {
        self.until(|out| out.is(gst::EventType::Eos))
    }

    /// Waits for a message for which `which` gives something.
    pub fn message<T>(&self, mut which: impl FnMut(&gst::Message) -> Option<T>) -> T {
        wait_message(&self.bus, |m| which(m))
    }

    pub fn error(&self) -> (gst::glib::Error, String) {
        wait_error(&self.bus)
    }

    /// Element messages with this structure name, of those that are on the bus now.
    pub fn messages(&self, name: &str) -> Vec<gst::Structure> {
        let mut all = Vec::new();
        while let Some(message) = self.bus.pop() {
            all.extend(structure(&message, name));
        }
        all
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.element.set_bus(None);
    }
}

/// 2 s of sound to the element with a server; its words, or the text of the ERROR.
pub fn hear(url: &str, set: impl FnOnce(&gst::Element)) -> Result<Vec<String>, String> {
    let element = element(url);
    set(&element);
    let mut rig = Rig::new(element);
    for n in 0..20 {
        if rig.harness.push(audio(n * 100 * MS, 100)).is_err() {
            return Err(rig.error().0.message().to_owned());
        }
    }
    rig.eos();
    let out = rig.until_eos();
    let error = rig.bus.pop_filtered(&[gst::MessageType::Error]);
    match error.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Error(e)) => Err(e.error().message().to_owned()),
        _ => Ok(words(&out)),
    }
}

pub const CAPS: &str = "audio/x-raw, format=S16LE, rate=16000, channels=1, layout=interleaved";

pub fn structure(message: &gst::Message, name: &str) -> Option<gst::Structure> {
    message.structure().filter(|s| s.has_name(name)).map(|s| s.to_owned())
}

pub fn wait_message<T>(bus: &gst::Bus, mut which: impl FnMut(&gst::Message) -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = gst::ClockTime::from_nseconds(left.as_nanos() as u64);
        let message = bus.timed_pop(left).expect("a message on the bus");
        if let Some(found) = which(&message) {
            return found;
        }
    }
}

pub fn wait_error(bus: &gst::Bus) -> (gst::glib::Error, String) {
    wait_message(bus, |m| match m.view() {
        gst::MessageView::Error(e) => Some((e.error(), e.debug().unwrap_or_default().to_string())),
        gst::MessageView::Eos(_) => panic!("EOS came before the ERROR"),
        _ => None,
    })
}

/// The texts of what left the element.
pub fn texts(out: &[Out]) -> Vec<Text> {
    out.iter().filter_map(Out::text).collect()
}

pub fn words(out: &[Out]) -> Vec<String> {
    texts(out).into_iter().map(|t| t.text).collect()
}

/// GAP events: from and to.
pub fn gaps(out: &[Out]) -> Vec<(gst::ClockTime, gst::ClockTime)> {
    out.iter()
        .filter_map(|o| match o.event()?.view() {
            gst::EventView::Gap(gap) => {
                let (pts, duration) = gap.get();
                Some((pts, pts + duration.unwrap()))
            }
            _ => None,
        })
        .collect()
}

/// Takes a pipeline down to a state after an ERROR.
///
/// A bin answers FAILURE from its ERROR on where it is in the state that it is asked for already:
/// that is its old answer. Its elements go there all the same, and where they are is what counts.
pub fn down(pipeline: &gst::Pipeline, state: gst::State) {
    let _ = pipeline.set_state(state);
    assert_eq!(pipeline.current_state(), state);
    for element in pipeline.iterate_elements() {
        let element = element.unwrap();
        assert_eq!(element.current_state(), state, "{}", element.name());
    }
}

/// Plays to the end, and goes to NULL.
pub fn play(pipeline: &gst::Pipeline) {
    let _ = pipeline.set_state(gst::State::Playing);
    let ended = wait_message(&pipeline.bus().unwrap(), |m| match m.view() {
        gst::MessageView::Eos(_) => Some(Ok(())),
        gst::MessageView::Error(e) => Some(Err(format!("{e:?}"))),
        _ => None,
    });
    down(pipeline, gst::State::Null);
    ended.unwrap();
}

/// Runs a pipeline to its EOS or ERROR, and returns its messages.
pub fn run(launch: &str) -> Result<Vec<gst::Message>, String> {
    init();
    let pipeline = gst::parse::launch(launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let bus = pipeline.bus().unwrap();
    // A failure is told on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    let mut messages = Vec::new();
    let result = wait_message(&bus, |m| {
        messages.push(m.clone());
        match m.view() {
            gst::MessageView::Eos(_) => Some(Ok(())),
            gst::MessageView::Error(e) => Some(Err(e.error().message().to_owned())),
            _ => None,
        }
    });
    down(&pipeline, gst::State::Null);
    result.map(|()| messages)
}
