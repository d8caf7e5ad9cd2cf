// SPDX-License-Identifier: MPL-2.0

//! `index.html`: the film with its captions, and the words beside it.

use std::path::Path;

use serde_json::{Value, json};

use crate::captions::Caption;
use crate::{Error, Word};

/// What the page is made of. It needs nothing but the film beside it: opened as a file, a browser lets
/// no page read another file.
const PAGE: &str = include_str!("page.html");

/// A word as `words.json` and the page have it: times in seconds.
pub fn word(word: &Word) -> Value {
    let (start, end) = (word.begin.seconds_f64(), word.end.seconds_f64());
    json!({ "word": word.text, "start": start, "end": end })
}

/// Leaves the page in the folder. `measured`: what it tells at its end, name and value.
pub fn page(out: &Path, captions: &[Caption], measured: &[(String, String)]) -> Result<(), Error> {
    let captions: Vec<Value> = captions
        .iter()
        .map(|c| {
            let line = |line: &&[Word]| line.iter().map(word).collect::<Vec<_>>();
            let lines: Vec<_> = c.lines.iter().map(line).collect();
            json!({ "start": c.begin.seconds_f64(), "end": c.end.seconds_f64(), "lines": lines })
        })
        .collect();
    let data = json!({ "captions": captions, "measured": measured });
    // Inside of a script element nothing may look like its end.
    let data = data.to_string().replace('<', "\\u003c");
    std::fs::write(out.join("index.html"), PAGE.replace("/*DATA*/null", &data))?;
    Ok(())
}
