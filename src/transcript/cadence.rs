// SPDX-License-Identifier: MPL-2.0

//! Which kind of server this is, and what its rhythm says about time.
