//! Values too large for the database: files named after what is in them, so that the same content is stored once, and
//! what was altered is noticed.

use crate::fault::JournalError;
use crate::group::hex;
use crate::lock::make_private;
use crate::place::sync;
use dirigent_core::value::{Encoding, Kept};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of the folder.
const NAME: &str = "artifacts";

/// Values longer than this lie in files of their own.
const INLINE_BYTES: usize = 4 << 10;
/// Values longer than this are not kept.
pub const MOST_BYTES: usize = 64 << 20;

/// The artifacts of a state folder.
#[derive(Clone, Debug)]
pub struct Artifacts {
    folder: PathBuf,
}

impl Artifacts {
    /// Those of this state folder.
    pub fn of(state_dir: &Path) -> Self {
        Self { folder: state_dir.join(NAME) }
    }

    /// Records a value: in full where it is small, as an artifact where it is not, and with the reason where it cannot be kept.
    /// The bytes of [`Encoding::Json`] are text; `shown` makes text of others.
    pub fn keep(&self, encoding: Encoding, bytes: Vec<u8>, shown: impl FnOnce(Vec<u8>) -> String) -> Kept {
        if bytes.len() > MOST_BYTES {
            let why = format!("it takes {} MiB, and {} are kept", bytes.len() >> 20, MOST_BYTES >> 20);
            return Kept::NotKept { why: why.into() };
        }
        if bytes.len() <= INLINE_BYTES {
            return Kept::Inline { encoding, text: shown(bytes).into() };
        }
        match self.store(&bytes) {
            Ok(hash) => Kept::Artifact { encoding, hash: hash.into(), bytes: bytes.len() as u64 },
            Err(error) => Kept::NotKept { why: error.to_string().into() },
        }
    }

    /// Records a value that is written as JSON.
    pub fn keep_json(&self, text: String) -> Kept {
        let shown = |bytes| String::from_utf8(bytes).expect("it was text");
        self.keep(Encoding::Json, text.into_bytes(), shown)
    }

    /// Stores bytes, if they are not there yet, and returns the hash that finds them again. The file is whole or not there.
    ///
    /// # Errors
    ///
    /// The file system refuses.
    pub fn store(&self, bytes: &[u8]) -> Result<String, JournalError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let hash = hex(blake3::hash(bytes).as_bytes());
        let path = self.path(&hash);
        if fs::metadata(&path).is_ok_and(|there| there.len() == bytes.len() as u64) {
            return Ok(hash);
        }
        let folder = path.parent().unwrap_or(&self.folder);
        make_private(folder)?;
        let part = folder.join(format!(".{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&part, &path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&part))).map_err(JournalError::io("write", &path))?;
        Ok(hash)
    }

    /// Sees that these are on the disk itself, under their names: their bytes were synced as they were stored.
    ///
    /// # Errors
    ///
    /// The file system refuses.
    pub(crate) fn secure<'a>(&self, hashes: impl Iterator<Item = &'a str>) -> Result<(), JournalError> {
        let paths: Vec<_> = hashes.map(|hash| self.path(hash)).collect();
        let folders: BTreeSet<_> = paths.iter().filter_map(|path| path.parent()).collect();
        folders.into_iter().try_for_each(sync)
    }

    /// The bytes with this hash.
    ///
    /// # Errors
    ///
    /// They are not there, or are not what was stored.
    pub fn load(&self, hash: &str) -> Result<Vec<u8>, JournalError> {
        let path = self.path(hash);
        let damaged = |what: &str| JournalError::Damaged { path: path.clone(), what: what.to_owned() };
        if !is_hash(hash) {
            return Err(damaged("an artifact is named by 64 hex digits"));
        }
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(JournalError::io("read", &path))?;
        if hex(blake3::hash(&bytes).as_bytes()) == hash {
            return Ok(bytes);
        }
        // Out of the way, so that the right bytes can be stored again.
        let _ = fs::rename(&path, path.with_extension("damaged"));
        Err(damaged("it is not what was stored"))
    }

    /// Where the bytes with this hash lie.
    pub fn path(&self, hash: &str) -> PathBuf {
        let (first, rest) = hash.split_at_checked(2).unwrap_or(("", hash));
        self.folder.join(first).join(rest)
    }

    /// The hashes of all that are stored.
    pub fn all(&self) -> Vec<String> {
        let hash = |path: PathBuf| {
            let mut names = path.iter().rev().map(|name| name.to_string_lossy());
            let (rest, first) = (names.next()?, names.next()?);
            Some(first.into_owned() + &*rest)
        };
        self.files().filter_map(hash).filter(|hash| is_hash(hash)).collect()
    }

    /// What whoever was killed while it stored something has left.
    pub(crate) fn parts(&self) -> impl Iterator<Item = PathBuf> {
        self.files().filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.'))
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        entries(self.folder.clone()).flat_map(move |first| entries(first.path())).map(|entry| entry.path())
    }

    /// Drops one.
    pub(crate) fn remove(&self, hash: &str) -> u64 {
        remove(&self.path(hash))
    }
}

/// Drops a file, and returns its size.
pub(crate) fn remove(path: &Path) -> u64 {
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    fs::remove_file(path).map_or(0, |()| size)
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were_and_never_as_something_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let artifacts = Artifacts::of(folder.path());
        let hash = artifacts.store(b"value").expect("stored");
        assert_eq!(artifacts.store(b"value").expect("stored once"), hash);
        assert_eq!(artifacts.load(&hash).expect("loaded"), b"value");
        assert_eq!(artifacts.all(), [hash.as_str()]);
        fs::write(artifacts.path(&hash), b"other").expect("altered");
        assert!(matches!(artifacts.load(&hash), Err(JournalError::Damaged { .. })));
        assert!(matches!(artifacts.load(&hash), Err(JournalError::Io { .. })));
        assert_eq!(artifacts.store(b"value").expect("stored again"), hash);
        assert_eq!(artifacts.load(&hash).expect("loaded"), b"value");
        assert!(artifacts.load("../../etc/passwd").is_err());
    }
}
