// SPDX-License-Identifier: MPL-2.0

//! What the client of a recording sent, sent again.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use vllm_standin::{Cadence, Standin};

use crate::answers::Answers;
use crate::common::{Client, Closed, LIMIT, RawClient, append, get, noise};
use crate::{DELTA, DONE, Entry};

/// A server to replay against.
pub enum Server {
    Standin(Standin),
    Real(String),
}

impl Server {
    fn url(&self) -> String {
        match self {
            Server::Standin(server) => server.url(),
            Server::Real(url) => url.clone(),
        }
    }

    pub fn for_recording(model: &str, scenario: &str) -> Server {
        let builder = Standin::builder()
            .model(model)
            .cadence(if model.contains("qwen") { Cadence::Segments } else { Cadence::Frames })
            .max_model_len(match scenario {
                "context_end" => 64,
                "context_end_qwen" => 128,
                _ => 1024,
            })
            .tail(std::time::Duration::from_millis(100))
            // The engine must be slower than the client, as it was: what is sent meanwhile counts.
            .pace(if scenario == "long" { 100.0 } else { 0.0 });
        let builder = if scenario.starts_with("seat") { builder.seats(1) } else { builder };
        let builder = if scenario == "api_key" { builder.api_key("sekrit") } else { builder };
        Server::Standin(builder.start().unwrap())
    }
}

pub struct Replay<'a> {
    pub server: Server,
    pub entries: &'a [Entry],
    pub model: String,
    /// What the server calls it, where it is another name.
    pub served: Option<String>,
    pub scenario: String,
    pub clients: BTreeMap<u64, Client>,
    /// What the next connection is to be tried with.
    pub attempt: Value,
    /// Samples sent, for the sound of some scenarios.
    pub sent: usize,
}

impl Replay<'_> {
    /// Events of that connection that were recorded before entry `upto`.
    fn before(&self, upto: usize, connection: u64) -> impl Iterator<Item = &Value> {
        let entries = self.entries[..upto].iter();
        entries.filter(move |e| e.connection == connection && e.way == '<').map(|e| &e.event)
    }

    fn count(&self, upto: usize, connection: u64, kind: &str) -> usize {
        self.before(upto, connection).filter(|e| e["type"] == kind).count()
    }

    /// Waits for what had come before entry `upto` was sent; `deltas`: for these too.
    fn catch_up(&mut self, upto: usize, connection: u64, deltas: bool) {
        for kind in ["session.created", DONE, "error", DELTA] {
            let count = self.count(upto, connection, kind);
            if (kind != DELTA || deltas) && !self.after_kill(upto) {
                // Merged deltas: the text is what counts.
                if kind == DELTA && self.model.contains("qwen") {
                    self.catch_up_text(upto, connection);
                } else if let Some(client) = self.clients.get_mut(&connection) {
                    client.wait(kind, count);
                }
            }
        }
    }

    fn catch_up_text(&mut self, upto: usize, connection: u64) {
        let deltas = self.before(upto, connection).filter(|e| e["type"] == DELTA);
        let want: usize = deltas.map(|e| e["delta"].as_str().unwrap().len()).sum();
        let Some(client) = self.clients.get_mut(&connection) else { return };
        let end = Instant::now() + LIMIT;
        while client.texts().concat().len() < want {
            assert!(client.read(end), "text does not come: {:?}", client.texts());
        }
    }

    fn after_kill(&self, upto: usize) -> bool {
        self.entries[..upto].iter().any(|e| e.way == '!' && e.event.get("kill").is_some())
    }

    fn sound(&mut self, samples: usize) -> Vec<i16> {
        let from = self.sent;
        self.sent += samples;
        let quiet = |i: usize| match self.scenario.as_str() {
            "silence10" => true,
            "single" => (48_000..96_000).contains(&i),
            _ => false,
        };
        let mut sound = noise(samples);
        for (i, sample) in sound.iter_mut().enumerate() {
            if quiet(from + i) {
                *sample = 0;
            }
        }
        sound
    }

    fn send(&mut self, connection: u64, event: &Value) {
        if event["type"] == "input_audio_buffer.append" && event["samples"].is_number() {
            let samples = event["samples"].as_f64().unwrap();
            // Half a sample was recorded where a byte was odd.
            let sound = self.sound(samples as usize);
            self.client(connection).send(&append(&sound));
        } else if let Some(size) = event["message_bytes"].as_u64() {
            let silence = vec![0; (size as usize - 60) * 3 / 8];
            let mut message = append(&silence);
            message.push_str(&" ".repeat(size as usize - message.len()));
            self.client(connection).send(&message);
        } else if let Some(parts) = event["fragments"].as_u64() {
            let message = append(&self.sound(32_000));
            let size = message.len() / parts as usize + 1;
            let parts: Vec<&[u8]> = message.as_bytes().chunks(size).collect();
            for (i, part) in parts.iter().enumerate() {
                let data = if i == 0 { Data::Text } else { Data::Continue };
                let last = i + 1 == parts.len();
                let frame = Frame::message(part.to_vec(), OpCode::Data(data), last);
                self.client(connection).message(Message::Frame(frame));
            }
        } else if let Some(text) = event.as_str() {
            if text.starts_with("b'") || text.starts_with("b\"") {
                self.client(connection).message(Message::binary(vec![1, 2, 3, 4]));
            } else {
                self.client(connection).send(text);
            }
        } else {
            let mut event = event.clone();
            if let Some(served) = &self.served
                && event["model"] == self.model.as_str()
            {
                event["model"] = json!(served);
            }
            self.client(connection).send(&event.to_string());
        }
    }

    fn client(&mut self, connection: u64) -> &mut Client {
        self.clients.get_mut(&connection).expect("a connection")
    }

    fn connect(&mut self, connection: u64, event: &Value) {
        let attempt = std::mem::take(&mut self.attempt);
        let name = attempt["try"].as_str().unwrap_or_default();
        let mut path = if name.starts_with('/') { name } else { "/v1/realtime" }.to_owned();
        let mut headers = Vec::new();
        if let Some(more) = attempt["additional_headers"].as_object() {
            headers.extend(more.iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap().to_owned())));
        }
        if let Some(origin) = attempt["origin"].as_str() {
            headers.push(("Origin", origin.to_owned()));
        }
        let protocols = |list: &str| ("Sec-WebSocket-Protocol", list.to_owned());
        let key = |value: &str| ("Authorization", value.to_owned());
        match name {
            "wrong" => headers.push(key("Bearer wrong")),
            "right" => headers.push(key("Bearer sekrit")),
            "lower case scheme" => headers.push(key("bearer sekrit")),
            "no scheme" => headers.push(key("sekrit")),
            "api-key header" => headers.push(("api-key", "sekrit".into())),
            "?api_key=" => path.push_str("?api_key=sekrit"),
            "subprotocol" => headers.push(protocols("realtime, openai-insecure-api-key.sekrit")),
            _ => {}
        }
        // The client library insists on an answer to subprotocols, which vLLM does not give.
        headers.retain(|(n, _)| *n != "Sec-WebSocket-Protocol");
        let url = self.server.url().replace("/v1/realtime", &path);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let got = Client::connect_with(&url, &headers);
        match (got, event["status"].as_u64()) {
            (Ok(client), Some(101)) => {
                self.clients.insert(connection, client);
            }
            (Err(status), Some(seen)) => assert_eq!(u64::from(status), seen, "{attempt}"),
            (got, seen) => panic!("{attempt}: {:?} in place of {seen:?}", got.err()),
        }
    }

    fn happening(&mut self, at: usize, entry: &Entry) {
        let (connection, event) = (entry.connection, &entry.event);
        if event.get("try").is_some() {
            self.attempt = event.clone();
        } else if event.get("connected").is_some() || event.get("connect").is_some() {
            self.connect(connection, event);
        } else if let Some(path) = event["GET"].as_str() {
            let header = event["headers"]["Authorization"].as_str();
            let headers: Vec<_> = header.map(|h| ("Authorization", h)).into_iter().collect();
            let (status, body) = get(&self.server.url(), path, &headers);
            assert_eq!(u64::from(status), event["status"].as_u64().unwrap(), "GET {path}");
            if path == "/v1/models" && status == 200 {
                let seen = event["body"].as_str().unwrap();
                // Some bodies were cut when they were recorded.
                let body: Value = serde_json::from_str(&body).unwrap();
                assert!(seen.contains(&format!("\"id\":{}", body["data"][0]["id"])));
                assert!(body["data"][0]["max_model_len"].is_u64());
            } else {
                assert_eq!(body, event["body"].as_str().unwrap(), "GET {path}");
            }
        } else if let Some(how) = event["kill"].as_str() {
            self.catch_up(at, connection, true);
            let Server::Standin(server) = &mut self.server else { return };
            match how {
                "SIGTERM" => server.stopper().stop(),
                "SIGKILL" => server.kill(),
                _ => server.stopper().die(),
            }
        } else if let Some(samples) = event["samples"].as_u64() {
            // So many deltas for so many samples, not one more.
            self.catch_up(at, connection, true);
            let deltas = event["deltas"].as_u64().unwrap() as usize;
            let client = self.client(connection);
            client.settle();
            assert_eq!(client.count(DELTA), deltas, "after {samples} samples");
        } else if event == "client: abort" {
            self.catch_up(at, connection, true);
            let client = self.client(connection);
            client.socket.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
            client.closed.get_or_insert(Closed { code: 1006, reason: String::new() });
        } else if event == "client: close" {
            self.catch_up(at, connection, true);
            let _ = self.client(connection).socket.close(None);
        } else if event == "client: binary frame" {
            self.catch_up(at, connection, true);
        } else if event == "client closes" {
            self.catch_up(at, connection, true);
            // Nothing more comes where nothing more came.
            let sent = self.entries[..at].iter().rev().find(|e| e.way == '>');
            let binary = sent.is_some_and(|e| {
                e.connection == connection && e.event.as_str().is_some_and(|s| s.starts_with("b'"))
            });
            let client = self.client(connection);
            if binary {
                // The client's close frame met a connection that was gone.
                assert_eq!(client.wait_closed().code, 1006);
            } else if client.closed.is_none() && client.socket.can_write() {
                client.settle();
                let _ = client.socket.close(None);
            }
        } else if let Some(code) = event["closed"].as_u64() {
            let aborted = self.client(connection).closed.is_some();
            let client = self.client(connection);
            if aborted || !client.socket.can_write() {
                return;
            }
            let closed = client.wait_closed();
            assert_eq!(u64::from(closed.code), code, "close code");
            assert_eq!(closed.reason, event["reason"].as_str().unwrap(), "reason");
        }
    }

    pub fn run(mut self) {
        let mut last = 0.0;
        for (i, entry) in self.entries.iter().enumerate() {
            match entry.way {
                '>' => {
                    // Behind a pause the deltas are there, too.
                    let calm = entry.time - last > 0.3;
                    self.catch_up(i, entry.connection, calm && self.scenario != "slow_reader");
                    self.send(entry.connection, &entry.event);
                    last = entry.time;
                }
                '!' => self.happening(i, entry),
                _ => {}
            }
        }
        let segments = self.model.contains("qwen");
        let text = !self.model.starts_with("dummy") && self.served.is_none();
        let killed = self.after_kill(self.entries.len());
        for (connection, client) in &self.clients {
            let seen = Answers::of(self.before(self.entries.len(), *connection), segments, text);
            let got = Answers::of(&client.events, segments, text);
            let name = format!("connection {connection}");
            if !killed {
                assert_eq!(got.kinds, seen.kinds, "{name}: types");
                assert_eq!(got.errors, seen.errors, "{name}: errors");
            }
            assert_eq!(got.generations.len(), seen.generations.len(), "{name}: done");
            for (i, (got, seen)) in got.generations.iter().zip(&seen.generations).enumerate() {
                assert_eq!(got.0, seen.0, "{name}: deltas of generation {i}");
                assert_eq!(got.1, seen.1, "{name}: text of generation {i}");
                assert_eq!(got.2, seen.2, "{name}: usage of generation {i}");
            }
            // What was cut off may have come further here than there.
            let (got, seen) = (got.rest.concat(), seen.rest.concat());
            assert!(!text || got.starts_with(&seen), "{name}: cut off: {got:?}, not {seen:?}");
        }
    }
}

/// Pings, with 20 s made 100 ms: the same frames in the same order.
pub fn pings(entries: &[Entry], scenario: &str) {
    let server = Standin::builder()
        .ping_interval(std::time::Duration::from_millis(100))
        .ping_timeout(std::time::Duration::from_millis(100))
        .start()
        .unwrap();
    let mut client = RawClient::connect(&server.url(), scenario != "ping_ignored");
    for entry in entries.iter().filter(|e| e.event.get("opcode").is_some()) {
        let (opcode, data) = (&entry.event["opcode"], entry.event["data"].as_str().unwrap());
        if entry.way == '>' {
            client.send(9, b"hello");
            continue;
        }
        let (got, payload) = loop {
            let (got, payload) = client.read().expect("a frame");
            // The server's own pings are more frequent here than a client's ping is answered.
            if got == 9 && opcode != "PING" {
                continue;
            }
            break (got, payload);
        };
        let hex: String = payload.iter().map(|b| format!("{b:02x}")).collect();
        match opcode.as_str().unwrap() {
            "TEXT" => assert_eq!(got, 1),
            "PING" => assert_eq!(got, 9),
            "PONG" => assert_eq!((got, hex.as_str()), (10, data)),
            "CLOSE" => assert_eq!((got, hex.as_str()), (8, data)),
            other => panic!("{other}"),
        }
    }
}
