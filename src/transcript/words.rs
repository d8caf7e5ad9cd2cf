// SPDX-License-Identifier: MPL-2.0

//! Deltas to words, in every script.
