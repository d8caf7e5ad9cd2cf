// SPDX-License-Identifier: MPL-2.0

//! The end of a generation: the server's final text against the words taken.

use std::hash::{DefaultHasher, Hasher};

use super::{Said, Text, allowed};
use crate::transcript::{
    edit_distance,
    generation::SampleInGeneration,
    script::{normalised, space_between},
    tags::{Item, Tags},
    words::{Piece, Splitter},
};

/// A word of the final text.
struct Final {
    piece: Piece,
    /// The first one of a generation or a segment.
    edge: bool,
    segment: u64,
}

impl Text {
    /// Settles the words not taken yet by the server's final text, when so much was sent; all its words, as [`Text::words`] has them, where they differ from ours.
    pub fn reconcile(
        &mut self,
        text: &str,
        sent: SampleInGeneration,
    ) -> Option<Vec<(String, bool)>> {
        if text.len() as u64 > allowed(sent) {
            // No speech is that long: the deltas stand.
            return None;
        }
        let done = words(text);
        if done.is_empty() {
            // The server does not tell, or heard nothing: what the deltas said stands.
            return None;
        }
        if !self.is_all(text) {
            self.settle(&done, sent);
        }
        let plain =
            |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
        let ours: String = self.cuts.iter().map(|(w, _)| plain(w)).collect();
        let theirs: String = done.iter().map(|w| plain(&w.piece.text)).collect();
        if ours == theirs {
            return None;
        }
        let mut last = String::new();
        let theirs = done.into_iter().map(|Final { piece, edge, .. }| {
            let space = if edge { space_between(&last, &piece.text) } else { piece.space_before };
            last.clone_from(&piece.text);
            (piece.text, space)
        });
        Some(theirs.collect())
    }

    /// Whether `text` is all that came in deltas.
    fn is_all(&self, text: &str) -> bool {
        let mut digest = DefaultHasher::new();
        digest.write(text.as_bytes());
        self.bytes == text.len() as u64 && self.digest.finish() == digest.finish()
    }

    fn settle(&mut self, done: &[Final], sent: SampleInGeneration) {
        let taken = self.taken().len();
        let given: Vec<String> = self.taken().iter().map(|(w, _)| normalised(w)).collect();
        let pending: Vec<String> = self.ready.iter().map(|w| normalised(&w.text)).collect();
        let names: Vec<String> = done.iter().map(|w| normalised(&w.piece.text)).collect();
        let from = edit_distance::split(&given, &pending, &names);
        let tail = names.get(from..).unwrap_or_default();
        let pairs = edit_distance::pairs(&pending, tail);
        let old = self.take_all();
        let mut near = old.first();
        for (Final { piece, edge, segment }, pair) in done.iter().skip(from).zip(pairs) {
            let twin = pair.and_then(|i| old.get(i));
            near = twin.or(near);
            self.ready.push_back(Said {
                text: piece.text.clone(),
                space_before: piece.space_before,
                edge: *edge,
                segment: *segment,
                frame: twin.and_then(|w| w.frame),
                confidence: twin.and_then(|w| w.confidence),
                sent,
                since: near.map_or(SampleInGeneration::START, |w| w.since),
                letters: near.map_or(0, |w| w.letters),
            });
        }
        self.cuts.truncate(taken);
        self.cuts.extend(self.ready.iter().map(|w| (w.text.clone(), w.space_before)));
    }
}

/// The words of a final text.
fn words(text: &str) -> Vec<Final> {
    let mut tags = Tags::default();
    let mut splitter = Splitter::default();
    let mut done: Vec<Final> = Vec::new();
    let (mut tagged, mut edge) = (0_u64, true);
    let mut take = |splitter: &mut Splitter, tagged: u64, edge: &mut bool| {
        let segment = tagged.saturating_sub(1);
        let pieces = splitter.flush().into_iter();
        if let Some((late, last)) = splitter.take_late().zip(done.last_mut()) {
            late.close(&mut last.piece.text);
        }
        done.extend(pieces.map(|piece| Final { piece, segment, edge: std::mem::take(edge) }));
    };
    let mut items = tags.push(text);
    items.push_back(Item::Text(tags.flush()));
    for item in items {
        match item {
            Item::Text(t) => splitter.push(&t),
            Item::Tag(_) => {
                take(&mut splitter, tagged, &mut edge);
                tagged += 1;
                edge = true;
                splitter.set_space(true);
            }
        }
    }
    take(&mut splitter, tagged, &mut edge);
    done
}
