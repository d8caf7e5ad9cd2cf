// SPDX-License-Identifier: MPL-2.0

//! Connections that are being left. A socket that is closed with something in it that was not
//! read is reset, and what was sent last (the final commit) may be lost with that. So a close
//! frame goes out behind the rest, and what still comes is read and thrown away, until the server
//! closes; nobody waits for it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use mio::Token;
use tungstenite::{Error as WsError, WebSocket};

use super::stream::{self, Stream};

/// How long a server has to close.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Connections that are being left at the same time at most; the oldest one goes before.
const MOST: usize = 4;

/// All that are being left.
#[derive(Default)]
pub struct ClosingConnections(VecDeque<ClosingConnection>);

struct ClosingConnection {
    socket: Box<WebSocket<Stream>>,
    token: Token,
    until: Instant,
    /// There may be something to do.
    ready: bool,
    /// The server sends no more.
    ended: bool,
}

impl ClosingConnections {
    /// Leaves a connection that the poll knows by this token.
    pub fn add(&mut self, mut socket: Box<WebSocket<Stream>>, token: Token) {
        if !matches!(socket.close(None), Ok(()) | Err(WsError::Io(_))) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        let until = Instant::now() + PATIENCE;
        self.0.push_back(ClosingConnection { socket, token, until, ready: true, ended: false });
        self.advance();
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the first of them has had its time.
    pub fn until(&self) -> Option<Instant> {
        self.0.iter().map(|p| p.until).min()
    }

    /// The poll reports this token.
    pub fn ready(&mut self, token: Token) {
        for p in self.0.iter_mut().filter(|p| p.token == token) {
            p.ready = true;
        }
    }

    /// Whether there is something to do although the poll will not say so again.
    pub fn has_more(&self) -> bool {
        self.0.iter().any(|p| p.ready)
    }

    /// Goes on with those that can.
    pub fn advance(&mut self) {
        let now = Instant::now();
        self.0.retain_mut(|p| now < p.until && (!p.ready || p.step()));
    }
}

impl ClosingConnection {
    /// `false`: it is over.
    fn step(&mut self) -> bool {
        let sent = match self.socket.flush() {
            Ok(()) => true,
            Err(WsError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => return false,
        };
        let stream = self.socket.get_mut();
        stream::refill(stream);
        let mut unwanted = [0; 8192];
        while !self.ended {
            match stream.read(&mut unwanted) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // Also the end of TLS without its goodbye.
                Err(_) => self.ended = true,
            }
        }
        self.ready = !self.ended && stream::is_cut_short(stream);
        !(self.ended && sent)
    }
}
