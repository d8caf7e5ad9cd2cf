// SPDX-License-Identifier: MPL-2.0

//! The byte stream below the WebSocket: TCP, with TLS or without.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{SockRef, TcpKeepalive};
use tungstenite::stream::MaybeTlsStream;

use super::{Error, ServerUrl};

/// Silence on a connection after which the peer is asked whether it is there; less than any
/// router forgets a connection after.
const IDLE: Duration = Duration::from_secs(20);

pub type Stream = MaybeTlsStream<Tcp>;

/// Bytes that are read from a connection before the client looks around.
/// They can be thousands of pings, each of which is answered.
const TURN: usize = 16 * 1024;

/// TCP that reads so much at a time and no more. Whatever a server floods with (pings, empty
/// fragments, what no layer above makes a message of) does not keep the thread from its other
/// work.
#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    allowance: usize,
}

impl Tcp {
    pub fn new(stream: TcpStream) -> Tcp {
        Tcp { stream, allowance: TURN }
    }
}

impl Read for Tcp {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(self.allowance);
        if most == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = self.stream.read(buf.get_mut(..most).unwrap_or_default())?;
        self.allowance -= n.min(self.allowance);
        Ok(n)
    }
}

impl Write for Tcp {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn tcp(stream: &mut Stream) -> Option<&mut Tcp> {
    match stream {
        MaybeTlsStream::Plain(tcp) => Some(tcp),
        MaybeTlsStream::Rustls(tls) => Some(&mut tls.sock),
        _ => None,
    }
}

/// The next turn: it may read again.
pub fn refill(stream: &mut Stream) {
    if let Some(tcp) = tcp(stream) {
        tcp.allowance = TURN;
    }
}

/// Whether "would block" only means that the turn is over: the poll will not say so again.
pub fn is_cut_short(stream: &mut Stream) -> bool {
    tcp(stream).is_some_and(|t| t.allowance == 0)
}

/// TCP to this address, of which the poll tells with this token.
pub fn connect(poll: &Poll, address: SocketAddr, token: Token) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Sets what a long connection of small messages needs. Fine without.
pub fn tune(stream: &TcpStream) {
    // Words are waited for: messages must not wait for each other.
    let _ = stream.set_nodelay(true);
    // In a long silence nothing is sent: whatever is in between must not forget the connection,
    // and a server that is gone must not be found out by the next words. The system does this
    // without waking the thread.
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(IDLE / 4);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(4));
}

/// With TLS where `url` says so.
pub fn wrap(
    stream: TcpStream,
    url: &ServerUrl,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Stream, Error> {
    let stream = Tcp::new(stream);
    let Some(config) = tls.filter(|_| url.tls) else {
        return Ok(MaybeTlsStream::Plain(stream));
    };
    let failed = |e: &dyn std::fmt::Display| {
        let what = format!("Property url: TLS cannot be used with the host of {url}.");
        Error::settings(what, e.to_string())
    };
    let name = ServerName::try_from(url.host.clone()).map_err(|e| failed(&e))?;
    let tls = ClientConnection::new(config.clone(), name).map_err(|e| failed(&e))?;
    Ok(MaybeTlsStream::Rustls(StreamOwned::new(tls, stream)))
}
