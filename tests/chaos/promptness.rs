// SPDX-License-Identifier: MPL-2.0

//! Whatever the server or the network does, FLUSH and going to NULL wait for neither.

use crate::stuck::{KINDS, Kind, Out, WAYS, time_to_end};

/// Would not come back where it waited for one of the limits.
#[test]
fn nothing_waits_for_a_server_that_does_not_do_its_part() {
    for way in WAYS {
        for kind in KINDS {
            println!("{way:?} {kind:?}: {:?}", time_to_end(kind, way));
        }
    }
}

/// Twenty look-ups and connections that were left behind do no harm to each other.
#[test]
fn again_and_again() {
    for _ in 0..10 {
        for kind in [Kind::NoSuchName, Kind::BlackHole] {
            time_to_end(kind, Out::NullDuringEos);
        }
    }
}
