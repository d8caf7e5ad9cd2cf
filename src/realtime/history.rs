// SPDX-License-Identifier: MPL-2.0

//! Audio whose words are not safe yet, kept for replay.
