// SPDX-License-Identifier: MPL-2.0

//! Recordings of a real vLLM server (`tests/recordings`), played to the transcript.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Fed, check, len, pos};
use crate::speech::sample::voice;
use crate::transcript::{
    Output, SampleInGeneration, Timing, Transcript, TranscriptConfig, Usage, Utterance, Word,
};

struct Played {
    name: String,
    utterances: Vec<(Utterance, String, bool)>,
    words: Vec<Word>,
    fell_back: Vec<String>,
    timing: Timing,
    languages: Vec<String>,
}

/// Plays each connection of the recordings whose names begin so.
fn play(prefix: &str) -> Vec<Played> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| {
            let name = p.file_stem().unwrap().to_string_lossy();
            // Left out: audio that the recording does not count, rules broken on purpose.
            name.starts_with(prefix)
                && !["fragmented", "context_end"].iter().any(|left_out| name.contains(left_out))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no recording named {prefix}*");
    files.iter().flat_map(play_file).collect()
}

struct Connection {
    transcript: Transcript,
    open: bool,
    position: u64,
    sent: u64,
    queue: u64,
    played: Played,
    fed: Fed,
}

fn play_file(path: &PathBuf) -> Vec<Played> {
    let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let c = connections.entry(line["c"].as_u64().unwrap()).or_insert_with(|| Connection {
            transcript: Transcript::new(TranscriptConfig::default()),
            open: false,
            position: 0,
            sent: 0,
            queue: 0,
            fed: Fed::default(),
            played: Played {
                name,
                utterances: Vec::new(),
                words: Vec::new(),
                fell_back: Vec::new(),
                timing: Timing::Auto,
                languages: Vec::new(),
            },
        });
        let m = &line["m"];
        match (line["d"].as_str().unwrap(), m["type"].as_str().unwrap_or_default()) {
            (">", "input_audio_buffer.append") => {
                let n = m["samples"].as_f64().unwrap_or_default() as u64;
                c.transcript.audio(pos(c.position), &voice(n as usize, 8000.0));
                c.position += n;
                if c.open { c.sent += n } else { c.queue += n }
            }
            (">", "input_audio_buffer.commit") if m["final"] == true && c.open => {
                c.transcript.audio_end(pos(c.position), len(0));
            }
            (">", "input_audio_buffer.commit") if !c.open => {
                c.open = true;
                c.sent = std::mem::take(&mut c.queue);
                c.fed.start = pos(c.position - c.sent);
                c.transcript.begin(pos(c.position - c.sent));
            }
            ("<", "transcription.delta") => {
                c.transcript.delta(
                    m["delta"].as_str().unwrap(),
                    SampleInGeneration::new(c.sent),
                    &[],
                    None,
                );
            }
            ("<", "transcription.done") => {
                let u = |f: &str| m["usage"][f].as_u64().unwrap_or_default();
                let usage = Usage {
                    prompt_tokens: u("prompt_tokens"),
                    completion_tokens: u("completion_tokens"),
                    total_tokens: u("total_tokens"),
                };
                c.transcript.done(m["text"].as_str().unwrap(), Some(usage), &[]);
                c.open = false;
                while let Some(o) = c.transcript.poll() {
                    c.fed.take(&o, pos(c.position));
                    match o {
                        Output::Word(w) => c.played.words.push(w),
                        Output::Utterance(u) => {
                            let text = m["text"].as_str().unwrap().to_owned();
                            c.played.utterances.push((u, text, true));
                        }
                        Output::ClockFellBack { why, .. } => c.played.fell_back.push(why),
                        Output::Language(l) => c.played.languages.push(l),
                        Output::Partial(_) | Output::Correction(_) => {}
                    }
                }
                c.played.timing = c.transcript.timing();
            }
            ("<", "error") if m["code"] == "processing_error" => {
                c.transcript.abort();
                c.open = false;
            }
            ("!", _) if m["connected"].is_string() => {
                c.transcript.abort();
                (c.open, c.queue) = (false, 0);
            }
            _ => {}
        }
    }
    connections.into_values().map(|c| c.played).collect()
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric() || *c as u32 > 0x1F000).collect()
}

#[test]
fn voxtral_recordings_give_the_words_of_their_text_by_the_frame_clock() {
    let mut words = 0;
    for p in play("voxtral_") {
        for (u, text, _) in &p.utterances {
            let ours: String = u.words.iter().map(|w| w.text.as_str()).collect();
            assert_eq!(squeezed(&ours), squeezed(text), "{}", p.name);
            assert_eq!(squeezed(&u.text), squeezed(text), "{}", p.name);
            check(&u.words);
            words += u.words.len();
        }
        assert_eq!(p.fell_back, Vec::<String>::new(), "{}", p.name);
        if !p.words.is_empty() {
            assert_eq!(p.timing, Timing::Frames, "{}", p.name);
        }
    }
    assert!(words > 500, "{words} words");
}

#[test]
fn qwen_recordings_give_no_tags() {
    let mut words = 0;
    for p in play("qwen3asr_") {
        for (u, text, _) in &p.utterances {
            let text = text.replace("language English<asr_text>", "");
            let ours: String = u.words.iter().map(|w| w.text.as_str()).collect();
            assert_eq!(squeezed(&ours), squeezed(&text), "{}", p.name);
            assert!(
                u.words.iter().all(|w| ["Hello", "world,", "café."].contains(&w.text.as_str()))
            );
            assert_eq!(u.correction, None, "{}", p.name);
            check(&u.words);
            words += u.words.len();
        }
        assert_eq!(p.fell_back, Vec::<String>::new(), "{}", p.name);
        if !p.words.is_empty() {
            assert_eq!(p.timing, Timing::Segments, "{}", p.name);
            assert_eq!(p.languages, ["en"], "{}", p.name);
        }
    }
    assert!(words > 100, "{words} words");
}

#[test]
fn a_segmented_server_without_tags_is_not_taken_for_frames() {
    for p in play("dummy_qwen3asr") {
        assert!(p.words.is_empty(), "{}", p.name);
        assert_ne!(p.timing, Timing::Frames, "{}", p.name);
    }
}
