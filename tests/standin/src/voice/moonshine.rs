// SPDX-License-Identifier: MPL-2.0

//! Really recognised, while one speaks, by Moonshine tiny.en (Jeffries and others, 2024; MIT): a small
//! model for live speech, whose cost grows with the length of the sound. English, on the CPU.
//!
//! The speech so far is heard again and again; words that are sure are said (`agreement`). Its library
//! and weights are in the wheel `moonshine-voice` 0.0.49 of PyPI, which `scripts/setup.sh voice`
//! unzips into `target/moonshine`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::agreement::Agreement;
use self::recogniser::Recogniser;
pub use self::recogniser::hear;
use self::stretches::Stretches;
use super::{RATE, Speech, Word};
use crate::Cadence;

mod agreement;
mod library;
mod recogniser;
mod stretches;

/// Between two hearings of the same speech at least, and at most where the machine is slow.
const STEP: std::ops::Range<Duration> = Duration::from_millis(500)..Duration::from_secs(2);
/// Sound that waits for the model, in memory.
const QUEUE: usize = 60 * RATE as usize;
/// Samples of a segment.
const SEGMENT: u64 = 5 * RATE;

/// A recogniser for any number of generations, that hears no more of them at once than there are
/// pairs of cores.
#[derive(Debug, Clone)]
pub struct Moonshine {
    jobs: Sender<Job>,
}

/// Sound to be heard.
#[derive(Debug)]
struct Job {
    samples: Vec<f32>,
    /// Of whoever wants to know; a client that has gone does not.
    wanted: Weak<()>,
    answer: Sender<Result<String, String>>,
}

impl Moonshine {
    /// Loads the model. `folder`: the wheel, unzipped.
    ///
    /// # Errors
    /// The wheel is not there, or is for another processor.
    pub fn open(folder: &Path) -> Result<Moonshine, String> {
        Moonshine::start(folder, None)
    }

    /// The same in processes of this program's, `vllm-standin`, which are replaced now and then, as
    /// the library keeps memory that it does not use.
    ///
    /// # Errors
    /// As [`Moonshine::open`].
    pub fn run(folder: &Path, program: &Path) -> Result<Moonshine, String> {
        Moonshine::start(folder, Some(program))
    }

    fn start(folder: &Path, program: Option<&Path>) -> Result<Moonshine, String> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut model = Some(Recogniser::load(folder, program)?);
        for _ in 0..(cores / 2).max(1) {
            let (model, folder, queue) = (model.take(), folder.to_owned(), Arc::clone(&queue));
            let program = program.map(Path::to_owned);
            std::thread::Builder::new()
                .name("standin-moonshine".into())
                .spawn(move || hear_all(model, &folder, program.as_deref(), &queue))
                .map_err(|e| e.to_string())?;
        }
        Ok(Moonshine { jobs })
    }

    /// Where the wheel is: in `MOONSHINE_DIR`, or where `scripts/setup.sh voice` puts it.
    pub fn folder() -> PathBuf {
        let named = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let target = || named("CARGO_TARGET_DIR").map(|target| target.join("moonshine"));
        let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/moonshine");
        let built = || target().filter(|dir| dir.is_dir());
        named("MOONSHINE_DIR").or_else(built).unwrap_or_else(here)
    }

    pub(crate) fn speech(&self, cadence: Cadence) -> Heard {
        Heard {
            jobs: self.jobs.clone(),
            wanted: Arc::new(()),
            hearing: None,
            stretches: Stretches::default(),
            agreement: Agreement::default(),
            heard: 0,
            step: STEP.start,
            segments: (cadence == Cadence::Segments).then(Segments::default),
            words: VecDeque::new(),
            ids: 0,
            ended: false,
        }
    }
}

/// A thread that hears, until nobody can ask any more. The first one has its model already.
fn hear_all(
    model: Option<Recogniser>,
    folder: &Path,
    program: Option<&Path>,
    queue: &Mutex<Receiver<Job>>,
) {
    let mut model = model.map_or_else(|| Recogniser::load(folder, program), Ok);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if job.wanted.strong_count() == 0 {
            continue;
        }
        let text = match &mut model {
            Ok(model) => model.transcribe(&job.samples),
            Err(why) => Err(why.clone()),
        };
        let _ = job.answer.send(text);
    }
}

/// A hearing under way.
#[derive(Debug)]
struct Hearing {
    answer: Receiver<Result<String, String>>,
    since: Instant,
    /// All of it is there: of the stretch, of the segment.
    whole: bool,
}

/// The segments of a generation, each of which is heard by itself.
#[derive(Debug, Default)]
struct Segments {
    /// Samples so far, and those of the one under way.
    samples: u64,
    sound: Vec<i16>,
    /// Those that are whole and wait for the model.
    waiting: VecDeque<Vec<i16>>,
    /// So many were heard.
    heard: u64,
}

/// The words of one generation.
pub(crate) struct Heard {
    jobs: Sender<Job>,
    wanted: Arc<()>,
    hearing: Option<Hearing>,
    stretches: Stretches,
    agreement: Agreement,
    /// Samples of the first stretch up to which it was due to be heard.
    heard: usize,
    step: Duration,
    segments: Option<Segments>,
    words: VecDeque<Word>,
    ids: u64,
    ended: bool,
}

impl Heard {
    /// Takes what was heard, and has the next heard.
    fn work(&mut self) {
        while self.take() {}
        if self.hearing.is_none() {
            match self.segments {
                Some(_) => self.hear_segment(),
                None => self.hear_stretch(),
            }
        }
    }

    /// Whether a hearing is over.
    fn take(&mut self) -> bool {
        let Some(hearing) = &self.hearing else { return false };
        let Ok(text) = hearing.answer.try_recv() else { return false };
        let (whole, took) = (hearing.whole, hearing.since.elapsed());
        self.hearing = None;
        // One client keeps no more than one hearing busy.
        self.step = took.clamp(STEP.start, STEP.end);
        let text = text.unwrap_or_else(|why| {
            eprintln!("vllm-standin: {why}");
            String::new()
        });
        if let Some(segments) = &mut self.segments {
            segments.heard += 1;
            let edge = segments.heard * SEGMENT;
            // Anywhere in it.
            for text in text.split_whitespace() {
                self.say(text.to_owned(), edge - SEGMENT, edge - SEGMENT / 2);
            }
            return true;
        }
        for text in self.agreement.hear(&text, whole) {
            self.say(text, 0, 0);
        }
        if whole {
            let cut = self.stretches.take_first().is_some_and(|stretch| stretch.cut);
            let agreement = std::mem::take(&mut self.agreement);
            self.agreement = if cut { agreement.go_on() } else { Agreement::default() };
            self.heard = 0;
        }
        true
    }

    fn say(&mut self, text: String, begin: u64, end: u64) {
        self.ids += 1;
        self.words.push_back(Word { text, begin, end, id: self.ids });
    }

    fn hear_stretch(&mut self) {
        let Some(stretch) = self.stretches.first() else { return };
        let (count, step) =
            (stretch.samples.len(), self.step.as_millis() as usize * RATE as usize / 1000);
        if !stretch.whole && count - self.heard < step {
            return;
        }
        // In even steps from its beginning on, whenever the sound comes.
        self.heard = count / step * step;
        let (samples, whole) = (stretch.samples.clone(), stretch.whole);
        self.ask(samples, whole);
    }

    fn hear_segment(&mut self) {
        let Some(segments) = &mut self.segments else { return };
        while let Some(sound) = segments.waiting.pop_front() {
            let mut stretches = Stretches::default();
            stretches.push(&sound);
            stretches.end();
            if stretches.first().is_some() {
                let samples = sound.iter().map(|&s| f32::from(s) / 32768.0).collect();
                return self.ask(samples, true);
            }
            segments.heard += 1;
        }
    }

    fn ask(&mut self, samples: Vec<f32>, whole: bool) {
        let (sender, answer) = channel();
        let wanted = Arc::downgrade(&self.wanted);
        if self.jobs.send(Job { samples, wanted, answer: sender }).is_ok() {
            self.hearing = Some(Hearing { answer, since: Instant::now(), whole });
        }
    }
}

impl Speech for Heard {
    fn hear(&mut self, samples: &[i16]) {
        match &mut self.segments {
            None => self.stretches.push(samples),
            Some(segments) => {
                let mut rest = samples;
                while !rest.is_empty() {
                    let room = (SEGMENT - segments.samples % SEGMENT) as usize;
                    let (now, later) = rest.split_at(room.min(rest.len()));
                    segments.sound.extend_from_slice(now);
                    segments.samples += now.len() as u64;
                    if segments.samples.is_multiple_of(SEGMENT) {
                        segments.waiting.push_back(std::mem::take(&mut segments.sound));
                    }
                    rest = later;
                }
            }
        }
        self.work();
    }

    fn end(&mut self) {
        self.ended = true;
        match &mut self.segments {
            None => self.stretches.end(),
            Some(segments) if !segments.sound.is_empty() => {
                segments.waiting.push_back(std::mem::take(&mut segments.sound));
            }
            Some(_) => {}
        }
        self.work();
    }

    fn next_word(&mut self) -> Option<Word> {
        self.work();
        self.words.pop_front()
    }

    fn busy(&self) -> bool {
        let waiting = self.segments.iter().flat_map(|s| &s.waiting).map(Vec::len).sum::<usize>();
        self.stretches.samples() + waiting > QUEUE
    }

    fn is_hearing(&mut self) -> bool {
        self.work();
        self.hearing.is_some() || !self.words.is_empty()
    }

    fn has_heard(&mut self, edge: u64) -> bool {
        self.work();
        let heard = self.segments.as_ref().map_or(0, |s| s.heard * SEGMENT);
        heard >= edge || self.finished()
    }

    fn finished(&mut self) -> bool {
        self.work();
        self.ended && self.hearing.is_none()
    }
}
