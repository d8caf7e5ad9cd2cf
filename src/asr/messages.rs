// SPDX-License-Identifier: MPL-2.0

//! Builders of what goes out beside the buffers: bus messages and custom events. Their names and
//! fields are documented in [`super`].

use super::latency::Latency;
use crate::realtime::{ConnectionState, Stats};
use crate::transcript::{Timing, Usage, Utterance, Word};

/// When something was, in the terms of the segment it was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: gst::ClockTime,
    pub end: gst::ClockTime,
    pub running_time: Option<gst::ClockTime>,
    pub stream_time: Option<gst::ClockTime>,
}

impl Span {
    /// A structure with these times.
    fn builder(&self, name: &str) -> gst::structure::Builder {
        gst::Structure::builder(name)
            .field("start-time", self.start)
            .field("end-time", self.end)
            .field("duration", self.end.saturating_sub(self.start))
            .field_if_some("running-time", self.running_time)
            .field_if_some("stream-time", self.stream_time)
    }
}

/// `speaker`: as the last `rstranscribe/speaker-change` said.
pub fn word(word: &Word, span: &Span, speaker: Option<&str>) -> gst::Structure {
    span.builder("vllmrealtimeasr/word")
        .field("text", &word.text)
        .field("time-confidence", f64::from(word.time_confidence))
        .field_if_some("confidence", word.confidence.map(f64::from))
        .field("space-before", word.space_before)
        .field_if_some("speaker", speaker)
        .build()
}

/// A word that was told has punctuation behind it.
pub fn correction(word: &Word, span: &Span, speaker: Option<&str>) -> gst::Structure {
    span.builder("vllmrealtimeasr/correction")
        .field("text", &word.text)
        .field_if_some("speaker", speaker)
        .build()
}

pub fn partial(text: &str) -> gst::Structure {
    gst::Structure::builder("vllmrealtimeasr/partial").field("text", text).build()
}

/// `words`: each as [`word`] makes it.
pub fn utterance(
    utterance: &Utterance,
    span: &Span,
    speaker: Option<&str>,
    words: impl IntoIterator<Item = gst::Structure>,
) -> gst::Structure {
    span.builder("vllmrealtimeasr/utterance")
        .field("text", &utterance.text)
        .field("words", gst::Array::new(words))
        .field_if_some("speaker", speaker)
        .field_if_some("language", utterance.language.as_deref())
        .field_if_some("correction", utterance.correction.as_deref())
        .field_if_some("usage", utterance.usage.as_ref().map(usage))
        .build()
}

fn usage(usage: &Usage) -> gst::Structure {
    gst::Structure::builder("usage")
        .field("prompt-tokens", usage.prompt_tokens)
        .field("completion-tokens", usage.completion_tokens)
        .field("total-tokens", usage.total_tokens)
        .build()
}

pub fn language(code: &str) -> gst::Structure {
    gst::Structure::builder("vllmrealtimeasr/language").field("language-code", code).build()
}

pub fn connection(state: ConnectionState, server: &str, reason: &str) -> gst::Structure {
    gst::Structure::builder("vllmrealtimeasr/connection")
        .field("state", state.as_str())
        .field("server", server)
        .field("reason", reason)
        .build()
}

pub fn dropped(span: &Span, reason: &str) -> gst::Structure {
    span.builder("vllmrealtimeasr/dropped").field("reason", reason).build()
}

pub fn clock(from: Timing, to: Timing, reason: &str) -> gst::Structure {
    gst::Structure::builder("vllmrealtimeasr/clock")
        .field("from", timing(from))
        .field("to", timing(to))
        .field("reason", reason)
        .build()
}

/// The nick of property `timing`.
pub fn timing(timing: Timing) -> &'static str {
    match timing {
        Timing::Auto => "auto",
        Timing::Frames => "frames",
        Timing::Segments => "segments",
        Timing::Arrival => "arrival",
        Timing::Utterance => "utterance",
    }
}

/// Details of the WARNING about words that come too late.
pub fn excessive_delay(delay: gst::ClockTime) -> gst::Structure {
    gst::Structure::builder("vllmrealtimeasr/excessive-delay")
        .field("new-observed-max-delay", delay)
        .build()
}

/// Details of the WARNING about a server that failed.
pub fn server_error(text: &str) -> gst::Structure {
    gst::Structure::builder("vllmrealtimeasr/server-error").field("text", text).build()
}

/// What the element counts itself, for property `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnStats {
    /// Text buffers pushed.
    pub buffers: u64,
    /// GAP events pushed.
    pub gaps: u64,
    /// Words that came too late for their time and were moved.
    pub late: u64,
}

/// Property `stats`.
pub fn stats(
    client: &Stats,
    own: &OwnStats,
    delay: gst::ClockTime,
    learnt: &Latency,
    latency: gst::ClockTime,
) -> gst::Structure {
    let percentile = |of| gst::ClockTime::from_nseconds(learnt.percentile(of).unwrap_or_default());
    gst::Structure::builder("vllmrealtimeasr/stats")
        .field("samples-in", client.samples_in)
        .field("samples-sent", client.samples_sent)
        .field("samples-replayed", client.samples_replayed)
        .field("samples-skipped", client.samples_skipped)
        .field("samples-confirmed", client.samples_confirmed)
        .field("samples-dropped", client.samples_dropped)
        .field("samples-flushed", client.samples_flushed)
        .field("samples-unconfirmed", client.samples_unconfirmed)
        .field("connections", client.connections)
        .field("generations", client.generations)
        .field("deltas", client.deltas)
        .field("words", client.words)
        .field("utterances", client.utterances)
        .field("repetitions", client.repetitions)
        .field("errors", client.errors)
        .field("bytes-sent", client.bytes_sent)
        .field("bytes-received", client.bytes_received)
        .field("text-buffers", own.buffers)
        .field("gap-events", own.gaps)
        .field("late-words", own.late)
        .field("latency", latency)
        .field("max-observed-delay", delay)
        .field("delay-median", percentile(50))
        .field("delay-p95", percentile(95))
        .field("clock", timing(client.clock))
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::position::pos;

    const README: &str = include_str!("../../README.md");
    const TIMES: &str = "`start-time`, `end-time`, `duration`, `running-time`, `stream-time`";

    /// What stands between backticks, outside of brackets.
    fn names(text: &str) -> BTreeSet<String> {
        let mut depth = 0_i32;
        let plain: String = text
            .chars()
            .filter(|c| {
                depth += i32::from(*c == '(');
                let outside = depth == 0;
                depth -= i32::from(*c == ')');
                outside
            })
            .collect();
        plain.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The fields that a table tells for a structure.
    fn told(table: &str, structure: &str) -> BTreeSet<String> {
        let row = table.lines().find(|l| l.contains(&format!("| `{structure}` |")));
        let row = row.unwrap_or_else(|| panic!("{structure} is not told of"));
        let fields = row.rsplit(" | ").next().unwrap();
        names(&fields.replace("times as above", TIMES))
    }

    fn fields(structure: &gst::Structure) -> BTreeSet<String> {
        structure.fields().map(|f| f.to_string()).collect()
    }

    fn every_message() -> Vec<gst::Structure> {
        let time = gst::ClockTime::SECOND;
        let (running_time, stream_time) = (Some(time), Some(time));
        let span = Span { start: time, end: 2 * time, running_time, stream_time };
        let one = Word {
            text: "word".into(),
            begin: pos(0),
            end: pos(1),
            time_confidence: 0.5,
            confidence: Some(0.5),
            space_before: true,
        };
        let whole = Utterance {
            text: "word".into(),
            words: vec![one.clone()],
            begin: pos(0),
            end: pos(1),
            usage: Some(Usage::default()),
            language: Some("en".into()),
            correction: Some("words".into()),
        };
        vec![
            word(&one, &span, Some("Ann")),
            partial("wor"),
            utterance(&whole, &span, Some("Ann"), [word(&one, &span, Some("Ann"))]),
            language("en"),
            connection(ConnectionState::Lost, "server", "reason"),
            dropped(&span, "reason"),
            clock(Timing::Frames, Timing::Utterance, "reason"),
            correction(&one, &span, Some("Ann")),
        ]
    }

    #[test]
    fn messages_have_the_fields_that_are_documented() {
        gst::init().unwrap();
        for message in every_message() {
            for table in [README, include_str!("mod.rs")] {
                assert_eq!(fields(&message), told(table, message.name()), "{}", message.name());
            }
        }
        for state in ["connecting", "connected", "lost", "closed"] {
            let row = README.lines().find(|l| l.contains("`vllmrealtimeasr/connection`")).unwrap();
            assert!(row.contains(&format!("`{state}`")), "{row}");
        }
        for name in fields(&usage(&Usage::default())) {
            assert!(README.contains(&format!("`{name}`")), "{name}");
        }
        for name in fields(&server_error("")) {
            assert!(README.contains(&format!("(`{name}`)")), "{name}");
        }
        for name in fields(&excessive_delay(gst::ClockTime::ZERO)) {
            assert!(README.contains(&format!("(`{name}`)")), "{name}");
        }
    }

    #[test]
    fn stats_has_the_fields_that_are_documented() {
        gst::init().unwrap();
        let stats = stats(
            &Stats::default(),
            &OwnStats::default(),
            gst::ClockTime::ZERO,
            &Latency::default(),
            gst::ClockTime::ZERO,
        );
        let from = README.find("Fields of `stats`: ").unwrap() + "Fields of `stats`: ".len();
        let text = README[from..].split("\n\n").next().unwrap();
        assert_eq!(fields(&stats), names(text));
    }
}
