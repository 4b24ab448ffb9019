//! What lies in watched places at a moment, by content: two moments are compared to see what changed.
//!
//! Knows nothing of how changes are noticed, nor of what follows from one.

use crate::discover::is_skipped_folder;
use crate::document::EXTENSIONS;
use crate::fault::ProjectError;
use crate::filter::{Filter, glob_target};
use crate::recognise::Recogniser;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, WalkBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Larger files are compared by size and time alone.
const HASHED_BYTES: u64 = 8 << 20;
/// A file that was touched this shortly before it was looked at may change again within the same tick of the clock.
const TICK: Duration = Duration::from_millis(50);

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    places: Vec<Place>,
    skip: Option<Arc<(PathBuf, Gitignore)>>,
    except: Vec<PathBuf>,
    recogniser: Recogniser,
}

#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    /// What counts in a folder; `None` for a place that is a single file.
    filter: Option<Filter>,
    /// Whether everything here was named, and therefore always counts.
    is_named: bool,
}

/// The files there are, and the folders in which one could appear.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    files: BTreeMap<PathBuf, Stamp>,
    folders: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
struct Stamp {
    size: u64,
    modified_ns: i128,
    inode: (u64, u64, i128),
    is_executable: bool,
    hash: Option<blake3::Hash>,
    /// Whether the same stamp later means the same content.
    is_settled: bool,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It was not there.
    New,
    /// It has other content.
    Changed,
    /// It is not there any more.
    Gone,
}

impl Scope {
    /// Watches nothing yet. `skip` is what the project leaves out, in the syntax of a `.gitignore` from `skip_root`;
    /// `except` are folders of which nothing counts.
    ///
    /// # Errors
    /// A pattern cannot be understood.
    pub fn new(
        skip: &[String],
        skip_root: &Path,
        except: Vec<PathBuf>,
        interpreters: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, ProjectError> {
        let bad = |pattern: &str, error: ignore::Error| ProjectError::BadPattern {
            pattern: pattern.to_owned(),
            message: error.to_string(),
        };
        let mut builder = GitignoreBuilder::new(skip_root);
        for pattern in skip {
            builder.add_line(None, pattern).map_err(|error| bad(pattern, error))?;
        }
        let skip = builder.build().map_err(|error| bad(&skip.join(" "), error))?;
        let skip = (!skip.is_empty()).then(|| Arc::new((skip_root.to_owned(), skip)));
        Ok(Self { places: Vec::new(), skip, except, recogniser: Recogniser::new(interpreters) })
    }

    /// Watches what a run is of: a folder; a script; a workflow file or `file.py:name` with the folder it lies in; a glob.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn add_target(&mut self, target: &Path) -> Result<(), ProjectError> {
        let before_name = target.to_str().and_then(|text| Some(PathBuf::from(text.rsplit_once(':')?.0)));
        let file = [Some(target.to_owned()), before_name].into_iter().flatten().find(|path| path.is_file());
        let Some(file) = file else {
            return self.add(target, false);
        };
        let is_workflow = file.as_path() != target
            || file.extension().and_then(OsStr::to_str).is_some_and(|it| EXTENSIONS.contains(&it));
        if let Some(folder) = file.parent().filter(|_| is_workflow) {
            self.add(folder, false)?;
        }
        self.add(&file, true)
    }

    /// Watches a file, a folder or a glob; where it `is_named`, changes of it count also while a run goes on.
    ///
    /// # Errors
    /// There is no such thing, or the glob cannot be understood.
    pub fn add(&mut self, path: &Path, is_named: bool) -> Result<(), ProjectError> {
        let place = if path.is_dir() {
            Place { path: path.to_owned(), filter: Some(Filter::default()), is_named }
        } else if path.exists() {
            Place { path: path.to_owned(), filter: None, is_named: true }
        } else {
            match glob_target(path) {
                Some((path, pattern)) if path.is_dir() => {
                    Place { path, filter: Some(Filter::default().and(&pattern)?), is_named }
                }
                _ => return Err(ProjectError::NoSuchTarget { path: path.to_owned() }),
            }
        };
        self.places.push(place);
        Ok(())
    }

    /// Whether something that happened to a path can mean that what is watched changed.
    pub fn may_concern(&self, path: &Path) -> bool {
        let concerns = |place: &Place| match &place.filter {
            _ if place.path.starts_with(path) => true,
            None => false,
            Some(_) => path.strip_prefix(&place.path).is_ok_and(|below| {
                !below.iter().any(|name| is_hidden(name) || is_skipped_folder(name) || is_temporary(name))
            }),
        };
        self.places.iter().any(concerns) && !self.is_excepted(path)
    }

    /// Whether a file says what is to be run, so that somebody rather than a run changes it.
    pub fn is_source(&self, path: &Path) -> bool {
        let names = |place: &Place| {
            place.is_named
                && match &place.filter {
                    None => place.path == path,
                    Some(filter) => path.starts_with(&place.path) && filter.takes(path, &place.path),
                }
        };
        self.places.iter().any(names)
            || self.recogniser.knows_name(path)
            || self.recogniser.recognise(path).is_ok_and(|interpreter| interpreter.is_some())
    }

    /// The folders in which the places themselves lie: where one goes away or comes back is seen there.
    pub fn above(&self) -> BTreeSet<PathBuf> {
        let above =
            |place: &Place| place.path.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned);
        self.places.iter().filter_map(above).collect()
    }

    fn is_excepted(&self, path: &Path) -> bool {
        self.except.iter().any(|folder| path.starts_with(folder))
    }

    fn is_skipped(&self, path: &Path, is_folder: bool) -> bool {
        self.is_excepted(path)
            || self.skip.as_deref().is_some_and(|(root, skip)| {
                path.strip_prefix(root).is_ok_and(|path| skip.matched(path, is_folder).is_ignore())
            })
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// What editors and tools write on the way to something else.
fn is_temporary(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let ends = ["~", ".swp", ".swo", ".swx", ".tmp", ".part", ".pyc", "___jb_tmp___", "___jb_old___"];
    ends.iter().any(|end| bytes.ends_with(end.as_bytes()))
        || (bytes.starts_with(b"#") && bytes.ends_with(b"#"))
        // With a file of this name Vim tries whether it may write.
        || bytes == b"4913"
}

impl Snapshot {
    /// Looks at everything that is watched. What cannot be read counts as not there.
    #[must_use]
    pub fn take(scope: &Scope, before: &Self) -> Self {
        let mut snapshot = Self::default();
        for place in &scope.places {
            match &place.filter {
                None => snapshot.see(&place.path, before),
                Some(filter) => snapshot.walk(place, filter, scope, before),
            }
        }
        snapshot
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The folders in which a change would be one of these files.
    pub fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// What is different in a later one, sorted by path.
    pub fn changes(&self, later: &Self) -> Vec<(PathBuf, Became)> {
        let new = later.files.iter().filter_map(|(path, stamp)| match self.files.get(path) {
            None => Some((path.clone(), Became::New)),
            Some(old) if old.differs(stamp) => Some((path.clone(), Became::Changed)),
            Some(_) => None,
        });
        let gone = self.files.keys().filter(|path| !later.files.contains_key(*path));
        let mut changes: Vec<_> = new.chain(gone.map(|path| (path.clone(), Became::Gone))).collect();
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        changes
    }

    fn walk(&mut self, place: &Place, filter: &Filter, scope: &Scope, before: &Self) {
        let walker_scope = scope.clone();
        let wanted = move |entry: &DirEntry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            entry.depth() == 0
                || !(walker_scope.is_skipped(entry.path(), is_folder)
                    || (is_folder && is_skipped_folder(entry.file_name())))
        };
        let entries =
            WalkBuilder::new(&place.path).require_git(false).git_global(false).filter_entry(wanted).build();
        for entry in entries.flatten() {
            if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                self.folders.insert(entry.into_path());
            } else if !is_temporary(entry.file_name()) && filter.takes(entry.path(), &place.path) {
                self.see(entry.path(), before);
            }
        }
    }

    fn see(&mut self, path: &Path, before: &Self) {
        let Some(metadata) = path.metadata().ok().filter(Metadata::is_file) else {
            return;
        };
        // A link is as good as the file, which changes where it lies.
        let real = path.is_symlink().then(|| path.canonicalize().ok()).flatten();
        self.folders.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
        let stamp = Stamp::new(path, &metadata, before.files.get(path));
        self.files.insert(path.to_owned(), stamp);
    }
}

impl Stamp {
    fn new(path: &Path, metadata: &Metadata, before: Option<&Self>) -> Self {
        let ns = |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
        let changed_ns = ns(metadata.ctime(), metadata.ctime_nsec());
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let stamp = Self {
            size: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            inode: (metadata.dev(), metadata.ino(), changed_ns),
            is_executable: metadata.mode() & 0o111 != 0,
            hash: None,
            is_settled: i128::try_from(now_ns).is_ok_and(|now| changed_ns + (TICK.as_nanos() as i128) < now),
        };
        let known = before.filter(|old| old.is_settled && old.inode == stamp.inode && old.size == stamp.size);
        Self { hash: known.map_or_else(|| hash(path, stamp.size), |old| old.hash), ..stamp }
    }

    fn differs(&self, later: &Self) -> bool {
        let content = match (self.hash, later.hash) {
            (Some(old), Some(new)) => old != new,
            _ => (self.size, self.modified_ns) != (later.size, later.modified_ns),
        };
        content || self.is_executable != later.is_executable
    }
}

fn hash(path: &Path, size: u64) -> Option<blake3::Hash> {
    if size > HASHED_BYTES {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    File::open(path).and_then(|file| file.take(HASHED_BYTES + 1).read_to_end(&mut bytes)).ok()?;
    Some(blake3::hash(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn scope(folder: &Path, skip: &[&str]) -> Scope {
        let skip: Vec<String> = skip.iter().map(|pattern| (*pattern).to_owned()).collect();
        let mut scope =
            Scope::new(&skip, folder, vec![folder.join("state")], &BTreeMap::new()).expect("good patterns");
        scope.add_target(folder).expect("a folder");
        scope
    }

    /// What is seen of changes, as `name became`.
    #[track_caller]
    fn check(skip: &[&str], change: impl FnOnce(&Path), expected: &[(&str, Became)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        for (name, text) in [("a.py", "1"), ("data.csv", "x"), ("sub/b.sh", "2"), (".gitignore", "out/\n")] {
            fs::create_dir_all(folder.join(name).parent().expect("a parent")).expect("made");
            fs::write(folder.join(name), text).expect("written");
        }
        let scope = scope(folder, skip);
        let before = Snapshot::take(&scope, &Snapshot::default());
        change(folder);
        let changes = before.changes(&Snapshot::take(&scope, &before));
        let seen: Vec<_> = changes
            .iter()
            .map(|(path, became)| {
                (path.strip_prefix(folder).expect("below").to_str().expect("text"), *became)
            })
            .collect();
        assert_eq!(seen, expected);
    }

    fn put(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder.join(name).parent().expect("a parent")).expect("made");
        fs::write(folder.join(name), text).expect("written");
    }

    #[test]
    fn what_has_other_content_changed_and_what_has_the_same_did_not() {
        check(&[], |folder| put(folder, "a.py", "3"), &[("a.py", Became::Changed)]);
        check(&[], |folder| put(folder, "a.py", "1"), &[]);
        check(&[], |folder| put(folder, "new/c.py", "1"), &[("new/c.py", Became::New)]);
        check(
            &[],
            |folder| fs::rename(folder.join("sub"), folder.join("away")).expect("moved"),
            &[("away/b.sh", Became::New), ("sub/b.sh", Became::Gone)],
        );
        check(
            &[],
            |folder| {
                put(folder, "other", "4");
                fs::rename(folder.join("other"), folder.join("a.py")).expect("renamed over");
            },
            &[("a.py", Became::Changed)],
        );
    }

    #[test]
    fn what_is_ignored_skipped_temporary_or_of_runs_does_not_count() {
        check(&["*.csv", "/sub"], |folder| put(folder, "data.csv", "y"), &[]);
        check(&["/sub"], |folder| put(folder, "sub/b.sh", "y"), &[]);
        let leavings = [
            "out/x.txt",
            "state/x",
            ".git/index",
            "__pycache__/a.pyc",
            "a.py~",
            "#a.py#",
            ".a.py.swp",
            "4913",
            "x.tmp",
        ];
        check(&[], |folder| leavings.iter().for_each(|name| put(folder, name, "x")), &[]);
    }

    #[test]
    fn scripts_and_what_was_named_are_sources_and_data_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        put(folder, "flow.yaml", "name: x");
        put(folder, "in/data.csv", "1");
        let mut scope = scope(folder, &[]);
        assert!(!scope.is_source(&folder.join("flow.yaml")));
        scope.add_target(&folder.join("flow.yaml")).expect("a file");
        scope.add(&folder.join("in/*.csv"), true).expect("a glob");
        assert!(scope.is_source(&folder.join("flow.yaml")) && scope.is_source(&folder.join("gone.py")));
        assert!(scope.is_source(&folder.join("in/data.csv")) && !scope.is_source(&folder.join("out.csv")));
        assert!(scope.may_concern(&folder.join("out.csv")) && scope.may_concern(folder));
        for name in [".git/index", "a/.x.swp", "a.py~", "state/runs/x", "__pycache__"] {
            assert!(!scope.may_concern(&folder.join(name)), "{name}");
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_an_error() {
        let mut scope = Scope::new(&[], Path::new("/"), Vec::new(), &BTreeMap::new()).expect("no patterns");
        assert!(scope.add_target(Path::new("/nowhere/x.py")).is_err());
    }
}
