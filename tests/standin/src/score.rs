// SPDX-License-Identifier: MPL-2.0

//! How much of what was said was heard.

/// Words as they are compared: small letters, no punctuation, parted at hyphens, titles as they are read.
pub fn plain_words(text: &str) -> Vec<String> {
    let word = |w: &str| -> String {
        w.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let words = text.split(|c: char| c.is_whitespace() || c == '-').map(word);
    let words = words.filter(|w| !w.is_empty());
    words.map(|w| if w == "mr" { "mister".to_owned() } else { w }).collect()
}

/// Words that were said, and how many have to be changed, left out or put in (Levenshtein) to make them
/// what was heard: their ratio is the word error rate.
pub fn word_errors(said: &str, heard: &str) -> (usize, usize) {
    let (said, heard) = (plain_words(said), plain_words(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in heard.iter().enumerate() {
            let change = diagonal + usize::from(other != word);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    (said.len(), row[heard.len()])
}
