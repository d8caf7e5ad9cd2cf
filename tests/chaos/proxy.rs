// SPDX-License-Identifier: MPL-2.0

//! A TCP proxy that does to a connection what networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the element to the server.
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Both sides see the end.
    Cut,
    /// Neither side sees anything, and no byte goes through any more, either way.
    HalfOpen,
    /// Only this way stands still: what is sent fills the buffers.
    Stall,
    /// The byte is another one.
    Corrupt,
}

/// The handshake is over by then, and not much more.
const HANDSHAKE: u64 = 150;

/// At byte `at` of a connection, counted from 0 in this way.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub connection: usize,
    pub way: Way,
    pub at: u64,
    pub what: What,
}

#[derive(Default)]
struct State {
    connections: usize,
    struck: usize,
    over: bool,
    sockets: Vec<TcpStream>,
}

struct Shared {
    server: SocketAddr,
    troubles: Vec<Trouble>,
    /// Bytes at a time, and the rest after each.
    throttle: Option<(usize, Duration)>,
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Between a client and the server with this port.
    pub fn new(server: u16, troubles: Vec<Trouble>) -> Proxy {
        Self::with(server, troubles, None)
    }

    /// So many bytes at a time, with a rest after each.
    pub fn throttled(server: u16, bytes: usize, rest: Duration) -> Proxy {
        Self::with(server, Vec::new(), Some((bytes, rest)))
    }

    fn with(server: u16, troubles: Vec<Trouble>, throttle: Option<(usize, Duration)>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: ([127, 0, 0, 1], server).into(),
            troubles,
            throttle,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.state.lock().unwrap().over {
                    return;
                }
                accepting.clone().serve(client.unwrap());
            }
        });
        Proxy { port, shared }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/realtime", self.port)
    }

    /// For a server that speaks TLS.
    pub fn tls_url(&self) -> String {
        format!("wss://localhost:{}/v1/realtime", self.port)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// Troubles that came true so far.
    pub fn struck(&self) -> usize {
        self.shared.state.lock().unwrap().struck
    }

    /// Waits until so many troubles came true.
    pub fn wait_struck(&self, count: usize, limit: Duration) -> bool {
        let state = self.shared.state.lock().unwrap();
        let waited = self.shared.changed.wait_timeout_while(state, limit, |s| s.struck < count);
        !waited.unwrap().1.timed_out()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let sockets = {
            let mut state = self.shared.state.lock().unwrap();
            state.over = true;
            std::mem::take(&mut state.sockets)
        };
        self.shared.changed.notify_all();
        for socket in sockets {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // The listener wakes up and ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn serve(self: Arc<Self>, client: TcpStream) {
        let connection = {
            let mut state = self.state.lock().unwrap();
            state.connections += 1;
            state.connections - 1
        };
        // A server that is not there: the client sees its connection end.
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        {
            let mut state = self.state.lock().unwrap();
            state.sockets.push(client.try_clone().unwrap());
            state.sockets.push(server.try_clone().unwrap());
        }
        let still = Arc::new(Mutex::new(false));
        for way in [Way::Up, Way::Down] {
            let (from, to) = match way {
                Way::Up => (client.try_clone().unwrap(), server.try_clone().unwrap()),
                Way::Down => (server.try_clone().unwrap(), client.try_clone().unwrap()),
            };
            let mut troubles: Vec<Trouble> = self
                .troubles
                .iter()
                .filter(|t| t.connection == connection && t.way == way)
                .copied()
                .collect();
            troubles.sort_by_key(|t| t.at);
            let (shared, still) = (self.clone(), still.clone());
            thread::spawn(move || shared.pump(from, to, troubles, &still));
        }
    }

    fn pump(
        &self,
        mut from: TcpStream,
        mut to: TcpStream,
        troubles: Vec<Trouble>,
        still: &Mutex<bool>,
    ) {
        let mut buffer = [0; 4096];
        let (most, rest) = self.throttle.unwrap_or((buffer.len(), Duration::ZERO));
        let mut at = 0;
        let mut troubles = troubles.into_iter().peekable();
        loop {
            // Whole at first: a handshake in crumbs is refused as an attack.
            let most = if at < HANDSHAKE { buffer.len() } else { most };
            let read = match from.read(&mut buffer[..most]) {
                Ok(n) if n > 0 => n,
                _ => break,
            };
            while let Some(trouble) = troubles.next_if(|t| t.at < at + read as u64) {
                let here = (trouble.at - at) as usize;
                if trouble.what == What::Corrupt {
                    buffer[here] ^= 0x41;
                    self.strike();
                    continue;
                }
                let _ = to.write_all(&buffer[..here]);
                match trouble.what {
                    What::HalfOpen => *still.lock().unwrap() = true,
                    What::Cut | What::Stall | What::Corrupt => {}
                }
                self.strike();
                if matches!(trouble.what, What::HalfOpen | What::Stall) {
                    // Nothing is read any more either, until the proxy ends.
                    let state = self.state.lock().unwrap();
                    drop(self.changed.wait_while(state, |s| !s.over).unwrap());
                }
                shut(&from, &to);
                return;
            }
            if *still.lock().unwrap() {
                continue;
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
            at += read as u64;
            if !rest.is_zero() {
                let state = self.state.lock().unwrap();
                drop(self.changed.wait_timeout_while(state, rest, |s| !s.over).unwrap());
            }
        }
        if !*still.lock().unwrap() {
            shut(&from, &to);
        }
    }

    fn strike(&self) {
        self.state.lock().unwrap().struck += 1;
        self.changed.notify_all();
    }
}

fn shut(a: &TcpStream, b: &TcpStream) {
    let _ = (a.shutdown(Shutdown::Both), b.shutdown(Shutdown::Both));
}
