// SPDX-License-Identifier: MPL-2.0

//! Voice activity: where utterances begin and end.

use super::voice::{self, FRAME};
use crate::SAMPLES_PER_MS;

/// When an utterance ends.
#[derive(Debug, Clone)]
pub struct ActivityConfig {
    /// Samples without speech that end an utterance.
    pub silence: u64,
}

/// The voice comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An utterance begins: the audio from this position on belongs to it. It lies before the
    /// position at which this is found out by the pre-roll, and never before an earlier `End`.
    Begin(u64),
    /// The utterance ended at this position; the audio up to the next `Begin` is silence.
    End(u64),
}

/// Kept before the first frame found to be speech: a soft first sound, and what the detector
/// needs to make up its mind.
const PRE_ROLL: u64 = 400 * SAMPLES_PER_MS;
/// Kept behind the last frame found to be speech: a soft last sound.
const POST_ROLL: u64 = 400 * SAMPLES_PER_MS;

/// A frame of this score begins an utterance by itself.
const SURE: f32 = 0.65;
/// Frames in a row of this score do so too.
const LIKELY: f32 = 0.45;
const LIKELY_FRAMES: u32 = 4;
/// A frame below this is no speech in an utterance.
const GONE: f32 = 0.45;

/// Finds utterances by how much each frame is like a voice ([`super::Features::push_judged`]).
///
/// Where in doubt it is speech: music and loud, changing noise are, too. A beginning is found out
/// within about 50 ms of its first sound, an end about 100 ms after [`ActivityConfig::silence`] has
/// passed since the last.
#[derive(Debug)]
pub struct Activity {
    config: ActivityConfig,
    /// Position behind the last frame judged.
    judged: u64,
    /// No `Begin` before this: the last `End`, or where the audio began anew.
    floor: u64,
    /// Frames up to here are judged by sound from before a break, too.
    deaf_to: u64,
    likely: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Silence,
    /// Speech was last heard up to this position.
    Speech(u64),
}

impl Activity {
    pub fn new(config: ActivityConfig) -> Self {
        Activity { config, judged: 0, floor: 0, deaf_to: 0, likely: 0, state: State::Silence }
    }

    /// The frame that ends at `end` (which only grows) is so much like a voice, 0 to 1; what that
    /// changes. A step in the audio is told by [`Activity::reset`] first.
    pub fn judge(&mut self, end: u64, score: f32) -> Option<Change> {
        self.judged = end;
        if end <= self.deaf_to {
            return None;
        }
        self.likely = if score >= LIKELY { self.likely + 1 } else { 0 };
        match self.state {
            State::Silence => {
                if score >= SURE || self.likely >= LIKELY_FRAMES {
                    let first = self.judged - FRAME as u64 * u64::from(self.likely.max(1));
                    let begin = first.saturating_sub(PRE_ROLL).max(self.floor);
                    self.state = State::Speech(self.judged);
                    return Some(Change::Begin(begin));
                }
            }
            State::Speech(_) if score >= GONE => self.state = State::Speech(self.judged),
            State::Speech(last) => {
                if self.judged >= last + self.config.silence {
                    let end = (last + POST_ROLL.min(self.config.silence)).min(self.judged);
                    self.floor = end;
                    self.state = State::Silence;
                    return Some(Change::End(end));
                }
            }
        }
        None
    }

    /// The audio breaks off here (GAP, EOS, FLUSH): the next sample may begin an utterance, and
    /// one that was open is over.
    pub fn reset(&mut self, at: u64) {
        self.floor = at;
        self.deaf_to = at + u64::from(voice::SETTLING) * FRAME as u64;
        self.likely = 0;
        self.state = State::Silence;
    }

    /// Position before which no [`Change::Begin`] can lie any more: audio before it, while no
    /// utterance is open, is certainly not wanted.
    pub fn settled(&self) -> u64 {
        let undecided = PRE_ROLL + FRAME as u64 * u64::from(self.likely);
        self.judged.saturating_sub(undecided).max(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::speech::{Features, sample::voice};

    const SILENCE: u64 = 12_800;

    /// Activity, and the features that judge for it.
    #[derive(Default)]
    struct Heard(Features, Option<Activity>);

    impl Heard {
        fn push(&mut self, at: u64, samples: &[i16], out: &mut Vec<Change>) {
            let activity = self.1.get_or_insert_with(activity);
            self.0.push_judged(at, samples, &mut |end, score| {
                out.extend(activity.judge(end, score));
            });
        }

        fn settled(&self) -> u64 {
            self.1.as_ref().map_or(0, Activity::settled)
        }
    }

    fn changes(heard: &mut Heard, from: u64, samples: &[i16], piece: usize) -> Vec<Change> {
        let mut out = Vec::new();
        let mut at = from;
        for p in samples.chunks(piece) {
            heard.push(at, p, &mut out);
            at += p.len() as u64;
        }
        out
    }

    fn activity() -> Activity {
        Activity::new(ActivityConfig { silence: SILENCE })
    }

    #[test]
    fn nothing_is_no_speech() {
        for level in [0, 9000, -32768] {
            let mut a = Heard::default();
            assert_eq!(changes(&mut a, 0, &vec![level; 160_000], 320), []);
            assert!(a.settled() > 150_000);
        }
        let mut a = Heard::default();
        assert_eq!(changes(&mut a, 0, &[], 320), []);
        a.push(0, &[], &mut Vec::new());
        assert_eq!(a.settled(), 0);
    }

    #[test]
    fn a_voice_begins_and_ends_with_room_around() {
        for amplitude in [300.0, 8000.0, 60_000.0] {
            let mut samples = vec![0; 32_000];
            samples.extend(voice(48_000, amplitude));
            samples.extend(vec![0; 48_000]);
            let found = changes(&mut Heard::default(), 0, &samples, 320);
            let [Change::Begin(b), Change::End(e)] = found[..] else { panic!("{found:?}") };
            assert!((25_000..=32_000).contains(&b), "{amplitude}: {b}");
            assert!((80_000..=80_000 + SILENCE).contains(&e), "{amplitude}: {e}");
        }
    }

    #[test]
    fn a_voice_at_once_loses_nothing() {
        let found = changes(&mut Heard::default(), 0, &voice(48_000, 8000.0), 320);
        assert_eq!(found, [Change::Begin(0)]);
    }

    #[test]
    fn how_it_is_cut_does_not_matter() {
        let mut samples = voice(30_000, 8000.0);
        samples.extend(vec![0; 30_000]);
        samples.extend(voice(30_000, 8000.0));
        let whole = changes(&mut Heard::default(), 0, &samples, samples.len());
        assert_eq!(whole.len(), 3, "{whole:?}");
        for piece in [1, 7, 255, 256, 257, 1000] {
            assert_eq!(changes(&mut Heard::default(), 0, &samples, piece), whole);
        }
    }

    #[test]
    fn a_break_ends_the_utterance() {
        let mut a = Heard::default();
        let sound = voice(32_000, 8000.0);
        assert_eq!(changes(&mut a, 0, &sound, 320), [Change::Begin(0)]);
        for at in [36_000, 100_000, 1_000_000] {
            // What was open is over, without a word.
            a.1.as_mut().expect("it").reset(at);
            assert_eq!(changes(&mut a, at, &sound, 320), [Change::Begin(at)]);
        }
    }

    proptest! {
        #[test]
        fn changes_make_sense(
            parts in prop::collection::vec((0_u8..5, 1_usize..20_000, 0_u64..30_000), 1..12),
            piece in 1_usize..4000,
            silence in 0_u64..20_000,
        ) {
            let mut a = Heard(Features::default(), Some(Activity::new(ActivityConfig { silence })));
            let (mut at, mut end, mut open) = (0, 0, None);
            for (kind, count, jump) in parts {
                let samples = match kind {
                    0 => vec![0; count],
                    1 => voice(count, 8000.0),
                    2 => voice(count, 50.0),
                    3 => (0..count).map(|i| ((i * 7919) % 65_536) as u16 as i16).collect(),
                    _ => vec![i16::MIN; count],
                };
                if jump > 25_000 {
                    at += jump;
                    a.1.as_mut().expect("it").reset(at);
                    open = None;
                    end = at;
                }
                for p in samples.chunks(piece) {
                    let settled = a.settled();
                    let mut out = Vec::new();
                    a.push(at, p, &mut out);
                    at += p.len() as u64;
                    prop_assert!(a.settled() <= at);
                    for c in out {
                        match c {
                            Change::Begin(b) => {
                                prop_assert!(open.is_none() && b >= end && b >= settled && b < at);
                                open = Some(b);
                            }
                            Change::End(e) => {
                                prop_assert!(open.take().is_some_and(|b| b < e) && e <= at);
                                end = e;
                            }
                        }
                    }
                }
            }
        }
    }
}
