// SPDX-License-Identifier: MPL-2.0

//! Servers behind HAProxy, as `docs/servers.md` has it: each is taken out, stopped and started again
//! while fifty streams run.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use vllm_standin::Standin;

use super::{Running, port};
use crate::element::{assert_accounted, assert_same, element, transcribe};
use crate::speech::Speech;
use crate::support::DEADLINE;

const STREAMS: usize = 50;
const NAMES: [&str; 2] = ["one", "two"];
/// Seconds of audio in a second.
const PACE: f64 = 2.5;

/// The configuration of the page, with the addresses of this test.
fn config(socket: &Path, front: u16, servers: [u16; 2]) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/servers.md");
    let page = std::fs::read_to_string(page).unwrap();
    let config = page.split("```haproxy\n").nth(1).unwrap().split("```").next().unwrap();
    let here = |port: u16| format!("127.0.0.1:{port}");
    let replaced = [
        ("/run/haproxy/admin.sock", socket.display().to_string()),
        ("bind :8000", format!("bind {}", here(front))),
        ("10.0.0.1:8000", here(servers[0])),
        ("10.0.0.2:8000", here(servers[1])),
    ];
    replaced.into_iter().fold(config.to_owned(), |config, (theirs, ours)| {
        assert!(config.contains(theirs), "{theirs}");
        config.replace(theirs, &ours)
    })
}

/// A command to HAProxy, and its answer.
fn ask(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Whether HAProxy's check has found the server to be up.
fn is_up(socket: &Path, name: &str) -> bool {
    let prefix = format!("vllm,{name},");
    let told = ask(socket, "show stat");
    told.lines().any(|l| l.starts_with(&prefix) && l.split(',').nth(17) == Some("UP"))
}

fn generations(server: &Standin) -> usize {
    server.log().connections.iter().filter(|c| c.started > 0).count()
}

/// Connections with a generation that are open.
fn running(server: &Standin) -> usize {
    server.log().connections.iter().filter(|c| c.started > 0 && c.closed.is_none()).count()
}

#[test]
fn long_a_rolling_restart_behind_haproxy() {
    crate::support::init();
    let speech = Speech::new(60);
    let serve =
        |port| Standin::builder().port(port).aligned(speech.voice()).pace(PACE).start().unwrap();
    let mut servers = [serve(0), serve(0)].map(Some);
    let ports = servers.each_ref().map(|s| s.as_ref().unwrap().port());
    // The path of a socket may not be long.
    let socket = PathBuf::from(format!("/tmp/haproxy-{}.sock", std::process::id()));
    let folder = super::folder("haproxy");
    let front = port();
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config(&socket, front, ports)).unwrap();
    let _haproxy =
        Running::new("/usr/sbin/haproxy", &["-db", "-f", &file.display().to_string()], front);
    // It has its name a moment after the port is open.
    wait_until("it takes commands", || UnixStream::connect(&socket).is_ok());
    wait_until("both are up", || NAMES.iter().all(|n| is_up(&socket, n)));

    let url = format!("ws://127.0.0.1:{front}/v1/realtime");
    let runs = std::thread::scope(|scope| {
        let streams: Vec<_> =
            (0..STREAMS).map(|_| scope.spawn(|| transcribe(element(&url), &speech))).collect();
        let all = |s: &[Option<Standin>; 2]| s.iter().flatten().map(generations).sum::<usize>();
        wait_until("all streams run", || all(&servers) >= STREAMS);
        // Least connections: neither has all of them.
        let first = servers.each_ref().map(|s| generations(s.as_ref().unwrap()));
        assert!(first.iter().all(|n| n.abs_diff(STREAMS / 2) <= STREAMS / 10), "{first:?}");
        for (i, other) in [(0, 1), (1, 0)] {
            ask(&socket, &format!("set server vllm/{} state drain", NAMES[i]));
            let before = servers[other].as_ref().map_or(0, generations);
            let there = servers[i].as_ref().map_or(0, running);
            assert!(there > 0, "the streams were over too soon");
            drop(servers[i].take());
            wait_until("its streams go on at the other one", || {
                servers[other].as_ref().is_some_and(|s| generations(s) >= before + there)
            });
            servers[i] = Some(serve(ports[i]));
            ask(&socket, &format!("set server vllm/{} state ready", NAMES[i]));
            wait_until("it is up again", || is_up(&socket, NAMES[i]));
        }
        streams.into_iter().map(|s| s.join().unwrap()).collect::<Vec<_>>()
    });
    let _ = std::fs::remove_file(&socket);
    assert_eq!(runs.len(), STREAMS);
    for (i, run) in runs.iter().enumerate() {
        assert_same(&run.words, &speech.text(), &format!("stream {i}, lost {:?}", run.lost));
        assert_accounted(run, speech.samples.len());
    }
    assert!(runs.iter().filter(|r| !r.lost.is_empty()).count() >= STREAMS / 2);
}
