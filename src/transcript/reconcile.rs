// SPDX-License-Identifier: MPL-2.0

//! The end of a generation: the server's final text against the words given out.

use super::{
    edit_distance,
    generation::{Generation, Said},
    script::{normalised, space_between},
    state::Transcript,
    tags::{Item, Tags},
    words::{self, Splitter},
};

impl Transcript {
    /// The first words of the utterance, as the server has them.
    pub(super) fn text_so_far(&self, to: usize) -> String {
        let known = self.corrected.as_ref().filter(|(known, _)| *known <= to);
        let (known, text) = known.map_or((0, ""), |(known, text)| (*known, text.as_str()));
        let rest = self.listed.iter().take(to).skip(known);
        let rest = rest.map(|w| (w.text.as_str(), w.space_before));
        words::join(std::iter::once((text, false)).chain(rest))
    }

    /// Settles the tail by the server's final text; tells the text where words that were given
    /// out differ from it.
    pub(super) fn reconcile(&self, g: &mut Generation, text: &str) -> Option<String> {
        if text.len() as u64 > g.allowed() {
            // No speech is that long: the deltas stand.
            return None;
        }
        let mut tags = Tags::default();
        let mut splitter = Splitter::default();
        let mut done: Vec<(words::Cut, u64, bool)> = Vec::new();
        let (mut segment, mut tagged, mut edge) = (0, false, true);
        let mut items = tags.push(text);
        items.push_back(Item::Text(tags.flush()));
        let take = |cuts: Vec<words::Cut>, segment: u64, edge: &mut bool| -> Vec<_> {
            cuts.into_iter().map(|c| (c, segment, std::mem::take(edge))).collect()
        };
        for item in items {
            match item {
                Item::Text(t) => splitter.push(&t),
                Item::Tag(_) => {
                    done.extend(take(splitter.flush(), segment, &mut edge));
                    segment += u64::from(tagged);
                    tagged = true;
                    edge = true;
                    splitter.set_space(true);
                }
            }
        }
        done.extend(take(splitter.flush(), segment, &mut edge));
        if done.is_empty() {
            // The server does not tell, or heard nothing: what the deltas said stands.
            return None;
        }
        let given = g.cuts.len().saturating_sub(g.ready.len());
        if !g.is_all(text) {
            let name = |w: &str| normalised(w);
            let given_names: Vec<String> =
                g.cuts.iter().take(given).map(|(w, _)| name(w)).collect();
            let pending: Vec<String> = g.ready.iter().map(|w| name(&w.text)).collect();
            let names: Vec<String> = done.iter().map(|(c, _, _)| name(&c.text)).collect();
            let from = edit_distance::split(&given_names, &pending, &names);
            let tail = names.get(from..).unwrap_or_default();
            let pairs = edit_distance::pairs(&pending, tail);
            let old: Vec<Said> = g.ready.drain(..).collect();
            let mut near = old.first().cloned();
            for ((cut, segment, edge), pair) in done.iter().skip(from).zip(pairs) {
                let twin = pair.and_then(|i| old.get(i));
                if twin.is_some() {
                    near = twin.cloned();
                }
                g.ready.push_back(Said {
                    text: cut.text.clone(),
                    space_before: cut.space_before,
                    edge: *edge,
                    segment: *segment,
                    frame: twin.and_then(|w| w.frame),
                    confidence: twin.and_then(|w| w.confidence),
                    sent: g.sent,
                    since: near.as_ref().map_or(0, |w| w.since),
                    letters: near.as_ref().map_or(0, |w| w.letters),
                });
            }
            g.cuts.truncate(given);
            g.cuts.extend(g.ready.iter().map(|w| (w.text.clone(), w.space_before)));
        }
        let plain =
            |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
        let ours: String = g.cuts.iter().map(|(w, _)| plain(w)).collect();
        let theirs: String = done.iter().map(|(c, _, _)| plain(&c.text)).collect();
        if ours == theirs {
            return None;
        }
        let before = self.text_so_far(g.before);
        let mut last =
            self.listed.iter().take(g.before).next_back().map_or("", |w| w.text.as_str());
        let after = done.iter().map(|(c, _, edge)| {
            let space = if *edge { space_between(last, &c.text) } else { c.space_before };
            last = &c.text;
            (c.text.as_str(), space)
        });
        Some(words::join(std::iter::once((before.as_str(), false)).chain(after)))
    }
}
