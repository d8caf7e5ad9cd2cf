// SPDX-License-Identifier: MPL-2.0

//! Servers that are none, refuse, or do not answer; settings that cannot work.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use gstvllmrealtime::realtime::transport::Room;
use gstvllmrealtime::realtime::{Client, ErrorKind, Output, Reconnect, Secret};

use super::*;

fn answer(response: &'static str) -> String {
    peer(move |mut stream| {
        request(&mut stream);
        let _ = stream.write_all(response.as_bytes());
    })
}

fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn nobody_there() {
    let mut config = config(&format!("ws://{}", closed_port()));
    config.connect_timeout = Duration::from_millis(50);
    let (client, outputs) = start(config);
    client.connect();
    let e = failure(&outputs);
    assert_eq!(e.kind, ErrorKind::Unreachable);
    assert!(e.message.contains("property url"), "{e}");
    assert!(e.message.contains("reconnect"), "{e}");
    assert_eq!(client.wait_for_room(), Room::Failed);
}

#[test]
fn one_attempt_where_the_user_says_so() {
    let mut config = config(&format!("ws://{}", closed_port()));
    config.reconnect = Reconnect::Attempts(0);
    let (client, outputs) = start(config);
    client.connect();
    assert_eq!(failure(&outputs).kind, ErrorKind::Unreachable);
    assert_eq!(client.stats().connections, 1);
}

#[test]
fn accepts_and_says_nothing() {
    let (tell, kept) = channel();
    let address = peer(move |stream| drop(tell.send(stream)));
    let mut config = config(&format!("ws://{address}"));
    config.connect_timeout = Duration::from_millis(50);
    config.reconnect = Reconnect::Attempts(0);
    let (client, outputs) = start(config);
    client.connect();
    let e = failure(&outputs);
    assert_eq!(e.kind, ErrorKind::Timeout);
    assert!(e.message.contains("connect-timeout"), "{e}");
    drop(kept);
}

#[test]
fn upgrades_and_does_not_greet() {
    let (tell, kept) = channel();
    let address = peer(move |stream| drop(tell.send(tungstenite::accept(stream))));
    let mut config = config(&format!("ws://{address}"));
    config.connect_timeout = Duration::from_millis(300);
    config.reconnect = Reconnect::Attempts(0);
    let (client, outputs) = start(config);
    client.connect();
    let e = failure(&outputs);
    assert_eq!(e.kind, ErrorKind::Timeout);
    assert!(e.message.contains("did not begin a session"), "{e}");
    drop(kept);
}

/// One byte of the answer each 20 ms: slow is not broken, and `connect-timeout` alone decides.
#[test]
fn an_answer_that_comes_too_slowly() {
    let (tell, kept) = channel();
    let address = peer(move |mut stream| {
        request(&mut stream);
        for byte in b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-Long: "
            .iter()
            .chain(std::iter::repeat_n(&b'x', 100_000))
        {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = tell.send(());
    });
    let mut config = config(&format!("ws://{address}"));
    config.connect_timeout = Duration::from_secs(2);
    config.reconnect = Reconnect::Attempts(0);
    let (client, outputs) = start(config);
    client.connect();
    let e = failure(&outputs);
    assert_eq!(e.kind, ErrorKind::Timeout, "{e}");
    assert!(e.message.contains("connect-timeout"), "{e}");
    // More than 64 pieces had come, and the client has hung up.
    kept.recv_timeout(DEADLINE).unwrap();
}

/// A WebSocket that takes more for granted than was agreed is refused at once, by name.
#[test]
fn what_was_not_asked_for() {
    for (header, named) in [
        ("Sec-WebSocket-Extensions: permessage-deflate", "extension 'permessage-deflate'"),
        ("Sec-WebSocket-Protocol: realtime", "subprotocol 'realtime'"),
    ] {
        let address = peer(move |mut stream| {
            let request = request(&mut stream);
            let key = request.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let key = tungstenite::handshake::derive_accept_key(key.as_bytes());
            let _ = write!(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {key}\r\n{header}\r\n\r\n"
            );
        });
        let (client, outputs) = start(config(&format!("ws://{address}")));
        client.connect();
        let e = failure(&outputs);
        assert_eq!(e.kind, ErrorKind::Protocol, "{e}");
        assert!(e.message.contains(named), "{e}");
        assert_eq!(client.stats().connections, 1);
    }
}

#[test]
fn what_can_never_work_is_an_error_at_once() {
    for (response, kind, hint) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            ErrorKind::NotAuthorized,
            "api-key",
        ),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ErrorKind::NotFound, "realtime"),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            ErrorKind::NotFound,
            "/v1/realtime",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ErrorKind::Protocol, "property url"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://evil.invalid/\r\n\r\n",
            ErrorKind::NotFound,
            "final address",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n", ErrorKind::Protocol, "property url"),
    ] {
        let (client, outputs) = start(config(&format!("ws://{}", answer(response))));
        client.connect();
        let e = failure(&outputs);
        assert_eq!(e.kind, kind, "{response}: {e:?}");
        assert!(e.message.contains(hint), "{response}: {e:?}");
    }
}

#[test]
fn greetings_of_other_protocols() {
    for greeting in [
        r#"{"type":"session.created","session":{"id":"x"}}"#,
        r#"{"type":"transcription_session.created"}"#,
        r#"{"type":"transcription.delta","delta":"x"}"#,
        "hello",
    ] {
        let address = peer(move |stream| {
            let mut socket = tungstenite::accept(stream).unwrap();
            socket.send(tungstenite::Message::text(greeting)).unwrap();
            while socket.read().is_ok() {}
        });
        let (client, outputs) = start(config(&format!("ws://{address}")));
        client.connect();
        let e = failure(&outputs);
        assert_eq!(e.kind, ErrorKind::Protocol, "{greeting}");
        assert!(e.message.contains("property url"), "{e}");
    }
}

/// The key goes to the server, and nowhere else.
#[test]
fn the_key_is_sent_and_not_shown() {
    let (tell, requests) = channel();
    let address = peer(move |mut stream| {
        tell.send(request(&mut stream)).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    });
    let mut config = config(&format!("ws://{address}"));
    config.api_key = Some(Secret::new("sekrit"));
    assert!(!format!("{config:?}").contains("sekrit"));
    let (client, outputs) = start(config);
    client.connect();
    let request = requests.recv_timeout(DEADLINE).unwrap();
    assert!(request.to_lowercase().contains("authorization: bearer sekrit"), "{request}");
    for output in outputs.iter() {
        assert!(!format!("{output:?}").contains("sekrit"));
        if matches!(output, Output::Failed(_)) {
            break;
        }
    }
}

/// The upgrade and the question for the models say who asks, and what the user wants them to say.
#[test]
fn both_requests_have_the_headers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&format!("ws://{}", listener.local_addr().unwrap()));
    config.api_key = Some(Secret::new("sekrit"));
    config.headers = vec![("X-Team".into(), Secret::new("captions"))];
    // Who sets no limit wants to know the model's.
    config.max_utterance = None;
    let (client, _outputs) = start(config);
    client.connect();
    // Neither is answered before both have come.
    let mut asked: Vec<(String, TcpStream)> = (0..2)
        .map(|_| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = request(&mut stream).to_lowercase();
            for header in
                ["user-agent: vllmrealtimeasr/", "authorization: bearer sekrit", "x-team: captions"]
            {
                assert!(request.contains(&format!("\r\n{header}")), "no {header} in {request}");
            }
            (request.lines().next().unwrap_or_default().to_owned(), stream)
        })
        .collect();
    asked.sort_by(|a, b| a.0.cmp(&b.0));
    let lines: Vec<&str> = asked.iter().map(|a| a.0.as_str()).collect();
    assert_eq!(lines, ["get /v1/models http/1.0", "get /v1/realtime http/1.1"]);
}

#[test]
fn a_key_with_a_line_break_is_refused() {
    let mut config = config("ws://127.0.0.1:1");
    config.api_key = Some(Secret::new("sekrit\r\nX-Evil: 1"));
    let e = Client::start(config, |_| ()).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Settings);
    assert!(e.message.contains("api-key") && !e.message.contains("sekrit"), "{e}");
}

#[test]
fn a_certificate_file_that_is_none_is_refused() {
    let mut config = config("wss://127.0.0.1:1");
    for path in ["/nonexistent.pem", file!()] {
        config.tls.ca_certificate = Some(path.into());
        let e = Client::start(config.clone(), |_| ()).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Settings);
        assert!(e.message.contains("ca-certificate") && e.message.contains(path), "{e}");
    }
}
