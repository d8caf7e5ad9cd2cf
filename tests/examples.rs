// SPDX-License-Identifier: MPL-2.0

//! The examples, as a user runs them, with test sources in place of devices.

#[path = "support/launch.rs"]
mod launch;
#[path = "chaos/speech.rs"]
mod speech;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;

use launch::*;
use support::*;

const TEXT: &str = "Tom & Ann saw 3 < 4. Then they went home, and all was well.";

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A Python with bindings of GStreamer.
fn python() -> &'static str {
    let has_gi = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import gi"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|s| s.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_gi);
    found.expect("scripts/setup.sh test installs python3-gi")
}

/// An example that cargo has built.
fn built(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    // Beside the tests' own folder, by profile.
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let program = if profile.join("examples").is_dir() { profile } else { program };
    program.join("examples").join(name)
}

/// Somebody speaks, for 7 s.
const SPEECH: &str =
    "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav";

/// A file or folder that goes at the end.
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
        let _ = std::fs::remove_dir_all(&self.0);
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

/// Python code with the validator of `scripts/setup.sh long`, on a file.
const VALIDATE: &str = "\
import sys, webvtt
path = sys.argv[1]
def seconds(time):
    hours, minutes, rest = time.split(':')
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)
for cue in webvtt.from_srt(path) if path.endswith('srt') else webvtt.read(path):
    print(seconds(cue.start), seconds(cue.end), cue.text.replace('\\n', '|'), sep='\\t')
";

/// As broadcasters have them: none shorter than 1 s or longer than it may be, none too fast that
/// could be longer, no overlap, no line too long; and a validator takes them.
#[test]
fn long_subtitles_are_valid_and_can_be_read() {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let wheel = std::fs::read_dir(target.join("webvtt")).ok().and_then(|mut f| f.next());
    let wheel = wheel.expect("scripts/setup.sh long gets the validator");
    let speech = speech::Speech::readings(16_000);
    let sound: Vec<u8> = speech.samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let reader = vllm_standin::Standin::builder().aligned(speech.voice()).start().unwrap();
    let marks = server(TEXT);
    let (launcher, wav, read) =
        (Launcher::new(), Wav::new("valid", 6), Wav::of("valid-speech", &sound));
    for format in ["srt", "vtt"] {
        for (sound, url, text) in
            [(&wav, marks.url(), TEXT.to_owned()), (&read, reader.url(), speech.text().join(" "))]
        {
            let out = Temporary::new(&format!("valid.{format}"));
            let mut script = launcher.command(&example(&format!("file-to-{format}.sh")));
            check(script.arg(&sound.0).arg(&out.0).arg(url).output().unwrap());
            let cues = Command::new("python3")
                .args(["-c", VALIDATE])
                .arg(&out.0)
                .env("PYTHONPATH", wheel.as_ref().unwrap().path())
                .output();
            let cues = check(cues.unwrap());
            let cues: Vec<(f64, f64, Vec<&str>)> = cues
                .lines()
                .map(|line| {
                    let fields: Vec<&str> = line.split('\t').collect();
                    let time = |n: usize| fields[n].parse::<f64>().unwrap();
                    (time(0), time(1), fields[2].split('|').collect())
                })
                .collect();
            let all: Vec<&str> = cues.iter().flat_map(|c| c.2.iter().copied()).collect();
            let all = all.join(" ").replace("&amp;", "&").replace("&lt;", "<");
            assert_eq!(all, text, "{format}");
            for (n, (begin, end, lines)) in cues.iter().enumerate() {
                let next = cues.get(n + 1).map_or(f64::MAX, |c| c.0);
                assert!(*end <= next, "{cues:?}");
                let needed = lines.iter().map(|l| l.chars().count()).sum::<usize>() as f64 / 20.0;
                let stands = end - begin;
                assert!(stands >= 0.999, "{cues:?}");
                assert!(stands >= needed - 0.001 || next - end < 0.001, "{cues:?}");
                assert!(lines.len() <= 2 && lines.iter().all(|l| l.chars().count() <= 46));
            }
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
    let python = python();
    let server = server(TEXT);
    let (launcher, wav) = (Launcher::new(), Wav::new("python", 6));
    let script = example("captions.py");
    let run = launcher.command(python).arg(&script).arg(&wav.0).arg(server.url()).output().unwrap();
    assert!(check(run).contains("Tom & Ann saw 3 < 4."));
}

#[test]
fn transcribe_many_files() {
    let server = server(TEXT);
    let launcher = Launcher::new();
    let program = built("transcribe");
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

#[test]
fn words_from_the_bus() {
    let server = server(TEXT);
    let (launcher, wav) = (Launcher::new(), Wav::new("bus", 6));
    let c = Temporary::new("words");
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "gstreamer-1.0"]).output();
    let flags = String::from_utf8(flags.unwrap().stdout).unwrap();
    let compiled = Command::new("cc")
        .args(["-Wall", "-Werror", "-o"])
        .args([c.0.to_str().unwrap(), &example("words.c")])
        .args(flags.split_whitespace())
        .output();
    check(compiled.unwrap());
    let mut programs =
        vec![vec![c.0.display().to_string()], vec![built("words").display().to_string()]];
    programs.push(vec![python().to_owned(), example("words.py")]);
    for program in programs {
        let mut command = launcher.command(&program[0]);
        let output = command.args(&program[1..]).arg(&wav.0).arg(server.url()).output().unwrap();
        let words = check(output);
        let last = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
        let words: Vec<String> = words.lines().map(last).collect();
        assert_eq!(words.join(" "), TEXT, "{program:?}");
    }
}

#[test]
fn words_of_the_microphone() {
    let server = server(TEXT);
    let launcher = Launcher::new();
    let output = launcher
        .command(&example("microphone.sh"))
        .arg(server.url())
        .env("AUDIO", format!("filesrc location={SPEECH} ! wavparse"))
        .output();
    let lines = check(output.unwrap());
    let words = lines.lines().filter(|line| line.contains("vllmrealtimeasr/word, ")).count();
    assert_eq!(words, TEXT.split(' ').count(), "{lines}");
}

#[test]
fn captions_in_a_window() {
    let server = server(TEXT);
    let launcher = Launcher::new();
    let output = launcher
        .command(built("window").to_str().unwrap())
        .arg(server.url())
        .env("AUDIO", format!("filesrc location={SPEECH} ! wavparse"))
        .env("SINK", "identity eos-after=150 ! fakesink sync=true")
        .output();
    let lines = check(output.unwrap());
    assert!(lines.lines().count() > 5 && lines.contains("s behind"), "{lines}");
}

/// Text of a subtitle track.
fn subtitles(file: &Path, pad: &str) -> String {
    init();
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! matroskademux name=d d.{pad} ! queue ! fakesink name=text",
        file.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let heard = Arc::new(std::sync::Mutex::new(String::new()));
    let all = Arc::clone(&heard);
    let pad = pipeline.by_name("text").unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            let mut all = all.lock().unwrap();
            *all += &String::from_utf8_lossy(&buffer.map_readable().unwrap());
            all.push(' ');
        }
        gst::PadProbeReturn::Ok
    });
    play(&pipeline);
    let heard = heard.lock().unwrap();
    // It comes as markup.
    let text = heard.replace("&amp;", "&").replace("&lt;", "<");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_film_in_two_languages() {
    let server = server(TEXT);
    let (launcher, input, output) =
        (Launcher::new(), Temporary::new("two.mkv"), Temporary::new("subtitles.mkv"));
    let sound = format!(
        "filesrc location={SPEECH} ! wavparse ! audioconvert ! audioresample ! vorbisenc ! queue ! m."
    );
    run(&format!(
        "matroskamux name=m ! filesink location={} {sound} {sound} \
         videotestsrc num-buffers=70 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 ! \
         vp8enc ! queue ! m.",
        input.0.display()
    ))
    .unwrap();
    let script = example("two-languages.sh");
    let run = launcher
        .command(&script)
        .args([&input.0, &output.0])
        .args(["en", "fr", &server.url()])
        .output();
    check(run.unwrap());
    for pad in ["subtitle_0", "subtitle_1"] {
        assert_eq!(subtitles(&output.0, pad), TEXT);
    }
}

#[test]
fn files_of_some_seconds() {
    let server = server(TEXT);
    let folder = Temporary::new("split");
    std::fs::create_dir_all(&folder.0).unwrap();
    let launcher = Launcher::new();
    let run = launcher
        .command(&example("split-files.sh"))
        .arg(&folder.0)
        .args(["3", &server.url()])
        .env("VIDEO", "videotestsrc is-live=true num-buffers=70 ! video/x-raw,width=64,height=48,framerate=10/1")
        .env("AUDIO", format!("filesrc location={SPEECH} ! wavparse"))
        .output();
    check(run.unwrap());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder.0).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    let text: Vec<String> = files.iter().map(|f| subtitles(f, "subtitle_0")).collect();
    assert_eq!(text.join(" ").trim(), TEXT);
}

#[test]
fn a_page_for_a_browser() {
    let server = server(TEXT);
    let (input, folder) = (Temporary::new("page.mkv"), Temporary::new("page"));
    run(&format!(
        "matroskamux name=m ! filesink location={} \
         videotestsrc num-buffers=70 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 ! \
         vp8enc ! queue ! m. \
         filesrc location={SPEECH} ! wavparse ! queue ! m.",
        input.0.display()
    ))
    .unwrap();
    let script = example("web-page.sh");
    let launcher = Launcher::new();
    let mut command = launcher.command(&script);
    check(command.arg(&input.0).arg(&folder.0).arg(server.url()).output().unwrap());
    let cues = std::fs::read_to_string(folder.0.join("captions.vtt")).unwrap();
    assert!(cues.contains("Tom &amp; Ann saw 3 &lt; 4."), "{cues}");
    let page = std::fs::read_to_string(folder.0.join("index.html")).unwrap();
    assert!(page.contains("film.webm") && page.contains("data:text/vtt;base64,"), "{page}");
    assert!(std::fs::metadata(folder.0.join("film.webm")).unwrap().len() > 5000);
}

/// A script that goes on until it is told to end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `timeout` hands it on.
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Two ports in a row that nobody has.
fn ports() -> [u16; 2] {
    [(); 2].map(|()| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    })
}

/// Sends a black picture and speech, until letters are on what comes back.
fn watch(launch: &str) {
    init();
    let pipeline = gst::parse::launch(launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let seen = Arc::new(AtomicBool::new(false));
    let letters = Arc::clone(&seen);
    pipeline.by_name("v").unwrap().static_pad("sink").unwrap().add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            if let Some(buffer) = info.buffer() {
                let map = buffer.map_readable().unwrap();
                letters.fetch_or(map.iter().any(|p| *p > 150), Ordering::SeqCst);
            }
            gst::PadProbeReturn::Ok
        },
    );
    let _ = pipeline.set_state(gst::State::Playing);
    let bus = pipeline.bus().unwrap();
    let end = std::time::Instant::now() + DEADLINE;
    let mut error = None;
    while !seen.load(Ordering::SeqCst) && std::time::Instant::now() < end && error.is_none() {
        error = bus.timed_pop_filtered(100 * MS, &[gst::MessageType::Error]);
    }
    let _ = pipeline.set_state(gst::State::Null);
    assert!(seen.load(Ordering::SeqCst), "no captions come back: {error:?}");
}

const PICTURE: &str = "videotestsrc is-live=true pattern=black ! \
     video/x-raw,format=I420,width=320,height=180,framerate=10/1";

/// Over and over.
fn speech() -> String {
    format!(
        "multifilesrc location={SPEECH} loop=true ! rawaudioparse pcm-format=s16le sample-rate=16000 \
         num-channels=1 ! clocksync ! audioconvert ! audioresample"
    )
}

#[test]
fn long_rtp_in_and_out() {
    let server = server(TEXT);
    let (launcher, [video, audio], [out, sound]) = (Launcher::new(), ports(), ports());
    let _script = Running(
        launcher
            .command(&example("rtp-captions.sh"))
            .arg(server.url())
            .env("PORTS", format!("{video} {audio}"))
            .env("OUT_PORTS", format!("{out} {sound}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    watch(&format!(
        "{PICTURE} ! vp8enc deadline=1 keyframe-max-dist=5 ! rtpvp8pay ! \
         udpsink host=127.0.0.1 port={video} \
         {} ! opusenc ! rtpopuspay ! udpsink host=127.0.0.1 port={audio} \
         udpsrc port={out} caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=VP8 ! \
         rtpjitterbuffer ! rtpvp8depay ! vp8dec ! videoconvert ! video/x-raw,format=GRAY8 ! \
         fakesink name=v async=false",
        speech()
    ));
}

#[test]
fn long_srt_in_and_out() {
    let server = server(TEXT);
    let (launcher, [input, output]) = (Launcher::new(), ports());
    let _script = Running(
        launcher
            .command(&example("srt-captions.sh"))
            .arg(format!("srt://:{input}?mode=listener"))
            .arg(format!("srt://:{output}?mode=listener"))
            .arg(server.url())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    watch(&format!(
        "{PICTURE} ! openh264enc gop-size=5 ! h264parse ! queue ! m. \
         {} ! avenc_aac ! aacparse ! queue ! m. \
         mpegtsmux name=m alignment=7 ! srtsink uri=srt://127.0.0.1:{input}?mode=caller async=false \
         srtsrc uri=srt://127.0.0.1:{output}?mode=caller ! tsdemux ! h264parse ! avdec_h264 ! \
         videoconvert ! video/x-raw,format=GRAY8 ! fakesink name=v async=false",
        speech()
    ));
}

/// By a server as streamers have them.
#[test]
fn long_rtmp_in_and_out() {
    let server = server(TEXT);
    let (launcher, [port, _]) = (Launcher::new(), ports());
    let config = Temporary::new("rtmp.conf");
    let error_log = Temporary::new("rtmp.log");
    let pid = Temporary::new("rtmp.pid");
    let text = format!(
        "load_module modules/ngx_rtmp_module.so; daemon off; master_process off; pid {};\n\
         error_log {}; events {{}}\n\
         rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}\n",
        pid.0.display(),
        error_log.0.display()
    );
    std::fs::write(&config.0, text).unwrap();
    let mut nginx = Command::new("/usr/sbin/nginx");
    let arguments =
        [["-c".as_ref(), config.0.as_os_str()], ["-e".as_ref(), error_log.0.as_os_str()]];
    let _nginx = Running(
        nginx.args(arguments.concat()).spawn().expect("scripts/setup.sh long installs nginx"),
    );
    let end = std::time::Instant::now() + DEADLINE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(std::time::Instant::now() < end, "{}", error_log.text());
        std::thread::yield_now();
    }
    let stream = |name: &str| format!("rtmp://127.0.0.1:{port}/live/{name}");
    let _script = Running(
        launcher
            .command(&example("rtmp-captions.sh"))
            .args([stream("in"), stream("out"), server.url()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    watch(&format!(
        "{PICTURE} ! openh264enc gop-size=5 ! h264parse ! queue ! m. \
         {} ! avenc_aac ! aacparse ! queue ! m. \
         flvmux name=m streamable=true ! rtmp2sink location={} async=false \
         rtmp2src location={} ! flvdemux name=d d.audio ! queue ! fakesink async=false \
         d.video ! queue ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=GRAY8 ! \
         fakesink name=v async=false",
        speech(),
        stream("in"),
        stream("out")
    ));
}
