// SPDX-License-Identifier: MPL-2.0

//! The least that a client must do: a bare loop, and one in Python.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::process::{Usage, audio, cpu, size, waits};

/// Samples of a message (80 ms).
const CHUNK: usize = 1280;

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

fn send(socket: &mut Socket, message: String) -> Result<(), String> {
    socket.send(Message::text(message)).map_err(|e| e.to_string())
}

/// Reads what comes within `patience`; whether the server is done.
fn receive(socket: &mut Socket, patience: Duration, words: &mut usize) -> Result<bool, String> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_micros(10));
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
        }
        match socket.read() {
            Ok(Message::Text(text)) => {
                let event: serde_json::Value =
                    serde_json::from_str(&text).map_err(|e| e.to_string())?;
                match event["type"].as_str() {
                    Some("transcription.delta") => {
                        *words += event["delta"].as_str().unwrap_or_default().matches(' ').count();
                    }
                    Some("transcription.done") => return Ok(true),
                    _ => {}
                }
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(e))
                if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                return Ok(false);
            }
            Err(e) => return Err(e.to_string()),
        }
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

/// Sends all audio, live or as fast as the socket takes it, and reads all words.
pub fn floor(url: &str, seconds: usize, live: bool) -> Result<Usage, String> {
    let samples = audio(seconds);
    let (mut socket, _) = tungstenite::connect(url).map_err(|e| e.to_string())?;
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
    }
    let (before, waited) = (cpu(), waits());
    let began = Instant::now();
    send(&mut socket, r#"{"type":"session.update","model":"standin"}"#.into())?;
    send(&mut socket, r#"{"type":"input_audio_buffer.commit"}"#.into())?;
    let mut words = 0;
    for (i, chunk) in samples.chunks(CHUNK).enumerate() {
        let bytes: Vec<u8> = chunk.iter().flat_map(|s| s.to_le_bytes()).collect();
        let audio = STANDARD.encode(bytes);
        send(&mut socket, format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#))?;
        let due = Duration::from_millis(80 * (i as u64 + 1));
        let patience = if live { due.saturating_sub(began.elapsed()) } else { Duration::ZERO };
        receive(&mut socket, patience, &mut words)?;
    }
    send(&mut socket, r#"{"type":"input_audio_buffer.commit","final":true}"#.into())?;
    while !receive(&mut socket, Duration::from_secs(10), &mut words)? {
        if began.elapsed() > Duration::from_secs(seconds as u64 + 60) {
            return Err("no answer".into());
        }
    }
    let (memory_kb, threads) = size();
    Ok(Usage {
        cpu_ms: cpu() - before,
        seconds: began.elapsed().as_secs_f64(),
        memory_kb,
        threads,
        words,
        wake_ups: waits() - waited,
    })
}

/// The same in Python: Debian's own, with its packages `python3-websockets` and `python3-numpy`.
pub fn python(url: &str, seconds: usize, live: bool) -> Result<std::process::Child, String> {
    let raw = std::env::temp_dir().join(format!("speed-{}-{seconds}.raw", std::process::id()));
    let bytes: Vec<u8> = audio(seconds).iter().flat_map(|s| s.to_le_bytes()).collect();
    std::fs::write(&raw, bytes).map_err(|e| e.to_string())?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/speed/client.py");
    Command::new("/usr/bin/python3")
        .args([script, url, &raw.to_string_lossy(), if live { "live" } else { "fast" }])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("python3: {e}"))
}
