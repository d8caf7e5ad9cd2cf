// SPDX-License-Identifier: MPL-2.0

//! The client against a real server, which `VLLM_REALTIME_URL` names.

use std::sync::mpsc::channel;
use std::time::Duration;

use gstvllmrealtime::realtime::{Client, Config, Output, ServerUrl};
use gstvllmrealtime::transcript;

/// Noise of 0.1 of full scale: what the tiny models take for speech.
fn noise(samples: usize) -> Vec<i16> {
    let mut x = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x % 6000) as i16 - 3000
    };
    (0..samples).map(|_| next()).collect()
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_client_gets_done_and_every_delta() {
    let url = std::env::var("VLLM_REALTIME_URL").expect("VLLM_REALTIME_URL names a server");
    let config = Config {
        servers: ServerUrl::parse_list(&url).unwrap(),
        voice_activity: false,
        ..Config::default()
    };
    let (tell, outputs) = channel();
    let client = Client::start(config, move |o| drop(tell.send(o))).unwrap();
    let mut at = 0;
    for seconds in [3, 2] {
        for chunk in noise(seconds * 16_000).chunks(160) {
            client.audio(gstvllmrealtime::Position::new(at), chunk.to_vec());
            at += chunk.len() as u64;
        }
        let before = client.stats();
        let drain = client.drain();
        let mut utterances = 0;
        loop {
            let o = outputs.recv_timeout(Duration::from_secs(60)).expect("an answer");
            match o {
                Output::Drained(n) if n == drain => break,
                Output::Failed(e) => panic!("{e:?}"),
                Output::Transcript(transcript::Output::Utterance(_)) => utterances += 1,
                _ => {}
            }
        }
        let after = client.stats();
        println!("{seconds} s: {} deltas, {utterances} utterances", after.deltas - before.deltas);
        assert_eq!(after.samples_confirmed, at);
        assert_eq!(
            after.generations,
            before.generations.max(1)
                + u64::from(before.generations > 0 && before.samples_confirmed > 0)
        );
    }
    println!("{:?}", client.stats());
}
