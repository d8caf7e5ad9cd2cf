// SPDX-License-Identifier: MPL-2.0

//! One run of the element, from the first sample to EOS.

use gst::prelude::*;

use crate::speech::Speech;
use crate::support::{self, MS, Out, Rig};

pub struct Run {
    pub out: Vec<Out>,
    pub words: Vec<String>,
    pub stats: gst::Structure,
    /// Reasons of the `connection` messages with state `lost`.
    pub lost: Vec<String>,
}

/// The element as a user has it who sets the address only.
pub fn element(url: &str) -> gst::Element {
    support::init();
    gst::ElementFactory::make("vllmrealtimeasr").property("url", url).build().unwrap()
}

/// All of `speech` through `element`.
pub fn transcribe(element: gst::Element, speech: &Speech) -> Run {
    let mut rig = Rig::new(element);
    push(&mut rig, speech);
    rig.eos();
    let out = rig.until_eos();
    let stats = rig.element.property::<gst::Structure>("stats");
    let mut lost = Vec::new();
    while let Some(message) = rig.bus.pop() {
        if let gst::MessageView::Error(e) = message.view() {
            panic!("{} ({:?})", e.error(), e.debug());
        }
        lost.extend(
            support::structure(&message, "vllmrealtimeasr/connection")
                .filter(|s| s.get::<&str>("state") == Ok("lost"))
                .map(|s| s.get::<String>("reason").unwrap()),
        );
    }
    Run { words: support::words(&out), out, stats, lost }
}

pub fn push(rig: &mut Rig, speech: &Speech) {
    for (n, part) in speech.samples.chunks(1600).enumerate() {
        let bytes: Vec<u8> = part.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.get_mut().unwrap().set_pts(n as u64 * 100 * MS);
        rig.harness.push(buffer).unwrap();
    }
}

pub fn stat(stats: &gst::Structure, name: &str) -> u64 {
    stats.get(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every sample is accounted for, and none was given up.
pub fn assert_accounted(run: &Run, samples: usize) {
    let of = |name: &str| stat(&run.stats, name);
    assert_eq!(of("samples-in"), samples as u64, "{}", run.stats);
    assert_eq!(of("samples-dropped"), 0, "{}", run.stats);
    assert_eq!(of("samples-unconfirmed"), 0, "{}", run.stats);
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
