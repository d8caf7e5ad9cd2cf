// SPDX-License-Identifier: MPL-2.0

//! What is missed where one mechanism of the transcript is switched off.

use super::{FRAME, len, pos};
use crate::transcript::{Output, SampleInGeneration, Transcript, TranscriptConfig};
use crate::{SAMPLE_RATE, mechanism::Mechanism};

/// A sound without a pause.
fn loud(seconds: u64) -> Vec<i16> {
    (0..seconds * SAMPLE_RATE).map(|n| if n % 160 < 80 { 8000 } else { -8000 }).collect()
}

fn texts(t: &mut Transcript) -> Vec<String> {
    let word = |o| match o {
        Output::Word(w) => Some(w.text),
        _ => None,
    };
    std::iter::from_fn(|| t.poll()).filter_map(word).collect()
}

/// Words that were out by a coarse clock reach to the end of what is sent again, and that has one
/// word more.
#[test]
fn late_room_a_word_that_finds_no_room_is_told() {
    Mechanism::LateRoom.is_needed_by(|| {
        let mut t = Transcript::new(TranscriptConfig::default());
        t.audio(pos(0), &loud(10));
        t.begin(pos(0));
        t.delta(" One", SampleInGeneration::new(SAMPLE_RATE / 2), &[], None);
        t.delta(" two", SampleInGeneration::new(SAMPLE_RATE / 2), &[], None);
        // Nobody asked for this.
        t.done(" One two", None, &[]);
        let out_to = t.horizon();
        t.begin(t.resume_at());
        t.audio_end(out_to, len(0));
        t.done(" One two three", None, &[]);
        match texts(&mut t) {
            words if words == ["One", "two", "three"] => Ok(()),
            words => Err(format!("{words:?}")),
        }
    });
}

/// Speech over which the server said nothing is sent again after a failure, up to 20 s of it.
#[test]
fn rut_kept_speech_without_words_is_heard_again() {
    Mechanism::RutKept.is_needed_by(|| {
        let resume_after = |seconds: u64| {
            let mut t = Transcript::new(TranscriptConfig::default());
            t.audio(pos(0), &loud(seconds));
            t.begin(pos(0));
            for k in 0..seconds * SAMPLE_RATE / FRAME - 7 {
                t.delta(
                    if k == 10 { " word" } else { "" },
                    SampleInGeneration::new(9000 + FRAME * k),
                    &[],
                    None,
                );
            }
            assert_eq!(texts(&mut t), ["word"]);
            t.resume_at()
        };
        let (soon, late) = (resume_after(18), resume_after(60));
        if soon > pos(SAMPLE_RATE) {
            return Err(format!("from {soon} on, of 18 s"));
        }
        if !(37 * SAMPLE_RATE..41 * SAMPLE_RATE).contains(&late.samples()) {
            return Err(format!("from {late} on, of 60 s"));
        }
        Ok(())
    });
}

/// A word begins softly, while the one before it is still being told: by then the output is not
/// nearer than 300 ms to its loud part.
#[test]
fn onset_kept_a_soft_beginning_is_still_in_time() {
    Mechanism::OnsetKept.is_needed_by(|| {
        let mut t = Transcript::new(TranscriptConfig::default());
        let loud_from = 2 * SAMPLE_RATE;
        t.audio(pos(0), &loud(1));
        t.audio(pos(SAMPLE_RATE), &vec![0; SAMPLE_RATE as usize]);
        t.audio(pos(loud_from), &loud(2));
        t.begin(pos(0));
        for k in 0..30 {
            let text = match k {
                14 => " an",
                15..29 => "ti",
                _ => "",
            };
            t.delta(text, SampleInGeneration::new(9000 + FRAME * k), &[], None);
        }
        let early = loud_from.checked_sub(t.horizon().samples());
        if early >= Some(3 * SAMPLE_RATE / 10) { Ok(()) } else { Err(format!("{early:?} samples")) }
    });
}
