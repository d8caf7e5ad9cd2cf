// SPDX-License-Identifier: MPL-2.0

//! The client's thread against peers that misbehave below the protocol. Limits that must not be
//! waited for are set to an hour: a test that waited for one would never end.

mod floods;
mod going;
mod names;
mod refused;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use gstvllmrealtime::Position;
use gstvllmrealtime::realtime::{Client, Config, ConnectionState, Error, Output, ServerUrl};

const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(60);

fn config(url: &str) -> Config {
    Config {
        servers: ServerUrl::parse_list(url).unwrap(),
        voice_activity: false,
        connect_timeout: HOUR,
        response_timeout: HOUR,
        // The peers here count connections.
        max_utterance: Some(HOUR),
        ..Config::default()
    }
}

fn start(config: Config) -> (Client, Receiver<Output>) {
    let (tell, outputs) = channel();
    let client = Client::start(config, move |o| drop(tell.send(o))).unwrap();
    (client, outputs)
}

fn failure(outputs: &Receiver<Output>) -> Error {
    loop {
        match outputs.recv_timeout(DEADLINE).expect("an output") {
            Output::Failed(e) => return e,
            _ => continue,
        }
    }
}

/// A peer that accepts one connection and does this with it.
fn peer(f: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || f(listener.accept().unwrap().0));
    format!("127.0.0.1:{port}")
}

/// Reads a request up to its empty line.
fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What a server says first.
const CREATED: &str = r#"{"type":"session.created","id":"sess-1","created":1}"#;

type Socket = tungstenite::WebSocket<TcpStream>;

/// The server's side of a session, greeted.
fn greeted(stream: TcpStream) -> Socket {
    let mut socket = tungstenite::accept(stream).unwrap();
    socket.send(tungstenite::Message::text(CREATED)).unwrap();
    socket
}

/// Waits until the connection is in this state; why.
fn until(outputs: &Receiver<Output>, wanted: ConnectionState) -> String {
    loop {
        match outputs.recv_timeout(DEADLINE).expect("an output") {
            Output::Connection { state, reason, .. } if state == wanted => return reason,
            Output::Failed(e) => panic!("{e:?}"),
            _ => continue,
        }
    }
}
