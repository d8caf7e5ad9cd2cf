// SPDX-License-Identifier: MPL-2.0

//! What `textrollup` makes of the words, for the page.

use gst::prelude::*;

use crate::pipeline::{element, feed, parse, run};
use crate::{Error, Word};

/// Lines of words, and when they are shown.
pub struct Caption<'a> {
    pub lines: Vec<&'a [Word]>,
    pub begin: gst::ClockTime,
    pub end: gst::ClockTime,
}

/// All words in captions.
pub fn captions(words: &[Word]) -> Result<Vec<Caption<'_>>, Error> {
    let pipeline =
        parse("appsrc name=words ! textrollup mode=pop-on ! appsink name=cues sync=false")?;
    let cues =
        element(&pipeline, "cues").downcast::<gst_app::AppSink>().map_err(|_| "no appsink")?;
    let (tell, told) = std::sync::mpsc::channel();
    let take = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        sample.buffer_owned().map(|buffer| tell.send(buffer));
        Ok(gst::FlowSuccess::Ok)
    };
    cues.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(take).build());
    feed(&pipeline, "words", words)?;
    run(&pipeline)?;
    let mut rest = words;
    told.try_iter()
        .map(|cue| {
            let map = cue.map_readable()?;
            let lines = std::str::from_utf8(&map)?.lines().map(|line| {
                let (words, behind) = rest.split_at(line.split(' ').count().min(rest.len()));
                rest = behind;
                words
            });
            let lines = lines.collect();
            let begin = cue.pts().unwrap_or_default();
            Ok(Caption { lines, begin, end: begin + cue.duration().unwrap_or_default() })
        })
        .collect()
}

impl Caption<'_> {
    pub fn words(&self) -> usize {
        self.lines.iter().map(|line| line.len()).sum()
    }
}
