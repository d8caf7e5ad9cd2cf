// SPDX-License-Identifier: MPL-2.0

//! The element `vllmrealtimeasr`: all that knows GStreamer.
//!
//! Audio goes in (`audio/x-raw`, S16LE, 16 kHz, one channel); words come out, each as a text
//! buffer with the time at which it was spoken, and as a message on the bus. A vLLM server
//! recognises over its `/v1/realtime` WebSocket.
//!
//! # Example pipelines
//!
//! A file to subtitles:
//! ```text
//! gst-launch-1.0 filesrc location=talk.wav ! decodebin ! audioconvert ! audioresample \
//!   ! vllmrealtimeasr url=ws://localhost:8000/v1/realtime ! textrollup mode=pop-on ! srtenc \
//!   ! filesink location=talk.srt
//! ```
//! The microphone, words on the terminal (nothing is linked behind the element: `-m` shows the
//! messages):
//! ```text
//! gst-launch-1.0 -m autoaudiosrc ! audioconvert ! audioresample ! vllmrealtimeasr
//! ```
//! A camera with captions:
//! ```text
//! gst-launch-1.0 vllmcaptionoverlay name=c ! videoconvert ! autovideosink \
//!   autovideosrc ! c.video_sink  autoaudiosrc ! c.audio_sink
//! ```
//!
//! # Latency
//!
//! In a live pipeline the element adds the property `latency` to what it answers to a LATENCY
//! query, so that a word reaches the sinks before its time comes. A word is known once it was
//! spoken to its end, the model's delay has passed and the server has answered: about 1.5 s after
//! its beginning with Voxtral Realtime (480 ms delay), up to 7 s with a model that works in
//! segments of 5 s (Qwen3-ASR). The default of 3 s serves the first; set `latency=8000` for the
//! second. A word that comes too late is moved to where the output is, and a WARNING with the
//! details `vllmrealtimeasr/excessive-delay` tells how much would have been needed; property
//! `max-observed-delay` too. The messages on the bus are not delayed by `latency`.
//!
//! Words come later than the audio in a pipeline that is not live, too: where both meet again, in
//! a muxer, the audio's branch needs a queue that holds that much (`queue max-size-time=0
//! max-size-bytes=0 max-size-buffers=0`).
//!
//! With `latency-mode=auto` nobody has to know that: the latency begins with property `latency`, is
//! raised at once when the kind of server is seen (to 3 s; 8 s by segments, 4 s by arrival, 10 s where text
//! comes with the end of an utterance), and then
//! learns from the delays of the words: where more than one in a hundred is late it becomes a quarter more
//! than the 99th percentile, at most 15 s, and never shorter; at a pause, at most once a minute, announced
//! by a LATENCY message. What was learnt is kept until NULL. Delays that an outage or a server slower than speech made do not count.
//! `stats` tells the latency (`latency`), and the median and 95th percentile of the delays.
//!
//! `latency=4294967295` (-1, as a signed number) is GStreamer's convention for output that is not
//! synchronised: a word leaves when it is known, stamped with the running time of that moment; several
//! that are known at once leave joined; a GAP event comes each 50 ms; the segment begins at 0 whatever
//! that of the audio is; LATENCY is answered as live, with nothing of the element's own; PAUSED is
//! reached without preroll; no word is late. It counts from READY on. The times in the messages on the
//! bus stay those of the stream.
//!
//! `lateness` shifts the output segment instead: words are shown so much later than spoken, and
//! the pipeline is not delayed.
//!
//! # Messages on the bus
//!
//! With `post-messages=true` (the default) element messages with these structures. Times are
//! `GstClockTime`, in the stream's own time (that of the buffers' PTS) where nothing else is said.
//!
//! | structure | fields |
//! |---|---|
//! | `vllmrealtimeasr/word` | `text` string, `start-time`, `end-time`, `duration`, `running-time` and `stream-time` (of the start), `time-confidence` double 0 to 1, `confidence` double 0 to 1 (only where the server tells it), `space-before` boolean, `speaker` string (where an event on the sink pad named one) |
//! | `vllmrealtimeasr/correction` | `text` string, `start-time`, `end-time`, `duration`, `running-time`, `stream-time`, `speaker` string: a word that was told has punctuation behind it, which came late; the next word's buffer begins with it, or at the end of the stream it is one of its own |
//! | `vllmrealtimeasr/partial` | `text` string: heard but no whole word yet; replaces the partial before it |
//! | `vllmrealtimeasr/utterance` | `text`, `start-time`, `end-time`, `duration`, `running-time`, `stream-time`, `words` (GstValueArray of `vllmrealtimeasr/word`), and where known: `speaker` string, `language` string, `correction` string (the server's final text where it differs), `usage` structure (`prompt-tokens`, `completion-tokens`, `total-tokens`: uint64) |
//! | `vllmrealtimeasr/language` | `language-code` string (ISO 639), as the server recognised it |
//! | `vllmrealtimeasr/connection` | `state` string (`connecting`, `connected`, `lost`, `closed`), `server` string, `reason` string |
//! | `vllmrealtimeasr/dropped` | `start-time`, `end-time`, `duration`, `running-time`, `stream-time`, `reason` string: audio that was given up |
//! | `vllmrealtimeasr/clock` | `from`, `to`, `reason` strings: word times fell back to a weaker clock |
//!
//! Whatever `post-messages` says there are ERROR and WARNING messages (one WARNING for each outage,
//! one when audio begins to be given up), and Progress messages with the code `connect`, from the
//! beginning of an outage to the server's greeting.
//!
//! Property `messages` chooses kinds of them: `messages=word+connection`.
//!
//! # Actions
//!
//! The signal `commit` ends the utterance now: its words come as soon as the server has them. The
//! signal `clear` forgets the audio whose words are not known yet; what comes next is another
//! utterance. Neither has arguments.
//!
//! # What the server says
//!
//! The pad `unsynced_src` (`application/x-json`) has each event of the server as it came, without the
//! secrets that some servers repeat, in a buffer stamped with the running time of its arrival. It has a
//! thread of its own: where nobody takes its buffers, the words go on, and of more than 4096 events or
//! 16 MiB that wait the oldest are lost.
//!
//! # Events
//!
//! Downstream: `rstranscribe/final-transcript` after each utterance, a TAG with the language code
//! where it is known. Upstream: `rstranscribe/new-item` for each word.
//!
//! # As a sink
//!
//! With nothing linked to its source pad the element serves as a sink: it posts EOS when all
//! words are out, reaches PAUSED without waiting for data, and adds no latency to the pipeline. A
//! ghost pad counts as a link: a bin that is to be a sink (`audio-sink` of playbin) needs a
//! `fakesink` behind the element.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::realtime::ConnectionState;

mod bus;
mod cursor;
mod delay;
mod drift;
mod imp;
mod input;
mod latency;
mod lateness;
mod messages;
mod outbox;
mod output;
mod properties;
mod query;
mod resync;
mod sequencer;
mod settings;
mod sink_pad;
mod sink_role;
mod standstill;
mod state;
mod unsynced;

/// What stands before and behind the session, for `tests/simulation`.
#[doc(hidden)]
pub mod ends {
    pub use super::input::Input;
    pub use super::outbox::Item;
    pub use super::resync::Step;
    pub use super::sequencer::{Sequencer, When};
}

/// Which clock the word times stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstVllmRealtimeTiming")]
pub enum Timing {
    /// Found out from the server's answers, and checked all along.
    #[default]
    #[enum_value(name = "Auto: found out from the server", nick = "auto")]
    Auto,
    /// A delta for each 80 ms of audio (Voxtral Realtime).
    #[enum_value(name = "Frames: a delta for each 80 ms (Voxtral Realtime)", nick = "frames")]
    Frames,
    /// A burst of text for each 5 s of audio (Qwen3-ASR).
    #[enum_value(name = "Segments: text for each 5 s (Qwen3-ASR)", nick = "segments")]
    Segments,
    /// Nothing but the span of the utterance.
    #[enum_value(name = "Utterance: its span alone", nick = "utterance")]
    Utterance,
    /// Text comes while the audio does, by no clock.
    #[enum_value(name = "Arrival: text after it was spoken, by no clock", nick = "arrival")]
    Arrival,
}

/// Which of several servers is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstVllmRealtimeServerOrder")]
pub enum ServerOrder {
    /// The first one that property `url` names.
    #[default]
    #[enum_value(name = "In turn: the first that url names", nick = "in-turn")]
    InTurn,
    /// For each element the next one.
    #[enum_value(name = "Spread: another one for each element", nick = "spread")]
    Spread,
}

/// Where the latency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstVllmRealtimeLatencyMode")]
pub enum LatencyMode {
    /// As property `latency` says.
    #[default]
    #[enum_value(name = "Fixed: as property latency says", nick = "fixed")]
    Fixed,
    /// Property `latency` at first, then what the server turns out to need.
    #[enum_value(name = "Auto: what the server turns out to need", nick = "auto")]
    Auto,
}

/// Kinds of element messages.
#[glib::flags(name = "GstVllmRealtimeMessages")]
pub enum Messages {
    #[flags_value(name = "A word, with its times", nick = "word")]
    WORD = 1 << 0,
    #[flags_value(name = "Punctuation that a word got later", nick = "correction")]
    CORRECTION = 1 << 1,
    #[flags_value(name = "What is heard, and no whole word yet", nick = "partial")]
    PARTIAL = 1 << 2,
    #[flags_value(name = "An utterance with all its words", nick = "utterance")]
    UTTERANCE = 1 << 3,
    #[flags_value(name = "The language that is spoken", nick = "language")]
    LANGUAGE = 1 << 4,
    #[flags_value(name = "The connection", nick = "connection")]
    CONNECTION = 1 << 5,
    #[flags_value(name = "Audio that was given up", nick = "dropped")]
    DROPPED = 1 << 6,
    #[flags_value(name = "A weaker clock of the words", nick = "clock")]
    CLOCK = 1 << 7,
}

impl Default for Messages {
    fn default() -> Messages {
        Messages::all()
    }
}

glib::wrapper! {
    /// The element `vllmrealtimeasr`.
    pub struct VllmRealtimeAsr(ObjectSubclass<imp::VllmRealtimeAsr>)
        @extends gst::Element, gst::Object;
}

/// Hears how the connection is.
pub(crate) type ConnectionWatcher = Box<dyn Fn(ConnectionState) + Send + Sync>;

impl VllmRealtimeAsr {
    /// Has a bin hear of each change of the connection, on the transport's thread; once.
    pub(crate) fn watch_connection(&self, f: impl Fn(ConnectionState) + Send + Sync + 'static) {
        self.imp().set_watcher(Box::new(f));
    }
}

pub(crate) use settings::UNSYNCHRONISED;

/// Its properties, for a bin that has some of them too.
pub(crate) fn specs() -> Vec<glib::ParamSpec> {
    properties::table().specs().to_vec()
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    for kind in [
        Timing::static_type(),
        ServerOrder::static_type(),
        LatencyMode::static_type(),
        Messages::static_type(),
    ] {
        kind.mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    gst::Element::register(
        Some(plugin),
        "vllmrealtimeasr",
        gst::Rank::NONE,
        VllmRealtimeAsr::static_type(),
    )
}
