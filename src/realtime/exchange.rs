// SPDX-License-Identifier: MPL-2.0

//! One HTTP request and its answer, over a stream that never blocks.

use std::io::{self, Read, Write};

/// What ends the head of an answer.
pub const END: &[u8] = b"\r\n\r\n";

/// An exchange under way. Who looks at the answer bounds its length.
pub struct Exchange {
    request: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
}

impl Exchange {
    pub fn new(request: Vec<u8>) -> Exchange {
        Exchange { request, written: 0, answer: Vec::new() }
    }

    /// Goes as far as the network allows. Each piece of the answer is shown to `look`, with all before
    /// it and how much that was, until it has seen enough; `None`: the rest is not there yet.
    pub fn advance<T, E: From<io::Error>>(
        &mut self,
        stream: &mut (impl Read + Write),
        mut look: impl FnMut(&[u8], usize) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        loop {
            let before = self.answer.len();
            match self.step(stream) {
                Ok(()) if self.answer.len() == before => {}
                Ok(()) => {
                    if let Some(found) = look(&self.answer, before)? {
                        return Ok(Some(found));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                    ) =>
                {
                    return Ok(None);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Writes what is left of the request, then reads a piece of the answer.
    fn step(&mut self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        while let Some(rest) = self.request.get(self.written..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => self.written += n,
            }
        }
        stream.flush()?;
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => self.answer.extend_from_slice(piece.get(..n).unwrap_or_default()),
        }
        Ok(())
    }

    /// What has come of the answer.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }
}
