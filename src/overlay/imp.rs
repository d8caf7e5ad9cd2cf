// SPDX-License-Identifier: MPL-2.0

//! The children, how they are linked, and what is done when they fail.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::OnError;
use super::captions::{Captions, Reason};
use super::settings::{self, PROPERTIES, Settings};
use crate::asr::{LatencyMode, VllmRealtimeAsr};
use crate::realtime::ConnectionState;

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

/// The picture's queue grows to no more bytes than these, where that is less.
const MOST_BYTES: u64 = 1 << 30;

/// The sound is not there where none has come for so long though the recogniser takes it.
const STARVED: Duration = Duration::from_millis(250);

/// The picture goes on where no sound has come for so long, whatever the server does.
const STUCK: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// Words that wait for the picture.
const WORDS: u32 = 256;

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
    text_queue: gst::Element,
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
    /// PTS up to which text was told.
    told: gst::ClockTime,
    /// When sound came last.
    heard: Option<Instant>,
    /// The sound is over.
    ended: bool,
    /// Somebody looks later whether the picture has what it waits for.
    looks: Option<gst::SingleShotClockId>,
    /// The state changes to PAUSED.
    starts: bool,
    /// What was written to the overlay: another value is the user's.
    written: Written,
    /// Waits that the end of the run ends.
    retry: Option<gst::SingleShotClockId>,
    patience: Option<gst::SingleShotClockId>,
    begins: Option<gst::SingleShotClockId>,
    /// Pads requested so far.
    requests: u32,
}

/// Properties of the overlay as the bin sets them.
struct Written {
    font: String,
    xpad: i32,
    ypad: i32,
}

impl Default for Written {
    /// As `textoverlay` has them.
    fn default() -> Written {
        Written { font: String::new(), xpad: 25, ypad: 25 }
    }
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
            text_queue: make("queue", "text-queue")?,
            rollup: element(own(crate::rollup::TextRollUp::static_type(), "rollup"))?,
            audio_tee,
            to_asr,
        })
    }

    fn all(&self) -> [&gst::Element; 10] {
        [
            &self.video_queue,
            &self.overlay,
            &self.audio_tee,
            &self.audio_queue,
            &self.convert,
            &self.resample,
            &self.asr,
            &self.text_tee,
            &self.text_queue,
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

/// Cuts a frame's time to its segment. `textoverlay` takes one that begins before the segment, as the
/// first behind an accurate seek may, for one behind all text, and discards what comes to that.
fn clip(pad: &gst::Pad, frame: &mut gst::Buffer) {
    let Some(begin) = frame.pts() else { return };
    let Some(event) = pad.sticky_event::<gst::event::Segment>(0) else { return };
    let Some(segment) = event.segment().downcast_ref::<gst::ClockTime>() else { return };
    let end = frame.duration().map(|duration| begin.saturating_add(duration));
    let Some((Some(from), to)) = segment.clip(begin, end) else { return };
    let to = end.and(to);
    if (from, to) != (begin, end) {
        let frame = frame.make_mut();
        frame.set_pts(from);
        frame.set_duration(to.map(|to| to.saturating_sub(from)));
    }
}

fn static_pad(element: &gst::Element, name: &str) -> Result<gst::Pad, glib::BoolError> {
    element.static_pad(name).ok_or_else(|| glib::bool_error!("{} has no {name}", element.name()))
}

impl VllmCaptionOverlay {
    /// Puts the children in and links them.
    fn assemble(&self, c: &Children) -> Result<(), glib::BoolError> {
        let bin = self.obj();
        bin.add_many(c.all())?;
        c.asr.set_property("latency-mode", LatencyMode::Auto);
        for queue in [&c.video_queue, &c.audio_queue, &c.text_queue] {
            queue.set_property("max-size-bytes", 0_u32);
            queue.set_property("max-size-buffers", 0_u32);
        }
        // A word each; time says nothing where nothing is said.
        c.text_queue.set_property("max-size-time", 0_u64);
        c.text_queue.set_property("max-size-buffers", WORDS);
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
        gst::Element::link_many([&c.text_tee, &c.text_queue, &c.rollup])?;
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
        let sound = gst::PadProbeType::BUFFER
            | gst::PadProbeType::BUFFER_LIST
            | gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::EVENT_FLUSH;
        c.to_asr.add_probe(sound, {
            let weak = weak.clone();
            move |_, info| match weak.upgrade() {
                Some(bin) => bin.imp().sound_comes(info),
                None => gst::PadProbeReturn::Ok,
            }
        });
        if let Some(asr) = c.asr.downcast_ref::<VllmRealtimeAsr>() {
            let weak = weak.clone();
            asr.watch_connection(move |state| {
                if let Some(bin) = weak.upgrade() {
                    bin.imp().connection(state);
                }
            });
        }
        let latency = weak.clone();
        c.asr.connect_notify(Some("latency"), move |_, _| {
            if let Some(bin) = latency.upgrade() {
                bin.imp().arrange();
            }
        });
        let data = gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::EVENT_FLUSH
            | gst::PadProbeType::BUFFER;
        static_pad(&c.overlay, "text_sink")?.add_probe(data, {
            let weak = weak.clone();
            move |pad, info| {
                let Some(bin) = weak.upgrade() else { return gst::PadProbeReturn::Ok };
                bin.imp().text_comes(pad, info)
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

    fn sound_comes(&self, info: &gst::PadProbeInfo) -> gst::PadProbeReturn {
        let mut state = lock(&self.state);
        let Some(gst::PadProbeData::Event(event)) = &info.data else {
            state.heard = Some(Instant::now());
            return match state.captions.listens() {
                true => gst::PadProbeReturn::Ok,
                false => gst::PadProbeReturn::Drop,
            };
        };
        match event.type_() {
            gst::EventType::Eos => state.ended = true,
            gst::EventType::StreamStart | gst::EventType::FlushStop => {
                (state.ended, state.heard) = Default::default();
            }
            _ => {}
        }
        drop(state);
        self.end_text();
        gst::PadProbeReturn::Ok
    }

    /// The sound is over, and the recogniser does not tell: the text is over too.
    fn end_text(&self) {
        let Ok(c) = &self.children else { return };
        let over = {
            let state = lock(&self.state);
            // Where the connection is lost the recogniser still waits, and ends that itself.
            state.ended && state.captions.is(Reason::Failed)
        };
        if let Some(pad) = c.text_tee.static_pad("sink").filter(|_| over) {
            self.obj().call_async(move |_| {
                pad.send_event(gst::event::Eos::new());
            });
        }
    }

    fn text_comes(&self, pad: &gst::Pad, info: &gst::PadProbeInfo) -> gst::PadProbeReturn {
        let span = match &info.data {
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Segment(_) => {
                    self.begun();
                    None
                }
                gst::EventView::FlushStop(_) => {
                    let mut state = lock(&self.state);
                    (state.told, state.captioned) = Default::default();
                    None
                }
                gst::EventView::Gap(gap) => Some(gap.get()),
                _ => None,
            },
            Some(gst::PadProbeData::Buffer(b)) => b.pts().map(|pts| (pts, b.duration())),
            _ => None,
        };
        let end = span.map(|(pts, duration)| pts.saturating_add(duration.unwrap_or_default()));
        let mut state = lock(&self.state);
        if let Some(end) = end {
            state.told = end;
        }
        if let Some(end) = end.and_then(|end| running_time(pad, end)) {
            state.captioned = end;
        }
        let again = state.captions.is(Reason::Behind) && state.captioned > state.frame;
        let hidden = state.captions.is(Reason::Passthrough) && info.buffer().is_some();
        drop(state);
        if again {
            self.set(Reason::Behind, false);
        }
        if hidden { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
    }

    fn picture_comes(&self, pad: &gst::Pad, info: &mut gst::PadProbeInfo) {
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                match (event.view(), &self.children) {
                    (gst::EventView::Caps(caps), _) => self.set_picture(caps.caps()),
                    // Nobody takes text any more: what comes must not hold up the rest.
                    (gst::EventView::Eos(_), Ok(c)) => {
                        c.text_queue.set_property_from_str("leaky", "downstream");
                    }
                    (gst::EventView::FlushStop(_) | gst::EventView::StreamStart(_), Ok(c)) => {
                        c.text_queue.set_property_from_str("leaky", "no");
                        lock(&self.state).frame = gst::ClockTime::ZERO;
                        self.set(Reason::Behind, false);
                    }
                    _ => {}
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                clip(pad, buffer);
                if let Some(time) = buffer.pts().and_then(|pts| running_time(pad, pts)) {
                    lock(&self.state).frame = time;
                    self.make_room();
                }
            }
            _ => {}
        }
    }

    /// Where the picture waits for its captions, its source must be able to go on to the sound that
    /// they need, though that comes behind more of the picture. Where that does not come the picture
    /// goes on.
    fn make_room(&self) {
        let Ok(c) = &self.children else { return };
        let (waits, silent, picture) = {
            let state = lock(&self.state);
            let silent = state.heard.map_or(Duration::ZERO, |heard| heard.elapsed());
            let waits = state.captions.waits() && state.captioned <= state.frame;
            // Where all of it is there, the recogniser says when it has no more to say.
            (waits && !state.ended, silent, state.picture.0)
        };
        if !waits || self.is_live() {
            return;
        }
        let taken = c.audio_queue.property::<u32>("current-level-buffers") == 0;
        if taken && silent >= Duration::from(PATIENCE) {
            let stats = c.asr.property::<gst::Structure>("stats");
            // What the server works on is not missing; but it may want more to begin with.
            let works = stats.get::<u64>("samples-unconfirmed").is_ok_and(|samples| samples > 0);
            if !works || silent >= Duration::from(STUCK) {
                return self.set(Reason::Behind, true);
            }
        }
        if taken && silent >= STARVED {
            let bytes = MOST_BYTES.saturating_mul(1000).checked_div(picture / 1_000_000);
            let most = MOST.nseconds().min(bytes.unwrap_or(u64::MAX));
            for queue in self.queues(c) {
                let [level, now] =
                    ["current-level-time", "max-size-time"].map(|name| queue.property::<u64>(name));
                let full = level.saturating_add(GROWS_BY.nseconds() / 2) > now;
                if full && now < most {
                    let room = level.max(now).saturating_add(GROWS_BY.nseconds());
                    queue.set_property("max-size-time", room);
                }
            }
        }
        // The queue tells only once that it is full.
        let looks = lock(&self.state).looks.is_some();
        if !looks {
            let look = self.later(gst::ClockTime::from_mseconds(100), |bin| {
                let due = lock(&bin.imp().state).looks.take().is_some();
                if due {
                    bin.imp().make_room();
                }
            });
            lock(&self.state).looks = look;
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
    fn set(&self, why: Reason, holds: bool) {
        let Ok(c) = &self.children else { return };
        let (before, mut now) = {
            let mut state = lock(&self.state);
            let before = state.captions;
            state.captions.set(why, holds);
            (before, state.captions)
        };
        if before == now {
            return;
        }
        gst::debug!(CAT, imp = self, "Captions: {}", now.state());
        // Another thread may have written an older state last.
        loop {
            c.overlay.set_property("wait-text", now.waits());
            let latest = lock(&self.state).captions;
            if latest.waits() == now.waits() {
                break;
            }
            now = latest;
        }
        if before.waits() && !now.waits() {
            self.wake_picture(c);
        }
        if holds {
            self.end_text();
        }
    }

    /// The picture may be waiting for text: it looks again.
    fn wake_picture(&self, c: &Children) {
        let Some(pad) = c.overlay.static_pad("text_sink") else { return };
        // Its stream lock may be held by text that waits for the picture; then that does not wait.
        self.obj().call_async(move |bin| {
            let (waits, told) = {
                let state = lock(&bin.imp().state);
                (state.captions.waits(), state.told)
            };
            if !waits {
                pad.send_event(gst::event::Gap::builder(told).build());
            }
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
        let (xpad, ypad) = (width as i32 / 20, height as i32 / 15);
        let before = {
            let written = &mut lock(&self.state).written;
            (std::mem::replace(&mut written.xpad, xpad), std::mem::replace(&mut written.ypad, ypad))
        };
        for (name, before, value) in [("xpad", before.0, xpad), ("ypad", before.1, ypad)] {
            if c.overlay.property::<i32>(name) == before {
                c.overlay.set_property(name, value);
            }
        }
    }

    /// Fonts and queues go by the properties.
    fn arrange(&self) {
        let Ok(c) = &self.children else { return };
        let settings = lock(&self.settings).clone();
        let columns = f64::from(c.rollup.property::<u32>("columns"));
        let size = (SCALED_BY * WIDTH / columns / CHARACTER).floor().max(1.0);
        let font = settings.font.unwrap_or_else(|| format!("Monospace {size}px"));
        let before = std::mem::replace(&mut lock(&self.state).written.font, font.clone());
        let has = c.overlay.property::<Option<String>>("font-desc").unwrap_or_default();
        if has == before {
            c.overlay.set_property("font-desc", font);
        }
        let latency = self.latency();
        // One that has grown while it plays keeps that.
        let plays = self.obj().current_state() >= gst::State::Paused;
        let wanted = latency.saturating_add(MARGIN).nseconds();
        for queue in self.queues(c).iter().chain([&c.audio_queue]) {
            let now = if plays { queue.property::<u64>("max-size-time") } else { 0 };
            queue.set_property("max-size-time", wanted.max(now));
        }
    }

    /// Makes whole captions for `text_src`.
    fn cues(&self) -> Option<gst::Element> {
        lock(&self.state).branches.iter().find_map(|b| b.elements.get(1).cloned())
    }

    /// What the picture waits at most.
    fn latency(&self) -> gst::ClockTime {
        let Ok(c) = &self.children else { return gst::ClockTime::ZERO };
        let own = c.asr.property::<gst::Structure>("stats").get("latency");
        let own: gst::ClockTime = own.unwrap_or_default();
        // Whole captions take longer, and all sinks wait for the slowest.
        let text = self.cues().and_downcast::<crate::rollup::TextRollUp>();
        let text = text.map_or(gst::ClockTime::ZERO, |cues| cues.latency());
        own.saturating_add(text)
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
                .proxy_pad_chain_function(|pad, parent, buffer| {
                    alone(gst::ProxyPad::chain_default(pad, parent, buffer))
                })
                .proxy_pad_chain_list_function(|pad, parent, list| {
                    alone(gst::ProxyPad::chain_list_default(pad, parent, list))
                })
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

    /// Calls `then` after this time, unless the run ends first.
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
        self.set(Reason::Failed, true);
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
        let plays = || self.obj().current_state() >= gst::State::Paused;
        if !plays() {
            return;
        }
        gst::info!(CAT, imp = self, "Trying captions again");
        let Some(sink) = c.audio_queue.static_pad("sink") else { return };
        let _ = c.to_asr.unlink(&sink);
        // From behind: what waits in the recogniser ends first.
        for element in c.captions().into_iter().rev() {
            let _ = element.set_state(gst::State::Ready);
        }
        self.set(Reason::NotBegun, true);
        let begins = c.captions().into_iter().rev().all(|e| e.sync_state_with_parent().is_ok());
        // The pipeline may have been stopped meanwhile.
        if !plays() {
            for element in c.captions().into_iter().rev() {
                let _ = element.sync_state_with_parent();
            }
            return;
        }
        if !begins {
            return self.failed();
        }
        // An error from here on is a new one.
        self.set(Reason::Failed, false);
        self.link_sound(c);
    }

    /// What the tee has said before it says again.
    fn link_sound(&self, c: &Children) {
        let sink = c.audio_queue.static_pad("sink").filter(|_| !c.to_asr.is_linked());
        if let Some(Err(error)) = sink.map(|sink| c.to_asr.link(&sink)) {
            gst::error!(CAT, imp = self, "{error}");
        }
    }

    /// The captions' elements are to say something soon.
    fn begin(&self) {
        let begins = self.later(PATIENCE, |bin| {
            let due = lock(&bin.imp().state).begins.take().is_some();
            if due {
                bin.imp().set(Reason::NotBegun, true);
            }
        });
        let before = std::mem::replace(&mut lock(&self.state).begins, begins);
        if let Some(id) = before {
            id.unschedule();
        }
    }

    /// They do.
    fn begun(&self) {
        let id = lock(&self.state).begins.take();
        if let Some(id) = id {
            id.unschedule();
        }
        self.set(Reason::NotBegun, false);
    }

    /// What the recogniser tells of its connection.
    fn connection(&self, state: ConnectionState) {
        match state {
            ConnectionState::Lost | ConnectionState::Connecting if !self.is_live() => {
                let lost = state == ConnectionState::Lost;
                let wait = if lost { PATIENCE } else { FIRST_PATIENCE };
                let patience = self.later(wait, |bin| {
                    if lock(&bin.imp().state).patience.take().is_some() {
                        bin.imp().set(Reason::Lost, true);
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
            ConnectionState::Connected => {
                let id = lock(&self.state).patience.take();
                if let Some(id) = id {
                    id.unschedule();
                }
                self.set(Reason::Lost, false);
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
            (state.told, state.heard, state.ended) = Default::default();
            let waits = [
                state.retry.take(),
                state.patience.take(),
                state.begins.take(),
                state.looks.take(),
            ];
            (waits, state.captions)
        };
        for id in waits.into_iter().flatten() {
            id.unschedule();
        }
        if let Ok(c) = &self.children {
            c.overlay.set_property("wait-text", captions.waits());
            c.text_queue.set_property_from_str("leaky", "no");
            // A retry that failed has left it apart.
            self.link_sound(c);
        }
    }

    /// Whether the message is of an element without which there are only no captions.
    fn is_of_captions(&self, message: &gst::Message) -> bool {
        let Ok(c) = &self.children else { return false };
        let rest = [&c.text_tee, &c.text_queue, &c.rollup];
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
                    masked(parent, gst::ProxyPad::chain_default(pad, parent, buffer))
                })
                .chain_list_function(|pad, parent, list| {
                    masked(parent, gst::ProxyPad::chain_list_default(pad, parent, list))
                })
                .build(),
            children: Children::new(),
            settings: Mutex::default(),
            state: Mutex::default(),
        }
    }
}

/// What the sound's source is answered.
fn masked(
    bin: Option<&gst::Object>,
    result: Result<gst::FlowSuccess, gst::FlowError>,
) -> Result<gst::FlowSuccess, gst::FlowError> {
    let bin = bin.and_then(|bin| bin.downcast_ref::<super::VllmCaptionOverlay>());
    let failed = bin.is_some_and(|bin| lock(&bin.imp().state).captions.is(Reason::Failed));
    match result {
        Err(gst::FlowError::Eos) => result,
        Err(_) if failed => Ok(gst::FlowSuccess::Ok),
        result => result,
    }
}

/// Who takes no more has no part in what the others get.
fn alone(
    result: Result<gst::FlowSuccess, gst::FlowError>,
) -> Result<gst::FlowSuccess, gst::FlowError> {
    match result {
        Err(gst::FlowError::NotLinked | gst::FlowError::Flushing | gst::FlowError::Eos) => {
            Ok(gst::FlowSuccess::Ok)
        }
        result => result,
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
        if pspec.name() == "latency" && value.get() == Ok(crate::asr::UNSYNCHRONISED) {
            gst::element_imp_warning!(
                self,
                gst::LibraryError::Settings,
                (
                    "Property latency: {} (not synchronised) is not for captions on a picture, which wait for their time. It stays as it was; set it to a number of ms.",
                    crate::asr::UNSYNCHRONISED
                )
            );
            return;
        }
        match (settings::child_of(pspec.name()), &self.children) {
            (Some(child), Ok(c)) => c.child(child).set_property_from_value(pspec.name(), value),
            (Some(_), Err(_)) => {}
            (None, _) => PROPERTIES.set(&mut lock(&self.settings), pspec, value),
        }
        match pspec.name() {
            // Who sets it knows what is needed.
            "latency" => {
                if let Ok(c) = &self.children {
                    c.asr.set_property("latency-mode", LatencyMode::Fixed);
                }
            }
            "passthrough" => {
                let passthrough = lock(&self.settings).passthrough;
                self.set(Reason::Passthrough, passthrough);
            }
            "font-desc" => self.arrange(),
            name @ ("columns" | "lines" | "reading-speed") => {
                if let Some(cues) = self.cues() {
                    cues.set_property_from_value(name, value);
                }
                self.arrange();
            }
            _ => {}
        }
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
        lock(&self.state).captions.set(Reason::NoSound, true);
        lock(&self.state).captions.begin();
        if let Ok(c) = &self.children
            && let Err(error) = self.assemble(c)
        {
            gst::error!(CAT, imp = self, "{error}");
        }
        let linked = |pad: &gst::GhostPad, is_linked: bool| {
            if let Some(bin) = pad.parent().and_downcast::<super::VllmCaptionOverlay>() {
                bin.imp().set(Reason::NoSound, !is_linked);
            }
        };
        self.audio_sink.connect_linked(move |pad, _| {
            linked(pad, true);
            if let Some(bin) = pad.parent().and_downcast::<super::VllmCaptionOverlay>() {
                bin.imp().begin();
            }
        });
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
                        .property("columns", c.rollup.property_value("columns"))
                        .property("lines", c.rollup.property_value("lines"))
                        .property("reading-speed", c.rollup.property_value("reading-speed"))
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
                lock(&self.state).starts = true;
                let result = self.parent_change_state(transition);
                lock(&self.state).starts = false;
                return result;
            }
            (_, gst::StateChange::PausedToReady) => {
                self.reset();
                let result = self.parent_change_state(transition);
                // What failed meanwhile is no matter any more.
                self.reset();
                return result;
            }
            _ => {}
        }
        self.parent_change_state(transition)
    }
}

impl BinImpl for VllmCaptionOverlay {
    fn handle_message(&self, message: gst::Message) {
        match message.view() {
            gst::MessageView::Error(error) if self.is_of_captions(&message) && self.goes_on() => {
                let (already, starts) = {
                    let state = lock(&self.state);
                    (state.captions.is(Reason::Failed), state.starts)
                };
                // What is wrong from the start is the user's to mend.
                if starts {
                    self.parent_handle_message(message);
                } else if !already {
                    let debug = error.debug();
                    let warning = gst::message::Warning::builder_from_error(error.error())
                        .src_if_some(message.src())
                        .debug_if_some(debug.as_deref())
                        .build();
                    self.failed();
                    self.parent_handle_message(warning);
                }
            }
            gst::MessageView::Latency(_) => {
                self.arrange();
                self.parent_handle_message(message);
            }
            // An application waits for progress before it plays; the picture does not.
            gst::MessageView::Progress(_) if self.is_of_captions(&message) && self.goes_on() => {}
            gst::MessageView::Element(_) => {
                if lock(&self.settings).post_messages || !self.is_of_captions(&message) {
                    self.parent_handle_message(message);
                }
            }
            _ => self.parent_handle_message(message),
        }
    }
}
