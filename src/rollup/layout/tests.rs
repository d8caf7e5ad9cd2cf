// SPDX-License-Identifier: MPL-2.0

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::*;

const S: u64 = 1000 * MS;

fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        lines: 2,
        columns: 37,
        min_duration: S,
        max_duration: 6 * S,
        hold: 1500 * MS,
        gap: S,
        reading_speed: 20,
        language: Language::default(),
    }
}

/// Words of `each` ms with pauses of `pause` ms between them.
fn spoken(text: &str, each: u64, pause: u64) -> Vec<Word> {
    let words = text.split(' ').enumerate();
    words
        .map(|(i, word)| {
            let begin = i as u64 * (each + pause) * MS;
            Word { text: word.to_owned(), begin, end: begin + each * MS }
        })
        .collect()
}

fn all(layout: &mut Layout, words: &[Word]) -> Vec<Out> {
    for word in words {
        layout.word(word.clone());
    }
    layout.finish();
    layout.take().collect()
}

/// What is shown, from when to when, with equal captions joined.
fn shown(out: &[Out]) -> Vec<(Vec<String>, u64, u64)> {
    let mut shown: Vec<(Vec<String>, u64, u64)> = Vec::new();
    for item in out {
        if let Out::Caption { caption, begin, end } = item {
            match shown.last_mut() {
                Some(last) if last.0 == caption.lines && last.2 == *begin => last.2 = *end,
                _ => shown.push((caption.lines.clone(), *begin, *end)),
            }
        }
    }
    shown
}

#[test]
fn words_are_painted_when_they_are_spoken() {
    let mut layout = Layout::new(&settings(Mode::RollUp), 0);
    let out = all(&mut layout, &spoken("one two three", 200, 100));
    let lines = |text: &str| vec![text.to_owned()];
    assert_eq!(
        shown(&out),
        [
            (lines("one"), 0, 300 * MS),
            (lines("one two"), 300 * MS, 600 * MS),
            (lines("one two three"), 600 * MS, 800 * MS + 1500 * MS),
        ]
    );
}

#[test]
fn a_word_leaves_at_once_and_stands_on_when_that_is_known() {
    let mut layout = Layout::new(&settings(Mode::RollUp), 0);
    let words = spoken("one two", 200, 300);
    layout.word(words[0].clone());
    assert_eq!(layout.at(), 200 * MS);
    layout.silence(450 * MS);
    assert_eq!(layout.at(), 200 * MS, "gathered");
    layout.due(260 * MS);
    assert_eq!(layout.at(), 450 * MS, "what is known, at once");
    layout.due(460 * MS);
    assert_eq!(layout.at(), 550 * MS, "and beyond it no less than 100 ms");
    layout.word(words[1].clone());
    let Some(Out::Caption { begin, .. }) = layout.take().last() else { panic!() };
    assert_eq!((begin, layout.counts().late), (550 * MS, 1));
}

#[test]
fn after_the_hold_nothing_is_shown_once_that_lasts() {
    let mut layout = Layout::new(&settings(Mode::RollUp), 0);
    layout.word(spoken("one", 500, 0).remove(0));
    layout.silence(2900 * MS);
    assert_eq!(layout.at(), 2000 * MS, "a gap of less than a second is none");
    layout.silence(3000 * MS);
    assert_eq!(layout.at(), 3000 * MS);
    assert!(matches!(layout.take().last(), Some(Out::Gap { begin, .. }) if begin == 2000 * MS));
    // What comes then begins anew.
    layout.word(Word { text: "two".into(), begin: 4 * S, end: 5 * S });
    let out: Vec<Out> = layout.take().collect();
    assert_eq!(shown(&out), [(vec!["two".to_owned()], 4 * S, 5 * S)]);
}

#[test]
fn a_short_gap_is_closed() {
    let mut layout = Layout::new(&settings(Mode::RollUp), 0);
    let out = all(&mut layout, &spoken("one two", 500, 2400));
    assert!(!out.iter().any(|o| matches!(o, Out::Gap { .. })), "{out:?}");
}

#[test]
fn words_that_are_late_come_at_once_and_scroll_through() {
    let mut layout = Layout::new(&Settings { columns: 10, ..settings(Mode::RollUp) }, 20 * S);
    let text = "one two three four five six seven eight";
    layout.word(Word { text: text.into(), begin: S, end: 10 * S });
    let out: Vec<Out> = layout.take().collect();
    assert_eq!(shown(&out), [(vec!["seven".into(), "eight".into()], 20 * S, 20 * S + 20 * MS)]);
    assert_eq!((layout.counts().late, layout.counts().unread), (8, 6), "{:?}", shown(&out));
}

#[test]
fn punctuation_that_comes_late_closes_up() {
    for mode in [Mode::RollUp, Mode::PopOn] {
        let mut layout = Layout::new(&settings(mode), 0);
        let out = all(&mut layout, &spoken("so it is . Then !", 200, 100));
        let last = shown(&out).last().unwrap().0.join(" ");
        assert_eq!(last, "so it is. Then!", "{mode:?}");
    }
}

#[test]
fn another_speaker_begins_a_line() {
    let words = spoken("well yes", 200, 100);
    for (mode, last) in [(Mode::RollUp, "well|>> yes"), (Mode::PopOn, ">> yes")] {
        let mut layout = Layout::new(&settings(mode), 0);
        layout.word(words[0].clone());
        layout.speaker(">> ");
        let out = all(&mut layout, &words[1..]);
        assert_eq!(shown(&out).last().unwrap().0.join("|"), last);
    }
}

#[test]
fn captions_break_where_a_reader_would() {
    let text = "He was not an ill-disposed young man, unless to be rather cold hearted and rather \
        selfish is to be ill-disposed. But he was, in general, well respected for he conducted \
        himself with propriety in the discharge of his ordinary duties.";
    let mut layout = Layout::new(&settings(Mode::PopOn), 0);
    let out = all(&mut layout, &spoken(text, 250, 60));
    let cues: Vec<String> = shown(&out).iter().map(|c| c.0.join("|")).collect();
    assert_eq!(
        cues,
        [
            "He was not an ill-disposed young man,|unless to be rather cold hearted",
            "and rather selfish is|to be ill-disposed.",
            "But he was, in general, well|respected for he conducted himself",
            "with propriety in the discharge|of his ordinary duties."
        ]
    );
}

#[test]
fn a_sentence_is_a_buffer() {
    let mut layout = Layout::new(&settings(Mode::Sentence), 0);
    let out = all(&mut layout, &spoken("It is so. Mr. Smith said that. And", 300, 100));
    let all: Vec<String> = shown(&out).iter().map(|c| c.0.join("|")).collect();
    assert_eq!(all, ["It is so.", "Mr. Smith said that.", "And"]);
}

#[test]
fn words_of_any_width() {
    for (text, columns, expected) in [
        ("これは とても 長い 文 です", 10, "これは|とても長い|文です"),
        ("Donaudampfschifffahrt ist da", 10, "Donaudampf|schifffahr|t ist da"),
        ("สวัสดี ครับ", 10, "สวัสดีครับ"),
        ("שלום עולם", 12, "שלום עולם"),
        ("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 4, "👨‍👩‍👧👨‍👩‍👧|👨‍👩‍👧"),
    ] {
        let s = Settings { columns, lines: 3, ..settings(Mode::RollUp) };
        let mut layout = Layout::new(&s, 0);
        let out = all(&mut layout, &spoken(text, 300, 50));
        assert_eq!(shown(&out).last().unwrap().0.join("|"), expected);
    }
}

#[test]
fn a_full_stop_that_comes_late_ends_its_sentence() {
    let mut layout = Layout::new(&settings(Mode::Sentence), 0);
    let out = all(&mut layout, &spoken("It is so . Then", 300, 100));
    let all: Vec<String> = shown(&out).iter().map(|c| c.0.join("|")).collect();
    assert_eq!(all, ["It is so.", "Then"]);
    // After a pause, too.
    let mut layout = Layout::new(&settings(Mode::PopOn), 0);
    let words = [("So", 0), (". Then", 3000)].map(|(text, ms)| Word {
        text: text.into(),
        begin: ms * MS,
        end: (ms + 300) * MS,
    });
    let out = super::tests::all(&mut layout, &words);
    let all: Vec<String> = shown(&out).iter().map(|c| c.0.join("|")).collect();
    assert_eq!(all, ["So.", "Then"]);
}

#[test]
fn a_mark_comes_behind_its_words() {
    for mode in [Mode::RollUp, Mode::PopOn, Mode::Sentence] {
        let mut layout = Layout::new(&settings(mode), 0);
        let words = spoken("one two", 200, 3000);
        layout.mark();
        layout.word(words[0].clone());
        layout.mark();
        layout.word(words[1].clone());
        layout.finish();
        let out: Vec<Out> = layout.take().collect();
        let kinds: String = out
            .iter()
            .map(|o| match o {
                Out::Mark => 'm',
                Out::Caption { .. } => 'c',
                Out::Gap { .. } => '-',
            })
            .collect();
        let kinds = kinds.replace("ccc", "c").replace("cc", "c");
        assert!(
            kinds == if mode == Mode::RollUp { "mcmc-c" } else { "mcm-c" },
            "{mode:?}: {kinds}"
        );
    }
}

/// What a source does.
#[derive(Debug, Clone)]
enum Step {
    /// A word, so long after the one before it (ms), of this length.
    Word(String, i64, u64),
    /// Silence is known up to so long after the last word.
    Silence(u64),
    Due(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = prop_oneof![
        "[a-z]{1,9}",
        "[a-z]{1,9}[.,?]",
        "[A-Z][a-z]{1,50}",
        "[あ-ん]{1,8}",
        "(the|a|and|of|in)",
        "[a-z]{1,5} [a-z]{1,5} [a-z]{1,5}",
        "[.,!]",
    ];
    let step = prop_oneof![
        12 => (text, -100..2500_i64, 1..900_u64).prop_map(|(t, p, d)| Step::Word(t, p, d)),
        2 => (1..5000_u64).prop_map(Step::Silence),
        1 => (1..5000_u64).prop_map(Step::Due),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// What holds of any captions: no line or column too many, no overlap, no hole, every word once
    /// and in order, no short gap, and in roll-up nothing that stands moves.
    #[test]
    fn captions_of_anything(
        steps in steps(),
        mode in prop::sample::select(vec![Mode::RollUp, Mode::PopOn, Mode::Sentence]),
        lines in 1..4_usize,
        columns in 8..45_usize,
    ) {
        let settings = Settings { lines, columns, ..settings(mode) };
        let mut layout = Layout::new(&settings, 0);
        let mut said = String::new();
        let (mut last, mut known, mut out) = (0, 0, Vec::new());
        let mut times: Vec<(String, u64)> = Vec::new();
        let due = steps.iter().any(|step| matches!(step, Step::Due(_)));
        for step in steps {
            match step {
                Step::Word(text, after, length) => {
                    let begin = (last + after * MS as i64).max(known);
                    let end = begin + (length * MS) as i64;
                    last = end;
                    said.extend(text.chars().filter(|c| !c.is_whitespace()));
                    if begin as u64 >= layout.at() && text.chars().all(|c| c.is_ascii_lowercase()) {
                        times.push((text.clone(), begin as u64));
                    }
                    layout.word(Word { text, begin: begin as u64, end: end as u64 });
                }
                Step::Silence(after) => {
                    known = known.max(last + (after * MS) as i64);
                    layout.silence(known as u64);
                }
                Step::Due(after) => layout.due(layout.at() + after * MS),
            }
            out.extend(layout.take());
        }
        layout.finish();
        out.extend(layout.take());
        let mut at = 0;
        let mut captions: Vec<(Caption, u64, u64)> = Vec::new();
        for item in &out {
            match item {
                Out::Mark => {}
                Out::Gap { begin, end } => {
                    prop_assert!(*begin == at && end > begin);
                    at = *end;
                }
                Out::Caption { caption, begin, end } => {
                    prop_assert!(*begin == at && end > begin);
                    at = *end;
                    prop_assert!(!caption.lines.is_empty());
                    if mode != Mode::Sentence {
                        prop_assert!(caption.lines.len() <= lines, "{caption:?}");
                        for line in &caption.lines {
                            // A grapheme that is wider than the line, alone in it.
                            prop_assert!(line.width() <= columns, "{caption:?}");
                        }
                    }
                    for line in &caption.lines {
                        prop_assert!(!line.is_empty() && line.trim() == line, "{caption:?}");
                    }
                    captions.push((caption.clone(), *begin, *end));
                }
            }
        }
        if mode == Mode::RollUp {
            for pair in captions.windows(2) {
                let [(a, _, end), (b, begin, _)] = pair else { unreachable!() };
                if end < begin {
                    // But where the output had to be further on before that was known.
                    prop_assert!(due || begin - end >= settings.gap);
                    continue;
                }
                // Each line that still stands is as it was, or has grown at its end.
                let stays = (0..=a.lines.len()).any(|scrolled| {
                    let rest = &a.lines[scrolled..];
                    rest.len() <= b.lines.len()
                        && rest.iter().zip(&b.lines).enumerate().all(|(i, (a, b))| {
                            if i + 1 == rest.len() { b.starts_with(a) } else { a == b }
                        })
                });
                prop_assert!(stays, "{a:?} to {b:?}");
            }
            // A word that is in time is there at its time.
            for (word, begin) in &times {
                let there = captions.iter().any(|(c, b, e)| {
                    (b..e).contains(&begin) && c.lines.iter().any(|l| l.contains(word.as_str()))
                        || b == begin
                });
                prop_assert!(there, "{word} at {begin}: {captions:?}");
            }
        } else {
            let mut all: Vec<Vec<String>> = captions.into_iter().map(|c| c.0.lines).collect();
            // What went on standing, with a mark that came late.
            all.dedup_by(|next, before| {
                let goes_on = next.concat().starts_with(&before.concat());
                if goes_on {
                    before.clone_from(next);
                }
                goes_on
            });
            let all: String = all.concat().concat();
            let all: String = all.chars().filter(|c| !c.is_whitespace()).collect();
            // Two captions that are the same look like one.
            prop_assert!(all == said || all.len() < said.len(), "{all} {said}");
        }
    }
}
