// SPDX-License-Identifier: MPL-2.0

//! Words to the classes of their sounds, in every script.
//!
//! Spelling says less than speech, so a letter stands for all the classes that it may have, and
//! letters that are often silent may be left out. What a script does not tell (Han characters,
//! digits, scripts not listed) is a syllable of any sounds.

use crate::speech::class::*;

/// A sound of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// The classes that it may be of: a bit mask.
    pub classes: Set,
    /// Whether it may be silent.
    pub optional: bool,
}

const CONSONANT: Set = NASAL | LIQUID | SIBILANT | FRICATIVE | STOP;

const fn must(classes: Set) -> Unit {
    Unit { classes, optional: false }
}

const fn may(classes: Set) -> Unit {
    Unit { classes, optional: true }
}

/// The sounds of a word; never empty.
pub fn sounds(word: &str) -> Vec<Unit> {
    let letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    let mut units = Vec::with_capacity(letters.len() + 1);
    let mut i = 0;
    if is_spelled(word) {
        letters.iter().for_each(|&letter| name(letter, &mut units));
        return units;
    }
    while i < letters.len() {
        let rest = &letters[i..];
        let before = if i > 0 { letters[i - 1] } else { ' ' };
        i += match rest[0] {
            'a'..='z' | '\u{c0}'..='\u{24f}' => latin(rest, before, &mut units),
            c => {
                other(c, &mut units);
                1
            }
        };
    }
    // One long sound is told from two of its kind by nothing: one it is.
    units.dedup_by(|b, a| {
        a.classes == b.classes && {
            a.optional &= b.optional;
            true
        }
    });
    if units.iter().all(|u| u.optional) {
        units.push(must(VOWEL));
    }
    units
}

/// Whether it is said letter by letter, as "PBX", "p.m." and "www" are: consonants alone, and written
/// as no word is. (Pieces of words, and words as Czech has them, are lower case.)
fn is_spelled(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '.');
    let letters: Vec<char> = word.chars().filter(|c| *c != '.').collect();
    let dotted = word.trim_end_matches('.').contains('.');
    letters.len() > 1
        && letters.iter().all(|c| c.is_ascii_alphabetic() && !is_vowel(c.to_ascii_lowercase()))
        && (dotted || word.starts_with("www") || letters.iter().all(char::is_ascii_uppercase))
}

/// The sounds of a consonant's name. In English: elsewhere the vowel may be another.
fn name(letter: char, units: &mut Vec<Unit>) {
    let (before, behind): (&[Set], &[Set]) = match letter {
        'b' | 'p' => (&[P], &[]),
        'c' => (&[S | T], &[]),
        'd' | 't' => (&[T], &[]),
        'f' => (&[], &[F]),
        'g' | 'j' => (&[T | SH | Z], &[]),
        'h' => (&[], &[T | SH]),
        'k' | 'q' => (&[K], &[]),
        'l' => (&[], &[L]),
        'm' => (&[], &[M]),
        'n' => (&[], &[N]),
        'r' => (&[], &[R]),
        's' => (&[], &[S]),
        'v' => (&[V | F], &[]),
        'w' => (&[T | V, VOWEL, P, L | VOWEL], &[]),
        'x' => (&[], &[K, S]),
        'z' => (&[T | S | Z], &[]),
        _ => return,
    };
    let sounds = before.iter().chain([&VOWEL]).chain(behind);
    units.extend(sounds.map(|&classes| must(classes)));
}

/// How long a word lasts, in vowels: other sounds are shorter, optional ones are half there.
/// (In the speech of `scripts/train-sounds.sh` vowels last 92 ms, other sounds 77 ms.)
pub fn size(units: &[Unit]) -> f32 {
    let one = |u: &Unit| {
        let size = if u.classes & VOWEL != 0 { 1.0 } else { 0.84 };
        if u.optional { size / 2.0 } else { size }
    };
    units.iter().map(one).sum::<f32>().max(0.84)
}

fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
        || matches!(c, 'à'..='æ' | 'è'..='ï' | 'ò'..='ö' | 'ø'..='ý' | 'ÿ')
        || matches!(c, 'ā'..='ą' | 'ē'..='ě' | 'ĩ'..='ı' | 'ō'..='œ' | 'ũ'..='ų')
}

/// The vowels that a letter may stand for, in any language that is written with it.
fn vowel(letter: char) -> Set {
    match letter {
        'a' | 'à'..='å' | 'ā'..='ą' => A | E | O,
        'e' | 'è'..='ë' | 'ē'..='ě' | 'æ' => E | I | A,
        'i' | 'ì'..='ï' | 'ĩ'..='ı' => I | E | A,
        'o' | 'ò'..='õ' | 'ō'..='ő' => O | A | U,
        'u' | 'ù'..='û' | 'ũ'..='ų' => U | A | I,
        'ü' | 'ý' | 'ÿ' | 'y' => I | U | A | E,
        _ => VOWEL,
    }
}

/// Appends the sound that `rest` begins with and returns how many letters it took.
fn latin(rest: &[char], before: char, units: &mut Vec<Unit>) -> usize {
    let at = |i: usize| rest.get(i).copied().unwrap_or(' ');
    let last = !at(1).is_alphabetic();
    let (a, b, c) = (rest[0], at(1), at(2));
    if is_vowel(a) {
        if a == 'y' && is_vowel(b) {
            units.push(must(Y | VOWEL));
            return 1;
        }
        let mut taken = 1;
        let mut vowels = vowel(a);
        while is_vowel(at(taken)) && at(taken) != 'y' {
            vowels |= vowel(at(taken));
            taken += 1;
        }
        if at(taken) == 'r' {
            vowels |= R;
        }
        // A last `e` after a consonant is often silent.
        let silent = a == 'e' && last && before.is_alphabetic() && !is_vowel(before);
        let only = units.iter().all(|u| u.classes & VOWEL == 0);
        units.push(if silent && !only { may(vowels) } else { must(vowels) });
        return taken;
    }
    let (sounds, taken): (&[Unit], usize) = match (a, b, c) {
        ('s', 'c', 'h') => (&[must(SIBILANT)], 3),
        ('t', 'c', 'h') => (&[must(T), must(SIBILANT)], 3),
        ('t', 's', 'c') => (&[must(T), must(SIBILANT)], 4.min(rest.len())),
        ('c', 'h', _) => (&[must(T | K | SH | H | F)], 2),
        ('s', 'h', _) | ('s', 'z', _) | ('r', 'z', _) => (&[must(SIBILANT)], 2),
        ('c', 'z', _) | ('t', 'z', _) | ('t', 's', _) => (&[must(T), must(SIBILANT)], 2),
        ('t', 'h', _) => (&[must(F | V | T)], 2),
        ('p', 'h', _) => (&[must(F)], 2),
        ('g', 'h', _) => (&[may(F | H | K)], 2),
        ('w', 'h', _) => (&[must(W | FRICATIVE)], 2),
        ('k', 'n', _) if before == ' ' => (&[may(K), must(N)], 2),
        ('w', 'r', _) if before == ' ' => (&[must(R | V | W)], 2),
        ('n', 'g', _) => (&[must(N), may(K | SIBILANT)], 2),
        ('c', 'k', _) => (&[must(K)], 2),
        ('q', 'u', _) => (&[must(K), may(W | U | V)], 2),
        ('p', 'f', _) => (&[may(P), must(F)], 2),
        ('t', 'i', 'o') => (&[must(S | SH | T)], 2),
        _ => (
            match a {
                'p' => &[must(P)],
                'k' | 'q' => &[must(K)],
                'b' => &[must(P | V)],
                // A stop at the end is often not heard.
                't' | 'd' if last => &[may(T)],
                't' | 'd' => &[must(T)],
                'c' => &[must(K | T | S | SH)],
                'g' => &[must(K | T | SH | Z | H | Y)],
                'x' => &[must(K), must(SIBILANT)],
                's' if last => &[may(S | Z | SH)],
                's' | 'ß' | 'ç' | 'ś'..='ş' | 'š' | 'ź'..='ž' => &[must(SIBILANT)],
                'z' => &[may(T), must(SIBILANT)],
                'j' => &[must(SH | Z | Y | H | T)],
                'f' => &[must(F)],
                'v' => &[must(V | F | W)],
                'w' => &[must(W | V | F)],
                'h' => &[may(FRICATIVE)],
                'l' | 'ł' => &[must(L | W | VOWEL)],
                'r' | 'ř' => &[may(R | L | FRICATIVE)],
                'm' => &[must(M)],
                'n' | 'ñ' | 'ń'..='ň' => &[must(NASAL)],
                'ć'..='č' | 'ţ'..='ť' | 'đ' | 'ď' | 'ð' | 'þ' => &[must(T | SIBILANT)],
                'ğ' => &[may(LIQUID)],
                c if c.is_alphabetic() => &[must(CONSONANT)],
                _ => &[],
            },
            1,
        ),
    };
    units.extend_from_slice(sounds);
    // Doubled consonants sound once.
    if taken == 1 && b == a { 2 } else { taken }
}

/// A character of a script in which one stands for itself.
fn other(c: char, units: &mut Vec<Unit>) {
    let code = c as u32;
    match c {
        // Cyrillic.
        'а' | 'е' | 'и' | 'о' | 'у' | 'ы' | 'э' | 'ю' | 'я' | 'ё' | 'і' | 'ї' | 'є' => {
            units.push(must(VOWEL));
        }
        'п' | 'б' => units.push(must(P)),
        'т' | 'д' => units.push(must(T)),
        'к' | 'ґ' => units.push(must(K)),
        'г' => units.push(must(K | FRICATIVE)),
        'с' | 'з' | 'ж' | 'ш' | 'щ' => units.push(must(SIBILANT)),
        'ц' | 'ч' => units.extend([must(T), must(SIBILANT)]),
        'ф' | 'х' => units.push(must(FRICATIVE)),
        'в' => units.push(must(FRICATIVE | LIQUID)),
        'м' | 'н' => units.push(must(NASAL)),
        'л' | 'р' | 'й' => units.push(must(LIQUID | VOWEL)),
        // Greek.
        'α' | 'ε' | 'η' | 'ι' | 'ο' | 'υ' | 'ω' | 'ά'..='ΰ' | 'ϊ'..='ώ' => {
            units.push(must(VOWEL))
        }
        'π' | 'κ' | 'τ' | 'β' | 'δ' | 'γ' => units.push(must(STOP | FRICATIVE)),
        'φ' | 'χ' | 'θ' => units.push(must(FRICATIVE)),
        'σ' | 'ς' | 'ζ' => units.push(must(SIBILANT)),
        'ξ' | 'ψ' => units.extend([must(STOP), must(SIBILANT)]),
        'μ' | 'ν' => units.push(must(NASAL)),
        'λ' | 'ρ' => units.push(must(LIQUID | VOWEL)),
        // Hebrew and Arabic write few vowels.
        '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}' | '\u{66e}'..='\u{6d3}' => {
            units.extend([must(semitic(code)), may(VOWEL)]);
        }
        // The scripts of India have one plan, 128 places each.
        '\u{900}'..='\u{d7f}' => indic(code & 0x7f, units),
        '\u{e01}'..='\u{e2e}' => units.extend([must(thai(code)), may(VOWEL)]),
        '\u{e30}'..='\u{e45}' => units.push(must(VOWEL)),
        '\u{3041}'..='\u{3096}' => kana(code - 0x3041, units),
        '\u{30a1}'..='\u{30f6}' => kana(code - 0x30a1, units),
        '\u{ac00}'..='\u{d7a3}' => hangul(code - 0xac00, units),
        // Han: a syllable, nearly always with a consonant first. Digits: about one too.
        '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => {
            units.extend([must(CONSONANT), must(VOWEL), may(NASAL)]);
        }
        c if c.is_numeric() => units.extend([may(CONSONANT), must(VOWEL), may(CONSONANT)]),
        c if c.is_alphabetic() => units.extend([may(CONSONANT), must(VOWEL | LIQUID | NASAL)]),
        _ => {}
    }
}

fn semitic(code: u32) -> Set {
    match char::from_u32(code).unwrap_or(' ') {
        'מ' | 'ם' | 'נ' | 'ן' | 'م' | 'ن' => NASAL,
        'ל' | 'ר' | 'י' | 'ו' | 'ل' | 'ر' | 'ي' | 'و' | 'ی' => LIQUID | VOWEL,
        'ס' | 'ש' | 'ז' | 'צ' | 'ץ' | 'س' | 'ش' | 'ز' | 'ص' | 'ج' => SIBILANT,
        'ב' | 'ג' | 'ד' | 'ט' | 'ק' | 'ת' | 'ب' | 'ت' | 'د' | 'ط' | 'ض' | 'ق' | 'ك' | 'ک' => {
            STOP | FRICATIVE
        }
        'ا' | 'أ' | 'إ' | 'آ' | 'א' | 'ع' | 'ע' => VOWEL | STOP,
        _ => CONSONANT,
    }
}

fn indic(place: u32, units: &mut Vec<Unit>) {
    let consonant: Set = match place {
        0x01 | 0x02 => {
            units.push(may(NASAL));
            return;
        }
        0x04..=0x14 | 0x3e..=0x4c => {
            // A vowel sign takes the place of the vowel that the consonant has by itself.
            if units.last() == Some(&may(VOWEL)) {
                units.pop();
            }
            units.push(must(VOWEL));
            return;
        }
        0x4d => {
            if units.last() == Some(&may(VOWEL)) {
                units.pop();
            }
            return;
        }
        0x19 | 0x1e | 0x23 | 0x28 | 0x29 | 0x2e => NASAL,
        0x1a..=0x1d => STOP | SIBILANT,
        0x15..=0x2d => STOP,
        0x36..=0x38 => SIBILANT,
        0x39 => FRICATIVE,
        0x2f..=0x35 => LIQUID | FRICATIVE,
        0x58..=0x5f => CONSONANT,
        _ => return,
    };
    units.extend([must(consonant), may(VOWEL)]);
}

fn thai(code: u32) -> Set {
    match code - 0xe00 {
        0x07 | 0x13 | 0x19 | 0x21 => NASAL,
        0x0b | 0x28..=0x2a => SIBILANT,
        0x08..=0x0c => STOP | SIBILANT,
        0x1d | 0x1f | 0x2b | 0x2e => FRICATIVE,
        0x22..=0x27 | 0x2c | 0x0d => LIQUID,
        0x2d => VOWEL | STOP,
        _ => STOP,
    }
}

/// `place` in the table of hiragana or katakana, from small a on.
fn kana(place: u32, units: &mut Vec<Unit>) {
    let consonant: Set = match place {
        0..=9 => 0,
        10..=19 => STOP,
        20..=29 => SIBILANT,
        // Small tsu is a held stop, without a vowel.
        34 => {
            units.push(must(STOP));
            return;
        }
        30..=40 => STOP | SIBILANT,
        41..=45 => NASAL,
        46..=60 => FRICATIVE | STOP,
        61..=65 => NASAL,
        66..=71 => LIQUID | VOWEL,
        72..=76 => LIQUID,
        77..=79 => LIQUID,
        82 => {
            units.push(must(NASAL));
            return;
        }
        _ => CONSONANT,
    };
    if consonant != 0 {
        units.push(must(consonant));
    }
    units.push(must(VOWEL));
}

/// `place` among the syllables of Hangul.
fn hangul(place: u32, units: &mut Vec<Unit>) {
    match place / 588 {
        2 | 6 => units.push(must(NASAL)),
        5 => units.push(must(LIQUID)),
        9 | 10 => units.push(must(SIBILANT)),
        12..=14 => units.push(must(STOP | SIBILANT)),
        18 => units.push(may(FRICATIVE)),
        11 => {}
        _ => units.push(must(STOP)),
    }
    units.push(must(VOWEL));
    match place % 28 {
        0 => {}
        4..=6 | 16 | 21 => units.push(must(NASAL)),
        8..=15 => units.push(must(LIQUID)),
        _ => units.push(may(STOP)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(word: &str) -> String {
        let one = |u: &Unit| {
            let kinds: String = "_VNLSFP"
                .chars()
                .zip(BROAD)
                .filter(|(_, set)| u.classes & set != 0)
                .map(|(c, _)| c)
                .collect();
            if u.optional { format!("({kinds})") } else { kinds }
        };
        sounds(word).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn letters_stand_for_their_sounds() {
        assert_eq!(spelled("man"), "N V N");
        assert_eq!(spelled("Spades,"), "S P V P V (S)");
        assert_eq!(spelled("sheep"), "S V P");
        assert_eq!(spelled("made"), "N V P (V)");
        assert_eq!(spelled("the"), "FP V");
        assert_eq!(spelled("schön"), "S V N");
        assert_eq!(spelled("мама"), "N V N V");
        assert_eq!(spelled("και"), "FP V");
        assert_eq!(spelled("コン"), "P V N");
        assert_eq!(spelled("한"), "(F) V N");
        assert_eq!(spelled("人"), "NLSFP V (N)");
    }

    #[test]
    fn a_word_without_a_vowel_is_spelled() {
        assert_eq!(spelled("PBX,"), "P V P V V P S");
        assert_eq!(spelled("p.m."), "P V V N");
        assert!(size(&sounds("www.")) > 2.0 * size(&sounds("wow")));
        for word in ["Dr.", "hmmm", "b", "n't", "3rd", "psst!", "str", "Prst", "USA", "-", "..."] {
            assert!(!is_spelled(word), "{word}");
        }
    }

    #[test]
    fn a_vowel_sign_takes_the_place_of_the_vowel_within() {
        assert_eq!(spelled("मे"), "N V");
        assert_eq!(spelled("मन"), "N (V) N (V)");
        assert_eq!(spelled("क्य"), "P LF (V)");
    }

    #[test]
    fn what_is_no_word_is_a_syllable_all_the_same() {
        for word in ["", "-", "…", "😀", "\u{301}"] {
            assert_eq!(spelled(word), "V", "{word:?}");
        }
    }

    #[test]
    fn longer_words_last_longer() {
        let last = |w: &str| size(&sounds(w));
        assert!(last("a") < last("man") && last("man") < last("considerable"));
        assert!(last("人") < last("人民"));
    }

    proptest! {
        #[test]
        fn every_word_has_sounds(word in "\\PC{0,30}") {
            let units = sounds(&word);
            prop_assert!(units.iter().any(|u| !u.optional));
            prop_assert!(units.iter().all(|u| u.classes != 0 && u.classes & SILENCE == 0));
            prop_assert!(size(&units) > 0.0);
        }
    }
}
