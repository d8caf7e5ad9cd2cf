// SPDX-License-Identifier: MPL-2.0

//! Really recognised, by Debian's `gstreamer1.0-pocketsphinx` (English, on the CPU).

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gst::prelude::*;

use super::{RATE, Speech, Word};

/// Silence around the audio of a generation: the recogniser needs some to find speech in it.
const PAD: usize = RATE as usize / 5;
/// The audio is made softer by this factor. Measured on five LibriVox readings: word error rate
/// 0.32 at 1.0, 0.27 at 0.7, 0.25 at 0.35, 0.27 at 0.25.
const GAIN: f32 = 0.35;
/// Bytes that wait for the recogniser, in memory.
const QUEUE: u64 = 60 * 2 * RATE;
/// Recognisers that are kept for the next generation: loading one takes half a second.
const KEPT: usize = 2;

/// The recogniser's settings.
#[derive(Debug, Clone, Default)]
pub struct Pocketsphinx {
    /// Further properties of the element, as `name=value`.
    pub properties: Vec<(String, String)>,
    ready: Arc<Mutex<Vec<Recogniser>>>,
}

fn init() -> Result<(), String> {
    static INIT: OnceLock<Result<(), String>> = OnceLock::new();
    INIT.get_or_init(|| gst::init().map_err(|e| e.to_string())).clone()
}

impl Pocketsphinx {
    /// Checks that the element is there, and loads its model.
    ///
    /// # Errors
    /// The element or its model is missing.
    pub fn new() -> Result<Self, String> {
        let voice = Pocketsphinx::default();
        let recogniser = Recogniser::new(&voice.properties)?;
        voice.keep(recogniser);
        Ok(voice)
    }

    fn keep(&self, recogniser: Recogniser) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() < KEPT {
            ready.push(recogniser);
        }
    }

    pub(crate) fn speech(&self) -> Recognised {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let recogniser = match ready {
            Some(recogniser) => Ok(recogniser),
            None => Recogniser::new(&self.properties),
        };
        let speech = match recogniser {
            Ok(recogniser) => Recognised {
                recogniser: Some(recogniser),
                words: VecDeque::new(),
                heard: 0,
                ids: 0,
                over: false,
            },
            Err(why) => {
                eprintln!("vllm-standin: {why}");
                Recognised {
                    recogniser: None,
                    words: VecDeque::new(),
                    heard: 0,
                    ids: 0,
                    over: true,
                }
            }
        };
        // The next one loads while this one listens.
        let voice = self.clone();
        let _ = std::thread::Builder::new().name("standin-model".into()).spawn(move || {
            if voice.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
                && let Ok(recogniser) = Recogniser::new(&voice.properties)
            {
                voice.keep(recogniser);
            }
        });
        speech
    }
}

/// What a recogniser tells.
enum Heard {
    Text(String),
    Over,
}

/// A pipeline with one recogniser, for one generation: so none inherits another's noise level.
#[derive(Debug)]
struct Recogniser {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    heard: Receiver<Heard>,
}

impl Recogniser {
    fn new(properties: &[(String, String)]) -> Result<Self, String> {
        init()?;
        let missing = |name: &str| {
            format!("GStreamer element {name} is missing: install gstreamer1.0-pocketsphinx")
        };
        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("rate", RATE as i32)
            .field("channels", 1)
            .field("layout", "interleaved")
            .build();
        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .max_bytes(QUEUE)
            .build();
        let sphinx = gst::ElementFactory::make("pocketsphinx")
            .build()
            .map_err(|_| missing("pocketsphinx"))?;
        // The second pass costs time, and words: word error rate 0.35 with it, 0.32 without.
        sphinx.set_property("fwdflat", false);
        for (name, value) in properties {
            if sphinx.find_property(name).is_none() {
                return Err(format!("pocketsphinx has no property {name}"));
            }
            sphinx.set_property_from_str(name, value);
        }
        let (sender, heard) = channel();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .callbacks(callbacks(sender))
            .build();
        let pipeline = gst::Pipeline::new();
        pipeline
            .add_many([source.upcast_ref(), &sphinx, sink.upcast_ref()])
            .and_then(|()| {
                gst::Element::link_many([source.upcast_ref(), &sphinx, sink.upcast_ref()])
            })
            .map_err(|e| e.to_string())?;
        // This loads the model.
        pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| "pocketsphinx does not start: install pocketsphinx-en-us".to_owned())?;
        Ok(Recogniser { pipeline, source, heard })
    }

    fn push(&self, samples: &[i16]) {
        let softer = samples.iter().map(|&s| (f32::from(s) * GAIN).round() as i16);
        let bytes: Vec<u8> = softer.flat_map(i16::to_le_bytes).collect();
        let _ = self.source.push_buffer(gst::Buffer::from_mut_slice(bytes));
    }
}

impl Drop for Recogniser {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn callbacks(sender: Sender<Heard>) -> gst_app::AppSinkCallbacks {
    let over = sender.clone();
    gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let map = sample.buffer().and_then(|b| b.map_readable().ok());
            let text = map.map(|m| String::from_utf8_lossy(&m).into_owned()).unwrap_or_default();
            // Nobody listens any more: the connection is gone.
            sender.send(Heard::Text(text)).map_err(|_| gst::FlowError::Eos)?;
            Ok(gst::FlowSuccess::Ok)
        })
        .eos(move |_| {
            let _ = over.send(Heard::Over);
        })
        .build()
}

/// The recogniser's words in one generation.
#[derive(Debug)]
pub struct Recognised {
    recogniser: Option<Recogniser>,
    words: VecDeque<Word>,
    heard: u64,
    ids: u64,
    over: bool,
}

impl Recognised {
    /// Takes what was recognised. A hypothesis is given out where the recogniser itself has ended
    /// an utterance: it never changes.
    fn take(&mut self) {
        let Some(recogniser) = &self.recogniser else { return };
        while let Ok(heard) = recogniser.heard.try_recv() {
            match heard {
                Heard::Over => self.over = true,
                Heard::Text(text) => {
                    for word in text.split_whitespace() {
                        self.ids += 1;
                        self.words.push_back(Word {
                            text: word.into(),
                            begin: 0,
                            end: 0,
                            id: self.ids,
                        });
                    }
                }
            }
        }
    }
}

impl Speech for Recognised {
    fn hear(&mut self, samples: &[i16]) {
        if let Some(recogniser) = &self.recogniser {
            if self.heard == 0 {
                recogniser.push(&[0; PAD]);
            }
            recogniser.push(samples);
        }
        self.heard += samples.len() as u64;
        self.take();
    }

    fn end(&mut self) {
        if let Some(recogniser) = &self.recogniser {
            recogniser.push(&[0; PAD]);
            let _ = recogniser.source.end_of_stream();
        }
    }

    fn next_word(&mut self) -> Option<Word> {
        self.take();
        self.words.pop_front()
    }

    fn busy(&self) -> bool {
        self.recogniser.as_ref().is_some_and(|r| r.source.current_level_bytes() > QUEUE)
    }

    fn finished(&mut self) -> bool {
        self.take();
        self.over
    }
}
