// SPDX-License-Identifier: MPL-2.0

//! Memory of this process while audio runs through the element for long. The server runs in a
//! process of its own, so that what it keeps is not counted.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use vllm_standin::{Cadence, Fault, Flavour, Standin, What, When};

use crate::speech::Speech;
use crate::support::{self, MS};

/// Which server, for the child process.
const SERVER: &str = "CHAOS_MEMORY_SERVER";
const RATE: usize = 16_000;
const MIB: f64 = 1_048_576.0;
/// Speech that is said over and over, with a pause after it.
const SPEECH: usize = 60;
const PAUSE: usize = 2 * RATE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Speech as fast as a server takes it that works at 30 times real time.
    Frames,
    Segments,
    /// A live source at 30 times real time; the server accepts and does not greet.
    NeverGreets,
    /// The same; the server stops to answer in the middle of each generation.
    NeverAnswers,
}

pub const CASES: [Case; 4] = [Case::Frames, Case::Segments, Case::NeverGreets, Case::NeverAnswers];

impl Case {
    fn live(self) -> bool {
        matches!(self, Case::NeverGreets | Case::NeverAnswers)
    }

    fn serve(self) -> Standin {
        let builder = Standin::builder().pace(30.0);
        match self {
            Case::Frames | Case::Segments => builder
                .aligned(Speech::new(SPEECH).voice())
                .cadence(if self == Case::Frames { Cadence::Frames } else { Cadence::Segments }),
            Case::NeverGreets => builder.flavour(Flavour::SilentAfterUpgrade),
            Case::NeverAnswers => {
                builder.fault(Fault::new(When::Deltas(5), What::Pause { ms: 0 }).times(0))
            }
        }
        .start()
        .unwrap()
    }
}

/// Resident memory in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// When a minute of audio was in.
    pub first_minute: f64,
    /// Most that it was after that.
    pub most: f64,
    #[allow(dead_code)] // for the bench
    pub end: f64,
    /// Seconds of audio that had words, were dropped, and were kept at the end.
    #[allow(dead_code)]
    pub confirmed: u64,
    #[allow(dead_code)]
    pub dropped: u64,
    pub kept: u64,
}

fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / MIB
}

/// In the child: serves until the parent is gone. `false`: this is not the child.
pub fn serve_as_child() -> bool {
    let Ok(name) = std::env::var(SERVER) else { return false };
    let case = CASES.into_iter().find(|c| format!("{c:?}") == name).unwrap();
    let server = case.serve();
    println!("\nURL {}", server.url());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    true
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(case: Case) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory_server", "--ignored", "--nocapture"])
            .env(SERVER, format!("{case:?}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.into_iter().find_map(|l| l.strip_prefix("URL ").map(str::to_owned));
        Server { child, url: url.expect("the server's address") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs so many minutes of audio through the element.
pub fn measure(case: Case, minutes: u64) -> Memory {
    support::init();
    let server = Server::start(case);
    let element = gst::ElementFactory::make("vllmrealtimeasr")
        .property("url", &server.url)
        .property("reconnect", -1)
        .build()
        .unwrap();
    let source = gst::ElementFactory::make("appsrc")
        .property("caps", support::CAPS.parse::<gst::Caps>().unwrap())
        .property("format", gst::Format::Time)
        .property("is-live", case.live())
        .property("block", true)
        .property("max-bytes", 32_000_u64)
        .build()
        .unwrap();
    let sink = gst::ElementFactory::make("fakesink")
        .property("async", false)
        .property("sync", false)
        .build()
        .unwrap();
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&source, &element, &sink]).unwrap();
    gst::Element::link_many([&source, &element, &sink]).unwrap();
    let bus = pipeline.bus().unwrap();
    // Nobody reads the bus: its messages must not be counted either.
    bus.set_sync_handler(|_, message| {
        if let gst::MessageView::Error(e) = message.view() {
            panic!("{} {:?}", e.error(), e.debug());
        }
        gst::BusSyncReply::Drop
    });
    let ended = std::sync::Arc::new(AtomicU64::new(0));
    let end = ended.clone();
    element.static_pad("src").unwrap().add_probe(
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |_, info| {
            if info.event().is_some_and(|e| e.type_() == gst::EventType::Eos) {
                end.store(1, Ordering::SeqCst);
            }
            gst::PadProbeReturn::Ok
        },
    );
    pipeline.set_state(gst::State::Playing).unwrap();

    let speech = Speech::new(SPEECH);
    let (mut first_minute, mut most) = (None, 0.0_f64);
    let begin = Instant::now();
    let period = speech.samples.len() + PAUSE;
    for n in 0..minutes * 600 {
        let bytes: Vec<u8> = (0..1600)
            .map(|i| (n as usize * 1600 + i) % period)
            .flat_map(|i| speech.samples.get(i).copied().unwrap_or_default().to_le_bytes())
            .collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.get_mut().unwrap().set_pts(n * 100 * MS);
        assert_eq!(
            source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]),
            gst::FlowReturn::Ok
        );
        drop(buffer);
        if case.live() {
            // The pace of a source at 30 times real time: the clock is all that is waited for, no
            // other thread, and nothing is asserted about when anything happens.
            let due = Duration::from_millis(n * 100) / 30;
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
        }
        if n >= 600 && n % 20 == 0 {
            let now = resident();
            first_minute.get_or_insert(now);
            most = most.max(now);
        }
    }
    if !case.live() {
        let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
        let limit = Instant::now() + Duration::from_secs(120);
        while ended.load(Ordering::SeqCst) == 0 {
            assert!(
                Instant::now() < limit,
                "no EOS: {:?}",
                element.property::<gst::Structure>("stats")
            );
            std::thread::park_timeout(Duration::from_millis(20));
            most = most.max(resident());
        }
    }
    let stats = element.property::<gst::Structure>("stats");
    let of = |name: &str| stats.get::<u64>(name).unwrap() / RATE as u64;
    let memory = Memory {
        first_minute: first_minute.unwrap(),
        most,
        end: resident(),
        confirmed: of("samples-confirmed"),
        dropped: of("samples-dropped"),
        kept: of("samples-unconfirmed"),
    };
    pipeline.set_state(gst::State::Null).unwrap();
    memory
}
