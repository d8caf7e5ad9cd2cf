// SPDX-License-Identifier: MPL-2.0

//! The wire events.
