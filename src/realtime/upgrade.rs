// SPDX-License-Identifier: MPL-2.0

//! From HTTP to the WebSocket. Written here because tungstenite's own client logs the whole
//! request, with the key in it, to whatever logger the application has.

use tungstenite::error::ProtocolError;
use tungstenite::handshake::client::{Response, generate_key};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::{HandshakeMachine, RoundResult, StageResult};
use tungstenite::http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use tungstenite::http::{StatusCode, Uri};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error as WsError, WebSocket};

use super::stream::Stream;
use super::{Error, ErrorKind, ServerUrl};

/// Longest message that is taken: the text of an hour fits many times.
const LONGEST_MESSAGE: usize = 1 << 20;
/// What waits to be sent at most. The session is never that far ahead of a server; answers to
/// pings can be, where they are not read.
const LONGEST_QUEUE: usize = 8 << 20;
/// Longest request: what TLS takes before its handshake is over, and more than servers do.
const LONGEST_REQUEST: usize = 32 * 1024;

/// The exchange under way.
pub struct Upgrade {
    machine: HandshakeMachine<Stream>,
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
    pub fn new(
        stream: Stream,
        url: &ServerUrl,
        authorization: Option<&HeaderValue>,
    ) -> Result<Upgrade, Error> {
        let key = generate_key();
        let request = request(url, authorization, &key)?;
        let machine = HandshakeMachine::start_write(stream, request);
        Ok(Upgrade { machine, accept: derive_accept_key(key.as_bytes()) })
    }

    pub fn stream(&mut self) -> &mut Stream {
        self.machine.get_mut()
    }

    /// Goes as far as the network allows.
    pub fn advance(self) -> Result<Step, WsError> {
        let Upgrade { mut machine, accept } = self;
        loop {
            machine = match machine.single_round::<Response>()? {
                RoundResult::WouldBlock(machine) => {
                    return Ok(Step::Waiting(Box::new(Upgrade { machine, accept })));
                }
                RoundResult::Incomplete(machine) => machine,
                RoundResult::StageFinished(StageResult::DoneWriting(stream)) => {
                    HandshakeMachine::start_read(stream)
                }
                RoundResult::StageFinished(StageResult::DoneReading { result, stream, tail }) => {
                    verify(result, &accept)?;
                    let config = WebSocketConfig::default()
                        .max_message_size(Some(LONGEST_MESSAGE))
                        .max_frame_size(Some(LONGEST_MESSAGE))
                        .max_write_buffer_size(LONGEST_QUEUE);
                    let socket =
                        WebSocket::from_partially_read(stream, tail, Role::Client, Some(config));
                    return Ok(Step::Open(Box::new(socket)));
                }
            };
        }
    }
}

fn request(
    url: &ServerUrl,
    authorization: Option<&HeaderValue>,
    key: &str,
) -> Result<Vec<u8>, Error> {
    let bad = |detail: String| Error {
        kind: ErrorKind::Settings,
        message: format!("Property url: {url} cannot be asked for."),
        detail,
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
    if let Some(value) = authorization {
        request.extend_from_slice(b"Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
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
    } else if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        // None was asked for.
        ProtocolError::InvalidHeader(SEC_WEBSOCKET_PROTOCOL.into())
    } else {
        return Ok(());
    };
    Err(WsError::Protocol(wrong))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
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
        let unasked = [&all[..], &[("Sec-WebSocket-Protocol", "realtime")]].concat();
        assert!(answer(&unasked).is_err());
    }

    #[test]
    fn requests_say_no_more_than_they_should() {
        let url = ServerUrl::parse("ws://host/v1/realtime?a=b").unwrap();
        let key = HeaderValue::from_static("Bearer k");
        let text = String::from_utf8(request(&url, Some(&key), "x").unwrap()).unwrap();
        assert!(text.starts_with("GET /v1/realtime?a=b HTTP/1.1\r\nHost: host\r\n"), "{text}");
        assert!(text.ends_with("\r\nAuthorization: Bearer k\r\n\r\n"), "{text}");
        // An address made by hand.
        for path in ["/v1\r\nX-Evil: 1", "/a b"] {
            let url = ServerUrl { path: path.into(), ..ServerUrl::default() };
            assert_eq!(request(&url, None, "x").unwrap_err().kind, ErrorKind::Settings, "{path}");
        }
        let url = ServerUrl { path: "/".repeat(LONGEST_REQUEST), ..ServerUrl::default() };
        assert!(request(&url, None, "x").is_err());
    }
}
