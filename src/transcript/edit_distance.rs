// SPDX-License-Identifier: MPL-2.0

//! Where two lists of words part, with the fewest changes.

/// Pairs of words that are compared at most; beyond that the words are counted.
const EFFORT: usize = 4_000_000;

/// How many of the words of `done` correspond to those `given` out: what follows is the tail,
/// which replaces `pending`.
///
/// The place where both parts together need the fewest changes; among several, where the words
/// given out need the fewest.
pub fn split(given: &[String], pending: &[String], done: &[String]) -> usize {
    let same = given.iter().zip(done).take_while(|(a, b)| a == b).count();
    let (given, rest) = (given.get(same..).unwrap_or(&[]), done.get(same..).unwrap_or(&[]));
    if given.is_empty() {
        return same;
    }
    if (given.len() + pending.len()).saturating_mul(rest.len()) > EFFORT {
        return (same + given.len()).min(done.len());
    }
    let before = distances(given.iter(), rest.iter());
    let mut after = distances(pending.iter().rev(), rest.iter().rev());
    after.reverse();
    let best = before.iter().zip(&after).enumerate().min_by_key(|(_, (b, a))| (**b + **a, **b));
    same + best.map_or(0, |(j, _)| j)
}

/// Changes that turn all of `a` into each beginning of `b`.
pub fn distances<'a>(
    a: impl Iterator<Item = &'a String>,
    b: impl Iterator<Item = &'a String> + Clone,
) -> Vec<usize> {
    let mut row: Vec<usize> = (0..=b.clone().count()).collect();
    for (i, word) in a.enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(b.clone()) {
            let up = *cell;
            left = (diagonal + usize::from(word != other)).min(up + 1).min(left + 1);
            diagonal = up;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row
}

/// For each word of `new` the word of `old` that it stands for, if any, in order.
pub fn pairs(old: &[String], new: &[String]) -> Vec<Option<usize>> {
    let width = new.len() + 1;
    if old.len().saturating_mul(new.len()) > EFFORT {
        return (0..new.len()).map(|i| (i < old.len()).then_some(i)).collect();
    }
    // Changes that turn old[i..] into new[j..].
    let mut cost = vec![0usize; (old.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    for i in (0..=old.len()).rev() {
        for j in (0..=new.len()).rev() {
            let value = match (old.get(i), new.get(j)) {
                (Some(a), Some(b)) => (cost[at(i + 1, j + 1)] + usize::from(a != b))
                    .min(cost[at(i + 1, j)] + 1)
                    .min(cost[at(i, j + 1)] + 1),
                _ => old.len() - i + new.len() - j,
            };
            cost[at(i, j)] = value;
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut found = Vec::with_capacity(new.len());
    while let Some(b) = new.get(j) {
        let Some(a) = old.get(i) else {
            found.push(None);
            j += 1;
            continue;
        };
        let here = cost[at(i, j)];
        if here == cost[at(i + 1, j + 1)] + usize::from(a != b) {
            found.push(Some(i));
            (i, j) = (i + 1, j + 1);
        } else if here == cost[at(i, j + 1)] + 1 {
            found.push(None);
            j += 1;
        } else {
            i += 1;
        }
    }
    found
}
