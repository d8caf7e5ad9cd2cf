// SPDX-License-Identifier: MPL-2.0

//! Which words are sure while the sound grows: those on which two hearings in a row agree, with all
//! before them (LocalAgreement-2 of Macháček and others, 2023).

/// The hearings of one stretch of speech.
#[derive(Debug, Default)]
pub struct Agreement {
    /// Words that are said, as they were.
    said: Vec<String>,
    /// The last of them was the last one heard: a mark may follow.
    open: bool,
    /// What the last hearing had behind them.
    unsure: Vec<String>,
    /// So many of them lie within the stretch, once it was heard whole.
    within: usize,
}

impl Agreement {
    /// What is said now that the stretch was heard once more. A mark alone closes the word before it;
    /// what has a space behind it gets none.
    /// `whole`: nothing of the stretch is still to come.
    pub fn hear(&mut self, text: &str, whole: bool) -> Vec<String> {
        let heard: Vec<&str> = text.split_whitespace().collect();
        let plainly = |words: &mut dyn Iterator<Item = &str>| words.map(plain).collect::<Vec<_>>();
        let all = plainly(&mut heard.iter().copied());
        let said = plainly(&mut self.said.iter().map(String::as_str));
        let (known, new) = heard.split_at(place(&said, &all));
        self.within = place(&all, &said);
        let mut now = Vec::new();
        // The last word that was said may have been the last one heard: its marks come with what
        // follows.
        if (whole || !new.is_empty())
            && let (Some(again), Some(said)) = (known.last(), self.said.last_mut())
            && std::mem::take(&mut self.open)
            && plain(said) == plain(again)
            && !marks(again).is_empty()
        {
            said.push_str(marks(again));
            now.push(marks(again).to_owned());
        }
        let same = new.iter().zip(&self.unsure).take_while(|(a, b)| plain(a) == plain(b)).count();
        let sure = if whole { new.len() } else { same };
        for (i, word) in new[..sure].iter().enumerate() {
            // What ends a hearing need not end a sentence.
            let open = !whole && i + 1 == new.len();
            let word = if open { word.trim_end_matches(is_mark) } else { word };
            if !plain(word).is_empty() {
                self.said.push(word.to_owned());
                self.open = open;
                now.push(if open { word.to_owned() } else { format!("{word} ") });
            }
        }
        if !new[..sure].is_empty() {
            self.within = self.said.len();
        }
        self.unsure = new[sure..].iter().map(|w| (*w).to_owned()).collect();
        now
    }

    /// The stretch was cut, and its speech goes on in another one: some of what was said lies there.
    pub fn go_on(mut self) -> Agreement {
        Agreement {
            said: self.said.split_off(self.within.min(self.said.len())),
            ..Agreement::default()
        }
    }
}

/// How many of the first words of `b` are those of `a`: with the fewest changes, and of several places
/// the nearest to as many.
fn place(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, word) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(other != word);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    (0..=b.len()).min_by_key(|&j| (row[j], j.abs_diff(a.len()))).unwrap_or(0)
}

/// A word as it is compared.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | ',' | '?' | '!' | ';' | ':' | '…' | '-' | '—')
}

/// The marks that close a word.
fn marks(word: &str) -> &str {
    &word[word.trim_end_matches(is_mark).len()..]
}

#[cfg(test)]
mod tests {
    use super::Agreement;

    fn words(said: Vec<String>) -> String {
        said.iter().map(|word| word.trim_end()).collect::<Vec<_>>().join(" ")
    }

    fn said(hearings: &[&str], whole: &str) -> Vec<String> {
        let mut a = Agreement::default();
        let mut said: Vec<String> = hearings.iter().map(|h| words(a.hear(h, false))).collect();
        said.push(words(a.hear(whole, true)));
        said
    }

    #[test]
    fn a_word_is_said_when_two_hearings_agree() {
        let hearings = ["Have", "He was", "He was not an", "He was not an ill", "He was not an"];
        let came = said(&hearings, "He was not an ill-disposed man.");
        assert_eq!(came, ["", "", "He was", "not an", "", "ill-disposed man."]);
    }

    #[test]
    fn the_end_of_a_hearing_ends_no_sentence() {
        let came = said(&["All is.", "All is.", "All is well, he"], "All is well, he said.");
        assert_eq!(came, ["", "All is", "", "well, he said."]);
        let came = said(&["All is well.", "All is well."], "All is well.");
        assert_eq!(came, ["", "All is well", "."]);
        let came =
            said(&["All is well.", "All is well.", "All is well. He"], "All is well. He did.");
        assert_eq!(came, ["", "All is well", ".", "He did."]);
    }

    #[test]
    fn what_is_said_stays_although_it_is_heard_otherwise_now() {
        let came =
            said(&["every one of", "every one of", "Everyone of them"], "Everyone of them left.");
        assert_eq!(came, ["", "every one of", "", "them left."]);
    }

    /// Speech without a pause is cut where words behind the cut are said already.
    #[test]
    fn what_was_said_behind_a_cut_is_not_said_again() {
        let mut a = Agreement::default();
        for text in ["one two three four five", "one two three four five six"] {
            a.hear(text, false);
        }
        assert!(a.hear("one two three.", true).is_empty());
        let mut b = a.go_on();
        assert!(b.hear("four five six", false).is_empty());
        assert_eq!(b.hear("four five six seven", true), ["six ", "seven "]);
        let mut a = Agreement::default();
        a.hear("one two", false);
        assert_eq!(a.hear("one two three", true), ["one ", "two ", "three "]);
        assert_eq!(a.go_on().hear("four", true), ["four "]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(said(&["", "", "..."], ""), ["", "", "", ""]);
    }
}
