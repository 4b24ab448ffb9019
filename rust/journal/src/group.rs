//! Events as they lie in the database: those recorded together as one body of JSON lines, packed where that is worth it.
//!
//! The hash of a group covers the hash of the one before, and the first covers the id of the run: what was altered,
//! left out or moved to another run no longer fits.

use crate::fault::JournalError;
use dirigent_core::event::Event;
use dirigent_core::ids::RunId;
use std::io::Write;
use std::path::Path;

/// Bodies shorter than this stay readable as they are.
const PACK_FROM_BYTES: usize = 512;
/// What a body may unpack to.
const MOST_BYTES: usize = 1 << 30;

/// A hash of BLAKE3.
pub(crate) type Hash = [u8; 32];

/// How a body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain = 0,
    Lz4 = 1,
}

/// Events recorded together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) first_seq: u64,
    pub(crate) codec: Codec,
    pub(crate) body: Vec<u8>,
    pub(crate) hash: Hash,
}

/// What the first group of a run follows.
pub(crate) fn seed(run: &RunId) -> Hash {
    *blake3::hash(run.as_str().as_bytes()).as_bytes()
}

/// The hash of a body that follows another.
pub(crate) fn follow(before: &Hash, plain: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(plain);
    *hasher.finalize().as_bytes()
}

/// Events as JSON, one a line.
pub(crate) fn lines(events: &[Event]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(events.len() * 192);
    for event in events {
        serde_json::to_writer(&mut lines, event).expect("an event has keys of text, and memory takes all");
        lines.push(b'\n');
    }
    lines
}

/// Packs lines that follow a group with this hash.
pub(crate) fn pack(first_seq: u64, plain: Vec<u8>, before: &Hash) -> Group {
    let hash = follow(before, &plain);
    if plain.len() < PACK_FROM_BYTES {
        return Group { first_seq, codec: Codec::Plain, body: plain, hash };
    }
    Group { first_seq, codec: Codec::Lz4, body: lz4_flex::block::compress_prepend_size(&plain), hash }
}

/// The lines of a stored body. `None` where it cannot be one.
pub(crate) fn unpack(codec: i64, body: Vec<u8>) -> Option<Vec<u8>> {
    if codec == Codec::Plain as i64 {
        return Some(body);
    }
    let size = body.first_chunk().map(|size| u32::from_le_bytes(*size) as usize)?;
    if codec != Codec::Lz4 as i64 || size > MOST_BYTES {
        return None;
    }
    lz4_flex::block::decompress_size_prepended(&body).ok()
}

/// Reads lines back; their events have to be numbered from `first_seq` on.
///
/// # Errors
///
/// A line is no event, or has another number.
pub(crate) fn parse(plain: &[u8], first_seq: u64, path: &Path) -> Result<Vec<Event>, JournalError> {
    let damaged = |what: String| JournalError::Damaged { path: path.to_owned(), what };
    let lines = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let event = |(seq, line): (u64, &[u8])| {
        let event: Event = serde_json::from_slice(line)
            .map_err(|error| damaged(format!("event {seq} cannot be read: {error}")))?;
        match event.seq == seq {
            true => Ok(event),
            false => Err(damaged(format!("event {} stands where {seq} should", event.seq))),
        }
    };
    (first_seq..).zip(lines).map(event).collect()
}

/// A hash as people write it.
pub(crate) fn hex(hash: &[u8]) -> String {
    let mut text = Vec::with_capacity(hash.len() * 2);
    for byte in hash {
        write!(text, "{byte:02x}").expect("memory takes all");
    }
    String::from_utf8(text).expect("hex digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dirigent_core::event::Fact;

    #[test]
    fn what_is_packed_reads_back_small_and_large() {
        for count in [1, 1000] {
            let event = |seq| Event { seq, at_ms: 7, fact: Fact::RunSuspended };
            let events: Vec<_> = (5..5 + count).map(event).collect();
            let plain = lines(&events);
            let group = pack(5, plain.clone(), &[0; 32]);
            assert_eq!(group.codec == Codec::Lz4, count > 1);
            assert!(group.body.len() <= plain.len());
            let back = unpack(group.codec as i64, group.body).expect("unpacks");
            assert_eq!(follow(&[0; 32], &back), group.hash);
            let back = parse(&back, 5, Path::new("journal.db")).expect("parses");
            assert!(back.iter().eq(&events));
        }
    }

    #[test]
    fn a_body_that_claims_to_be_huge_is_refused_before_it_takes_memory() {
        assert_eq!(unpack(Codec::Lz4 as i64, vec![0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(unpack(9, vec![1, 0, 0, 0, 0]), None);
    }
}
