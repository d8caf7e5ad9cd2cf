// SPDX-License-Identifier: MPL-2.0

//! A stand-in for a vLLM realtime server: it speaks `/v1/realtime` as vLLM does, traps included,
//! on any machine.
//!
//! ```no_run
//! use std::time::Duration;
//! use vllm_standin::{Standin, Script, When, What, Fault};
//!
//! let mut server = Standin::builder()
//!     .script(Script::text("hello big world"))
//!     .fault(Fault::new(When::Deltas(20), What::Cut).on_connection(0))
//!     .start()?;
//! println!("{}", server.url());
//! assert!(server.wait(|log| log.done() >= 1, Duration::from_secs(10)));
//! server.kill();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`Builder`] names all that can be set, [`Log`] all that can be seen, [`Script`] the format of
//! script files.

mod builder;
mod cadence;
mod connection;
mod events;
mod fault;
mod http;
mod log;
mod random;
pub mod score;
mod server;
mod session;
mod stream;
mod voice;

pub(crate) use builder::Config;
pub use builder::{Builder, Flavour};
pub use cadence::Cadence;
pub use cadence::segments::Edges;
pub use fault::{Fault, What, When};
pub use log::{ConnectionLog, GenerationLog, Log};
pub use random::Random;
pub use server::{Standin, Stopper};
pub use stream::Tls;
pub use voice::aligned::{Aligned, read_wav, read_words};
pub use voice::moonshine::{Moonshine, hear};
pub use voice::pocketsphinx::Pocketsphinx;
pub use voice::script::{Script, Utterance};
pub use voice::{TimedWord, Voice};
