// SPDX-License-Identifier: MPL-2.0

//! Where a reader would break a text: after punctuation, before conjunctions and prepositions, not
//! between an article and its noun.

use crate::transcript::script;

/// What parts two words, from the best place for a break to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    Sentence,
    Clause,
    /// A conjunction or a preposition follows.
    Phrase,
    Words,
    /// One belongs to the other: a first name and a surname, an auxiliary and its verb.
    Close,
    /// An article and its noun, a title and its name.
    Bound,
}

impl Break {
    /// What it costs to break here, against the room that is left empty: 70 for a whole caption.
    pub fn cost(self) -> u32 {
        match self {
            Break::Sentence => 0,
            Break::Clause => 30,
            Break::Phrase => 45,
            Break::Words => 60,
            Break::Close => 80,
            Break::Bound => 120,
        }
    }
}

#[derive(Debug)]
struct Words {
    code: &'static str,
    /// Stand before what they belong to: articles, possessives.
    bound: &'static str,
    /// Begin a phrase: conjunctions, prepositions.
    phrase: &'static str,
    /// Stand better with what follows: pronouns, auxiliaries.
    close: &'static str,
    /// Abbreviations whose full stop ends no sentence.
    titles: &'static str,
}

/// The first one is taken for languages that are not here.
const LANGUAGES: [Words; 4] = [
    Words {
        code: "en",
        bound: "a an the my your his her its our their this that these those every no",
        phrase: "and or but nor so yet because that which who whom whose when where while if unless \
            until till since as than though although after before whether in on at by for with from \
            to of into onto over under about between through during without within against among \
            across behind beyond near around toward towards upon",
        close: "i you he she it we they is are was were am be been has have had will would can could \
            shall should may might must do does did not very",
        titles: "mr. mrs. ms. dr. st. prof. sr. jr. vs. e.g. i.e. no.",
    },
    Words {
        code: "de",
        bound: "der die das den dem des ein eine einen einem einer eines mein meine dein deine sein \
            seine ihr ihre unser unsere kein keine dieser diese dieses",
        phrase: "und oder aber denn weil dass daß wenn als ob während obwohl damit bevor nachdem in im \
            an am auf bei mit von vom zu zum zur aus nach für über unter vor hinter zwischen durch ohne \
            gegen um seit bis",
        close: "ich du er sie es wir ihr ist sind war waren hat haben hatte wird werden kann nicht sehr",
        titles: "dr. prof. hr. fr. st. nr. z.b. d.h. u.a.",
    },
    Words {
        code: "fr",
        bound: "le la les un une des du au aux mon ma mes ton ta tes son sa ses notre nos votre vos leur \
            leurs ce cet cette ces",
        phrase: "et ou mais donc or ni car que qui quand lorsque comme si parce puisque à de dans en par \
            pour sur sous avec sans chez vers entre depuis pendant avant après",
        close: "je tu il elle on nous vous ils elles est sont était a ont avait ne pas se très",
        titles: "m. mme. dr. st.",
    },
    Words {
        code: "es",
        bound: "el la los las un una unos unas mi mis tu tus su sus nuestro nuestra este esta estos estas \
            ese esa",
        phrase: "y e o u pero sino porque que quien cuando donde como si aunque mientras a de en por para \
            con sin sobre entre hasta desde hacia según tras",
        close: "yo tú él ella nosotros ellos ellas es son era está ha han había no se muy",
        titles: "sr. sra. srta. dr. dra. ud. uds.",
    },
];

/// A language, as far as its line breaks are known.
#[derive(Debug, Clone, Copy)]
pub struct Language(&'static Words);

impl Default for Language {
    fn default() -> Language {
        Language(&LANGUAGES[0])
    }
}

impl PartialEq for Language {
    fn eq(&self, other: &Language) -> bool {
        self.0.code == other.0.code
    }
}

impl Language {
    /// By an ISO 639 or BCP 47 code; English where it is not known.
    pub fn of(code: &str) -> Language {
        let code = code.split(['-', '_']).next().unwrap_or_default();
        let known = LANGUAGES.iter().find(|l| l.code.eq_ignore_ascii_case(code));
        known.map_or_else(Language::default, Language)
    }

    /// What parts these two words.
    pub fn break_between(self, before: &str, after: &str) -> Break {
        let is_in = |words: &str, word: &str| words.split_whitespace().any(|w| w == word);
        let lower = |word: &str| word.to_lowercase();
        let (plain, next) = (lower(before), lower(after));
        let opening = |c: char| !c.is_alphanumeric();
        let (plain, next) = (plain.trim_start_matches(opening), next.trim_matches(opening));
        if is_in(self.0.titles, plain) || is_initial(before) {
            return Break::Bound;
        }
        if script::ends_sentence(before) {
            return Break::Sentence;
        }
        if before.ends_with([',', ';', ':', '—', '–', '、', '，', '；', '：', '،', '؛']) {
            return Break::Clause;
        }
        if is_in(self.0.bound, plain) {
            return Break::Bound;
        }
        if is_in(self.0.phrase, next) {
            return Break::Phrase;
        }
        let capital = |word: &str| word.chars().next().is_some_and(char::is_uppercase);
        if is_in(self.0.phrase, plain)
            || is_in(self.0.close, plain)
            || capital(before) && capital(after)
        {
            return Break::Close;
        }
        Break::Words
    }

    /// Whether it stands before what it belongs to.
    pub fn is_bound(self, word: &str) -> bool {
        self.break_between(word, "x") == Break::Bound
    }
}

/// `J.` of a name.
fn is_initial(word: &str) -> bool {
    let mut chars = word.chars();
    matches!((chars.next(), chars.next(), chars.next()), (Some(c), Some('.'), None) if c.is_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_reader_would_pause() {
        let en = Language::of("en-GB");
        for (before, after, expected) in [
            ("done.", "Then", Break::Sentence),
            ("“done.”", "Then", Break::Sentence),
            ("Mr.", "Smith", Break::Bound),
            ("J.", "Smith", Break::Bound),
            ("well,", "he", Break::Clause),
            ("the", "house", Break::Bound),
            ("(The", "house", Break::Bound),
            ("house", "and", Break::Phrase),
            ("went", "to", Break::Phrase),
            ("to", "school", Break::Close),
            ("was", "seen", Break::Close),
            ("John", "Smith", Break::Close),
            ("red", "house", Break::Words),
        ] {
            assert_eq!(en.break_between(before, after), expected, "{before} {after}");
        }
        assert_eq!(Language::of("de").break_between("das", "Haus"), Break::Bound);
        assert_eq!(Language::of("xx"), Language::of("en"));
        assert_eq!(Language::of("ja").break_between("です。", "はい"), Break::Sentence);
    }
}
