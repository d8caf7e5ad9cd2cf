// SPDX-License-Identifier: MPL-2.0

//! What a server answered, in a form that can be compared.

use serde_json::Value;

use crate::{DELTA, DONE};

/// What a connection answered.
#[derive(Debug, Default, PartialEq)]
pub struct Answers {
    /// Types in order, deltas left out: their place among the others is a matter of time.
    pub kinds: Vec<String>,
    /// For each `done`: its deltas, its text, its usage.
    pub generations: Vec<(Vec<String>, String, Value)>,
    /// Deltas after the last `done`.
    pub rest: Vec<String>,
    /// Code and text.
    pub errors: Vec<(Value, String)>,
}

impl Answers {
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Value>, segments: bool, text: bool) -> Self {
        let mut answers = Answers::default();
        let fold = |deltas: Vec<String>| match (segments, text) {
            _ if !text => vec![deltas.len().to_string()],
            // Deltas may be merged.
            (true, _) => vec![deltas.concat()],
            (false, _) => deltas,
        };
        for event in events {
            let kind = event["type"].as_str().unwrap_or("?").to_owned();
            match kind.as_str() {
                DELTA => answers.rest.push(event["delta"].as_str().unwrap().to_owned()),
                DONE => {
                    let deltas = fold(std::mem::take(&mut answers.rest));
                    let whole = event["text"].as_str().unwrap().to_owned();
                    let whole = if text { whole } else { String::new() };
                    answers.generations.push((deltas, whole, event["usage"].clone()));
                }
                "error" => {
                    let code = event["code"].clone();
                    let text = event["error"].as_str().unwrap_or_default().to_owned();
                    // The samples themselves are in some of these texts.
                    let text = match text.find("[array(") {
                        Some(at) => text[..at].to_owned(),
                        None => text,
                    };
                    answers.errors.push((code, text));
                }
                _ => {}
            }
            if kind != DELTA {
                answers.kinds.push(kind);
            }
        }
        if segments {
            answers.rest = vec![answers.rest.concat()];
        }
        answers
    }
}
