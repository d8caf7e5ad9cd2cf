// SPDX-License-Identifier: MPL-2.0

//! The benchmark's own arithmetic.

#[path = "../benches/timing/score.rs"]
mod score;

use score::{Errors, Gathered, Score, Timed, even_spread};

fn timed(words: &[(&str, f64, f64)]) -> Vec<Timed> {
    words.iter().map(|&(w, start, end)| Timed::new(w, start, end)).collect()
}

fn score(truth: &[Timed], got: &[Timed]) -> Score {
    let mut gathered = Gathered::default();
    gathered.add(truth, got);
    gathered.score()
}

#[test]
fn errors_are_absolute_and_in_ms() {
    let truth = timed(&[("one", 0.0, 1.0), ("two", 1.0, 2.0)]);
    let got = timed(&[("One,", 0.1, 0.9), ("two.", 0.7, 2.0)]);
    let s = score(&truth, &got);
    assert!((s.starts.mean - 200.0).abs() < 1e-6 && (s.ends.mean - 50.0).abs() < 1e-6, "{s:?}");
    assert_eq!((s.words, s.missing, s.doubled, s.out_of_order, s.overlapping), (2, 0, 0, 0, 1));
    // The time of a word that its witnesses do not agree on does not count, but it has to come.
    let mut doubtful = truth.clone();
    doubtful[1].doubtful = true;
    let s = score(&doubtful, &got);
    assert!((s.starts.mean - 100.0).abs() < 1e-6 && (s.ends.mean - 100.0).abs() < 1e-6, "{s:?}");
    assert_eq!((score(&doubtful, &got[..1]).missing, s.missing), (1, 0));
    let many = Errors::of((1..=100).map(|i| f64::from(i) / 1e3).collect());
    assert_eq!((many.median.round(), many.p95.round()), (51.0, 95.0));
    assert_eq!(Errors::of(vec![]), Errors::default());
}

#[test]
fn words_missing_and_doubled_are_counted_and_pair_the_rest() {
    let truth = timed(&[("a", 0.0, 1.0), ("b", 1.0, 2.0), ("c", 2.0, 3.0)]);
    let got = timed(&[("a", 0.0, 1.0), ("a", 1.0, 1.5), ("c", 0.5, 3.0)]);
    let s = score(&truth, &got);
    assert_eq!((s.missing, s.doubled, s.out_of_order, s.overlapping), (1, 1, 1, 1));
    assert_eq!(score(&truth, &[]).missing, 3);
    assert_eq!(score(&[], &got).doubled, 3);
}

#[test]
fn the_even_spread_is_made_anew_as_text_grows() {
    let words: Vec<String> = ["a", "b", "c"].map(String::from).into();
    let spread = even_spread(&words, &[(1.0, 1), (3.0, 3)]);
    assert_eq!(spread, timed(&[("a", 0.0, 1.0), ("b", 1.0, 2.0), ("c", 2.0, 3.0)]));
    assert!(even_spread(&words, &[(0.0, 0)]).is_empty());
}
