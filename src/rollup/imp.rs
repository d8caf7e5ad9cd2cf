// SPDX-License-Identifier: MPL-2.0

//! Pads, properties, queries, state changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::layout::language::Language;
use super::layout::{Counts, Layout};
use super::queue::{Input, Queue};
use super::replace::Rules;
use super::settings::{PROPERTIES, Settings};
use super::task::Task;

pub static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "textrollup",
        gst::DebugColorFlags::empty(),
        Some("Timed words to captions"),
    )
});

/// The element's private part. The locks are held for a moment only, one at a time but for
/// `src_active`, which comes first.
pub struct TextRollUp {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    pub(super) queue: Queue,
    /// Whether the source pad is active.
    src_active: Mutex<bool>,
    settings: Mutex<Settings>,
    rules: Mutex<Rules>,
    language: Mutex<Language>,
    counts: Mutex<Counts>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TextRollUp {
    pub(super) fn set_counts(&self, counts: Counts) {
        *lock(&self.counts) = counts;
    }

    fn activate_src(&self, mode: gst::PadMode, active: bool) -> Result<(), gst::LoggableError> {
        if mode != gst::PadMode::Push {
            return Err(gst::loggable_error!(CAT, "The source pad can only push"));
        }
        *lock(&self.src_active) = active;
        let result = if active {
            self.start_task()
        } else {
            self.queue.stop();
            self.srcpad.stop_task()
        };
        Ok(result?)
    }

    fn start_task(&self) -> Result<(), glib::BoolError> {
        // Locked, so that no task begins on a pad that is being deactivated.
        let active = lock(&self.src_active);
        if !*active {
            return Ok(());
        }
        self.queue.start();
        let weak = self.obj().downgrade();
        let (settings, rules) = (lock(&self.settings).clone(), lock(&self.rules).clone());
        let mut task = Task::new(settings, rules, *lock(&self.language), *lock(&self.counts));
        self.srcpad.start_task(move || {
            let Some(element) = weak.upgrade() else { return };
            element.imp().iterate(&mut task);
        })
    }

    /// Events that a flush took out of the queue must not be lost; a new segment comes.
    fn keep(&self, sticky: Vec<gst::Event>) {
        for event in sticky {
            let event = match event.type_() {
                gst::EventType::Segment | gst::EventType::Eos => continue,
                gst::EventType::Caps => {
                    let caps = lock(&self.settings).caps();
                    gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build()
                }
                _ => event,
            };
            let _ = self.srcpad.store_sticky_event(&event);
        }
    }

    /// The language of what comes; it outlives a flush.
    pub(super) fn set_language(&self, language: Language) {
        *lock(&self.language) = language;
    }

    fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.queue.push(Input::Buffer(buffer))?;
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "Handling {event:?}");
        match event.view() {
            gst::EventView::FlushStart(_) => {
                // From any thread, at once: takes no stream lock.
                let sticky = self.queue.stop();
                let passed = gst::Pad::event_default(pad, Some(&*self.obj()), event);
                self.keep(sticky);
                passed
            }
            gst::EventView::FlushStop(_) => {
                // It can come alone.
                let sticky = self.queue.stop();
                // A pad that has a task already keeps the old function.
                let stopped = self.srcpad.stop_task().is_ok();
                let passed = gst::Pad::event_default(pad, Some(&*self.obj()), event);
                self.keep(sticky);
                stopped && passed && self.start_task().is_ok()
            }
            gst::EventView::Eos(_) => match self.queue.push(Input::Event(event)) {
                Ok(()) => true,
                Err(gst::FlowError::Flushing | gst::FlowError::Eos) => false,
                Err(error) => {
                    self.post_flow_error(error);
                    false
                }
            },
            _ if event.is_serialized() => self.queue.push(Input::Event(event)).is_ok(),
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Reconfigure {
            self.queue.reconfigure();
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Caps(query) => {
                let caps = pad.pad_template_caps();
                let caps = query.filter().map_or_else(
                    || caps.clone(),
                    |f| f.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
                );
                query.set_result(&caps);
                true
            }
            // What downstream offers is for other text.
            gst::QueryViewMut::Allocation(_) => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                let mut peer = gst::query::Latency::new();
                if !self.sinkpad.peer_query(&mut peer) {
                    return false;
                }
                let (live, minimum, maximum) = peer.result();
                let own = if live { self.latency() } else { gst::ClockTime::ZERO };
                let minimum = minimum.saturating_add(own);
                // By this, and not by the LATENCY event: that tells what sinks wait for that are
                // synchronised, and 0 where none is.
                self.queue.set_latency(live.then_some(minimum));
                query.set(live, minimum, maximum.map(|maximum| maximum.saturating_add(own)));
                true
            }
            gst::QueryViewMut::Caps(query) => {
                let caps = lock(&self.settings).caps();
                let caps = query.filter().map_or_else(
                    || caps.clone(),
                    |f| f.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
                );
                query.set_result(&caps);
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    pub(super) fn latency(&self) -> gst::ClockTime {
        let settings = lock(&self.settings).layout(1.0, Language::default());
        gst::ClockTime::from_nseconds(Layout::latency(&settings))
    }

    fn stats(&self) -> gst::Structure {
        let counts = *lock(&self.counts);
        gst::Structure::builder("stats")
            .field("words", counts.words)
            .field("captions", counts.captions)
            .field("late", counts.late)
            .field("unread", counts.unread)
            .field("too-fast", counts.too_fast)
            .build()
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let rules = lock(&self.settings).rules();
        let rules =
            rules.map_err(|why| gst::error_msg!(gst::ResourceError::Settings, ("{why}")))?;
        *lock(&self.rules) = rules;
        *lock(&self.language) = Language::default();
        *lock(&self.counts) = Counts::default();
        self.queue.set_latency(None);
        Ok(())
    }
}

#[glib::object_subclass]
impl ObjectSubclass for TextRollUp {
    const NAME: &'static str = "GstTextRollUp";
    type Type = super::TextRollUp;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        // The templates are this class's own: nobody can take one away.
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
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
            })
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
        TextRollUp {
            sinkpad,
            srcpad,
            queue: Queue::default(),
            src_active: Mutex::default(),
            settings: Mutex::default(),
            rules: Mutex::default(),
            language: Mutex::default(),
            counts: Mutex::default(),
        }
    }
}

impl ObjectImpl for TextRollUp {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        PROPERTIES.set(&mut lock(&self.settings), pspec, value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.stats().to_value(),
            _ => PROPERTIES.get(&mut lock(&self.settings), pspec),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        for pad in [&self.sinkpad, &self.srcpad] {
            if let Err(err) = self.obj().add_pad(pad) {
                gst::error!(CAT, imp = self, "{err}");
            }
        }
    }
}

impl GstObjectImpl for TextRollUp {}

impl ElementImpl for TextRollUp {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Text roll-up",
                "Text/Filter",
                "Timed words to captions that can be read: roll-up, pop-on or sentences",
                concat!("The authors of ", env!("CARGO_PKG_NAME")),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let text = |formats: &[&str]| {
                let caps = gst::Caps::builder("text/x-raw");
                match formats {
                    [format] => caps.field("format", *format).build(),
                    formats => {
                        caps.field("format", gst::List::new(formats.iter().copied())).build()
                    }
                }
            };
            let src = text(&["utf8", "pango-markup"]);
            [
                ("sink", gst::PadDirection::Sink, text(&["utf8"])),
                ("src", gst::PadDirection::Src, src),
            ]
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
        match transition {
            gst::StateChange::ReadyToPaused => {
                if let Err(error) = self.start() {
                    self.post_error_message(error);
                    return Err(gst::StateChangeError);
                }
            }
            gst::StateChange::PlayingToPaused => self.queue.set_playing(false),
            _ => {}
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToPlaying {
            self.queue.set_playing(true);
        }
        Ok(result)
    }
}
