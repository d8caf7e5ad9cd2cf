// SPDX-License-Identifier: MPL-2.0

//! A network that cuts, stalls, throttles and corrupts.

use std::time::Duration;

use gst::prelude::*;
use vllm_standin::{Builder, Cadence, Standin, Tls};

use crate::element::{Run, assert_accounted, assert_same, element, transcribe, try_transcribe};
use crate::proxy::{Proxy, Trouble, Way, What};
use crate::speech::Speech;
use crate::support::DEADLINE;

const CADENCES: [Cadence; 2] = [Cadence::Frames, Cadence::Segments];

fn builder(speech: &Speech, cadence: Cadence) -> Builder {
    Standin::builder().aligned(speech.voice()).cadence(cadence)
}

/// The element, with a limit that a connection which stands still comes up to soon, and without
/// the question for the model's context: the proxy counts connections.
fn patient(url: &str) -> gst::Element {
    let element = element(url);
    element.set_property("response-timeout", 1000_u32);
    element.set_property("max-utterance", 600_000_u32);
    element
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Troubles at random bytes of the first connections: most of the bytes are audio going up.
fn troubles(seed: u64, what: &[What], connections: usize) -> Vec<Trouble> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..connections)
        .map(|connection| {
            let way = if next(&mut random).is_multiple_of(2) { Way::Up } else { Way::Down };
            // Half of them early: in the handshake, in the greeting, in the first frames.
            let bytes = match (way, next(&mut random) % 2) {
                (_, 0) => 600,
                (Way::Up, _) => 400_000,
                (Way::Down, _) => 6000,
            };
            let at = next(&mut random) % bytes;
            let what = what[(next(&mut random) % what.len() as u64) as usize];
            Trouble { connection, way, at, what }
        })
        .collect()
}

fn assert_calm(run: &Run, speech: &Speech, what: &str) {
    assert_same(&run.words, &speech.text(), what);
    assert_accounted(run, speech.samples.len());
}

#[test]
fn long_cut_at_any_byte() {
    let speech = Speech::new(20);
    for seed in 1..=8 {
        for cadence in CADENCES {
            let server = builder(&speech, cadence).start().unwrap();
            let troubles = troubles(seed, &[What::Cut], 4);
            let what = format!("seed {seed}, {cadence:?}, {troubles:?}");
            println!("{what}");
            let proxy = Proxy::new(server.port(), troubles);
            let run = transcribe(patient(&proxy.url()), &speech);
            assert_calm(&run, &speech, &what);
            assert!(proxy.struck() > 0, "{what}");
        }
    }
}

#[test]
fn long_stands_still_at_any_byte() {
    let speech = Speech::new(20);
    for seed in 1..=4 {
        for cadence in CADENCES {
            let server = builder(&speech, cadence).start().unwrap();
            let troubles = troubles(100 + seed, &[What::HalfOpen, What::Stall], 2);
            let what = format!("seed {seed}, {cadence:?}, {troubles:?}");
            println!("{what}");
            let proxy = Proxy::new(server.port(), troubles);
            let element = patient(&proxy.url());
            element.set_property("connect-timeout", 1000_u32);
            element.set_property("reconnect", -1);
            let run = transcribe(element, &speech);
            assert_calm(&run, &speech, &what);
            assert!(proxy.struck() > 0, "{what}");
        }
    }
}

/// A few bytes at a time, slower than the audio is there: nothing is lost, and no limit strikes
/// while there is progress.
#[test]
fn throttled() {
    let speech = Speech::new(8);
    for cadence in CADENCES {
        let server = builder(&speech, cadence).start().unwrap();
        let proxy = Proxy::throttled(server.port(), 700, Duration::from_micros(500));
        let run = transcribe(element(&proxy.url()), &speech);
        assert_calm(&run, &speech, "throttled");
        assert!(run.lost.is_empty(), "{:?}", run.lost);
    }
}

/// One byte at a time: each message comes in as many pieces as it has bytes.
#[test]
fn byte_by_byte() {
    let speech = Speech::new(4);
    let server = builder(&speech, Cadence::Frames).start().unwrap();
    let proxy = Proxy::throttled(server.port(), 1, Duration::ZERO);
    let run = transcribe(element(&proxy.url()), &speech);
    assert_calm(&run, &speech, "byte by byte");
    assert!(run.lost.is_empty(), "{:?}", run.lost);
}

/// With TLS a wrong byte is always found, and costs a connection.
#[test]
fn long_corrupted_under_tls() {
    let speech = Speech::new(20);
    for seed in 1..=6 {
        let cadence = CADENCES[seed as usize % 2];
        let server = builder(&speech, cadence).tls(Tls::SelfSigned).start().unwrap();
        let mut troubles = troubles(200 + seed, &[What::Corrupt], 4);
        // A first connection that cannot even shake hands would be taken for another protocol.
        troubles[0].at += 5000;
        let what = format!("seed {seed}, {cadence:?}, {troubles:?}");
        println!("{what}");
        let proxy = Proxy::new(server.port(), troubles);
        let element = patient(&proxy.tls_url());
        element.set_property("insecure-tls", true);
        let run = transcribe(element, &speech);
        assert_calm(&run, &speech, &what);
    }
}

/// Without TLS a wrong byte may be anything, a letter of a word as well: it ends in order, by
/// EOS with every sample accounted for, or by an ERROR.
#[test]
fn corrupted_without_tls() {
    let speech = Speech::new(20);
    for seed in 1..=12 {
        let server = builder(&speech, CADENCES[seed as usize % 2]).start().unwrap();
        let mut troubles = troubles(300 + seed, &[What::Corrupt], 4);
        troubles.iter_mut().for_each(|t| t.at += 1000);
        println!("seed {seed}, {troubles:?}");
        let proxy = Proxy::new(server.port(), troubles);
        match try_transcribe(patient(&proxy.url()), &speech) {
            Ok(run) => assert_accounted(&run, speech.samples.len()),
            // What the server takes for another protocol before it has said a word.
            Err(e) => println!("{e}"),
        }
    }
}

/// The network goes dead in the middle: told once, and all is well behind it.
#[test]
fn half_open_in_the_middle() {
    let speech = Speech::new(20);
    let server = builder(&speech, Cadence::Frames).start().unwrap();
    let dead = Trouble { connection: 0, way: Way::Down, at: 3000, what: What::HalfOpen };
    let proxy = Proxy::new(server.port(), vec![dead]);
    let run = transcribe(patient(&proxy.url()), &speech);
    assert!(proxy.wait_struck(1, DEADLINE));
    assert_calm(&run, &speech, "half open");
    assert_eq!(run.lost.len(), 1, "{:?}", run.lost);
    assert!(run.lost[0].contains("response-timeout"), "{:?}", run.lost);
    assert_eq!(proxy.connections(), 2);
}
