// SPDX-License-Identifier: MPL-2.0

//! Samples to speech or silence, and to the classes of their sounds. Pure.

pub mod activity;
pub mod class;
pub mod features;
pub mod filterbank;
mod network;
#[cfg(test)]
pub mod sample;
mod surroundings;
mod voice;

pub use activity::{Activity, ActivityConfig, Change};
pub use features::Features;
