//! Lines of JSON over TCP, with bounds: on the length of a line, and on the time that it may take. Bytes that are no line in time end the
//! connection; there is no way to get back into step.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{FLEET_LINE_BYTES_MAX, FLEET_TIMEOUT_MS};

/// How often a wait looks whether it should go on.
const LOOK: Duration = Duration::from_millis(100);

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the other side closed the connection")]
    Closed,
    #[error("nothing came for {0:?}")]
    TimedOut(Duration),
    #[error("a message is longer than {FLEET_LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("a message is not understood (is the other side of the same version?): {0}")]
    NotUnderstood(serde_json::Error),
    #[error("the wait was called off")]
    CalledOff,
    #[error("{0} bytes are more than the {1} that are taken")]
    TooMuch(u64, u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One side of a connection.
pub(super) struct Wire {
    reader: BufReader<TcpStream>,
    /// A line that has begun.
    line: Vec<u8>,
}

impl Wire {
    /// Takes the stream over.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(Duration::from_millis(FLEET_TIMEOUT_MS)))?;
        Ok(Self { reader: BufReader::new(stream), line: Vec::new() })
    }

    /// Sends one message.
    pub(super) fn send(&mut self, message: &impl Serialize) -> Result<(), WireError> {
        let mut line = serde_json::to_vec(message).map_err(WireError::NotUnderstood)?;
        if line.len() >= FLEET_LINE_BYTES_MAX {
            return Err(WireError::TooLong);
        }
        line.push(b'\n');
        Ok(self.reader.get_mut().write_all(&line)?)
    }

    /// Waits for one message: so long at most, and not after `called_off` says so.
    pub(super) fn receive<T: DeserializeOwned>(
        &mut self,
        timeout: Duration,
        called_off: impl Fn() -> bool,
    ) -> Result<T, WireError> {
        let begin = Instant::now();
        loop {
            let room = (FLEET_LINE_BYTES_MAX - self.line.len()) as u64;
            match (&mut self.reader).take(room).read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.ends_with(b"\n") => break,
                Ok(_) if self.line.len() >= FLEET_LINE_BYTES_MAX => return Err(WireError::TooLong),
                Ok(_) => return Err(WireError::Closed),
                Err(error) if is_patience(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if called_off() {
                return Err(WireError::CalledOff);
            }
            if begin.elapsed() >= timeout {
                return Err(WireError::TimedOut(timeout));
            }
        }
        let message = serde_json::from_slice(&self.line).map_err(WireError::NotUnderstood);
        self.line.clear();
        message
    }

    /// Sends raw bytes.
    pub(super) fn send_product(&mut self, mut from: impl Read, bytes: u64) -> Result<(), WireError> {
        let sent = io::copy(&mut (&mut from).take(bytes), self.reader.get_mut())?;
        if sent == bytes { Ok(()) } else { Err(io::Error::from(ErrorKind::UnexpectedEof).into()) }
    }

    /// Takes so many raw bytes in. They may take long, but something must come within each timeout.
    pub(super) fn receive_product(&mut self, bytes: u64, bytes_max: u64, mut to: impl Write) -> Result<(), WireError> {
        if bytes > bytes_max {
            return Err(WireError::TooMuch(bytes, bytes_max));
        }
        let timeout = Duration::from_millis(FLEET_TIMEOUT_MS);
        let (mut left, mut last) = (bytes, Instant::now());
        let mut chunk = vec![0; 1 << 16];
        while left > 0 {
            let room = left.min(chunk.len() as u64) as usize;
            match self.reader.read(&mut chunk[..room]) {
                Ok(0) => return Err(WireError::Closed),
                Ok(length) => {
                    to.write_all(&chunk[..length])?;
                    left -= length as u64;
                    last = Instant::now();
                }
                Err(error) if is_patience(&error) && last.elapsed() < timeout => {}
                Err(error) if is_patience(&error) => return Err(WireError::TimedOut(timeout)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    /// A wire, and the raw stream at its other end.
    fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let raw = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Wire::new(listener.accept().unwrap().0).unwrap(), raw)
    }

    fn receive(wire: &mut Wire) -> Result<String, WireError> {
        wire.receive(Duration::from_secs(10), || false)
    }

    #[test]
    fn messages_arrive_whole_however_they_were_cut() {
        let (mut wire, mut raw) = pair();
        let writer = thread::spawn(move || {
            for byte in b"\"one\"\n\"two\"\n\"thr" {
                raw.write_all(&[*byte]).unwrap();
            }
            // Longer than one look: the begun line is kept.
            thread::sleep(2 * LOOK);
            raw.write_all(b"ee\"\n").unwrap();
        });
        assert_eq!([(); 3].map(|()| receive(&mut wire).unwrap()), ["one", "two", "three"]);
        writer.join().unwrap();
        assert!(matches!(receive(&mut wire), Err(WireError::Closed)));
    }

    #[test]
    fn a_peer_that_says_nothing_or_never_ends_holds_nobody_up() {
        let (mut wire, mut raw) = pair();
        assert!(matches!(wire.receive::<String>(SHORT, || false), Err(WireError::TimedOut(_))));
        assert!(matches!(wire.receive::<String>(Duration::MAX, || true), Err(WireError::CalledOff)));
        raw.write_all(b"\"begun").unwrap();
        assert!(matches!(wire.receive::<String>(SHORT, || false), Err(WireError::TimedOut(_))));
        let (mut wire, mut raw) = pair();
        let writer = thread::spawn(move || drop(raw.write_all(&vec![b'x'; 2 * FLEET_LINE_BYTES_MAX])));
        assert!(matches!(receive(&mut wire), Err(WireError::TooLong)));
        drop(wire);
        writer.join().unwrap();
    }

    #[test]
    fn nonsense_is_told_apart_from_silence() {
        let (mut wire, mut raw) = pair();
        raw.write_all(b"{]\n").unwrap();
        assert!(matches!(receive(&mut wire), Err(WireError::NotUnderstood(_))));
    }

    #[test]
    fn a_product_is_taken_up_to_its_length_and_no_longer_one_than_asked_for() {
        let (mut wire, raw) = pair();
        let mut sender = Wire::new(raw).unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let sent = bytes.clone();
        let writer = thread::spawn(move || {
            sender.send_product(sent.as_slice(), sent.len() as u64).unwrap();
            sender.send(&"after").unwrap();
            assert!(sender.send_product(&b"short"[..], 6).is_err(), "a file that shrank is not passed over");
        });
        let mut taken = Vec::new();
        wire.receive_product(bytes.len() as u64, 1 << 20, &mut taken).unwrap();
        assert_eq!(taken, bytes);
        assert_eq!(receive(&mut wire).unwrap(), "after");
        assert!(matches!(wire.receive_product(2, 1, &mut taken), Err(WireError::TooMuch(2, 1))));
        writer.join().unwrap();
    }
}
