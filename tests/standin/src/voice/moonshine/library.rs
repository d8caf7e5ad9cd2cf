// SPDX-License-Identifier: MPL-2.0

//! `libmoonshine.so`, by its C interface (header version 20000). All that is unsafe is here.

use std::ffi::{CStr, CString, c_char};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use libloading::Library;

/// The interface that is spoken here.
const VERSION: i32 = 20_000;
/// `ModelArch.TINY`.
const TINY: u32 = 0;
const RATE: i32 = 16_000;

/// Its own detector of voices is switched off, as what it is given was chosen before, and so is
/// the one of speakers.
const OPTIONS: [(&CStr, &CStr); 3] = [
    (c"vad_threshold", c"0.0"),
    (c"identify_speakers", c"false"),
    (c"return_audio_data", c"false"),
];

/// `transcriber_option_t`.
#[repr(C)]
struct Setting {
    name: *const c_char,
    value: *const c_char,
}

/// `transcript_line_t`.
#[repr(C)]
struct Line {
    text: *const c_char,
    audio: *const f32,
    audio_count: usize,
    start: f32,
    duration: f32,
    id: u64,
    is_complete: i8,
    is_updated: i8,
    is_new: i8,
    has_text_changed: i8,
    has_speaker: i8,
    speaker: u64,
    speaker_index: u32,
    latency_ms: u32,
}

/// `transcript_t`.
#[repr(C)]
struct Transcript {
    lines: *const Line,
    count: u64,
}

/// Models that nobody uses now. Version 0.0.49 breaks where one is loaded after another was freed: so
/// none is.
static SPARE: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// Its table of models has no lock of its own: it is changed by one thread, or read by several.
static TABLE: RwLock<()> = RwLock::new(());

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// Of glibc, which the wheel needs anyway.
    fn mallopt(parameter: i32, value: i32) -> i32;
}

#[cfg(target_env = "gnu")]
const M_MMAP_THRESHOLD: i32 = -3;
/// What it takes for a hearing comes and goes in all sizes: larger pieces go back to the system at once,
/// or the heap grows by a megabyte with each. What is left is 130 KB that it never frees.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 64 * 1024;

type Load = unsafe extern "C" fn(*const c_char, u32, *const Setting, u64, i32) -> i32;
type Transcribe =
    unsafe extern "C" fn(i32, *const f32, u64, i32, u32, *mut *const Transcript) -> i32;
type Explain = unsafe extern "C" fn(i32) -> *const c_char;

/// The functions, for the life of the process: ONNX Runtime cannot be unloaded.
#[derive(Clone, Copy)]
struct Functions {
    load: Load,
    transcribe: Transcribe,
    explain: Explain,
}

impl Functions {
    fn open(file: &Path) -> Result<Functions, String> {
        let failed = |e: libloading::Error| format!("cannot open {}: {e}", file.display());
        // SAFETY: any value is allowed.
        #[cfg(target_env = "gnu")]
        unsafe {
            mallopt(M_MMAP_THRESHOLD, LARGE)
        };
        // SAFETY: the library's initialisers are those of ONNX Runtime and the C++ runtime, and the
        // types are those of its header.
        unsafe {
            let library = ManuallyDrop::new(Library::new(file).map_err(failed)?);
            Ok(Functions {
                load: *library
                    .get::<Load>(b"moonshine_load_transcriber_from_files\0")
                    .map_err(failed)?,
                transcribe: *library
                    .get::<Transcribe>(b"moonshine_transcribe_without_streaming\0")
                    .map_err(failed)?,
                explain: *library.get::<Explain>(b"moonshine_error_to_string\0").map_err(failed)?,
            })
        }
    }

    fn error(&self, code: i32) -> String {
        // SAFETY: it takes any number, and what it returns is a static string, or null.
        let text = unsafe {
            let text = (self.explain)(code);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        text.unwrap_or_else(|| format!("error {code}"))
    }
}

#[derive(Clone)]
struct Loaded {
    folder: PathBuf,
    functions: Functions,
    handle: i32,
}

/// A model that is loaded. One call at a time: its answer lies in its own memory until the next.
pub struct Model(Loaded);

impl Model {
    /// `folder`: the wheel of `moonshine-voice` 0.0.49, unzipped.
    pub fn load(folder: &Path) -> Result<Model, String> {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = spare.iter().position(|m| m.folder == folder) {
            return Ok(Model(spare.swap_remove(i)));
        }
        drop(spare);
        let package = folder.join("moonshine_voice");
        let functions = Functions::open(&package.join("libmoonshine.so"))?;
        let weights = package.join("assets/tiny-en");
        let path = CString::new(weights.as_os_str().as_encoded_bytes())
            .map_err(|_| format!("no path is {}", weights.display()))?;
        let settings =
            OPTIONS.map(|(name, value)| Setting { name: name.as_ptr(), value: value.as_ptr() });
        let table = TABLE.write();
        // SAFETY: all pointers are valid for the call, and it keeps none of them.
        let handle = unsafe {
            (functions.load)(path.as_ptr(), TINY, settings.as_ptr(), settings.len() as u64, VERSION)
        };
        drop(table);
        if handle < 0 {
            let why = functions.error(handle);
            return Err(format!("cannot load the model in {}: {why}", weights.display()));
        }
        Ok(Model(Loaded { folder: folder.to_owned(), functions, handle }))
    }

    /// What is said in these samples.
    pub fn transcribe(&mut self, samples: &[f32]) -> Result<String, String> {
        let _table = TABLE.read();
        let mut transcript: *const Transcript = std::ptr::null();
        // SAFETY: the samples are valid for the call; the answer is null, or valid until the next call
        // with this handle, which `&mut self` keeps away.
        unsafe {
            let code = (self.0.functions.transcribe)(
                self.0.handle,
                samples.as_ptr(),
                samples.len() as u64,
                RATE,
                0,
                &raw mut transcript,
            );
            if code != 0 {
                return Err(self.0.functions.error(code));
            }
            let Some(transcript) = transcript.as_ref().filter(|t| !t.lines.is_null()) else {
                return Ok(String::new());
            };
            let lines = std::slice::from_raw_parts(transcript.lines, transcript.count as usize);
            let texts = lines.iter().filter(|line| !line.text.is_null());
            let texts = texts.map(|line| CStr::from_ptr(line.text).to_string_lossy());
            Ok(texts.collect::<Vec<_>>().join(" "))
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0.clone());
    }
}
