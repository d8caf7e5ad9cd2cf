// SPDX-License-Identifier: MPL-2.0

//! The sink pad: real speech in buffers of any size, with any times and flags, between GAPs,
//! SEGMENTs, flushes, caps and EOS; the words must be those of the audio.
//!
//! The readings are laid out once, from the first sample on, and each of their words has a name of
//! its own. What was pushed between two breaks is a piece: a word that lies in one is heard once, a
//! word of which nothing was pushed is not heard, a word at a break may be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstvllmrealtime::SAMPLE_RATE;
use gstvllmrealtime::asr::Timing;
use vllm_standin::{Aligned, Cadence, Standin, TimedWord, read_wav};

use super::bytes::Bytes;

const FOLDER: &str = "/usr/share/pocketsphinx/test/data/librivox";
const CAPS: &str = "audio/x-raw, format=S16LE, rate=16000, channels=1, layout=interleaved";
/// What takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// Goes before the last EOS.
const END: &str = "fuzz/end";
/// Runs after which the server, which keeps a log, is another one.
const RUNS: u32 = 100;
const MS: u64 = 1_000_000;
const BYTE_NS: u64 = 31_250;

static SPEECH: LazyLock<(Vec<i16>, Vec<TimedWord>)> = LazyLock::new(|| {
    let (mut all, mut named) = (Vec::new(), Vec::new());
    for (name, words) in [
        ("0870", include_str!("../../data/real/0870.words.json")),
        ("0880", include_str!("../../data/real/0880.words.json")),
        ("0890", include_str!("../../data/real/0890.words.json")),
    ] {
        let file = format!("{FOLDER}/sense_and_sensibility_01_austen_64kb-{name}.wav");
        let samples = read_wav(file.as_ref()).expect("pocketsphinx-testdata: scripts/setup.sh");
        let words: serde_json::Value = serde_json::from_str(words).expect("words");
        let words = words.get("words").unwrap_or(&words).as_array().expect("a list").clone();
        let at = all.len() as f64 / SAMPLE_RATE as f64;
        for w in &words {
            let time = |key: &str| at + w[key].as_f64().expect("a time");
            named.push(TimedWord {
                word: format!("w{}", named.len()),
                start: time("start"),
                end: time("end"),
            });
        }
        all.extend(samples);
    }
    (all, named)
});

static BYTES: LazyLock<Vec<u8>> =
    LazyLock::new(|| SPEECH.0.iter().flat_map(|s| s.to_le_bytes()).collect());

/// With `FUZZ_TRACE` in the environment all that goes in is printed.
static TRACE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_TRACE").is_some());

/// A server of each kind, and how often it was used.
static SERVERS: Mutex<[Option<(Standin, u32)>; 4]> = Mutex::new([const { None }; 4]);

fn server(kind: usize) -> String {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let one = &mut servers[kind];
    if one.as_ref().is_none_or(|(_, runs)| *runs >= RUNS) {
        let (samples, words) = &*SPEECH;
        let cadence =
            [Cadence::Frames, Cadence::Segments, Cadence::Utterance, Cadence::Arrival][kind];
        let voice = Aligned::in_recordings([(samples.as_slice(), words.as_slice())]);
        let server = Standin::builder().aligned(voice).cadence(cadence).start();
        *one = Some((server.expect("a server"), 0));
    }
    let (server, runs) = one.as_mut().expect("a server");
    *runs += 1;
    server.url()
}

/// Audio that was pushed without a break.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Bytes of the readings.
    from: usize,
    to: usize,
    /// PTS of the first (ns).
    pts: u64,
    /// Whether its times are those of its samples.
    steady: bool,
    /// Whether all of it is heard.
    kept: bool,
}

struct Run {
    harness: gst_check::Harness,
    bus: gst::Bus,
    /// The last EOS has left.
    eos: Receiver<()>,
    vad: bool,
    frames: bool,
    /// Byte of the readings that comes next, and its PTS (ns).
    at: usize,
    pts: u64,
    /// Where the segment begins.
    start: u64,
    /// The one that goes on.
    piece: Option<Piece>,
    pieces: Vec<Piece>,
    negotiated: bool,
    /// Neither a flush nor another segment so far: all times are on one line.
    one_line: bool,
}

pub fn run(data: &[u8]) {
    static INIT: std::sync::Once = std::sync::Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        gstvllmrealtime::plugin_register_static().expect("the plugin");
    });
    let mut bytes = Bytes::new(data);
    let mut run = Run::new(&mut bytes);
    let mut goes_on = true;
    while goes_on && !bytes.is_empty() {
        goes_on = run.step(&mut bytes);
    }
    if goes_on {
        run.finish();
    }
}

impl Drop for Run {
    /// Messages that nobody takes hold the element, and it holds the bus.
    fn drop(&mut self) {
        self.bus.set_flushing(true);
        if let Some(element) = self.harness.element() {
            element.set_bus(None);
        }
    }
}

impl Run {
    fn new(bytes: &mut Bytes) -> Run {
        let kind = usize::from(bytes.u8() % 4);
        let known = [Timing::Frames, Timing::Segments, Timing::Utterance, Timing::Arrival][kind];
        let vad = bytes.pick(&[true, false]);
        let element = gst::ElementFactory::make("vllmrealtimeasr")
            .property("url", server(kind))
            .property("vad", vad)
            .property("timing", bytes.pick(&[Timing::Auto, known]))
            .property("silence-commit", bytes.pick(&[800_u32, 200, 3000]))
            .property("chunk-duration", bytes.pick(&[80_u32, 10, 500]))
            .property("max-utterance", bytes.pick(&[0_u32, 0, 4000]))
            .build()
            .expect("the element");
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let (tell, eos) = channel();
        let ends = AtomicBool::new(false);
        let probe = gst::PadProbeType::EVENT_DOWNSTREAM;
        element.static_pad("src").expect("a pad").add_probe(probe, move |_, info| {
            let Some(event) = info.event() else { return gst::PadProbeReturn::Ok };
            if event.structure().is_some_and(|s| s.has_name(END)) {
                ends.store(true, Ordering::SeqCst);
            }
            if event.type_() == gst::EventType::Eos && ends.load(Ordering::SeqCst) {
                let _ = tell.send(());
            }
            gst::PadProbeReturn::Ok
        });
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_sink_caps_str("text/x-raw, format=utf8");
        harness.set_live(bytes.pick(&[false, true]));
        harness.play();
        harness.set_src_caps_str(CAPS);
        Run {
            harness,
            bus,
            eos,
            vad,
            frames: kind == 0,
            at: 0,
            pts: 0,
            start: 0,
            piece: None,
            pieces: Vec::new(),
            negotiated: true,
            one_line: true,
        }
    }

    /// `false`: the run is over.
    fn step(&mut self, bytes: &mut Bytes) -> bool {
        match bytes.u8() % 24 {
            0..=7 => {
                // As sources do, and as they do not.
                let size = match bytes.u8() {
                    n @ 0..=99 => usize::from(n) * 320,
                    n @ 100..=199 => usize::from(n - 99) * 641,
                    n @ 200..=249 => usize::from(n - 200),
                    n => usize::from(n - 249) * 40_001,
                };
                let off = bytes.pick(&[0, 0, 0, 0, 0, 20, -20, 39, 200, -200]);
                self.buffer(size, Some(off), gst::BufferFlags::empty());
            }
            8 => self.buffer(usize::from(bytes.u16()) / 2, None, gst::BufferFlags::empty()),
            9 => {
                let flags = bytes.pick(&[
                    gst::BufferFlags::DISCONT,
                    gst::BufferFlags::RESYNC,
                    gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC,
                    gst::BufferFlags::CORRUPTED,
                    gst::BufferFlags::GAP,
                    gst::BufferFlags::DROPPABLE,
                ]);
                self.buffer(usize::from(bytes.u16()), Some(0), flags);
            }
            10 => {
                // Time breaks off, there or back.
                let by = bytes.pick(&[600_i64, 3000, 60_000, 100, -600, -3000, -60_000]);
                let flag = bytes.pick(&[gst::BufferFlags::DISCONT, gst::BufferFlags::empty()]);
                self.pts = self.pts.saturating_add_signed(by * MS as i64).max(self.start);
                self.end_piece();
                self.one_line &= by > 0 && flag == gst::BufferFlags::DISCONT;
                self.buffer(usize::from(bytes.u16()), Some(0), flag);
            }
            11 | 12 => {
                let ms = u64::from(bytes.pick(&[0_u16, 1, 20, 100, 500, 900, 5000]));
                self.end_piece();
                self.event(
                    gst::event::Gap::builder(gst::ClockTime::from_nseconds(self.pts))
                        .duration(gst::ClockTime::from_mseconds(ms))
                        .build(),
                );
                self.pts += ms * MS;
            }
            13 => {
                // A GAP where there is none, or without an end.
                let pts = gst::ClockTime::from_mseconds(bytes.u16().into());
                self.end_piece();
                self.one_line = false;
                self.event(gst::event::Gap::builder(pts).build());
            }
            14 | 15 => {
                let start = u64::from(bytes.u16()) * 100 * MS;
                let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
                segment.set_start(gst::ClockTime::from_nseconds(start));
                segment.set_base(gst::ClockTime::from_nseconds(bytes.pick(&[0, start])));
                segment.set_time(gst::ClockTime::from_nseconds(bytes.pick(&[0, start])));
                segment.set_rate(bytes.pick(&[1.0, 1.0, 1.0, 0.5, 2.0]));
                self.end_piece();
                self.drop_half();
                self.one_line = false;
                (self.pts, self.start) = (start, start);
                self.event(gst::event::Segment::new(&segment));
                if bytes.u8().is_multiple_of(4) {
                    // Audio before it begins is clipped, at least in part.
                    self.pts = start.saturating_sub(300 * MS);
                    self.buffer(usize::from(bytes.u16()), Some(0), gst::BufferFlags::empty());
                    if let Some(piece) = &mut self.piece {
                        piece.kept = false;
                    }
                    self.end_piece();
                    self.pts = self.pts.max(start);
                }
            }
            16 => {
                self.event(gst::event::FlushStart::new());
                let lost = bytes.u8().is_multiple_of(2);
                if lost {
                    let buffer = gst::Buffer::from_slice(vec![0_u8; 99]);
                    assert_eq!(self.harness.push(buffer), Err(gst::FlowError::Flushing));
                }
                self.flush_stop();
            }
            // Alone.
            17 => self.flush_stop(),
            18 => {
                let odd = bytes.pick(&["S16BE", "F32LE", "S16LE"]);
                self.negotiated = odd == "S16LE";
                let caps = gst::Caps::builder("audio/x-raw")
                    .field("format", odd)
                    .field("rate", 16_000)
                    .field("channels", 1)
                    .field("layout", "interleaved");
                self.event(gst::event::Caps::new(&caps.build()));
                self.end_piece();
            }
            19 => self.caps(),
            20 => {
                // Another stream behind this one.
                self.event(gst::event::Eos::new());
                let late = gst::Buffer::from_slice(vec![0_u8; 99]);
                assert!(self.harness.push(late).is_err(), "a buffer behind EOS");
                self.event(gst::event::StreamStart::new("another"));
                self.caps();
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                self.event(gst::event::Segment::new(&segment));
                self.end_piece();
                self.drop_half();
                self.one_line = false;
                (self.pts, self.start) = (0, 0);
            }
            21 => {
                let kind = bytes.pick(&["rstranscribe/speaker-change", "GstForceKeyUnit", "x"]);
                let structure =
                    gst::Structure::builder(kind).field("speaker", bytes.pick(&["a", "b"])).build();
                self.event(gst::event::CustomDownstream::new(structure));
                self.end_piece();
            }
            22 => {
                let mut query = gst::query::Latency::new();
                self.harness.query_latency();
                let _ = self.harness.element().expect("it").query(&mut query);
                let _: gst::Structure = self.harness.element().expect("it").property("stats");
            }
            // Not for this element: an error, and no more.
            _ => {
                let which = bytes.u8();
                match which {
                    100..=130 => self.act("commit", true),
                    131..=140 => self.act("clear", false),
                    _ => {}
                }
                // With caps that do not fit it would not get there.
                if which > 8 || !self.negotiated {
                    return true;
                }
                let bad = bytes.pick(&[true, false]);
                if bad {
                    let segment = gst::FormattedSegment::<gst::format::Bytes>::new();
                    self.event(gst::event::Segment::new(&segment));
                } else {
                    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
                    segment.set_rate(-1.0);
                    self.event(gst::event::Segment::new(&segment));
                }
                let limit = gst::ClockTime::try_from(LIMIT).expect("a time");
                let error = self.bus.timed_pop_filtered(limit, &[gst::MessageType::Error]);
                assert!(error.is_some(), "an ERROR for a segment that cannot be");
                return false;
            }
        }
        true
    }

    /// An action signal. `keeps`: what came before it is still heard.
    fn act(&mut self, signal: &str, keeps: bool) {
        if *TRACE {
            eprintln!("{signal}");
        }
        self.harness.element().expect("it").emit_by_name::<()>(signal, &[]);
        self.end_piece();
        for piece in &mut self.pieces {
            piece.kept &= keeps;
        }
    }

    fn caps(&mut self) {
        self.negotiated = true;
        self.event(gst::event::Caps::new(&CAPS.parse().expect("caps")));
    }

    fn event(&mut self, event: gst::Event) {
        if *TRACE {
            eprintln!("{event:?}");
        }
        let _ = self.harness.push_event(event);
    }

    /// The next bytes of the readings, `off` ms from where they belong in time.
    fn buffer(&mut self, size: usize, off: Option<i64>, flags: gst::BufferFlags) {
        let broken = flags.intersects(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        // With caps that do not fit it does not get there, nor do its flags.
        if broken && self.negotiated {
            self.drop_half();
            self.end_piece();
        }
        let data: Vec<u8> = BYTES[self.at..].iter().take(size).copied().collect();
        let (from, to) = (self.at, self.at + data.len());
        let mut buffer = gst::Buffer::from_slice(data);
        let b = buffer.get_mut().expect("ours alone");
        // What lies before the segment would be clipped.
        let off = off.map(|ms| self.pts.saturating_add_signed(ms * MS as i64));
        let pts = off.map(|pts| if self.pts < self.start { pts } else { pts.max(self.start) });
        b.set_pts(pts.map(gst::ClockTime::from_nseconds));
        b.set_flags(flags);
        if *TRACE {
            eprintln!("bytes {from}..{to}: {buffer:?}");
        }
        let flow = self.harness.push(buffer);
        if !self.negotiated {
            assert_eq!(flow, Err(gst::FlowError::NotNegotiated), "caps that do not fit");
            return;
        }
        flow.expect("a flow");
        let silent = flags.contains(gst::BufferFlags::GAP);
        if silent {
            self.end_piece();
        }
        let steady = off.is_none_or(|pts| pts == self.pts);
        let pts = self.pts;
        match &mut self.piece {
            Some(piece) => {
                piece.to = to;
                piece.steady &= steady;
            }
            None => self.piece = Some(Piece { from, to, pts, steady, kept: !silent }),
        }
        if silent {
            self.end_piece();
        }
        self.pts += (to - from) as u64 * BYTE_NS;
        self.at = to;
    }

    fn end_piece(&mut self) {
        self.pieces.extend(self.piece.take());
    }

    /// Half a sample does not outlive a break: its other half is left out.
    fn drop_half(&mut self) {
        self.at = (self.at + self.at % 2).min(BYTES.len());
    }

    fn flush_stop(&mut self) {
        self.event(gst::event::FlushStop::new(true));
        self.end_piece();
        // What had no words yet will have none.
        self.pieces.iter_mut().for_each(|p| p.kept = false);
        self.drop_half();
        self.one_line = false;
        (self.pts, self.start) = (0, 0);
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.event(gst::event::Segment::new(&segment));
    }

    /// All must come to its end, and the words be those of the audio.
    fn finish(&mut self) {
        if !self.negotiated {
            self.caps();
        }
        self.event(gst::event::CustomDownstream::new(gst::Structure::new_empty(END)));
        self.event(gst::event::Eos::new());
        self.end_piece();
        self.eos.recv_timeout(LIMIT).expect("EOS: it hangs");
        let mut heard = Vec::new();
        while let Some(message) = self.bus.pop() {
            if let gst::MessageView::Error(e) = message.view() {
                panic!("{e:?}");
            }
            if let Some(s) = message.structure().filter(|s| s.has_name("vllmrealtimeasr/word")) {
                let start = s.get::<gst::ClockTime>("start-time").expect("a time");
                heard.push((s.get::<String>("text").expect("text"), start.nseconds()));
            }
        }
        if *TRACE {
            eprintln!("{:?}\n{heard:?}", self.pieces);
        }
        self.check(&heard);
    }

    fn check(&self, heard: &[(String, u64)]) {
        let (_, words) = &*SPEECH;
        let index = |name: &str| {
            let n = name.strip_prefix('w').and_then(|n| n.parse::<usize>().ok());
            n.filter(|n| *n < words.len()).unwrap_or_else(|| panic!("nobody said {name}"))
        };
        let order: Vec<usize> = heard.iter().map(|(name, _)| index(name)).collect();
        assert!(order.is_sorted(), "out of order: {order:?}");
        let byte = |seconds: f64| (seconds * 2.0 * SAMPLE_RATE as f64) as i64;
        for (n, word) in words.iter().enumerate() {
            let times = order.iter().filter(|w| **w == n).count();
            let (begin, end) = (byte(word.start), byte(word.end));
            let pushed = |p: &&Piece| begin < p.to as i64 && end > p.from as i64;
            assert!(times == 0 || self.pieces.iter().any(|p| pushed(&p)), "{n} was not said");
            assert!(times <= 2, "{n} came {times} times");
            // A voice is known for one some time after it begins.
            let (before, behind) = if self.vad { (0.6, 0.3) } else { (0.02, 0.02) };
            let whole = self.pieces.iter().find(|p| {
                let (from, to) = (p.from as i64, p.to as i64);
                p.kept && begin - byte(before) >= from && end + byte(behind) <= to
            });
            let Some(piece) = whole else { continue };
            assert_eq!(times, 1, "{n}, which lies in {piece:?}");
            let steady = self.one_line && self.pieces.iter().all(|p| p.steady);
            let at = heard.iter().zip(&order).find(|(_, w)| **w == n).map_or(0, |(h, _)| h.1);
            if self.frames && steady {
                let spoken = piece.pts as i64 + (begin - piece.from as i64) * BYTE_NS as i64;
                let off = (at as i64 - spoken) / MS as i64;
                assert!(off.abs() <= 600, "{n} is {off} ms off");
            }
        }
    }
}
