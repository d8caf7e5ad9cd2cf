// SPDX-License-Identifier: MPL-2.0

//! The server's end of the connection: checks what the client sends, and knows what an honest
//! server would say.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gstvllmrealtime::realtime::event::ServerEvent;
use gstvllmrealtime::realtime::session::Action;
use serde_json::{Value, json};

/// How an honest server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Frames,
    Segments,
    Arrival,
    Utterance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Asked,
    Up,
    Greeted,
}

#[derive(Debug, Default, Clone, Copy)]
struct Generation {
    samples: u64,
    /// Answers so far: frames or segments.
    said: u64,
    last: bool,
}

#[derive(Debug)]
pub struct Wire {
    kind: Kind,
    link: Link,
    updated: bool,
    /// It was asked for more than the model, and may refuse that.
    extras: bool,
    generation: Option<Generation>,
    /// What the honest server has to say still.
    answers: VecDeque<String>,
}

impl Wire {
    pub fn new(kind: Kind) -> Self {
        let (link, answers) = (Link::Down, VecDeque::new());
        Wire { kind, link, updated: false, extras: false, generation: None, answers }
    }

    /// The client's order; panics where vLLM would lose audio or fail.
    pub fn take(&mut self, action: &Action) {
        match action {
            Action::Connect { .. } => self.reset(Link::Asked),
            Action::Disconnect => self.reset(Link::Down),
            Action::Send(message) => self.message(message),
        }
    }

    fn reset(&mut self, link: Link) {
        *self = Wire { link, ..Wire::new(self.kind) };
    }

    fn message(&mut self, message: &str) {
        assert_eq!(self.link, Link::Greeted, "{message:.80}");
        let m: Value = serde_json::from_str(message).expect("JSON");
        match m["type"].as_str() {
            Some("session.update") => {
                let extras = m["include"].is_array();
                let taken_back = std::mem::replace(&mut self.extras, extras) && !extras;
                assert!((!self.updated || taken_back) && m["model"].is_string(), "{message}");
                self.updated = true;
            }
            Some("input_audio_buffer.commit") if m["final"] == false => {
                assert!(self.updated && self.generation.is_none(), "commit in a generation");
                self.generation = Some(Generation::default());
            }
            Some("input_audio_buffer.commit") => {
                assert_eq!(m["final"], true);
                let g = self.generation.as_mut().expect("a final commit without a generation");
                assert!(!g.last, "a second final commit");
                assert!(g.samples > 0, "a final commit without audio");
                g.last = true;
            }
            Some("input_audio_buffer.append") => {
                let audio = m["audio"].as_str().expect("audio");
                let audio = STANDARD.decode(audio).expect("base64");
                assert!(!audio.is_empty() && audio.len().is_multiple_of(2));
                assert!(message.len() < 1 << 20, "{} bytes", message.len());
                let g = self.generation.as_mut().expect("audio without a generation");
                assert!(!g.last, "audio between the final commit and done");
                g.samples += audio.len() as u64 / 2;
            }
            _ => panic!("{message:.200}"),
        }
    }

    /// The transport has a connection, where it was asked for one.
    pub fn connected(&mut self) {
        if self.link == Link::Asked {
            self.link = Link::Up;
        }
    }

    /// The connection or the attempt is gone.
    pub fn lost(&mut self) {
        self.reset(Link::Down);
    }

    /// Whether messages can come at all.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up | Link::Greeted)
    }

    /// What any server says changes what it expects.
    pub fn says(&mut self, message: &str) {
        match ServerEvent::parse(message) {
            ServerEvent::SessionCreated if self.link == Link::Up => self.link = Link::Greeted,
            ServerEvent::Delta(_) => {
                if let Some(g) = &mut self.generation {
                    g.said += u64::from(self.kind == Kind::Frames);
                }
            }
            ServerEvent::Done(_) => self.generation = None,
            _ => {}
        }
    }

    /// What an honest server does next: the transport's `Some(None)` is a new connection.
    pub fn honest(&mut self) -> Option<Option<String>> {
        match self.link {
            Link::Down => None,
            Link::Asked => Some(None),
            Link::Up => Some(Some(r#"{"type":"session.created"}"#.into())),
            Link::Greeted => {
                if self.answers.is_empty() {
                    self.answer();
                }
                self.answers.pop_front().map(Some)
            }
        }
    }

    fn answer(&mut self) {
        let Some(g) = &mut self.generation else { return };
        let n = g.samples;
        match (self.kind, g.last) {
            (Kind::Frames, last) => {
                let due = match last {
                    true => n.checked_sub(40).map_or(10, |n| n / 1280 + 11),
                    false => (n.saturating_sub(40) / 1280).saturating_sub(6),
                };
                for k in g.said..due {
                    // Counted as it is said.
                    self.answers.push_back(delta(["", " word", "", ""][(k % 4) as usize]));
                }
            }
            (Kind::Segments, last) => {
                let due = if last { n.div_ceil(80_000) } else { n / 80_000 };
                for _ in g.said..due {
                    for text in ["language", " English", "<asr_text>", "Hello", " again."] {
                        self.answers.push_back(delta(text));
                    }
                }
                g.said = due.max(g.said);
            }
            (Kind::Arrival, _) => {
                for _ in g.said..n / 10_000 {
                    self.answers.push_back(delta(" word"));
                }
                g.said = (n / 10_000).max(g.said);
            }
            (Kind::Utterance, _) => {}
        }
        if g.last && self.answers.is_empty() {
            let text = if self.kind == Kind::Utterance { "Hello again." } else { "" };
            let done = json!({ "type": "transcription.done", "text": text });
            self.answers.push_back(done.to_string());
        }
    }
}

pub fn delta(text: &str) -> String {
    json!({ "type": "transcription.delta", "delta": text }).to_string()
}
