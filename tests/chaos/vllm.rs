// SPDX-License-Identifier: MPL-2.0

//! A real vLLM, killed and restarted under a running pipeline, and at its context limit again and
//! again: every frame of audio is accounted for. `scripts/test.sh --vllm` runs these; `VLLM_CPU`
//! names the folder with vLLM.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::element::{Run, assert_accounted, element, stat, try_transcribe};
use crate::speech::Speech;

const RATE: u64 = 16_000;
/// From the start of a server to its `/health`, on a machine that does much else.
const START: Duration = Duration::from_secs(240);

/// Memory for one real server at a time.
static ONE: Mutex<()> = Mutex::new(());

struct Real {
    folder: PathBuf,
    model: &'static str,
    max_len: u32,
    port: u16,
    child: Option<Child>,
    starts: usize,
}

impl Real {
    fn new(model: &'static str, max_len: u32) -> Real {
        let folder = std::env::var_os("VLLM_CPU").expect("VLLM_CPU names the folder of vLLM");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut real = Real { folder: folder.into(), model, max_len, port, child: None, starts: 0 };
        real.start();
        real
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/realtime", self.port)
    }

    /// Starts it, and waits until it is ready.
    fn start(&mut self) {
        self.kill();
        self.starts += 1;
        let log = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("vllm-{}-{}-{}.log", self.model, self.port, self.starts));
        let file = File::create(&log).unwrap();
        // Where the test runner ends this process, the server must not stay behind.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(self.folder.join("serve.sh"))
            .args([self.model, &self.port.to_string()])
            .env("MAX_LEN", self.max_len.to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = Instant::now() + START;
        while !self.healthy() {
            let over = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(over.is_none() && Instant::now() < end, "no vLLM: see {}", log.display());
            std::thread::park_timeout(Duration::from_millis(200));
        }
        println!("vLLM is up for the {}. time", self.starts);
    }

    fn healthy(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            tcp.set_read_timeout(Some(Duration::from_secs(2)))?;
            tcp.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            tcp.take(64).read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|a| a.split(' ').nth(1) == Some("200"))
    }

    /// Whether it has ended by itself.
    fn ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|c| c.try_wait().unwrap().is_some())
    }

    /// SIGKILL, to the engine's process as well.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let group = format!("-{}", child.id());
            let _ =
                Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
            child.wait().unwrap();
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Noise that the tiny models take for speech; a quiet moment each 3 s.
fn noise(seconds: u64) -> Speech {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let samples = (0..seconds * RATE).map(|n| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let noise = (random % 6000) as i16 - 3000;
        if n % (3 * RATE) < RATE / 4 { noise / 300 } else { noise }
    });
    Speech { samples: samples.collect(), words: Vec::new() }
}

fn asr(server: &Real) -> gst::Element {
    let element = element(&server.url());
    element.set_property("vad", false);
    element.set_property("reconnect", -1);
    element
}

/// Runs `audio` while `meanwhile` does something to the server, over and over.
fn run(
    server: &mut Real,
    element: gst::Element,
    audio: &Speech,
    mut meanwhile: impl FnMut(&mut Real, &gst::Element),
) -> Run {
    let watched = element.clone();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| try_transcribe(element, audio));
        while !run.is_finished() {
            meanwhile(server, &watched);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        run.join().unwrap().unwrap_or_else(|e| panic!("{e}"))
    })
}

fn check(run: &Run, audio: &Speech) {
    println!("{} words, lost {} times, {}", run.words.len(), run.lost.len(), run.stats);
    assert_accounted(run, audio.samples.len());
    assert!(run.words.len() as u64 > audio.samples.len() as u64 / RATE / 5, "hardly a word");
}

fn killed_and_restarted(model: &'static str) {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut server = Real::new(model, 1024);
    let audio = noise(60);
    let mut kill_at = [15, 35].into_iter().peekable();
    let element = asr(&server);
    let run = run(&mut server, element, &audio, |server, element| {
        let stats = element.property::<gst::Structure>("stats");
        let confirmed = stat(&stats, "samples-confirmed") / RATE;
        if kill_at.next_if(|at| confirmed >= *at).is_some() {
            server.start();
        }
    });
    check(&run, &audio);
    assert_eq!(server.starts, 3, "it was killed twice");
    assert!(run.lost.len() >= 2, "{:?}", run.lost);
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_killed_and_restarted_voxtral() {
    killed_and_restarted("voxtral");
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_killed_and_restarted_qwen3asr() {
    killed_and_restarted("qwen3asr");
}

/// The server tells its limit: generations end before it.
fn small_context(model: &'static str, max_len: u32) {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut server = Real::new(model, max_len);
    let audio = noise(60);
    let element = asr(&server);
    let run = run(&mut server, element, &audio, |_, _| ());
    check(&run, &audio);
    assert!(run.lost.is_empty(), "{:?}", run.lost);
    assert!(stat(&run.stats, "generations") >= 5, "{}", run.stats);
    assert!(!server.ended());
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_small_context_voxtral() {
    small_context("voxtral", 128);
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_small_context_qwen3asr() {
    small_context("qwen3asr", 512);
}

/// Nobody asks for the limit, and it is reached: `done` comes unasked, or the server dies and is
/// started again.
fn context_reached(model: &'static str, max_len: u32) {
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut server = Real::new(model, max_len);
    let audio = noise(60);
    let element = asr(&server);
    element.set_property("max-utterance", 600_000_u32);
    let run = run(&mut server, element, &audio, |server, _| {
        if server.ended() {
            server.start();
        }
    });
    check(&run, &audio);
    assert!(!run.lost.is_empty());
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_context_reached_voxtral() {
    context_reached("voxtral", 128);
}

#[test]
#[ignore = "needs a real vLLM: scripts/test.sh --vllm"]
fn vllm_context_reached_qwen3asr() {
    context_reached("qwen3asr", 512);
}
