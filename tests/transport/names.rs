// SPDX-License-Identifier: MPL-2.0

//! Name look-ups that hang, come back late, or bring several addresses.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gstvllmrealtime::realtime::resolver::{OF_A_CLIENT, OF_ALL};
use gstvllmrealtime::realtime::transport::Room;
use gstvllmrealtime::realtime::{
    Client, Config, ConnectionState, ErrorKind, Output, Reconnect, Resolver,
};

use super::*;

/// A name service that hangs until it is told to answer.
#[derive(Clone, Default)]
struct Service(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    answers: bool,
    asked: usize,
    answered: usize,
}

impl Service {
    /// Hangs over every name but this one.
    fn resolver(&self, good: &'static str, good_at: SocketAddr, late: SocketAddr) -> Arc<Resolver> {
        let service = self.clone();
        Resolver::new(move |host, _port| {
            if host == good {
                return Ok(vec![good_at]);
            }
            let (lock, changed) = &*service.0;
            let mut state = lock.lock().unwrap();
            state.asked += 1;
            changed.notify_all();
            state = changed.wait_while(state, |s| !s.answers).unwrap();
            state.answered += 1;
            changed.notify_all();
            Ok(vec![late])
        })
    }

    fn hanging(&self) -> Arc<Resolver> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        self.resolver("none", nowhere, nowhere)
    }

    fn asked(&self) -> usize {
        self.0.0.lock().unwrap().asked
    }

    fn wait(&self, until: impl Fn(&State) -> bool) {
        let (lock, changed) = &*self.0;
        let wait = changed.wait_timeout_while(lock.lock().unwrap(), DEADLINE, |s| !until(s));
        assert!(!wait.unwrap().1.timed_out());
    }

    fn answer(&self) {
        self.0.0.lock().unwrap().answers = true;
        self.0.1.notify_all();
    }
}

fn start_with(config: Config, resolver: &Arc<Resolver>) -> (Client, Receiver<Output>) {
    let (tell, outputs) = channel();
    let sink = move |o| drop(tell.send(o));
    (Client::start_with(config, resolver.clone(), sink).unwrap(), outputs)
}

/// How it ends where each server is tried once, with 50 ms for each.
fn fails(service: &Service, urls: &str) -> Error {
    let connect_timeout = Duration::from_millis(50);
    let reconnect = Reconnect::Attempts(0);
    let config = Config { connect_timeout, reconnect, ..config(urls) };
    let (client, outputs) = start_with(config, &service.hanging());
    client.connect();
    failure(&outputs)
}

#[test]
fn a_look_up_has_its_limit_too() {
    let service = Service::default();
    let e = fails(&service, "ws://a.test:1");
    assert_eq!(e.kind, ErrorKind::Timeout);
    assert!(e.message.contains("connect-timeout"), "{e}");
    assert_eq!(service.asked(), 1);
}

#[test]
fn nobody_waits_for_a_look_up() {
    let service = Service::default();
    let config = Config { max_backlog: Duration::from_secs(1), ..config("ws://a.test:1") };
    let (client, outputs) = start_with(config, &service.hanging());
    client.connect();
    service.wait(|s| s.asked == 1);
    // The input is full: its wait ends when it is told so.
    client.audio(Position::START, vec![1; 16_000]);
    let client = Arc::new(client);
    let other = client.clone();
    let waiting = thread::spawn(move || other.wait_for_room());
    client.interrupt();
    assert_eq!(waiting.join().unwrap(), Room::Interrupted);
    client.resume();
    // FLUSH.
    let number = client.flush();
    while outputs.recv_timeout(DEADLINE).unwrap() != Output::Flushed(number) {}
    assert_eq!(client.wait_for_room(), Room::Yes);
    // EOS without any audio.
    let number = client.finish();
    while outputs.recv_timeout(DEADLINE).unwrap() != Output::Drained(number) {}
    // NULL.
    drop(client);
    assert_eq!(outputs.try_iter().count(), 0);
    assert_eq!(service.asked(), 1);
}

#[test]
fn look_ups_that_hang_are_few_and_the_next_one_says_why() {
    let service = Service::default();
    let names: Vec<String> = (0..=OF_A_CLIENT).map(|n| format!("ws://{n}.test:1")).collect();
    let e = fails(&service, &names.join(","));
    assert_eq!(e.kind, ErrorKind::Unreachable);
    for hint in ["4.test", "name service", "IP address"] {
        assert!(e.message.contains(hint), "{e}");
    }
    assert_eq!(service.asked(), OF_A_CLIENT);
}

/// An application that starts over and over while the name service hangs.
#[test]
fn clients_that_come_and_go_leave_few_look_ups_behind() {
    let service = Service::default();
    let resolver = service.hanging();
    for n in 1..=OF_ALL {
        let (client, _outputs) = start_with(config("ws://a.test:1"), &resolver);
        client.connect();
        service.wait(|s| s.asked == n);
    }
    let (client, outputs) = start_with(config("ws://a.test:1"), &resolver);
    client.connect();
    let reason = until(&outputs, ConnectionState::Lost);
    assert!(reason.contains("name service"), "{reason}");
    drop(client);
    // They come back: there is room again.
    service.answer();
    service.wait(|s| s.answered == OF_ALL);
    let end = Instant::now() + DEADLINE;
    while Arc::strong_count(&resolver) > 1 {
        assert!(Instant::now() < end, "their threads end");
        thread::yield_now();
    }
    let (client, _outputs) = start_with(config("ws://a.test:1"), &resolver);
    client.connect();
    service.wait(|s| s.asked == OF_ALL + 1);
}

/// What comes back late belongs to an attempt that is over.
#[test]
fn a_late_answer_does_no_harm() {
    let service = Service::default();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = (good.local_addr().unwrap(), trap.local_addr().unwrap());
    thread::spawn(move || {
        for stream in good.incoming() {
            thread::spawn(move || {
                let mut socket = tungstenite::accept(stream.unwrap())?;
                socket.send(tungstenite::Message::text(CREATED)).ok();
                while socket.read().is_ok() {}
                Ok::<_, Box<tungstenite::HandshakeError<_>>>(())
            });
        }
    });
    let mut config = config("ws://late.test:1,ws://good.test:1");
    config.connect_timeout = Duration::from_millis(200);
    config.reconnect = Reconnect::Forever;
    let (client, outputs) =
        start_with(config, &service.resolver("good.test", addresses.0, addresses.1));
    client.connect();
    until(&outputs, ConnectionState::Connected);
    let asked = service.asked();
    assert!(asked > 0);
    service.answer();
    service.wait(|s| s.answered == asked);
    // Whatever the answer does has been done when this comes back, and the session goes on.
    client.audio(Position::START, vec![1; 16_000]);
    while client.stats().samples_sent < 16_000 {
        thread::yield_now();
    }
    let number = client.flush();
    for output in outputs.iter() {
        assert!(!matches!(output, Output::Connection { .. } | Output::Warning(_)), "{output:?}");
        if output == Output::Flushed(number) {
            break;
        }
    }
    trap.set_nonblocking(true).unwrap();
    assert_eq!(trap.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Several addresses of a name.
fn several(addresses: Vec<SocketAddr>) -> Arc<Resolver> {
    Resolver::new(move |_, _| Ok(addresses.clone()))
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that greets each client and keeps it.
fn good() -> SocketAddr {
    let (listener, address) = listen();
    thread::spawn(move || {
        let sockets = listener.incoming().map(|s| greeted(s.unwrap()));
        sockets.collect::<Vec<_>>()
    });
    address
}

/// Docker's proxy takes connections for servers that are not there.
#[test]
fn an_address_that_hangs_up_is_passed_over() {
    let (listener, hangs_up) = listen();
    thread::spawn(move || listener.incoming().for_each(drop));
    let (client, outputs) = start_with(config("ws://a.test:1"), &several(vec![hangs_up, good()]));
    client.connect();
    until(&outputs, ConnectionState::Connected);
    assert_eq!(client.stats().connections, 1);
}

/// A name with this address and a good one: it comes to the good one by itself.
fn passes_over(bad: SocketAddr) {
    let mut config = config("ws://a.test:1");
    config.connect_timeout = Duration::from_millis(400);
    config.reconnect = Reconnect::Forever;
    let (client, outputs) = start_with(config, &several(vec![bad, good()]));
    client.connect();
    until(&outputs, ConnectionState::Connected);
}

/// It takes the connection and says nothing.
#[test]
fn an_address_that_says_nothing_is_passed_over() {
    let (_silent, address) = listen();
    passes_over(address);
}

/// It upgrades, and begins no session: the next attempt begins with the other one.
#[test]
fn an_address_that_does_not_greet_comes_last_the_next_time() {
    let (listener, address) = listen();
    thread::spawn(move || {
        let sockets = listener.incoming().map(|s| tungstenite::accept(s.unwrap()).unwrap());
        sockets.collect::<Vec<_>>()
    });
    passes_over(address);
}
