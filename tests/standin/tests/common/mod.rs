// SPDX-License-Identifier: MPL-2.0

//! A client for tests: one thread, blocking, each wait with a deadline.
#![allow(dead_code)]

pub mod readings;

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tungstenite::handshake::client::generate_key;
use tungstenite::http::Request;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};
use vllm_standin::Random;

/// No test waits longer for anything.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How a connection ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    pub code: u16,
    pub reason: String,
}

pub struct Client {
    pub socket: WebSocket<TcpStream>,
    pub events: Vec<Value>,
    pub pings: usize,
    pub binary: usize,
    pub closed: Option<Closed>,
}

/// White noise, RMS 3000, the same each time.
pub fn noise(samples: usize) -> Vec<i16> {
    let mut random = Random::new(1);
    let mut next = || (random.draw() >> 40) as f64 / (1u64 << 24) as f64 - 0.5;
    // Four uniform numbers are near enough to a normal one.
    let gain = 3000.0 * 3.0f64.sqrt();
    (0..samples).map(|_| ((next() + next() + next() + next()) * gain) as i16).collect()
}

pub fn append(samples: &[i16]) -> String {
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let audio = base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({"type": "input_audio_buffer.append", "audio": audio}).to_string()
}

/// `ws://host:port/path` to address and path.
pub fn address(url: &str) -> (String, String) {
    let rest = url.strip_prefix("ws://").expect("a ws:// URL");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (host.to_owned(), format!("/{path}"))
}

impl Client {
    /// Connects; `Err`: HTTP status of the refusal.
    pub fn connect(url: &str) -> Client {
        Self::connect_with(url, &[]).expect("the upgrade is refused")
    }

    pub fn connect_with(url: &str, headers: &[(&str, &str)]) -> Result<Client, u16> {
        let (host, _) = address(url);
        let socket = TcpStream::connect(&host).expect("nobody listens");
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut request = Request::builder()
            .uri(url)
            .header("Host", &host)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let request = request.body(()).unwrap();
        match tungstenite::client::client_with_config(request, socket, Some(config)) {
            Ok((socket, _)) => {
                Ok(Client { socket, events: Vec::new(), pings: 0, binary: 0, closed: None })
            }
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(e) => panic!("handshake: {e}"),
        }
    }

    /// Connects and sends `session.update` with an empty model.
    pub fn ready(url: &str) -> Client {
        let mut client = Self::connect(url);
        client.wait("session.created", 1);
        client.send(&json!({"type": "session.update", "model": ""}).to_string());
        client
    }

    /// Sends a text message; false: the connection is gone.
    pub fn send(&mut self, text: &str) -> bool {
        self.message(Message::text(text))
    }

    pub fn message(&mut self, message: Message) -> bool {
        if self.closed.is_some() {
            return false;
        }
        self.socket.send(message).is_ok()
    }

    pub fn commit(&mut self) -> bool {
        self.send(r#"{"type":"input_audio_buffer.commit"}"#)
    }

    pub fn last(&mut self) -> bool {
        self.send(r#"{"type":"input_audio_buffer.commit","final":true}"#)
    }

    /// In appends of 1600 samples, as fast as they go.
    pub fn feed(&mut self, samples: &[i16]) {
        for part in samples.chunks(1600) {
            self.send(&append(part));
        }
    }

    /// Commit, audio, final commit.
    pub fn utterance(&mut self, samples: &[i16]) {
        self.commit();
        self.feed(samples);
        self.last();
    }

    pub fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|e| e["type"] == kind).count()
    }

    pub fn texts(&self) -> Vec<String> {
        let deltas = self.events.iter().filter(|e| e["type"] == "transcription.delta");
        deltas.map(|e| e["delta"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub fn done(&self, index: usize) -> &Value {
        let mut done = self.events.iter().filter(|e| e["type"] == "transcription.done");
        done.nth(index).unwrap_or_else(|| panic!("no done {index}: {:?}", self.events))
    }

    /// Reads one message at most; false: nothing came until `until`, or the end.
    pub fn read(&mut self, until: Instant) -> bool {
        if self.closed.is_some() {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.socket.get_ref().set_read_timeout(Some(left)).unwrap();
        match self.socket.read() {
            Ok(Message::Text(text)) => {
                let event = serde_json::from_str(&text).unwrap_or(json!({"text": &*text}));
                self.events.push(event);
                true
            }
            Ok(Message::Ping(_)) => {
                self.pings += 1;
                let _ = self.socket.flush();
                true
            }
            Ok(Message::Binary(_)) => {
                self.binary += 1;
                true
            }
            Ok(Message::Close(frame)) => {
                let frame = frame.map(|f| (u16::from(f.code), f.reason.as_str().to_owned()));
                let (code, reason) = frame.unwrap_or((1005, String::new()));
                self.closed = Some(Closed { code, reason });
                let _ = self.socket.flush();
                false
            }
            Ok(_) => true,
            Err(Error::Io(e))
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                false
            }
            Err(_) => {
                self.closed = Some(Closed { code: 1006, reason: String::new() });
                false
            }
        }
    }

    /// Reads until `count` events of that kind have come; panics where they do not.
    pub fn wait(&mut self, kind: &str, count: usize) {
        let end = Instant::now() + LIMIT;
        while self.count(kind) < count {
            if !self.read(end) {
                panic!("{} of {count} {kind}, closed {:?}: {:?}", self.count(kind), self.closed, {
                    &self.events[self.events.len().saturating_sub(5)..]
                });
            }
        }
    }

    /// Reads to the end of the connection.
    pub fn wait_closed(&mut self) -> Closed {
        let end = Instant::now() + LIMIT;
        while self.closed.is_none() {
            assert!(self.read(end) || self.closed.is_some(), "the connection stays open");
        }
        self.closed.clone().unwrap()
    }

    /// All that is answered before the answer to a marker, sent now.
    pub fn settle(&mut self) -> Vec<Value> {
        let from = self.events.len();
        self.send(r#"{"type":"marker"}"#);
        let end = Instant::now() + LIMIT;
        loop {
            let found =
                self.events[from..].iter().position(|e| e["error"] == "Unknown event type: marker");
            if let Some(found) = found {
                self.events.remove(from + found);
                return self.events[from..].to_vec();
            }
            assert!(self.read(end), "closed {:?}", self.closed);
        }
    }
}

/// A plain GET: status and body.
pub fn get(url: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    use std::io::{Read, Write};
    let (host, _) = address(url);
    let mut socket = TcpStream::connect(&host).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let headers: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, b)| b);
    (status, body.to_owned())
}

#[allow(unused)]
pub fn raw(url: &str) -> WebSocket<TcpStream> {
    let (host, _) = address(url);
    WebSocket::from_raw_socket(TcpStream::connect(host).unwrap(), Role::Client, None)
}

/// A client that handles frames itself, so that pings can be seen, or left unanswered.
pub struct RawClient {
    socket: TcpStream,
    answer: bool,
}

impl RawClient {
    pub fn connect(url: &str, answer: bool) -> RawClient {
        use std::io::{Read, Write};
        let (host, path) = address(url);
        let mut socket = TcpStream::connect(&host).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            generate_key()
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        RawClient { socket, answer }
    }

    /// The next frame: opcode and payload; `None`: the end.
    pub fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        use std::io::Read;
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).ok()?;
        let mut length = usize::from(head[1]);
        if length == 126 {
            let mut more = [0; 2];
            self.socket.read_exact(&mut more).ok()?;
            length = usize::from(u16::from_be_bytes(more));
        }
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).ok()?;
        let opcode = head[0] & 15;
        if opcode == 9 && self.answer {
            self.send(10, &payload);
        }
        Some((opcode, payload))
    }

    /// A short frame, masked with zeros.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) {
        use std::io::Write;
        assert!(payload.len() < 126);
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.socket.write_all(&frame).unwrap();
    }
}
