// SPDX-License-Identifier: MPL-2.0

//! Files and `gst-launch-1.0` for the tests of whole pipelines.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::*;

/// A WAV file with so many seconds of soft buzz, removed at the end.
pub struct Wav(pub PathBuf);

impl Wav {
    pub fn new(name: &str, seconds: u64) -> Wav {
        init();
        let sound = audio(gst::ClockTime::ZERO, 1000 * seconds);
        Wav::of(name, &sound.map_readable().unwrap())
    }

    /// Of these bytes.
    pub fn of(name: &str, sound: &[u8]) -> Wav {
        let path = std::env::temp_dir().join(format!("element-{}-{name}.wav", std::process::id()));
        let mut wav = Vec::new();
        wav.extend(b"RIFF");
        wav.extend((36 + sound.len() as u32).to_le_bytes());
        wav.extend(b"WAVEfmt ");
        wav.extend(16_u32.to_le_bytes());
        for (value, bytes) in [(1, 2), (1, 2), (16_000, 4), (32_000, 4), (2, 2), (16, 2)] {
            wav.extend(&u32::to_le_bytes(value)[..bytes]);
        }
        wav.extend(b"data");
        wav.extend((sound.len() as u32).to_le_bytes());
        wav.extend(sound);
        std::fs::write(&path, wav).unwrap();
        Wav(path)
    }
}

impl Drop for Wav {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl std::fmt::Display for Wav {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

/// `gst-launch-1.0` with the plugin as it was built for this test.
pub struct Launcher(PathBuf);

impl Launcher {
    pub fn new() -> Launcher {
        let dependencies = std::env::current_exe().unwrap();
        let library = dependencies.parent().unwrap().join("libgstvllmrealtime.so");
        // A folder with nothing else in it: GStreamer loads all that it finds.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("launch-{}", rand()));
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(&library, folder.join("libgstvllmrealtime.so")).unwrap();
        Launcher(folder)
    }

    /// A file that goes with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// With another plugin, too.
    pub fn add(&self, library: &Path) {
        std::os::unix::fs::symlink(
            library,
            self.file(library.file_name().unwrap().to_str().unwrap()),
        )
        .unwrap();
    }

    /// `key`: the API key in the environment.
    pub fn run(&self, arguments: &str, key: &str) -> Output {
        let mut launch = self.command("gst-launch-1.0");
        launch.args(arguments.split_whitespace()).env("VLLM_API_KEY", key).output().unwrap()
    }

    /// A program that finds the plugin.
    pub fn command(&self, program: &str) -> Command {
        // `timeout` stands in for a deadline: it only ends what hangs.
        let mut command = Command::new("timeout");
        command
            .args(["60", program])
            .env("GST_PLUGIN_PATH", &self.0)
            .env("GST_REGISTRY", self.0.join("registry.bin"));
        command
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn gst_launch(arguments: &str) -> Output {
    Launcher::new().run(arguments, "")
}

/// A number that no other test has.
fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
