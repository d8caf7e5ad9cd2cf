// SPDX-License-Identifier: MPL-2.0

//! The server: its listener, its connections, and its end.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::connection;
use crate::fault::{Fault, What, When};
use crate::log::{Log, LogBook};
use crate::stream::Stream;
use crate::voice::{Speech, Voice, tiny::Tiny};
use crate::{Builder, Config, Flavour};

/// Connections at a time; more are closed at once.
const CONNECTIONS: usize = 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the server is doing; only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Life {
    Running,
    /// The engine is dead: `processing_error` now, 1012 later.
    Dying,
    /// 1012 to all.
    Stopping,
    /// All sockets go.
    Killed,
}

/// What connections share.
pub(crate) struct Shared {
    pub config: Config,
    pub port: u16,
    pub log: LogBook,
    pub seats: Seats,
    pub faults: Faults,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    life: AtomicU8,
    /// When a dying server stops.
    death: Mutex<Option<Instant>>,
    wakers: Arc<Mutex<HashMap<u64, Arc<Waker>>>>,
    /// Wakes the listener.
    listener: Waker,
    next: AtomicU64,
}

impl Shared {
    pub fn life(&self) -> Life {
        match self.life.load(Ordering::SeqCst) {
            0 => Life::Running,
            1 => Life::Dying,
            2 => Life::Stopping,
            _ => Life::Killed,
        }
    }

    /// Changes how the server is doing and tells all threads.
    pub fn become_(&self, life: Life) {
        self.life.fetch_max(life as u8, Ordering::SeqCst);
        let _ = self.listener.wake();
        for waker in lock(&self.wakers).values() {
            let _ = waker.wake();
        }
    }

    /// The engine dies; the server follows.
    pub fn die(&self, now: Instant) {
        lock(&self.death).get_or_insert(now + self.config.death_time);
        self.become_(Life::Dying);
    }

    pub fn death(&self) -> Option<Instant> {
        *lock(&self.death)
    }

    pub fn register(&self, id: u64, waker: Arc<Waker>) {
        lock(&self.wakers).insert(id, waker);
    }

    pub fn forget(&self, id: u64) {
        lock(&self.wakers).remove(&id);
    }

    /// The voice of a generation; `hint`: place of the one before.
    pub fn speech(&self, generation: u64, hint: Option<usize>) -> Box<dyn Speech> {
        match &self.config.voice {
            Voice::Tiny => Box::new(Tiny::new(self.config.model.ends_with("_eos"))),
            Voice::Script(script) => Box::new(script.speech(generation)),
            Voice::Aligned(aligned) => Box::new(aligned.speech(hint)),
            Voice::Pocketsphinx(voice) => Box::new(voice.speech()),
            Voice::Moonshine(voice) => Box::new(voice.speech(self.config.cadence)),
        }
    }
}

/// `max_num_seqs`: who works, and who waits, first come first served.
pub(crate) struct Seats {
    /// 0: without limit.
    limit: usize,
    state: Mutex<(Vec<u64>, VecDeque<u64>)>,
    wakers: Arc<Mutex<HashMap<u64, Arc<Waker>>>>,
}

impl Seats {
    /// Takes a seat, or queues for one: then the connection is woken when it is its turn.
    pub fn take(&self, id: u64) -> bool {
        if self.limit == 0 {
            return true;
        }
        let (taken, waiting) = &mut *lock(&self.state);
        if taken.contains(&id) {
            return true;
        }
        let place = waiting.iter().position(|&w| w == id).unwrap_or_else(|| {
            waiting.push_back(id);
            waiting.len() - 1
        });
        if place < self.limit.saturating_sub(taken.len()) {
            waiting.remove(place);
            taken.push(id);
            return true;
        }
        false
    }

    pub fn free(&self, id: u64) {
        let next: Vec<u64> = {
            let (taken, waiting) = &mut *lock(&self.state);
            taken.retain(|&t| t != id);
            waiting.retain(|&w| w != id);
            waiting.iter().copied().collect()
        };
        let wakers = lock(&self.wakers);
        for waker in next.iter().filter_map(|id| wakers.get(id)) {
            let _ = waker.wake();
        }
    }
}

/// The faults, and how often each has struck.
pub(crate) struct Faults(Vec<(Fault, AtomicU32)>);

impl Faults {
    /// Faults that strike here. `struck`: those that have struck in this generation.
    pub fn strike(
        &self,
        when: When,
        connection: u64,
        generation: u64,
        struck: &mut Vec<usize>,
    ) -> Vec<What> {
        let mut found = Vec::new();
        for (i, (fault, count)) in self.0.iter().enumerate() {
            let here = match (fault.when, when) {
                (When::Deltas(at), When::Deltas(n)) => n >= at,
                (When::Samples(at), When::Samples(n)) => n >= at,
                (at, now) => at == now,
            };
            if here
                && fault.connection.is_none_or(|c| c == connection)
                && fault.generation.is_none_or(|g| g == generation)
                && !struck.contains(&i)
                && count
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
                        (fault.times == 0 || n < fault.times).then_some(n.saturating_add(1))
                    })
                    .is_ok()
            {
                struck.push(i);
                found.push(fault.what.clone());
            }
        }
        found
    }
}

/// A running stand-in server. Dropping it kills it.
pub struct Standin {
    shared: Arc<Shared>,
    certificate: Option<String>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Standin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standin").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Standin {
    /// A server with all defaults: voice [`Voice::Tiny`], cadence frames, any port.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(config: Config) -> io::Result<Standin> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
        // The standard library sets SO_REUSEADDR.
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (tls, certificate) = match &config.tls {
            Some(tls) => tls.config().map(|(config, pem)| (Some(config), Some(pem)))?,
            None => (None, None),
        };
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(1))?;
        let wakers = Arc::new(Mutex::new(HashMap::new()));
        let faults = config.faults.iter().map(|f| (f.clone(), AtomicU32::new(0)));
        let shared = Arc::new(Shared {
            port,
            log: LogBook::default(),
            seats: Seats { limit: config.seats, state: Default::default(), wakers: wakers.clone() },
            faults: Faults(faults.collect()),
            tls,
            life: AtomicU8::new(Life::Running as u8),
            death: Mutex::new(None),
            wakers,
            listener: waker,
            next: AtomicU64::new(0),
            config,
        });
        let listener = TcpListener::from_std(listener);
        let thread = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("standin".into())
                .spawn(move || listen(&shared, listener, poll))?
        };
        Ok(Standin { shared, certificate, thread: Some(thread) })
    }

    /// `ws://127.0.0.1:PORT/v1/realtime`, or `wss://localhost:...`.
    pub fn url(&self) -> String {
        let (scheme, host) =
            if self.shared.tls.is_some() { ("wss", "localhost") } else { ("ws", "127.0.0.1") };
        format!("{scheme}://{host}:{}/v1/realtime", self.port())
    }

    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// The certificate as PEM, where it speaks TLS.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// What was seen and done, as it is now.
    pub fn log(&self) -> Log {
        self.shared.log.lock().clone()
    }

    /// Looks at the log without a copy. No other call of the server in here: it waits for this.
    pub fn inspect<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.shared.log.lock())
    }

    /// Waits until the log is as `condition` says, at most `limit` long; false: it never was.
    pub fn wait(&self, condition: impl FnMut(&Log) -> bool, limit: Duration) -> bool {
        self.shared.log.wait(condition, limit)
    }

    /// Whether the server has ended by itself (engine death, faults `kill` and `stop`).
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends in order, as with SIGTERM: 1012 to all, and returns when all are gone (2 s at most for
    /// clients that do not answer).
    pub fn stop(&mut self) {
        self.shared.become_(Life::Stopping);
        self.join();
    }

    /// Ends at once, as with SIGKILL: listener and connections are gone when this returns.
    pub fn kill(&mut self) {
        self.shared.become_(Life::Killed);
        self.join();
    }

    /// Kills it where it is not over yet, and starts it again on the same port with the same
    /// settings and an empty log.
    ///
    /// # Errors
    /// The port was taken in between.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        let config = Config { port: self.port(), ..self.shared.config.clone() };
        *self = Standin::start(config)?;
        Ok(())
    }

    /// A handle that ends the server, for another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.shared.clone())
    }

    /// Waits until it has ended by itself.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends a server from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    /// As [`Standin::stop`], without waiting.
    pub fn stop(&self) {
        self.0.become_(Life::Stopping);
    }

    /// The engine dies: `processing_error` to all, 1012 later, and the server ends.
    pub fn die(&self) {
        self.0.die(Instant::now());
    }

    /// As [`Standin::kill`], without waiting.
    pub fn kill(&self) {
        self.0.become_(Life::Killed);
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The listener's thread: it ends when all connections have ended.
fn listen(shared: &Arc<Shared>, mut listener: TcpListener, mut poll: Poll) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut events = Events::with_capacity(16);
    let registered = poll.registry().register(&mut listener, Token(0), Interest::READABLE);
    while registered.is_ok() {
        match shared.life() {
            Life::Killed | Life::Stopping => break,
            Life::Dying if shared.death().is_some_and(|at| at <= Instant::now()) => {
                shared.become_(Life::Stopping);
                break;
            }
            _ => {}
        }
        if shared.config.flavour != Flavour::NeverAccepts {
            while let Ok((socket, _)) = listener.accept() {
                threads.retain(|t| !t.is_finished());
                if threads.len() < CONNECTIONS {
                    threads.extend(serve(shared, socket));
                }
            }
        }
        let limit = shared.death().map(|at| at.saturating_duration_since(Instant::now()));
        if let Err(e) = poll.poll(&mut events, limit)
            && e.kind() != io::ErrorKind::Interrupted
        {
            break;
        }
    }
    // Nobody is taken any more, from here on.
    drop(listener);
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve(shared: &Arc<Shared>, socket: TcpStream) -> Option<JoinHandle<()>> {
    let shared = shared.clone();
    let id = shared.next.fetch_add(1, Ordering::SeqCst);
    let stream = Stream::new(socket, shared.tls.as_ref()).ok()?;
    let run = move || connection::run(&shared, stream, id);
    std::thread::Builder::new().name(format!("standin-{id}")).spawn(run).ok()
}
