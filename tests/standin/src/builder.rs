// SPDX-License-Identifier: MPL-2.0

//! All that can be set.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::cadence::segments::Edges;
use crate::voice::RATE;
use crate::{Aligned, Cadence, Fault, Script, Standin, Tls, Voice};

/// What kind of server this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    #[default]
    Vllm,
    /// OpenAI's Realtime API, or one of its like: another protocol on the same path.
    OpenAi,
    /// Upgrades and never says a word; answers pings.
    SilentAfterUpgrade,
    /// Takes the connection and never answers (also a TLS handshake that stalls).
    SilentBeforeUpgrade,
    /// Listens and never takes a connection.
    NeverAccepts,
}

/// Settings of a server: [`Builder`] describes them.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub port: u16,
    pub voice: Voice,
    pub cadence: Cadence,
    pub model: String,
    pub max_model_len: u64,
    pub seats: usize,
    pub api_key: Option<String>,
    pub refuse: Option<u16>,
    pub redirect_to: Option<String>,
    pub models_status: Option<u16>,
    pub flavour: Flavour,
    pub tls: Option<Tls>,
    pub pace: f64,
    pub tail: Duration,
    pub segment_time: Duration,
    pub clear_time: Duration,
    pub death_time: Duration,
    pub ping_interval: Option<Duration>,
    pub ping_timeout: Duration,
    pub faults: Vec<Fault>,
    pub keep_audio: bool,
    pub max_queue: u64,
    pub delay: u64,
    pub subword: usize,
    pub jitter: bool,
    pub edges: Edges,
    pub language: String,
    pub merge: bool,
    pub stalls: bool,
    pub leak: bool,
    pub utterance_deltas: usize,
    pub timestamps: bool,
    pub logprobs: bool,
    pub refuses: Option<String>,
    pub binary: bool,
    pub seed: u64,
}

/// Sets up a [`Standin`]. What is not set is as on a vLLM 0.32 server that is fast.
#[derive(Debug, Clone)]
pub struct Builder {
    config: Config,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            config: Config {
                port: 0,
                voice: Voice::Tiny,
                cadence: Cadence::Frames,
                model: "standin".into(),
                max_model_len: 0,
                seats: 0,
                api_key: None,
                refuse: None,
                redirect_to: None,
                models_status: None,
                flavour: Flavour::Vllm,
                tls: None,
                pace: 0.0,
                tail: Duration::from_millis(10),
                segment_time: Duration::from_millis(10),
                clear_time: Duration::ZERO,
                death_time: Duration::from_millis(500),
                ping_interval: Some(Duration::from_secs(20)),
                ping_timeout: Duration::from_secs(20),
                faults: Vec::new(),
                keep_audio: false,
                max_queue: 1200 * RATE,
                delay: 6,
                subword: 4,
                jitter: false,
                edges: Edges::Whole,
                language: "English".into(),
                merge: true,
                stalls: false,
                leak: false,
                utterance_deltas: 2,
                timestamps: false,
                logprobs: false,
                refuses: None,
                binary: false,
                seed: 0,
            },
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $field:ident = $value:expr;)*) => {
        $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self {
            self.config.$field = $value;
            self
        })*
    };
}

impl Builder {
    setters! {
        /// Port on 127.0.0.1; 0, the default: any.
        port: u16 => port = port;
        /// Who speaks. Default [`Voice::Tiny`].
        voice: Voice => voice = voice;
        /// The rhythm. Default [`Cadence::Frames`].
        cadence: Cadence => cadence = cadence;
        /// Name of the model that is served. Default `standin`; one that ends in `_eos` makes the
        /// tiny voice say an end token.
        model: impl Into<String> => model = model.into();
        /// Context length in tokens; 0, the default: without end. Frames: `done` comes unasked
        /// for. Segments: the engine dies.
        max_model_len: u64 => max_model_len = max_model_len;
        /// `max_num_seqs`: generations at a time; the others wait. 0, the default: any number.
        seats: usize => seats = seats;
        /// `Authorization: Bearer KEY` is asked for. Default: not.
        api_key: impl Into<String> => api_key = Some(api_key.into());
        /// HTTP status that each upgrade is refused with. Default: none is.
        refuse: u16 => refuse = Some(refuse);
        /// `Location` of refusals with 3xx.
        redirect_to: impl Into<String> => redirect_to = Some(redirect_to.into());
        /// HTTP status of `GET /v1/models`. Default 200.
        models_status: u16 => models_status = Some(models_status);
        /// Kind of server. Default [`Flavour::Vllm`].
        flavour: Flavour => flavour = flavour;
        /// Speaks TLS. Default: not.
        tls: Tls => tls = Some(tls);
        /// Seconds of audio that the engine works through in a second; 0, the default: as fast as
        /// it goes.
        pace: f64 => pace = if pace.is_finite() { pace.max(0.0) } else { 0.0 };
        /// From the final commit to `done` at least. Default 10 ms. Audio that comes in this time
        /// is lost.
        tail: Duration => tail = tail;
        /// Segments: from a segment's last sample to its text. Default 10 ms.
        segment_time: Duration => segment_time = segment_time;
        /// From `done` to the emptying of the queue. Default 0. What comes in this time is lost.
        clear_time: Duration => clear_time = clear_time;
        /// From the engine's death to the server's end. Default 500 ms.
        death_time: Duration => death_time = death_time;
        /// Between pings; `None`: none are sent. Default 20 s.
        ping_interval: impl Into<Option<Duration>> => ping_interval = ping_interval.into();
        /// Without a pong for so long, the connection is closed with 1011. Default 20 s.
        ping_timeout: Duration => ping_timeout = ping_timeout;
        /// Keeps all audio of each generation in the log. Default: not.
        keep_audio: bool => keep_audio = keep_audio;
        /// Samples that may wait while no generation takes them; beyond it, 1011. Default 20 min.
        max_queue: u64 => max_queue = max_queue;
        /// Frames, arrival: the model's delay, in frames of 80 ms. Default 6.
        delay: u64 => delay = delay;
        /// Characters of a sub-word, about; 0: words are not cut. Default 4.
        subword: usize => subword = subword;
        /// Frames: word marks come a frame early or late, at random. Default: not.
        jitter: bool => jitter = jitter;
        /// Segments: words across an edge. Default [`Edges::Whole`].
        edges: Edges => edges = edges;
        /// Segments: name of the language in the tag. Default `English`.
        language: impl Into<String> => language = language.into();
        /// Segments: deltas are merged and tags cut, at random. Default on.
        merge: bool => merge = merge;
        /// Frames: the API side stalls for 0.2 to 2 s now and then, and what waits for it comes
        /// merged. Default: not.
        stalls: bool => stalls = stalls;
        /// Segments: what was said before in a generation is said again, over silence and, at
        /// times, in place of other words. Default: not.
        leak: bool => leak = leak;
        /// Utterance: number of deltas for the text. Default 2.
        utterance_deltas: usize => utterance_deltas = utterance_deltas;
        /// Offers `timestamp_granularities` (vllm#50783). Default: not.
        timestamps: bool => timestamps = timestamps;
        /// Offers log probabilities (vllm#58047). Default: not.
        logprobs: bool => logprobs = logprobs;
        /// An update that asks for either is refused, with an error of this code, or with `close`
        /// by the end of the connection; the model has to be named anew then. Default: what is not
        /// offered is ignored.
        refuses: impl Into<String> => refuses = Some(refuses.into());
        /// Events come in binary frames, as some gateways wrap them anew. Default: not.
        binary: bool => binary = binary;
        /// Seed of all that is random. Default 0.
        seed: u64 => seed = seed;
    }

    /// Voice `script`, and the script's faults.
    pub fn script(mut self, script: Script) -> Self {
        self.config.faults.extend(script.faults.iter().cloned());
        self.config.voice = Voice::Script(Arc::new(script));
        self
    }

    /// Voice `aligned`.
    pub fn aligned(mut self, aligned: Aligned) -> Self {
        self.config.voice = Voice::Aligned(Arc::new(aligned));
        self
    }

    /// One more fault.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.config.faults.push(fault);
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// The port is taken, or the certificate cannot be used.
    pub fn start(self) -> io::Result<Standin> {
        Standin::start(self.config)
    }
}
