// SPDX-License-Identifier: MPL-2.0

//! One run of the element, from the first sample to EOS.

use std::sync::mpsc::channel;

use gst::prelude::*;

use crate::speech::Speech;
use crate::support::{self, MS, SECOND};

pub struct Run {
    pub words: Vec<String>,
    pub stats: gst::Structure,
    /// Reasons of the `connection` messages with state `lost`.
    pub lost: Vec<String>,
    /// The `dropped` messages.
    pub dropped: Vec<gst::Structure>,
}

/// The element as a user has it who sets the address only.
pub fn element(url: &str) -> gst::Element {
    support::init();
    gst::ElementFactory::make("vllmrealtimeasr").property("url", url).build().unwrap()
}

/// All of `speech` through `element`, from a source that is not live, to EOS or ERROR.
pub fn try_transcribe(element: gst::Element, speech: &Speech) -> Result<Run, String> {
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("appsrc")
        .property("caps", support::CAPS.parse::<gst::Caps>().unwrap())
        .property("format", gst::Format::Time)
        .property("block", true)
        .property("max-bytes", 32_000_u64)
        .build()
        .unwrap();
    let sink = gst::ElementFactory::make("fakesink").property("async", false).build().unwrap();
    pipeline.add_many([&source, &element, &sink]).unwrap();
    gst::Element::link_many([&source, &element, &sink]).unwrap();
    let (tell, words) = channel();
    element.static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let text = info.buffer().unwrap().map_readable().unwrap().to_vec();
        let _ = tell.send(String::from_utf8(text).unwrap());
        gst::PadProbeReturn::Ok
    });
    // A failure to start is told on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    let (mut lost, mut dropped) = (Vec::new(), Vec::new());
    let end = std::thread::scope(|scope| {
        scope.spawn(|| push(&source, speech));
        let bus = pipeline.bus().unwrap();
        let end = loop {
            // Each word is a message: a minute without one is a hang.
            let m = bus.timed_pop(60 * SECOND).expect("a message on the bus");
            if let Some(s) = support::structure(&m, "vllmrealtimeasr/connection")
                && s.get::<&str>("state") == Ok("lost")
            {
                lost.push(s.get("reason").unwrap());
            }
            dropped.extend(support::structure(&m, "vllmrealtimeasr/dropped"));
            match m.view() {
                gst::MessageView::Eos(_) => break Ok(()),
                gst::MessageView::Error(e) => {
                    break Err(format!("{} ({:?})", e.error(), e.debug()));
                }
                _ => {}
            }
        };
        if end.is_err() {
            support::down(&pipeline, gst::State::Null);
        }
        end
    });
    let stats = element.property::<gst::Structure>("stats");
    support::down(&pipeline, gst::State::Null);
    end.map(|()| Run { words: words.try_iter().collect(), stats, lost, dropped })
}

pub fn transcribe(element: gst::Element, speech: &Speech) -> Run {
    try_transcribe(element, speech).unwrap_or_else(|e| panic!("{e}"))
}

fn push(source: &gst::Element, speech: &Speech) {
    for (n, part) in speech.samples.chunks(1600).enumerate() {
        let bytes: Vec<u8> = part.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.get_mut().unwrap().set_pts(n as u64 * 100 * MS);
        let flow = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
        if flow != gst::FlowReturn::Ok {
            return;
        }
    }
    let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
}

pub fn stat(stats: &gst::Structure, name: &str) -> u64 {
    stats.get(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every sample is accounted for, and none was given up.
pub fn assert_accounted(run: &Run, samples: usize) {
    let of = |name: &str| stat(&run.stats, name);
    assert_eq!(of("samples-in"), samples as u64, "{}", run.stats);
    assert_eq!(of("samples-dropped"), 0, "{} {:?}", run.stats, run.dropped);
    assert_eq!(of("samples-unconfirmed"), 0, "{}", run.stats);
    assert_eq!(of("samples-flushed"), 0, "{}", run.stats);
    assert_eq!(of("samples-confirmed") + of("samples-skipped"), samples as u64, "{}", run.stats);
}

/// The same words, each once; what differs is shown with what stands around it.
pub fn assert_same(found: &[String], wanted: &[String], what: &str) {
    if found == wanted {
        return;
    }
    let at = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let around = |words: &[String]| {
        words[at.saturating_sub(5).min(words.len())..(at + 8).min(words.len())].join(" ")
    };
    panic!(
        "{what}: {} words for {}; from word {at} on:\n  found  … {} …\n  wanted … {} …",
        found.len(),
        wanted.len(),
        around(found),
        around(wanted)
    );
}
