//! `dirigent hash`: digests of files, printed as `sha256sum` and its kin print them.

use crate::args::{Algorithm, HashArgs};
use crate::fault::{CliError, exit, shown};
use crate::terminal;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A digest as `--json` prints it.
#[derive(Serialize)]
struct Hashed {
    file: String,
    algorithm: &'static str,
    digest: String,
    bytes: u64,
}

pub(super) fn hash(args: &HashArgs) -> Result<i32, CliError> {
    let mut hashed = Vec::with_capacity(args.files.len());
    for file in &args.files {
        let one = if file.as_os_str() == "-" {
            digest(io::stdin().lock(), args.algorithm)
        } else {
            File::open(file).and_then(|open| digest(open, args.algorithm))
        };
        let (digest, bytes) = one.map_err(CliError::io("read", file))?;
        if !args.json {
            terminal::print(&line(&digest, file));
        }
        let algorithm = name(args.algorithm);
        hashed.push(Hashed { file: file.to_string_lossy().into_owned(), algorithm, digest, bytes });
    }
    if args.json {
        terminal::print(&super::json(&hashed));
    }
    Ok(exit::OK)
}

fn line(digest: &str, file: &Path) -> String {
    format!("{digest}  {}\n", shown(file))
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha256 => "sha256",
        Algorithm::Sha1 => "sha1",
        Algorithm::Sha512 => "sha512",
        Algorithm::Blake3 => "blake3",
    }
}

fn digest(from: impl Read, algorithm: Algorithm) -> io::Result<(String, u64)> {
    match algorithm {
        Algorithm::Sha256 => read::<Sha256>(from),
        Algorithm::Sha1 => read::<Sha1>(from),
        Algorithm::Sha512 => read::<Sha512>(from),
        Algorithm::Blake3 => {
            let mut hasher = blake3::Hasher::new();
            let bytes = pump(from, |chunk| {
                hasher.update(chunk);
            })?;
            Ok((hasher.finalize().to_hex().to_string(), bytes))
        }
    }
}

fn read<D: Digest>(from: impl Read) -> io::Result<(String, u64)> {
    let mut hasher = D::new();
    let bytes = pump(from, |chunk| hasher.update(chunk))?;
    Ok((hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), bytes))
}

fn pump(mut from: impl Read, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(length) => {
                take(&buffer[..length]);
                bytes += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(algorithm: Algorithm, expected: &str) {
        let (digest, bytes) = digest(&b"abc"[..], algorithm).expect("a digest");
        assert!(digest.starts_with(expected), "{digest}");
        assert_eq!(bytes, 3);
    }

    #[test]
    fn digests_are_the_published_ones() {
        // FIPS 180-4, appendix; the BLAKE3 specification's own test vectors.
        check(Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        check(Algorithm::Sha512, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a");
        check(Algorithm::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    }
}
