// SPDX-License-Identifier: MPL-2.0

//! The events that the transcribers of gst-plugins-rs share with what stands around them.

/// Custom downstream event after an utterance.
pub fn final_transcript() -> gst::Event {
    gst::event::CustomDownstream::new(gst::Structure::new_empty("rstranscribe/final-transcript"))
}

/// Custom upstream event for each word.
pub fn new_item(
    speaker: Option<&str>,
    content: &str,
    running_time: Option<gst::ClockTime>,
    duration: gst::ClockTime,
) -> gst::Event {
    gst::event::CustomUpstream::new(
        gst::Structure::builder("rstranscribe/new-item")
            .field("speaker", speaker)
            .field("content", content)
            .field("running-time", running_time)
            .field("duration", duration)
            .build(),
    )
}

/// The speaker of an event `rstranscribe/speaker-change`: `Some(None)` where it names none.
pub fn speaker_change(event: &gst::Event) -> Option<Option<String>> {
    let structure = event.structure().filter(|s| s.has_name("rstranscribe/speaker-change"))?;
    Some(structure.get::<Option<String>>("speaker").ok().flatten())
}
