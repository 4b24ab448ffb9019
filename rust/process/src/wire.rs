//! What engine and guard say to each other: frames on a Unix stream socket, file descriptors riding along.
//!
//! A frame is its length in four bytes, little-endian, and then the message as `postcard` writes it.

use dirigent_core::outcome::Usage;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The largest frame: more than any argument list the kernel takes.
const MOST_BYTES: usize = 64 << 20;

/// From the engine to the guard.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Start a child. Two descriptors ride along: its standard output and its standard error.
    Spawn(Spawn),
    /// Ask one child's whole tree to end: the signal now, SIGKILL after its grace.
    End { token: u64, signal: i32 },
    /// Ask every tree to end.
    EndAll { signal: i32 },
    /// Kill every tree at once.
    KillAll,
    /// Stop every process, and the clock.
    Suspend,
    /// Let every process and the clock go on.
    Continue,
    /// End whatever is left, say so, and exit.
    Close,
}

/// A child to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spawn {
    /// Names the child in everything that is said of it.
    pub(crate) token: u64,
    /// When the worker was asked for it, in microseconds on the clock that both share.
    pub(crate) asked_us: u64,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) cwd: Vec<u8>,
    /// Changes to the guard's own environment; `None` removes.
    pub(crate) env: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The variables that are inherited, beside those every program needs; `None` for all.
    pub(crate) pass_env: Option<Vec<Vec<u8>>>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) grace_ms: u64,
    pub(crate) leave_running: bool,
    /// `NAME=value` strings of the environment that together tell the child's descendants from all others.
    pub(crate) marks: Vec<Vec<u8>>,
}

/// From the guard to the engine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The first word.
    Hello { version: String },
    /// A child runs. `start_us`: from when it was asked for until its program was executed.
    Started { token: u64, pid: i32, start_us: u64 },
    /// A child could not be started. `exhausted`: for want of processes, descriptors or memory, so that later may do.
    NotStarted { token: u64, doing: String, errno: i32, exhausted: bool },
    /// A child and its tree are gone.
    Ended { token: u64, exit: Exit, cause: Cause, usage: Usage, left_behind: u32 },
    /// Every process is stopped.
    Suspended,
    /// Every process goes on.
    Continued,
    /// Nothing is left; the guard exits.
    Closed { strays: u32, survivors: Vec<String> },
}

/// What the kernel says of a process's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Exit {
    Code(i32),
    Signal { signal: i32, core_dumped: bool, out_of_memory: bool },
}

/// Why a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// By itself.
    Own,
    /// It ran too long.
    Time,
    /// Its tree used too much memory.
    Memory,
    /// It was asked to.
    Asked,
}

/// A message as a frame.
pub(crate) fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes =
        postcard::to_extend(message, vec![0; 4]).expect("a message is plain data and memory grows");
    let length = u32::try_from(bytes.len() - 4).expect("a frame is far below 4 GiB");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Bytes that arrive in pieces, taken out as messages.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// Takes what arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until more arrives.
    ///
    /// # Errors
    ///
    /// What came is no message: the other end is not what it should be.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, postcard::Error> {
        let rest = &self.bytes[self.taken..];
        let Some((head, body)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MOST_BYTES {
            return Err(postcard::Error::DeserializeBadEncoding);
        }
        let Some(body) = body.get(..length) else {
            return Ok(None);
        };
        let message = postcard::from_bytes(body)?;
        self.taken += 4 + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_they_arrive() {
        let stream = [frame(&Order::End { token: 7, signal: 15 }), frame(&Order::Close)].concat();
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for byte in stream {
            frames.push(&[byte]);
            while let Some(order) = frames.next::<Order>().expect("a message") {
                seen.push(format!("{order:?}"));
            }
        }
        assert_eq!(seen, ["End { token: 7, signal: 15 }", "Close"]);
    }

    #[test]
    fn an_absurd_length_is_refused() {
        let mut frames = Frames::default();
        frames.push(&[255; 8]);
        assert!(frames.next::<Order>().is_err());
    }
}
