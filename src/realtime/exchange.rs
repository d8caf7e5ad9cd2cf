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

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes and gives a byte each second time that it is asked.
    struct Slow(Vec<u8>, bool);

    impl Slow {
        fn turn(&mut self) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Ok(1) } else { Err(io::ErrorKind::WouldBlock.into()) }
        }
    }

    impl Write for Slow {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.turn()
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Slow {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.turn()?;
            (&self.0[..]).read(&mut buf[..1]).inspect(|count| drop(self.0.drain(..*count)))
        }
    }

    #[test]
    fn byte_by_byte_until_enough_is_seen_or_it_ends() {
        for (enough, end) in [(3, Ok(Some(3))), (9, Err(io::ErrorKind::UnexpectedEof))] {
            let mut slow = Slow(b"answer".to_vec(), false);
            let mut exchange = Exchange::new(b"request".to_vec());
            let look = |answer: &[u8], before| {
                assert_eq!(answer.len(), before + 1);
                io::Result::Ok((answer.len() == enough).then_some(enough))
            };
            let result = std::iter::repeat_with(|| exchange.advance(&mut slow, look));
            let result = result.map(|r| r.map_err(|e| e.kind())).find(|r| *r != Ok(None));
            assert_eq!((result, exchange.written), (Some(end), b"request".len()));
        }
    }
}
