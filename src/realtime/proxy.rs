// SPDX-License-Identifier: MPL-2.0

//! A proxy between the client and its servers: HTTP CONNECT (RFC 9110, 9.3.6).

use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mio::net::TcpStream;

use super::exchange::{END, Exchange};
use super::url::{authority, host_and_port, redacted};
use super::{Error, Secret, ServerUrl, USER_AGENT};

/// Longest answer to CONNECT.
const LONGEST: usize = 16 * 1024;

/// Which proxy to take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// What `https_proxy`, `http_proxy` and `no_proxy` in the environment say.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    Proxy(Proxy),
}

/// `http://[USER[:PASSWORD]@]HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    pub host: String,
    pub port: u16,
    /// User and password as the header has them.
    credentials: Option<Secret>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", authority(&self.host, self.port))
    }
}

impl Proxy {
    /// `source`: the property or variable that says so.
    pub fn parse(text: &str, source: &str) -> Result<Proxy, Error> {
        let bad = |why: &str| {
            let shown = redacted(text);
            let what = format!(
                "{source}: '{shown}' is not the address of an HTTP proxy ({why}). Set it to http://HOST:PORT, or property proxy to an empty string for no proxy."
            );
            Error::settings(what, "")
        };
        let text = text.trim();
        let bare = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(bad("the scheme is not http")),
            None => text,
        };
        let bare = bare.split('/').next().unwrap_or_default();
        let (user, host) = match bare.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, bare),
        };
        let uri = format!("http://{host}").parse().map_err(|_| bad("it cannot be read"))?;
        let (host, port) = host_and_port(&uri, 80).map_err(bad)?;
        let credentials = match user.map(decoded) {
            Some(user) if user.iter().any(|b| b.is_ascii_control()) => {
                return Err(bad("the user or the password holds a control character"));
            }
            Some(user) if !user.contains(&b':') => Some([&user[..], b":"].concat()),
            user => user,
        };
        let credentials = credentials.map(|c| Secret::new(STANDARD.encode(c)));
        Ok(Proxy { host, port, credentials })
    }

    /// What the environment says of this server, as most programs read it: `https_proxy` for
    /// `wss`, `http_proxy` (small letters only: it can be set from outside otherwise) for `ws`, but
    /// for what `no_proxy` lists and for this machine itself.
    pub fn from_environment(
        server: &ServerUrl,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Proxy>, Error> {
        let set = |name: &'static str| variable(name).filter(|v| !v.is_empty()).map(|v| (name, v));
        let proxy = if server.tls {
            set("https_proxy").or_else(|| set("HTTPS_PROXY"))
        } else {
            set("http_proxy")
        };
        let Some((name, proxy)) = proxy else { return Ok(None) };
        let exempt = set("no_proxy").or_else(|| set("NO_PROXY"));
        if is_this_machine(&server.host) || exempt.is_some_and(|(_, list)| is_listed(server, &list))
        {
            return Ok(None);
        }
        Proxy::parse(&proxy, &format!("Environment variable {name}")).map(Some)
    }

    /// What the proxy says, without what it was told.
    pub fn without_secret(&self, text: String) -> String {
        match &self.credentials {
            Some(secret) => text.replace(secret.expose(), "***"),
            None => text,
        }
    }

    /// What is never shown.
    pub fn secret(&self) -> Option<&Secret> {
        self.credentials.as_ref()
    }
}

impl Choice {
    /// The proxy for this server, if there is one.
    pub fn of(&self, server: &ServerUrl) -> Result<Option<Proxy>, Error> {
        match self {
            Choice::Environment => Proxy::from_environment(server, |name| std::env::var(name).ok()),
            Choice::Direct => Ok(None),
            Choice::Proxy(proxy) => Ok(Some(proxy.clone())),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether `no_proxy` lists the server: names of hosts and domains, with a port or without, or `*`.
fn is_listed(server: &ServerUrl, list: &str) -> bool {
    let host = server.host.to_ascii_lowercase();
    list.split([',', ' ']).filter(|e| !e.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name, port.parse::<u16>().ok()),
            _ => (entry.as_str(), None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        let within =
            host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        entry == "*" || !name.is_empty() && within && port.is_none_or(|p| p == server.port)
    })
}

/// `%40` to `@`.
fn decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::new();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let value = hex.and_then(|h| std::str::from_utf8(h).ok());
        (rest, _) = match value.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(value) => (tail.get(2..).unwrap_or_default(), out.push(value)),
            None => (tail, out.push(*first)),
        };
    }
    out
}

/// Why there is no tunnel.
#[derive(Debug)]
pub enum Failure {
    Io(io::Error),
    /// It answers with this status line.
    Refused {
        status: u16,
        line: String,
    },
    /// What answers is no HTTP proxy.
    NoProxy,
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Io(e)
    }
}

/// The way to a server, under way: through a proxy, or straight. Never blocks.
pub struct Tunnel {
    stream: TcpStream,
    exchange: Option<Exchange>,
}

pub enum Step {
    Waiting(Tunnel),
    Open(TcpStream),
}

impl Tunnel {
    pub fn new(stream: TcpStream, proxy: Option<&Proxy>, server: &ServerUrl) -> Tunnel {
        let request = |proxy: &Proxy| {
            let to = server.authority();
            let credentials = proxy.credentials.as_ref().map_or(String::new(), |secret| {
                format!("Proxy-Authorization: Basic {}\r\n", secret.expose())
            });
            format!(
                "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: {USER_AGENT}\r\n{credentials}\r\n"
            )
        };
        let exchange = proxy.map(|proxy| Exchange::new(request(proxy).into_bytes()));
        Tunnel { stream, exchange }
    }

    pub fn advance(mut self) -> Result<Step, Failure> {
        if let Some(exchange) = &mut self.exchange
            && exchange.advance(&mut self.stream, |answer, _| opened(answer))?.is_none()
        {
            return Ok(Step::Waiting(self));
        }
        Ok(Step::Open(self.stream))
    }
}

/// Whether the answer opens the tunnel; `None`: it is not all there.
fn opened(answer: &[u8]) -> Result<Option<()>, Failure> {
    let is_http = answer.get(..7).is_none_or(|a| a == b"HTTP/1.");
    if !is_http || answer.len() > LONGEST {
        return Err(Failure::NoProxy);
    }
    let Some(end) = answer.windows(END.len()).position(|w| w == END) else { return Ok(None) };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
    let line = head.lines().next().unwrap_or_default();
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(Failure::NoProxy)?;
    match status {
        // Behind it nobody speaks before we do.
        200..=299 if answer.len() == end + END.len() => Ok(Some(())),
        200..=299 => Err(Failure::NoProxy),
        status => Err(Failure::Refused { status, line: line.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    fn parse(text: &str) -> Result<Proxy, Error> {
        Proxy::parse(text, "Property proxy")
    }

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("HTTP://proxy/", "http://proxy:80"),
            ("proxy:8080", "http://proxy:8080"),
            ("http://[::1]:3128", "http://[::1]:3128"),
            ("http://u:p@proxy:1", "http://proxy:1"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
        let secret = |text: &str| {
            let proxy = parse(text).unwrap();
            let secret = proxy.secret().map(|s| STANDARD.decode(s.expose()).unwrap());
            (String::from_utf8(secret.unwrap()).unwrap(), format!("{proxy:?}"))
        };
        assert_eq!(secret("http://u:p%40ss@h").0, "u:p@ss");
        assert_eq!(secret("http://u:p@ss@h").0, "u:p@ss");
        assert_eq!(secret("u@h").0, "u:");
        assert!(!secret("http://user:s3cret@h").1.contains("s3cret"));
        for bad in
            ["", "http://", "https://proxy:1", "socks5://proxy:1", "http://h:0", "http://h:x"]
        {
            assert_eq!(parse(bad).unwrap_err().kind, ErrorKind::Settings, "{bad}");
        }
        let e = parse("socks5://user:s3cret@proxy:1").unwrap_err();
        assert!(e.message.contains("Property proxy") && !e.message.contains("s3cret"), "{e}");
        assert!(parse("http://u:a%0d%0ab@h").is_err(), "a line break");
    }

    #[test]
    fn the_environment() {
        let of = |url: &str, variables: &[(&str, &str)]| {
            let server = ServerUrl::parse(url).unwrap();
            let variable =
                |name: &str| variables.iter().find(|v| v.0 == name).map(|v| v.1.to_owned());
            Proxy::from_environment(&server, variable).map(|p| p.map(|p| p.port))
        };
        let both = [("http_proxy", "http://p:1"), ("https_proxy", "http://p:2")];
        assert_eq!(of("ws://a.example/", &both), Ok(Some(1)));
        assert_eq!(of("wss://a.example/", &both), Ok(Some(2)));
        assert_eq!(of("wss://a.example/", &[("HTTPS_PROXY", "p:3")]), Ok(Some(3)));
        assert_eq!(of("ws://a.example/", &[("HTTP_PROXY", "p:3")]), Ok(None));
        for here in ["ws://localhost:8000", "ws://127.0.0.1:8000", "ws://[::1]:8000"] {
            assert_eq!(of(here, &both), Ok(None), "{here}");
        }
        for (list, direct) in [
            ("*", true),
            ("example", true),
            (".example", true),
            ("*.example", true),
            ("b.example, A.Example", true),
            ("a.example:8000", true),
            ("a.example:8001", false),
            ("xa.example", false),
            ("ple", false),
            (",", false),
        ] {
            let set = [both[0], ("no_proxy", list)];
            assert_eq!(of("ws://a.example:8000/", &set).unwrap().is_none(), direct, "{list}");
        }
        let e = of("ws://a.example/", &[("http_proxy", "socks5://u:s3cret@p")]).unwrap_err();
        assert!(e.message.contains("http_proxy") && !e.message.contains("s3cret"), "{e}");
    }

    #[test]
    fn answers() {
        assert_eq!(opened(b"").unwrap(), None);
        assert_eq!(opened(b"HTTP/1.1 200 Connection established\r\n").unwrap(), None);
        assert_eq!(opened(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n").unwrap(), Some(()));
        let refused = opened(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n<html>");
        assert!(matches!(refused, Err(Failure::Refused { status: 407, .. })), "{refused:?}");
        for no_proxy in [&b"SSH-2.0-x"[..], b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"]
        {
            assert!(matches!(opened(no_proxy), Err(Failure::NoProxy)));
        }
        assert!(matches!(
            opened(&[b"HTTP/1.1 200", &[b'x'; LONGEST][..]].concat()),
            Err(Failure::NoProxy)
        ));
    }
}
