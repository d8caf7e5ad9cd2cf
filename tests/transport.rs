// SPDX-License-Identifier: MPL-2.0

//! The client's thread against peers that misbehave below the protocol. Limits that must not be
//! waited for are set to an hour: a test that waited for one would never end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use gstvllmrealtime::realtime::transport::Room;
use gstvllmrealtime::realtime::{
    Client, Config, ConnectionState, Error, ErrorKind, Output, Reconnect, Secret, ServerUrl,
};

const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(60);

fn config(url: &str) -> Config {
    Config {
        servers: ServerUrl::parse_list(url).unwrap(),
        voice_activity: false,
        connect_timeout: HOUR,
        response_timeout: HOUR,
        // The peers here count connections.
        max_utterance: Some(HOUR),
        ..Config::default()
    }
}

fn start(config: Config) -> (Client, Receiver<Output>) {
    let (tell, outputs) = channel();
    let client = Client::start(config, move |o| drop(tell.send(o))).unwrap();
    (client, outputs)
}

fn failure(outputs: &Receiver<Output>) -> Error {
    loop {
        match outputs.recv_timeout(DEADLINE).expect("an output") {
            Output::Failed(e) => return e,
            _ => continue,
        }
    }
}

/// A peer that accepts one connection and does this with it.
fn peer(f: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || f(listener.accept().unwrap().0));
    format!("127.0.0.1:{port}")
}

/// Reads a request up to its empty line.
fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

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

/// Whatever the network does, dropping the client returns.
#[test]
fn going_away_waits_for_nothing() {
    // Nobody answers there (TEST-NET-1), or the system says so at once: both are fine.
    let black_hole = "ws://192.0.2.1:9".to_owned();
    let (tell, kept) = channel();
    let silent = peer(move |stream| drop(tell.send(stream)));
    let (tell, kept_tls) = channel();
    let stalled_tls = peer(move |mut stream| {
        // The client's hello arrives, no answer does.
        let _ = stream.read(&mut [0; 1]);
        drop(tell.send(stream));
    });
    let name = "ws://no-such-host.invalid:9".to_owned();
    for url in [black_hole, format!("ws://{silent}"), format!("wss://{stalled_tls}"), name] {
        let (client, outputs) = start(config(&url));
        client.connect();
        let connecting =
            |o: Output| matches!(o, Output::Connection { state: ConnectionState::Connecting, .. });
        assert!(connecting(outputs.recv_timeout(DEADLINE).unwrap()));
        drop(client);
    }
    drop((kept, kept_tls));
}

/// A peer that stops reading: the audio under way is bounded, and the client can still go.
#[test]
fn a_peer_that_never_reads() {
    let (tell, kept) = channel();
    let address = peer(move |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.send(tungstenite::Message::text(r#"{"type":"session.created"}"#)).unwrap();
        tell.send(socket).unwrap();
    });
    let (client, outputs) = start(Config {
        max_backlog: Duration::from_secs(10),
        ..config(&format!("ws://{address}"))
    });
    client.connect();
    loop {
        let o = outputs.recv_timeout(DEADLINE).unwrap();
        if matches!(o, Output::Connection { state: ConnectionState::Connected, .. }) {
            break;
        }
    }
    for i in 0..10 {
        assert_eq!(client.wait_for_room(), Room::Yes);
        client.audio(i * 16_000, vec![1; 16_000]);
    }
    // There is no room any more, until somebody says that there is no need of it.
    let client = std::sync::Arc::new(client);
    let other = client.clone();
    let waiting = thread::spawn(move || other.wait_for_room());
    client.interrupt();
    assert_eq!(waiting.join().unwrap(), Room::Interrupted);
    assert!(client.stats().bytes_sent < 1 << 20);
    drop(client);
    drop(kept);
}
