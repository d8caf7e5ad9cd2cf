// SPDX-License-Identifier: MPL-2.0

//! Where the output is, and when it has to be further on.

use super::outbox::Item;

/// The least that a GAP event tells, where nothing else follows it.
pub const GAP_STEP: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// A word that is this little late is moved, and no more is made of it.
const A_LITTLE: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// Belongs to the task of the source pad alone.
#[derive(Debug, Default)]
pub struct Cursor {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// PTS up to which everything was pushed.
    pts: gst::ClockTime,
    /// PTS up to which it is known that there is nothing more to push.
    known: gst::ClockTime,
    /// PTS up to which the last text is shown, though another may come before: no GAP there.
    shown: gst::ClockTime,
}

impl Cursor {
    pub fn has_segment(&self) -> bool {
        self.segment.is_some()
    }

    pub fn pts(&self) -> gst::ClockTime {
        self.pts
    }

    /// Up to `pts` there is nothing more to push, which need not be told yet.
    pub fn know(&mut self, pts: gst::ClockTime) {
        self.known = self.known.max(pts);
    }

    pub fn begin_segment(&mut self, segment: gst::FormattedSegment<gst::ClockTime>) {
        self.pts = segment.position().or(segment.start()).unwrap_or(gst::ClockTime::ZERO);
        self.known = self.pts;
        self.shown = self.pts;
        self.segment = Some(segment);
    }

    /// The stream has ended: nothing follows until another segment does.
    pub fn end(&mut self) {
        self.segment = None;
    }

    pub fn running_time(&self, pts: gst::ClockTime) -> Option<gst::ClockTime> {
        self.segment.as_ref()?.to_running_time(pts)
    }

    /// Whether the output has passed the time of this word.
    pub fn is_late(&self, item: &Item) -> bool {
        matches!(item, Item::Word(word) if word.pts.saturating_add(A_LITTLE) < self.pts)
    }

    /// Places what lasts so long at `pts`, or where the output is by now.
    pub fn place(&mut self, pts: gst::ClockTime, duration: gst::ClockTime) -> gst::ClockTime {
        let pts = pts.max(self.pts);
        self.pts = pts.saturating_add(duration);
        pts
    }

    /// As [`Cursor::place`]; what is placed next may begin before this ends.
    pub fn place_now(&mut self, now: gst::ClockTime, duration: gst::ClockTime) -> gst::ClockTime {
        self.pts = now.max(self.pts);
        self.shown = self.pts.saturating_add(duration);
        self.pts
    }

    /// Up to here nothing is missing.
    fn covered(&self) -> gst::ClockTime {
        self.pts.max(self.shown)
    }

    /// The GAP up to `until`, where that is at least `least` away.
    fn gap(&mut self, until: gst::ClockTime, least: gst::ClockTime) -> Option<gst::Event> {
        let stop = self.segment.as_ref()?.stop();
        let until = stop.map_or(until, |stop| until.min(stop));
        let from = self.covered();
        let duration = until.checked_sub(from).filter(|d| !d.is_zero() && *d >= least)?;
        let gap = gst::event::Gap::builder(from).duration(duration).build();
        self.pts = until;
        Some(gap)
    }

    /// The GAP up to `until`.
    pub fn fill(&mut self, until: gst::ClockTime) -> Option<gst::Event> {
        self.gap(until, gst::ClockTime::ZERO)
    }

    /// The GAP up to where it is known that there is nothing more.
    pub fn fill_known(&mut self) -> Option<gst::Event> {
        self.fill(self.known)
    }

    /// Up to `pts` there is nothing more; the GAP that says so, if it is worth one.
    pub fn step_to(&mut self, pts: gst::ClockTime) -> Option<gst::Event> {
        self.know(pts);
        self.gap(pts, GAP_STEP)
    }

    /// Running time at which sinks need more than what was pushed.
    pub fn due(&self, latency: gst::ClockTime) -> Option<gst::ClockTime> {
        let segment = self.segment.as_ref()?;
        let covered = self.covered();
        if segment.stop().is_some_and(|stop| covered >= stop) {
            return None;
        }
        let running_time = segment.to_running_time(covered)?;
        Some(running_time.saturating_add(latency).saturating_sub(GAP_STEP / 2))
    }

    /// PTS up to which to fill at running time `now`.
    pub fn fill_to(&self, latency: gst::ClockTime, now: gst::ClockTime) -> Option<gst::ClockTime> {
        let segment = self.segment.as_ref()?;
        let running_time = now.saturating_add(GAP_STEP).checked_sub(latency)?;
        let pts = match segment.position_from_running_time(running_time) {
            Some(pts) => pts,
            // Behind the end of the segment.
            None => segment.stop().filter(|_| segment.base() < Some(running_time))?,
        };
        (pts > self.covered()).then_some(pts)
    }
}
