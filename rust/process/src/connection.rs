//! The engine's end of the line to its guard.

use crate::fault::ProcessError;
use crate::guard::VERB;
use crate::wire::{Frames, Order, Word, frame};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A guard and the socket to it.
pub(crate) struct Connection {
    socket: OwnedFd,
    frames: Frames,
    guard: Child,
}

/// What the line has to say.
pub(crate) enum Heard {
    Word(Word),
    /// Nothing just now.
    Silence,
    /// The guard is gone, or is no guard.
    Gone,
}

impl Connection {
    /// Starts a guard.
    ///
    /// The standard library spawns it as `vfork` does, so that it costs a big process no more than a small one.
    pub(crate) fn open(program: &Path) -> Result<Self, ProcessError> {
        let guard_error = |source: io::Error| ProcessError::Guard { program: program.to_owned(), source };
        let (socket, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|errno| guard_error(errno.into()))?;
        let guard = Command::new(program)
            .arg(VERB)
            .arg(std::process::id().to_string())
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(guard_error)?;
        Ok(Self { socket, frames: Frames::default(), guard })
    }

    /// Gives an order, waiting until the guard has taken it.
    pub(crate) fn send(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let bytes = frame(order);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let mut sent = 0;
        while sent < bytes.len() {
            let parts = [IoSlice::new(&bytes[sent..])];
            let mut nothing = SendAncillaryBuffer::default();
            let ancillary = if sent == 0 { &mut ancillary } else { &mut nothing };
            match rustix::net::sendmsg(&self.socket, &parts, ancillary, SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Takes the next word, without waiting.
    pub(crate) fn hear(&mut self) -> Heard {
        loop {
            match self.frames.next() {
                Ok(Some(word)) => return Heard::Word(word),
                Ok(None) => {}
                Err(_) => return Heard::Gone,
            }
            let mut bytes = [0u8; 16 * 1024];
            match rustix::net::recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Heard::Gone,
                Ok((_, length)) => self.frames.push(&bytes[..length]),
                Err(Errno::AGAIN) => return Heard::Silence,
                Err(Errno::INTR) => {}
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Collects a guard that is gone, and says how it ended. One that only broke the line is killed first.
    pub(crate) fn bury(mut self) -> String {
        let _ = self.guard.kill();
        match self.guard.wait() {
            Ok(status) => format!("the guard process ended ({status})"),
            Err(error) => format!("the guard process cannot be waited for: {error}"),
        }
    }

    /// Waits for a guard that has said its last word.
    pub(crate) fn part(mut self) {
        let _ = self.guard.wait();
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
