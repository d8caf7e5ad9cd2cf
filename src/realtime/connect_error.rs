// SPDX-License-Identifier: MPL-2.0

//! Why a connection was not made or did not last, in words that say what to do.

use std::io;

use tungstenite::Error as WsError;
use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
use tungstenite::http::header::LOCATION;
use tungstenite::http::{Response, StatusCode};

use super::ErrorKind::{NotAuthorized, NotFound, Protocol, Server, Unreachable};
use super::ServerUrl;
use super::proxy::{Failure, Proxy};
use super::session::Lost;
use super::upgrade::UNASKED;
use super::url::redacted;

/// The name of the host is not found.
pub fn name(url: &ServerUrl, e: &io::Error) -> Lost {
    let message = if e.kind() == io::ErrorKind::ResourceBusy {
        format!(
            "The name service of this machine does not answer for the host of {url}: earlier look-ups still hang. Check the machine's name service (/etc/resolv.conf), or set property url to an IP address."
        )
    } else {
        format!(
            "The host of {url} is not found. Check property url and the name service of this machine."
        )
    };
    Lost::new(Unreachable, false, message, e.to_string())
}

/// TCP does not come about.
pub fn connect(url: &ServerUrl, e: &io::Error) -> Lost {
    let message = format!(
        "No server answers at {url}. Start one (vllm serve MODEL) or set property url to where it runs."
    );
    Lost::new(Unreachable, false, message, e.to_string())
}

/// What to do about a proxy that does not do.
const PROXY_HINT: &str =
    "Set property proxy to http://HOST:PORT of an HTTP proxy, or to an empty string for none.";

/// The proxy is not found, or does not answer.
pub fn proxy_absent(proxy: &Proxy, e: &io::Error) -> Lost {
    let message = format!("No proxy answers at {proxy}. {PROXY_HINT}");
    Lost::new(Unreachable, false, message, e.to_string())
}

/// The proxy does not open a way to the server.
pub fn tunnel(proxy: &Proxy, url: &ServerUrl, failure: Failure, worked: bool) -> Lost {
    let (kind, permanent, what, detail) = match failure {
        Failure::Io(e) => {
            (Unreachable, false, format!("gave up the connection to {url}."), e.to_string())
        }
        Failure::NoProxy => {
            let message = format!("What runs at {proxy} is no HTTP proxy. {PROXY_HINT}");
            return Lost::new(Protocol, !worked, message, "");
        }
        Failure::Refused { status: 407, line } => {
            let what = "wants a user and a password. Set property proxy to http://USER:PASSWORD@HOST:PORT.";
            (NotAuthorized, true, what.to_owned(), line)
        }
        Failure::Refused { status: 500..=599, line } => {
            let hint = "Check that the server runs, and property url.";
            (Unreachable, false, format!("does not reach {url}. {hint}"), line)
        }
        Failure::Refused { line, .. } => {
            let hint = "Let it allow CONNECT to that host and port, or set property proxy to an empty string for none.";
            (NotAuthorized, !worked, format!("lets nobody through to {url}. {hint}"), line)
        }
    };
    // The session does not know of the environment's proxies.
    let detail = proxy.without_secret(detail);
    Lost::new(kind, permanent, format!("The proxy at {proxy} {what}"), detail)
}

/// The usual cause of a WebSocket that does not come about behind a proxy.
const UPGRADE_HINT: &str = "A proxy in between may not pass the headers Upgrade and Connection on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\").";

/// What else 400 may mean with TLS.
const CERTIFICATE_HINT: &str =
    " Or it asks for a certificate: set properties client-certificate and client-key.";

/// TLS or the WebSocket's handshake fails. `worked`: it has worked before with this server.
pub fn handshake(url: &ServerUrl, e: &WsError, worked: bool) -> Lost {
    match e {
        WsError::Http(response) => http(url, response, worked),
        WsError::Io(e) => {
            let cause = e.get_ref();
            if let Some(tls) = cause.and_then(|e| e.downcast_ref::<rustls::Error>()) {
                tls_error(url, tls, worked)
            } else if e.kind() == UNASKED {
                let message = format!(
                    "The server at {url} answers with {e}, which was not asked for (RFC 6455, 4.1). Check the server, or the proxy before it."
                );
                Lost::new(Protocol, true, message, "")
            } else {
                during_handshake(url, &e.to_string())
            }
        }
        WsError::ConnectionClosed | WsError::AlreadyClosed => during_handshake(url, &e.to_string()),
        e => {
            let tls = if url.tls { "" } else { ", and use wss:// if it expects TLS" };
            let message = format!(
                "What runs at {url} is no WebSocket server. Set property url to the /v1/realtime of a vLLM server{tls}."
            );
            Lost::new(Protocol, !worked, message, e.to_string())
        }
    }
}

fn during_handshake(url: &ServerUrl, detail: &str) -> Lost {
    let tls = if url.tls {
        " and expects TLS, or use ws:// if it does not"
    } else {
        ", and use wss:// if it expects TLS"
    };
    let message = format!(
        "The connection to {url} was lost before it was open. Check that a vLLM server runs there{tls}."
    );
    Lost::new(Unreachable, false, message, detail)
}

fn tls_error(url: &ServerUrl, e: &rustls::Error, worked: bool) -> Lost {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext,
    };
    use rustls::{AlertDescription as Alert, Error::AlertReceived, Error::InvalidCertificate};
    let check_none = "insecure-tls=true to check none, on a network that you trust)";
    let bad = |what: &str| format!("The certificate of {url} is {what} {check_none}.");
    let message = match e {
        InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            bad("for another host. Set property url to the name that the certificate is for (or")
        }
        InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        ) => bad(
            "not valid at this time. Check this machine's clock, and renew the certificate (or set",
        ),
        InvalidCertificate(_) => bad(
            "not trusted. Set property ca-certificate to the PEM file of the authority that issued it, or of the certificate itself (or",
        ),
        AlertReceived(Alert::CertificateRequired | Alert::BadCertificate | Alert::UnknownCA) => {
            format!(
                "The server at {url} asks for a certificate that it trusts. Set properties client-certificate and client-key."
            )
        }
        _ => format!("TLS with {url} fails. Use ws:// in property url if the server has no TLS."),
    };
    Lost::new(Protocol, !worked, message, e.to_string())
}

/// The status of a server that answers, but has nothing under the path.
pub fn no_route(e: &WsError) -> Option<StatusCode> {
    let WsError::Http(response) = e else { return None };
    Some(response.status()).filter(|s| matches!(s.as_u16(), 403 | 404 | 405 | 410))
}

/// The server has no realtime route, and has told that it serves this model.
pub fn no_realtime(url: &ServerUrl, lost: &mut Lost, status: StatusCode, model: &str) {
    let path = url.path.split('?').next().unwrap_or_default();
    let message = if path.ends_with("/v1/realtime") {
        format!(
            "The server at {url} serves {model}, and has no realtime route (HTTP {status}). Either that is not a realtime model (Voxtral Realtime and Qwen3-ASR are), or vLLM was started with its Rust front end, which has no realtime route, or a proxy in between does not pass the headers Upgrade and Connection on."
        )
    } else {
        format!(
            "The server at {url} serves {model}, but not under this path (HTTP {status}). Set property url to ws://HOST:PORT/v1/realtime."
        )
    };
    lost.error.detail = std::mem::replace(&mut lost.error.message, message);
}

const KEY_HINT: &str = ". Set property api-key, or the environment variable VLLM_API_KEY, to the key that the server was started with.";
const ROUTE_HINT: &str = ". Check the path in property url, that the model it serves is a realtime one, and the key if a gateway asks for one.";
const PATH_HINT: &str = ". Set property url to ws://HOST:PORT/v1/realtime of vLLM 0.16 or later with a realtime model, started without a Rust front end.";
const REDIRECT_HINT: &str = ", which is not followed, so that the key goes nowhere else. Set property url to the final address.";
const SERVER_HINT: &str = ". Set property url to the /v1/realtime of a vLLM server.";

/// The server answers the handshake with an HTTP status. Where it has worked before, something
/// stands in for it while it is away: only a refusal of the key or the model is final then.
fn http(url: &ServerUrl, response: &Response<Option<Vec<u8>>>, worked: bool) -> Lost {
    let status = response.status();
    let says = |what: &str, hint: &str| format!("The server at {url} {what} (HTTP {status}){hint}");
    let (kind, permanent, message) = match status.as_u16() {
        401 | 407 => (NotAuthorized, true, says("wants another key", KEY_HINT)),
        // What `no_route` knows.
        403 => (NotFound, true, says("has no realtime route there", ROUTE_HINT)),
        404 | 405 | 410 => {
            let nothing = format!("The server has nothing at {url} (HTTP {status})");
            (NotFound, !worked, format!("{nothing}{PATH_HINT} {UPGRADE_HINT}"))
        }
        300..=399 => (NotFound, !worked, says("sends on to another address", REDIRECT_HINT)),
        400 | 426 => {
            let certificate = if url.tls { CERTIFICATE_HINT } else { "" };
            let hint = format!(". {UPGRADE_HINT}{certificate}");
            (Protocol, !worked, says("does not take the WebSocket", &hint))
        }
        408 | 425 | 429 | 500..=599 => {
            (Server, false, says("is not ready", ". Its own log tells more."))
        }
        200..=299 => {
            let stranger = format!("What runs at {url} is a web server without WebSockets there");
            (Protocol, !worked, format!("{stranger} (HTTP {status}){SERVER_HINT}"))
        }
        _ => (Protocol, !worked, says("refuses", ". Its own log tells why.")),
    };
    let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
    let location = location.map(redacted);
    Lost::new(kind, permanent, message, location.unwrap_or_default())
}

/// An open connection ends. `closing`: what the server's close frame says.
pub fn open(url: &ServerUrl, e: &WsError, closing: Option<&str>) -> Lost {
    let (kind, what) = match (e, closing) {
        (WsError::Capacity(_), _) => (Protocol, "sent a message that is too long"),
        (WsError::Protocol(p), None) if !matches!(p, ResetWithoutClosingHandshake) => {
            (Protocol, "broke the WebSocket protocol")
        }
        (WsError::Utf8(_), _) => (Protocol, "sent text that is not UTF-8"),
        (_, Some(c)) if c.starts_with("1012") => (Server, "restarts"),
        // Policy: so gateways refuse a key once the WebSocket is open.
        (_, Some(c)) if c.starts_with("1008") => return not_authorized(&url.to_string(), c),
        (_, Some(_)) => (Server, "closed the connection"),
        _ => {
            let message = format!("The connection to {url} was lost.");
            return Lost::new(Unreachable, false, message, e.to_string());
        }
    };
    let detail = closing.map_or_else(|| e.to_string(), |c| format!("{c}; {e}"));
    Lost::new(kind, false, format!("The server at {url} {what}."), detail)
}

/// The key is wrong, in the words of the server or a gateway.
pub fn not_authorized(server: &str, said: &str) -> Lost {
    let message = format!(
        "The server at {server} refuses the key: {said}. Set property api-key, or the environment variable VLLM_API_KEY, to the key that the server or the gateway before it expects."
    );
    Lost::new(NotAuthorized, true, message, said)
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    #[test]
    fn statuses_say_what_to_do() {
        let url = ServerUrl::default();
        for (status, kind, permanent, hint) in [
            (401, ErrorKind::NotAuthorized, true, "api-key"),
            (403, ErrorKind::NotFound, true, "realtime"),
            (404, ErrorKind::NotFound, true, "/v1/realtime"),
            (404, ErrorKind::NotFound, true, "Upgrade"),
            (400, ErrorKind::Protocol, true, "Upgrade"),
            (426, ErrorKind::Protocol, true, "Upgrade"),
            (302, ErrorKind::NotFound, true, "final address"),
            (200, ErrorKind::Protocol, true, "property url"),
            (503, ErrorKind::Server, false, "not ready"),
        ] {
            let response =
                || WsError::Http(Response::builder().status(status).body(None).unwrap().into());
            let l = handshake(&url, &response(), false);
            assert_eq!((l.error.kind, l.permanent), (kind, permanent), "{status}");
            assert!(l.error.message.contains(hint), "{}", l.error.message);
            // An ingress that answers for a server that is away says nothing final.
            let l = handshake(&url, &response(), true);
            assert_eq!(l.permanent, matches!(status, 401 | 403), "{status}");
        }
    }

    #[test]
    fn the_other_scheme_is_named() {
        let of = |url| ServerUrl::parse_list(url).unwrap().remove(0);
        let message = |url| during_handshake(&of(url), "EOF").error.message;
        assert!(message("ws://a/").contains("use wss://"));
        assert!(message("wss://a/").contains("use ws://"));
        // A TLS server that answers plain HTTP with an alert.
        let alert = WsError::Protocol(tungstenite::error::ProtocolError::WrongHttpVersion);
        let l = handshake(&of("ws://a/"), &alert, false);
        assert!(l.error.message.contains("use wss://"), "{}", l.error.message);
    }

    #[test]
    fn a_redirect_does_not_show_a_query() {
        let response = Response::builder().status(302).header(LOCATION, "http://x/?key=sekrit");
        let response = response.body(None).unwrap();
        let l = handshake(&ServerUrl::default(), &WsError::Http(response.into()), false);
        assert!(!format!("{l:?}").contains("sekrit"));
        let response = Response::builder().status(302).header(LOCATION, "http://u:sekrit@x/");
        let response = response.body(None).unwrap();
        let l = handshake(&ServerUrl::default(), &WsError::Http(response.into()), false);
        assert!(!format!("{l:?}").contains("sekrit"));
    }

    /// A WebSocket server it is, but none that keeps to what was agreed.
    #[test]
    fn what_was_not_asked_for_is_named() {
        for (what, worked) in
            [("the extension 'permessage-deflate'", false), ("the subprotocol", true)]
        {
            let e = WsError::Io(io::Error::new(UNASKED, what));
            let l = handshake(&ServerUrl::default(), &e, worked);
            assert_eq!((l.error.kind, l.permanent), (ErrorKind::Protocol, true));
            assert!(l.error.message.contains(what), "{}", l.error.message);
            assert!(!l.error.message.contains("no WebSocket server"), "{}", l.error.message);
        }
    }

    #[test]
    fn a_key_that_is_refused_once_the_connection_is_open() {
        let url = ServerUrl::default();
        let l = open(&url, &WsError::ConnectionClosed, Some("1008 token expired"));
        assert_eq!((l.error.kind, l.permanent), (ErrorKind::NotAuthorized, true));
        assert!(l.error.message.contains("token expired"), "{}", l.error.message);
    }
}
