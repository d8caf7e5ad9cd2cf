// SPDX-License-Identifier: MPL-2.0

//! The voice that hears while one speaks. Without its model (`scripts/setup.sh voice`) nothing is
//! tested here, and each test says so.

mod common;

use std::time::{Duration, Instant};

use common::readings::{Reading, readings, word_error_rate};
use common::{Client, noise};
use vllm_standin::{Cadence, Moonshine, Standin, Voice};

fn server(cadence: Cadence) -> Option<Standin> {
    match Moonshine::open(&Moonshine::folder()) {
        Ok(voice) => Some(
            Standin::builder().voice(Voice::Moonshine(voice)).cadence(cadence).start().unwrap(),
        ),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

#[test]
fn word_error_rate_of_the_readings() {
    for (cadence, most) in [(Cadence::Arrival, 0.06), (Cadence::Segments, 0.2)] {
        let Some(server) = server(cadence) else { return };
        let mut client = Client::ready(&server.url());
        let rate = word_error_rate(&mut client, &readings());
        // By segments words are cut at the edges, as the real one does.
        assert!(rate <= most, "{cadence:?}: word error rate {rate:.3}");
        assert_eq!(client.count("error"), 0);
    }
}

/// While the sound grows words come in order, and none is taken back: the deltas are the text.
#[test]
fn words_come_while_the_sound_grows() {
    let Some(server) = server(Cadence::Arrival) else { return };
    let mut client = Client::ready(&server.url());
    let reading = &readings()[0];
    client.commit();
    for piece in reading.samples.chunks(1600) {
        client.feed(piece);
        // This paces the source.
        let next = Instant::now() + Duration::from_millis(100);
        while client.read(next) {}
    }
    client.wait("transcription.delta", 4);
    let early = client.texts().concat();
    assert!(early.split_whitespace().count() >= 4, "{early}");
    client.last();
    client.wait("transcription.done", 1);
    let text = client.done(0)["text"].as_str().unwrap().to_owned();
    assert_eq!(client.texts().concat(), text);
    assert!(text.trim_start().starts_with("And Mr. John"), "{text}");
}

/// Speech without a pause is cut for the model, which loses and doubles no word.
#[test]
fn speech_without_a_pause() {
    let Some(server) = server(Cadence::Arrival) else { return };
    let mut client = Client::ready(&server.url());
    let all = readings();
    // From the first voice to the last, one right behind the other.
    let samples: Vec<i16> =
        all.iter().flat_map(|r| r.samples[3200..r.samples.len() - 3200].to_vec()).collect();
    let text = all.into_iter().map(|r| r.text).collect::<Vec<_>>().join(" ");
    assert!(word_error_rate(&mut client, &[Reading { samples, text }]) <= 0.12);
}

/// Speech, silence and noise: no word out of nothing.
#[test]
fn silence_and_noise_say_nothing() {
    let Some(server) = server(Cadence::Arrival) else { return };
    let mut client = Client::ready(&server.url());
    let noise = noise(20 * 16_000);
    let mut soft = noise.clone();
    soft.iter_mut().for_each(|s| *s /= 30);
    let mut brown = Vec::new();
    let mut level = 0.0;
    for s in &noise {
        level = 0.98 * level + 0.1 * f64::from(*s);
        brown.push(level as i16);
    }
    let click: Vec<i16> = (0..16_000).map(|i| if i == 8000 { i16::MAX } else { 0 }).collect();
    let nothing = [vec![0; 20 * 16_000], noise, soft, brown, click];
    for (i, sound) in nothing.iter().enumerate() {
        client.utterance(sound);
        client.wait("transcription.done", i + 1);
        assert_eq!(client.done(i)["text"], "", "sound {i}");
    }
    assert!(word_error_rate(&mut client, &readings()[..1]) <= 0.1);
}

/// Many at once share the model; a client that goes leaves nothing behind.
#[test]
fn long_eight_clients_at_once() {
    let Some(server) = server(Cadence::Arrival) else { return };
    let url = server.url();
    let mut gone = Client::ready(&url);
    gone.commit();
    gone.feed(&readings()[0].samples);
    drop(gone);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::ready(&url);
                assert!(word_error_rate(&mut client, &readings()) <= 0.06);
                assert_eq!(client.count("error"), 0);
            });
        }
    });
}

/// A minute of speech, of silence, of noise, ten times over: no word out of nothing, and memory flat: a
/// process holds no more than 200 hearings leave.
#[test]
fn long_ten_minutes_of_each() {
    let program = env!("CARGO_BIN_EXE_vllm-standin");
    let voice = match Moonshine::run(&Moonshine::folder(), program.as_ref()) {
        Ok(voice) => voice,
        Err(why) => return println!("skipped: {why}"),
    };
    let voice = Voice::Moonshine(voice);
    let server = Standin::builder().voice(voice).cadence(Cadence::Arrival).start().unwrap();
    let mut client = Client::ready(&server.url());
    let speech = readings();
    let mut held = Vec::new();
    for round in 0..10 {
        for _ in 0..2 {
            assert!(word_error_rate(&mut client, &speech) <= 0.06);
        }
        for sound in [vec![0; 60 * 16_000], noise(60 * 16_000)] {
            let before = client.count("transcription.done");
            client.utterance(&sound);
            client.wait("transcription.done", before + 1);
            assert_eq!(client.done(before)["text"], "", "round {round}");
        }
        held.push(resident());
    }
    println!("resident, in MB, after each round: {held:?}");
    assert!(held.iter().all(|h| *h <= held[2] + 30), "{held:?}");
}

/// MB of this process, and of those that it has started, in memory.
fn resident() -> usize {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).ok();
        let parent: u32 = read("stat")?.rsplit(')').next()?.split(' ').nth(2)?.parse().ok()?;
        let ours = [pid, parent].contains(&std::process::id());
        let pages: usize = read("statm")?.split(' ').nth(1)?.parse().ok()?;
        ours.then_some(pages * 4 / 1024)
    });
    all.sum()
}
