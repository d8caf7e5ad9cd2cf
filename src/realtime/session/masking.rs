// SPDX-License-Identifier: MPL-2.0

//! What servers say, as it may be shown: without the secrets that were sent, which some repeat.

use super::{Lost, Session};

/// Bytes of a text that are shown at most: servers repeat whole arrays.
const LONGEST_SHOWN: usize = 1000;

impl Session {
    /// Without the secrets.
    fn masked(&self, text: &str) -> String {
        self.config.secrets().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// An event of the server as it may be shown: as it came, unless it repeats a secret, in whatever
    /// escapes. `None`: it is no JSON.
    pub fn shown(&self, message: &str) -> Option<String> {
        let mut value: serde_json::Value = serde_json::from_str(message).ok()?;
        let changed = self.mask(&mut value);
        Some(if changed { value.to_string() } else { self.masked(message) })
    }

    /// Masks the secrets in all texts. Whether there were any.
    fn mask(&self, value: &mut serde_json::Value) -> bool {
        use serde_json::Value;
        match value {
            Value::String(text) => {
                let masked = self.masked(text);
                std::mem::replace(text, masked) != *text
            }
            Value::Array(all) => all.iter_mut().fold(false, |any, v| self.mask(v) | any),
            Value::Object(all) => {
                let named = all.keys().any(|name| self.masked(name) != *name);
                let before = std::mem::take(all);
                let mut changed = named;
                for (name, mut value) in before {
                    changed |= self.mask(&mut value);
                    all.insert(self.masked(&name), value);
                }
                changed
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// Servers and gateways have a say in what is told: without the key, which some repeat, and
    /// without what a terminal or a log would take for more than text.
    pub(super) fn fit_to_show(&self, mut lost: Lost) -> Lost {
        for text in [&mut lost.error.message, &mut lost.error.detail] {
            *text = self.masked(text);
            *text = text.replace(char::is_control, " ");
            // Not before the key is masked: half of it is no key any more, but too much to show.
            text.truncate(text.floor_char_boundary(LONGEST_SHOWN));
        }
        lost
    }
}
