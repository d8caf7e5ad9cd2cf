// SPDX-License-Identifier: MPL-2.0

//! Segment tags: taken out however they were cut, and nothing else with them.

use gstvllmrealtime::transcript::tags::{Item, Tags};

use super::bytes;

pub fn run(data: &[u8]) {
    let (text, pieces) = bytes::pieces(data);
    let whole = taken_out([text.as_str()].into_iter());
    assert_eq!(taken_out(pieces.iter().map(String::as_str)), whole, "{pieces:?}");
    let each: Vec<String> = text.chars().map(String::from).collect();
    assert_eq!(taken_out(each.iter().map(String::as_str)), whole, "{text:?} by characters");

    let mut again = String::new();
    for item in &whole {
        match item {
            Item::Text(t) => {
                assert!(!t.contains("language English<asr_text>"), "{t:?} in {text:?}");
                again.push_str(t);
            }
            Item::Tag(name) => {
                assert!(!name.is_empty() && name.trim() == name, "{name:?}");
                again.push_str(&format!("language {name}<asr_text>"));
            }
        }
    }
    let plain = |t: &str| -> String { t.chars().filter(|c| !c.is_whitespace()).collect() };
    assert_eq!(plain(&again), plain(&text));
}

fn taken_out<'a>(pieces: impl Iterator<Item = &'a str>) -> Vec<Item> {
    let mut tags = Tags::default();
    let mut items = Vec::new();
    for piece in pieces {
        items.extend(tags.push(piece));
        assert!(tags.held().len() < 200, "{:?}", tags.held());
    }
    items.push(Item::Text(tags.flush()));
    let mut joined: Vec<Item> = Vec::new();
    for item in items {
        match (joined.last_mut(), item) {
            (_, Item::Text(t)) if t.is_empty() => {}
            (Some(Item::Text(before)), Item::Text(t)) => before.push_str(&t),
            (_, item) => joined.push(item),
        }
    }
    joined
}
