// SPDX-License-Identifier: MPL-2.0

//! Samples to speech or silence, and to the shape of the sound. Pure.

pub mod activity;
pub mod features;
pub mod filterbank;
#[cfg(test)]
pub mod sample;
mod voice;

pub use activity::{Activity, ActivityConfig, Change};
pub use features::Features;
