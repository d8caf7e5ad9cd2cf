// SPDX-License-Identifier: MPL-2.0

//! What happens in a run, drawn from its seed.

use std::time::Duration;

use gstvllmrealtime::realtime::{Config, Reconnect, ServerUrl};
use gstvllmrealtime::transcript::Timing;

use crate::element::Source;
use crate::server::{Fatal, Kind, Micros, Poison, Spec, Uneven};
use crate::truth::Truth;
use vllm_standin::Random;

pub const MS: Micros = 1000;
pub const SECOND: Micros = 1000 * MS;

/// What the element does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// So many samples, buffer by buffer.
    Audio(u64),
    EndUtterance,
    /// The audio goes on so many samples later.
    Gap(u64),
    /// EOS; the next input waits for its end, or not.
    Drain {
        wait: bool,
    },
    Flush,
    /// Nothing comes for so long; the pipeline is paused, or the source has stopped.
    Stop {
        time: Micros,
        paused: bool,
    },
    /// The pipeline plays again.
    Play,
    /// The element goes.
    ShutDown,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks: what is on its way up or down is lost, or comes first; the client is
    /// told, or (half-open) not.
    Cut { loses_up: bool, loses_down: bool, told: bool },
    /// The server goes, with a close frame or without, and is back after so long.
    Restart { down: Micros, says_so: bool },
    /// The engine does nothing for so long.
    Stall(Micros),
    /// Nothing gets through for so long, and then all of it.
    Jam(Micros),
    /// The engine is so many times slower for so long.
    Slow(u64, Micros),
    /// `processing_error`.
    Fails,
    /// Another error event.
    Error(&'static str),
    /// `done`, and nobody asked.
    Unasked,
    /// The generation says nothing any more.
    Rut,
    /// An event that means nothing here.
    Says(&'static str),
    /// What is no event at all.
    Garbage,
    /// A binary frame.
    Binary,
    /// So the next attempt to connect ends.
    Connect(Trouble),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Refused,
    Unavailable,
    /// Nothing comes back at all.
    Hangs,
    /// The WebSocket opens, and that is all.
    NoGreeting,
    /// No seat is free for so long.
    Seat(Micros),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    At(Micros),
    /// When so many messages went either way.
    Messages(u64),
}

/// All that is drawn before a run.
#[derive(Debug)]
pub struct Schedule {
    pub config: Config,
    pub live: bool,
    /// The model's context length is known to the client.
    pub context_known: bool,
    pub servers: Vec<Spec>,
    pub inputs: Vec<Input>,
    /// Samples in a buffer at most.
    pub buffer: u64,
    /// A buffer has any number of samples.
    pub odd_sizes: bool,
    /// Buffers of a live source come in bunches, each so long.
    pub bunch: Micros,
    /// With the element around the session: how the source stamps and cuts its buffers.
    pub source: Option<Source>,
    pub faults: Vec<(When, Fault)>,
    /// From here on nothing goes wrong.
    pub calm_at: Micros,
    pub truth: Truth,
}

impl Schedule {
    pub fn new(rng: &mut Random) -> Schedule {
        let kind = match rng.range(0, 9) {
            0..=5 => Kind::Frames { delay: rng.pick(&[1, 3, 6, 6, 6, 12, 30]) },
            6..=8 => Kind::Segments,
            _ => Kind::Utterance { deltas: rng.chance(50) },
        };
        let live = rng.chance(50);
        let spec = spec(rng, kind);
        // Whoever speaks only at the end has to answer within the response timeout.
        let slowest = if matches!(kind, Kind::Utterance { .. }) { 5000 } else { 30_000 };
        let mut servers: Vec<Spec> = (0..rng.pick(&[1, 1, 1, 2, 3]))
            .map(|_| Spec { frame_time: rng.range(500, slowest), ..spec.clone() })
            .collect();
        let config = config(rng, kind, servers.len());
        let lasting = rng.range(0, 19);
        let inputs = inputs(rng, lasting < 2);
        if lasting == 0 {
            let poison = poison(rng, kind, &inputs);
            servers.iter_mut().for_each(|s| s.poison = poison);
        } else if lasting == 1 {
            let life = Some(rng.range(2 * SECOND, 10 * SECOND));
            servers.iter_mut().for_each(|s| s.life = life);
        }
        let faults: Vec<(When, Fault)> = (0..rng.pick(&[0, 0, 1, 1, 2, 3, 5, 8, 12]))
            .map(|_| {
                let when = if rng.chance(50) {
                    When::At(rng.range(0, 40 * SECOND))
                } else {
                    When::Messages(rng.range(0, 600))
                };
                (when, fault(rng))
            })
            .collect();
        let ruts = faults.iter().any(|f| f.1 == Fault::Rut);
        // The coarser the times, the more it takes to tell one from the other.
        let words = if matches!(kind, Kind::Frames { .. }) { 6 } else { 20 };
        let vocabulary = (rng.chance(10) && !ruts).then_some(words);
        let mut truth = Truth::new(rng, &spans(&inputs), vocabulary);
        truth.stop_at(stops(&inputs));
        let mut schedule = Schedule {
            context_known: rng.chance(70),
            buffer: rng.pick(&[160, 320, 1600, 1600, 7680, 16_000]),
            odd_sizes: false,
            bunch: 0,
            source: None,
            calm_at: rng.range(20, 70) * SECOND,
            config,
            live,
            servers,
            inputs,
            faults,
            truth,
        };
        // From numbers of its own, so that all else is as it was.
        schedule.add_oddities(&mut Random::new(rng.clone().range(0, u64::MAX / 2)));
        schedule
    }

    /// A server that refuses what it is offered, or has no clock; frames that are none; buffers of
    /// any size, whenever they come.
    fn add_oddities(&mut self, rng: &mut Random) {
        if rng.chance(10) {
            let code = rng.pick(&[
                "invalid_timestamp_granularity",
                "unsupported_timestamp_granularity",
                "segment_timestamps_unavailable",
                "invalid_event",
            ]);
            self.servers.iter_mut().for_each(|s| s.refuses = Some(code));
        }
        if rng.chance(10) {
            self.faults.push((When::Messages(rng.range(0, 600)), Fault::Binary));
        }
        if matches!(self.servers[0].kind, Kind::Utterance { .. }) && rng.chance(70) {
            let delay = rng.range(0, 48_000);
            let kind = Kind::Arrival { delay, space_behind: rng.chance(50) };
            self.servers.iter_mut().for_each(|s| s.kind = kind);
            if self.config.transcript.timing != Timing::Auto {
                self.config.transcript.timing = Timing::Arrival;
            }
        }
        if rng.chance(10) {
            let queue = rng.range(70, 128) as usize;
            self.servers.iter_mut().for_each(|s| s.queue = queue);
        }
        self.odd_sizes = rng.chance(10);
        if rng.chance(10) {
            self.bunch = rng.range(20 * MS, 2 * SECOND);
        }
        if rng.chance(15) {
            // How long a gap is, is told by PTS: with jitter nobody knows it to the sample.
            let gaps = self.inputs.iter().any(|i| matches!(i, Input::Gap(_)));
            let jitter = rng.pick(&[0, 30, 200]) * 1_000_000;
            self.source = Some(Source {
                jitter: if gaps { 0 } else { jitter },
                odd_bytes: rng.chance(50),
                offset: rng.range(0, 6_000_000_000) as i64 - 3_000_000_000,
                seed: rng.range(0, u64::MAX / 2),
            });
        }
        if rng.chance(15) {
            self.lengthen_gaps(rng);
        }
    }

    /// Gaps of minutes and hours.
    fn lengthen_gaps(&mut self, rng: &mut Random) {
        let longest = if self.live { 300 } else { 7200 };
        let mut gaps = Vec::new();
        let mut drawn = 0;
        for input in &mut self.inputs {
            match input {
                Input::Audio(n) => drawn += *n,
                Input::Gap(n) => {
                    drawn += *n;
                    if rng.chance(60) {
                        let by = rng.range(1, longest) * 16_000;
                        *n += by;
                        gaps.push((drawn, by));
                    }
                }
                _ => {}
            }
        }
        self.truth.lengthen(gaps);
        for poison in self.servers.iter_mut().filter_map(|s| s.poison.as_mut()) {
            poison.begin = self.truth.behind_gaps(poison.begin);
            poison.end = self.truth.behind_gaps(poison.end);
        }
    }
}

fn uneven(rng: &mut Random) -> Uneven {
    let (merged, longest) = rng.pick(&[(0, 0), (0, 0), (5, 0), (10, 0), (3, 3)]);
    Uneven { merged, longest, spare: rng.pick(&[0, 5, 10]) }
}

fn spec(rng: &mut Random, kind: Kind) -> Spec {
    let context = match kind {
        Kind::Frames { .. } => rng.range(39 + 100, 39 + 400),
        Kind::Segments => rng.range(500, 1500),
        Kind::Arrival { .. } | Kind::Utterance { .. } => 100_000,
    };
    let least = if rng.chance(50) { rng.range(50, 1000) } else { rng.range(1000, 20_000) };
    Spec {
        kind,
        poison: None,
        life: None,
        uneven: if rng.chance(30) { uneven(rng) } else { Uneven::default() },
        frame_time: 0,
        refuses: None,
        queue: 256,
        context: rng.chance(20).then_some(context),
        empties_after: rng.range(0, 20_000),
        delay: (least, least + if rng.chance(30) { 0 } else { rng.range(0, 60_000) }),
    }
}

fn config(rng: &mut Random, kind: Kind, servers: usize) -> Config {
    let timing = match kind {
        Kind::Frames { .. } => Timing::Frames,
        Kind::Segments => Timing::Segments,
        Kind::Arrival { .. } => Timing::Arrival,
        Kind::Utterance { .. } => Timing::Utterance,
    };
    let urls: Vec<String> =
        (0..servers).map(|i| format!("ws://server{i}:8000/v1/realtime")).collect();
    let mut config = Config {
        servers: ServerUrl::parse_list(&urls.join(",")).unwrap(),
        connect_timeout: Duration::from_millis(rng.range(1000, 10_000)),
        response_timeout: Duration::from_millis(rng.range(5000, 30_000)),
        reconnect: match rng.range(0, 19) {
            0 => Reconnect::Attempts(rng.range(0, 3) as u32),
            1..=5 => Reconnect::Auto,
            _ => Reconnect::Forever,
        },
        max_backlog: Duration::from_millis(rng.range(5000, 60_000)),
        chunk: Duration::from_millis(rng.pick(&[20, 80, 80, 200, 500])),
        silence_commit: Duration::from_millis(rng.range(300, 1500)),
        voice_activity: rng.chance(10),
        max_utterance: rng.chance(20).then(|| Duration::from_millis(rng.range(3000, 15_000))),
        ..Config::default()
    };
    if rng.chance(20) {
        config.transcript.timing = timing;
    }
    config
}

/// A stretch that no server survives; behind what shows that the server is one that works.
fn poison(rng: &mut Random, kind: Kind, inputs: &[Input]) -> Option<Poison> {
    let length = |inputs: &[Input]| -> u64 {
        inputs.iter().map(|i| if let Input::Audio(n) | Input::Gap(n) = i { *n } else { 0 }).sum()
    };
    let first = match kind {
        Kind::Frames { delay } => 16_000 + delay * 1280,
        Kind::Segments => 11 * 16_000,
        Kind::Arrival { .. } | Kind::Utterance { .. } => 21 * 16_000,
    };
    // A flush can take away what shows it.
    let flush = inputs.iter().rposition(|i| *i == Input::Flush).map_or(0, |i| i + 1);
    let first = length(&inputs[..flush]) + first;
    let longest = if rng.chance(70) { 8000 } else { 48_000 };
    let lasts = rng.range(1, longest);
    let begin = rng.range(first, length(inputs).max(first + 16_000));
    let end_of = rng.pick(&[Fatal::Generation, Fatal::Connection, Fatal::Server]);
    Some(Poison { begin, end: begin + lasts, end_of })
}

fn inputs(rng: &mut Random, long: bool) -> Vec<Input> {
    let mut inputs = Vec::new();
    let most = match rng.chance(70) {
        _ if long => rng.range(15, 60),
        true => rng.range(1, 4),
        false => rng.range(4, 20),
    } * 16_000;
    let mut total = 0;
    while total < most {
        let samples = match rng.range(0, 9) {
            0 => rng.range(1, 400),
            1 => rng.range(1, most.div_ceil(80_000)) * 80_000 + rng.range(0, 640) - 320,
            2..=5 => rng.range(400, 64_000),
            6..=7 => rng.range(16_000, 80_000),
            _ => rng.range(16_000, if most > 80_000 { 200_000 } else { 64_000 }),
        };
        total += samples;
        inputs.push(Input::Audio(samples));
        match rng.range(0, 19) {
            0..=4 => inputs.push(Input::EndUtterance),
            5..=7 => inputs.push(Input::Gap(rng.range(1, 32_000))),
            8..=9 => inputs.push(Input::Drain { wait: rng.chance(50) }),
            10 => inputs.push(Input::Flush),
            11..=13 => {
                inputs.push(Input::Stop { time: rng.range(0, 8 * SECOND), paused: rng.chance(30) })
            }
            _ => {}
        }
    }
    if rng.chance(3) {
        inputs.push(Input::ShutDown);
    } else {
        inputs.push(Input::Drain { wait: true });
    }
    inputs
}

/// The stretches of audio that no command cuts.
fn spans(inputs: &[Input]) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for input in inputs {
        match input {
            Input::Audio(n) => at += n,
            Input::Stop { .. } | Input::Play => {}
            other => {
                out.push((begin, at));
                if let Input::Gap(n) = other {
                    at += n;
                }
                begin = at;
            }
        }
    }
    out
}

/// Where the audio stops for a while.
fn stops(inputs: &[Input]) -> Vec<u64> {
    let mut at = 0;
    let mut out = Vec::new();
    for input in inputs {
        match input {
            Input::Audio(n) | Input::Gap(n) => at += n,
            Input::Stop { .. } => out.push(at),
            _ => {}
        }
    }
    out
}

fn fault(rng: &mut Random) -> Fault {
    let long = |rng: &mut Random| rng.range(10 * MS, 12 * SECOND);
    match rng.range(0, 29) {
        0..=7 => Fault::Cut {
            loses_up: rng.chance(70),
            loses_down: rng.chance(70),
            told: rng.chance(80),
        },
        8..=9 => Fault::Restart { down: long(rng), says_so: rng.chance(50) },
        10..=11 => Fault::Stall(long(rng)),
        12..=13 => Fault::Jam(long(rng)),
        14..=15 => Fault::Slow(rng.range(2, 20), long(rng)),
        16..=18 => Fault::Fails,
        19 => Fault::Error(rng.pick(&["overloaded", "idle_timeout", "invalid_audio"])),
        20..=21 => Fault::Unasked,
        22 => Fault::Rut,
        23 => Fault::Garbage,
        24 => Fault::Says(rng.pick(&[
            r#"{"type":"something.new"}"#,
            r#"{"type":"session.updated"}"#,
            r#"{"type":"session.created","id":"sess-1"}"#,
        ])),
        _ => Fault::Connect(match rng.range(0, 4) {
            0 => Trouble::Refused,
            1 => Trouble::Unavailable,
            2 => Trouble::Hangs,
            3 => Trouble::NoGreeting,
            _ => Trouble::Seat(long(rng)),
        }),
    }
}
