// SPDX-License-Identifier: MPL-2.0

//! The voice that really recognises, on the readings of Debian's `pocketsphinx-testdata`.

mod common;

use common::Client;
use common::readings::{readings, word_error_rate};
use vllm_standin::{Cadence, Pocketsphinx, Standin, Voice};

#[test]
fn word_error_rate_of_the_readings() {
    let voice = Pocketsphinx::new().unwrap_or_else(|why| panic!("{why}"));
    let server = Standin::builder()
        .voice(Voice::Pocketsphinx(voice))
        .cadence(Cadence::Arrival)
        .start()
        .unwrap();
    let mut client = Client::ready(&server.url());
    let rate = word_error_rate(&mut client, &readings());
    assert!(rate <= 0.45, "word error rate {rate:.3}");
    // Each word is a delta of its own.
    assert!(client.texts().iter().all(|t| t.starts_with(' ') && !t[1..].contains(' ')));
    assert_eq!(client.count("error"), 0);
}
