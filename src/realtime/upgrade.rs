// SPDX-License-Identifier: MPL-2.0

//! From HTTP to the WebSocket. Written here because tungstenite's own client logs the whole
//! request, with the key in it, to whatever logger the application has.

use std::io;

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::handshake::client::{Response, generate_key};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::http::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use tungstenite::http::{StatusCode, Uri};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error as WsError, WebSocket};

use super::exchange::{END, Exchange};
use super::headers::Headers;
use super::stream::Stream;
use super::{Error, ServerUrl};

/// Longest message that is taken: the text of an hour fits many times.
const LONGEST_MESSAGE: usize = 1 << 20;
/// What waits to be sent at most. The session is never that far ahead of a server; answers to
/// pings can be, where they are not read.
const LONGEST_QUEUE: usize = 8 << 20;
/// Longest request: what TLS takes before its handshake is over, and more than servers do.
const LONGEST_REQUEST: usize = 32 * 1024;

/// An answer agrees to what nobody has asked for: the error tells what.
pub const UNASKED: io::ErrorKind = io::ErrorKind::Unsupported;

/// Longest answer.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The exchange under way. However small the pieces of the answer are, it is only slow.
pub struct Upgrade {
    stream: Stream,
    exchange: Exchange,
    accept: String,
}

/// How far it is.
pub enum Step {
    /// It waits for the network.
    Waiting(Box<Upgrade>),
    Open(Box<WebSocket<Stream>>),
}

impl Upgrade {
    /// Nothing is sent yet: [`Upgrade::advance`] does.
    pub fn new(stream: Stream, url: &ServerUrl, headers: &Headers) -> Result<Upgrade, Error> {
        let key = generate_key();
        let exchange = Exchange::new(request(url, headers, &key)?);
        Ok(Upgrade { stream, exchange, accept: derive_accept_key(key.as_bytes()) })
    }

    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Goes as far as the network allows.
    pub fn advance(mut self) -> Result<Step, WsError> {
        let agreed = self.exchange.advance(&mut self.stream, |answer, before| {
            agreement(answer, before.saturating_sub(END.len()), &self.accept)
        });
        let Some(opened) = agreed? else { return Ok(Step::Waiting(Box::new(self))) };
        let config = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_MESSAGE))
            .max_frame_size(Some(LONGEST_MESSAGE))
            .max_write_buffer_size(LONGEST_QUEUE);
        let tail = self.exchange.answer().get(opened..).unwrap_or_default().to_vec();
        let (stream, config) = (self.stream, Some(config));
        let socket = WebSocket::from_partially_read(stream, tail, Role::Client, config);
        Ok(Step::Open(Box::new(socket)))
    }
}

/// The length of the answer's head, once it is there and agrees. `seen`: up to there its end was
/// looked for before.
fn agreement(answer: &[u8], seen: usize, accept: &str) -> Result<Option<usize>, WsError> {
    let new = answer.get(seen..).unwrap_or_default();
    // What is no answer at all is found at once.
    let begins = answer.get(..4).is_none_or(|a| a == b"HTTP");
    if begins && answer.len() <= LONGEST_ANSWER && !new.windows(END.len()).any(|w| w == END) {
        return Ok(None);
    }
    if answer.len() > LONGEST_ANSWER {
        return Err(WsError::Capacity(CapacityError::TooManyHeaders));
    }
    let Some((length, response)) = Response::try_parse(answer)? else { return Ok(None) };
    verify(response, accept)?;
    Ok(Some(length))
}

fn request(url: &ServerUrl, headers: &Headers, key: &str) -> Result<Vec<u8>, Error> {
    let bad = |detail: String| {
        Error::settings(format!("Property url: {url} cannot be asked for."), detail)
    };
    let scheme = if url.tls { "wss" } else { "ws" };
    let uri = Uri::builder().scheme(scheme).authority(url.authority());
    let uri = uri.path_and_query(url.path.as_str()).build().map_err(|e| bad(e.to_string()))?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        url.host_header()
    )
    .into_bytes();
    request.extend_from_slice(headers.lines());
    request.extend_from_slice(b"\r\n");
    if request.len() > LONGEST_REQUEST {
        return Err(bad(format!("The request is longer than {LONGEST_REQUEST} bytes.")));
    }
    Ok(request)
}

/// RFC 6455, 4.1: whether the server agrees.
fn verify(response: Response, accept: &str) -> Result<(), WsError> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(WsError::Http(response.into()));
    }
    let headers = response.headers();
    let wrong = if !has_token(headers, &UPGRADE, "websocket") {
        ProtocolError::MissingUpgradeWebSocketHeader
    } else if !has_token(headers, &CONNECTION, "upgrade") {
        ProtocolError::MissingConnectionUpgradeHeader
    } else if headers.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|h| h != accept) {
        ProtocolError::SecWebSocketAcceptKeyMismatch
    } else {
        let named = [
            ("the subprotocol", SEC_WEBSOCKET_PROTOCOL),
            ("the extension", SEC_WEBSOCKET_EXTENSIONS),
        ];
        let unasked = named.iter().find_map(|(what, name)| Some((what, headers.get(name)?)));
        let Some((what, value)) = unasked else { return Ok(()) };
        let value: String = String::from_utf8_lossy(value.as_bytes()).chars().take(100).collect();
        return Err(WsError::Io(io::Error::new(UNASKED, format!("{what} '{value}'"))));
    };
    Err(WsError::Protocol(wrong))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn answer(headers: &[(&str, &str)]) -> Result<(), WsError> {
        let mut response = tungstenite::http::Response::builder().status(101);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        verify(response.body(None).unwrap(), ACCEPT)
    }

    #[test]
    fn only_a_full_agreement_counts() {
        let all = [
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Accept", ACCEPT),
        ];
        assert!(answer(&all).is_ok());
        for left_out in 0..all.len() {
            let mut some = all.to_vec();
            some.remove(left_out);
            assert!(matches!(answer(&some), Err(WsError::Protocol(_))), "{some:?}");
        }
        let wrong = [all[0], all[1], ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp=")];
        assert!(answer(&wrong).is_err());
        for (name, value) in [
            ("Sec-WebSocket-Protocol", "realtime"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ] {
            let unasked = [&all[..], &[(name, value)]].concat();
            let e = answer(&unasked).unwrap_err();
            assert!(e.to_string().contains(value), "{e}");
        }
    }

    #[test]
    fn an_answer_may_come_byte_by_byte() {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        );
        for end in 1..answer.len() {
            let so_far = &answer.as_bytes()[..end];
            let seen = end.saturating_sub(1 + END.len());
            assert!(agreement(so_far, seen, ACCEPT).unwrap().is_none(), "{end}");
        }
        let seen = answer.len() - 1 - END.len();
        let whole = [answer.as_bytes(), b"rest"].concat();
        assert_eq!(agreement(&whole, seen, ACCEPT).unwrap(), Some(answer.len()));
        assert!(agreement(b"SSH-2.0-x", 0, ACCEPT).is_err(), "no answer at all");
        assert!(agreement(&vec![b'H'; LONGEST_ANSWER + 1], 0, ACCEPT).is_err());
    }

    #[test]
    fn requests_say_no_more_than_they_should() {
        let url = ServerUrl::parse("ws://host/v1/realtime?a=b").unwrap();
        let key = super::super::Secret::new("k");
        let headers = Headers::new(Some(&key), &[]).unwrap();
        let text = String::from_utf8(request(&url, &headers, "x").unwrap()).unwrap();
        assert!(text.starts_with("GET /v1/realtime?a=b HTTP/1.1\r\nHost: host\r\n"), "{text}");
        assert!(text.ends_with("\r\nAuthorization: Bearer k\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nUser-Agent: vllmrealtimeasr/"), "{text}");
        // An address made by hand.
        for path in ["/v1\r\nX-Evil: 1", "/a b"] {
            let url = ServerUrl { path: path.into(), ..ServerUrl::default() };
            assert_eq!(
                request(&url, &Headers::default(), "x").unwrap_err().kind,
                ErrorKind::Settings,
                "{path}"
            );
        }
        let url = ServerUrl { path: "/".repeat(LONGEST_REQUEST), ..ServerUrl::default() };
        assert!(request(&url, &Headers::default(), "x").is_err());
    }
}
