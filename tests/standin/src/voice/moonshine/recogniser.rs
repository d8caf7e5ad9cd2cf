// SPDX-License-Identifier: MPL-2.0

//! The model, in a process of its own where there is a program to run: the library never frees 130 KB of
//! each hearing, so the process is replaced after a while.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::library::Model;

/// Hearings of one process, which then holds 26 MB that it has no use for.
const HEARINGS: usize = 200;

/// Samples in a hearing, and bytes in an answer, at most: what comes is not trusted.
const MOST: u32 = 16_000 * 600;

/// Where the model is.
enum Place {
    Here(Model),
    Elsewhere { program: PathBuf, running: Option<Process> },
}

pub struct Recogniser {
    folder: PathBuf,
    place: Place,
}

struct Process {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    hearings: usize,
}

impl Recogniser {
    /// `program`: hears with `--hear FOLDER`, as [`hear`] does.
    pub fn load(folder: &Path, program: Option<&Path>) -> Result<Recogniser, String> {
        let place = match program {
            None => Place::Here(Model::load(folder)?),
            Some(program) => {
                let running = Some(Process::start(program, folder)?);
                Place::Elsewhere { program: program.to_owned(), running }
            }
        };
        Ok(Recogniser { folder: folder.to_owned(), place })
    }

    /// What is said in these samples.
    pub fn transcribe(&mut self, samples: &[f32]) -> Result<String, String> {
        let (program, running) = match &mut self.place {
            Place::Here(model) => return model.transcribe(samples),
            Place::Elsewhere { program, running } => (program, running),
        };
        let mut process = match running.take() {
            Some(process) => process,
            None => Process::start(program, &self.folder)?,
        };
        // One that fails is not asked again.
        let text = process.transcribe(samples).map_err(|e| e.to_string())?;
        if process.hearings < HEARINGS {
            *running = Some(process);
        }
        text
    }
}

impl Process {
    fn start(program: &Path, folder: &Path) -> Result<Process, String> {
        let failed = |e: io::Error| format!("cannot run {}: {e}", program.display());
        let mut child = Command::new(program)
            .arg("--hear")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a process without pipes".into());
        };
        let mut process = Process {
            child,
            input: BufWriter::new(input),
            output: BufReader::new(output),
            hearings: 0,
        };
        // Whether the model can be loaded.
        read_text(&mut process.output).map_err(failed)??;
        Ok(process)
    }

    fn transcribe(&mut self, samples: &[f32]) -> io::Result<Result<String, String>> {
        self.hearings += 1;
        self.input.write_all(&(samples.len() as u32).to_le_bytes())?;
        for sample in samples {
            self.input.write_all(&sample.to_le_bytes())?;
        }
        self.input.flush()?;
        read_text(&mut self.output)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_u32(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    let count = u32::from_le_bytes(bytes);
    if count > MOST { Err(io::Error::other(format!("{count} of something"))) } else { Ok(count) }
}

fn read_text(from: &mut impl Read) -> io::Result<Result<String, String>> {
    let (failed, length) = (read_u32(from)? != 0, read_u32(from)?);
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(if failed { Err(text) } else { Ok(text) })
}

fn write_text(to: &mut impl Write, text: &Result<String, String>) -> io::Result<()> {
    let (failed, text) = match text {
        Ok(text) => (0_u32, text),
        Err(text) => (1, text),
    };
    to.write_all(&failed.to_le_bytes())?;
    to.write_all(&(text.len() as u32).to_le_bytes())?;
    to.write_all(text.as_bytes())?;
    to.flush()
}

/// The process itself: hears what comes in on its standard input, and answers on the standard output,
/// until the input ends. First it tells whether there is a model.
///
/// # Errors
/// One of them is gone.
pub fn hear(folder: &Path) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut model = Model::load(folder);
    let loaded = model.as_ref().map(|_| String::new()).map_err(Clone::clone);
    write_text(&mut output, &loaded)?;
    while let Ok(count) = read_u32(&mut input) {
        let mut bytes = vec![0; count as usize * 4];
        input.read_exact(&mut bytes)?;
        let samples: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default()))
            .collect();
        let text = match &mut model {
            Ok(model) => model.transcribe(&samples),
            Err(why) => Err(why.clone()),
        };
        write_text(&mut output, &text)?;
    }
    Ok(())
}
