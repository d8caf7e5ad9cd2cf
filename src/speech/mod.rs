// SPDX-License-Identifier: MPL-2.0

//! Samples to speech or silence, and to the shape of the sound. Pure.

pub mod activity;
#[cfg(test)]
pub mod sample;
pub mod sound;
pub mod spectrum;
mod voice;

pub use activity::{Activity, ActivityConfig, Change};
pub use sound::Sound;
