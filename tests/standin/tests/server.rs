// SPDX-License-Identifier: MPL-2.0

//! The server as a whole: its start and end, who may come in, and many at a time.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Client, LIMIT, address, get, noise};
use vllm_standin::{Flavour, Standin, Tls};

const DELTA: &str = "transcription.delta";
const DONE: &str = "transcription.done";

#[test]
fn stop_says_1012_and_returns_when_all_are_gone() {
    let mut server = Standin::builder().start().unwrap();
    let mut client = Client::ready(&server.url());
    client.commit();
    client.feed(&noise(16_000));
    client.wait(DELTA, 5);
    let stopper = server.stopper();
    stopper.stop();
    assert_eq!(client.wait_closed().code, 1012);
    drop(client);
    server.stop();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
}

#[test]
fn kill_and_restart_on_the_same_port() {
    let mut server = Standin::builder().start().unwrap();
    let port = server.port();
    for _ in 0..5 {
        let mut client = Client::ready(&server.url());
        client.commit();
        client.feed(&noise(16_000));
        client.wait(DELTA, 5);
        server.kill();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert_eq!(client.wait_closed().code, 1006);
        server.restart().unwrap();
        assert_eq!(server.port(), port);
        let mut client = Client::ready(&server.url());
        client.utterance(&noise(16_000));
        client.wait(DONE, 1);
        assert_eq!(server.log().opened, 1);
    }
    // Another one on the same port.
    server.kill();
    let other = Standin::builder().port(port).start().unwrap();
    Client::ready(&other.url());
}

#[test]
fn keys_and_refusals() {
    let server = Standin::builder().api_key("sekrit").start().unwrap();
    let key = |value| Client::connect_with(&server.url(), &[("Authorization", value)]).err();
    assert_eq!(Client::connect_with(&server.url(), &[]).err(), Some(401));
    assert_eq!(key("Bearer wrong"), Some(401));
    assert_eq!(key("Bearer sekrit"), None);
    assert_eq!(key("bearer sekrit"), None);
    let seen = server.log().connections[2].header("authorization").map(str::to_owned);
    assert_eq!(seen.as_deref(), Some("Bearer sekrit"));
    for status in [302, 401, 403, 404, 500] {
        let server = Standin::builder().refuse(status).start().unwrap();
        assert_eq!(Client::connect_with(&server.url(), &[]).err(), Some(status));
    }
    let server = Standin::builder().start().unwrap();
    for path in ["/v1/realtime/", "/v1/nosuch", "/realtime"] {
        let url = server.url().replace("/v1/realtime", path);
        assert_eq!(Client::connect_with(&url, &[]).err(), Some(403), "{path}");
    }
    assert_eq!(get(&server.url(), "/v1/realtime", &[]).0, 404);
    assert_eq!(server.log().requests, ["/v1/realtime"]);
}

#[test]
fn other_protocols_and_silence() {
    let start = |flavour| Standin::builder().flavour(flavour).start().unwrap();
    let server = start(Flavour::OpenAi);
    let mut client = Client::connect(&server.url());
    client.wait("conversation.item.input_audio_transcription.delta", 1);
    assert!(client.events[0]["session"].is_object());

    let server = start(Flavour::SilentAfterUpgrade);
    let mut client = Client::connect(&server.url());
    client.send("hello");
    assert!(!client.read(Instant::now() + Duration::from_millis(100)));
    assert!(client.closed.is_none());
    assert!(server.wait(|log| log.connections[0].messages == 1, LIMIT));

    for flavour in [Flavour::SilentBeforeUpgrade, Flavour::NeverAccepts] {
        let mut server = start(flavour);
        let (host, _) = address(&server.url());
        let mut socket = TcpStream::connect(host).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket.write_all(b"GET /v1/realtime HTTP/1.1\r\n\r\n").unwrap();
        assert!(socket.read(&mut [0]).is_err(), "{flavour:?}");
        server.kill();
    }
}

#[test]
fn pings_are_sent_and_a_pong_is_asked_for() {
    let server = Standin::builder()
        .ping_interval(Duration::from_millis(20))
        .ping_timeout(LIMIT)
        .start()
        .unwrap();
    let mut client = Client::connect(&server.url());
    while client.pings < 3 {
        assert!(client.read(Instant::now() + LIMIT));
    }
    assert!(server.wait(|log| log.connections[0].pongs >= 2, LIMIT));

    let server = Standin::builder()
        .ping_interval(Duration::from_millis(20))
        .ping_timeout(Duration::from_millis(20))
        .start()
        .unwrap();
    // This one does not read, and so does not answer.
    let client = Client::connect(&server.url());
    assert!(server.wait(|log| log.connections[0].closed == Some(1011), LIMIT));
    drop(client);
}

#[test]
fn many_at_a_time() {
    let server = Standin::builder().start().unwrap();
    let url = server.url();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || {
                let mut client = Client::ready(&url);
                client.utterance(&noise(80_000));
                client.wait(DONE, 1);
                client.count(DELTA)
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), 73);
    }
    assert!(server.wait(|log| log.done() == 40 && log.open() == 0, LIMIT));
}

#[test]
fn a_seat_is_given_when_the_one_before_is_done_or_gone() {
    let server = Standin::builder().seats(1).start().unwrap();
    let mut first = Client::ready(&server.url());
    first.commit();
    first.feed(&noise(32_000));
    first.wait(DELTA, 18);
    let mut second = Client::ready(&server.url());
    second.utterance(&noise(32_000));
    second.settle();
    assert_eq!(second.count(DELTA), 0);
    first.last();
    first.wait(DONE, 1);
    second.wait(DONE, 1);
    first.commit();
    first.feed(&noise(32_000));
    first.wait(DELTA, 35 + 18);
    second.utterance(&noise(32_000));
    second.settle();
    assert_eq!(second.count(DELTA), 35);
    drop(first);
    second.wait(DONE, 2);
}

#[test]
fn a_full_queue_ends_the_connection() {
    let server = Standin::builder().max_queue(48_000).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.feed(&noise(64_000));
    assert_eq!(client.wait_closed().code, 1011);
}

#[test]
fn tls_with_a_certificate_of_its_own() {
    let server = Standin::builder().tls(Tls::SelfSigned).start().unwrap();
    assert!(server.url().starts_with("wss://localhost:"));
    use rustls::pki_types::pem::PemObject;
    let pem = server.certificate().unwrap();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls =
        rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let stream = rustls::StreamOwned::new(tls, socket);
    let (mut client, _) = tungstenite::client(server.url(), stream).unwrap();
    let message = client.read().unwrap();
    assert!(message.to_text().unwrap().contains("session.created"));
}

#[test]
fn the_program_says_where_it_listens_and_ends_by_a_signal() {
    let program = env!("CARGO_BIN_EXE_vllm-standin");
    let mut child = Command::new(program)
        .args(["--port", "0", "--text", "hello world", "--model", "name"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let mut client = Client::ready(&url);
    client.utterance(&noise(32_000));
    client.wait(DONE, 1);
    assert_eq!(client.done(0)["text"], " hello world");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(client.wait_closed().code, 1012);
    assert!(child.wait().unwrap().success());
    for bad in [["--voice", "nobody"], ["--cadence", "odd"], ["--bogus", "1"]] {
        let output = Command::new(program).args(bad).output().unwrap();
        assert!(!output.status.success());
        assert!(!output.stderr.is_empty(), "{bad:?}");
    }
}
