//! One output stream of one attempt: its bytes in a log file, whole or capped, and its beginning and end in memory.

use crate::mask::Masker;
use crate::secret::Secrets;
use dirigent_core::outcome::Stream;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes kept in memory of the end of a stream.
const TAIL_BYTES: usize = 16 * 1024;

/// Room for the line that says what was left out.
const MARKER_BYTES: u64 = 96;

/// Bytes asked for in one read.
pub(crate) const READ_BYTES: usize = 256 * 1024;
/// What a pipe may hold for a child that prints much, where the kernel grants it.
pub(crate) const BIG_PIPE_BYTES: usize = 1 << 20;

/// One output stream of a running attempt: the reading end of its pipe, and where the bytes go.
pub(crate) struct Pipe {
    pub(crate) reader: Option<OwnedFd>,
    pub(crate) capture: Capture,
    is_big: bool,
}

impl Pipe {
    pub(crate) fn new(reader: OwnedFd, capture: Capture) -> Self {
        Self { reader: Some(reader), capture, is_big: false }
    }

    /// Moves what is there into the log; at most `most` bytes, so that one stream starves no other.
    pub(crate) fn drain(&mut self, buffer: &mut [u8], most: usize) {
        let mut moved = 0;
        while let Some(reader) = self.reader.as_ref().filter(|_| moved < most) {
            match rustix::io::read(reader, &mut *buffer) {
                Ok(0) => self.reader = None,
                Ok(length) => {
                    moved += length;
                    if length >= 64 * 1024 && !std::mem::replace(&mut self.is_big, true) {
                        let _ = rustix::pipe::fcntl_setpipe_size(reader, BIG_PIPE_BYTES);
                    }
                    self.capture.write(&buffer[..length]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.reader = None,
            }
        }
    }
}

/// Takes the bytes of a stream as they come.
///
/// Secrets become `***` before anything else is done with them: what is counted, kept and told is what is written then.
///
/// The file is made at the first byte. Up to the cap it is the exact stream; beyond it, the first and the last half of
/// the cap with a line between them that says how much is missing. The last half is written as a ring, so that a
/// program that prints without end costs no more disk than the cap, and put in order at the end.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    file: Option<File>,
    cap: Option<u64>,
    bytes: u64,
    tail: VecDeque<u8>,
    error: Option<io::Error>,
    masker: Option<Masker>,
    masked: Vec<u8>,
}

impl Capture {
    /// A stream that nothing was written to yet.
    ///
    /// `cap` is the most bytes of disk the log may take; `None` for no limit.
    pub fn new(path: PathBuf, cap: Option<u64>) -> Self {
        Self {
            path,
            file: None,
            cap: cap.map(|cap| cap.max(4 * MARKER_BYTES)),
            bytes: 0,
            tail: VecDeque::new(),
            error: None,
            masker: None,
            masked: Vec::new(),
        }
    }

    /// The same, with `***` in the place of these secrets.
    pub fn masking(self, secrets: &Secrets) -> Self {
        Self { masker: secrets.masker(), ..self }
    }

    /// Takes the next bytes. A disk that refuses them is remembered and told at the end; the stream goes on.
    pub fn write(&mut self, chunk: &[u8]) {
        self.pass(|masker, masked| masker.push(chunk, masked), chunk);
    }

    /// Nothing more comes: what could have been the beginning of a secret was none.
    pub fn end(&mut self) {
        self.pass(Masker::finish, &[]);
    }

    /// Has the masker, where there is one, say what can be written.
    fn pass(&mut self, mask: impl FnOnce(&mut Masker, &mut Vec<u8>), chunk: &[u8]) {
        let Some(masker) = &mut self.masker else { return self.keep(chunk) };
        let mut masked = std::mem::take(&mut self.masked);
        masked.clear();
        mask(masker, &mut masked);
        self.keep(&masked);
        self.masked = masked;
    }

    fn keep(&mut self, chunk: &[u8]) {
        if chunk.is_empty() {
            return;
        }
        if self.error.is_none()
            && let Err(error) = self.write_file(chunk)
        {
            self.error = Some(error);
        }
        self.bytes += chunk.len() as u64;
        let keep = &chunk[chunk.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + keep.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.tail.extend(keep);
    }

    /// How many bytes were written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last bytes that came, 16 KiB at most.
    pub fn tail(&mut self) -> &[u8] {
        self.tail.make_contiguous()
    }

    /// Puts the log in order, and says what became of the stream: `None` when nothing was ever written.
    pub fn finish(&mut self) -> Option<Stream> {
        self.end();
        if self.bytes == 0 {
            return None;
        }
        let kept_bytes = match self.ring() {
            _ if self.error.is_some() => {
                self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |m| m.len())
            }
            Some(ring) if self.bytes > ring.whole() => {
                if let Err(error) = self.straighten(&ring) {
                    self.error = Some(error);
                }
                ring.whole()
            }
            _ => self.bytes,
        };
        self.file = None;
        let error = self.error.take().map(|error| format!("cannot write {}: {error}", self.path.display()));
        Some(Stream { bytes: self.bytes, kept_bytes: kept_bytes.min(self.bytes), error })
    }

    fn ring(&self) -> Option<Ring> {
        self.cap.map(|cap| Ring { head: cap / 2, tail: cap - cap / 2 - MARKER_BYTES })
    }

    fn write_file(&mut self, mut chunk: &[u8]) -> io::Result<()> {
        let ring = self.ring();
        let whole = ring.as_ref().map_or(u64::MAX, Ring::whole);
        let mut at = self.bytes;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        if at < whole {
            let fits = usize::try_from(whole - at).unwrap_or(usize::MAX).min(chunk.len());
            file.write_all(&chunk[..fits])?;
            chunk = &chunk[fits..];
            at += fits as u64;
        }
        let Some(ring) = ring else { return Ok(()) };
        // What a long chunk would overwrite in the ring by itself need not be written at all.
        let skip = chunk.len().saturating_sub(usize::try_from(ring.tail).unwrap_or(usize::MAX));
        chunk = &chunk[skip..];
        at += skip as u64;
        while !chunk.is_empty() {
            let place = ring.place(at);
            let fits = usize::try_from(ring.whole() - place).unwrap_or(usize::MAX).min(chunk.len());
            file.write_all_at(&chunk[..fits], place)?;
            chunk = &chunk[fits..];
            at += fits as u64;
        }
        Ok(())
    }

    /// Rewrites a capped log as head, marker and tail in order: a new file that takes the old one's place when whole.
    fn straighten(&mut self, ring: &Ring) -> io::Result<()> {
        let Some(old) = &mut self.file else { return Ok(()) };
        let part = self.path.with_extension("part");
        let mut new = create(&part)?;
        let mut copy = |from: u64, length: u64, new: &mut File| -> io::Result<()> {
            old.seek(SeekFrom::Start(from))?;
            io::copy(&mut io::Read::take(&*old, length), new).map(drop)
        };
        let left_out = self.bytes - ring.whole();
        let turn = ring.place(self.bytes);
        copy(0, ring.head, &mut new)?;
        new.write_all(format!("\n[dirigent: {left_out} bytes left out here]\n").as_bytes())?;
        copy(turn, ring.whole() - turn, &mut new)?;
        copy(ring.head, turn - ring.head, &mut new)?;
        fs::rename(&part, &self.path)
    }
}

/// How a capped log is laid out: a head that stays, and behind it a ring of the last bytes.
struct Ring {
    head: u64,
    tail: u64,
}

impl Ring {
    /// How long a stream may be to be kept whole.
    fn whole(&self) -> u64 {
        self.head + self.tail
    }

    /// Where in the file the byte at this offset of the stream belongs, behind the head.
    fn place(&self, at: u64) -> u64 {
        self.head + (at - self.head) % self.tail
    }
}

/// Makes a private file in a private folder.
fn create(path: &Path) -> io::Result<File> {
    let open =
        || OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            open()
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `length` countable bytes in chunks and returns the log with what was said of it.
    fn written(length: usize, chunk: usize, cap: Option<u64>) -> (Vec<u8>, Stream, Vec<u8>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/stdout.log");
        let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut capture = Capture::new(path.clone(), cap);
        for chunk in bytes.chunks(chunk) {
            capture.write(chunk);
        }
        let stream = capture.finish().expect("something was written");
        (fs::read(&path).expect("a log"), stream, bytes)
    }

    #[test]
    fn a_short_stream_is_kept_exactly() {
        let (log, stream, bytes) = written(9_904, 777, Some(10_000));
        assert_eq!(log, bytes);
        assert!(!stream.is_truncated());
    }

    #[test]
    fn a_long_stream_keeps_head_and_tail_whatever_the_chunks() {
        for chunk in [1, 7, 400, 999, 5_000, 40_000] {
            for length in [1_001, 1_500, 2_403, 40_000] {
                let (log, stream, bytes) = written(length, chunk, Some(1_000));
                let marker = format!("\n[dirigent: {} bytes left out here]\n", length - 904);
                let expected = [&bytes[..500], marker.as_bytes(), &bytes[length - 404..]].concat();
                assert!(log == expected, "chunks of {chunk}, {length} bytes");
                assert!(log.len() <= 1_000);
                assert_eq!((stream.bytes, stream.kept_bytes), (length as u64, 904));
            }
        }
    }

    #[test]
    fn nothing_written_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut capture = Capture::new(folder.path().join("stdout.log"), None);
        assert_eq!(capture.finish(), None);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_disk_that_refuses_is_told_and_the_end_is_still_known() {
        let mut capture = Capture::new(PathBuf::from("/dev/null/stdout.log"), None);
        capture.write(b"hello");
        assert_eq!(capture.tail(), b"hello");
        let stream = capture.finish().expect("a stream");
        assert!(stream.error.expect("an error").starts_with("cannot write /dev/null/stdout.log: "));
        assert_eq!((stream.bytes, stream.kept_bytes), (5, 0));
    }
}
