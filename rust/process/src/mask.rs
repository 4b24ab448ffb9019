//! Finds forms of secrets in bytes that come in pieces, and puts `***` in their place.
//!
//! Knows nothing of what secrets are called, nor where the bytes come from.

use crate::disguise::without_line_breaks;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use std::sync::Arc;

/// What stands in the place of a secret.
pub(crate) const MASK: &[u8] = b"***";

/// From this size of all that is looked for on, the fastest way to look would take too much memory.
const SMALL_BYTES: usize = 16 * 1024;

/// What is looked for, made once for all streams.
#[derive(Debug)]
pub(crate) struct Needles {
    finder: AhoCorasick,
    /// Sorted, so that all that begin with some bytes stand together.
    needles: Vec<Vec<u8>>,
    longest: usize,
    begins: [bool; 256],
}

/// Puts `***` in the place of every secret of one stream.
///
/// Only bytes with which a secret could begin are held back, until more come. Line breaks within a secret do not hide it.
#[derive(Debug)]
pub struct Masker {
    needles: Arc<Needles>,
    held: Vec<u8>,
    /// How many bytes of those are part of a secret that was told as `***` already.
    told: usize,
    unbroken: Unbroken,
}

/// Bytes without their line breaks, and where each of them stood.
#[derive(Debug, Default)]
struct Unbroken {
    bytes: Vec<u8>,
    /// Where a piece without line breaks begins, here and where it was taken from.
    pieces: Vec<(usize, usize)>,
}

impl Needles {
    /// Gets the needles without line breaks, none of them empty. `None` where there are more than can be looked for.
    pub(crate) fn new(needles: impl Iterator<Item = Vec<u8>>) -> Option<Self> {
        let mut needles: Vec<Vec<u8>> = needles.collect();
        needles.sort_unstable();
        needles.dedup();
        let is_small = needles.iter().map(Vec::len).sum::<usize>() < SMALL_BYTES;
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind((!is_small).then_some(AhoCorasickKind::ContiguousNFA))
            .build(&needles)
            .ok()?;
        let mut begins = [false; 256];
        needles.iter().for_each(|needle| begins[usize::from(needle[0])] = true);
        let longest = needles.iter().map(Vec::len).max().unwrap_or(0);
        Some(Self { finder, needles, longest, begins })
    }

    /// Whether one of them stands in a text.
    pub(crate) fn are_in(&self, text: &[u8]) -> bool {
        self.finder.is_match(&without_line_breaks(text))
    }

    /// Where the end begins that may be the beginning of a needle; the length where it cannot be.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let from = (bytes.len() + 1).saturating_sub(self.longest);
        let is_open = |at: &usize| self.begins[usize::from(bytes[*at])] && self.has_longer(&bytes[*at..]);
        (from..bytes.len()).find(is_open).unwrap_or(bytes.len())
    }

    /// Whether a needle begins with these bytes and is longer.
    fn has_longer(&self, bytes: &[u8]) -> bool {
        let place = self.needles.partition_point(|needle| needle.as_slice() <= bytes);
        self.needles.get(place).is_some_and(|needle| needle.starts_with(bytes))
    }
}

impl Masker {
    /// For a stream that nothing has come of yet.
    pub(crate) fn new(needles: Arc<Needles>) -> Self {
        Self { needles, held: Vec::new(), told: 0, unbroken: Unbroken::default() }
    }

    /// Takes the next bytes, and gives what can be told so far.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(chunk);
        self.tell(false, out);
    }

    /// Nothing more comes: gives what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.tell(true, out);
    }

    fn tell(&mut self, is_end: bool, out: &mut Vec<u8>) {
        let Self { needles, held, told, unbroken } = self;
        unbroken.take(held);
        let end = match is_end {
            true => held.len(),
            false => unbroken.place(needles.open_end(&unbroken.bytes)).unwrap_or(held.len()),
        };
        // What was told as `***` last ends here.
        let mut done = *told;
        let mut at = 0;
        while let Some(found) = needles.finder.find(Input::new(&unbroken.bytes).range(at..)) {
            let start = unbroken.place(found.start()).unwrap_or(end);
            if start >= end {
                break;
            }
            if start >= done {
                out.extend_from_slice(&held[done..start]);
                out.extend_from_slice(MASK);
            }
            let last = unbroken.place(found.end() - 1).unwrap_or(end);
            done = done.max(last + 1);
            // Another one may begin within this one and go on behind it.
            at = found.start() + 1;
        }
        out.extend_from_slice(held.get(done..end).unwrap_or_default());
        *told = done.saturating_sub(end);
        held.drain(..end);
    }
}

impl Unbroken {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.pieces.clear();
        let mut from = 0;
        for at in memchr::memchr2_iter(b'\n', b'\r', bytes).chain([bytes.len()]) {
            if at > from {
                self.pieces.push((self.bytes.len(), from));
                self.bytes.extend_from_slice(&bytes[from..at]);
            }
            from = at + 1;
        }
    }

    /// Where a byte stood; `None` for one behind the end.
    fn place(&self, at: usize) -> Option<usize> {
        let piece = self.pieces.partition_point(|(here, _)| *here <= at).checked_sub(1)?;
        let (here, there) = self.pieces[piece];
        (at < self.bytes.len()).then(|| there + (at - here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(needles: &[&str]) -> Arc<Needles> {
        let needles = Needles::new(needles.iter().map(|needle| needle.as_bytes().to_vec()));
        Arc::new(needles.expect("few"))
    }

    /// Puts the text through in pieces of this many bytes.
    fn masked(needles: &Arc<Needles>, text: &str, piece: usize) -> String {
        let mut masker = Masker::new(Arc::clone(needles));
        let mut out = Vec::new();
        text.as_bytes().chunks(piece).for_each(|chunk| masker.push(chunk, &mut out));
        masker.finish(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[track_caller]
    fn check(list: &[&str], text: &str, expected: &str) {
        let needles = needles(list);
        for piece in 1..=text.len() {
            assert_eq!(masked(&needles, text, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_secret_is_masked_however_it_is_cut_and_all_else_stays() {
        check(&["hunter22"], "my hunter22, not hunter2\n", "my ***, not hunter2\n");
        check(&["hunter22"], "hunter22hunter22", "******");
        check(&["hunter22"], "hunhunter22", "hun***");
        check(&["hunter22"], "hun\r\nter22 hunter", "*** hunter");
        check(&["hunter22"], "a\n\nb\r\nhunte\n\n", "a\n\nb\r\nhunte\n\n");
    }

    #[test]
    fn secrets_that_lie_over_each_other_are_masked_together() {
        check(&["abcd", "cdef"], "abcdef abcdx cdef", "*** ***x ***");
        check(&["abab"], "xababab", "x***");
        check(&["abcd", "abcdefgh"], "abcdef abcdefgh", "***ef ***");
        check(&["abcdefgh", "cdef"], "abcdefgx abcdefgh", "ab***gx ***");
        check(&["aaaa"], "aaa aaaaaaa", "aaa ***");
    }

    #[test]
    fn only_what_may_begin_a_secret_is_held_back() {
        let mut masker = Masker::new(needles(&["hunter22", "ntxx"]));
        let mut out = Vec::new();
        masker.push(b"a prompt: ", &mut out);
        assert_eq!(out, b"a prompt: ");
        masker.push(b"hunt", &mut out);
        assert_eq!(out, b"a prompt: ");
        masker.push(b"x", &mut out);
        assert_eq!(out, b"a prompt: hu", "`ntx` may go on");
        masker.push(b"!", &mut out);
        assert_eq!(out, b"a prompt: huntx!");
    }

    #[test]
    fn pieces_of_any_size_come_to_the_same_as_one() {
        // A small generator of numbers, the same in every run: texts of few letters, so that all kinds of overlaps occur.
        let mut seed = 1_u32;
        let mut next = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        for round in 0..3_000 {
            let mut text = |length: u32| -> String {
                (0..length).map(|_| ['a', 'b', 'c', '\n'][next(4) as usize]).collect()
            };
            let (long, list) = (text(60), [text(5), text(6), text(9)]);
            let list = list.map(|needle| format!("ab{}", needle.replace('\n', "")));
            let needles = needles(&list.each_ref().map(String::as_str));
            let whole = masked(&needles, &long, 60);
            for piece in 1..20 {
                assert_eq!(masked(&needles, &long, piece), whole, "round {round}: {list:?} in {long:?}");
            }
            let left: String = whole.replace('\n', "");
            assert!(!list.iter().any(|needle| left.contains(needle)), "{list:?} in {long:?}: {whole:?}");
        }
    }
}
