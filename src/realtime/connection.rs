// SPDX-License-Identifier: MPL-2.0

//! One connection after the other, without ever blocking: name look-up, TCP, TLS, WebSocket.
//! Each step can be abandoned at any moment.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Poll, Token, Waker};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::http::Uri;
use tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{ClientHandshake, Message, WebSocket};

use super::probe::Probe;
use super::refusal;
use super::session::Lost;
use super::tls;
use super::{Config, Error, ErrorKind, ServerUrl};

/// Longest message that is taken: the text of an hour fits many times.
const LONGEST_MESSAGE: usize = 1 << 20;
/// Name look-ups that hang at the same time at most.
const LOOK_UPS: usize = 4;

type Stream = MaybeTlsStream<TcpStream>;

/// What happened on the network.
#[derive(Debug)]
pub enum Event {
    /// The WebSocket is open.
    Connected,
    Message(String),
    /// The model's context in tokens, where the server tells it.
    Context(Option<u64>),
    /// The attempt failed, or the connection is gone.
    Lost(Lost),
}

enum State {
    Closed,
    Resolving(Receiver<io::Result<Vec<SocketAddr>>>),
    /// TCP under way to one address; the others are left to try.
    Connecting {
        stream: TcpStream,
        left: VecDeque<SocketAddr>,
        until: Instant,
    },
    /// TLS and the WebSocket's handshake.
    Handshaking(Box<MidHandshake<ClientHandshake<Stream>>>),
    Open(Box<WebSocket<Stream>>),
}

/// Makes and holds the connection of a client.
pub struct Connector {
    servers: Vec<ServerUrl>,
    model: String,
    /// The question for the model's context, under way.
    probe: Option<Probe>,
    probe_ready: bool,
    /// Whether to ask it.
    probes: bool,
    authorization: Option<HeaderValue>,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    waker: Arc<Waker>,
    look_ups: Arc<AtomicUsize>,
    server: usize,
    state: State,
    token: Token,
    /// The poll said so, and nothing has said otherwise yet (it tells of changes only).
    readable: bool,
    /// A WebSocket was open with this server once.
    worked: Vec<bool>,
    /// Why the server closes, from its close frame.
    closing: Option<String>,
    events: VecDeque<Event>,
}

impl Connector {
    /// Checks the settings that concern connections.
    pub fn new(config: &Config, waker: Arc<Waker>) -> Result<Connector, Error> {
        let authorization = match &config.api_key {
            None => None,
            Some(key) => Some(authorization(key.expose())?),
        };
        let tls = config.servers.iter().any(|s| s.tls).then(|| tls::client_config(&config.tls));
        Ok(Connector {
            model: config.model.clone(),
            probe: None,
            probe_ready: false,
            probes: config.max_utterance.is_none(),
            authorization,
            tls: tls.transpose()?,
            worked: vec![false; config.servers.len()],
            servers: config.servers.clone(),
            connect_timeout: config.connect_timeout,
            waker,
            look_ups: Arc::default(),
            server: 0,
            state: State::Closed,
            token: Token(0),
            readable: false,
            closing: None,
            events: VecDeque::new(),
        })
    }

    /// Begins an attempt; what there was is dropped.
    pub fn connect(&mut self, poll: &Poll, server: usize) {
        self.disconnect(poll);
        self.server = server;
        self.closing = None;
        let Some(url) = self.servers.get(server) else { return };
        if let Ok(ip) = url.host.parse::<IpAddr>() {
            let addresses = [SocketAddr::new(ip, url.port)].into();
            return self.next_address(poll, addresses, None);
        }
        match self.look_up(url.host.clone(), url.port) {
            Ok(answer) => self.state = State::Resolving(answer),
            Err(e) => self.lose(refusal::look_up(&self.servers[server], &e)),
        }
    }

    /// Looks a name up on a thread of its own: the system's look-up cannot be interrupted, but it
    /// can be left behind.
    fn look_up(
        &self,
        host: String,
        port: u16,
    ) -> io::Result<Receiver<io::Result<Vec<SocketAddr>>>> {
        let running = self.look_ups.clone();
        if running.fetch_add(1, Ordering::SeqCst) >= LOOK_UPS {
            running.fetch_sub(1, Ordering::SeqCst);
            return Err(io::Error::other("earlier look-ups have not come back"));
        }
        let (tell, answer) = channel();
        let waker = self.waker.clone();
        let left = self.look_ups.clone();
        let thread = Builder::new().name("vllmrealtimeasr-dns".into()).spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            running.fetch_sub(1, Ordering::SeqCst);
            if tell.send(found).is_ok() {
                let _ = waker.wake();
            }
        });
        if let Err(e) = thread {
            left.fetch_sub(1, Ordering::SeqCst);
            return Err(e);
        }
        Ok(answer)
    }

    /// TCP to the next address, if one is left.
    fn next_address(
        &mut self,
        poll: &Poll,
        mut left: VecDeque<SocketAddr>,
        error: Option<io::Error>,
    ) {
        let mut error = error;
        while let Some(address) = left.pop_front() {
            match TcpStream::connect(address) {
                Ok(mut stream) => {
                    self.token = Token(self.token.0.wrapping_add(1).max(1));
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if let Err(e) = poll.registry().register(&mut stream, self.token, interest) {
                        error = Some(e);
                        continue;
                    }
                    // One that does not answer leaves time for the others.
                    let share = self.connect_timeout / (left.len() as u32 + 1);
                    let until = Instant::now() + share;
                    self.state = State::Connecting { stream, left, until };
                    return;
                }
                Err(e) => error = Some(e),
            }
        }
        let error = error.unwrap_or_else(|| io::Error::other("the name has no address"));
        self.lose(refusal::connect(&self.servers[self.server], &error));
    }

    /// When [`Connector::poll_event`] has something to do by itself.
    pub fn wake_at(&self) -> Option<Instant> {
        let connecting = match &self.state {
            State::Connecting { left, until, .. } if !left.is_empty() => Some(*until),
            _ => None,
        };
        let probe = self.probe.as_ref().map(Probe::until);
        [connecting, probe].into_iter().flatten().min()
    }

    /// The poll reports this token.
    pub fn ready(&mut self, token: Token) {
        if token == Probe::TOKEN {
            self.probe_ready = true;
        } else if token == self.token {
            self.readable = true;
        }
    }

    /// Whether there may be more to read although the poll will not say so again.
    pub fn has_more(&self) -> bool {
        !self.events.is_empty() || (self.readable && matches!(self.state, State::Open(_)))
    }

    /// The next thing that happened; `None`: wait for the poll.
    pub fn poll_event(&mut self, poll: &Poll) -> Option<Event> {
        if self.events.is_empty() {
            self.advance(poll);
        }
        self.events.pop_front()
    }

    fn advance(&mut self, poll: &Poll) {
        let ready = std::mem::take(&mut self.probe_ready);
        let probe = self.probe.as_mut().filter(|p| ready || Instant::now() >= p.until());
        if let Some(context) = probe.and_then(Probe::advance) {
            self.probe = None;
            self.events.push_back(Event::Context(context));
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => {}
            State::Resolving(answer) => match answer.try_recv() {
                Ok(Ok(addresses)) => self.next_address(poll, addresses.into(), None),
                Ok(Err(e)) => self.lose(refusal::look_up(&self.servers[self.server], &e)),
                Err(TryRecvError::Empty) => self.state = State::Resolving(answer),
                Err(TryRecvError::Disconnected) => {
                    let e = io::Error::other("the look-up failed");
                    self.lose(refusal::look_up(&self.servers[self.server], &e));
                }
            },
            State::Connecting { stream, left, until } => self.tcp(poll, stream, left, until),
            State::Handshaking(mid) if self.readable => {
                self.readable = false;
                self.handshake(mid.handshake());
            }
            handshaking @ State::Handshaking(_) => self.state = handshaking,
            State::Open(socket) => {
                self.state = State::Open(socket);
                self.read();
            }
        }
    }

    /// Whether TCP stands by now.
    fn tcp(&mut self, poll: &Poll, stream: TcpStream, left: VecDeque<SocketAddr>, until: Instant) {
        let failed = match stream.take_error() {
            Ok(None) => None,
            Ok(Some(e)) | Err(e) => Some(e),
        };
        if let Some(e) = failed {
            return self.next_address(poll, left, Some(e));
        }
        let address = match stream.peer_addr() {
            Ok(address) => address,
            Err(e) if e.kind() == io::ErrorKind::NotConnected => {
                if !left.is_empty() && Instant::now() >= until {
                    let e = io::ErrorKind::TimedOut.into();
                    return self.next_address(poll, left, Some(e));
                }
                self.state = State::Connecting { stream, left, until };
                return;
            }
            Err(e) => return self.next_address(poll, left, Some(e)),
        };
        // Words are waited for: small messages must not wait for each other. Fine without.
        let _ = stream.set_nodelay(true);
        self.readable = false;
        self.ask_for_context(poll, address);
        match self.wrap(stream).and_then(|s| Ok((s, self.request()?))) {
            Ok((stream, request)) => {
                let config = WebSocketConfig::default()
                    .max_message_size(Some(LONGEST_MESSAGE))
                    .max_frame_size(Some(LONGEST_MESSAGE));
                let begun = ClientHandshake::start(stream, request, Some(config));
                match begun {
                    Ok(mid) => self.handshake(mid.handshake()),
                    Err(e) => self.lose_handshake(&e),
                }
            }
            Err(error) => self.lose(Lost { error, permanent: true }),
        }
    }

    /// Once the server is there it is asked how long its model's context is.
    fn ask_for_context(&mut self, poll: &Poll, address: SocketAddr) {
        if !self.probes {
            return;
        }
        let key = self.authorization.as_ref().map(HeaderValue::as_bytes);
        self.probe = Probe::tcp(poll, address)
            .ok()
            .and_then(|tcp| self.wrap(tcp).ok())
            .map(|s| Probe::new(s, &self.servers[self.server], &self.model, key));
    }

    fn wrap(&self, stream: TcpStream) -> Result<Stream, Error> {
        let url = &self.servers[self.server];
        let Some(config) = self.tls.as_ref().filter(|_| url.tls) else {
            return Ok(MaybeTlsStream::Plain(stream));
        };
        let failed = |e: &dyn std::fmt::Display| Error {
            kind: ErrorKind::Settings,
            message: format!("Property url: TLS cannot be used with the host of {url}."),
            detail: e.to_string(),
        };
        let name = ServerName::try_from(url.host.clone()).map_err(|e| failed(&e))?;
        let tls = ClientConnection::new(config.clone(), name).map_err(|e| failed(&e))?;
        Ok(MaybeTlsStream::Rustls(StreamOwned::new(tls, stream)))
    }

    fn request(&self) -> Result<Request, Error> {
        let url = &self.servers[self.server];
        let scheme = if url.tls { "wss" } else { "ws" };
        let mut request = Uri::builder()
            .scheme(scheme)
            .authority(url.authority())
            .path_and_query(url.path.as_str())
            .build()
            .map_err(|e| e.to_string())
            .and_then(|uri| uri.into_client_request().map_err(|e| e.to_string()))
            .map_err(|e| Error {
                kind: ErrorKind::Settings,
                message: format!("Property url: {url} cannot be asked for."),
                detail: e,
            })?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    fn handshake(
        &mut self,
        result: Result<
            (WebSocket<Stream>, tungstenite::handshake::client::Response),
            HandshakeError<ClientHandshake<Stream>>,
        >,
    ) {
        match result {
            Ok((socket, _)) => {
                if let Some(w) = self.worked.get_mut(self.server) {
                    *w = true;
                }
                self.state = State::Open(Box::new(socket));
                // The greeting may have come along with the handshake.
                self.readable = true;
                self.events.push_back(Event::Connected);
            }
            Err(HandshakeError::Interrupted(mid)) => self.state = State::Handshaking(Box::new(mid)),
            Err(HandshakeError::Failure(e)) => self.lose_handshake(&e),
        }
    }

    fn lose_handshake(&mut self, e: &tungstenite::Error) {
        let worked = self.worked.get(self.server).copied().unwrap_or_default();
        self.lose(refusal::handshake(&self.servers[self.server], e, worked));
    }

    fn read(&mut self) {
        while self.readable && self.events.is_empty() {
            let State::Open(socket) = &mut self.state else { return };
            match socket.read() {
                Ok(Message::Text(text)) => {
                    self.events.push_back(Event::Message(text.as_str().to_owned()));
                }
                Ok(Message::Close(frame)) => {
                    self.closing =
                        frame.map(|f| format!("{} {}", u16::from(f.code), f.reason.as_str()));
                }
                // Pings are answered by the library with the next flush; nothing else is known.
                Ok(_) => {}
                Err(tungstenite::Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                }
                Err(e) => return self.lose_open(&e),
            }
        }
        self.flush();
    }

    /// Takes a message for sending. What the network does not take at once is kept: bounded by
    /// how far the session runs ahead of the server.
    pub fn send(&mut self, message: String) {
        if let State::Open(socket) = &mut self.state {
            match socket.write(Message::text(message)) {
                Ok(()) => {}
                Err(tungstenite::Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => self.lose_open(&e),
            }
        }
    }

    /// Gives the network what it takes.
    pub fn flush(&mut self) {
        if let State::Open(socket) = &mut self.state {
            match socket.flush() {
                Ok(()) => {}
                Err(tungstenite::Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => self.lose_open(&e),
            }
        }
    }

    fn lose_open(&mut self, e: &tungstenite::Error) {
        let closing = self.closing.take();
        self.lose(refusal::open(&self.servers[self.server], e, closing.as_deref()));
    }

    fn lose(&mut self, lost: Lost) {
        self.state = State::Closed;
        self.readable = false;
        self.events.push_back(Event::Lost(lost));
    }

    /// Ends what there is, with a close frame where the network takes one at once.
    pub fn disconnect(&mut self, _poll: &Poll) {
        if let State::Open(mut socket) = std::mem::replace(&mut self.state, State::Closed) {
            let _ = socket.close(None);
            let _ = socket.flush();
        }
        self.probe = None;
        self.events.clear();
        self.readable = false;
    }
}

fn authorization(key: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| Error {
        kind: ErrorKind::Settings,
        message: "Property api-key: the key holds a character that no header may hold, such as a line break. Set it to the key alone.".into(),
        detail: String::new(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
