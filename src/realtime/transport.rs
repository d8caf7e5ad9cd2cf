// SPDX-License-Identifier: MPL-2.0

//! The one thread of an element: it waits on the socket and on a waker, and owns the session.
//!
//! Lock order: there is one lock here, `Shared::inbox`; nothing that blocks, and nothing of the
//! element, is called while it is held.

use std::collections::VecDeque;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, ThreadId};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::connector::{Connector, Event};
use super::lingering_close;
use super::resolver::Resolver;
use super::session::{Action, Lost, Session};
use super::{Config, Error, ErrorKind, Length, Output, Position, Stats};

/// Where the client's outputs go. Called on the client's thread: must not block.
pub trait Listener: Send + Sync {
    fn output(&self, output: Output);

    /// Whether [`Listener::message`] is of use.
    fn reads_messages(&self) -> bool {
        false
    }

    /// An event of the server as it came, JSON, without the secrets that it repeats.
    fn message(&self, _text: String) {}

    /// All that came of one turn, in order.
    fn outputs(&self, outputs: Vec<Output>) {
        for output in outputs {
            self.output(output);
        }
    }
}

impl<F: Fn(Output) + Send + Sync> Listener for F {
    fn output(&self, output: Output) {
        self(output)
    }
}

/// Whether there is room for more audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Yes,
    /// [`Client::interrupt`] was called.
    Interrupted,
    /// The session has failed: an [`Output::Failed`] tells why.
    Failed,
}

/// What the session is told.
enum Command {
    Audio { position: Position, samples: Vec<i16>, came: Instant },
    Other(Box<Other>),
}

/// At the time when the thread comes to it.
type Other = dyn FnOnce(&mut Session, Duration) + Send;

/// How far the thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Default)]
enum Thread {
    #[default]
    Runs,
    /// It gives out nothing any more.
    Ended,
    /// Nor does it hold any connection.
    Closed,
}

/// What the element's threads and the client's thread share.
///
/// `commands` is bounded by [`Client::wait_for_room`].
#[derive(Default)]
struct Inbox {
    commands: VecDeque<Command>,
    /// Audio in `commands`, ...
    queued: Length,
    /// ... for which the thread is woken when it is as much as this.
    wanted: Length,
    /// What the session keeps, as of its last turn.
    backlog: Length,
    live: bool,
    interrupted: bool,
    failed: bool,
    closed: bool,
    thread: Thread,
    numbers: u64,
    stats: Stats,
}

struct Shared {
    inbox: Mutex<Inbox>,
    room: Condvar,
    waker: Arc<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // Nothing that runs under the lock can panic half-way.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is shared, and tells all who wait for that.
    fn update(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.lock());
        self.room.notify_all();
    }

    fn wake(&self) {
        // It fails only where the thread is gone.
        let _ = self.waker.wake();
    }
}

/// The element's handle of its session. All calls return at once but [`Client::wait_for_room`].
/// Dropping it ends the session, whatever the network does; an open connection is closed in order,
/// for which the thread may stay a little longer than the client.
pub struct Client {
    shared: Arc<Shared>,
    backlog_most: Length,
    thread: ThreadId,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

const WAKER: Token = Token(0);
/// How long dropping the client waits for the server to close too: the process may end right after.
/// Beyond it the thread finishes in the background.
const CLOSE_GRACE: Duration = Duration::from_millis(30);

impl Client {
    /// Starts the thread. It connects when the first audio comes, or by [`Client::connect`].
    pub fn start(config: Config, listener: impl Listener + 'static) -> Result<Client, Error> {
        Client::start_with(config, Resolver::system(), listener)
    }

    /// As [`Client::start`], with another way to look names up.
    pub fn start_with(
        config: Config,
        resolver: Arc<Resolver>,
        listener: impl Listener + 'static,
    ) -> Result<Client, Error> {
        let system = |e: io::Error| {
            let what = "The system has no room for another thread or socket poll.";
            Error::settings(what, e.to_string())
        };
        let poll = Poll::new().map_err(system)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(system)?);
        let connector = Connector::new(&config, resolver, waker.clone())?;
        let backlog_most = Session::backlog_most(&config);
        let shared = Arc::new(Shared { inbox: Mutex::default(), room: Condvar::new(), waker });
        // The address of a fresh allocation differs from element to element: enough for jitter.
        let seed = Arc::as_ptr(&shared) as u64;
        let listener: Arc<dyn Listener> = Arc::new(listener);
        let worker = Worker {
            shared: shared.clone(),
            session: Session::new(config, seed),
            connector,
            poll,
            listener: listener.clone(),
            start: Instant::now(),
            has_more: false,
        };
        let (thread, own) = (Builder::new().name("vllmrealtimeasr".into()), shared.clone());
        let thread = thread.spawn(move || run_guarded(worker, &own, listener)).map_err(system)?;
        Ok(Client { shared, backlog_most, thread: thread.thread().id() })
    }

    /// Returns the command's number.
    fn command(&self, command: impl FnOnce(&mut Session, u64, Duration) + Send + 'static) -> u64 {
        let mut inbox = self.shared.lock();
        inbox.numbers += 1;
        let number = inbox.numbers;
        let command = move |session: &mut Session, now| command(session, number, now);
        inbox.commands.push_back(Command::Other(Box::new(command)));
        drop(inbox);
        self.shared.wake();
        number
    }

    /// Whether the source is live: a live one never waits, it drops its oldest audio beyond
    /// `max_backlog`; otherwise the input waits.
    pub fn set_live(&self, live: bool) {
        self.shared.update(|inbox| inbox.live = live);
        self.command(move |session, _, _| session.set_live(live));
    }

    /// Paused, no audio is expected: words that are under way come now, and are not waited for
    /// until the source goes on.
    pub fn set_paused(&self, paused: bool) {
        self.command(move |session, _, now| session.set_paused(paused, now));
    }

    /// Model and language that are expected from the next utterance on.
    pub fn set_model(&self, model: String, language: Option<String>) {
        self.command(move |session, _, _| session.set_model(model, language));
    }

    /// Connect now, before there is audio.
    pub fn connect(&self) {
        self.command(|session, _, now| session.connect(now));
    }

    /// Waits until audio may be given; in a live pipeline only until the thread has taken what it
    /// was given before, which depends on nothing else.
    pub fn wait_for_room(&self) -> Room {
        let most = self.backlog_most;
        let waits = |i: &mut Inbox| {
            // A live source waits for this thread at most, which waits for nobody.
            let kept = if i.live { i.queued } else { i.backlog + i.queued };
            !i.interrupted && !i.failed && kept >= most
        };
        let mut inbox = self.shared.lock();
        if waits(&mut inbox) {
            // It may not have been told of the last of it.
            self.shared.wake();
        }
        let inbox =
            self.shared.room.wait_while(inbox, waits).unwrap_or_else(PoisonError::into_inner);
        match (inbox.failed, inbox.interrupted) {
            (true, _) => Room::Failed,
            (_, true) => Room::Interrupted,
            _ => Room::Yes,
        }
    }

    /// Ends any wait for room now and until [`Client::resume`].
    pub fn interrupt(&self) {
        self.shared.update(|inbox| inbox.interrupted = true);
    }

    pub fn resume(&self) {
        self.shared.lock().interrupted = false;
    }

    /// Audio that begins at `position`: where the last one ended, or later after `end_utterance`.
    pub fn audio(&self, position: Position, samples: Vec<i16>) {
        let mut inbox = self.shared.lock();
        inbox.queued += Length::of(&samples);
        inbox.commands.push_back(Command::Audio { position, samples, came: Instant::now() });
        let is_wanted = inbox.queued >= inbox.wanted;
        drop(inbox);
        if is_wanted {
            self.shared.wake();
        }
    }

    /// A pause: commit what there is, the next audio begins a new utterance. `position`: behind
    /// the last sample, or later where silence was skipped; no audio comes before it any more.
    pub fn end_utterance(&self, position: Position) {
        self.command(move |session, _, now| session.end_utterance(position, now));
    }

    /// The utterance that is open, if there is one, ends with what was given; the audio goes on.
    pub fn commit(&self) {
        self.command(|session, _, now| session.commit(now));
    }

    /// As `end_utterance`; when all words are out, [`Output::Drained`] comes with the number
    /// returned. It does not come where the session fails or is flushed before.
    pub fn drain(&self) -> u64 {
        self.command(Session::drain)
    }

    /// As `drain`, and no audio follows (EOS): the session fails where the words do not come and
    /// nothing moves for twice `response_timeout` and `connect_timeout`, unless `reconnect` is
    /// [`super::Reconnect::Forever`].
    pub fn finish(&self) -> u64 {
        self.command(Session::finish)
    }

    /// Forgets all audio and all words not yet out; [`Output::Flushed`] comes with the number
    /// returned. Positions go on counting.
    pub fn flush(&self) -> u64 {
        self.command(Session::flush)
    }

    pub fn stats(&self) -> Stats {
        self.shared.lock().stats
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.update(|inbox| (inbox.closed, inbox.interrupted) = (true, true));
        self.shared.wake();
        if self.thread == std::thread::current().id() {
            return;
        }
        // It waits for nothing but the poll that was just woken.
        let room = &self.shared.room;
        let ended = room.wait_while(self.shared.lock(), |i| i.thread < Thread::Ended);
        let ended = ended.unwrap_or_else(PoisonError::into_inner);
        drop(room.wait_timeout_while(ended, CLOSE_GRACE, |i| i.thread < Thread::Closed));
    }
}

/// A fault of this program ends the session with an error, and leaves nobody waiting.
fn run_guarded(worker: Worker, shared: &Shared, listener: Arc<dyn Listener>) {
    let _gone = Gone(shared);
    let network = std::panic::catch_unwind(AssertUnwindSafe(|| worker.run()));
    if network.is_err() {
        shared.update(|inbox| inbox.failed = true);
        let what = "The recognition failed by a fault of this element. Please report it, with a log of GST_DEBUG=vllmrealtimeasr:7.";
        listener.output(Output::Failed(Error::new(ErrorKind::Server, what, "")));
    }
    drop(listener);
    shared.update(|inbox| inbox.thread = Thread::Ended);
    if let Ok((poll, connector)) = network {
        close_all(poll, connector);
    }
}

/// The thread goes: nobody waits for it, whatever became of it.
struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.update(|inbox| inbox.thread = Thread::Closed);
    }
}

/// Leaves the last connections in order.
fn close_all(mut poll: Poll, mut connector: Connector) {
    let end = Instant::now() + lingering_close::PATIENCE;
    let mut events = Events::with_capacity(8);
    while !connector.has_closed_all() {
        let left = end.saturating_duration_since(Instant::now());
        let wait = if connector.has_more() { Duration::ZERO } else { left };
        match poll.poll(&mut events, Some(wait)) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
        events.iter().for_each(|event| connector.ready(event.token()));
        connector.turn();
    }
}

struct Worker {
    shared: Arc<Shared>,
    session: Session,
    connector: Connector,
    poll: Poll,
    listener: Arc<dyn Listener>,
    start: Instant,
    /// Audio that is wanted came meanwhile.
    has_more: bool,
}

impl Worker {
    /// Until the client is dropped; returns what is left of the network.
    fn run(mut self) -> (Poll, Connector) {
        let mut events = Events::with_capacity(64);
        loop {
            let closed = self.take_commands();
            self.session.time(self.now());
            if closed {
                self.session.shut_down();
            }
            self.act();
            self.deliver();
            if closed {
                return (self.poll, self.connector);
            }
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    self.connector.disconnect();
                    let (what, kind) = ("The system's socket poll failed.", ErrorKind::Unreachable);
                    let lost = Lost::new(kind, false, what, e.to_string());
                    self.session.disconnected(lost, self.now());
                    continue;
                }
            }
            for event in &events {
                if event.token() != WAKER {
                    self.connector.ready(event.token());
                }
            }
            self.hear();
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn timeout(&self) -> Option<Duration> {
        if self.has_more || self.connector.has_more() {
            return Some(Duration::ZERO);
        }
        let at = [self.session.wake_at(), self.connector.wake_at().map(|t| t - self.start)];
        let at = at.into_iter().flatten().min()?;
        // Not a moment too early: the poll rounds up to whole milliseconds by itself.
        Some(at.saturating_sub(self.now()))
    }

    fn take_commands(&mut self) -> bool {
        let mut inbox = self.shared.lock();
        let commands = std::mem::take(&mut inbox.commands);
        let queued = std::mem::take(&mut inbox.queued);
        inbox.backlog += queued;
        let closed = inbox.closed;
        drop(inbox);
        for command in commands {
            match command {
                Command::Audio { position, samples, came } => {
                    let came = came.saturating_duration_since(self.start);
                    self.session.audio(position, samples, came);
                }
                Command::Other(command) => command(&mut self.session, self.start.elapsed()),
            }
        }
        closed
    }

    /// Does what the session asks for.
    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect { server } => {
                    self.connector.ask_for(self.session.model());
                    self.connector.connect(&self.poll, server);
                }
                Action::Send(message) => self.connector.send(message),
                Action::Disconnect => self.connector.disconnect(),
            }
        }
        self.connector.flush();
    }

    /// Tells the session what the network brought.
    fn hear(&mut self) {
        self.connector.turn();
        // So many at a time, that a server which never stops does not keep the element waiting.
        for _ in 0..256 {
            let Some(event) = self.connector.poll_event(&self.poll) else { break };
            let now = self.now();
            match event {
                Event::Connected => self.session.connected(now),
                Event::Message(text) => {
                    if self.listener.reads_messages()
                        && let Some(event) = self.session.shown(&text)
                    {
                        self.listener.message(event);
                    }
                    self.session.message(&text, now);
                }
                Event::Binary(bytes) => self.session.binary(bytes, now),
                Event::Context(tokens) => self.session.set_context(tokens),
                Event::Lost(lost) => self.session.disconnected(lost, now),
            }
            self.act();
        }
    }

    /// Hands out what is known, and says how much room there is.
    fn deliver(&mut self) {
        let (session, has_more) = (&self.session, &mut self.has_more);
        self.shared.update(|inbox| {
            inbox.wanted = session.lacks();
            *has_more = inbox.queued > Length::ZERO && inbox.queued >= inbox.wanted;
            inbox.backlog = session.backlog();
            inbox.failed = session.has_failed();
            inbox.stats = session.stats();
        });
        let outputs: Vec<Output> = std::iter::from_fn(|| self.session.poll_output()).collect();
        if !outputs.is_empty() {
            self.listener.outputs(outputs);
        }
    }
}
