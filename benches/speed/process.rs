// SPDX-License-Identifier: MPL-2.0

//! Processes of their own, so that each one's CPU and memory is told apart.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};
use vllm_standin::{Cadence, Standin};

use crate::speech::Speech;
use crate::{Role, client, pipeline};

/// What a process used for its streams, set-up apart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Usage {
    pub cpu_ms: f64,
    pub seconds: f64,
    /// Resident, while all streams run.
    pub memory_kb: f64,
    pub threads: usize,
    pub words: usize,
    /// How often a thread had waited and went on.
    pub wake_ups: f64,
}

/// CPU of all threads of this process, in ms.
pub fn cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = |path: std::path::PathBuf| -> Option<f64> {
        let told = std::fs::read_to_string(path.join("schedstat")).ok()?;
        told.split(' ').next()?.parse().ok()
    };
    let alive: f64 = tasks.filter_map(|t| spent(t.path())).sum();
    // Threads that have ended are in here only, in ticks of 10 ms.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (alive / 1e6).max((ticks(11) + ticks(12)) * 10.0)
}

/// How often the threads of this process, those that are alive, have waited.
pub fn waits() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let waits = |path: std::path::PathBuf| -> Option<f64> {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let line = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    tasks.filter_map(|t| waits(t.path())).sum()
}

/// Resident memory in kB, and threads, of this process.
pub fn size() -> (f64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    (field("VmRSS:").unwrap_or(0.0), field("Threads:").unwrap_or(0.0) as usize)
}

/// A role at work, and its server.
pub struct Child {
    worker: std::process::Child,
    server: Option<std::process::Child>,
    what: String,
}

fn again(args: &[String]) -> Result<std::process::Child, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(own);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|e| e.to_string())
}

fn first_line(child: &mut std::process::Child) -> Result<String, String> {
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("no stdout")?;
    BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
    Ok(line.trim().to_owned())
}

impl Child {
    pub fn start(role: Role, seconds: usize, live: bool, streams: usize) -> Result<Child, String> {
        let name = |what: &str| vec![format!("--{what}"), seconds.to_string()];
        let (mut server, mut url) = (None, String::from("-"));
        if role != Role::PassThrough {
            let mut child = again(&name("serve"))?;
            url = first_line(&mut child)?;
            server = Some(child);
        }
        let what = format!("{} {seconds} s live={live} {streams}", role.name());
        let mut args = name("work");
        args.extend([role.name().into(), url.clone(), live.to_string(), streams.to_string()]);
        let worker =
            if role == Role::Python { client::python(&url, seconds, live)? } else { again(&args)? };
        Ok(Child { worker, server, what })
    }

    pub fn wait(mut self) -> Result<Usage, String> {
        let line = first_line(&mut self.worker)?;
        let _ = self.worker.wait();
        if let Some(mut server) = self.server.take() {
            // Its input ends, and so does it.
            drop(server.stdin.take());
            let _ = server.wait();
        }
        serde_json::from_str(&line).map_err(|e| format!("{}: {e}: {line:?}", self.what))
    }
}

/// The part of a child; `None`: this is none.
pub fn serve_as_child(args: &[String]) -> Option<ExitCode> {
    let seconds: usize = args.get(2)?.parse().ok()?;
    match args.get(1)?.as_str() {
        "--serve" => {
            // The same for one or many: what has come tells the stand-in which words it has.
            let speech = Speech::new(seconds.min(120));
            let server =
                Standin::builder().aligned(speech.voice()).cadence(Cadence::Frames).start();
            let Ok(server) = server else { return Some(ExitCode::FAILURE) };
            println!("{}", server.url());
            let _ = std::io::stdin().lines().count();
            Some(ExitCode::SUCCESS)
        }
        "--work" => {
            let [role, url, live, streams] = args.get(3..7)? else { return None };
            let role = Role::ALL.into_iter().find(|r| r.name() == role)?;
            let (live, streams) = (live == "true", streams.parse().ok()?);
            let done = match role {
                Role::Floor => client::floor(url, seconds, live),
                _ => pipeline::run(role, url, seconds, live, streams),
            };
            match done {
                Ok(usage) => {
                    println!("{}", serde_json::to_string(&usage).unwrap_or_default());
                    Some(ExitCode::SUCCESS)
                }
                Err(e) => {
                    eprintln!("{role:?}: {e}");
                    Some(ExitCode::FAILURE)
                }
            }
        }
        _ => None,
    }
}

/// The audio: the same in all roles.
pub fn audio(seconds: usize) -> Vec<i16> {
    let mut samples = Speech::new(seconds.min(120)).samples;
    samples.truncate(seconds.min(120) * 16_000);
    let once = samples.clone();
    while samples.len() < seconds * 16_000 {
        samples.extend_from_slice(&once[..once.len().min(seconds * 16_000 - samples.len())]);
    }
    samples
}
