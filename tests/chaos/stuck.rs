// SPDX-License-Identifier: MPL-2.0

//! A pipeline that waits for a server which does not do its part, and how long it takes to get it
//! out of there. All limits are an hour: what waited for one of them would not come back.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use gst::prelude::*;
use vllm_standin::{Cadence, Fault, Flavour, Script, Standin, What, When};

use crate::proxy::{Proxy, Trouble, Way, What as Trick};
use crate::support::{self, MS};

const HOUR_MS: u32 = 3_600_000;
const BACKLOG_MS: u32 = 2000;

/// What the server, or the network, does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Packets go nowhere (or are refused at once: then it waits before the next attempt).
    BlackHole,
    /// Nobody listens: it waits before the next attempt.
    Refused,
    /// The name is not known. (One whose look-up hangs needs a name server of our own; the
    /// look-up is on a thread that is left behind either way.)
    NoSuchName,
    /// TCP stands, and TLS goes no further.
    TlsStalls,
    /// The upgrade is asked for, and no answer comes.
    NoUpgrade,
    /// The WebSocket is open, and no session begins.
    NoGreeting,
    /// The connection goes dead in the middle of a generation.
    HalfOpen,
    /// The server reads nothing any more.
    NeverReads,
    /// The engine does nothing any more.
    EngineRests,
    /// The seat is another's.
    NoSeat,
}

pub const KINDS: [Kind; 10] = [
    Kind::BlackHole,
    Kind::Refused,
    Kind::NoSuchName,
    Kind::TlsStalls,
    Kind::NoUpgrade,
    Kind::NoGreeting,
    Kind::HalfOpen,
    Kind::NeverReads,
    Kind::EngineRests,
    Kind::NoSeat,
];

/// What is to end at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// The streaming thread waits for room: FLUSH_START and FLUSH_STOP.
    Flush,
    /// The same, and the pipeline goes to NULL.
    Null,
    /// EOS is under way, and the pipeline goes to NULL.
    NullDuringEos,
}

pub const WAYS: [Out; 3] = [Out::Flush, Out::Null, Out::NullDuringEos];

/// Whatever has to stay while the pipeline runs.
#[derive(Default)]
struct Scene {
    server: Option<Standin>,
    proxy: Option<Proxy>,
    other: Option<gst::Pipeline>,
}

fn scene(kind: Kind) -> (String, Scene) {
    let server = || {
        let script = Script::text("one two three four five six seven eight nine ten");
        Standin::builder().script(script).cadence(Cadence::Frames)
    };
    let mut scene = Scene::default();
    let url = match kind {
        Kind::BlackHole => "ws://192.0.2.1:9/v1/realtime".to_owned(),
        Kind::Refused => {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            format!("ws://{port}/v1/realtime")
        }
        Kind::NoSuchName => "ws://no-such-host.invalid:9/v1/realtime".to_owned(),
        Kind::TlsStalls => {
            let server = server().flavour(Flavour::SilentBeforeUpgrade).start().unwrap();
            let url = format!("wss://127.0.0.1:{}/v1/realtime", server.port());
            scene.server = Some(server);
            url
        }
        Kind::NoUpgrade | Kind::NoGreeting | Kind::NeverReads | Kind::EngineRests => {
            let builder = match kind {
                Kind::NoUpgrade => server().flavour(Flavour::SilentBeforeUpgrade),
                Kind::NoGreeting => server().flavour(Flavour::SilentAfterUpgrade),
                Kind::NeverReads => {
                    server().fault(Fault::new(When::Start, What::Stall { ms: 0 }).times(0))
                }
                _ => server().fault(Fault::new(When::Deltas(5), What::Pause { ms: 0 }).times(0)),
            };
            let server = builder.start().unwrap();
            let url = server.url();
            scene.server = Some(server);
            url
        }
        Kind::HalfOpen => {
            let server = server().start().unwrap();
            let troubles = (0..8).map(|connection| Trouble {
                connection,
                way: Way::Down,
                at: 700,
                what: Trick::HalfOpen,
            });
            let proxy = Proxy::new(server.port(), troubles.collect());
            let url = proxy.url();
            scene.server = Some(server);
            scene.proxy = Some(proxy);
            url
        }
        Kind::NoSeat => {
            let server = server().seats(1).start().unwrap();
            let url = server.url();
            let (other, source, _) = pipeline(&url, 600_000);
            feed(&source, 20);
            assert!(server.wait(|log| log.deltas() > 0, support::DEADLINE));
            scene.server = Some(server);
            scene.other = Some(other);
            url
        }
    };
    (url, scene)
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(other) = &self.other {
            other.set_state(gst::State::Null).unwrap();
        }
    }
}

fn pipeline(url: &str, backlog_ms: u32) -> (gst::Pipeline, gst::Element, gst::Element) {
    let element = support::element(url);
    element.set_property("connect-timeout", 600_000_u32);
    element.set_property("response-timeout", HOUR_MS);
    element.set_property("reconnect", -1);
    element.set_property("max-backlog", backlog_ms);
    let source = gst::ElementFactory::make("appsrc")
        .property("caps", support::CAPS.parse::<gst::Caps>().unwrap())
        .property("format", gst::Format::Time)
        .build()
        .unwrap();
    let sink = gst::ElementFactory::make("fakesink").property("async", false).build().unwrap();
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&source, &element, &sink]).unwrap();
    gst::Element::link_many([&source, &element, &sink]).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    (pipeline, source, element)
}

fn feed(source: &gst::Element, tenths: u64) {
    for n in 0..tenths {
        let buffer = support::audio(n * 100 * MS, 100);
        let _ = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
    }
}

/// Waits until it is so: there is nothing that would tell.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + support::DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Gets a pipeline stuck in this way, and measures how long it takes to end it.
pub fn time_to_end(kind: Kind, way: Out) -> Duration {
    support::init();
    let (url, scene) = scene(kind);
    let (pipeline, source, element) = pipeline(&url, BACKLOG_MS);
    let sink = element.static_pad("sink").unwrap();
    if way == Out::NullDuringEos {
        feed(&source, 10);
        let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
        until("EOS in the element", || sink.pad_flags().contains(gst::PadFlags::EOS));
    } else {
        feed(&source, 600);
        until("no room", || {
            let stats = element.property::<gst::Structure>("stats");
            let waiting: u64 = stats.get("samples-unconfirmed").unwrap();
            waiting + 3200 >= u64::from(BACKLOG_MS) * 16
        });
    }
    let begin = Instant::now();
    match way {
        Out::Flush => {
            assert!(sink.send_event(gst::event::FlushStart::new()));
            // It takes the lock that the streaming thread holds while it waits.
            assert!(sink.send_event(gst::event::FlushStop::new(true)));
        }
        Out::Null | Out::NullDuringEos => {
            pipeline.set_state(gst::State::Null).unwrap();
        }
    }
    let time = begin.elapsed();
    pipeline.set_state(gst::State::Null).unwrap();
    drop(scene);
    time
}
