// SPDX-License-Identifier: MPL-2.0

//! Asks the server once what it serves and how long the model's context is (`GET /v1/models`),
//! beside the session and without ever blocking. No answer is no error: the session then has its
//! own limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Poll, Token};
use rustls::ClientConfig;
use serde_json::Value;

use super::ServerUrl;
use super::exchange::{END, Exchange};
use super::headers::Headers;
use super::proxy::{Proxy, Step, Tunnel};
use super::stream::{self, Stream};

/// Longest answer that is read.
const LONGEST: usize = 256 * 1024;
/// Longest name of a model that is shown, in bytes.
const LONGEST_NAME: usize = 200;
/// Longest wait for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the server told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// The model that was asked for, where it is listed; else the first. None with a name that is
    /// too long to show: cut, it could show half of a key that was in it.
    pub model: Option<String>,
    /// Its context length in tokens; not of another model than the one that was asked for.
    pub context: Option<u64>,
}

/// A question under way.
pub struct Probe {
    way: Way,
    url: ServerUrl,
    tls: Option<Arc<ClientConfig>>,
    model: String,
    exchange: Exchange,
    until: Instant,
    /// There may be something to do.
    ready: bool,
}

/// To the server.
enum Way {
    Tunnel(Tunnel),
    Open(Box<Stream>),
    Gone,
}

impl Probe {
    /// Never one of the connection's.
    pub const TOKEN: Token = Token(usize::MAX);

    /// To the address that the connection has: the server's, or that of the proxy before it.
    pub fn new(
        poll: &Poll,
        address: SocketAddr,
        proxy: Option<&Proxy>,
        url: &ServerUrl,
        tls: Option<&Arc<ClientConfig>>,
        model: &str,
        headers: &Headers,
    ) -> io::Result<Probe> {
        let stream = stream::connect(poll, address, Self::TOKEN)?;
        let path = url.path.split('?').next().unwrap_or_default();
        let base = path.strip_suffix("/realtime").filter(|b| !b.is_empty()).unwrap_or("/v1");
        // HTTP 1.0: the answer comes in one piece and ends with the connection.
        let head = format!("GET {base}/models HTTP/1.0\r\nHost: {}\r\n", url.host_header());
        let request = [head.as_bytes(), headers.lines(), b"\r\n"].concat();
        Ok(Probe {
            way: Way::Tunnel(Tunnel::new(stream, proxy, url)),
            url: url.clone(),
            tls: tls.cloned(),
            model: model.to_owned(),
            exchange: Exchange::new(request),
            until: Instant::now() + PATIENCE,
            ready: false,
        })
    }

    pub fn until(&self) -> Instant {
        self.until
    }

    /// The poll reports its token.
    pub fn ready(&mut self) {
        self.ready = true;
    }

    /// Goes on if it can; `Some` when it is over.
    pub fn advance(&mut self) -> Option<Served> {
        if Instant::now() >= self.until {
            return Some(Served::default());
        }
        if !std::mem::take(&mut self.ready) {
            return None;
        }
        match self.step() {
            Ok(None) => None,
            // The end of the connection without TLS's goodbye is as good as one with it.
            Ok(Some(())) | Err(_) => {
                Some(served(self.exchange.answer(), &self.model).unwrap_or_default())
            }
        }
    }

    /// `Some`: there is no need of more.
    fn step(&mut self) -> io::Result<Option<()>> {
        let gone = || io::Error::from(io::ErrorKind::ConnectionRefused);
        self.way = match std::mem::replace(&mut self.way, Way::Gone) {
            Way::Tunnel(tunnel) => match tunnel.advance().map_err(|_| gone())? {
                Step::Waiting(tunnel) => {
                    self.way = Way::Tunnel(tunnel);
                    return Ok(None);
                }
                Step::Open(tcp) => {
                    let stream = stream::wrap(tcp, &self.url, self.tls.as_ref());
                    Way::Open(Box::new(stream.map_err(|_| gone())?))
                }
            },
            way => way,
        };
        let Way::Open(stream) = &mut self.way else { return Err(gone()) };
        stream::refill(stream);
        self.exchange.advance(&mut **stream, |a, _| Ok((a.len() >= LONGEST).then_some(())))
    }
}

/// From an HTTP answer with the list of models.
fn served(answer: &[u8], model: &str) -> Option<Served> {
    if !answer.starts_with(b"HTTP/1.") || answer.get(9..12) != Some(b"200") {
        return None;
    }
    let body = answer.windows(END.len()).position(|w| w == END)? + END.len();
    let list: Value = serde_json::from_slice(answer.get(body..)?).ok()?;
    let models = list.get("data")?.as_array()?;
    let id = |m: &Value| m.get("id").and_then(Value::as_str).map(str::to_owned);
    let named = models.iter().find(|m| id(m).as_deref() == Some(model));
    let one = if model.is_empty() { models.first() } else { named };
    let length = one.and_then(|m| m.get("max_model_len")?.as_u64());
    let model = one.or(models.first()).and_then(id).filter(|id| id.len() <= LONGEST_NAME);
    Some(Served { model, context: length.filter(|n| *n > 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";

    #[test]
    fn the_model_asked_for_or_the_first() {
        let a = format!(
            r#"{HEAD}{{"data":[{{"id":"a","max_model_len":1024}},{{"id":"b","max_model_len":64}}]}}"#
        );
        let of = |model| served(a.as_bytes(), model).unwrap();
        let is = |model: &str, context| Served { model: Some(model.into()), context };
        assert_eq!(of(""), is("a", Some(1024)));
        assert_eq!(of("b"), is("b", Some(64)));
        assert_eq!(of("c"), is("a", None));
        let long = format!(r#"{HEAD}{{"data":[{{"id":"{}sekrit"}}]}}"#, "x".repeat(196));
        assert_eq!(served(long.as_bytes(), ""), Some(Served::default()));
    }

    #[test]
    fn anything_else_is_no_answer() {
        for a in ["", "HTTP/1.1 200", "HTTP/1.1 404 Not Found\r\n\r\n{}", "\r\n\r\n{}"] {
            assert_eq!(served(a.as_bytes(), ""), None);
        }
        for body in ["", "{}", "[", r#"{"data":7}"#] {
            assert_eq!(served(format!("{HEAD}{body}").as_bytes(), ""), None, "{body}");
        }
        for body in [r#"{"data":[]}"#, r#"{"data":[{"id":7}]}"#, r#"{"data":[7]}"#] {
            let nothing = Some(Served::default());
            assert_eq!(served(format!("{HEAD}{body}").as_bytes(), ""), nothing, "{body}");
        }
    }
}
