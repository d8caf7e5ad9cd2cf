// SPDX-License-Identifier: MPL-2.0

//! The examples, as a user runs them, with test sources in place of devices.

#[path = "support/launch.rs"]
mod launch;
mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use launch::*;
use support::*;

const TEXT: &str = "Tom & Ann saw 3 < 4. Then they went home, and all was well.";

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file that goes at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        Temporary(std::env::temp_dir().join(format!("example-{}-{name}", std::process::id())))
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn check(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn film(path: &Path) {
    run(&format!(
        "matroskamux name=m ! filesink location={} \
         videotestsrc pattern=black num-buffers=50 ! \
         video/x-raw,format=I420,width=320,height=180,framerate=10/1 ! vp8enc ! queue ! m. \
         audiotestsrc samplesperbuffer=1600 num-buffers=50 ! {CAPS} ! queue ! m.",
        path.display()
    ))
    .unwrap();
}

#[test]
fn files_of_text() {
    let server = server(TEXT);
    let (launcher, wav) = (Launcher::new(), Wav::new("example", 6));
    for (name, lines) in [
        ("srt", vec!["Tom & Ann saw 3 < 4.", "Then they went home, and all was well."]),
        ("vtt", vec!["WEBVTT", "Tom &amp; Ann saw 3 &lt; 4."]),
        ("text", vec!["Tom & Ann saw 3 < 4.\nThen they went home, and all was well.\n"]),
    ] {
        let out = Temporary::new(name);
        let script = example(&format!("file-to-{name}.sh"));
        let run = launcher.command(&script).arg(&wav.0).arg(&out.0).arg(server.url()).output();
        check(run.unwrap());
        let text = out.text();
        for line in lines {
            assert!(text.contains(line), "{name}: {text}");
        }
    }
}

#[test]
fn a_film_with_captions_and_a_camera() {
    let server = server(TEXT);
    let (launcher, input, out) =
        (Launcher::new(), Temporary::new("film.mkv"), Temporary::new("film.webm"));
    film(&input.0);
    let script = example("film-captions.sh");
    check(launcher.command(&script).arg(&input.0).arg(&out.0).arg(server.url()).output().unwrap());
    assert!(std::fs::metadata(&out.0).unwrap().len() > 5000);
    let camera = launcher
        .command(&example("camera-captions.sh"))
        .arg(server.url())
        .env("VIDEO", "videotestsrc is-live=true num-buffers=60")
        .env("AUDIO", "audiotestsrc is-live=true num-buffers=90")
        .env("SINK", "fakesink sync=true")
        .output();
    check(camera.unwrap());
}

#[test]
fn cues_in_python() {
    if std::process::Command::new("python3")
        .args(["-c", "import gi"])
        .status()
        .is_ok_and(|s| !s.success())
    {
        return println!("skipped: scripts/setup.sh test installs python3-gi");
    }
    let server = server(TEXT);
    let (launcher, wav) = (Launcher::new(), Wav::new("python", 6));
    let script = example("captions.py");
    let run = launcher.command(&script).arg(&wav.0).arg(server.url()).output().unwrap();
    assert!(check(run).contains("Tom & Ann saw 3 < 4."));
}

#[test]
fn transcribe_many_files() {
    let server = server(TEXT);
    let launcher = Launcher::new();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    // Beside the tests' own folder, by profile.
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let program = if profile.join("examples").is_dir() { profile } else { program };
    let program = program.join("examples/transcribe");
    let files = [Wav::new("many-1", 5), Wav::new("many-2", 5), Wav::new("many-3", 5)];
    let folder = Temporary::new("many");
    std::fs::create_dir_all(&folder.0).unwrap();
    let mut command = launcher.command(program.to_str().unwrap());
    command.args(["--format", "srt,vtt,txt,json", "--output-dir"]).arg(&folder.0);
    command.arg("--url").arg(server.url()).args(files.iter().map(|f| &f.0));
    check(command.output().unwrap());
    for file in &files {
        for format in ["srt", "vtt", "txt", "json"] {
            let name = file.0.with_extension(format);
            let text = std::fs::read_to_string(folder.0.join(name.file_name().unwrap())).unwrap();
            assert!(text.contains("went home"), "{format}: {text}");
        }
    }
    std::fs::remove_dir_all(&folder.0).unwrap();
    // One that is not there does not keep the others from being done.
    let mut command = launcher.command(program.to_str().unwrap());
    command.arg("--url").arg(server.url()).args(["/nowhere.wav", files[0].0.to_str().unwrap()]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let srt = Temporary(files[0].0.with_extension("srt"));
    assert!(srt.text().contains("went home"));
    let output = launcher.command(program.to_str().unwrap()).arg("--nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
