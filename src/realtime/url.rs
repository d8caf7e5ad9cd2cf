// SPDX-License-Identifier: MPL-2.0

//! Addresses of servers: property `url`.

use std::fmt;

use tungstenite::http::Uri;

use super::Error;

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
        let bad = |why: &str| {
            let shown = redacted(url);
            let what = format!(
                "Property url: '{shown}' is not the address of a server ({why}). Set it to ws://HOST:PORT/v1/realtime, or wss:// for TLS."
            );
            Error::settings(what, "")
        };
        let url = to_ascii(url.trim());
        let uri: Uri = url.parse().map_err(|_| bad("it cannot be read"))?;
        let tls = match uri.scheme_str() {
            Some(s) if s.eq_ignore_ascii_case("ws") => false,
            Some(s) if s.eq_ignore_ascii_case("wss") => true,
            Some("http" | "https") => return Err(bad("the scheme must be ws or wss")),
            Some(_) => return Err(bad("the scheme is not ws or wss")),
            None => return Err(bad("it has no scheme")),
        };
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(bad("it must hold no user name or password: use property api-key"));
        }
        let (host, port) = host_and_port(&uri, if tls { 443 } else { 80 }).map_err(bad)?;
        if host.contains(',') {
            return Err(bad("its host holds a comma; each further address begins with its scheme"));
        }
        let path = match uri.path_and_query().map(|p| p.as_str()) {
            None => DEFAULT_PATH.to_owned(),
            Some(p) => match p.strip_prefix('/').unwrap_or(p) {
                "" => DEFAULT_PATH.to_owned(),
                query if query.starts_with('?') => format!("{DEFAULT_PATH}{query}"),
                _ => p.to_owned(),
            },
        };
        Ok(ServerUrl { tls, host, port, path })
    }

    /// Several, separated by commas. A comma that no scheme follows belongs to the address.
    pub fn parse_list(urls: &str) -> Result<Vec<ServerUrl>, Error> {
        let (mut list, mut from) = (Vec::new(), 0);
        for (comma, _) in urls.match_indices(',').filter(|(i, _)| has_scheme(&urls[i + 1..])) {
            list.push(Self::parse(&urls[from..comma])?);
            from = comma + 1;
        }
        list.push(Self::parse(&urls[from..])?);
        Ok(list)
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
        authority(&self.host, self.port)
    }
}

/// A host and its port as they stand in an address.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The host of an address, an IPv6 address without its brackets, and the port, or else this one.
pub(super) fn host_and_port(uri: &Uri, default: u16) -> Result<(String, u16), &'static str> {
    let authority = uri.authority().ok_or("it has no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("it has no host");
    }
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Some(default),
        port => port.and_then(|p| p.strip_prefix(':')).and_then(|p| p.parse().ok()),
    };
    let port = port.filter(|p| *p > 0).ok_or("the port must be 1 to 65535")?;
    Ok((host.to_owned(), port))
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

/// Whether an address begins here.
fn has_scheme(url: &str) -> bool {
    url.trim_start().split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// The host in the letters of DNS (`bücher.example` is `xn--bcher-kva.example`).
fn to_ascii(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://").filter(|_| !url.is_ascii()) else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.rfind(':') {
        Some(i) => authority.split_at(i),
        None => (authority, ""),
    };
    match idna::domain_to_ascii(host) {
        Ok(host) => format!("{scheme}://{host}{port}{path}"),
        Err(_) => url.to_owned(),
    }
}

/// An address as it may be shown: nothing between the scheme and the last `@`, and no query.
/// Where there is no scheme nobody knows what it is: nothing.
pub(super) fn redacted(url: &str) -> String {
    if url.trim().is_empty() {
        return String::new();
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|_| has_scheme(url)) else {
        return "(not shown: no scheme)".to_owned();
    };
    let (hidden, rest) = match rest.rfind('@') {
        Some(a) => ("***", &rest[a..]),
        None => ("", rest),
    };
    let shown = rest.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{hidden}{shown}")
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
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
            let shown = redacted(bad);
            assert!(e.message.starts_with(&format!("Property url: '{shown}'")), "{}", e.message);
            assert!(shown == bad || !bad.contains("://"), "{shown}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for bad in [
            "ws://me:sekrit@h/v1",
            "http://me:sekrit@h",
            "me:sekrit@h",
            "ws://h:x/?key=sekrit",
            "ws://user:S3C#sekrit@host/",
            "ws://user:sekrit?x@host/",
            "ws://user:sek@sekrit@host/",
            "sekrit",
            "http://h/?a=b,key=sekrit",
        ] {
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
        let l = ServerUrl::parse_list("ws://a:1/x?tags=a,b&key=c,WSS://b?q=d,e").unwrap();
        assert_eq!(l[0].path, "/x?tags=a,b&key=c");
        assert_eq!((l[1].tls, l[1].port, l[1].path.as_str()), (true, 443, "/v1/realtime?q=d,e"));
        let e = ServerUrl::parse_list("http://a?tags=a,b&key=sekrit,c").unwrap_err();
        assert!(!e.message.contains("sekrit"), "{}", e.message);
    }

    #[test]
    fn an_empty_path_is_the_default_one_with_a_query_too() {
        for url in ["ws://host:8000?token=abc", "ws://host:8000/?token=abc"] {
            assert_eq!(ServerUrl::parse(url).unwrap().path, "/v1/realtime?token=abc");
        }
    }

    #[test]
    fn names_beyond_ascii() {
        let u = ServerUrl::parse("ws://bücher.example:9/x").unwrap();
        assert_eq!((u.host.as_str(), u.port), ("xn--bcher-kva.example", 9));
        assert!(ServerUrl::parse("ws://b\u{fffd}cher:9/x").is_err());
    }
}
