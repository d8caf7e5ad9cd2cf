// SPDX-License-Identifier: MPL-2.0

//! The stand-in server as a program.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use signal_hook::consts::{SIGINT, SIGTERM};
use vllm_standin::{
    Aligned, Builder, Cadence, Flavour, Moonshine, Pocketsphinx, Script, Standin, Tls, Voice,
    read_words,
};

const HELP: &str = "\
Stand-in for a vLLM realtime server: speaks ws://127.0.0.1:PORT/v1/realtime without a GPU.

Usage: vllm-standin [options]

  --port N              port on 127.0.0.1; 0 (default): any
  --voice VOICE         tiny (default)   fixed text while it is loud
                        script           text and faults of --script
                        aligned          words of --words where the sound of --audio is heard
                        pocketsphinx     recognised on the CPU (English; Debian packages
                                         gstreamer1.0-pocketsphinx and pocketsphinx-en-us)
                        moonshine        recognised on the CPU while one speaks (English;
                                         scripts/setup.sh voice, or MOONSHINE_DIR)
  --cadence CADENCE     frames (default), segments, arrival or utterance (pocketsphinx:
                        always arrival; moonshine: arrival or segments)
  --script FILE         JSON: {\"utterances\": [{\"text\": \"hello world\"}], \"faults\": [...]};
                        with another voice, its faults count
  --text TEXT           a script that says just this
  --audio FILE.wav      S16LE, 16 kHz, mono; may be given again, each with its --words
  --words FILE.json     [{\"word\": \"hello\", \"start\": 0.2, \"end\": 0.5}], in seconds
  --model NAME          default: standin
  --api-key KEY         asks for `Authorization: Bearer KEY`
  --max-model-len M     context length in tokens; 0 (default): without end
  --seats N             generations at a time; 0 (default): any number
  --pace X              seconds of audio worked through in a second; 0 (default): as fast as it goes
  --flavour F           vllm (default), openai, silent, silent-before-upgrade, never-accepts
  --refuse STATUS       HTTP status that upgrades are refused with
  --tls                 speaks TLS; with --cert FILE and --key FILE, else a certificate of its own,
  --cert-out FILE       which is written there
  --delay N             frames, arrival: the model's delay; default 6 (480 ms)
  --subword N           characters of a sub-word; default 4; 0: words are not cut
  --jitter              frames: word marks come a frame early or late, at random
  --merge               frames: the API side stalls for 0.2 to 2 s, each 10 s on the average, and
                        deltas of that time come merged in one, as with vLLM
  --edges HOW           segments: words across an edge: whole (default), repeat or cut
  --leak                segments: what was said before in a generation is said again, over silence
                        and, at times, in place of other words
  --language NAME       segments: language of the tag; default English
  --timestamps          offers `timestamp_granularities`
  --logprobs            offers log probabilities
  --refuses CODE        refuses an update that asks for either with an error of this code, or with
                        `close` by closing the connection
  --binary              events come in binary frames
  --tail MS             from the final commit to `done`; default 10
  --ping MS             between pings; default 20000
  --seed N              seed of all that is random; default 0
  --help
";

/// What the command line says.
struct Options {
    builder: Builder,
    cadence: Option<Cadence>,
    voice: String,
    script: Option<Script>,
    audio: Vec<PathBuf>,
    words: Vec<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    tls: bool,
    certificate_out: Option<PathBuf>,
    hear: Option<PathBuf>,
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut o = Options {
        builder: Standin::builder(),
        cadence: None,
        voice: "tiny".into(),
        script: None,
        audio: Vec::new(),
        words: Vec::new(),
        certificate: None,
        key: None,
        tls: false,
        certificate_out: None,
        hear: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(option) = parser.next()? {
        let name = match option {
            Long(name) => name.to_owned(),
            Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        };
        let b = o.builder.clone();
        let mut value = || parser.value();
        o.builder = match name.as_str() {
            "port" => b.port(value()?.parse()?),
            "model" => b.model(value()?.string()?),
            "api-key" => b.api_key(value()?.string()?),
            "max-model-len" => b.max_model_len(value()?.parse()?),
            "seats" => b.seats(value()?.parse()?),
            "pace" => b.pace(value()?.parse()?),
            "refuse" => b.refuse(value()?.parse()?),
            "delay" => b.delay(value()?.parse()?),
            "subword" => b.subword(value()?.parse()?),
            "jitter" => b.jitter(true),
            "merge" => b.stalls(true),
            "leak" => b.leak(true),
            "edges" => b.edges(value()?.parse()?),
            "language" => b.language(value()?.string()?),
            "timestamps" => b.timestamps(true),
            "logprobs" => b.logprobs(true),
            "binary" => b.binary(true),
            "refuses" => b.refuses(value()?.string()?),
            "tail" => b.tail(Duration::from_millis(value()?.parse()?)),
            "ping" => b.ping_interval(Duration::from_millis(value()?.parse()?)),
            "seed" => b.seed(value()?.parse()?),
            "flavour" => b.flavour(match value()?.string()?.as_str() {
                "vllm" => Flavour::Vllm,
                "openai" => Flavour::OpenAi,
                "silent" => Flavour::SilentAfterUpgrade,
                "silent-before-upgrade" => Flavour::SilentBeforeUpgrade,
                "never-accepts" => Flavour::NeverAccepts,
                other => return Err(format!("no flavour is called {other}").into()),
            }),
            "help" => return Ok(None),
            name => {
                match name {
                    "cadence" => o.cadence = Some(value()?.parse()?),
                    "voice" => o.voice = value()?.string()?,
                    "script" => o.script = Some(Script::read(PathBuf::from(value()?))?),
                    "text" => o.script = Some(Script::text(&value()?.string()?)),
                    "audio" => o.audio.push(value()?.into()),
                    "words" => o.words.push(value()?.into()),
                    "cert" => o.certificate = Some(value()?.into()),
                    "key" => o.key = Some(value()?.into()),
                    // What voice moonshine runs: a model that hears what comes in.
                    "hear" => o.hear = Some(value()?.into()),
                    "cert-out" => o.certificate_out = Some(value()?.into()),
                    "tls" => o.tls = true,
                    other => return Err(format!("no option is called --{other}").into()),
                }
                b
            }
        };
    }
    Ok(Some(o))
}

/// The server that is asked for.
fn start(o: &Options) -> Result<Standin, String> {
    let mut builder = o.builder.clone().cadence(o.cadence.unwrap_or_default());
    for fault in o.script.iter().flat_map(|s| &s.faults) {
        builder = builder.fault(fault.clone());
    }
    builder = match o.voice.as_str() {
        "tiny" if o.script.is_none() => builder.voice(Voice::Tiny),
        "tiny" | "script" => {
            let mut script = o.script.clone().ok_or("--voice script needs --script or --text")?;
            // They are counted above.
            script.faults.clear();
            builder.script(script)
        }
        "pocketsphinx" => {
            builder.voice(Voice::Pocketsphinx(Pocketsphinx::new()?)).cadence(Cadence::Arrival)
        }
        "moonshine" => {
            let program = std::env::current_exe().map_err(|e| e.to_string())?;
            let voice = Moonshine::run(&Moonshine::folder(), &program)
                .map_err(|e| format!("{e}; scripts/setup.sh voice brings it"))?;
            builder.voice(Voice::Moonshine(voice)).cadence(o.cadence.unwrap_or(Cadence::Arrival))
        }
        "aligned" => builder.aligned(match (o.audio.as_slice(), o.words.as_slice()) {
            ([], [words]) => Aligned::from_start(&read_words(words)?),
            (audio, words) if !words.is_empty() && audio.len() == words.len() => {
                Aligned::read(&audio.iter().zip(words).collect::<Vec<_>>())?
            }
            _ => return Err("--voice aligned needs a --words for each --audio".into()),
        }),
        other => {
            return Err(format!(
                "no voice is called {other}: tiny, script, aligned, pocketsphinx or moonshine"
            ));
        }
    };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    };
    builder = match (&o.certificate, &o.key) {
        (Some(certificate), Some(key)) => {
            builder.tls(Tls::Given { certificate: read(certificate)?, key: read(key)? })
        }
        (None, None) if o.tls => builder.tls(Tls::SelfSigned),
        (None, None) => builder,
        _ => return Err("--cert and --key go together".into()),
    };
    let server = builder.start().map_err(|e| format!("cannot start: {e}"))?;
    if let (Some(path), Some(pem)) = (&o.certificate_out, server.certificate()) {
        std::fs::write(path, pem).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(server)
}

fn main() -> ExitCode {
    let fail = |why: String| {
        eprintln!("vllm-standin: {why}");
        ExitCode::FAILURE
    };
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(e) => return fail(format!("{e} (see --help)")),
    };
    if let Some(folder) = &options.hear {
        return match vllm_standin::hear(folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => fail(e.to_string()),
        };
    }
    // Before the server starts, so that no signal is missed.
    let mut signals = match signal_hook::iterator::Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(e) => return fail(e.to_string()),
    };
    let mut server = match start(&options) {
        Ok(server) => server,
        Err(why) => return fail(why),
    };
    println!("listening on {}", server.url());
    let _ = std::io::stdout().flush();
    let handle = signals.handle();
    let stopper = server.stopper();
    let waiter = std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });
    // Until a signal, or until the server ends by itself.
    server.join();
    handle.close();
    let _ = waiter.join();
    ExitCode::SUCCESS
}
