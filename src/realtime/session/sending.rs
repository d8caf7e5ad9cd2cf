// SPDX-License-Identifier: MPL-2.0

//! Audio to the server: when a generation begins, how far ahead it may run, where it is cut.

use std::time::Duration;

use super::super::{Output, event};
use super::{APPEND_MOST, Action, Connection, Ending, Generation, Run, SHY, Session, samples};
use crate::SAMPLE_RATE;
use crate::mechanism::Mechanism;
use crate::transcript::Timing;
use crate::transcript::clock::{ALL_SPEAK, Ahead, Cut as ByKind, FRAMES_SPEAK, SEGMENT};

/// A tail of a segment that is shorter than this fails (Qwen3-ASR).
const SHORTEST_TAIL: u64 = 320;
/// Speech-free time in which a generation can be cut without harm.
const PAUSE: u64 = SAMPLE_RATE / 5;
/// Sound that must be known behind a pause to see that it is one.
const LOOK_AHEAD: u64 = SAMPLE_RATE / 5;

/// Generations at least this long are cut with an overlap.
const OVERLAP_FROM: u64 = 20 * SAMPLE_RATE;

/// An append is at least this part of the audio that the server has not worked through yet.
const PARTS: u64 = 20;

/// How a generation ends before its utterance does.
enum Cut {
    /// At a pause or the quietest place: the utterance is two.
    Split(u64),
    /// The next generation goes on with the utterance. In the middle of speech it hears the end of
    /// this one again: only where it can be told which words are safe.
    Within(u64, Ending),
}

impl Session {
    /// A message that is not audio.
    pub(super) fn send_control(&mut self, message: String) {
        self.stats.bytes_sent += message.len() as u64;
        self.actions.push_back(Action::Send(message));
    }

    /// Sends all that may be sent now.
    pub(super) fn send(&mut self) {
        match self.connection {
            Connection::Idle if !self.is_all_said() => self.attempt(),
            Connection::Ready => while self.send_one() {},
            _ => {}
        }
    }

    /// One step; `false`: there is nothing to do until something happens.
    fn send_one(&mut self) -> bool {
        match self.generation {
            Generation::None { not_before } => self.now >= not_before && self.begin(),
            Generation::Running(run) => self.append(run),
            Generation::Finishing(_) | Generation::Abandoned { .. } => false,
        }
    }

    /// Begins a generation, when there is audio for it.
    fn begin(&mut self) -> bool {
        self.leave_pause();
        self.finish_empty();
        let nothing = self.in_pause || self.is_all_said();
        let Some(front) = self.utterances.front().filter(|_| !nothing) else { return false };
        let there = front.end.unwrap_or(u64::MAX).min(self.history.end());
        let grows = front.end.is_none() && !self.stall.ends(there);
        if there <= front.begin || (grows && there - front.begin < self.chunk()) {
            return false;
        }
        self.transcript.begin(front.begin);
        self.send_control(event::commit());
        self.stats.generations += 1;
        self.generation = Generation::Running(Run {
            start: front.begin,
            at: front.begin,
            sent_before: self.sent_to,
            known_to: if self.transcript.may_be_cut_anew() || !Mechanism::KnownTo.is_on() {
                front.begin
            } else {
                self.transcript.out_to().max(front.begin)
            },
            sent: 0,
            deltas: 0,
            begins_blank: true,
            progress: self.now,
            due: false,
            spoken_at: front.begin,
            blank: 0,
            no_pause_to: 0,
            until: None,
            ending: Ending::Utterance,
            burst: 0,
        });
        true
    }

    /// Audio in one append at least; a part of the backlog, or that would be full before.
    fn chunk(&self) -> u64 {
        samples(self.config.chunk).min(Self::backlog_most(&self.config) / 4).max(1)
    }

    /// As [`Session::chunk`], and more the further the server is behind: it queues so many appends
    /// and no more (vllm#48130), and this makes at most 128 of 20 s.
    fn append_least(&self, run: &Run) -> u64 {
        let behind = run.sent.saturating_sub(self.transcript.worked());
        let most = APPEND_MOST.min(Self::backlog_most(&self.config) / 4);
        (behind / PARTS).min(most).max(self.chunk())
    }

    /// Sends the next piece of the front utterance, or ends it.
    fn append(&mut self, mut run: Run) -> bool {
        let Some(front) = self.utterances.front() else { return false };
        let place = self.place_to_cut(&mut run);
        self.generation = Generation::Running(run);
        match place {
            Some(Cut::Split(at)) => {
                self.utterances.split_front(at);
                return true;
            }
            Some(Cut::Within(at, ending)) => {
                self.generation = Generation::Running(Run { until: Some((at, ending)), ..run });
                return true;
            }
            None => {}
        }
        if let Some((at, ending)) = run.until
            && run.at >= at
            && front.end.is_none_or(|end| end > run.at)
        {
            self.end_generation(Run { ending, ..run });
            return false;
        }
        let end = [front.end, run.until.map(|(at, _)| at)].into_iter().flatten().min();
        let mut there = end.unwrap_or(u64::MAX).min(self.history.end());
        if front.end.is_some_and(|end| run.at >= end) {
            self.end_generation(run);
            return false;
        }
        let stopped = end.is_none() && self.stall.ends(there);
        if stopped && run.at >= there {
            if run.sent == 0 {
                return false;
            }
            self.end_generation(Run { ending: Ending::Stall, ..run });
            return false;
        }
        if end.is_none()
            && !stopped
            && !self.ends_at_pauses(&run)
            && run.at - run.start >= self.longest_generation(&run) / 3 * 2
        {
            there = there.min(self.history.end().saturating_sub(LOOK_AHEAD));
        }
        let left = there.saturating_sub(run.at);
        let ahead = self.may_run_ahead(&run);
        let closed = stopped || end.is_some_and(|end| end <= there);
        let least = self.append_least(&run);
        if left == 0 || ahead == 0 || (left < least && !closed) {
            return false;
        }
        let hold = hold_at(&run, self.longest_generation(&run));
        let most = match end {
            Some(end) if end <= run.start + self.longest_generation(&run) => left,
            // No more will come for a while.
            _ if stopped => left,
            // Behind this the place to cut is looked for, with all of the sound at hand.
            _ => left.min(hold.saturating_sub(run.at)),
        };
        let held = !closed && most < left;
        let most = most.min(ahead).min(APPEND_MOST.max(self.chunk()));
        // What is left before the place where it waits anyway goes out as it is.
        if most == 0 || most < least.min(ahead) && !held && !closed {
            return false;
        }
        let audio = self.history.read(run.at, run.at + most, most as usize);
        if audio.is_empty() {
            // Not kept any more: it cannot be sent, so it is over.
            self.drop_audio(run.at, there, "it was not kept");
            return true;
        }
        let count = audio.len() as u64;
        let message = event::append(&audio);
        self.stats.bytes_sent += message.len() as u64;
        self.actions.push_back(Action::Send(message));
        let to = run.at + count;
        self.stats.samples_sent += count;
        self.stats.samples_replayed += self.sent_to.min(to).saturating_sub(run.at);
        if to > self.sent_to {
            // The last audio goes out: that is movement too.
            self.finishing = self.finishing.map(|_| self.now);
            self.sent_to = to;
        }
        let mut run = Run { at: to, sent: run.sent + count, ..run };
        self.note_due(&mut run);
        self.generation = Generation::Running(run);
        true
    }

    /// The final commit, behind a tail that no model chokes on; how much was added to it.
    pub(super) fn send_final(&mut self, run: &Run) -> u64 {
        let tail = run.sent % SEGMENT;
        let padding = if (1..SHORTEST_TAIL).contains(&tail) { SHORTEST_TAIL - tail } else { 0 };
        if padding > 0 {
            self.send_control(event::append(&vec![0; padding as usize]));
        }
        self.send_control(event::final_commit());
        padding
    }

    /// The audio of the generation ends.
    fn end_generation(&mut self, run: Run) {
        let padding = self.send_final(&run);
        if !self.is_cut_by_frames(&run) {
            self.transcript.audio_end(run.at, padding);
        }
        let mut run = Run { sent: run.sent + padding, ..run };
        if !run.due {
            run.due = true;
            run.progress = self.now;
        }
        self.generation = Generation::Finishing(run);
    }

    /// Notes since when the server owes an answer.
    pub(super) fn note_due(&self, run: &mut Run) {
        let heard = self.transcript.heard();
        let due = self.clock().is_due(run.sent, heard, run.deltas);
        if due && !run.due {
            run.progress = self.now;
        }
        run.due = due;
    }

    /// How many samples more may be sent before the server has made progress.
    fn may_run_ahead(&self, run: &Run) -> u64 {
        let most = match self.clock().ahead() {
            Some(Ahead { usual, least }) => self.transcript.heard() + self.distance(usual, least),
            None if self.shy_until(run).is_some() => self.first_words(run),
            None => u64::MAX,
        };
        most.saturating_sub(run.sent)
    }

    /// How far ahead, where the server's queue was full so often; it must have enough to speak.
    fn distance(&self, usual: u64, least: u64) -> u64 {
        (usual >> self.full_queues).max(least)
    }

    /// Until when to wait for the first words of a server whose kind is not known.
    pub(super) fn shy_until(&self, run: &Run) -> Option<Duration> {
        let until = run.progress + SHY;
        let unknown = self.transcript.timing() == Timing::Auto;
        (unknown && run.sent >= self.first_words(run) && self.now < until).then_some(until)
    }

    /// Audio that makes every server speak that can speak before the generation is over.
    fn first_words(&self, run: &Run) -> u64 {
        if self.ends_at_pauses(run) { FRAMES_SPEAK } else { ALL_SPEAK }
    }

    /// Where the generation has to end before the utterance does, if it has to.
    fn place_to_cut(&self, run: &mut Run) -> Option<Cut> {
        if run.until.is_some() || self.shy_until(run).is_some() {
            return None;
        }
        let limit = self.longest_generation(run);
        if let Some((at, from)) = self.pause(run, limit) {
            return Some(Cut::Within(at, Ending::Pause { from }));
        }
        let length = run.at - run.start;
        if length < limit / 3 * 2 || run.sent == 0 {
            return None;
        }
        let end = self.utterances.front()?.end;
        // The limit may have shrunk meanwhile.
        let last = (run.start + limit).max(run.at);
        if end.is_some_and(|end| end <= last) {
            return None;
        }
        let sound = self.transcript.sound();
        let pause = PAUSE.min(length);
        let paused = sound.next_speech(run.at - pause, run.at) == run.at;
        if paused && !self.ends_at_pauses(run) {
            return Some(Cut::Split(run.at));
        }
        // No pause came.
        if run.at < hold_at(run, limit) {
            return None;
        }
        let overlaps = self.clock().cut() == ByKind::ByClock && limit >= OVERLAP_FROM;
        if overlaps && Mechanism::OverlapAtCut.is_on() {
            return Some(Cut::Within(run.at, Ending::Overlap));
        }
        let there = self.history.end() >= last;
        let at = there.then(|| sound.quietest(run.at, last).clamp(run.at, last))?;
        Some(if self.overlaps_by_segments(run, limit) {
            Cut::Within(at, Ending::Overlap)
        } else {
            Cut::Split(at)
        })
    }

    /// Gives up audio, and tells.
    pub(super) fn drop_audio(&mut self, from: u64, to: u64, reason: &str) {
        // What comes next may be another utterance.
        self.in_pause = false;
        let keep = matches!(self.generation, Generation::Running(_) | Generation::Finishing(_));
        for (begin, end) in self.utterances.give_up(from, to, keep) {
            self.history.forget(begin, end);
            self.outputs.push_back(Output::Dropped { begin, end, reason: reason.to_owned() });
        }
    }

    /// The backlog's bound for a live source: its oldest audio that was not sent yet is lost.
    pub(super) fn drop_beyond_bound(&mut self) {
        let most = Self::backlog_most(&self.config);
        let kept = self.history.kept();
        let sent_to = match self.generation {
            Generation::Running(run) | Generation::Finishing(run) => run.at,
            _ => 0,
        };
        // In steps, so that a long outage is not told sample by sample.
        let beyond = kept.saturating_sub(most);
        let step = SAMPLE_RATE.min(most / 4);
        if beyond >= step && matches!(self.generation, Generation::None { .. }) {
            // What was kept to be heard again has its words.
            self.utterances.confirm(self.horizon);
        }
        let Some(from) = self.utterances.next_from(sent_to).filter(|_| beyond >= step) else {
            return;
        };
        let to = (from + beyond).min(self.history.end());
        if to > from {
            self.drop_audio(from, to, "the backlog is longer than property max-backlog");
        }
    }

    /// The backlog's bound for any other source, which waits: an utterance that cannot get on
    /// without more audio is cut. `false`: there is no need.
    pub(super) fn cut_at_bound(&mut self) -> bool {
        let (Generation::Running(run), Some(front)) = (self.generation, self.utterances.front())
        else {
            return false;
        };
        let full = self.history.kept() >= Self::backlog_most(&self.config);
        if !full || front.end.is_some() || run.due || self.shy_until(&run).is_some() {
            return false;
        }
        let end = self.history.end();
        let at = self.transcript.sound().quietest(run.at, end).clamp(run.at, end);
        self.utterances.split_front(at);
        true
    }
}

/// Where a generation that has found no pause stops to take audio, to be cut at the quietest
/// place between here and its limit.
fn hold_at(run: &Run, limit: u64) -> u64 {
    run.start + limit - (limit / 8).min(SAMPLE_RATE)
}
