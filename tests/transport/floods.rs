// SPDX-License-Identifier: MPL-2.0

//! Servers that never stop: what they send costs bounded time and memory, and keeps nobody.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;

use gstvllmrealtime::realtime::{ConnectionState, Output};

use super::*;

/// Frames without end, of which no layer above makes a message. Its end of the answers is read.
fn endless(first: &'static [u8], frame: &'static [u8]) -> String {
    peer(move |stream| {
        let mut answers = stream.try_clone().unwrap();
        let mut socket = greeted(stream);
        let stream: &mut TcpStream = socket.get_mut();
        thread::spawn(move || while answers.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {});
        let block = frame.repeat(4096);
        let mut write = stream.write_all(first);
        while write.is_ok() {
            write = stream.write_all(&block);
        }
    })
}

#[test]
fn the_client_does_its_work_under_a_flood() {
    for (first, frame) in [
        // Pings, which are answered.
        (&b""[..], &b"\x89\x00"[..]),
        // Pongs nobody asked for.
        (b"", b"\x8a\x00"),
        // Binary messages.
        (b"", b"\x82\x01x"),
        // One text in fragments of nothing.
        (b"\x01\x00", b"\x00\x00"),
        // Events of no meaning.
        (b"", b"\x81\x0c{\"type\":\"x\"}"),
    ] {
        let (client, outputs) = start(config(&format!("ws://{}", endless(first, frame))));
        client.connect();
        until(&outputs, ConnectionState::Connected);
        client.audio(Position::START, vec![1; 16_000]);
        let number = client.flush();
        while outputs.recv_timeout(DEADLINE).unwrap() != Output::Flushed(number) {}
        drop(client);
    }
}

/// Pings whose answers are not read: the answers do not pile up, later ones are left out.
#[test]
fn answers_that_are_not_read_are_not_kept() {
    const PINGS: usize = 64 << 20;
    let (tell, answers) = channel();
    let address = peer(move |stream| {
        let mut socket = greeted(stream);
        let stream: &mut TcpStream = socket.get_mut();
        let ping = [&[0x89, 125][..], &[7; 125]].concat();
        let block = ping.repeat(1024);
        for _ in 0..PINGS / block.len() {
            stream.write_all(&block).unwrap();
        }
        // No event of the protocol: the client leaves, and sends all that it has kept.
        stream.write_all(b"\x81\x01{").unwrap();
        tell.send(std::io::copy(stream, &mut std::io::sink())).unwrap();
    });
    let (client, outputs) = start(config(&format!("ws://{address}")));
    client.connect();
    let e = failure(&outputs);
    assert!(e.message.contains("no event"), "{e}");
    let answers = answers.recv_timeout(DEADLINE).unwrap().unwrap();
    assert!(answers < PINGS as u64 / 3, "{answers} bytes");
    drop(client);
}
