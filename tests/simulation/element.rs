// SPDX-License-Identifier: MPL-2.0

//! What the element does before and behind the session: buffers with jittered times, of any number of
//! bytes, come in; words go out with times of the stream, moved by `timing-offset`.

use gstvllmrealtime::asr::ends::{Input, Item, Sequencer, Step, When};
use gstvllmrealtime::realtime::Output;
use gstvllmrealtime::{Length, Position, transcript};
use vllm_standin::Random;

/// How a source stamps and cuts its buffers.
#[derive(Debug, Clone)]
pub struct Source {
    /// So much is a PTS early and late by turns, at most, in ns.
    pub jitter: u64,
    /// Buffers end in the middle of samples.
    pub odd_bytes: bool,
    /// Property `timing-offset`, in ns.
    pub offset: i64,
    pub seed: u64,
}

/// The PTS of position 0, so that no jitter goes below zero.
const FIRST: u64 = 10_000_000_000;
/// A source of jittered times gives buffers of so many bytes (250 ms) at most: two PTS a second apart
/// that are off to the same side are no jitter, by the rule that [`Input`] goes by.
const BUFFER: usize = 8000;
/// The times of words are so near to the true ones, in ns.
const NEAR: u64 = 60_000_000;

pub struct Element {
    source: Source,
    input: Input,
    order: Sequencer,
    rng: Random,
    early: bool,
    /// The next sample is the first of a segment: its PTS is what the others are measured by.
    first: bool,
    /// Flushes under way: what the session says until then is of no interest.
    flushes: u64,
}

fn pts(position: u64) -> u64 {
    FIRST + Length::new(position).ns()
}

impl Element {
    pub fn new(source: &Source, silence_commit: u64) -> Element {
        gst::init().expect("GStreamer");
        let mut element = Element {
            source: source.clone(),
            input: Input::new(Length::new(silence_commit)),
            order: Sequencer::new(None, source.offset),
            rng: Random::new(source.seed),
            early: false,
            first: true,
            flushes: 0,
        };
        element.input.begin_stream();
        element.begin();
        element
    }

    fn begin(&mut self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.input.begin_segment(segment.clone());
        let event = gst::event::Segment::new(&segment);
        self.order.event(When::Position(self.input.position()), event, Some(segment));
        self.first = true;
    }

    /// Buffers that hold these samples; what of them reaches the session.
    pub fn audio(&mut self, position: u64, samples: &[i16]) -> Result<Vec<i16>, String> {
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut out = Vec::with_capacity(samples.len());
        let longest = if self.source.jitter > 0 { BUFFER } else { bytes.len() };
        let mut at = 0;
        while at < bytes.len() {
            let most = bytes.len() - at;
            let size = if self.source.odd_bytes {
                self.rng.range(1, most.min(longest) as u64) as usize
            } else {
                most.min(longest)
            };
            let to = at + size;
            let mut buffer = gst::Buffer::from_slice(bytes[at..to].to_vec());
            let time = self.jittered(pts(position + at as u64 / 2));
            buffer.get_mut().expect("ours").set_pts(gst::ClockTime::from_nseconds(time));
            let taken = self.input.buffer(buffer).map_err(|_| "a buffer is refused")?;
            self.first &= taken.is_none();
            for step in taken.into_iter().flat_map(|t| t.steps) {
                match step {
                    Step::Anchor { position, pts, jump } => self.order.anchor(position, pts, jump),
                    Step::Audio { position: p, samples } => {
                        if p != Position::new(position + out.len() as u64) {
                            return Err(format!("samples at {p}, {} are due", out.len()));
                        }
                        out.extend(samples);
                    }
                    step => return Err(format!("jitter brings about {step:?}")),
                }
            }
            at = to;
        }
        Ok(out)
    }

    /// A PTS as the source gives it: early and late by turns.
    fn jittered(&mut self, time: u64) -> u64 {
        if self.first || self.source.jitter == 0 {
            return time;
        }
        self.early = !self.early;
        let by = self.rng.range(0, self.source.jitter);
        if self.early { time - by } else { time + by }
    }

    /// The audio goes on so many samples later.
    pub fn gap(&mut self, position: u64, samples: u64) {
        let [begin, length] =
            [pts(position), Length::new(samples).ns()].map(gst::ClockTime::from_nseconds);
        for step in self.input.gap(begin, Some(length)).into_iter().flatten() {
            if let Step::Anchor { position, pts, jump } = step {
                self.order.anchor(position, pts, jump);
            }
        }
    }

    /// FLUSH, and a segment that goes on with the times.
    pub fn flush(&mut self) {
        self.flushes += 1;
        self.input.restart();
        self.order.restart(self.input.position());
        self.begin();
    }

    /// What the session says.
    pub fn output(&mut self, output: &Output) -> Result<(), String> {
        match output {
            Output::Flushed(_) => self.flushes -= 1,
            _ if self.flushes > 0 => return Ok(()),
            _ => {}
        }
        self.order.output(output.clone());
        for item in self.order.take_items() {
            if let (Item::Word(shown), Output::Transcript(transcript::Output::Word(word))) =
                (item, output)
            {
                let times = [(shown.pts, word.begin), (shown.end, word.end)];
                for (time, position) in times {
                    let due = pts(position.samples()).saturating_add_signed(self.source.offset);
                    if time.nseconds().abs_diff(due) > NEAR {
                        return Err(format!("{word:?} has {time}, {due} ns is due"));
                    }
                }
            }
        }
        Ok(())
    }
}
