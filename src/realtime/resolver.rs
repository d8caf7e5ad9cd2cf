// SPDX-License-Identifier: MPL-2.0

//! Resolves host names. The system's look-up cannot be interrupted, so it runs on a thread of its
//! own, which can be left behind; how many there may be is bounded.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::Builder;

use mio::Waker;
use once_cell::sync::Lazy;

/// Look-ups of one client that have not come back, at most.
pub const OF_A_CLIENT: usize = 4;
/// Those of all clients of a [`Resolver`]: one that is started again and again while the name
/// service hangs leaves some behind each time.
pub const OF_ALL: usize = 256;

/// What a look-up brings, when it comes back.
pub type Addresses = io::Result<Vec<SocketAddr>>;

/// Finds the addresses of a host; may block for as long as it likes.
type LookUp = dyn Fn(&str, u16) -> Addresses + Send + Sync;

/// Turns the name and port of a server into addresses.
pub struct Resolver {
    look_up: Box<LookUp>,
    running: Arc<AtomicUsize>,
}

impl Resolver {
    /// One that asks `look_up`, on a thread of its own each time.
    pub fn new(look_up: impl Fn(&str, u16) -> Addresses + Send + Sync + 'static) -> Arc<Resolver> {
        Arc::new(Resolver { look_up: Box::new(look_up), running: Arc::default() })
    }

    /// The system's, the same one for the whole process.
    pub fn system() -> Arc<Resolver> {
        static SYSTEM: Lazy<Arc<Resolver>> =
            Lazy::new(|| Resolver::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())));
        SYSTEM.clone()
    }
}

/// The look-ups of one client.
pub struct LookUps {
    resolver: Arc<Resolver>,
    running: Arc<AtomicUsize>,
    waker: Arc<Waker>,
}

impl LookUps {
    /// `waker` is told when an answer is there.
    pub fn new(resolver: Arc<Resolver>, waker: Arc<Waker>) -> LookUps {
        LookUps { resolver, running: Arc::default(), waker }
    }

    /// Begins one. Who drops the receiver leaves it behind. Fails where too many hang.
    pub fn begin(&self, host: String, port: u16) -> io::Result<Receiver<Addresses>> {
        let too_many = || io::Error::new(io::ErrorKind::ResourceBusy, "earlier look-ups hang");
        let own = Slot::take(&self.running, OF_A_CLIENT).ok_or_else(too_many)?;
        let all = Slot::take(&self.resolver.running, OF_ALL).ok_or_else(too_many)?;
        let (tell, answer) = channel();
        let (resolver, waker) = (self.resolver.clone(), self.waker.clone());
        Builder::new().name("vllmrealtimeasr-dns".into()).spawn(move || {
            let found = (resolver.look_up)(&host, port);
            drop((own, all));
            if tell.send(found).is_ok() {
                // It fails only where the client is gone.
                let _ = waker.wake();
            }
        })?;
        Ok(answer)
    }
}

/// One of a bounded number, given back when dropped: by a panic too.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(running: &Arc<AtomicUsize>, most: usize) -> Option<Slot> {
        let slot = Slot(running.clone());
        (running.fetch_add(1, Ordering::SeqCst) < most).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
