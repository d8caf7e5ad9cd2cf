// SPDX-License-Identifier: MPL-2.0

//! A live server whose text comes while the audio does, by no clock: a word ended before the end of
//! the audio that had been sent when its text came. Nothing tells how far it has heard.

use super::{Clock, Curve, Length, Rehearing, Search};
use crate::transcript::{
    generation::Generation, script::ends_sentence, state::Transcript, stitch::Times, text::Said,
};

/// A server that is in time has said a word so long after its end.
const ANSWER: Length = Length::of_s(4);

/// Words that are searched along.
const ALONG: usize = 8;

pub struct Arrival;

impl Clock for Arrival {
    fn empty(&self, t: &mut Transcript, g: &mut Generation) {
        self.burst_over(t, g);
    }

    fn burst_may_be_over(&self, g: &Generation) -> bool {
        g.text.has_rest()
    }

    fn burst_over(&self, _: &mut Transcript, g: &mut Generation) {
        // Another word may still grow.
        if g.text.rest().last().is_some_and(|w| ends_sentence(&w.text)) {
            g.text.complete();
        }
    }

    fn settle(&self, t: &mut Transcript, g: &mut Generation) {
        // The clock may have been another one until now.
        g.placed.release();
        // A mark that comes behind the space is late; the word need not wait for it.
        if g.text.ends_in_space() {
            g.text.complete();
        }
        let words = g.text.take_all();
        let (from, limit) = (t.floor(g), g.limit());
        let in_time = t.detector.is_live() && g.waited() <= ANSWER;
        let bounds = |w: &Said| {
            let latest = limit.min(g.at(w.sent));
            // What ended long before the burst of text before it was said in that.
            let said = g.at(w.since) - ANSWER;
            let end_after = if in_time { said.clamp(from, latest.max(from)) } else { from };
            (from, end_after, latest)
        };
        let bounds = words.iter().map(bounds).collect();
        t.place(g, words, bounds, None);
    }

    fn finish(&self, t: &mut Transcript, g: &mut Generation) {
        self.settle(t, g);
    }

    fn search(&self) -> Search {
        Search {
            marks: false,
            open: true,
            confidence: Curve { base: -1.66, fit: 1.15, clarity: 0.20 },
        }
    }

    fn searched_along(&self) -> usize {
        ALONG
    }

    fn rehearing(&self) -> Rehearing {
        Rehearing { times: Times::LOOSE, sure: Length::ZERO, one_by_one: false }
    }

    fn known_after(&self) -> Option<u32> {
        Some(4000)
    }
}
