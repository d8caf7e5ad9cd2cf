// SPDX-License-Identifier: MPL-2.0

//! Pads, properties, state changes; hands everything on.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::ConnectionWatcher;
use super::bus::SessionListener;
use super::outbox::Outbox;
use super::properties::PROPERTIES;
use super::settings::{API_KEY_VARIABLE, Settings, error_message};
use super::state::State;
use super::unsynced::Unsynced;
use crate::realtime::{self, Client, Error};

pub static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "vllmrealtimeasr",
        gst::DebugColorFlags::empty(),
        Some("Live speech to text by a vLLM server"),
    )
});

/// What a push is answered with.
pub(super) type Flow = Result<gst::FlowSuccess, gst::FlowError>;

/// The element's private part.
///
/// Lock order: `src_active`, `state`, then the outbox's own, the client's or `settings`, each for a
/// moment only. No lock is held
/// while pushing, posting, waiting for the session or asking a peer.
pub struct VllmRealtimeAsr {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    unsynced: Unsynced,
    pub(super) outbox: Outbox,
    /// Whether the source pad is active.
    pub(super) src_active: Mutex<bool>,
    state: Mutex<State>,
    settings: Mutex<Settings>,
    /// Of a bin that it is in.
    pub(super) watcher: OnceLock<ConnectionWatcher>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VllmRealtimeAsr {
    pub(super) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    pub(super) fn unsynced(&self) -> &Unsynced {
        &self.unsynced
    }

    pub(super) fn set_watcher(&self, watcher: ConnectionWatcher) {
        let _ = self.watcher.set(watcher);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes something by which events or words may go out: they do, in this order.
    pub(super) fn ordered<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        self.outbox.push(state.order.take_items());
        result
    }

    /// READY→PAUSED: a session of its own for each run.
    fn start(&self) -> Result<(), Error> {
        let settings = self.settings();
        let config = settings.config(std::env::var(API_KEY_VARIABLE).ok())?;
        gst::debug!(CAT, imp = self, "Starting with {config:?}");
        let first = self.state().start(&settings);
        self.outbox.set_unsynchronised(settings.is_unsynchronised());
        self.outbox.take_saved();
        let client = Client::start(config, SessionListener::new(&self.obj(), first))?;
        self.state().set_client(client);
        self.update_sink();
        Ok(())
    }

    /// Before PAUSED→READY is chained up: whoever waits in a pad function returns.
    fn prepare_stop(&self) {
        self.state().prepare_stop();
        self.outbox.stop();
    }

    /// After PAUSED→READY.
    fn stop(&self) {
        let mut old = self.state().stop();
        let connecting = old.end_connecting();
        drop(old);
        if connecting {
            self.progress(gst::ProgressType::Canceled, "Connecting was cancelled");
        }
        self.outbox.take_saved();
        self.outbox.set_unsynchronised(false);
        self.unsynced.forget();
        self.update_sink();
    }

    /// Signal `clear`.
    fn clear(&self) {
        self.ordered(State::clear);
    }

    /// The utterance ends where the session is by now: audio may be on its way to it.
    fn commit(&self) {
        let client = self.state().client().cloned();
        if let Some(client) = client {
            client.commit();
        }
    }

    /// Property `model` or `language-code` is another: from the next utterance on.
    fn set_model(&self) {
        let settings = self.settings();
        let code = settings.language().map(str::to_owned);
        let realtime::Config { model, transcript, .. } = settings.client;
        self.ordered(|state| state.set_model(model, transcript.language, code));
    }

    /// What changes to PAUSED come to: what is not synchronised has nothing to preroll with.
    fn paused(&self) -> gst::StateChangeSuccess {
        match self.is_unsynchronised() {
            true => gst::StateChangeSuccess::NoPreroll,
            false => gst::StateChangeSuccess::Success,
        }
    }

    fn set_playing(&self, playing: bool) {
        let ended = self.state().set_playing(playing);
        self.outbox.set_playing(playing);
        if let Some(seqnum) = ended {
            self.post_eos(seqnum);
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for VllmRealtimeAsr {
    const NAME: &'static str = "GstVllmRealtimeAsr";
    type Type = super::VllmRealtimeAsr;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        // All are made in `pad_templates` below: nothing from outside can take one away.
        let template = |name: &str| {
            klass.pad_template(name).unwrap_or_else(|| panic!("no pad template '{name}'"))
        };
        let sinkpad = gst::Pad::builder_from_template(&template("sink"))
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.sink_chain(buffer),
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
            .activatemode_function(|_, parent, mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic activating the source pad")),
                    |this| this.activate_src(mode, active),
                )
            })
            .flags(gst::PadFlags::FIXED_CAPS)
            .build();
        let unsynced = gst::Pad::builder_from_template(&template("unsynced_src"))
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(
                    parent,
                    || false,
                    |this| this.unsynced_query(pad, query),
                )
            })
            .activatemode_function(|_, parent, mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic activating a source pad")),
                    |this| this.activate_unsynced(mode, active),
                )
            })
            .flags(gst::PadFlags::FIXED_CAPS)
            .build();
        VllmRealtimeAsr {
            sinkpad,
            srcpad,
            unsynced: Unsynced::new(unsynced),
            outbox: Outbox::default(),
            src_active: Mutex::default(),
            state: Mutex::default(),
            settings: Mutex::default(),
            watcher: OnceLock::new(),
        }
    }
}

impl ObjectImpl for VllmRealtimeAsr {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: Lazy<Vec<glib::subclass::Signal>> = Lazy::new(|| {
            let action = |name: &'static str, act: fn(&VllmRealtimeAsr)| {
                let signal = glib::subclass::Signal::builder(name).run_last().action();
                let signal = signal.class_handler(move |args| {
                    act(args.first()?.get::<super::VllmRealtimeAsr>().ok()?.imp());
                    None
                });
                signal.build()
            };
            vec![action("commit", VllmRealtimeAsr::commit), action("clear", VllmRealtimeAsr::clear)]
        });
        &SIGNALS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let before = self.latency();
        PROPERTIES.set(&mut lock(&self.settings), pspec, value);
        if matches!(pspec.name(), "model" | "language-code") {
            self.set_model();
        }
        if before != self.latency() {
            self.update_latency();
            let obj = self.obj();
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => {
                let latency = self.latency();
                self.state().stats(latency).to_value()
            }
            "max-observed-delay" => u32::try_from(self.state().longest_delay().mseconds())
                .unwrap_or(u32::MAX)
                .to_value(),
            _ => PROPERTIES.get(&mut lock(&self.settings), pspec),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        for pad in [&self.sinkpad, &self.srcpad, self.unsynced.pad()] {
            if let Err(err) = obj.add_pad(pad) {
                gst::error!(CAT, imp = self, "{err}");
            }
        }
        // Signals: a link function would stand in the way of the peer's own, and textoverlay
        // would not know that it has text.
        let update = |pad: &gst::Pad, _: &gst::Pad| {
            if let Some(element) = pad.parent().and_downcast::<super::VllmRealtimeAsr>() {
                element.imp().update_sink();
                if let Err(err) = element.imp().unsynced.update() {
                    gst::error!(CAT, obj = pad, "The task does not start: {err}");
                }
            }
        };
        for pad in [&self.srcpad, self.unsynced.pad()] {
            pad.connect_linked(update);
            pad.connect_unlinked(update);
        }
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
            let json = gst::Caps::new_empty_simple("application/x-json");
            let all = [
                ("sink", gst::PadDirection::Sink, audio),
                ("src", gst::PadDirection::Src, text),
                ("unsynced_src", gst::PadDirection::Src, json),
            ];
            all.into_iter()
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
        match transition {
            gst::StateChange::ReadyToPaused => {
                if let Err(error) = self.start() {
                    self.stop();
                    gst::error!(CAT, imp = self, "{error}");
                    self.post_error_message(error_message(&error));
                    return Err(gst::StateChangeError);
                }
                self.parent_change_state(transition).map(|_| self.paused()).inspect_err(|_| {
                    self.prepare_stop();
                    self.stop();
                })
            }
            gst::StateChange::PausedToPlaying => {
                self.parent_change_state(transition).inspect(|_| self.set_playing(true))
            }
            gst::StateChange::PlayingToPaused => {
                self.set_playing(false);
                self.parent_change_state(transition).map(|_| self.paused())
            }
            gst::StateChange::PausedToReady => {
                self.prepare_stop();
                let result = self.parent_change_state(transition);
                self.stop();
                result
            }
            gst::StateChange::ReadyToNull => {
                self.state().forget();
                self.parent_change_state(transition)
            }
            _ => self.parent_change_state(transition),
        }
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        self.element_query(query).unwrap_or_else(|| self.parent_query(query))
    }

    fn send_event(&self, event: gst::Event) -> bool {
        self.element_event(event).unwrap_or_else(|event| self.parent_send_event(event))
    }
}
