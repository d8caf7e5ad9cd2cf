// SPDX-License-Identifier: MPL-2.0

//! Pads, properties, state changes; hands everything on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::delay::Delay;
use super::input::Input;
use super::messages::{self, OwnStats};
use super::output::Outbox;
use super::properties;
use super::query::Upstream;
use super::sequencer::Sequencer;
use super::settings::{API_KEY_VARIABLE, Settings, error_message};
use super::sink_role::Preroll;
use crate::realtime::transport::Sink;
use crate::realtime::{Client, Error, Output, Stats};

pub static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "vllmrealtimeasr",
        gst::DebugColorFlags::empty(),
        Some("Live speech to text by a vLLM server"),
    )
});

/// From READY→PAUSED to PAUSED→READY.
#[derive(Default)]
pub struct Run {
    /// Counts the starts: what comes from an earlier one is of no interest.
    pub number: u64,
    pub client: Option<Arc<Client>>,
    /// Nothing may wait: FLUSH, or the end of the run.
    pub flushing: bool,
    pub stopping: bool,
    pub upstream: Option<Upstream>,
    pub playing: bool,
    /// EOS has gone out, with this number.
    pub ended: Option<gst::Seqnum>,
    /// A Progress message has begun and not ended.
    pub connecting: bool,
    pub delay: Delay,
    last_stats: Stats,
}

/// The element's private part.
///
/// Lock order: `input`, `order`, then one of the others, each for a moment only. No lock is held
/// while pushing, posting, waiting for the session or asking a peer.
pub struct VllmRealtimeAsr {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    pub(super) input: Mutex<Input>,
    order: Mutex<Sequencer>,
    /// With `order`: the ERROR is posted, or nobody may wait for it any more.
    pub(super) failure_posted: Condvar,
    pub(super) outbox: Outbox,
    pub(super) preroll: Mutex<Preroll>,
    /// Whether the source pad is active.
    pub(super) task_allowed: Mutex<bool>,
    run: Mutex<Run>,
    settings: Mutex<Settings>,
    own: Mutex<OwnStats>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VllmRealtimeAsr {
    pub(super) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    pub(super) fn order(&self) -> MutexGuard<'_, Sequencer> {
        lock(&self.order)
    }

    pub(super) fn run(&self) -> MutexGuard<'_, Run> {
        lock(&self.run)
    }

    pub(super) fn client(&self) -> Option<Arc<Client>> {
        self.run().client.clone()
    }

    pub(super) fn count(&self, f: impl FnOnce(&mut OwnStats)) {
        f(&mut lock(&self.own));
    }

    /// READY→PAUSED: a session of its own for each run.
    fn start(&self) -> Result<(), Error> {
        let settings = self.settings();
        let config = settings.config(std::env::var(API_KEY_VARIABLE).ok())?;
        gst::debug!(CAT, imp = self, "Starting with {config:?}");
        *lock(&self.input) = Input::new(settings.silence_commit_samples());
        *self.order() =
            Sequencer::new(settings.language().map(str::to_owned), settings.timing_offset());
        *lock(&self.own) = OwnStats::default();
        self.outbox.take_saved();
        let number = {
            let mut run = self.run();
            *run = Run { number: run.number + 1, ..Run::default() };
            run.number
        };
        let weak = self.obj().downgrade();
        let client = Client::start(config, Listener { element: weak, number })?;
        self.run().client = Some(Arc::new(client));
        self.set_sink(!self.srcpad.is_linked());
        Ok(())
    }

    /// Before PAUSED→READY is chained up: whoever waits in a pad function returns.
    fn prepare_stop(&self) {
        let client = {
            let mut run = self.run();
            run.flushing = true;
            run.stopping = true;
            run.client.clone()
        };
        if let Some(client) = client {
            client.interrupt();
        }
        self.outbox.stop();
        self.wake_failed();
        self.forget_preroll();
    }

    /// After PAUSED→READY: nothing of the run stays but its figures.
    fn stop(&self) {
        let (client, connecting) = {
            let mut run = self.run();
            if let Some(client) = &run.client {
                run.last_stats = client.stats();
            }
            run.number += 1;
            run.upstream = None;
            run.ended = None;
            (run.client.take(), std::mem::take(&mut run.connecting))
        };
        drop(client);
        if connecting {
            self.progress(gst::ProgressType::Canceled, "Connecting was cancelled");
        }
        self.outbox.take_saved();
        self.outbox.set_live(None);
        *self.order() = Sequencer::new(None, 0);
        self.set_sink(false);
    }

    /// Wakes a streaming thread that waits for the ERROR to be posted.
    pub(super) fn wake_failed(&self) {
        drop(self.order());
        self.failure_posted.notify_all();
    }

    /// Upstream's latency is known, or (`None`) forgotten.
    pub(super) fn set_upstream(&self, upstream: Option<Upstream>) {
        let client = {
            let mut run = self.run();
            run.upstream = upstream;
            run.client.clone()
        };
        if let (Some(client), Some(upstream)) = (client, upstream) {
            client.set_live(upstream.live);
        }
        self.outbox.set_live(self.live(upstream));
    }

    fn set_playing(&self, playing: bool) {
        let ended = {
            let mut run = self.run();
            run.playing = playing;
            run.ended.filter(|_| playing)
        };
        self.outbox.set_playing(playing);
        if let Some(client) = self.client() {
            client.set_paused(!playing);
        }
        if let Some(seqnum) = ended {
            self.post_eos(seqnum);
        }
    }

    /// As a sink: EOS is posted in PLAYING, and again whenever PLAYING is reached.
    pub(super) fn post_eos_when_playing(&self, seqnum: gst::Seqnum) {
        let playing = {
            let mut run = self.run();
            run.ended = Some(seqnum);
            run.playing
        };
        if playing {
            self.post_eos(seqnum);
        }
    }

    fn post_eos(&self, seqnum: gst::Seqnum) {
        gst::debug!(CAT, imp = self, "Posting EOS");
        let obj = self.obj();
        let _ = obj.post_message(gst::message::Eos::builder().seqnum(seqnum).src(&*obj).build());
    }

    fn stats(&self) -> gst::Structure {
        let (client, last, delay) = {
            let run = self.run();
            (run.client.clone(), run.last_stats, run.delay.most())
        };
        let stats = client.map_or(last, |c| c.stats());
        let own = *lock(&self.own);
        messages::stats(&stats, &own, gst::ClockTime::from_nseconds(delay))
    }
}

/// Hears what the session of one run says.
struct Listener {
    element: glib::WeakRef<super::VllmRealtimeAsr>,
    number: u64,
}

impl Sink for Listener {
    fn output(&self, output: Output) {
        self.outputs(vec![output]);
    }

    fn outputs(&self, outputs: Vec<Output>) {
        if let Some(element) = self.element.upgrade() {
            element.imp().session_outputs(self.number, outputs);
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for VllmRealtimeAsr {
    const NAME: &'static str = "GstVllmRealtimeAsr";
    type Type = super::VllmRealtimeAsr;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        // Both are made in `pad_templates` below: nothing from outside can take one away.
        let template = |name: &str| {
            klass.pad_template(name).unwrap_or_else(|| panic!("no pad template '{name}'"))
        };
        let sinkpad = gst::Pad::builder_from_template(&template("sink"))
            .chain_function(|pad, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.sink_chain(pad, buffer),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_query(pad, query))
            })
            .build();
        let srcpad = gst::Pad::builder_from_template(&template("src"))
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_query(pad, query))
            })
            .activatemode_function(|pad, parent, mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic activating the source pad")),
                    |this| {
                        if mode != gst::PadMode::Push {
                            return Err(gst::loggable_error!(CAT, "{pad:?} can only push"));
                        }
                        this.activate_src(active)
                            .map_err(|err| gst::loggable_error!(CAT, "The task of {pad:?}: {err}"))
                    },
                )
            })
            .flags(gst::PadFlags::FIXED_CAPS)
            .build();
        VllmRealtimeAsr {
            sinkpad,
            srcpad,
            input: Mutex::new(Input::new(Settings::default().silence_commit_samples())),
            order: Mutex::new(Sequencer::new(None, 0)),
            failure_posted: Condvar::new(),
            outbox: Outbox::default(),
            preroll: Mutex::default(),
            task_allowed: Mutex::new(false),
            run: Mutex::default(),
            settings: Mutex::default(),
            own: Mutex::default(),
        }
    }
}

impl ObjectImpl for VllmRealtimeAsr {
    fn properties() -> &'static [glib::ParamSpec] {
        properties::specs()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let (before, now) = {
            let mut settings = lock(&self.settings);
            let before = settings.latency;
            properties::set(&mut settings, pspec, value);
            (before, settings.latency)
        };
        if before != now {
            let upstream = self.run().upstream;
            self.outbox.set_live(self.live(upstream));
            let obj = self.obj();
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.stats().to_value(),
            "max-observed-delay" => {
                u32::try_from(self.run().delay.most() / 1_000_000).unwrap_or(u32::MAX).to_value()
            }
            _ => properties::get(&lock(&self.settings), pspec),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        for pad in [&self.sinkpad, &self.srcpad] {
            if let Err(err) = obj.add_pad(pad) {
                gst::error!(CAT, imp = self, "{err}");
            }
        }
        // Signals: a link function would stand in the way of the peer's own, and textoverlay
        // would not know that it has text.
        let element = |pad: &gst::Pad| pad.parent().and_downcast::<super::VllmRealtimeAsr>();
        self.srcpad.connect_linked(move |pad, _| {
            if let Some(element) = element(pad) {
                element.imp().set_sink(false);
            }
        });
        self.srcpad.connect_unlinked(move |pad, _| {
            if let Some(element) = element(pad) {
                let running = element.imp().run().client.is_some();
                element.imp().set_sink(running);
            }
        });
    }
}

impl GstObjectImpl for VllmRealtimeAsr {}

impl ElementImpl for VllmRealtimeAsr {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "vLLM realtime speech to text",
                "Audio/Text/Filter",
                "Live speech to words with their times, recognised by a vLLM server",
                concat!("The authors of ", env!("CARGO_PKG_NAME")),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let audio = gst_audio::AudioCapsBuilder::new_interleaved()
                .format(gst_audio::AudioFormat::S16le)
                .rate(crate::SAMPLE_RATE as i32)
                .channels(1)
                .build();
            let text = gst::Caps::builder("text/x-raw").field("format", "utf8").build();
            [("sink", gst::PadDirection::Sink, audio), ("src", gst::PadDirection::Src, text)]
                .into_iter()
                .filter_map(|(name, direction, caps)| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
                })
                .collect()
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        gst::debug!(CAT, imp = self, "{transition:?}");
        let mut prerolls = false;
        match transition {
            gst::StateChange::ReadyToPaused => {
                if let Err(error) = self.start() {
                    self.stop();
                    gst::error!(CAT, imp = self, "{error}");
                    self.post_error_message(error_message(&error));
                    return Err(gst::StateChangeError);
                }
                prerolls = self.await_preroll();
            }
            gst::StateChange::PlayingToPaused => self.set_playing(false),
            gst::StateChange::PausedToReady => self.prepare_stop(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if result.is_err() => {
                self.prepare_stop();
                self.stop();
            }
            gst::StateChange::PausedToPlaying if result.is_ok() => self.set_playing(true),
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        if prerolls { result.map(|_| gst::StateChangeSuccess::Async) } else { result }
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        self.element_query(query).unwrap_or_else(|| self.parent_query(query))
    }

    fn send_event(&self, event: gst::Event) -> bool {
        self.element_event(event).unwrap_or_else(|event| self.parent_send_event(event))
    }
}
