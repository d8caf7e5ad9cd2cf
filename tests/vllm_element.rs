// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines against a real server with one of the tiny models of `../shared/vllm`, whose
//! text is noise: events, counts and times are not. `VLLM_REALTIME_URL` names the server,
//! `VLLM_MODEL` the model; `scripts/test.sh --vllm` starts both in turn.

mod support;

/// About 8 s, and no whole number of frames or of segments.
const SAMPLES: u64 = 165 * 777;

/// The server's address and model.
fn server() -> (String, String) {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    (variable("VLLM_REALTIME_URL"), variable("VLLM_MODEL"))
}

/// Loud noise, which the tiny models take for speech, through the element and `after` it.
fn run(url: &str, after: &str) -> Vec<gst::Message> {
    support::run(&format!(
        "audiotestsrc wave=white-noise volume=0.1 samplesperbuffer=777 num-buffers={} \
         ! {} ! vllmrealtimeasr name=asr url={url} vad=false {after}",
        SAMPLES / 777,
        support::CAPS,
    ))
    .unwrap()
}

fn all(messages: &[gst::Message], name: &str) -> Vec<gst::Structure> {
    messages.iter().filter_map(|m| support::structure(m, name)).collect()
}

fn check(messages: &[gst::Message], model: &str) {
    let words = all(messages, "vllmrealtimeasr/word");
    let utterances = all(messages, "vllmrealtimeasr/utterance");
    assert!(!words.is_empty());
    assert_eq!(utterances.len(), 1);
    let mut last = gst::ClockTime::ZERO;
    for word in &words {
        let text = word.get::<String>("text").unwrap();
        assert!(!text.contains("asr_text") && !text.contains("language"), "{text}");
        assert_eq!(text.trim(), text);
        let begin = word.get::<gst::ClockTime>("start-time").unwrap();
        let end = word.get::<gst::ClockTime>("end-time").unwrap();
        assert!(last <= begin && begin < end, "{text}: {begin} to {end}, after {last}");
        last = end;
    }
    assert!(last <= gst::ClockTime::from_nseconds(SAMPLES * 62_500), "{last}");
    let usage = utterances[0].get::<gst::Structure>("usage").unwrap();
    let tokens = usage.get::<u64>("completion-tokens").unwrap();
    if model.starts_with("voxtral") {
        // One for each 80 ms of audio, and what the server adds behind its end.
        assert_eq!(tokens, (SAMPLES - 40) / 1280 + 11);
    }
    assert!(tokens > 0);
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_as_a_sink() {
    let (url, model) = server();
    check(&run(&url, ""), &model);
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_into_subtitles() {
    let (url, model) = server();
    let file = std::env::temp_dir().join(format!("vllm-{}.srt", std::process::id()));
    let messages = run(&url, &format!("! srtenc ! filesink location={}", file.display()));
    check(&messages, &model);
    let srt = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(srt.matches("-->").count(), all(&messages, "vllmrealtimeasr/word").len());
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_without_such_a_model() {
    let (url, _) = server();
    let launch = format!("audiotestsrc ! {} ! vllmrealtimeasr url={url} model=none", support::CAPS);
    let error = support::run(&launch).unwrap_err();
    assert!(error.contains("model"), "{error}");
}
