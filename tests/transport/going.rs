// SPDX-License-Identifier: MPL-2.0

//! How the client leaves: at once, and in order.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use gstvllmrealtime::realtime::transport::Room;
use gstvllmrealtime::realtime::{Config, ConnectionState};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use super::*;

/// Whatever the network does, dropping the client returns.
#[test]
fn going_away_waits_for_nothing() {
    // Nobody answers there (TEST-NET-1), or the system says so at once: both are fine.
    let black_hole = "ws://192.0.2.1:9".to_owned();
    let (tell, kept) = channel();
    let silent = peer(move |stream| drop(tell.send(stream)));
    let (tell, kept_tls) = channel();
    let stalled_tls = peer(move |mut stream| {
        // The client's hello arrives, no answer does.
        let _ = stream.read(&mut [0; 1]);
        drop(tell.send(stream));
    });
    let name = "ws://no-such-host.invalid:9".to_owned();
    for url in [black_hole, format!("ws://{silent}"), format!("wss://{stalled_tls}"), name] {
        let (client, outputs) = start(config(&url));
        client.connect();
        until(&outputs, ConnectionState::Connecting);
        drop(client);
    }
    drop((kept, kept_tls));
}

/// A peer that stops reading: the audio under way is bounded, and the client can still go.
#[test]
fn a_peer_that_never_reads() {
    let (tell, kept) = channel();
    let address = peer(move |stream| {
        tell.send(greeted(stream)).unwrap();
    });
    let (client, outputs) = start(Config {
        max_backlog: Duration::from_secs(10),
        ..config(&format!("ws://{address}"))
    });
    client.connect();
    until(&outputs, ConnectionState::Connected);
    for i in 0..10 {
        assert_eq!(client.wait_for_room(), Room::Yes);
        client.audio(Position::new(i * 16_000), vec![1; 16_000]);
    }
    // There is no room any more, until somebody says that there is no need of it.
    let client = std::sync::Arc::new(client);
    let other = client.clone();
    let waiting = thread::spawn(move || other.wait_for_room());
    client.interrupt();
    assert_eq!(waiting.join().unwrap(), Room::Interrupted);
    assert!(client.stats().bytes_sent < 1 << 20);
    drop(client);
    drop(kept);
}

/// The last words of the client arrive though the server has sent much that was never read, and
/// reads slowly: a socket that is just closed then would be reset, with all that is under way.
#[test]
fn what_was_sent_last_arrives() {
    let leaving = Arc::new(AtomicBool::new(false));
    let (tell_ready, ready) = channel();
    let (tell_read, read) = channel();
    let address = peer({
        let leaving = leaving.clone();
        move |stream| {
            let writer = stream.try_clone().unwrap();
            let socket = greeted(stream);
            let flood = thread::spawn(move || flood(writer, &leaving, 1 << 20));
            tell_ready.send(()).unwrap();
            // It reads only once the client wants to go.
            let written = flood.join().unwrap();
            tell_read.send((written, received(socket))).unwrap();
        }
    });
    let (client, outputs) = start(config(&format!("ws://{address}")));
    client.connect();
    until(&outputs, ConnectionState::Connected);
    // More than the system's buffers hold.
    client.audio(Position::START, vec![1; 6 * 16_000]);
    ready.recv_timeout(DEADLINE).unwrap();
    while client.stats().samples_sent < 6 * 16_000 {
        thread::yield_now();
    }
    leaving.store(true, Ordering::SeqCst);
    drop(client);
    let (written, messages) = read.recv_timeout(DEADLINE).unwrap();
    assert!(written.is_ok(), "{written:?}");
    let [.., last, Message::Close(_)] = &messages[..] else { panic!("no close: {messages:?}") };
    assert!(last.to_text().unwrap().contains(r#""final":true"#), "{last}");
}

/// Events of no meaning, without end until the client leaves, and then so many bytes more.
fn flood(mut stream: TcpStream, leaving: &AtomicBool, more: usize) -> std::io::Result<()> {
    let text = format!(r#"{{"type":"news","of":"{}"}}"#, "x".repeat(90));
    let frame = [&[0x81, text.len() as u8], text.as_bytes()].concat();
    let block = frame.repeat(100);
    while !leaving.load(Ordering::SeqCst) {
        stream.write_all(&block)?;
    }
    for _ in 0..more / block.len() {
        stream.write_all(&block)?;
    }
    Ok(())
}

/// All that comes, up to the close frame or the error.
fn received(mut socket: Socket) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Ok(message) = socket.read() {
        messages.push(message);
    }
    messages
}

/// A connection that rests is kept alive by the system: there is a timer for it.
#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_rests_is_watched() {
    let (tell, kept) = channel();
    let address = peer(move |stream| drop(tell.send(greeted(stream))));
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let (client, outputs) = start(config(&format!("ws://{address}")));
    client.connect();
    until(&outputs, ConnectionState::Connected);
    // The client's end: the peer's port is the remote one; established; timer 2 is keepalive.
    let to = format!(":{port:04X}");
    let end = Instant::now() + DEADLINE;
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|r| r[2].ends_with(&to) && r[3] == "01").expect("the connection");
        if row[5].starts_with("02:") {
            break;
        }
        assert!(Instant::now() < end, "{row:?}");
        thread::yield_now();
    }
    drop((client, kept));
}

/// A server that takes no notice is left without its consent.
#[test]
fn a_peer_that_does_not_close_is_left() {
    let (tell, ended) = channel();
    let address = peer(move |stream| {
        let mut raw = stream.try_clone().unwrap();
        let _socket = greeted(stream);
        let mut all = Vec::new();
        tell.send(raw.read_to_end(&mut all).map(|_| all)).unwrap();
    });
    let (client, outputs) = start(config(&format!("ws://{address}")));
    client.connect();
    until(&outputs, ConnectionState::Connected);
    drop(client);
    let all = ended.recv_timeout(DEADLINE).unwrap().expect("an end in order");
    // A close frame, masked and without a code.
    assert_eq!(all.get(all.len() - 6..all.len() - 4), Some(&[0x88, 0x80][..]));
}

/// A close frame ends the connection, whether the server lets go of TCP or not.
#[test]
fn a_server_that_closes_by_half_is_lost_at_once() {
    let (tell, kept) = channel();
    let address = peer(move |stream| {
        let mut socket = greeted(stream);
        let frame = CloseFrame { code: CloseCode::Restart, reason: "soon back".into() };
        socket.close(Some(frame)).unwrap();
        tell.send(socket).unwrap();
    });
    let (client, outputs) = start(config(&format!("ws://{address}")));
    client.audio(Position::START, vec![1; 16_000]);
    let reason = until(&outputs, ConnectionState::Lost);
    assert!(reason.contains("restarts"), "{reason}");
    drop((client, kept));
}
