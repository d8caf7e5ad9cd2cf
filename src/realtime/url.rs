// SPDX-License-Identifier: MPL-2.0

//! Addresses of servers: property `url`.

use std::fmt;

use tungstenite::http::Uri;

use super::{Error, ErrorKind};

/// What a user gets who sets nothing.
pub const DEFAULT_URL: &str = "ws://localhost:8000/v1/realtime";
const DEFAULT_PATH: &str = "/v1/realtime";

/// `ws://HOST[:PORT][/PATH]` or `wss://…`. User names in the address are refused: they would be
/// shown wherever the address is.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    pub tls: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// With the query, if any.
    pub path: String,
}

impl Default for ServerUrl {
    fn default() -> Self {
        ServerUrl { tls: false, host: "localhost".into(), port: 8000, path: DEFAULT_PATH.into() }
    }
}

impl ServerUrl {
    /// One address. A missing path is the default one.
    pub fn parse(url: &str) -> Result<ServerUrl, Error> {
        let bad = |why: &str| Error {
            kind: ErrorKind::Settings,
            message: format!(
                "Property url: '{}' is not the address of a server ({why}). Set it to ws://HOST:PORT/v1/realtime, or wss:// for TLS.",
                redacted(url)
            ),
            detail: String::new(),
        };
        let url = url.trim();
        let uri: Uri = url.parse().map_err(|_| bad("it cannot be read"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some("http" | "https") => return Err(bad("the scheme must be ws or wss")),
            Some(_) => return Err(bad("the scheme is not ws or wss")),
            None => return Err(bad("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it must hold no user name or password: use property api-key"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => Some(if tls { 443 } else { 80 }),
            port => port.and_then(|p| p.strip_prefix(':')).and_then(|p| p.parse().ok()),
        };
        let port = port.filter(|p| *p > 0).ok_or_else(|| bad("the port must be 1 to 65535"))?;
        let path = match uri.path_and_query().map(|p| p.as_str()) {
            None | Some("" | "/") => DEFAULT_PATH.to_owned(),
            Some(p) => p.to_owned(),
        };
        Ok(ServerUrl { tls, host, port, path })
    }

    /// Several, separated by commas.
    pub fn parse_list(urls: &str) -> Result<Vec<ServerUrl>, Error> {
        urls.split(',').map(Self::parse).collect()
    }

    /// The host as it stands in a `Host` header: without the port where that is the scheme's own,
    /// as some proxies choose by the whole of it.
    pub fn host_header(&self) -> String {
        let authority = self.authority();
        let own = if self.tls { ":443" } else { ":80" };
        authority.strip_suffix(own).map(str::to_owned).unwrap_or(authority)
    }

    /// The host as it stands in an address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ServerUrl {
    /// Without the query: keys are put there by some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", if self.tls { "wss" } else { "ws" }, self.authority())
    }
}

impl fmt::Debug for ServerUrl {
    /// As it is displayed: what is in the query is for nobody's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address as it may be shown: without user name, password and query.
fn redacted(url: &str) -> String {
    let shown = url.split(['?', '#']).next().unwrap_or_default();
    match (shown.find("://"), shown.rfind('@')) {
        (Some(s), Some(a)) if a > s => format!("{}://***{}", &shown[..s], &shown[a..]),
        (None, Some(a)) => format!("***{}", &shown[a..]),
        _ => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_it_says() {
        assert_eq!(ServerUrl::parse(DEFAULT_URL).unwrap(), ServerUrl::default());
        assert_eq!(ServerUrl::default().to_string(), DEFAULT_URL);
    }

    #[test]
    fn parts_and_defaults() {
        let u = ServerUrl::parse("wss://[::1]:9/x?model=a").unwrap();
        assert_eq!(
            (u.tls, u.host.as_str(), u.port, u.path.as_str()),
            (true, "::1", 9, "/x?model=a")
        );
        assert_eq!(u.to_string(), "wss://[::1]:9/x");
        let u = ServerUrl::parse("ws://example.com").unwrap();
        assert_eq!((u.port, u.path.as_str()), (80, "/v1/realtime"));
        assert_eq!(ServerUrl::parse("wss://example.com").unwrap().port, 443);
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_its_name_and_value() {
        for bad in [
            "",
            "localhost:8000",
            "http://h/",
            "ws://",
            "ws://h:0/",
            "ws://h:99999/",
            "ws://:1/",
            "ftp://h",
            "ws://h:/",
        ] {
            let e = ServerUrl::parse(bad).expect_err(bad);
            assert_eq!(e.kind, ErrorKind::Settings);
            assert!(e.message.starts_with(&format!("Property url: '{bad}'")), "{}", e.message);
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for bad in
            ["ws://me:sekrit@h/v1", "http://me:sekrit@h", "me:sekrit@h", "ws://h:x/?key=sekrit"]
        {
            let e = ServerUrl::parse(bad).expect_err(bad);
            assert!(!e.message.contains("sekrit"), "{}", e.message);
        }
    }

    #[test]
    fn the_host_header_leaves_out_the_ports_of_the_schemes() {
        for (url, header) in [
            ("ws://a", "a"),
            ("ws://a:80/x", "a"),
            ("ws://a:443", "a:443"),
            ("wss://a:443", "a"),
            ("wss://a:8443", "a:8443"),
            ("wss://[::443]", "[::443]"),
            ("ws://[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(ServerUrl::parse(url).unwrap().host_header(), header, "{url}");
        }
    }

    #[test]
    fn lists() {
        let l = ServerUrl::parse_list("ws://a:1/x, ws://b:2").unwrap();
        assert_eq!(l.iter().map(|u| u.port).collect::<Vec<_>>(), [1, 2]);
        assert!(ServerUrl::parse_list("ws://a:1,").is_err());
    }
}
