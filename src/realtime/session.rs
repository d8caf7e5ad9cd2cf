// SPDX-License-Identifier: MPL-2.0

//! The state machine: no I/O, no clock of its own.
