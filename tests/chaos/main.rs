// SPDX-License-Identifier: MPL-2.0

//! The real element over real sockets, with everything that can happen to them: whatever it is,
//! the transcript is the undisturbed one, word for word, each once.

mod element;
mod kills;
mod promptness;
mod proxied;
mod proxy;
mod speech;
mod stuck;
#[path = "../support/mod.rs"]
mod support;
