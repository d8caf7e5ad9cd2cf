// SPDX-License-Identifier: MPL-2.0

//! What the element has from READY→PAUSED to PAUSED→READY, under one lock.

use std::sync::Arc;

use super::LatencyMode;
use super::delay::{Cause, Delay};
use super::input::Input;
use super::latency::Latency;
use super::messages::{self, OwnStats};
use super::query::Upstream;
use super::sequencer::{Effect, Sequencer, When};
use super::settings::Settings;
use crate::Position;
use crate::realtime::{Client, ConnectionState, Output, Stats};
use crate::transcript::Timing;

/// A stretch of the stream: each start, flush and stop begins the next one, and what is of an
/// earlier one is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(u64);

impl Epoch {
    fn next(self) -> Epoch {
        self.after_flush(1)
    }

    /// The one behind the client's flush with this number, of a run that began with `self`.
    pub fn after_flush(self, number: u64) -> Epoch {
        Epoch(self.0 + number)
    }
}

/// Whether audio may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Flow {
    #[default]
    Open,
    /// Between FLUSH_START and FLUSH_STOP.
    Flushing,
    /// The run is about to end.
    Stopping,
}

/// One run. Nothing is pushed, posted or waited for while it is locked; what it tells the client
/// is a note that the client's thread finds.
#[derive(Debug, Default)]
pub struct State {
    pub input: Input,
    pub order: Sequencer,
    delay: Delay,
    own: OwnStats,
    client: Option<Arc<Client>>,
    /// Of the client, once it is gone.
    last_stats: Stats,
    flow: Flow,
    /// The language (ISO 639) that the user expects.
    language: Option<String>,
    /// The latency that the runs before have learnt, until NULL.
    learnt: u64,
    /// Words leave when they are known.
    unsynchronised: bool,
    /// The first of this run, and the one that is now.
    first: Epoch,
    epoch: Epoch,
    upstream: Option<Upstream>,
    /// Whether upstream was asked since the audio has begun.
    asked: bool,
    playing: bool,
    /// As a sink: EOS is out, with this number.
    ended: Option<gst::Seqnum>,
    /// A Progress message has begun and not ended.
    connecting: bool,
}

impl State {
    /// READY→PAUSED. Returns the epoch with which it begins.
    pub fn start(&mut self, settings: &Settings) -> Epoch {
        let first = self.epoch.next();
        let language = settings.language().map(str::to_owned);
        let latency = settings.latency().nseconds();
        let latency = match settings.latency_mode {
            LatencyMode::Auto => latency.max(self.learnt),
            LatencyMode::Fixed => latency,
        };
        *self = State {
            input: Input::new(settings.silence_commit()),
            order: Sequencer::new(language.clone(), settings.timing_offset()),
            language,
            delay: Delay::new(Latency::new(latency)),
            learnt: self.learnt,
            unsynchronised: settings.is_unsynchronised(),
            first,
            epoch: first,
            ..State::default()
        };
        first
    }

    pub fn set_client(&mut self, client: Client) {
        self.client = Some(Arc::new(client));
    }

    /// PAUSED→READY begins: whoever waits returns.
    pub fn prepare_stop(&mut self) {
        self.flow = Flow::Stopping;
        if let Some(client) = &self.client {
            client.interrupt();
        }
    }

    /// PAUSED→READY: nothing stays but the figures. Returns the rest, to be dropped once the lock
    /// is not held: a client waits for its thread.
    pub fn stop(&mut self) -> State {
        let idle = State {
            own: self.own,
            learnt: self.learnt.max(self.delay.latency().learnt()),
            delay: std::mem::take(&mut self.delay),
            last_stats: self.client_stats(),
            first: self.epoch.next(),
            epoch: self.epoch.next(),
            ..State::default()
        };
        std::mem::replace(self, idle)
    }

    /// READY→NULL: another server may come.
    pub fn forget(&mut self) {
        self.learnt = 0;
    }

    pub fn client(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }

    /// The client, if audio may be given.
    pub fn flowing(&self) -> Result<Arc<Client>, gst::FlowError> {
        match &self.client {
            Some(_) if self.flow == Flow::Open && self.order.has_failed() => {
                Err(gst::FlowError::Error)
            }
            Some(client) if self.flow == Flow::Open => Ok(client.clone()),
            _ => Err(gst::FlowError::Flushing),
        }
    }

    /// FLUSH_START.
    pub fn flush_start(&mut self) {
        if self.flow == Flow::Open {
            self.flow = Flow::Flushing;
        }
        if let Some(client) = &self.client {
            client.interrupt();
        }
        self.flush();
    }

    /// FLUSH_STOP: everything begins anew. Returns the events that waited.
    pub fn flush_stop(&mut self) -> Vec<gst::Event> {
        // What came since FLUSH_START.
        self.flush();
        self.ended = None;
        if self.flow == Flow::Flushing {
            self.flow = Flow::Open;
        }
        if let Some(client) = self.client.as_ref().filter(|_| self.flow == Flow::Open) {
            client.resume();
        }
        self.input.restart();
        self.order.restart(self.input.position())
    }

    /// What the session has said up to now is of no interest.
    fn flush(&mut self) {
        if let Some(client) = &self.client {
            self.epoch = self.first.after_flush(client.flush());
        }
    }

    /// Signal `clear`: the audio whose words are not known yet is of no interest.
    pub fn clear(&mut self) {
        self.flush();
        self.order.clear();
    }

    /// Model and language from the next utterance on.
    pub fn set_model(&mut self, model: String, language: Option<String>, code: Option<String>) {
        if let Some(client) = &self.client {
            client.set_model(model, language);
            // What the server has told stays until the user says otherwise.
            if self.language != code {
                self.language.clone_from(&code);
                let is_new = self.order.set_language(code);
                if let Some(event) = self.order.language_event().filter(|_| is_new) {
                    self.queue(event);
                }
            }
        }
    }

    /// Whether what is of this epoch is of this run.
    pub fn is_of_this_run(&self, epoch: Epoch) -> bool {
        epoch >= self.first
    }

    /// What the session said in this epoch of the stream; what is to be told of it.
    pub fn output(&mut self, epoch: Epoch, output: Output) -> Vec<Effect> {
        if epoch < self.epoch { Vec::new() } else { self.order.output(output) }
    }

    /// An event that goes out between the words from before it and those from after it.
    pub fn queue(&mut self, event: gst::Event) {
        self.order.event(When::Position(self.input.position()), event, None);
    }

    /// An event behind the last word of all audio so far; what comes behind it is in `segment`, if
    /// that is another one.
    pub fn drain_for(
        &mut self,
        event: gst::Event,
        segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    ) {
        let ends = event.type_() == gst::EventType::Eos;
        if ends {
            self.input.end();
        }
        let position = self.input.position();
        let drained = self.input.drain();
        let when = match &self.client {
            Some(client) if position > drained => {
                let number = if ends { client.finish() } else { client.drain() };
                When::Drained { number, position }
            }
            _ => When::Position(drained),
        };
        self.order.event(when, event, segment);
    }

    /// Whether words of this run leave when they are known, whatever their time.
    pub fn is_unsynchronised(&self) -> bool {
        self.unsynchronised
    }

    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// Returns the number of an EOS that is to be posted.
    pub fn set_playing(&mut self, playing: bool) -> Option<gst::Seqnum> {
        self.playing = playing;
        if let Some(client) = &self.client {
            client.set_paused(!playing);
        }
        self.ended.filter(|_| playing)
    }

    /// EOS is out. Whether it is to be posted now: that is done in PLAYING, and again whenever
    /// PLAYING is reached.
    pub fn end(&mut self, seqnum: gst::Seqnum) -> bool {
        self.ended = Some(seqnum);
        self.playing
    }

    /// Whether upstream is to be asked for its latency: it was not since the audio has begun, when
    /// it surely is linked.
    pub fn has_to_ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    pub fn set_upstream(&mut self, upstream: Upstream) {
        self.upstream = Some(upstream);
        if let Some(client) = &self.client {
            client.set_live(upstream.live);
        }
    }

    /// Upstream's latency where it is live.
    pub fn live(&self) -> Option<gst::ClockTime> {
        self.upstream.filter(|u| u.live).map(|u| u.minimum)
    }

    /// How long what was spoken at running time `spoken` has taken up to `now`, upstream's latency
    /// apart. `None`: nobody waits for it.
    fn delay_of(&self, spoken: gst::ClockTime, now: gst::ClockTime) -> Option<gst::ClockTime> {
        let minimum = self.live().filter(|_| self.playing)?;
        Some(now.saturating_sub(minimum).saturating_sub(spoken))
    }

    /// Audio at position `at`, spoken at `spoken`, is here at `now`.
    pub fn observe_audio(&mut self, at: Position, spoken: gst::ClockTime, now: gst::ClockTime) {
        if let Some(late) = self.delay_of(spoken, now) {
            self.delay.audio(at, late.nseconds());
        }
    }

    /// A word that began at `position` is here. What is to be told where it took more than `limit`,
    /// the delay to tell, and whether the longest one is another.
    pub fn observe_word(
        &mut self,
        position: Position,
        spoken: gst::ClockTime,
        now: gst::ClockTime,
        limit: gst::ClockTime,
    ) -> Option<(Option<Cause>, gst::ClockTime, bool)> {
        let delay = self.delay_of(spoken, now)?;
        let before = self.longest_delay();
        let (took, now, limit) = (delay.nseconds(), now.nseconds(), limit.nseconds());
        let cause = self.delay.word(position, took, now, limit);
        let longest = self.longest_delay();
        Some((cause, delay.max(longest), before != longest))
    }

    /// What the words ask for, where property `latency-mode` says that it counts.
    pub fn learnt_latency(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.delay.latency().now())
    }

    /// Looks whether they ask for another latency. `pause`: at this running time nobody speaks.
    pub fn learn_latency(&mut self, pause: Option<gst::ClockTime>) -> bool {
        let timing = self.client.as_ref().map_or(Timing::Auto, |c| c.stats().clock);
        let seen = self.delay.server(timing);
        seen || pause.is_some_and(|time| self.delay.pause(time.nseconds()))
    }

    /// Property `max-observed-delay`.
    pub fn longest_delay(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.delay.most())
    }

    /// A text buffer goes out; so many of its words are late.
    pub fn count_buffer(&mut self, late: u64) {
        self.own.buffers += 1;
        self.own.late += late;
    }

    pub fn count_gap(&mut self) {
        self.own.gaps += 1;
    }

    /// The connection is like this now. Whether a Progress message had begun and not ended.
    pub fn connection(&mut self, connection: ConnectionState) -> bool {
        let connecting = self.connecting;
        match connection {
            ConnectionState::Connecting => self.connecting = true,
            ConnectionState::Connected => {
                self.connecting = false;
                self.delay.connected();
            }
            ConnectionState::Lost => self.delay.lost(),
            ConnectionState::Closed => {}
        }
        connecting
    }

    /// No Progress message follows. Whether one had begun and not ended.
    pub fn end_connecting(&mut self) -> bool {
        std::mem::take(&mut self.connecting)
    }

    fn client_stats(&self) -> Stats {
        self.client.as_ref().map_or(self.last_stats, |c| c.stats())
    }

    /// Property `stats`.
    pub fn stats(&self, latency: gst::ClockTime) -> gst::Structure {
        let (longest, learnt) = (self.longest_delay(), self.delay.latency());
        messages::stats(&self.client_stats(), &self.own, longest, learnt, latency)
    }
}
