// SPDX-License-Identifier: MPL-2.0

//! What comes in at the sink pad, and where it lies in the audio.

use super::resync::{Resync, Step};
use crate::{Length, Position, SAMPLE_RATE};

/// Bytes of a sample.
const SAMPLE_BYTES: usize = 2;

pub type Segment = gst::FormattedSegment<gst::ClockTime>;

/// State of the sink pad's stream.
#[derive(Debug, Default)]
pub struct Input {
    resync: Resync,
    /// Half a sample, whose other half comes with the next buffer.
    adapter: gst_base::UniqueAdapter,
    /// The source said that the time breaks off at the next sample.
    discont: bool,
    segment: Option<Segment>,
    /// Of its event: a sticky event that is sent again is the same one. None: STREAM_START came
    /// behind it.
    segment_seqnum: Option<gst::Seqnum>,
    eos: bool,
    /// Up to here the session was told to drain.
    drained: Position,
    /// Whether the language's TAG was queued in this stream.
    language_told: bool,
    /// The last segment was refused, and the user told: it is sent again with each buffer.
    refused: bool,
}

/// What a buffer brings about.
pub struct Taken {
    pub steps: Vec<Step>,
    /// Position of its first sample, and the running time at which that was spoken.
    pub arrived: Option<(Position, gst::ClockTime)>,
}

/// Why a buffer is not taken.
pub enum Refused {
    Eos,
    Wrong(gst::ErrorMessage),
}

impl Refused {
    fn no_segment() -> Refused {
        let text = "Audio came without a SEGMENT event before it";
        Refused::Wrong(gst::error_msg!(gst::StreamError::Format, ("{text}")))
    }

    fn unreadable(err: gst::glib::BoolError) -> Refused {
        let text = "The memory of a buffer cannot be read";
        Refused::Wrong(gst::error_msg!(gst::ResourceError::Read, ("{text}"), ["{err}"]))
    }
}

impl Input {
    pub fn new(silence_commit: Length) -> Self {
        Input { resync: Resync::new(silence_commit), ..Input::default() }
    }

    /// Position of the next sample.
    pub fn position(&self) -> Position {
        self.resync.position()
    }

    /// A buffer.
    pub fn buffer(&mut self, buffer: gst::Buffer) -> Result<Option<Taken>, Refused> {
        if self.eos {
            return Err(Refused::Eos);
        }
        let segment = self.segment.as_ref().ok_or_else(Refused::no_segment)?;
        let start = segment.start().unwrap_or(gst::ClockTime::ZERO).nseconds();
        let pts = buffer.pts();
        let silent = buffer.flags().contains(gst::BufferFlags::GAP);
        if buffer.flags().intersects(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC) {
            self.adapter.clear();
            self.discont = true;
        }
        self.adapter.push(buffer);
        let bytes = self.adapter.available() / SAMPLE_BYTES * SAMPLE_BYTES;
        if bytes == 0 {
            return Ok(None);
        }
        let mut whole = self.adapter.take_buffer(bytes).map_err(Refused::unreadable)?;
        whole.make_mut().set_pts(pts);
        // Behind the adapter: what is cut off at the segment's edges are whole samples.
        let clipped = gst_audio::audio_buffer_clip(
            whole,
            segment.upcast_ref(),
            SAMPLE_RATE as u32,
            SAMPLE_BYTES as u32,
        );
        let Some(buffer) = clipped else { return Ok(None) };
        let spoken = buffer.pts().and_then(|pts| segment.to_running_time(pts));
        let pts = buffer.pts().map(|t| t.nseconds());
        let map = buffer.map_readable().map_err(Refused::unreadable)?;
        let (samples, _) = map.as_chunks::<SAMPLE_BYTES>();
        let samples: Vec<i16> = samples.iter().map(|s| i16::from_le_bytes(*s)).collect();
        let discont = std::mem::take(&mut self.discont);
        let length = Length::of(&samples);
        let steps = if silent {
            self.resync.gap(pts, start, length.ns())
        } else {
            self.resync.audio(pts, start, discont, samples)
        };
        let begin = self.position() - length;
        Ok(Some(Taken { steps, arrived: spoken.map(|spoken| (begin, spoken)) }))
    }

    /// A GAP event; `None` where there is no place for it.
    pub fn gap(
        &mut self,
        pts: gst::ClockTime,
        duration: Option<gst::ClockTime>,
    ) -> Option<Vec<Step>> {
        let segment = self.segment.as_ref().filter(|_| !self.eos)?;
        let end = pts.saturating_add(duration.unwrap_or(gst::ClockTime::ZERO));
        let Some((from, to)) = segment.clip(pts, end) else { return Some(Vec::new()) };
        let from = from.unwrap_or(pts);
        let length = to.unwrap_or(end).saturating_sub(from).nseconds();
        Some(self.resync.gap(Some(from.nseconds()), from.nseconds(), length))
    }

    /// STREAM_START.
    pub fn begin_stream(&mut self) {
        self.eos = false;
        self.segment_seqnum = None;
        self.adapter.clear();
        self.language_told = false;
    }

    /// Whether the segment is another one than the last.
    pub fn is_new_segment(&mut self, segment: &Segment, seqnum: gst::Seqnum) -> bool {
        self.refused = false;
        let before = self.segment_seqnum.replace(seqnum);
        let Some(was) = self.segment.as_ref().filter(|_| before.is_some()) else { return true };
        let mut same = segment.clone();
        same.set_position(was.position());
        if same != *was {
            return true;
        }
        if before != Some(seqnum) {
            // The times go on in it as they did, or begin anew: the next PTS tells.
            self.adapter.clear();
            self.discont = true;
        }
        false
    }

    /// What comes now is in this segment. Whether it is the first one of its stream.
    pub fn begin_segment(&mut self, segment: Segment) -> bool {
        self.resync.restart();
        self.adapter.clear();
        self.segment = Some(segment);
        !std::mem::replace(&mut self.language_told, true)
    }

    /// A segment is refused. Whether that is to be told.
    pub fn refuse(&mut self) -> bool {
        !std::mem::replace(&mut self.refused, true)
    }

    /// The session is told to drain up to here. Returns up to where it was before.
    pub fn drain(&mut self) -> Position {
        std::mem::replace(&mut self.drained, self.resync.position())
    }

    /// EOS.
    pub fn end(&mut self) {
        self.eos = true;
    }

    /// Whether upstream sends no more buffers, and so sees no more flow returns.
    pub fn has_ended(&self) -> bool {
        self.eos
    }

    /// FLUSH_STOP.
    pub fn restart(&mut self) {
        self.resync.restart();
        self.adapter.clear();
        self.segment = None;
        self.eos = false;
        self.drained = self.position();
    }
}
