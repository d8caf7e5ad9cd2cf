// SPDX-License-Identifier: MPL-2.0

//! Why a connection was not made or did not last, in words that say what to do.

use std::io;

use tungstenite::Error as WsError;
use tungstenite::http::header::LOCATION;
use tungstenite::http::{Response, StatusCode};

use super::proxy::{Failure, Proxy};
use super::session::Lost;
use super::upgrade::Unasked;
use super::url::redacted;
use super::{Error, ErrorKind, ServerUrl};

fn lost(kind: ErrorKind, permanent: bool, message: String, detail: String) -> Lost {
    Lost { error: Error { kind, message, detail }, permanent }
}

/// The name of the host is not found.
pub fn name(url: &ServerUrl, e: &io::Error) -> Lost {
    if e.kind() == io::ErrorKind::ResourceBusy {
        let message = format!(
            "The name service of this machine does not answer for the host of {url}: earlier look-ups still hang. Check the machine's name service (/etc/resolv.conf), or set property url to an IP address."
        );
        return lost(ErrorKind::Unreachable, false, message, e.to_string());
    }
    let message = format!(
        "The host of {url} is not found. Check property url and the name service of this machine."
    );
    lost(ErrorKind::Unreachable, false, message, e.to_string())
}

/// TCP does not come about.
pub fn connect(url: &ServerUrl, e: &io::Error) -> Lost {
    let message = format!(
        "No server answers at {url}. Start one (vllm serve MODEL) or set property url to where it runs."
    );
    lost(ErrorKind::Unreachable, false, message, e.to_string())
}

/// What to do about a proxy that does not do.
const PROXY_HINT: &str =
    "Set property proxy to http://HOST:PORT of an HTTP proxy, or to an empty string for none.";

/// The proxy is not found, or does not answer.
pub fn proxy_absent(proxy: &Proxy, e: &io::Error) -> Lost {
    let message = format!("No proxy answers at {proxy}. {PROXY_HINT}");
    lost(ErrorKind::Unreachable, false, message, e.to_string())
}

/// The proxy does not open a way to the server.
pub fn tunnel(proxy: &Proxy, url: &ServerUrl, failure: Failure, worked: bool) -> Lost {
    let mut lost = refused_tunnel(proxy, url, failure, worked);
    // The session does not know of the environment's proxies.
    lost.error.detail = proxy.without_secret(lost.error.detail);
    lost
}

fn refused_tunnel(proxy: &Proxy, url: &ServerUrl, failure: Failure, worked: bool) -> Lost {
    match failure {
        Failure::Io(e) => {
            let message = format!("The proxy at {proxy} gave up the connection to {url}.");
            lost(ErrorKind::Unreachable, false, message, e.to_string())
        }
        Failure::NoProxy => {
            let message = format!("What runs at {proxy} is no HTTP proxy. {PROXY_HINT}");
            lost(ErrorKind::Protocol, !worked, message, String::new())
        }
        Failure::Refused { status: 407, line } => {
            let message = format!(
                "The proxy at {proxy} wants a user and a password. Set property proxy to http://USER:PASSWORD@HOST:PORT."
            );
            lost(ErrorKind::NotAuthorized, true, message, line)
        }
        Failure::Refused { status: 500..=599, line } => {
            let message = format!(
                "The proxy at {proxy} does not reach {url}. Check that the server runs, and property url."
            );
            lost(ErrorKind::Unreachable, false, message, line)
        }
        Failure::Refused { line, .. } => {
            let message = format!(
                "The proxy at {proxy} lets nobody through to {url}. Let it allow CONNECT to that host and port, or set property proxy to an empty string for none."
            );
            lost(ErrorKind::NotAuthorized, !worked, message, line)
        }
    }
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
            } else if let Some(unasked) = cause.and_then(|e| e.downcast_ref::<Unasked>()) {
                let message = format!(
                    "The server at {url} answers with {unasked}, which was not asked for (RFC 6455, 4.1). Check the server, or the proxy before it."
                );
                lost(ErrorKind::Protocol, true, message, String::new())
            } else {
                during_handshake(url, &e.to_string())
            }
        }
        WsError::ConnectionClosed | WsError::AlreadyClosed => during_handshake(url, &e.to_string()),
        WsError::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
            during_handshake(url, &e.to_string())
        }
        e => lost(
            ErrorKind::Protocol,
            !worked,
            format!(
                "What runs at {url} is no WebSocket server. Set property url to the /v1/realtime of a vLLM server{}.",
                if url.tls { "" } else { ", and use wss:// if it expects TLS" }
            ),
            e.to_string(),
        ),
    }
}

fn during_handshake(url: &ServerUrl, detail: &str) -> Lost {
    let message = format!(
        "The connection to {url} was lost before it was open. Check that a vLLM server runs there{}.",
        if url.tls {
            " and expects TLS, or use ws:// if it does not"
        } else {
            ", and use wss:// if it expects TLS"
        }
    );
    lost(ErrorKind::Unreachable, false, message, detail.to_owned())
}

fn tls_error(url: &ServerUrl, e: &rustls::Error, worked: bool) -> Lost {
    use rustls::{AlertDescription as Alert, CertificateError as Bad};
    let message = match e {
        rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        ) => format!(
            "The certificate of {url} is for another host. Set property url to the name that the certificate is for (or insecure-tls=true to check none, on a network that you trust)."
        ),
        rustls::Error::InvalidCertificate(
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. },
        ) => format!(
            "The certificate of {url} is not valid at this time. Check this machine's clock, and renew the certificate (or set insecure-tls=true to check none, on a network that you trust)."
        ),
        rustls::Error::InvalidCertificate(_) => format!(
            "The certificate of {url} is not trusted. Set property ca-certificate to the PEM file of the authority that issued it, or of the certificate itself (or insecure-tls=true to check none, on a network that you trust)."
        ),
        rustls::Error::AlertReceived(
            Alert::CertificateRequired | Alert::BadCertificate | Alert::UnknownCA,
        ) => format!(
            "The server at {url} asks for a certificate that it trusts. Set properties client-certificate and client-key."
        ),
        _ => format!("TLS with {url} fails. Use ws:// in property url if the server has no TLS."),
    };
    lost(ErrorKind::Protocol, !worked, message, e.to_string())
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

/// The server answers the handshake with an HTTP status. Where it has worked before, something
/// stands in for it while it is away: only a refusal of the key or the model is final then.
fn http(url: &ServerUrl, response: &Response<Option<Vec<u8>>>, worked: bool) -> Lost {
    let status = response.status();
    let (kind, permanent, message) = match status.as_u16() {
        401 | 407 => (
            ErrorKind::NotAuthorized,
            true,
            format!(
                "The server at {url} wants another key (HTTP {status}). Set property api-key, or the environment variable VLLM_API_KEY, to the key that the server was started with."
            ),
        ),
        // What `no_route` knows.
        403 => (
            ErrorKind::NotFound,
            true,
            format!(
                "The server at {url} has no realtime route there (HTTP {status}). Check the path in property url, that the model it serves is a realtime one, and the key if a gateway asks for one."
            ),
        ),
        404 | 405 | 410 => (
            ErrorKind::NotFound,
            !worked,
            format!(
                "The server has nothing at {url} (HTTP {status}). Set property url to ws://HOST:PORT/v1/realtime of vLLM 0.16 or later with a realtime model, started without a Rust front end. {UPGRADE_HINT}"
            ),
        ),
        300..=399 => (
            ErrorKind::NotFound,
            !worked,
            format!(
                "The server at {url} sends on to another address (HTTP {status}), which is not followed, so that the key goes nowhere else. Set property url to the final address."
            ),
        ),
        400 | 426 => (
            ErrorKind::Protocol,
            !worked,
            format!(
                "The server at {url} does not take the WebSocket (HTTP {status}). {UPGRADE_HINT}{}",
                if url.tls { CERTIFICATE_HINT } else { "" }
            ),
        ),
        408 | 425 | 429 | 500..=599 => (
            ErrorKind::Server,
            false,
            format!("The server at {url} is not ready (HTTP {status}). Its own log tells more."),
        ),
        200..=299 => (
            ErrorKind::Protocol,
            !worked,
            format!(
                "What runs at {url} is a web server without WebSockets there (HTTP {status}). Set property url to the /v1/realtime of a vLLM server."
            ),
        ),
        _ => (
            ErrorKind::Protocol,
            !worked,
            format!("The server at {url} refuses (HTTP {status}). Its own log tells why."),
        ),
    };
    let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
    let location = location.map(redacted);
    lost(kind, permanent, message, location.unwrap_or_default())
}

/// An open connection ends. `closing`: what the server's close frame says.
pub fn open(url: &ServerUrl, e: &WsError, closing: Option<&str>) -> Lost {
    let (kind, message) = match (e, closing) {
        (WsError::Capacity(_), _) => {
            (ErrorKind::Protocol, format!("The server at {url} sent a message that is too long."))
        }
        (WsError::Protocol(p), None)
            if !matches!(p, tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) =>
        {
            (ErrorKind::Protocol, format!("The server at {url} broke the WebSocket protocol."))
        }
        (WsError::Utf8(_), _) => {
            (ErrorKind::Protocol, format!("The server at {url} sent text that is not UTF-8."))
        }
        (_, Some(c)) if c.starts_with("1012") => {
            (ErrorKind::Server, format!("The server at {url} restarts."))
        }
        // Policy: so gateways refuse a key once the WebSocket is open.
        (_, Some(c)) if c.starts_with("1008") => {
            return not_authorized(&url.to_string(), c.to_owned());
        }
        (_, Some(_)) => (ErrorKind::Server, format!("The server at {url} closed the connection.")),
        _ => (ErrorKind::Unreachable, format!("The connection to {url} was lost.")),
    };
    lost(kind, false, message, closing.map_or_else(|| e.to_string(), |c| format!("{c}; {e}")))
}

/// The key is wrong, in the words of the server or a gateway.
pub fn not_authorized(server: &str, said: String) -> Lost {
    Lost {
        error: Error {
            kind: ErrorKind::NotAuthorized,
            message: format!(
                "The server at {server} refuses the key: {said}. Set property api-key, or the environment variable VLLM_API_KEY, to the key that the server or the gateway before it expects."
            ),
            detail: said,
        },
        permanent: true,
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_key_that_is_refused_once_the_connection_is_open() {
        let url = ServerUrl::default();
        let l = open(&url, &WsError::ConnectionClosed, Some("1008 token expired"));
        assert_eq!((l.error.kind, l.permanent), (ErrorKind::NotAuthorized, true));
        assert!(l.error.message.contains("token expired"), "{}", l.error.message);
    }
}
