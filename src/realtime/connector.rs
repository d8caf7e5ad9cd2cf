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
use mio::{Poll, Token, Waker};
use rustls::ClientConfig;
use tungstenite::http::StatusCode;
use tungstenite::{Error as WsError, Message, WebSocket};

use super::connect_error;
use super::headers::Headers;
use super::lingering_close::ClosingConnections;
use super::models_query::Probe;
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
    /// On the way to one address; there may be others to turn to.
    OnTheWay(Leg, Others),
    /// There is no realtime route; until the server has told what it serves instead.
    Refused {
        lost: Lost,
        status: StatusCode,
        until: Instant,
    },
    Open(Box<WebSocket<Stream>>),
}

/// The way to a WebSocket.
enum Leg {
    Tcp(TcpStream),
    /// Through the proxy at this address, or straight to the server's.
    Tunnel(Tunnel, SocketAddr),
    /// TLS and the WebSocket's handshake.
    Upgrade(Box<Upgrade>),
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

/// A server, and what is known of it from before.
struct Server {
    url: ServerUrl,
    proxy: Option<Proxy>,
    /// A WebSocket was open once.
    worked: bool,
    /// An address that took the last connection and has not said a word.
    silent: Option<SocketAddr>,
}

/// Makes and holds the connection of a client.
pub struct Connector {
    servers: Vec<Server>,
    /// An index of `servers` in every state but `Closed`: `connect` takes no other.
    current: usize,
    /// The model whose context a server is asked for, where that is to be asked.
    model: Option<String>,
    /// The question, under way.
    probe: Option<Probe>,
    /// The model that the server has told of.
    served: Option<String>,
    headers: Headers,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    look_ups: LookUps,
    /// When this attempt began.
    begun: Instant,
    state: State,
    closing_connections: ClosingConnections,
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
        let server = |url: &ServerUrl| {
            let proxy = config.proxy.of(url)?;
            Ok(Server { url: url.clone(), proxy, worked: false, silent: None })
        };
        let servers: Result<_, _> = config.servers.iter().map(server).collect();
        let tls = config.servers.iter().any(|s| s.tls).then(|| tls::client_config(&config.tls));
        Ok(Connector {
            servers: servers?,
            current: 0,
            model: config.max_utterance.is_none().then(|| config.model.clone()),
            probe: None,
            served: None,
            headers,
            tls: tls.transpose()?,
            connect_timeout: config.connect_timeout,
            look_ups: LookUps::new(resolver, waker),
            begun: Instant::now(),
            state: State::Closed,
            closing_connections: ClosingConnections::default(),
            token: Token(0),
            readable: false,
            events: VecDeque::new(),
        })
    }

    /// This model's context is asked for from here on.
    pub fn ask_for(&mut self, model: &str) {
        if let Some(asked) = &mut self.model {
            model.clone_into(asked);
        }
    }

    /// Begins an attempt; what there was is left.
    pub fn connect(&mut self, poll: &Poll, server: usize) {
        self.disconnect();
        let Some(Server { url, proxy, .. }) = self.servers.get(server) else { return };
        self.current = server;
        self.begun = Instant::now();
        let (host, port) = match proxy {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (url.host.clone(), url.port),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.addresses(poll, vec![SocketAddr::new(ip, port)]);
        }
        match self.look_ups.begin(host, port) {
            Ok(answer) => self.state = State::Resolving(answer),
            Err(e) => self.lose(self.absent(&e, connect_error::name)),
        }
    }

    /// The server of this attempt.
    fn server(&mut self) -> &mut Server {
        &mut self.servers[self.current]
    }

    fn url(&self) -> &ServerUrl {
        &self.servers[self.current].url
    }

    /// Before that server.
    fn proxy(&self) -> Option<&Proxy> {
        self.servers.get(self.current)?.proxy.as_ref()
    }

    /// There is no way to the proxy or, as `why` says, to the server.
    fn absent(&self, e: &io::Error, why: fn(&ServerUrl, &io::Error) -> Lost) -> Lost {
        self.proxy()
            .map_or_else(|| why(self.url(), e), |proxy| connect_error::proxy_absent(proxy, e))
    }

    /// The name has these. One that let the last attempt wait in vain comes last.
    fn addresses(&mut self, poll: &Poll, mut found: Vec<SocketAddr>) {
        found.truncate(ADDRESSES);
        let silent = self.server().silent;
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
            self.token = Token(self.token.0.wrapping_add(1).max(1));
            match stream::connect(poll, address, self.token) {
                Ok(stream) => {
                    // One that does not answer leaves time for the others.
                    let time = self.connect_timeout.saturating_sub(self.begun.elapsed());
                    let until = Instant::now() + time / (left.len() as u32 + 1);
                    self.state = State::OnTheWay(Leg::Tcp(stream), Others { left, until });
                    return;
                }
                Err(e) => lost = Some(self.absent(&e, connect_error::connect)),
            }
        }
        let none = io::Error::other("the name has no address");
        let lost = lost.unwrap_or_else(|| self.absent(&none, connect_error::connect));
        self.lose(lost);
    }

    /// When [`Connector::poll_event`] has something to do by itself.
    pub fn wake_at(&self) -> Option<Instant> {
        let step = match &self.state {
            State::OnTheWay(_, others) if !others.left.is_empty() => Some(others.until),
            State::Refused { until, .. } => Some(*until),
            _ => None,
        };
        let probe = self.probe.as_ref().map(Probe::until);
        [step, probe, self.closing_connections.until()].into_iter().flatten().min()
    }

    /// The poll reports this token.
    pub fn ready(&mut self, token: Token) {
        if token == Probe::TOKEN {
            self.probe.iter_mut().for_each(Probe::ready);
        } else {
            self.readable |= token == self.token;
            // Which may be the last connection's still.
            self.closing_connections.ready(token);
        }
    }

    /// Whether there may be more to do although the poll will not say so again.
    pub fn has_more(&self) -> bool {
        let open = matches!(self.state, State::Open(_) | State::OnTheWay(Leg::Upgrade(_), _));
        !self.events.is_empty() || (self.readable && open) || self.closing_connections.has_more()
    }

    /// A new turn: so much more may be read, and what is being left goes on.
    pub fn turn(&mut self) {
        match &mut self.state {
            State::OnTheWay(Leg::Upgrade(upgrade), _) => stream::refill(upgrade.stream()),
            State::Open(socket) => stream::refill(socket.get_mut()),
            _ => {}
        }
        self.closing_connections.advance();
    }

    /// The next thing that happened; `None`: wait for the poll.
    pub fn poll_event(&mut self, poll: &Poll) -> Option<Event> {
        if self.events.is_empty() {
            self.advance(poll);
        }
        self.events.pop_front()
    }

    fn advance(&mut self, poll: &Poll) {
        if let Some(served) = self.probe.as_mut().and_then(Probe::advance) {
            self.probe = None;
            self.served = served.model;
            self.events.push_back(Event::Context(served.context));
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => {}
            State::Resolving(answer) => match answer.try_recv() {
                Ok(Ok(addresses)) => self.addresses(poll, addresses),
                Ok(Err(e)) => self.lose(self.absent(&e, connect_error::name)),
                Err(TryRecvError::Empty) => self.state = State::Resolving(answer),
                Err(TryRecvError::Disconnected) => {
                    let e = io::Error::other("the look-up failed");
                    self.lose(self.absent(&e, connect_error::name));
                }
            },
            State::OnTheWay(leg, others) => self.go_on(poll, leg, others),
            State::Refused { lost, status, until } => self.refused(lost, status, until),
            State::Open(socket) => {
                self.state = State::Open(socket);
                self.read();
            }
        }
    }

    fn go_on(&mut self, poll: &Poll, leg: Leg, others: Others) {
        let due = others.are_due();
        let leg = match leg {
            Leg::Tcp(stream) => self.tcp(poll, stream, due),
            Leg::Upgrade(upgrade) if self.readable => self.handshake(upgrade),
            _ if due => Err(self.absent(&io::ErrorKind::TimedOut.into(), connect_error::connect)),
            Leg::Tunnel(tunnel, address) => self.tunnel(poll, tunnel, address),
            leg => Ok(Some(leg)),
        };
        match leg {
            Ok(Some(leg)) => self.state = State::OnTheWay(leg, others),
            Ok(None) => {}
            Err(lost) if lost.permanent => self.lose(lost),
            // Something else may listen at another address of the name.
            Err(lost) => self.next_address(poll, others.left, Some(lost)),
        }
    }

    /// Whether TCP stands by now. Returns where the way goes on, as all legs do; `None`: it is at its
    /// end.
    fn tcp(&mut self, poll: &Poll, stream: TcpStream, due: bool) -> Result<Option<Leg>, Lost> {
        let stands = match stream.take_error() {
            Ok(None) => stream.peer_addr(),
            Ok(Some(e)) | Err(e) => Err(e),
        };
        let address = match stands {
            Ok(address) => address,
            Err(e) if e.kind() == io::ErrorKind::NotConnected && !due => {
                return Ok(Some(Leg::Tcp(stream)));
            }
            Err(e) => return Err(self.absent(&e, connect_error::connect)),
        };
        stream::tune(&stream);
        self.server().silent = Some(address);
        let tunnel = Tunnel::new(stream, self.proxy(), self.url());
        self.tunnel(poll, tunnel, address)
    }

    /// Through the proxy, if there is one, to TLS and the WebSocket's handshake. `address`: the
    /// server's, or the proxy's.
    fn tunnel(
        &mut self,
        poll: &Poll,
        tunnel: Tunnel,
        address: SocketAddr,
    ) -> Result<Option<Leg>, Lost> {
        let Server { url, proxy, worked, .. } = &self.servers[self.current];
        let stream = match (tunnel.advance(), proxy) {
            (Ok(proxy::Step::Open(stream)), _) => stream,
            (Ok(proxy::Step::Waiting(tunnel)), _) => return Ok(Some(Leg::Tunnel(tunnel, address))),
            (Err(e), Some(proxy)) => return Err(connect_error::tunnel(proxy, url, e, *worked)),
            (Err(_), None) => return Ok(None),
        };
        let upgrade = stream::wrap(stream, url, self.tls.as_ref())
            .and_then(|stream| Upgrade::new(stream, url, &self.headers))
            .map_err(|error| Lost { error, permanent: true })?;
        self.ask_for_context(poll, address);
        self.handshake(Box::new(upgrade))
    }

    /// Once the server is there it is asked how long its model's context is.
    fn ask_for_context(&mut self, poll: &Poll, address: SocketAddr) {
        let Some(model) = &self.model else { return };
        let (proxy, url, tls) = (self.proxy(), self.url(), self.tls.as_ref());
        self.probe = Probe::new(poll, address, proxy, url, tls, model, &self.headers).ok();
    }

    fn handshake(&mut self, upgrade: Box<Upgrade>) -> Result<Option<Leg>, Lost> {
        self.readable = false;
        match upgrade.advance() {
            Ok(Step::Open(socket)) => {
                self.server().worked = true;
                self.state = State::Open(socket);
                // The greeting may have come along with the handshake.
                self.readable = true;
                self.events.push_back(Event::Connected);
            }
            Ok(Step::Waiting(mut upgrade)) => {
                self.readable = stream::is_cut_short(upgrade.stream());
                return Ok(Some(Leg::Upgrade(upgrade)));
            }
            Err(e) => {
                let Server { url, worked, .. } = self.server();
                let lost = connect_error::handshake(url, &e, *worked);
                let missing = connect_error::no_route(&e).filter(|_| lost.permanent);
                let Some(status) = missing else { return Err(lost) };
                let until = Instant::now() + PATIENCE.min(self.connect_timeout / 2);
                self.refused(lost, status, until);
            }
        }
        Ok(None)
    }

    /// What the server serves instead is told with the refusal, if it comes in time.
    fn refused(&mut self, mut lost: Lost, status: StatusCode, until: Instant) {
        if self.probe.is_some() && Instant::now() < until {
            self.state = State::Refused { lost, status, until };
            return;
        }
        if let Some(model) = self.served.take() {
            connect_error::no_realtime(self.url(), &mut lost, status, &model);
        }
        self.lose(lost);
    }

    fn read(&mut self) {
        while self.readable && self.events.is_empty() {
            let State::Open(socket) = &mut self.state else { return };
            match socket.read() {
                Ok(Message::Text(text)) => {
                    self.server().silent = None;
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
                    self.server().silent = None;
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
            let written = socket.write(Message::text(message));
            self.wrote(written);
        }
    }

    /// Gives the network what it takes.
    pub fn flush(&mut self) {
        if let State::Open(socket) = &mut self.state {
            let written = socket.flush();
            self.wrote(written);
        }
    }

    fn wrote(&mut self, result: Result<(), WsError>) {
        match result {
            Err(WsError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => self.lose_open(&e, None),
            Ok(()) => {}
        }
    }

    /// `closing`: what the server's close frame says.
    fn lose_open(&mut self, e: &WsError, closing: Option<&str>) {
        self.lose(connect_error::open(self.url(), e, closing));
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
            self.closing_connections.add(socket, self.token);
        }
    }

    /// Whether nothing is being left any more.
    pub fn has_closed_all(&self) -> bool {
        self.closing_connections.is_empty()
    }
}
