// SPDX-License-Identifier: MPL-2.0

//! Words to begin and end, from the sound within the bounds that the clock gives.

use super::clock::{Evidence, Search};
use super::phones::{Unit, size, sounds};
use super::viterbi::{self, Item, Weights};
use super::{Length, Position, Timing};
use crate::speech::Features;
use crate::speech::class::{self, Asked, Row};
use crate::speech::features::HOP;

/// What is known of a word's time before the sound is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    pub text: String,
    /// The word begins no earlier than this.
    pub earliest: Position,
    /// The word ends after this, where the clock marks its end; it may lie before `earliest`. A
    /// span of more than [`MARK`] to `latest`, or one that begins at `earliest`, is no mark's.
    pub end_after: Position,
    /// The word ends no later than this.
    pub latest: Position,
}

/// Where a word was placed. `begin < end`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    pub begin: Position,
    pub end: Position,
    /// How many of a hundred words placed like this have both begin and end within 100 ms of the
    /// truth, as a share: 0 to 1; 0 where the sound could not be asked. See
    /// [`Curve`](super::clock::Curve).
    pub confidence: f32,
    /// What that was found from.
    pub evidence: Evidence,
}

/// The words on either side of those that are placed, where they are known. They are searched
/// along, so that their sound is not taken for that of the words between; where they lie is not
/// told here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbours {
    /// Placed already, in order.
    pub before: Vec<Bounds>,
    /// Not whole, maybe: its text so far.
    pub after: Option<Bounds>,
}

/// Longest span in which a mark of the frame clock puts a word's end: a frame and one on either
/// side, and one in reserve. In it the end is likeliest in the middle.
pub const MARK: Length = Length::of_ms(4 * 80);

/// Sound behind the last word that is looked at, where its end is marked: the next word begins
/// in it.
const BEHIND: u64 = 20 * HOP;
/// Sound behind the last word that is asked at all where its end is marked: a server whose delay is
/// 480 ms has heard so much of it when the word is whole. What else is known by then depends on
/// the network and on the source's speed; no word's time does.
const AHEAD: Length = Length::of_ms(500);
/// Longest stretch that is searched; longer ones are shared by length.
const LONGEST: u64 = 600 * crate::SAMPLE_RATE;

/// Places consecutive words in the sound: in order, without overlap, each within its bounds
/// where all bounds can be kept at once.
///
/// `language` is an ISO 639 code where known (not asked so far: a word's letters tell its script,
/// and what a spelling leaves open is left open). In the frame-synchronous clock words come one at
/// a time (or a few that share a mark), in the others all words of a segment or an utterance.
pub fn place(
    sound: &Features,
    timing: Timing,
    language: Option<&str>,
    words: &[Bounds],
    neighbours: &Neighbours,
) -> Vec<Placed> {
    place_weighed(sound, timing, language, words, neighbours, &Weights::default())
}

/// As [`place`], with weights of one's own: for those who measure.
#[doc(hidden)]
pub fn place_weighed(
    sound: &Features,
    timing: Timing,
    _language: Option<&str>,
    words: &[Bounds],
    neighbours: &Neighbours,
    weights: &Weights,
) -> Vec<Placed> {
    let placed = among(sound, timing, words, neighbours, weights)
        .or_else(|| search(sound, timing, words, ahead(words)?, weights))
        .unwrap_or_else(|| shared(words, timing.clock().search().open));
    fitted(words, placed)
}

/// With the neighbours; `None` where there are none, or where that is not possible.
fn among(
    sound: &Features,
    timing: Timing,
    words: &[Bounds],
    Neighbours { before, after }: &Neighbours,
    weights: &Weights,
) -> Option<Vec<Placed>> {
    let until = ahead(words)?;
    let after = after.as_ref().filter(|a| a.latest <= until);
    if before.is_empty() && after.is_none() {
        return None;
    }
    let mut all: Vec<Bounds> = before.iter().chain(words).chain(after).cloned().collect();
    // The words may share out the sound between them anew.
    let earliest = all.iter().map(|b| b.earliest).min()?;
    for b in &mut all {
        b.earliest = earliest;
    }
    let mut placed = search(sound, timing, &all, until, weights)?;
    placed.drain(..before.len());
    placed.truncate(words.len());
    Some(placed)
}

/// How far sound is asked where the words' ends are marked.
fn ahead(words: &[Bounds]) -> Option<Position> {
    Some(words.iter().map(|w| w.latest).max()? + AHEAD)
}

/// By the sound; `None` where that is not possible, or where no mark holds the words and their sounds
/// fit no better than any others would: they were not heard then. `ahead`: see there.
fn search(
    sound: &Features,
    timing: Timing,
    words: &[Bounds],
    ahead: Position,
    weights: &Weights,
) -> Option<Vec<Placed>> {
    let from = words.iter().map(|w| w.earliest).min()?.samples();
    let to = words.iter().map(|w| w.latest).max()?.samples();
    if to <= from || to - from > LONGEST {
        return None;
    }
    let Search { marks, open, confidence: curve } = timing.clock().search();
    let behind = if marks { BEHIND } else { 0 };
    let base = from / HOP;
    let frames = to.saturating_add(behind).div_ceil(HOP) - base;
    let until = if marks { ahead.samples() } else { to };
    let (first, heard) = sound.heard(from, to.saturating_add(behind), until);
    if heard.is_empty() {
        return None;
    }
    // Sound that is not known says nothing.
    let mut rows = vec![class::nothing(); frames as usize];
    let lead = first.saturating_sub(base) as usize;
    for (row, known) in rows.iter_mut().skip(lead).zip(&heard) {
        *row = known.row;
    }
    if marks {
        // Only what is known follows.
        rows.truncate((lead + heard.len()).max(((to).div_ceil(HOP) - base) as usize));
    }
    let units: Vec<Vec<Unit>> = words.iter().map(|w| sounds(&w.text)).collect();
    let frames_each = if open { COMMON_PACE } else { pace(&rows, &units) };
    let items: Vec<Item> = words
        .iter()
        .zip(units)
        .map(|(w, units)| Item {
            expected: size(&units) * frames_each,
            units,
            earliest: (w.earliest.samples().div_ceil(HOP).saturating_sub(base)) as usize,
            end_from: (w.end_after.samples().div_ceil(HOP).saturating_sub(base)) as usize,
            latest: (w.latest.samples().div_ceil(HOP).saturating_sub(base)) as usize,
            marked: (marks && w.end_after != w.earliest && w.latest - w.end_after <= MARK).then(
                || (w.end_after.midpoint(w.latest).samples() as f32 / HOP as f32) - base as f32,
            ),
        })
        .collect();
    let hasty = Weights { shortest: [1, 1], ..*weights };
    let found = viterbi::search(&rows, &items, open, weights)
        .or_else(|| viterbi::search(&rows, &items, open, &hasty))?;
    let all: f32 = found.iter().map(|f| f.fit * (f.end - f.begin) as f32).sum();
    if !marks && all < 0.0 {
        return None;
    }
    let clarity =
        |at: usize| heard.get(at.saturating_sub(lead)).or(heard.last()).map_or(0.0, |h| h.clarity);
    let evidence = |f: &viterbi::Found| Evidence { fit: f.fit, clarity: clarity(f.end) };
    Some(
        found
            .iter()
            .map(|f| Placed {
                begin: Position::new((base + f.begin as u64) * HOP),
                end: Position::new((base + f.end as u64) * HOP),
                confidence: curve.confidence(evidence(f)),
                evidence: evidence(f),
            })
            .collect(),
    )
}

/// Frames for each vowel of a word where nothing tells the pace (see [`size`]).
const COMMON_PACE: f32 = 9.2;

/// Frames for each vowel, were all sound that is not silent shared by the words.
fn pace(rows: &[Row], units: &[Vec<Unit>]) -> f32 {
    let [speech, silence] = [class::SPEECH, class::SILENCE].map(Asked::new);
    let spoken = rows.iter().map(class::likely).filter(|r| speech.fit(r) > silence.fit(r)).count();
    let all: f32 = units.iter().map(|u| size(u)).sum();
    (spoken as f32 / all.max(1.0)).clamp(COMMON_PACE / 3.0, COMMON_PACE * 3.0)
}

/// Without the sound: by the words' sounds. `open`: more may be said behind them, so that none lasts
/// longer than twice what is common, and leaves room.
fn shared(words: &[Bounds], open: bool) -> Vec<Placed> {
    let vowels = |w: &Bounds| size(&sounds(&w.text));
    let sizes: Vec<u64> = words.iter().map(|w| (vowels(w) * 10.0) as u64).collect();
    let longest = |w: &Bounds| Length::new((vowels(w) * COMMON_PACE * 2.0) as u64 * HOP);
    let mut at = Position::START;
    let mut out = Vec::with_capacity(words.len());
    for (i, w) in words.iter().enumerate() {
        let begin = w.earliest.max(at);
        // Words up to one that must end sooner share what is left.
        let left: u64 = sizes[i..].iter().sum();
        let room = u128::from((words.last().map_or(w.latest, |l| l.latest) - begin).samples());
        let part = Length::new((room * u128::from(sizes[i]) / u128::from(left.max(1))) as u64);
        let part = if open { part.min(longest(w)) } else { part };
        let end = (begin + part).max(w.end_after).min(w.latest);
        let begin = if open { begin.max(end - part) } else { begin };
        out.push(Placed { begin, end, confidence: 0.0, evidence: Evidence::default() });
        at = end.max(begin);
    }
    out
}

/// In order, without overlap, none empty, and within bounds as far as these allow it.
fn fitted(words: &[Bounds], mut placed: Vec<Placed>) -> Vec<Placed> {
    // A sample at least is left for each word behind.
    let mut limits = vec![Position::MAX; words.len()];
    let mut limit = Position::MAX;
    for (l, w) in limits.iter_mut().zip(words).rev() {
        limit = (limit - Length::new(1)).min(w.latest);
        *l = limit;
    }
    let mut at = Position::START;
    for ((p, w), limit) in placed.iter_mut().zip(words).zip(limits) {
        let floor = w.earliest.max(at);
        p.begin = p.begin.min(limit - Length::new(1)).max(floor);
        p.end = p.end.max(w.end_after).min(limit).max(p.begin + Length::new(1));
        at = p.end;
    }
    placed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::position::{len, pos};
    use crate::speech::sample::{voice, vowel};

    const TIMINGS: [Timing; 5] =
        [Timing::Auto, Timing::Frames, Timing::Segments, Timing::Arrival, Timing::Utterance];

    fn within(earliest: u64, latest: u64, text: &str) -> Bounds {
        let [earliest, latest] = [earliest, latest].map(Position::new);
        Bounds { text: text.into(), earliest, end_after: earliest, latest }
    }

    /// Vowel-like bursts over silence: begin and end of each.
    fn bursts(spans: &[(usize, usize)], length: usize) -> Features {
        let mut sound = Features::default();
        sound.push(0, &bursts_samples(spans, length));
        sound
    }

    fn bursts_samples(spans: &[(usize, usize)], length: usize) -> Vec<i16> {
        let mut samples = vec![0_i16; length];
        for &(begin, end) in spans {
            samples[begin..end].copy_from_slice(&voice(end - begin, 9000.0));
        }
        samples
    }

    #[test]
    fn words_lie_where_the_sound_is() {
        let spans = [(16_000, 24_000), (40_000, 46_000), (60_000, 70_000)];
        let sound = bursts(&spans, 90_000);
        let words = ["oh", "a", "eye"].map(|w| within(0, 90_000, w));
        for timing in [Timing::Segments, Timing::Utterance] {
            let placed = place(&sound, timing, None, &words, &Neighbours::default());
            for (p, s) in placed.iter().zip(spans) {
                assert!(p.begin.abs_diff(pos(s.0 as u64)) <= len(1600), "{placed:?}");
                assert!(p.end.abs_diff(pos(s.1 as u64)) <= len(2400), "{placed:?}");
                assert!((0.0..=1.0).contains(&p.confidence));
            }
        }
    }

    #[test]
    fn a_mark_and_the_sound_give_begin_and_end() {
        let mut samples = vec![0_i16; 60_000];
        samples[16_000..24_000].copy_from_slice(&vowel(8_000, [530.0, 900.0, 2440.0]));
        let mut sound = Features::default();
        sound.push(0, &samples);
        // Ends in the frame up to 24,320, give or take one.
        let word = Bounds { end_after: pos(21_760), ..within(2_000, 25_600, "oh") };
        let placed = place(&sound, Timing::Frames, None, &[word], &Neighbours::default());
        assert!(placed[0].begin.abs_diff(pos(16_000)) <= len(1600), "{placed:?}");
        assert!(placed[0].end.abs_diff(pos(24_000)) <= len(1280), "{placed:?}");
    }

    #[test]
    fn what_is_known_of_later_sound_changes_nothing() {
        let whole = bursts_samples(&[(16_000, 24_000), (27_000, 38_000)], 60_000);
        let speech = |length: u64| {
            let mut sound = Features::default();
            sound.push(0, &whole[..length as usize]);
            sound
        };
        let marked = |text: &str, end: u64| Bounds {
            text: text.into(),
            earliest: pos(2_000),
            end_after: pos(end - 2_560),
            latest: pos(end + 1_280),
        };
        let same = |timing, words: &[Bounds], known: u64| {
            let mut more = speech(known);
            let loud: Vec<i16> = (0..80_000_u32).map(|i| (i * 7919) as u16 as i16).collect();
            more.push(known, &loud);
            let a = place(&speech(known), timing, None, words, &Neighbours::default());
            assert_eq!(a, place(&more, timing, None, words, &Neighbours::default()), "{timing:?}");
            assert!(a.iter().all(|p| p.confidence > 0.0));
        };
        // A word by frames is whole with a delta that comes 9,000 samples behind its mark.
        same(Timing::Frames, &[marked("oh", 24_320)], 25_600 + 9_000);
        same(Timing::Frames, &[marked("oh", 24_320), marked("mama", 38_400)], 39_680 + 9_000);
        let all = [within(2_000, 40_000, "oh"), within(2_000, 40_000, "mama")];
        same(Timing::Segments, &all, 40_000);
        same(Timing::Utterance, &all, 40_000);
    }

    #[test]
    fn a_neighbour_keeps_its_sound() {
        // Two vowels and a mark between them that fits either end.
        let mut samples = vec![0_i16; 60_000];
        samples[16_700..20_700].copy_from_slice(&vowel(4_000, [530.0, 1840.0, 2480.0]));
        samples[22_500..25_300].copy_from_slice(&vowel(2_800, [730.0, 1090.0, 2440.0]));
        let mut sound = Features::default();
        sound.push(0, &samples);
        let mark = |text: &str, end: u64| Bounds {
            text: text.into(),
            earliest: pos(10_000),
            end_after: pos(end - 2_560),
            latest: pos(end + 2_560),
        };
        let place = |text: &str, before: Option<Bounds>, after| {
            let neighbours = Neighbours { before: before.into_iter().collect(), after };
            let word = mark(text, 23_000);
            place(&sound, Timing::Frames, None, &[word], &neighbours)[0]
        };
        let with_next = place("a", None, Some(mark("oh", 26_000)));
        assert!(with_next.begin.abs_diff(pos(16_700)) <= len(640), "{with_next:?}");
        assert!(with_next.end <= pos(22_700), "{with_next:?}");
        let with_last = place("a", Some(mark("eh", 20_700)), None);
        assert!(with_last.begin.abs_diff(pos(22_500)) <= len(1_280), "{with_last:?}");
    }

    #[test]
    fn without_sound_words_share_the_time() {
        let words = ["a", "banana", "b"].map(|w| within(1_000, 11_000, w));
        for timing in TIMINGS {
            let placed = place(&Features::default(), timing, None, &words, &Neighbours::default());
            let length = |i: usize| placed[i].end - placed[i].begin;
            assert_eq!(placed.len(), 3);
            // By their vowels, and all of it.
            assert!(length(1) >= length(0) * 2 && length(0) >= len(1_000), "{placed:?}");
            assert!((10_900..=11_000).contains(&placed[2].end.samples()), "{placed:?}");
        }
        assert_eq!(
            place(&Features::default(), Timing::Auto, None, &[], &Neighbours::default()),
            []
        );
    }

    /// Bounds that can be kept, some of them marked, and any text.
    fn possible() -> impl Strategy<Value = Vec<Bounds>> {
        let word = ("\\PC{0,12}", 0_u64..20_000, 1_u64..20_000, any::<bool>());
        prop::collection::vec(word, 1..12).prop_map(|words| {
            let mut at = 0;
            let mut bounds: Vec<Bounds> = Vec::new();
            for (text, overlap, length, marked) in words {
                let earliest = u64::saturating_sub(at, overlap)
                    .max(bounds.last().map_or(0, |b| b.earliest.samples()));
                at += length;
                let end_after = if marked { earliest.max(at - length / 2 - 1) } else { earliest };
                let [earliest, end_after, latest] = [earliest, end_after, at].map(Position::new);
                bounds.push(Bounds { text, earliest, end_after, latest });
            }
            bounds
        })
    }

    fn any_sound() -> impl Strategy<Value = Features> {
        let part = (0_u8..4, 0_usize..15_000, 0_u64..30_000);
        prop::collection::vec(part, 0..8).prop_map(|parts| {
            let mut sound = Features::default();
            for (kind, count, jump) in parts {
                let samples: Vec<i16> = (0..count)
                    .map(|i| match kind {
                        0 => 0,
                        1 => ((i * 7919) % 65_536) as u16 as i16,
                        2 => (9000.0 * (i as f32 * 0.3).sin()) as i16,
                        _ => i16::MAX,
                    })
                    .collect();
                let at = sound.end() + if jump > 20_000 { jump } else { 0 };
                sound.push(at, &samples);
            }
            sound
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn words_keep_their_order_and_their_bounds(
            words in possible(), sound in any_sound(), timing in 0_usize..TIMINGS.len(),
            forget in 0_u64..90_000, sides in (any::<bool>(), any::<bool>()),
        ) {
            let mut words = words;
            let before = if sides.0 && words.len() > 1 { vec![words.remove(0)] } else { vec![] };
            let after = (sides.1 && words.len() > 1).then(|| words.pop()).flatten();
            let neighbours = Neighbours { before, after };
            let mut sound = sound;
            sound.forget_before(forget);
            let placed = place(&sound, TIMINGS[timing], Some("en"), &words, &neighbours);
            prop_assert_eq!(placed.len(), words.len());
            let mut at = 0;
            for (p, w) in placed.iter().zip(&words) {
                prop_assert!(p.begin < p.end && p.begin >= pos(at), "{:?} {:?}", placed, words);
                prop_assert!(p.begin >= w.earliest && p.end <= w.latest, "{:?} {:?}", placed, words);
                prop_assert!((0.0..=1.0).contains(&p.confidence));
                at = p.end.samples();
            }
        }

        #[test]
        fn impossible_bounds_still_give_words_in_order(
            words in prop::collection::vec(
                (0_u64..50_000, 0_u64..50_000, 0_u64..50_000, "\\PC{0,6}"), 0..8),
            sound in any_sound(), timing in 0_usize..TIMINGS.len(), far in any::<bool>(),
        ) {
            let shift = if far { 1 << 62 } else { 0 };
            let words: Vec<Bounds> = words
                .into_iter()
                .map(|(a, b, c, text)| Bounds {
                    text, earliest: pos(a + shift), end_after: pos(b + shift), latest: pos(c + shift),
                })
                .collect();
            let placed = place(&sound, TIMINGS[timing], None, &words, &Neighbours::default());
            prop_assert_eq!(placed.len(), words.len());
            let mut at = 0;
            for p in placed {
                prop_assert!(p.begin < p.end && p.begin >= pos(at));
                at = p.end.samples();
            }
        }
    }
}
