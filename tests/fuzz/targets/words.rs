// SPDX-License-Identifier: MPL-2.0

//! Words: the same however the text was cut, none blank, no letter lost.

use gstvllmrealtime::transcript::script::{Class, class, clean};
use gstvllmrealtime::transcript::words::{LONGEST, Piece, Splitter, words};

use super::bytes;

pub fn run(data: &[u8]) {
    let (text, pieces) = bytes::pieces(data);
    let whole = words(&text);
    check(&text, &whole);
    assert_eq!(cut(pieces.iter().map(String::as_str)), whole, "{pieces:?}");
    let each: Vec<String> = text.chars().map(String::from).collect();
    assert_eq!(cut(each.iter().map(String::as_str)), whole, "{text:?} by characters");
}

fn cut<'a>(pieces: impl Iterator<Item = &'a str>) -> Vec<Piece> {
    let mut splitter = Splitter::default();
    let mut words = Vec::new();
    for piece in pieces {
        splitter.push(piece);
        words.append(&mut splitter.take());
        let _ = splitter.peek();
        assert!(splitter.settled() <= splitter.position());
    }
    words.append(&mut splitter.flush());
    assert!(splitter.is_empty());
    words
}

fn check(text: &str, words: &[Piece]) {
    let mut last = 0;
    for w in words {
        assert!(!w.text.trim().is_empty() && w.text.trim() == w.text, "{w:?}");
        assert!(!w.text.contains(|c: char| clean(c).is_none()), "{w:?}");
        // Punctuation may stand on both sides.
        assert!(w.text.chars().count() <= LONGEST + 40, "{w:?}");
        assert!(w.from >= last && w.from < w.to, "{w:?} after {last} in {text:?}");
        last = w.from;
    }
    let letters = |text: &str| -> String {
        let letter =
            |c: &char| c.is_alphanumeric() && matches!(class(*c), Class::Other | Class::Unspaced);
        text.chars().filter_map(clean).filter(letter).collect()
    };
    let ours: String = words.iter().map(|w| letters(&w.text)).collect();
    assert_eq!(ours, letters(text), "{text:?}");
}
