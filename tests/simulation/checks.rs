// SPDX-License-Identifier: MPL-2.0

//! What must be true in and after every run.

use gstvllmrealtime::realtime::{Output, Reconnect, Stats};
use gstvllmrealtime::transcript::{self, Word};

use crate::schedule::{Fault, Input, SECOND, Schedule};
use crate::server::{Connection, Generation, Kind, Micros};
use crate::truth::WINDOW;

/// Audio over which everything fails is given up in steps of so much at most.
const GIVEN_UP_MOST: u64 = 5 * 16_000;
/// How far before the poison: words from behind it may be out, and nobody knows how far.
const GIVEN_UP_NEAR: u64 = 5 * 16_000;
/// How far behind it, where spare deltas tell of more than was heard.
const GIVEN_UP_BEHIND: u64 = 8 * 1280;

/// Between two flushes.
#[derive(Debug, Default)]
struct Epoch {
    begin: u64,
    words: Vec<Word>,
    /// Drains that ended: position, and words until then.
    drained: Vec<(u64, usize)>,
}

pub struct Checks<'a> {
    schedule: &'a Schedule,
    /// Stretches of audio that were given.
    given: Vec<(u64, u64)>,
    gaps: u64,
    /// Stretches whose words the client was told.
    told: Vec<(u64, u64)>,
    dropped: Vec<(u64, u64)>,
    /// Stretches that any server got: what the voice activity takes for silence is not sent.
    sent: Vec<(u64, u64)>,
    epochs: Vec<Epoch>,
    /// Flushes under way: number and position.
    flushes: Vec<(u64, u64)>,
    drains: Vec<(u64, u64)>,
    horizon: u64,
    word_end: u64,
    last_input: Micros,
    trouble: bool,
    ruts: u32,
    /// Words that may be missing: a rut swallowed them, or they come twice at an edge.
    swallowed: Vec<usize>,
    fell_back: bool,
    greeted: bool,
    last_drain: bool,
    failed: Option<String>,
    shut_down: bool,
}

impl<'a> Checks<'a> {
    pub fn new(schedule: &'a Schedule) -> Checks<'a> {
        Checks {
            schedule,
            given: Vec::new(),
            gaps: 0,
            told: Vec::new(),
            dropped: Vec::new(),
            sent: Vec::new(),
            epochs: vec![Epoch::default()],
            flushes: Vec::new(),
            drains: Vec::new(),
            horizon: 0,
            word_end: 0,
            last_input: 0,
            trouble: false,
            ruts: 0,
            swallowed: Vec::new(),
            fell_back: false,
            greeted: false,
            last_drain: false,
            failed: None,
            shut_down: false,
        }
    }

    // What happens.

    pub fn audio(&mut self, position: u64, count: u64) {
        match self.given.last_mut() {
            Some(last) if last.1 == position => last.1 += count,
            _ => self.given.push((position, position + count)),
        }
    }

    pub fn gap(&mut self, samples: u64) {
        self.gaps += samples;
    }

    pub fn input_at(&mut self, at: Micros) {
        self.last_input = self.last_input.max(at);
    }

    /// `last`: no audio follows.
    pub fn drain(&mut self, number: u64, position: u64, last: bool) {
        self.drains.push((number, position));
        self.last_drain |= last;
    }

    pub fn flush(&mut self, number: u64, position: u64) {
        self.flushes.push((number, position));
        self.drains.clear();
    }

    pub fn shut_down(&mut self) {
        self.shut_down = true;
    }

    /// Something went wrong.
    pub fn trouble(&mut self) {
        self.trouble = true;
    }

    pub fn rut(&mut self) {
        self.ruts += 1;
    }

    pub fn message(&mut self, text: &str) {
        self.greeted |= text.contains("session.created");
    }

    /// The client is told that so much of a generation is worked through.
    pub fn heard(&mut self, generation: usize, samples: u64, connection: &Connection) {
        let Some(g) = connection.all_generations().find(|g| g.id == generation) else { return };
        let mut left = samples;
        for (at, count) in &g.spans {
            let n = left.min(*count);
            if let Some(at) = at.filter(|_| n > 0) {
                match self.told.last_mut() {
                    Some(last) if last.0 <= at && at <= last.1 => last.1 = last.1.max(at + n),
                    _ => self.told.push((at, at + n)),
                }
            }
            left -= n;
        }
    }

    // What must hold all along.

    /// When it has to be over.
    pub fn deadline(&self) -> Micros {
        let config = &self.schedule.config;
        let limits = (config.connect_timeout + config.response_timeout).as_micros() as Micros;
        let audio: u64 = self.given.iter().map(|g| g.1 - g.0).sum();
        let engine = self.schedule.servers.iter().map(|s| s.frame_time).max().unwrap_or(0);
        let work = 4 * audio / 1280 * engine;
        // With the longest waits between them, as many attempts as poison takes to be given up, or
        // as a short life takes to get through.
        let lasting = self.schedule.servers.iter().any(|s| s.poison.is_some() || s.life.is_some());
        let work = work + if lasting { 3600 * SECOND } else { 0 };
        self.schedule.calm_at.max(self.last_input) + 4 * limits + work + 60 * SECOND
    }

    pub fn memory(&self, backlog: u64) -> Result<(), String> {
        let config = &self.schedule.config;
        // What a server was sent and has not confirmed is kept in any case.
        let sent = 24 * 16_000;
        let most = config.max_backlog.as_millis() as u64 * 16;
        let most = most.max(sent) + self.schedule.buffer + 16_000;
        if backlog > most {
            return Err(format!("the backlog is {backlog} samples, {most} is its bound"));
        }
        Ok(())
    }

    pub fn ahead(&self, samples: u64) -> Result<(), String> {
        // Three segments, or the longest utterance of a server that only speaks at its end.
        let kind = self.schedule.servers[0].kind;
        let most = match kind {
            Kind::Frames { delay } => 9 * 16_000 + delay * 1280,
            Kind::Segments => 16 * 16_000,
            // Half as much again, where it has to be sent again.
            Kind::Arrival { .. } | Kind::Utterance { .. } => 31 * 16_000,
        };
        // Until its kind is known a server is given an utterance.
        let most = most.max(21 * 16_000);
        if samples > most {
            return Err(format!("{samples} samples ahead of the server, {most} is the bound"));
        }
        Ok(())
    }

    pub fn output(&mut self, output: Output) -> Result<(), String> {
        if self.failed.is_some() && !matches!(output, Output::Flushed(_) | Output::Drained(_)) {
            return Err(format!("after the end: {output:?}"));
        }
        match output {
            Output::Transcript(transcript::Output::Word(word)) => self.word(word),
            Output::Transcript(transcript::Output::Utterance(u)) => {
                if u.begin > u.end || u.words.iter().any(|w| w.begin < u.begin || w.end > u.end) {
                    return Err(format!("an utterance that is not around its words: {u:?}"));
                }
                Ok(())
            }
            Output::Horizon(at) => {
                if at.samples() <= self.horizon {
                    return Err(format!("the horizon goes from {} to {at}", self.horizon));
                }
                self.horizon = at.samples();
                Ok(())
            }
            Output::Dropped { begin, end, reason } => {
                if begin >= end {
                    return Err(format!("dropped from {begin} to {end}"));
                }
                if reason.contains("attempt") {
                    self.given_up(begin.samples(), end.samples())?;
                }
                self.dropped.push((begin.samples(), end.samples()));
                Ok(())
            }
            Output::Drained(number) => {
                if self.drains.first().is_none_or(|d| d.0 != number) {
                    return Err(format!("drained {number}, while {:?} are due", self.drains));
                }
                let (_, position) = self.drains.remove(0);
                let epoch = self.epoch();
                let words = epoch.words.len();
                epoch.drained.push((position, words));
                Ok(())
            }
            Output::Flushed(number) => {
                if self.flushes.first().is_none_or(|f| f.0 != number) {
                    return Err(format!("flushed {number}, while {:?} are due", self.flushes));
                }
                let (_, begin) = self.flushes.remove(0);
                self.epochs.push(Epoch { begin, ..Epoch::default() });
                Ok(())
            }
            Output::Failed(error) => {
                let allowed = match self.schedule.config.reconnect {
                    Reconnect::Attempts(_) => self.trouble,
                    Reconnect::Auto => self.trouble && (!self.greeted || self.last_drain),
                    Reconnect::Forever => false,
                };
                if !allowed {
                    return Err(format!("failed: {error:?}"));
                }
                self.failed = Some(error.message);
                Ok(())
            }
            Output::Transcript(transcript::Output::ClockFellBack { .. }) => {
                self.fell_back = true;
                Ok(())
            }
            Output::Warning(_)
            | Output::ServerWarning { .. }
            | Output::Connection { .. }
            | Output::Transcript(_) => Ok(()),
        }
    }

    /// Audio over which every generation failed: only where it is poison, and little more than that.
    fn given_up(&self, begin: u64, end: u64) -> Result<(), String> {
        let Some(poison) = self.schedule.servers[0].poison else {
            return Err(format!("given up from {begin} to {end}, and there is no poison in it"));
        };
        let has_spare = self.schedule.servers[0].uneven.spare > 0;
        let last = poison.end + if has_spare { GIVEN_UP_BEHIND } else { 0 };
        if end + GIVEN_UP_NEAR < poison.begin || begin > last {
            return Err(format!("given up from {begin} to {end}, far from {poison:?}"));
        }
        if end - begin > GIVEN_UP_MOST {
            return Err(format!("given up at once from {begin} to {end}"));
        }
        Ok(())
    }

    fn epoch(&mut self) -> &mut Epoch {
        self.epochs.last_mut().expect("there is one from the start")
    }

    fn word(&mut self, word: Word) -> Result<(), String> {
        let given = self.given.last().map_or(0, |g| g.1);
        if word.text.trim().is_empty() || word.text.trim() != word.text {
            return Err(format!("not a word: {word:?}"));
        }
        let (begin, end) = (word.begin.samples(), word.end.samples());
        if begin >= end || begin < self.word_end || end > given {
            let last = self.word_end;
            return Err(format!("{word:?}: the last one ends at {last}, the audio at {given}"));
        }
        if begin < self.horizon {
            return Err(format!("{word:?} begins before the horizon {}", self.horizon));
        }
        self.word_end = end;
        self.epoch().words.push(word);
        Ok(())
    }

    // What must hold in the end.

    pub fn finish<'g>(
        &mut self,
        stats: &Stats,
        generations: impl Iterator<Item = &'g Generation>,
    ) -> Result<(), String> {
        for g in generations {
            self.sent.extend(g.spans.iter().filter_map(|(at, n)| at.map(|at| (at, at + n))));
            let words = &self.schedule.truth.words;
            let voice: u64 = g.swallowed.iter().map(|i| words[*i].end - words[*i].begin).sum();
            // A rut shows by 10 s of voice without a word, and only with frames.
            let frames = matches!(self.schedule.servers[0].kind, Kind::Frames { .. });
            if !frames || voice < 12 * 16_000 || self.ruts > 1 {
                self.swallowed.extend(&g.swallowed);
            }
        }
        let whole = self.failed.is_none() && !self.shut_down;
        self.sums(stats, whole)?;
        if whole {
            self.samples()?;
        }
        for (i, epoch) in self.epochs.iter().enumerate() {
            let next = self.epochs.get(i + 1).map_or(u64::MAX, |e| e.begin);
            self.words(epoch, next, whole && next == u64::MAX)?;
        }
        Ok(())
    }

    fn sums(&self, s: &Stats, whole: bool) -> Result<(), String> {
        let given = self.given.iter().map(|g| g.1 - g.0).sum::<u64>() + self.gaps;
        let sum = s.samples_confirmed
            + s.samples_skipped
            + s.samples_dropped
            + s.samples_flushed
            + s.samples_unconfirmed;
        let told: u64 = self.dropped.iter().map(|d| d.1 - d.0).sum();
        if s.samples_in != given || sum != given {
            return Err(format!("of {given} samples {sum} are accounted for: {s:?}"));
        }
        if whole && s.samples_unconfirmed > 0 {
            return Err(format!("samples without an account: {s:?}"));
        }
        if told != s.samples_dropped {
            return Err(format!("{told} samples were told to be dropped: {s:?}"));
        }
        Ok(())
    }

    /// Every sample was heard by a server that told so, or it was said that it was not.
    fn samples(&self) -> Result<(), String> {
        if self.schedule.config.voice_activity {
            return Ok(());
        }
        let from = self.epochs.last().map_or(0, |e| e.begin);
        let mut known: Vec<(u64, u64)> = self.told.iter().chain(&self.dropped).copied().collect();
        known.sort_unstable();
        for &(begin, end) in &self.given {
            let mut at = begin.max(from);
            // Utterances shorter than a window cannot be told where they are; two may follow each other
            // (seed 51019650).
            let untold = 2 * WINDOW as u64;
            for k in &known {
                if k.0 > at + untold {
                    break;
                }
                at = at.max(k.1);
            }
            if at + untold < end {
                return Err(format!("the samples from {at} on (to {end}?) were never heard"));
            }
        }
        Ok(())
    }

    fn was_sent(&self, position: u64) -> bool {
        self.sent.iter().any(|s| (s.0..s.1).contains(&position))
    }

    /// The words of an epoch: each once, in order; all of them where `whole`.
    fn words(&self, epoch: &Epoch, next: u64, whole: bool) -> Result<(), String> {
        let words = &self.schedule.truth.words;
        let given = self.given.last().map_or(0, |g| g.1);
        let kind = self.schedule.servers[0].kind;
        // Where no frames tell a word's time its audio may be taken for that of the word before.
        let near = if matches!(kind, Kind::Frames { .. }) { 0 } else { 16_000 };
        let no_clock = matches!(kind, Kind::Arrival { .. } | Kind::Utterance { .. });
        let optional = |i: usize| {
            let w = &words[i];
            // Heard again at a stop, one of two that are the same, with no times to tell them apart.
            let twin = no_clock && i > 0 && words[i - 1].text == w.text;
            self.swallowed.contains(&i)
                || w.end > given
                || self.schedule.config.voice_activity && !self.was_sent(w.middle())
                || twin
                || self.dropped.iter().any(|d| d.0 < w.end + near && w.begin < d.1 + near)
        };
        let first = words.partition_point(|w| w.begin < epoch.begin);
        // After each word said: which words may come next. Several, where words repeat and some
        // need not come.
        let mut said = vec![vec![first]];
        for word in &epoch.words {
            let may_be = |i: usize| {
                let w = &words[i];
                w.text == word.text && w.begin < next && self.times(word, w.begin, w.end)
            };
            let before = said.last().expect("the first");
            let mut after: Vec<usize> = Vec::new();
            for &from in before {
                for i in from..words.len() {
                    if may_be(i) && !after.contains(&(i + 1)) {
                        after.push(i + 1);
                    }
                    if !optional(i) {
                        break;
                    }
                }
            }
            if after.is_empty() {
                let due: Vec<_> = before.iter().map(|i| words.get(*i)).collect();
                return Err(format!("{word:?} comes where one of {due:?} is due"));
            }
            said.push(after);
        }
        let missing = |from: &Vec<usize>, to: u64| {
            let first =
                |from: usize| (from..words.len()).find(|i| words[*i].end <= to && !optional(*i));
            let all: Option<Vec<usize>> = from.iter().map(|from| first(*from)).collect();
            all.and_then(|all| all.first().copied())
        };
        for (position, count) in &epoch.drained {
            if let Some(i) = missing(&said[*count], *position) {
                return Err(format!("drained at {position} without {:?}", words[i]));
            }
        }
        if whole && let Some(i) = said.last().and_then(|last| missing(last, given)) {
            return Err(format!("lost: {:?}", words[i]));
        }
        Ok(())
    }

    /// The time of a word is about right.
    fn times(&self, word: &Word, begin: u64, end: u64) -> bool {
        let near = match self.schedule.servers[0].kind {
            // Nor are words that come after all out of a rut.
            _ if self.fell_back || self.ruts > 0 => 30 * 16_000,
            Kind::Frames { .. } => 16_000,
            Kind::Segments => 6 * 16_000,
            Kind::Arrival { .. } | Kind::Utterance { .. } => 30 * 16_000,
        };
        word.begin.samples() <= end + near && begin <= word.end.samples() + near
    }
}

/// For the trace.
pub fn describe(schedule: &Schedule) -> String {
    let faults: Vec<(_, &Fault)> = schedule.faults.iter().map(|f| (f.0, &f.1)).collect();
    let inputs: &[Input] = &schedule.inputs;
    format!(
        "{:#?}\nlive: {}, context known: {}, calm at {} ms, {:?}\n{:#?}\n{inputs:?}\n{faults:#?}\n{:?}",
        schedule.config,
        schedule.live,
        schedule.context_known,
        schedule.calm_at / 1000,
        schedule.source,
        schedule.servers,
        schedule.truth.words.iter().map(|w| (&w.text, w.begin, w.end)).collect::<Vec<_>>(),
    )
}
