// SPDX-License-Identifier: MPL-2.0

//! One connection after the other, without ever blocking: name look-up, TCP, TLS, WebSocket.
//! Each step can be abandoned at any moment.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Poll, Token, Waker};
use rustls::ClientConfig;
use tungstenite::http::StatusCode;
use tungstenite::{Error as WsError, Message, WebSocket};

use super::connect_error;
use super::headers::Headers;
use super::lingering_close::Partings;
use super::models_query::{Probe, Way};
use super::proxy::{self, Proxy, Tunnel};
use super::resolver::{Addresses, LookUps, Resolver};
use super::session::Lost;
use super::stream::{self, Stream};
use super::tls;
use super::upgrade::{Step, Upgrade};
use super::{Config, Error, ServerUrl};

/// Addresses of a name that are tried at most: each has a share of the time.
const ADDRESSES: usize = 8;

/// How long the answer to what the server serves is waited for, once its route is missing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What happened on the network.
#[derive(Debug)]
pub enum Event {
    /// The WebSocket is open.
    Connected,
    Message(String),
    /// The model's context in tokens, where the server tells it.
    Context(Option<u64>),
    /// A binary frame of so many bytes that is no text.
    Binary(usize),
    /// The attempt failed, or the connection is gone.
    Lost(Lost),
}

enum State {
    Closed,
    Resolving(Receiver<Addresses>),
    /// TCP under way to one address.
    Connecting {
        stream: TcpStream,
        others: Others,
    },
    /// CONNECT through the proxy.
    Tunnelling {
        tunnel: Tunnel,
        address: SocketAddr,
        others: Others,
    },
    /// TLS and the WebSocket's handshake.
    Handshaking {
        upgrade: Box<Upgrade>,
        others: Others,
    },
    /// There is no realtime route; until the server has told what it serves instead.
    Refused {
        lost: Lost,
        status: StatusCode,
        until: Instant,
    },
    Open(Box<WebSocket<Stream>>),
}

/// The addresses that are left to try, and when to turn to them.
struct Others {
    left: VecDeque<SocketAddr>,
    until: Instant,
}

impl Others {
    fn are_due(&self) -> bool {
        !self.left.is_empty() && Instant::now() >= self.until
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Past {
    /// A WebSocket was open once.
    worked: bool,
    /// An address that took the last connection and has not said a word.
    silent: Option<SocketAddr>,
}

/// Makes and holds the connection of a client.
pub struct Connector {
    servers: Vec<ServerUrl>,
    /// Before each of the servers.
    proxies: Vec<Option<Proxy>>,
    model: String,
    /// The question for the model's context, under way.
    probe: Option<Probe>,
    probe_ready: bool,
    /// The model that the server has told of.
    served: Option<String>,
    /// Whether to ask it.
    probes: bool,
    headers: Headers,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    look_ups: LookUps,
    /// An index of `servers` and `past` in every state but `Closed`: `connect` takes no other.
    server: usize,
    /// When this attempt began.
    begun: Instant,
    /// What is known of each server from before.
    past: Vec<Past>,
    state: State,
    partings: Partings,
    token: Token,
    /// The poll said so, and nothing has said otherwise yet (it tells of changes only).
    readable: bool,
    events: VecDeque<Event>,
}

impl Connector {
    /// Checks the settings that concern connections.
    pub fn new(
        config: &Config,
        resolver: Arc<Resolver>,
        waker: Arc<Waker>,
    ) -> Result<Connector, Error> {
        let headers = Headers::new(config.api_key.as_ref(), &config.headers)?;
        let proxies: Result<_, _> = config.servers.iter().map(|s| config.proxy.of(s)).collect();
        let tls = config.servers.iter().any(|s| s.tls).then(|| tls::client_config(&config.tls));
        Ok(Connector {
            model: config.model.clone(),
            probe: None,
            probe_ready: false,
            served: None,
            probes: config.max_utterance.is_none(),
            headers,
            proxies: proxies?,
            tls: tls.transpose()?,
            servers: config.servers.clone(),
            connect_timeout: config.connect_timeout,
            look_ups: LookUps::new(resolver, waker),
            server: 0,
            begun: Instant::now(),
            past: vec![Past::default(); config.servers.len()],
            state: State::Closed,
            partings: Partings::default(),
            token: Token(0),
            readable: false,
            events: VecDeque::new(),
        })
    }

    /// Begins an attempt; what there was is left.
    pub fn connect(&mut self, poll: &Poll, server: usize) {
        self.disconnect();
        let Some(url) = self.servers.get(server) else { return };
        self.server = server;
        self.begun = Instant::now();
        let (host, port) = match self.proxy() {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (url.host.clone(), url.port),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.addresses(poll, vec![SocketAddr::new(ip, port)]);
        }
        match self.look_ups.begin(host, port) {
            Ok(answer) => self.state = State::Resolving(answer),
            Err(e) => self.lose(self.not_found(&e)),
        }
    }

    /// Before the server of this attempt.
    fn proxy(&self) -> Option<&Proxy> {
        self.proxies.get(self.server).and_then(Option::as_ref)
    }

    /// The name of the host, or of the proxy, is not found.
    fn not_found(&self, e: &io::Error) -> Lost {
        match self.proxy() {
            Some(proxy) => connect_error::proxy_absent(proxy, e),
            None => connect_error::name(&self.servers[self.server], e),
        }
    }

    /// TCP to the server, or to the proxy, does not come about.
    fn absent(&self, e: &io::Error) -> Lost {
        match self.proxy() {
            Some(proxy) => connect_error::proxy_absent(proxy, e),
            None => connect_error::connect(&self.servers[self.server], e),
        }
    }

    /// Of the server of this attempt.
    fn past(&mut self) -> &mut Past {
        &mut self.past[self.server]
    }

    /// The name has these. One that let the last attempt wait in vain comes last.
    fn addresses(&mut self, poll: &Poll, mut found: Vec<SocketAddr>) {
        found.truncate(ADDRESSES);
        let silent = self.past().silent;
        if let Some(at) = found.iter().position(|a| Some(*a) == silent) {
            found.rotate_left(at + 1);
        }
        self.next_address(poll, found.into(), None);
    }

    /// TCP to the next address, if one is left.
    fn next_address(
        &mut self,
        poll: &Poll,
        mut left: VecDeque<SocketAddr>,
        mut lost: Option<Lost>,
    ) {
        (self.probe, self.served) = (None, None);
        while let Some(address) = left.pop_front() {
            match self.register(poll, address) {
                Ok(stream) => {
                    // One that does not answer leaves time for the others.
                    let time = self.connect_timeout.saturating_sub(self.begun.elapsed());
                    let until = Instant::now() + time / (left.len() as u32 + 1);
                    self.state = State::Connecting { stream, others: Others { left, until } };
                    return;
                }
                Err(e) => lost = Some(self.absent(&e)),
            }
        }
        let none = || io::Error::other("the name has no address");
        let lost = lost.unwrap_or_else(|| self.absent(&none()));
        self.lose(lost);
    }

    fn register(&mut self, poll: &Poll, address: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        self.token = Token(self.token.0.wrapping_add(1).max(1));
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, self.token, interest)?;
        Ok(stream)
    }

    /// When [`Connector::poll_event`] has something to do by itself.
    pub fn wake_at(&self) -> Option<Instant> {
        let others = match &self.state {
            State::Connecting { others, .. }
            | State::Tunnelling { others, .. }
            | State::Handshaking { others, .. } => Some(others),
            _ => None,
        };
        let others = others.filter(|o| !o.left.is_empty()).map(|o| o.until);
        let probe = self.probe.as_ref().map(Probe::until);
        let refused = match &self.state {
            State::Refused { until, .. } => Some(*until),
            _ => None,
        };
        [others, probe, refused, self.partings.until()].into_iter().flatten().min()
    }

    /// The poll reports this token.
    pub fn ready(&mut self, token: Token) {
        if token == Probe::TOKEN {
            self.probe_ready = true;
        } else {
            self.readable |= token == self.token;
            // Which may be the last connection's still.
            self.partings.ready(token);
        }
    }

    /// Whether there may be more to do although the poll will not say so again.
    pub fn has_more(&self) -> bool {
        let open = matches!(self.state, State::Open(_) | State::Handshaking { .. });
        !self.events.is_empty() || (self.readable && open) || self.partings.has_more()
    }

    /// A new turn: so much more may be read, and what is being left goes on.
    pub fn turn(&mut self) {
        match &mut self.state {
            State::Handshaking { upgrade, .. } => stream::refill(upgrade.stream()),
            State::Open(socket) => stream::refill(socket.get_mut()),
            _ => {}
        }
        self.partings.advance();
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
        if let Some(served) = probe.and_then(Probe::advance) {
            self.probe = None;
            self.served = served.model;
            self.events.push_back(Event::Context(served.context));
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => {}
            State::Resolving(answer) => match answer.try_recv() {
                Ok(Ok(addresses)) => self.addresses(poll, addresses),
                Ok(Err(e)) => self.lose(self.not_found(&e)),
                Err(TryRecvError::Empty) => self.state = State::Resolving(answer),
                Err(TryRecvError::Disconnected) => {
                    let e = io::Error::other("the look-up failed");
                    self.lose(self.not_found(&e));
                }
            },
            State::Connecting { stream, others } => self.tcp(poll, stream, others),
            State::Handshaking { upgrade, others } if self.readable => {
                self.handshake(poll, upgrade, others);
            }
            State::Tunnelling { others, .. } | State::Handshaking { others, .. }
                if others.are_due() =>
            {
                let lost = self.absent(&io::ErrorKind::TimedOut.into());
                self.next_address(poll, others.left, Some(lost));
            }
            State::Tunnelling { tunnel, address, others } => {
                self.tunnel(poll, tunnel, address, others);
            }
            handshaking @ State::Handshaking { .. } => self.state = handshaking,
            State::Refused { lost, status, until } => self.refused(lost, status, until),
            State::Open(socket) => {
                self.state = State::Open(socket);
                self.read();
            }
        }
    }

    /// Whether TCP stands by now.
    fn tcp(&mut self, poll: &Poll, stream: TcpStream, others: Others) {
        let stands = match stream.take_error() {
            Ok(None) => stream.peer_addr(),
            Ok(Some(e)) | Err(e) => Err(e),
        };
        let address = match stands {
            Ok(address) => address,
            Err(e) if e.kind() == io::ErrorKind::NotConnected && !others.are_due() => {
                self.state = State::Connecting { stream, others };
                return;
            }
            Err(e) => {
                let lost = self.absent(&e);
                return self.next_address(poll, others.left, Some(lost));
            }
        };
        stream::tune(&stream);
        self.past().silent = Some(address);
        match self.proxy() {
            Some(proxy) => {
                let tunnel = Tunnel::new(stream, proxy, &self.servers[self.server]);
                self.tunnel(poll, tunnel, address, others);
            }
            None => self.upgrade(poll, stream, address, others),
        }
    }

    /// Through the proxy.
    fn tunnel(&mut self, poll: &Poll, tunnel: Tunnel, address: SocketAddr, others: Others) {
        match tunnel.advance() {
            Ok(proxy::Step::Open(stream)) => self.upgrade(poll, stream, address, others),
            Ok(proxy::Step::Waiting(tunnel)) => {
                self.state = State::Tunnelling { tunnel, address, others };
            }
            Err(e) => {
                let worked = self.past().worked;
                let Some(proxy) = self.proxy() else { return };
                let lost = connect_error::tunnel(proxy, &self.servers[self.server], e, worked);
                if lost.permanent {
                    self.lose(lost);
                } else {
                    self.next_address(poll, others.left, Some(lost));
                }
            }
        }
    }

    /// The server is reached: TLS and the WebSocket's handshake. `address`: its own, or the proxy's.
    fn upgrade(&mut self, poll: &Poll, stream: TcpStream, address: SocketAddr, others: Others) {
        let url = &self.servers[self.server];
        let upgrade = stream::wrap(stream, url, self.tls.as_ref())
            .and_then(|stream| Upgrade::new(stream, url, &self.headers));
        match upgrade {
            Ok(upgrade) => {
                self.ask_for_context(poll, address);
                self.handshake(poll, Box::new(upgrade), others);
            }
            Err(error) => self.lose(Lost { error, permanent: true }),
        }
    }

    /// Once the server is there it is asked how long its model's context is.
    fn ask_for_context(&mut self, poll: &Poll, address: SocketAddr) {
        if !self.probes {
            return;
        }
        let url = &self.servers[self.server];
        let way = Probe::tcp(poll, address).ok().and_then(|tcp| match self.proxy() {
            Some(proxy) => Some(Way::Tunnel(Tunnel::new(tcp, proxy, url))),
            None => stream::wrap(tcp, url, self.tls.as_ref()).ok().map(Box::new).map(Way::Open),
        });
        self.probe = way.map(|w| Probe::new(w, url, self.tls.as_ref(), &self.model, &self.headers));
    }

    fn handshake(&mut self, poll: &Poll, upgrade: Box<Upgrade>, others: Others) {
        self.readable = false;
        match upgrade.advance() {
            Ok(Step::Open(socket)) => {
                self.past().worked = true;
                self.state = State::Open(socket);
                // The greeting may have come along with the handshake.
                self.readable = true;
                self.events.push_back(Event::Connected);
            }
            Ok(Step::Waiting(mut upgrade)) => {
                self.readable = stream::is_cut_short(upgrade.stream());
                self.state = State::Handshaking { upgrade, others };
            }
            Err(e) => {
                let worked = self.past().worked;
                let lost = connect_error::handshake(&self.servers[self.server], &e, worked);
                if let Some(status) = connect_error::no_route(&e).filter(|_| lost.permanent) {
                    let until = Instant::now() + PATIENCE.min(self.connect_timeout / 2);
                    self.refused(lost, status, until);
                } else if lost.permanent {
                    self.lose(lost);
                } else {
                    // Something else may listen at this address of the name.
                    self.next_address(poll, others.left, Some(lost));
                }
            }
        }
    }

    /// What the server serves instead is told with the refusal, if it comes in time.
    fn refused(&mut self, mut lost: Lost, status: StatusCode, until: Instant) {
        if self.probe.is_some() && Instant::now() < until {
            self.state = State::Refused { lost, status, until };
            return;
        }
        if let Some(model) = self.served.take() {
            connect_error::no_realtime(&self.servers[self.server], &mut lost, status, &model);
        }
        self.lose(lost);
    }

    fn read(&mut self) {
        while self.readable && self.events.is_empty() {
            let State::Open(socket) = &mut self.state else { return };
            match socket.read() {
                Ok(Message::Text(text)) => {
                    self.past().silent = None;
                    self.events.push_back(Event::Message(text.as_str().to_owned()));
                }
                Ok(Message::Close(frame)) => {
                    // Some then leave the TCP connection as it is.
                    let closing =
                        frame.map(|f| format!("{} {}", u16::from(f.code), f.reason.as_str()));
                    let closing = closing.unwrap_or_else(|| "without a code".to_owned());
                    return self.lose_open(&WsError::ConnectionClosed, Some(&closing));
                }
                // Text that a gateway has wrapped anew.
                Ok(Message::Binary(bytes)) => {
                    self.past().silent = None;
                    self.events.push_back(match std::str::from_utf8(&bytes) {
                        Ok(text) if text.trim_start().starts_with('{') => {
                            Event::Message(text.to_owned())
                        }
                        _ => Event::Binary(bytes.len()),
                    });
                }
                // Pings are answered by the library with the next flush; nothing else is known.
                Ok(_) => {}
                Err(WsError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = stream::is_cut_short(socket.get_mut());
                    break;
                }
                Err(e) => return self.lose_open(&e, None),
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
                Err(WsError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => self.lose_open(&e, None),
            }
        }
    }

    /// Gives the network what it takes.
    pub fn flush(&mut self) {
        if let State::Open(socket) = &mut self.state {
            match socket.flush() {
                Ok(()) => {}
                Err(WsError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => self.lose_open(&e, None),
            }
        }
    }

    /// `closing`: what the server's close frame says.
    fn lose_open(&mut self, e: &WsError, closing: Option<&str>) {
        self.lose(connect_error::open(&self.servers[self.server], e, closing));
    }

    fn lose(&mut self, lost: Lost) {
        self.leave();
        self.events.push_back(Event::Lost(lost));
    }

    /// Ends what there is; an open connection is left in order, and nobody waits for that.
    pub fn disconnect(&mut self) {
        self.leave();
        self.probe = None;
        self.events.clear();
    }

    fn leave(&mut self) {
        self.readable = false;
        if let State::Open(socket) = std::mem::replace(&mut self.state, State::Closed) {
            self.partings.add(socket, self.token);
        }
    }

    /// Whether nothing is being left any more.
    pub fn has_parted(&self) -> bool {
        self.partings.is_empty()
    }
}
