// SPDX-License-Identifier: MPL-2.0

//! All weathers: what sources, servers, gateways and people do, as it was reported. Each test
//! names the number of its report.

#[path = "../support/launch.rs"]
mod launch;
mod player;
mod segments;
mod server;
mod source;
#[path = "../chaos/speech.rs"]
mod speech;
mod stall;
#[path = "../support/mod.rs"]
mod support;
