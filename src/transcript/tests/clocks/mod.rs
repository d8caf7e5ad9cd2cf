// SPDX-License-Identifier: MPL-2.0

//! A transcript against the clocks of each kind of server.

use super::{FRAME, Fed, SEGMENT, check, frames_in_all, len, pos};
use crate::{
    SAMPLE_RATE,
    transcript::{
        Output, SampleInGeneration, ServerSegment, Timing, Transcript, TranscriptConfig, Usage,
        Utterance, Word,
    },
};

mod arrival;
mod frames;
mod limits;
mod segments;

/// A transcript, and a server that keeps its counts.
struct Server {
    t: Transcript,
    start: u64,
    position: u64,
    deltas: u64,
    text: String,
    out: Vec<Output>,
    fed: Fed,
}

impl Server {
    fn new(config: TranscriptConfig) -> Self {
        Server {
            t: Transcript::new(config),
            start: 0,
            position: 0,
            deltas: 0,
            text: String::new(),
            out: Vec::new(),
            fed: Fed::default(),
        }
    }

    fn timing(timing: Timing) -> Self {
        Server::new(TranscriptConfig { timing, ..Default::default() })
    }

    fn begin(&mut self, start: u64) {
        (self.start, self.position, self.deltas) = (start, self.position.max(start), 0);
        self.text.clear();
        self.t.begin(pos(start));
    }

    /// Sends audio up to this sample of the generation.
    fn audio(&mut self, upto: u64) {
        let from = self.position;
        self.position = from.max(self.start + upto);
        self.t.audio(pos(from), &vec![0; (self.position - from) as usize]);
    }

    /// A delta when just enough audio is there for a frame-synchronous server.
    fn frame(&mut self, text: &str) {
        self.audio(9000 + FRAME * self.deltas);
        self.say(text);
    }

    fn frames(&mut self, texts: &[&str]) {
        for t in texts {
            self.frame(t);
        }
    }

    fn say(&mut self, text: &str) {
        self.deltas += 1;
        self.text.push_str(text);
        self.t.delta(text, SampleInGeneration::new(self.position - self.start), &[], None);
        self.poll();
    }

    fn end(&mut self) {
        self.t.audio_end(pos(self.position), len(0));
    }

    fn done(&mut self) -> Utterance {
        let text = self.text.clone();
        self.done_with(&text, self.deltas)
    }

    fn done_with(&mut self, text: &str, tokens: u64) -> Utterance {
        let usage =
            Usage { prompt_tokens: 39, completion_tokens: tokens, total_tokens: 39 + tokens };
        self.t.done(text, Some(usage), &[]);
        self.poll();
        match self.out.last() {
            Some(Output::Utterance(u)) => u.clone(),
            other => panic!("no utterance: {other:?}"),
        }
    }

    /// The frames that are left after the final commit.
    fn rest(&mut self) {
        self.end();
        for _ in self.deltas..frames_in_all(self.position - self.start) {
            self.say("");
        }
    }

    fn poll(&mut self) {
        while let Some(o) = self.t.poll() {
            self.fed.take(&o, pos(self.position));
            self.out.push(o);
        }
    }

    fn words(&self) -> Vec<Word> {
        self.out
            .iter()
            .filter_map(|o| match o {
                Output::Word(w) => Some(w.clone()),
                _ => None,
            })
            .collect()
    }

    fn texts(&self) -> Vec<String> {
        self.words().into_iter().map(|w| w.text).collect()
    }

    /// Words with the marks that came late.
    fn corrections(&self) -> Vec<String> {
        self.out
            .iter()
            .filter_map(|o| match o {
                Output::Correction(c) => Some(c.word.text.clone()),
                _ => None,
            })
            .collect()
    }

    fn fell_back(&self) -> Vec<(Timing, Timing)> {
        self.out
            .iter()
            .filter_map(|o| match o {
                Output::ClockFellBack { from, to, .. } => Some((*from, *to)),
                _ => None,
            })
            .collect()
    }
}

fn auto() -> Server {
    Server::timing(Timing::Auto)
}

fn at(frames: u64) -> u64 {
    frames * FRAME
}
