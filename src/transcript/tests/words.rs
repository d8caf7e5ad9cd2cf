// SPDX-License-Identifier: MPL-2.0

use proptest::prelude::*;

use super::cut_anywhere;
use crate::transcript::{
    script::{Class, class, clean, ends_sentence, space_between},
    tags::{Item, Tags, language_code},
    words::{LONGEST, Splitter, join, words},
};

fn split(text: &str) -> Vec<String> {
    words(text).into_iter().map(|w| w.text).collect()
}

#[test]
fn spaces_part_words_and_punctuation_stays_on_them() {
    assert_eq!(
        split(" Hello, world! \"Yes,\" (she) said.\n\nWell-known: don't… e.g. 3,000 €"),
        [
            "Hello,",
            "world!",
            "\"Yes,\"",
            "(she)",
            "said.",
            "Well-known:",
            "don't…",
            "e.g.",
            "3,000",
            "€"
        ]
    );
    assert_eq!(
        split("Hello😀 #1 R & B 'tis the dogs' -5°"),
        ["Hello😀", "#1", "R", "&", "B", "'tis", "the", "dogs'", "-5°"]
    );
}

#[test]
fn punctuation_apart_from_its_word_joins_it() {
    assert_eq!(
        split("Quoi ? « Oui » – non !"),
        ["Quoi\u{A0}?", "«\u{A0}Oui\u{A0}»\u{A0}–", "non\u{A0}!"]
    );
    assert_eq!(split("... and ¿ qué ?"), ["...\u{A0}and", "¿\u{A0}qué\u{A0}?"]);
    assert_eq!(split("... , ( ) !"), Vec::<String>::new());
    assert_eq!(split("word—word"), ["word—", "word"]);
}

#[test]
fn scripts_without_spaces() {
    assert_eq!(
        split("今天天气很好。「你好」,世界!"),
        ["今天", "天气", "很好。", "「你好」,", "世界!"]
    );
    assert_eq!(split("音声認識は、楽しいです。"), ["音声", "認識", "は、", "楽しい", "です。"]);
    assert_eq!(split("สวัสดีครับ ผมชื่อสมชาย"), ["สวัสดี", "ครับ", "ผม", "ชื่อ", "สมชาย"]);
    assert_eq!(
        split("我用GStreamer播放2小时的视频"),
        ["我", "用", "GStreamer", "播放", "2", "小时", "的", "视频"]
    );
    assert_eq!(split("ສະບາຍດີ ຂອບໃຈ"), ["ສະບາຍດີ", "ຂອບໃຈ"]);
    assert_eq!(split("សួស្តីពិភពលោក។"), ["សួស្តី", "ពិភពលោក។"]);
    assert_eq!(split("မြန်မာဘာသာ"), ["မြန်မာဘာသာ"]);
    assert_eq!(split("안녕하세요 세계"), ["안녕하세요", "세계"]);
}

#[test]
fn more_punctuation_than_a_word_may_have_ends_in_no_space() {
    let dots = ".".repeat(14);
    assert_eq!(split(&format!("x{dots} \" (")), [format!("x{dots}\u{A0}\"")]);
}

#[test]
fn spaces_between_words_are_told() {
    let text = "你好 world, 世界 (foo) bar—baz";
    let w = words(text);
    assert_eq!(join(w.iter().map(|w| (w.text.as_str(), w.space_before))), text);
    assert!(space_between("world.", "And"));
    assert!(!space_between("好。", "你"));
    assert!(!space_between("ครับ", "ผม"));
    assert!(space_between("好", "and"));
}

#[test]
fn signs_of_several_characters_stay_whole() {
    for whole in
        ["👨‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "e\u{301}t\u{e9}", "❤️‍🔥", "1️⃣", "नमस्ते", "שָׁלוֹם", "\u{202B}שלום\u{202C}"]
    {
        assert_eq!(split(whole), [whole]);
        assert_eq!(split(&format!("a {whole}, b")), ["a", &format!("{whole},"), "b"]);
    }
    assert_eq!(split("مرحبا بالعالم، كيف حالك؟"), ["مرحبا", "بالعالم،", "كيف", "حالك؟"]);
}

#[test]
fn what_shows_nothing_is_no_word() {
    assert_eq!(
        split(
            "\0\u{7}\u{FFFD} \u{FEFF}\u{200B}a\0b\u{FFFD} \u{301} \u{200D} \u{3000}\u{A0}\u{2028}\u{200F} \u{3164}"
        ),
        ["ab\u{A0}\u{200F}"]
    );
    assert_eq!(split("�\n�\n�\n"), Vec::<String>::new());
}

#[test]
fn a_word_without_end_is_cut_between_graphemes() {
    let flag = "🇩🇪";
    for w in split(&flag.repeat(1000)) {
        assert!(w.chars().count() <= LONGEST && w.chars().count() % 2 == 0);
    }
    let zalgo = format!("a{}", "\u{301}".repeat(5000));
    assert!(split(&zalgo).iter().all(|w| w.chars().count() <= LONGEST + 1));
    let han = "好".repeat(5000);
    assert_eq!(split(&han).concat(), han);
    let mut endless = Splitter::default();
    for _ in 0..100_000 {
        endless.push("!?\"(");
    }
    assert!(endless.peek().iter().all(|w| w.text.len() < 100));
}

#[test]
fn words_are_whole_at_the_next_one() {
    let mut s = Splitter::default();
    let mut take = |text: &str| -> Vec<String> {
        s.push(text);
        s.take().into_iter().map(|w| w.text).collect()
    };
    assert_eq!(take(" wor"), Vec::<String>::new());
    assert_eq!(take("ld"), Vec::<String>::new());
    assert_eq!(take(","), Vec::<String>::new());
    assert_eq!(take(" "), Vec::<String>::new());
    assert_eq!(take("a"), ["world,"]);
    assert_eq!(take(" ("), Vec::<String>::new());
    assert_eq!(take("b"), ["a"]);
    assert_eq!(take(")好"), ["(b)"]);
}

#[test]
fn after_a_flush_words_are_not_taken_back() {
    let mut s = Splitter::default();
    let text = |cuts: Vec<crate::transcript::words::Piece>| -> Vec<(String, bool)> {
        cuts.into_iter().map(|w| (w.text, w.space_before)).collect()
    };
    s.push(" caf");
    assert_eq!(text(s.flush()), [("caf".into(), true)]);
    s.push("é");
    assert_eq!(text(s.flush()), [("é".into(), false)]);
    s.push(",");
    assert_eq!(text(s.flush()), []);
    s.push(". Next 's");
    assert_eq!(text(s.flush()), [("Next".into(), true), ("'s".into(), true)]);
    assert_eq!(s.take_late().unwrap().marks, ",.");
}

#[test]
fn sentences_end() {
    assert!(ends_sentence("café.") && ends_sentence("好。」") && ends_sentence("why?\""));
    assert!(!ends_sentence("well,") && !ends_sentence("") && !ends_sentence("word"));
}

fn untag(pieces: &[String]) -> (String, Vec<String>) {
    let mut tags = Tags::default();
    let (mut text, mut names) = (String::new(), Vec::new());
    for p in pieces {
        for item in tags.push(p) {
            match item {
                Item::Text(t) => text.push_str(&t),
                Item::Tag(n) => names.push(n),
            }
        }
    }
    text.push_str(&tags.flush());
    (text, names)
}

#[test]
fn only_the_whole_pattern_is_a_tag() {
    let t = |s: &str| untag(&[s.to_owned()]);
    let (text, names) =
        t("language English<asr_text>Hello.language None<asr_text>language Chinese<asr_text>好");
    assert_eq!(
        (text.as_str(), names),
        ("Hello.好", vec!["English".into(), "None".into(), "Chinese".into()])
    );
    for plain in [
        "The language barrier is language English.",
        "language English <b>asr_text>",
        "language <asr_text>",
        "<asr_text> language",
        "language 12<asr_text>",
        "language English",
        "languagelanguage English<asr",
        "sign language",
    ] {
        assert_eq!(t(plain), (plain.to_owned(), vec![]), "{plain}");
    }
    assert_eq!(t("language language English<asr_text>x").0, "language x");
}

#[test]
fn languages_have_codes() {
    assert_eq!(language_code("English"), Some("en"));
    assert_eq!(language_code("cantonese"), Some("yue"));
    assert_eq!(language_code("None"), None);
    assert_eq!(language_code("Klingon"), None);
}

/// Text of all that may come, with more of what is special than chance would give.
pub fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Zéß]{1,9}",
        4 => Just(" ".to_owned()),
        2 => "[.,;:!?\"'()«»“”…–—-]{1,3}",
        1 => "[好世界天气。、「」は楽しい]{1,6}",
        1 => "[สวัดีครบผม]{1,9}",
        1 => prop::sample::select(vec![
            "👨‍👩‍👧", "🇩🇪", "e\u{301}", "\0", "\u{FFFD}", "\n", "\u{3000}", "language ", "language English<asr_text>",
            "<asr_text>", "שלום", "\u{200F}", "\u{301}", "3,000", "\u{A0}",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|p| p.concat())
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_words((text, pieces) in any_text().prop_flat_map(cut_anywhere)) {
        let mut s = Splitter::default();
        let mut cut = Vec::new();
        for p in &pieces {
            s.push(p);
            cut.extend(s.take());
        }
        cut.extend(s.flush());
        prop_assert_eq!(&cut, &words(&text));
        for w in &cut {
            prop_assert!(!w.text.is_empty() && w.text.trim() == w.text, "{:?}", w);
            let bad = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
            prop_assert!(!w.text.chars().any(bad));
            prop_assert!(w.from < w.to);
        }
        prop_assert!(cut.windows(2).all(|w| w[0].from < w[1].from));
    }

    #[test]
    fn no_letter_is_lost(text in any_text()) {
        // Marks that stand alone show nothing, and are left out.
        let kept = |c: &char| {
            c.is_alphanumeric() && clean(*c) == Some(*c) && class(*c) != Class::Extend
        };
        let letters = |t: &str| t.chars().filter(kept).collect::<String>();
        prop_assert_eq!(letters(&split(&text).concat()), letters(&text));
    }

    #[test]
    fn tags_are_found_however_they_are_cut((text, pieces) in any_text().prop_flat_map(cut_anywhere)) {
        prop_assert_eq!(untag(&pieces), untag(&[text]));
    }
}

/// A full stop that comes when its word is out is late.
#[test]
fn punctuation_that_comes_late() {
    for (mark, shown) in [(".", "said."), ("?", "said?"), (".)", "said.)"), (" .", "said\u{A0}.")] {
        let mut s = Splitter::default();
        s.push(" he said");
        let mut said = s.flush().pop().unwrap().text;
        s.push(mark);
        assert!(s.flush().is_empty(), "no word of its own");
        s.push(" Then they");
        s.take_late().unwrap().close(&mut said);
        assert_eq!(said, shown);
        assert_eq!(s.take()[0].text, "Then");
        assert_eq!((s.take_late(), s.flush()[0].text.as_str()), (None, "they"));
    }
}

/// What orders right-to-left text stays with the word that it orders.
#[test]
fn bidi_controls_open_and_close() {
    for open in ['\u{202A}', '\u{202B}', '\u{202D}', '\u{202E}', '\u{2066}', '\u{2067}', '\u{2068}']
    {
        assert_eq!(class(open), Class::Opening, "{open:?}");
    }
    for close in ['\u{200E}', '\u{200F}', '\u{061C}', '\u{202C}', '\u{2069}'] {
        assert_eq!(class(close), Class::Closing, "{close:?}");
    }
}
