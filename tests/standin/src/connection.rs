// SPDX-License-Identifier: MPL-2.0

//! The I/O of one connection, on its own thread, waiting on its socket and a waker.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::Flavour;
use crate::fault::{What, When};
use crate::http::{self, Head};
use crate::log::ConnectionLog;
use crate::server::{Life, Shared};
use crate::session::{Out, Session};
use crate::stream::Stream;

/// Largest message that a client may send.
const MESSAGE_LIMIT: usize = 16 << 20;
/// Messages read in a row, before the engine works and text is sent.
const READ_LIMIT: usize = 64;
/// How long a client may take to answer a close frame.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Serves a connection to its end.
pub(crate) fn run(shared: &Arc<Shared>, mut stream: Stream, id: u64) {
    let Ok(mut poll) = Poll::new() else { return };
    let interest = Interest::READABLE | Interest::WRITABLE;
    let Ok(waker) = Waker::new(poll.registry(), Token(1)) else { return };
    if poll.registry().register(stream.socket(), Token(0), interest).is_err() {
        return;
    }
    shared.register(id, Arc::new(waker));
    shared.log.write(|log| {
        log.opened += 1;
    });
    let closed = match handshake(shared, &mut stream, &mut poll, id) {
        Ok(Some(rest)) => {
            let code = Connection::new(shared, stream, rest, id).run(&mut poll);
            Some(code)
        }
        // A plain request, or the end.
        Ok(None) | Err(_) => None,
    };
    shared.forget(id);
    shared.log.write(|log| {
        if let Some(connection) = log.connection(id) {
            connection.closed = Some(closed.unwrap_or(1006));
        }
    });
}

fn killed() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "the server has ended")
}

fn wait(shared: &Shared, poll: &mut Poll, until: Option<Instant>) -> io::Result<()> {
    if shared.life() >= Life::Stopping {
        return Err(killed());
    }
    let mut events = Events::with_capacity(8);
    match poll.poll(&mut events, until.map(|t| t.saturating_duration_since(Instant::now()))) {
        Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
        _ if shared.life() >= Life::Stopping => Err(killed()),
        _ => Ok(()),
    }
}

/// Reads and answers the HTTP request; the bytes behind it, where it was upgraded.
fn handshake(
    shared: &Shared,
    stream: &mut Stream,
    poll: &mut Poll,
    id: u64,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, length) = loop {
        if shared.config.flavour == Flavour::SilentBeforeUpgrade {
            wait(shared, poll, None)?;
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                wait(shared, poll, None)?;
                continue;
            }
            Err(e) => return Err(e),
        }
        match http::head(&bytes) {
            Ok(Some(head)) => break head,
            Ok(None) => {}
            Err(_) => return Ok(None),
        }
    };
    let upgrade = head.is_upgrade();
    let Head { path, headers, .. } = &head;
    shared.log.write(|log| {
        if upgrade {
            log.open_connection(ConnectionLog {
                id,
                path: path.chars().take(2000).collect(),
                headers: headers.clone(),
                ..Default::default()
            });
        } else {
            log.request(path);
        }
    });
    let mut refuse = None;
    if upgrade {
        for what in shared.faults.strike(When::Request, id, 0, &mut Vec::new()) {
            shared.log.write(|log| log.faults += 1);
            match what {
                What::Refuse { status } => refuse = Some(status),
                What::Cut => return Ok(None),
                What::Stall { ms } => {
                    let until = What::duration(ms).map(|time| Instant::now() + time);
                    while until.is_none_or(|t| t > Instant::now()) {
                        wait(shared, poll, until)?;
                    }
                }
                What::Kill => {
                    shared.become_(Life::Killed);
                    return Ok(None);
                }
                What::Stop => {
                    shared.become_(Life::Stopping);
                    return Ok(None);
                }
                _ => {}
            }
        }
    }
    let answer = head.answer(&shared.config, refuse, u64::from(shared.port));
    let mut left = answer.bytes.as_slice();
    while !left.is_empty() {
        match stream.write(left) {
            Ok(n) => left = &left[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait(shared, poll, None)?,
            Err(e) => return Err(e),
        }
    }
    while let Err(e) = stream.flush() {
        match e.kind() {
            io::ErrorKind::WouldBlock => wait(shared, poll, None)?,
            _ => return Err(e),
        }
    }
    if upgrade {
        shared.log.on(id, |log| log.status = answer.status);
    }
    Ok((answer.status == 101).then(|| bytes.split_off(length)))
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    socket: WebSocket<Stream>,
    session: Session,
    id: u64,
    /// The socket takes no more for now.
    blocked: bool,
    /// No reading, no writing until then; the inner `None`: for ever.
    stalled: Option<Option<Instant>>,
    /// Bytes that go out one at a time, the time between them, and when the next is due.
    dribble: Option<(Duration, Vec<u8>, usize, Instant)>,
    dribble_next: Option<Duration>,
    /// A close frame was sent: the end at the latest.
    closing: Option<(u16, Instant)>,
    next_ping: Option<Instant>,
    /// When the pong must be there.
    pong_by: Option<Instant>,
    silent: bool,
}

impl<'a> Connection<'a> {
    fn new(shared: &'a Arc<Shared>, stream: Stream, rest: Vec<u8>, id: u64) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT))
            .write_buffer_size(0);
        let socket = WebSocket::from_partially_read(stream, rest, Role::Server, Some(config));
        let now = Instant::now();
        let mut connection = Connection {
            shared,
            socket,
            session: Session::new(shared.clone(), id),
            id,
            blocked: false,
            stalled: None,
            dribble: None,
            dribble_next: None,
            closing: None,
            next_ping: shared.config.ping_interval.map(|t| now + t),
            pong_by: None,
            silent: false,
        };
        match shared.config.flavour {
            Flavour::SilentAfterUpgrade => connection.silent = true,
            Flavour::OpenAi => {
                connection.silent = true;
                connection.session.out.extend(OPENAI.iter().map(|m| Out::Text((*m).to_owned())));
            }
            _ => connection.session.start(now),
        }
        connection
    }

    /// To the end; returns the close code.
    fn run(&mut self, poll: &mut Poll) -> u16 {
        let code = loop {
            let now = Instant::now();
            match self.turn(now) {
                Err(code) => break code,
                Ok(until) => {
                    let mut events = Events::with_capacity(8);
                    let limit = until.map(|t| t.saturating_duration_since(Instant::now()));
                    if let Err(e) = poll.poll(&mut events, limit)
                        && e.kind() != io::ErrorKind::Interrupted
                    {
                        break 1006;
                    }
                    if events.iter().any(|e| e.is_writable()) {
                        self.blocked = false;
                    }
                }
            }
        };
        self.session.end();
        code
    }

    /// One turn: read, work, write. Returns when the next is due at the latest.
    fn turn(&mut self, now: Instant) -> Result<Option<Instant>, u16> {
        match self.shared.life() {
            Life::Killed => return Err(1006),
            Life::Stopping if self.closing.is_none() => {
                self.session.out.clear();
                self.close(1012, "", now)?;
            }
            Life::Dying => self.session.engine_died(),
            _ => {}
        }
        match self.stalled {
            Some(Some(until)) if until <= now => self.stalled = None,
            Some(until) if self.closing.is_none() => return Ok(until),
            _ => {}
        }
        let mut until = Vec::new();
        if self.read(now)? {
            until.push(now);
        }
        if let Some((code, limit)) = self.closing {
            if limit <= now {
                return Err(code);
            }
            self.flush()?;
            return Ok(Some(limit));
        }
        if !self.blocked && self.dribble.is_none() {
            until.extend(self.session.step(now));
        }
        self.write(now)?;
        until.extend(self.drip(now)?);
        until.extend(self.keep_alive(now)?);
        until.extend(self.shared.death());
        if let Some((_, limit)) = self.closing {
            until.push(limit);
        }
        if !self.session.out.is_empty() && !self.blocked && self.dribble.is_none() {
            until.push(now);
        }
        if let Some(Some(stalled)) = self.stalled {
            until.push(stalled);
        }
        Ok(until.into_iter().min())
    }

    /// Reads what is there; true: there may be more.
    fn read(&mut self, now: Instant) -> Result<bool, u16> {
        for _ in 0..READ_LIMIT {
            if self.session.halted() {
                return Ok(false);
            }
            match self.socket.read() {
                Ok(_) if self.closing.is_some() => {}
                Ok(Message::Text(text)) if !self.silent => self.session.text(&text, now),
                Ok(Message::Text(_)) => self.shared.log.on(self.id, |log| log.messages += 1),
                // vLLM dies of it without a close frame.
                Ok(Message::Binary(_)) => return Err(1006),
                Ok(Message::Pong(_)) => {
                    self.pong_by = None;
                    self.shared.log.on(self.id, |log| log.pongs += 1);
                }
                Ok(_) => {}
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(Error::ConnectionClosed) => {
                    return Err(self.closing.map_or(1000, |(code, _)| code));
                }
                Err(Error::Capacity(e)) => {
                    let reason = match e {
                        tungstenite::error::CapacityError::MessageTooLong { size, max_size } => {
                            format!("frame with {size} bytes exceeds limit of {max_size} bytes")
                        }
                        _ => "message too big".into(),
                    };
                    self.close(1009, &reason, now)?;
                    self.linger();
                    return Err(1009);
                }
                Err(Error::Utf8(_)) => {
                    self.close(1007, "invalid UTF-8", now)?;
                    return Err(1007);
                }
                Err(Error::Protocol(_)) if self.closing.is_none() => {
                    let _ = self.close(1002, "", now);
                    return Err(1002);
                }
                Err(_) => return Err(self.closing.map_or(1006, |(code, _)| code)),
            }
        }
        Ok(true)
    }

    /// Takes what a client is still sending, for a while: a socket that is closed with bytes in
    /// it resets the connection, and the close frame is lost.
    fn linger(&mut self) {
        let until = Instant::now() + CLOSE_LIMIT;
        let mut buffer = vec![0; 65536];
        let _ = self.socket.flush();
        while Instant::now() < until && self.shared.life() != Life::Killed {
            match self.socket.get_mut().read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return,
            }
        }
    }

    fn write(&mut self, now: Instant) -> Result<(), u16> {
        while !self.blocked && self.dribble.is_none() && self.closing.is_none() {
            let Some(out) = self.session.out.pop_front() else { break };
            match out {
                Out::Text(text) => match self.dribble_next.take() {
                    Some(step) => {
                        self.dribble = Some((step, frame(text.as_bytes()), 0, now));
                    }
                    None if self.shared.config.binary => self.send(Message::binary(text))?,
                    None => self.send(Message::text(text))?,
                },
                Out::Binary(bytes) => self.send(Message::binary(bytes))?,
                Out::Close(code, reason) => self.close(code, &reason, now)?,
                Out::Cut => return Err(1006),
                Out::Dribble(step) => self.dribble_next = Some(step),
                Out::Stall(until) => {
                    self.stalled = Some(until);
                    break;
                }
                Out::Kill => {
                    self.shared.become_(Life::Killed);
                    return Err(1006);
                }
                Out::Stop => {
                    self.shared.become_(Life::Stopping);
                    return self.close(1012, "", now);
                }
            }
        }
        self.flush()
    }

    fn send(&mut self, message: Message) -> Result<(), u16> {
        match self.socket.write(message) {
            Ok(()) => Ok(()),
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            Err(_) => Err(1006),
        }
    }

    fn flush(&mut self) -> Result<(), u16> {
        match self.socket.flush() {
            Ok(()) => Ok(()),
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            Err(Error::ConnectionClosed) => Err(self.closing.map_or(1000, |(code, _)| code)),
            Err(_) => Err(self.closing.map_or(1006, |(code, _)| code)),
        }
    }

    fn close(&mut self, code: u16, reason: &str, now: Instant) -> Result<(), u16> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() };
        self.closing = Some((code, now + CLOSE_LIMIT));
        match self.socket.close(Some(frame)) {
            Ok(()) => {}
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(code),
        }
        self.flush()
    }

    /// The slow message: the next byte where it is due.
    fn drip(&mut self, now: Instant) -> Result<Option<Instant>, u16> {
        let Some((step, bytes, at, due)) = &mut self.dribble else { return Ok(None) };
        if *due <= now {
            match self.socket.get_mut().write(&bytes[*at..=*at]) {
                Ok(_) => *at += 1,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(1006),
            }
            *due = now + *step;
        }
        let next = *due;
        if *at == bytes.len() {
            self.dribble = None;
            return Ok(Some(now));
        }
        Ok(Some(next))
    }

    fn keep_alive(&mut self, now: Instant) -> Result<Option<Instant>, u16> {
        let config = &self.shared.config;
        if self.pong_by.is_some_and(|by| by <= now) {
            self.close(1011, "keepalive ping timeout", now)?;
            return Ok(None);
        }
        if self.dribble.is_none()
            && self.closing.is_none()
            && self.next_ping.is_some_and(|at| at <= now)
            && let Some(interval) = config.ping_interval
        {
            self.next_ping = Some(now + interval);
            self.shared.log.on(self.id, |log| log.pings += 1);
            self.send(Message::Ping(self.id.to_be_bytes().to_vec().into()))?;
            self.flush()?;
            self.pong_by.get_or_insert(now + config.ping_timeout);
        }
        Ok([self.next_ping, self.pong_by].into_iter().flatten().min())
    }
}

/// A server's text frame, by hand.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        n @ 0..=125 => frame.push(n as u8),
        n @ 126..=65535 => {
            frame.push(126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(text);
    frame
}

/// How a server of OpenAI's Realtime API begins.
const OPENAI: &[&str] = &[
    r#"{"type":"session.created","event_id":"event_1","session":{"id":"sess_1","object":"realtime.session","model":"gpt-realtime","modalities":["audio","text"],"input_audio_format":"pcm16"}}"#,
    r#"{"type":"conversation.item.input_audio_transcription.delta","event_id":"event_2","item_id":"item_1","content_index":0,"delta":"Hello"}"#,
];
