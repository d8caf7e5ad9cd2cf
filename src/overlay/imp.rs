// SPDX-License-Identifier: MPL-2.0

//! The children, how they are linked, and what is done when they fail.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::OnError;
use super::captions::{Captions, Why};
use super::settings::{self, PROPERTIES, Settings};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "vllmcaptionoverlay",
        gst::DebugColorFlags::empty(),
        Some("Live captions on a picture"),
    )
});

/// Captions that failed are tried again after so long.
const RETRY: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// For so long the picture waits for the captions' elements to begin; where it is not live, for a
/// connection that is lost, and for the first one.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(2);
const FIRST_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// What the queues hold beyond the latency.
const MARGIN: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// In a pipeline that is not live the picture's queue grows to this, where captions need more sound
/// than the source gives beside so much of the picture; by so much at a time.
const MOST: gst::ClockTime = gst::ClockTime::from_seconds(30);
const GROWS_BY: gst::ClockTime = gst::ClockTime::SECOND;

/// Part of the picture's width that the columns take.
const WIDTH: f64 = 0.9;

/// Width of a character of a monospace font, of its size.
const CHARACTER: f64 = 0.602;

/// The width in pixels that `textoverlay` scales fonts by.
const SCALED_BY: f64 = 640.0;

/// Children whose properties are the bin's too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child {
    Asr,
    Rollup,
}

/// The elements inside.
struct Children {
    video_queue: gst::Element,
    overlay: gst::Element,
    audio_tee: gst::Element,
    audio_queue: gst::Element,
    convert: gst::Element,
    resample: gst::Element,
    asr: gst::Element,
    text_tee: gst::Element,
    rollup: gst::Element,
    /// Of `audio_tee`, to `audio_queue`.
    to_asr: gst::Pad,
}

/// What stands behind a pad that was requested.
struct Branch {
    pad: gst::GhostPad,
    /// Of the tee.
    tee_pad: gst::Pad,
    elements: Vec<gst::Element>,
}

#[derive(Default)]
struct State {
    captions: Captions,
    branches: Vec<Branch>,
    /// Bytes of the picture for each second, and its width and height.
    picture: (u64, u32, u32),
    /// Running time of the frame at hand, and up to which its captions are there.
    frame: gst::ClockTime,
    captioned: gst::ClockTime,
    /// Waits that a change of the state ends.
    retry: Option<gst::SingleShotClockId>,
    patience: Option<gst::SingleShotClockId>,
    begins: Option<gst::SingleShotClockId>,
    /// Pads requested so far.
    requests: u32,
}

/// The bin's private part. The locks are held for a moment only, one at a time; none while anything
/// is pushed, posted, linked or changes its state.
pub struct VllmCaptionOverlay {
    video_sink: gst::GhostPad,
    video_src: gst::GhostPad,
    audio_sink: gst::GhostPad,
    children: Result<Children, glib::BoolError>,
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Children {
    fn new() -> Result<Children, glib::BoolError> {
        let make =
            |factory: &str, name: &str| gst::ElementFactory::make(factory).name(name).build();
        let own = |kind: glib::Type, name: &str| {
            glib::Object::builder_with_type(kind).property("name", name).build()
        };
        let element = |object: glib::Object| {
            object.downcast::<gst::Element>().map_err(|_| glib::bool_error!("not an element"))
        };
        let audio_tee = make("tee", "audio-tee")?;
        let to_asr = audio_tee
            .request_pad_simple("src_%u")
            .ok_or_else(|| glib::bool_error!("the tee gives no pad"))?;
        Ok(Children {
            video_queue: make("queue", "video-queue")?,
            overlay: make("textoverlay", "overlay")?,
            audio_queue: make("queue", "audio-queue")?,
            convert: make("audioconvert", "convert")?,
            resample: make("audioresample", "resample")?,
            asr: element(own(crate::asr::VllmRealtimeAsr::static_type(), "asr"))?,
            text_tee: make("tee", "text-tee")?,
            rollup: element(own(crate::rollup::TextRollUp::static_type(), "rollup"))?,
            audio_tee,
            to_asr,
        })
    }

    fn all(&self) -> [&gst::Element; 9] {
        [
            &self.video_queue,
            &self.overlay,
            &self.audio_tee,
            &self.audio_queue,
            &self.convert,
            &self.resample,
            &self.asr,
            &self.text_tee,
            &self.rollup,
        ]
    }

    /// Those that begin anew when captions are tried again, from the front.
    fn captions(&self) -> [&gst::Element; 4] {
        [&self.audio_queue, &self.convert, &self.resample, &self.asr]
    }

    fn child(&self, child: Child) -> &gst::Element {
        match child {
            Child::Asr => &self.asr,
            Child::Rollup => &self.rollup,
        }
    }
}

/// Of a time in the stream of a pad.
fn running_time(pad: &gst::Pad, time: gst::ClockTime) -> Option<gst::ClockTime> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    event.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(time)
}

fn static_pad(element: &gst::Element, name: &str) -> Result<gst::Pad, glib::BoolError> {
    element.static_pad(name).ok_or_else(|| glib::bool_error!("{} has no {name}", element.name()))
}

impl VllmCaptionOverlay {
    /// Puts the children in and links them.
    fn assemble(&self, c: &Children) -> Result<(), glib::BoolError> {
        let bin = self.obj();
        bin.add_many(c.all())?;
        c.asr.set_property("reconnect", -1_i32);
        c.asr.set_property("post-messages", true);
        for queue in [&c.video_queue, &c.audio_queue] {
            queue.set_property("max-size-bytes", 0_u32);
            queue.set_property("max-size-buffers", 0_u32);
        }
        for (name, value) in [
            ("halignment", "left"),
            ("line-alignment", "left"),
            ("valignment", "baseline"),
            ("wrap-mode", "none"),
            ("shaded-background", "true"),
            ("draw-shadow", "false"),
            ("wait-text", "false"),
        ] {
            c.overlay.set_property_from_str(name, value);
        }
        c.video_queue.link_pads(Some("src"), &c.overlay, Some("video_sink"))?;
        c.to_asr
            .link(&static_pad(&c.audio_queue, "sink")?)
            .map_err(|e| glib::bool_error!("the tee does not link: {e}"))?;
        gst::Element::link_many([&c.audio_queue, &c.convert, &c.resample, &c.asr, &c.text_tee])?;
        c.text_tee.link(&c.rollup)?;
        c.rollup.link_pads(Some("src"), &c.overlay, Some("text_sink"))?;
        self.video_sink.set_target(Some(&static_pad(&c.video_queue, "sink")?))?;
        self.video_src.set_target(Some(&static_pad(&c.overlay, "src")?))?;
        self.audio_sink.set_target(Some(&static_pad(&c.audio_tee, "sink")?))?;
        self.watch(c)
    }

    /// What the bin looks at while it plays.
    fn watch(&self, c: &Children) -> Result<(), glib::BoolError> {
        let weak = self.obj().downgrade();
        // The recogniser hears nothing while it cannot answer.
        c.to_asr.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, {
            let weak = weak.clone();
            move |_, _| match weak.upgrade() {
                Some(bin) if !lock(&bin.imp().state).captions.listens() => {
                    gst::PadProbeReturn::Drop
                }
                _ => gst::PadProbeReturn::Ok,
            }
        });
        let data = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
        static_pad(&c.overlay, "text_sink")?.add_probe(data, {
            let weak = weak.clone();
            move |pad, info| {
                if let Some(bin) = weak.upgrade() {
                    bin.imp().text_comes(pad, info);
                }
                gst::PadProbeReturn::Ok
            }
        });
        static_pad(&c.overlay, "video_sink")?.add_probe(data, move |pad, info| {
            if let Some(bin) = weak.upgrade() {
                bin.imp().picture_comes(pad, info);
            }
            gst::PadProbeReturn::Ok
        });
        self.watch_queue(&c.video_queue);
        Ok(())
    }

    fn text_comes(&self, pad: &gst::Pad, info: &gst::PadProbeInfo) {
        let span = match &info.data {
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Segment(_) => return self.begun(),
                gst::EventView::Gap(gap) => Some(gap.get()),
                _ => None,
            },
            Some(gst::PadProbeData::Buffer(b)) => b.pts().map(|pts| (pts, b.duration())),
            _ => None,
        };
        let end = span.map(|(pts, duration)| pts + duration.unwrap_or_default());
        if let Some(end) = end.and_then(|end| running_time(pad, end)) {
            lock(&self.state).captioned = end;
        }
    }

    fn picture_comes(&self, pad: &gst::Pad, info: &gst::PadProbeInfo) {
        match &info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view() {
                    self.set_picture(caps.caps());
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if let Some(time) = buffer.pts().and_then(|pts| running_time(pad, pts)) {
                    lock(&self.state).frame = time;
                    self.make_room();
                }
            }
            _ => {}
        }
    }

    /// Where the picture waits for its captions, its source must be able to go on to the sound that
    /// they need, though that comes behind more of the picture.
    fn make_room(&self) {
        let Ok(c) = &self.children else { return };
        let waits = {
            let state = lock(&self.state);
            state.captions.waits() && state.captioned <= state.frame
        };
        if !waits {
            return;
        }
        for queue in self.queues(c) {
            let [level, most] =
                ["current-level-time", "max-size-time"].map(|name| queue.property::<u64>(name));
            let room = GROWS_BY.nseconds() / 2;
            if level.saturating_add(room) > most && most < MOST.nseconds() && !self.is_live() {
                queue.set_property("max-size-time", most.saturating_add(GROWS_BY.nseconds()));
            }
        }
    }

    /// Those that hold what waits for the captions.
    fn queues(&self, c: &Children) -> Vec<gst::Element> {
        let state = lock(&self.state);
        let branches = state.branches.iter().filter_map(|b| b.elements.first().cloned());
        [c.video_queue.clone()].into_iter().chain(branches).collect()
    }

    fn watch_queue(&self, queue: &gst::Element) {
        let weak = self.obj().downgrade();
        queue.connect("overrun", false, move |_| {
            weak.upgrade()?.imp().make_room();
            None
        });
    }

    /// Whether something stands in the way of captions.
    fn set(&self, why: Why, holds: bool) {
        let Ok(c) = &self.children else { return };
        let (before, now) = {
            let mut state = lock(&self.state);
            let before = state.captions;
            state.captions.set(why, holds);
            (before, state.captions)
        };
        if before == now {
            return;
        }
        gst::debug!(CAT, imp = self, "Captions: {}", now.state());
        c.overlay.set_property("silent", now.is(Why::Passthrough));
        c.overlay.set_property("wait-text", now.waits());
        if before.waits() && !now.waits() {
            self.wake_picture(c);
        }
    }

    /// The picture may be waiting for text: it looks again.
    fn wake_picture(&self, c: &Children) {
        let Some(pad) = c.overlay.static_pad("text_sink") else { return };
        // Its stream lock may be held by text that waits for the picture; then that does not wait.
        self.obj().call_async(move |_| {
            pad.send_event(gst::event::Gap::builder(gst::ClockTime::ZERO).build());
        });
    }

    /// Margins and bytes go by the size of the picture.
    fn set_picture(&self, caps: &gst::CapsRef) {
        let Some(s) = caps.structure(0) else { return };
        let [width, height] =
            ["width", "height"].map(|n| s.get::<i32>(n).unwrap_or(0).max(0) as u32);
        let rate = s.get::<gst::Fraction>("framerate").ok().filter(|f| f.numer() > 0);
        let rate = rate.map_or(30.0, |f| f64::from(f.numer()) / f64::from(f.denom()));
        // As I420; other formats take up to 4 bytes a pixel.
        let bytes = f64::from(width) * f64::from(height) * 1.5 * rate;
        lock(&self.state).picture = (bytes as u64, width, height);
        let Ok(c) = &self.children else { return };
        c.overlay.set_property("xpad", width as i32 / 20);
        c.overlay.set_property("ypad", height as i32 / 15);
    }

    /// Fonts and queues go by the properties.
    fn arrange(&self) {
        let Ok(c) = &self.children else { return };
        let settings = lock(&self.settings).clone();
        let columns = f64::from(c.rollup.property::<u32>("columns"));
        let size = (SCALED_BY * WIDTH / columns / CHARACTER).floor().max(1.0);
        let font = settings.font.unwrap_or_else(|| format!("Monospace {size}px"));
        c.overlay.set_property("font-desc", font);
        let latency = self.latency();
        for queue in self.queues(c).iter().chain([&c.audio_queue]) {
            queue.set_property("max-size-time", (latency + MARGIN).nseconds());
        }
    }

    /// What the picture waits at most.
    fn latency(&self) -> gst::ClockTime {
        let Ok(c) = &self.children else { return gst::ClockTime::ZERO };
        let own = gst::ClockTime::from_mseconds(c.asr.property::<u32>("latency").into());
        // Whole captions take longer, and all sinks wait for the slowest.
        let state = lock(&self.state);
        let text = state.branches.iter().filter_map(|b| b.elements.get(1).cloned()).next();
        drop(state);
        let text = text.and_downcast::<crate::rollup::TextRollUp>();
        own + text.map_or(gst::ClockTime::ZERO, |cues| cues.latency())
    }

    fn stats(&self) -> gst::Structure {
        let (captions, picture) = {
            let state = lock(&self.state);
            (state.captions, state.picture)
        };
        let stats = gst::Structure::builder("stats").field("captions", captions.state());
        let Ok(c) = &self.children else { return stats.build() };
        let seconds = c.video_queue.property::<u64>("max-size-time") as f64 / 1e9;
        stats
            .field("queue-bytes-most", (picture.0 as f64 * seconds) as u64)
            .field("asr", c.asr.property::<gst::Structure>("stats"))
            .field("rollup", c.rollup.property::<gst::Structure>("stats"))
            .build()
    }

    /// A pad behind a tee: the queue, and what follows it.
    fn add_branch(
        &self,
        templ: &gst::PadTemplate,
        tee: &gst::Element,
        name: &str,
        behind: Option<gst::Element>,
    ) -> Result<gst::GhostPad, glib::BoolError> {
        let queue = gst::ElementFactory::make("queue").build()?;
        queue.set_property("max-size-bytes", 0_u32);
        queue.set_property("max-size-buffers", 0_u32);
        self.watch_queue(&queue);
        let elements: Vec<gst::Element> = [queue].into_iter().chain(behind).collect();
        let bin = self.obj();
        bin.add_many(&elements)?;
        gst::Element::link_many(&elements)?;
        let tee_pad = tee
            .request_pad_simple("src_%u")
            .ok_or_else(|| glib::bool_error!("the tee gives no pad"))?;
        let (first, last) = (&elements[0], &elements[elements.len() - 1]);
        let pad =
            gst::GhostPad::builder_from_template_with_target(templ, &static_pad(last, "src")?)?
                .name(name)
                .build();
        pad.set_active(true)?;
        bin.add_pad(&pad)?;
        for element in elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        tee_pad
            .link(&static_pad(first, "sink")?)
            .map_err(|e| glib::bool_error!("the tee does not link: {e}"))?;
        lock(&self.state).branches.push(Branch { pad: pad.clone(), tee_pad, elements });
        self.arrange();
        Ok(pad)
    }

    fn remove_branch(&self, pad: &gst::Pad) {
        let found = {
            let mut state = lock(&self.state);
            let at = state.branches.iter().position(|b| b.pad.upcast_ref::<gst::Pad>() == pad);
            at.map(|at| state.branches.swap_remove(at))
        };
        let Some(Branch { pad, tee_pad, elements }) = found else { return };
        let bin = self.obj();
        if let Some(peer) = tee_pad.peer() {
            let _ = tee_pad.unlink(&peer);
        }
        if let Some(tee) = tee_pad.parent_element() {
            tee.release_request_pad(&tee_pad);
        }
        let _ = pad.set_active(false);
        let _ = bin.remove_pad(&pad);
        for element in &elements {
            let _ = element.set_state(gst::State::Null);
            let _ = bin.remove(element);
        }
        self.arrange();
    }

    /// Calls `then` after so long, unless the state ends before.
    fn later(
        &self,
        after: gst::ClockTime,
        then: impl Fn(&super::VllmCaptionOverlay) + Send + Sync + 'static,
    ) -> Option<gst::SingleShotClockId> {
        let clock = gst::SystemClock::obtain();
        let id = clock.new_single_shot_id(clock.time() + after);
        let weak = self.obj().downgrade();
        let then = std::sync::Arc::new(then);
        let called = id.wait_async(move |_, time, _| {
            // Without a time it was ended.
            if let (Some(bin), Some(_)) = (weak.upgrade(), time) {
                let then = std::sync::Arc::clone(&then);
                bin.call_async(move |bin| then(bin));
            }
        });
        called.ok().map(|_| id)
    }

    /// One of the captions' elements has failed: they are tried again later.
    fn failed(&self) {
        self.set(Why::Failed, true);
        let retry = self.later(RETRY, |bin| bin.imp().try_again());
        let before = std::mem::replace(&mut lock(&self.state).retry, retry);
        if let Some(id) = before {
            id.unschedule();
        }
    }

    fn try_again(&self) {
        let Ok(c) = &self.children else { return };
        if lock(&self.state).retry.take().is_none() {
            return;
        }
        gst::info!(CAT, imp = self, "Trying captions again");
        for element in c.captions() {
            let _ = element.set_state(gst::State::Ready);
        }
        // What the tee has said before has to be said again.
        if let Some(sink) = c.audio_queue.static_pad("sink") {
            let _ = c.to_asr.unlink(&sink);
            let _ = c.to_asr.link(&sink);
        }
        for element in c.captions().into_iter().rev() {
            let _ = element.sync_state_with_parent();
        }
        self.set(Why::NotBegun, true);
        self.set(Why::Failed, false);
    }

    /// The captions' elements are to say something soon.
    fn begin(&self) {
        let begins = self.later(PATIENCE, |bin| {
            if lock(&bin.imp().state).begins.take().is_some() {
                bin.imp().set(Why::NotBegun, true);
            }
        });
        lock(&self.state).begins = begins;
    }

    /// They do.
    fn begun(&self) {
        let id = lock(&self.state).begins.take();
        if let Some(id) = id {
            id.unschedule();
        }
        self.set(Why::NotBegun, false);
    }

    /// What the recogniser tells of its connection.
    fn connection(&self, state: &str) {
        match state {
            "lost" | "connecting" if !self.is_live() => {
                let wait = if state == "lost" { PATIENCE } else { FIRST_PATIENCE };
                let patience = self.later(wait, |bin| {
                    if lock(&bin.imp().state).patience.take().is_some() {
                        bin.imp().set(Why::Lost, true);
                    }
                });
                let mut state = lock(&self.state);
                // Counted from the first loss.
                let id = match &state.patience {
                    Some(_) => patience,
                    None => std::mem::replace(&mut state.patience, patience),
                };
                drop(state);
                if let Some(id) = id {
                    id.unschedule();
                }
            }
            "connected" => {
                let id = lock(&self.state).patience.take();
                if let Some(id) = id {
                    id.unschedule();
                }
                self.set(Why::Lost, false);
            }
            _ => {}
        }
    }

    fn is_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.audio_sink.peer_query(&mut query) && query.result().0
    }

    /// Ends what waits, for a new beginning.
    fn reset(&self) {
        let (waits, captions) = {
            let mut state = lock(&self.state);
            state.captions.begin();
            (state.frame, state.captioned) = Default::default();
            ([state.retry.take(), state.patience.take(), state.begins.take()], state.captions)
        };
        for id in waits.into_iter().flatten() {
            id.unschedule();
        }
        if let Ok(c) = &self.children {
            c.overlay.set_property("wait-text", captions.waits());
        }
    }

    /// Whether the message is of an element without which there are only no captions.
    fn is_of_captions(&self, message: &gst::Message) -> bool {
        let Ok(c) = &self.children else { return false };
        let rest = [&c.text_tee, &c.rollup];
        message.src().is_some_and(|src| {
            c.captions().into_iter().chain(rest).any(|e| src == e.upcast_ref::<gst::Object>())
        })
    }
}

#[glib::object_subclass]
impl ObjectSubclass for VllmCaptionOverlay {
    const NAME: &'static str = "GstVllmCaptionOverlay";
    type Type = super::VllmCaptionOverlay;
    type ParentType = gst::Bin;

    fn with_class(klass: &Self::Class) -> Self {
        // The templates are this class's own: nobody can take one away.
        let template = |name: &str| {
            klass.pad_template(name).unwrap_or_else(|| panic!("no pad template '{name}'"))
        };
        let ghost = |name: &str| gst::GhostPad::builder_from_template(&template(name)).name(name);
        VllmCaptionOverlay {
            video_sink: ghost("video_sink").build(),
            video_src: ghost("video_src").build(),
            // The sound's source does not hear of captions that failed.
            audio_sink: ghost("audio_sink")
                .chain_function(|pad, parent, buffer| {
                    let result = gst::ProxyPad::chain_default(pad, parent, buffer);
                    let bin = parent.and_then(|p| p.downcast_ref::<super::VllmCaptionOverlay>());
                    match result {
                        Err(gst::FlowError::Error | gst::FlowError::NotNegotiated)
                            if bin.is_some_and(|bin| bin.imp().goes_on()) =>
                        {
                            Ok(gst::FlowSuccess::Ok)
                        }
                        result => result,
                    }
                })
                .build(),
            children: Children::new(),
            settings: Mutex::default(),
            state: Mutex::default(),
        }
    }
}

impl VllmCaptionOverlay {
    /// Whether captions may fail.
    fn goes_on(&self) -> bool {
        lock(&self.settings).on_error == OnError::Passthrough
    }
}

impl ObjectImpl for VllmCaptionOverlay {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match (settings::child_of(pspec.name()), &self.children) {
            (Some(child), Ok(c)) => c.child(child).set_property_from_value(pspec.name(), value),
            (Some(_), Err(_)) => {}
            (None, _) => PROPERTIES.set(&mut lock(&self.settings), pspec, value),
        }
        if pspec.name() == "passthrough" {
            let passthrough = lock(&self.settings).passthrough;
            self.set(Why::Passthrough, passthrough);
        }
        self.arrange();
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match (settings::child_of(pspec.name()), &self.children, pspec.name()) {
            (Some(child), Ok(c), name) => c.child(child).property_value(name),
            (None, _, "stats") => self.stats().to_value(),
            (Some(_), Err(_), _) => pspec.default_value().clone(),
            _ => PROPERTIES.get(&mut lock(&self.settings), pspec),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let bin = self.obj();
        bin.set_suppressed_flags(gst::ElementFlags::SINK | gst::ElementFlags::SOURCE);
        for pad in [&self.video_sink, &self.video_src, &self.audio_sink] {
            if let Err(error) = bin.add_pad(pad) {
                gst::error!(CAT, imp = self, "{error}");
            }
        }
        lock(&self.state).captions.set(Why::NoSound, true);
        lock(&self.state).captions.begin();
        if let Ok(c) = &self.children
            && let Err(error) = self.assemble(c)
        {
            gst::error!(CAT, imp = self, "{error}");
        }
        let linked = |pad: &gst::GhostPad, is_linked: bool| {
            if let Some(bin) = pad.parent().and_downcast::<super::VllmCaptionOverlay>() {
                bin.imp().set(Why::NoSound, !is_linked);
            }
        };
        self.audio_sink.connect_linked(move |pad, _| linked(pad, true));
        self.audio_sink.connect_unlinked(move |pad, _| linked(pad, false));
        self.arrange();
    }
}

impl GstObjectImpl for VllmCaptionOverlay {}

impl ElementImpl for VllmCaptionOverlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "vLLM caption overlay",
                "Filter/Editor/Video/Audio",
                "Live captions on a picture: speech recognised by a vLLM server",
                concat!("The authors of ", env!("CARGO_PKG_NAME")),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            use gst::{PadDirection::*, PadPresence::*};
            let any = |name: &str| gst::Caps::builder(name).any_features().build();
            let text = gst::Caps::builder("text/x-raw").field("format", "utf8").build();
            let audio = gst::Caps::new_empty_simple("audio/x-raw");
            [
                ("video_sink", Sink, Always, any("video/x-raw")),
                ("video_src", Src, Always, any("video/x-raw")),
                ("audio_sink", Sink, Always, audio.clone()),
                ("audio_src", Src, Request, audio),
                ("text_src", Src, Request, text),
            ]
            .into_iter()
            .filter_map(|(name, direction, presence, caps)| {
                gst::PadTemplate::new(name, direction, presence, &caps).ok()
            })
            .collect()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        templ: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let Ok(c) = &self.children else { return None };
        let name = templ.name_template();
        if self.obj().static_pad(name).is_some() {
            gst::error!(CAT, imp = self, "Pad {name} is there already");
            return None;
        }
        lock(&self.state).requests += 1;
        let (tee, behind) = match name {
            "audio_src" => (&c.audio_tee, None),
            _ => {
                let cues =
                    glib::Object::builder_with_type(crate::rollup::TextRollUp::static_type())
                        .property("name", "cues")
                        .property("mode", crate::rollup::Mode::PopOn)
                        .build()
                        .downcast::<gst::Element>()
                        .ok()?;
                (&c.text_tee, Some(cues))
            }
        };
        match self.add_branch(templ, tee, name, behind) {
            Ok(pad) => Some(pad.upcast()),
            Err(error) => {
                gst::error!(CAT, imp = self, "Pad {name}: {error}");
                None
            }
        }
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.remove_branch(pad);
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match (&self.children, transition) {
            (Err(error), gst::StateChange::NullToReady) => {
                gst::element_imp_error!(
                    self,
                    gst::CoreError::MissingPlugin,
                    ("An element is missing: {error}. Install the base and Pango plugins of GStreamer (Debian: gstreamer1.0-plugins-base, gstreamer1.0-x).")
                );
                return Err(gst::StateChangeError);
            }
            (_, gst::StateChange::ReadyToPaused) => {
                self.reset();
                self.arrange();
                self.begin();
            }
            (_, gst::StateChange::PausedToReady) => self.reset(),
            _ => {}
        }
        self.parent_change_state(transition)
    }
}

impl BinImpl for VllmCaptionOverlay {
    fn handle_message(&self, message: gst::Message) {
        match message.view() {
            gst::MessageView::Error(error) if self.is_of_captions(&message) && self.goes_on() => {
                let already = lock(&self.state).captions.is(Why::Failed);
                if !already {
                    let debug = error.debug();
                    let warning = gst::message::Warning::builder_from_error(error.error())
                        .src_if_some(message.src())
                        .debug_if_some(debug.as_deref())
                        .build();
                    self.failed();
                    self.parent_handle_message(warning);
                }
            }
            gst::MessageView::Element(element) => {
                let state = element
                    .structure()
                    .filter(|s| s.has_name("vllmrealtimeasr/connection"))
                    .and_then(|s| s.get::<String>("state").ok());
                if let Some(state) = state {
                    self.connection(&state);
                }
                if lock(&self.settings).post_messages || !self.is_of_captions(&message) {
                    self.parent_handle_message(message);
                }
            }
            _ => self.parent_handle_message(message),
        }
    }
}
