// SPDX-License-Identifier: MPL-2.0

//! The server is killed and started again, over and over.

use std::thread;
use std::time::{Duration, Instant};

use gst::prelude::*;
use vllm_standin::{Builder, Cadence, GenerationLog, Log, Standin};

use crate::element::{Run, assert_accounted, assert_same, element, stat, transcribe};
use crate::speech::Speech;
use crate::support::{self, DEADLINE, Rig, SECOND, structure};

const RATE: u64 = 16_000;

/// Looks at the log now and then, for want of one thing to wait on for two.
const GLANCE: Duration = Duration::from_millis(50);

fn builder(speech: &Speech, cadence: Cadence) -> Builder {
    Standin::builder().aligned(speech.voice()).cadence(cadence).pace(20.0)
}

/// What comes of it while nothing is wrong.
fn undisturbed(speech: &Speech, cadence: Cadence) -> Run {
    let server = builder(speech, cadence).start().unwrap();
    let run = transcribe(element(&server.url()), speech);
    assert!(run.lost.is_empty(), "{:?}", run.lost);
    assert_accounted(&run, speech.samples.len());
    run
}

/// Samples that this server has worked through, all generations together: those whose text has
/// come, or (segments) begins to come.
fn worked_through(log: &Log, cadence: Cadence) -> u64 {
    let of = |g: &GenerationLog| match cadence {
        _ if g.done => g.samples,
        Cadence::Frames => g.deltas * 1280,
        // A tag stands before each segment.
        _ => (g.text.matches("<asr_text>").count() as u64 * 5 * RATE).min(g.samples),
    };
    log.generations().map(of).sum()
}

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Life {
    /// Once so many samples are worked through.
    Audio(u64),
    /// So long after its start.
    Time(Duration),
}

/// Runs `speech` while the server is killed at the end of each life; `life` tells of the next one.
fn killed(speech: &Speech, cadence: Cadence, mut life: impl FnMut() -> Life) -> (Run, u32) {
    let mut server = builder(speech, cadence).start().unwrap();
    let url = server.url();
    thread::scope(|scope| {
        let run = scope.spawn(move || transcribe(element(&url), speech));
        let mut kills = 0;
        let (mut next, mut born) = (life(), Instant::now());
        while !run.is_finished() {
            let over = match next {
                Life::Audio(n) => server.wait(|log| worked_through(log, cadence) >= n, GLANCE),
                // The time itself: nothing is waited for but the end of the run.
                Life::Time(time) => !server.wait(|_| false, GLANCE) && born.elapsed() >= time,
            };
            if over {
                server.restart().unwrap();
                kills += 1;
                (next, born) = (life(), Instant::now());
            }
        }
        (run.join().unwrap(), kills)
    })
}

fn same_as_undisturbed(cadence: Cadence, at_least: u32, life: impl FnMut() -> Life) {
    let speech = Speech::new(180);
    let calm = undisturbed(&speech, cadence);
    assert_same(&calm.words, &speech.text(), "undisturbed");
    let (run, kills) = killed(&speech, cadence, life);
    println!("{kills} kills, {}", run.stats);
    assert!(kills >= at_least, "only {kills} kills");
    assert_same(&run.words, &calm.words, "killed");
    assert_accounted(&run, speech.samples.len());
    assert!(stat(&run.stats, "samples-replayed") > 0);
}

// "Killed every 5 s during 3 minutes of speech at 20 times real time" can be read in two ways. As
// 5 s of audio, each worked through in 0.25 s: the harder one, with 36 kills at the least. Or as
// 5 s on the wall clock, in which 100 s of audio go through. Both are here.

/// 5 s of audio: a frame-synchronous server has told 62 frames of it.
#[test]
fn long_killed_every_five_seconds_of_audio_frames() {
    same_as_undisturbed(Cadence::Frames, 36, || Life::Audio(5 * RATE));
}

/// 5 s of audio: a segmented server has said nothing yet but the tag before its first words. No
/// server can be killed earlier than that and have worked 5 s through; so its first generation is
/// lost whole each time, and shorter ones must do.
#[test]
fn long_killed_every_five_seconds_of_audio_segments() {
    same_as_undisturbed(Cadence::Segments, 36, || Life::Audio(5 * RATE));
}

/// Any time from 5 to 10 s of audio: some lives tell a whole segment, some do not.
#[test]
fn long_killed_after_five_to_ten_seconds_of_audio_segments() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    same_as_undisturbed(Cadence::Segments, 18, || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        Life::Audio(5 * RATE + random % (5 * RATE))
    });
}

/// 15 s of audio: three segments, of which the last one's end is never known.
#[test]
fn long_killed_every_fifteen_seconds_of_audio_segments() {
    same_as_undisturbed(Cadence::Segments, 12, || Life::Audio(15 * RATE));
}

/// 5 s on the wall clock.
#[test]
fn long_killed_every_five_seconds_of_time_frames() {
    same_as_undisturbed(Cadence::Frames, 1, || Life::Time(Duration::from_secs(5)));
}

#[test]
fn long_killed_every_five_seconds_of_time_segments() {
    same_as_undisturbed(Cadence::Segments, 1, || Life::Time(Duration::from_secs(5)));
}

/// Killed in the middle, and back 3 s later.
fn away_for_three_seconds(cadence: Cadence) {
    let speech = Speech::new(40);
    let calm = undisturbed(&speech, cadence);
    let mut server = builder(&speech, cadence).start().unwrap();
    let url = server.url();
    let run = thread::scope(|scope| {
        let run = scope.spawn(|| transcribe(element(&url), &speech));
        assert!(server.wait(|log| worked_through(log, cadence) >= 15 * RATE, DEADLINE));
        server.kill();
        // Nobody listens: this is the outage itself, and nothing else is waited for.
        assert!(!server.wait(|_| false, Duration::from_secs(3)));
        server.restart().unwrap();
        run.join().unwrap()
    });
    assert_same(&run.words, &calm.words, "killed");
    assert_accounted(&run, speech.samples.len());
    assert!(run.lost.len() >= 2, "{:?}", run.lost);
}

#[test]
fn killed_and_back_three_seconds_later_frames() {
    away_for_three_seconds(Cadence::Frames);
}

#[test]
fn killed_and_back_three_seconds_later_segments() {
    away_for_three_seconds(Cadence::Segments);
}

/// Of two servers the first is killed for good: the other one goes on where it was.
#[test]
fn the_other_server_takes_over() {
    let speech = Speech::new(40);
    for cadence in [Cadence::Frames, Cadence::Segments] {
        let mut first = builder(&speech, cadence).start().unwrap();
        let second = builder(&speech, cadence).start().unwrap();
        let url = format!("{},{}", first.url(), second.url());
        let run = thread::scope(|scope| {
            let run = scope.spawn(|| transcribe(element(&url), &speech));
            assert!(first.wait(|log| worked_through(log, cadence) >= 15 * RATE, DEADLINE));
            assert_eq!(second.log().opened, 0);
            first.kill();
            run.join().unwrap()
        });
        assert_same(&run.words, &speech.text(), "the other server");
        assert_accounted(&run, speech.samples.len());
        assert!(second.log().done() > 0);
    }
}

/// A live source does not wait for a server that is away: what is beyond the backlog is dropped,
/// and told to the sample.
#[test]
fn a_live_source_loses_what_is_beyond_the_backlog() {
    let mut server = support::builder(&"word ".repeat(200)).start().unwrap();
    let asr = support::element(&server.url());
    asr.set_property("max-backlog", 3000_u32);
    let mut rig = Rig::bare(asr);
    rig.harness.set_live(true);
    rig.harness.play();
    rig.harness.set_src_caps_str(support::CAPS);
    rig.sound(gst::ClockTime::ZERO, 2 * SECOND);
    assert!(server.wait(|log| log.samples() == 2 * RATE, DEADLINE));
    server.kill();
    rig.sound(2 * SECOND, 10 * SECOND);
    let mut told = Vec::new();
    // It is told as it happens, not when the server is back.
    let first = rig.message(|m| structure(m, "vllmrealtimeasr/dropped"));
    server.restart().unwrap();
    rig.eos();
    let out = rig.until_eos();
    told.push(first);
    told.extend(rig.messages("vllmrealtimeasr/dropped"));
    let spans: Vec<(u64, u64)> = told
        .iter()
        .map(|s| {
            let at = |name: &str| s.get::<gst::ClockTime>(name).unwrap().nseconds() / 62_500;
            (at("start-time"), at("end-time"))
        })
        .collect();
    let dropped: u64 = spans.iter().map(|(a, b)| b - a).sum();
    let stats = rig.element.property::<gst::Structure>("stats");
    assert_eq!(stat(&stats, "samples-dropped"), dropped, "{spans:?} {stats}");
    assert!(dropped >= 6 * RATE, "{spans:?}");
    assert_eq!(stat(&stats, "samples-in"), 12 * RATE, "{stats}");
    assert_eq!(stat(&stats, "samples-confirmed") + dropped, 12 * RATE, "{stats}");
    // No word lies in what was dropped.
    for text in support::texts(&out) {
        let at = text.pts.nseconds() / 62_500;
        assert!(spans.iter().all(|(a, b)| at < *a || at >= *b), "{text:?} {spans:?}");
    }
}
