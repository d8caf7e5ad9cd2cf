// SPDX-License-Identifier: MPL-2.0

//! What a viewer sees: each frame as it comes to the sink.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use vllm_standin::TimedWord;

/// Brighter than this is a letter.
const LETTER: u8 = 150;

/// A frame.
pub struct Frame {
    pts: gst::ClockTime,
    came: Instant,
    /// By how much it came after its time and the pipeline's latency.
    late: Option<gst::ClockTime>,
    letters: usize,
    /// Letters of the frame before that are none any more.
    gone: usize,
    before: usize,
}

/// What was seen in a run.
#[derive(Default)]
pub struct Seen {
    pub frames: Vec<Frame>,
    last: Vec<bool>,
    /// Captions as they left `rollup`: time and text.
    captions: Vec<(gst::ClockTime, String)>,
}

#[derive(Clone)]
pub struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How the words were shown.
pub struct Words {
    pub missing: usize,
    /// Off their time, in ms.
    pub median: f64,
    pub most: f64,
}

pub fn watch(pipeline: &gst::Pipeline) -> Option<Watch> {
    let watch = Watch(Arc::default());
    let sink = pipeline.by_name("v")?;
    let (seen, element) = (watch.clone(), sink.downgrade());
    let latency: Arc<Mutex<Option<gst::ClockTime>>> = Arc::default();
    let set = latency.clone();
    sink.static_pad("sink")?.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(gst::EventView::Latency(event)) = info.event().map(|e| e.view()) {
            *set.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.latency());
        }
        gst::PadProbeReturn::Ok
    });
    sink.static_pad("sink")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let (Some(buffer), Some(element)) = (info.buffer(), element.upgrade()) else {
            return gst::PadProbeReturn::Ok;
        };
        let latency = *latency.lock().unwrap_or_else(PoisonError::into_inner);
        let now = element.current_running_time();
        let pts = buffer.pts().unwrap_or_default();
        // Before the pipeline has a latency it does not play.
        let late = latency.and_then(|latency| now?.checked_sub(pts + latency));
        let map = buffer.map_readable().map(|m| m.iter().map(|p| *p > LETTER).collect());
        let bright: Vec<bool> = map.unwrap_or_default();
        let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = seen.last.iter().zip(&bright).filter(|(a, b)| **a && !**b).count();
        let before = seen.last.iter().filter(|b| **b).count();
        let letters = bright.iter().filter(|b| **b).count();
        seen.frames.push(Frame { pts, came: Instant::now(), late, letters, gone, before });
        seen.last = bright;
        gst::PadProbeReturn::Ok
    });
    let rollup = pipeline.by_name("rollup")?;
    let seen = watch.clone();
    rollup.static_pad("src")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer()
            && let (Some(pts), Ok(map)) = (buffer.pts(), buffer.map_readable())
        {
            let text = String::from_utf8_lossy(&map).into_owned();
            let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.captions.last().is_none_or(|last| last.1 != text) {
                seen.captions.push((pts, text));
            }
        }
        gst::PadProbeReturn::Ok
    });
    Some(watch)
}

impl Seen {
    /// Frames that came too late, and by how much.
    pub fn late(&self) -> Vec<Duration> {
        self.frames.iter().filter_map(|f| f.late).filter(|l| !l.is_zero()).map(Into::into).collect()
    }

    /// Between two frames, in ms.
    pub fn longest_wait(&self) -> f64 {
        let waits = self.frames.windows(2).map(|w| w[1].came.duration_since(w[0].came));
        // The first ones come together, once the pipeline has its latency.
        waits.skip(200).max().unwrap_or_default().as_secs_f64() * 1000.0
    }

    /// Frames without a caption between two that are less than a second apart.
    pub fn blank(&self) -> usize {
        let shown: Vec<&Frame> = self.frames.iter().filter(|f| f.letters > 0).collect();
        let gaps = shown.windows(2).map(|w| (w[1].pts - w[0].pts).mseconds());
        gaps.filter(|ms| (50..1000).contains(ms)).map(|ms| ms as usize * 30 / 1000 - 1).sum()
    }

    /// Frames in which something that stood has moved, and not by scrolling: then most of it does.
    pub fn moved(&self) -> usize {
        self.frames.iter().filter(|f| f.gone > 0 && f.gone * 4 < f.before).count()
    }

    /// Against the words that were spoken.
    pub fn words(&self, spoken: &[TimedWord]) -> Words {
        let (mut missing, mut off, mut from) = (0, Vec::new(), 0);
        for word in spoken {
            let ends = |text: &str| text.split_whitespace().last() == Some(word.word.as_str());
            // Not far: words come again.
            let near = self.captions.iter().enumerate().skip(from).take(8);
            match near.into_iter().find(|(_, (_, text))| ends(text)) {
                Some((i, (pts, _))) => {
                    off.push((pts.seconds_f64() - word.start).abs() * 1000.0);
                    from = i + 1;
                }
                None => missing += 1,
            }
        }
        off.sort_by(f64::total_cmp);
        let median = off.get(off.len() / 2).copied().unwrap_or(f64::NAN);
        Words { missing, median, most: off.last().copied().unwrap_or(f64::NAN) }
    }
}
