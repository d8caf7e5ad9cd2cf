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
    assert_eq!(words(&out).join(" "), TEXT);
    let texts = texts(&out);
    assert!(texts[0].discont);
    assert!(texts[1..].iter().all(|t| !t.discont), "{texts:?}");
    // Buffers and GAPs cover the time without a hole or an overlap.
    let mut at = gst::ClockTime::ZERO;
    for o in &out {
        let (from, to) = match (o.text(), gaps(std::slice::from_ref(o)).pop()) {
            (Some(text), _) => (text.pts, text.end),
            (None, Some(gap)) => gap,
            (None, None) => continue,
        };
        assert_eq!(from, at, "{out:#?}");
        assert!(to > from);
        at = to;
    }
    assert!(at <= 4 * SECOND);
    assert!(out.last().unwrap().is(gst::EventType::Eos));
}
