//! Which scripts there are: folders walked on all cores, what is to be skipped skipped, what could not be seen told.
//!
//! Knows no configuration file; what files say about skipping and interpreters comes in as values.

use crate::fault::ProjectError;
use crate::filter::{Filter, glob_target};
use crate::recognise::{Interpreter, Recogniser};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, ParallelVisitor, ParallelVisitorBuilder, WalkBuilder, WalkState};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Folders that are never looked into: what tools and package managers fill. Hidden folders are not either.
pub const SKIP_DIRS: [&str; 17] = [
    "__pycache__",
    "node_modules",
    "site-packages",
    "venv",
    ".venv",
    ".git",
    ".hg",
    ".svn",
    ".tox",
    ".nox",
    ".eggs",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    ".idea",
    ".dirigent",
];

/// Files that are never taken for scripts unless named: hidden ones, editors' leavings, and what other tools import.
pub const SKIP_PATTERNS: [&str; 5] = [".*", "*~", "#*#", "__init__.py", "conftest.py"];

/// What to look for, and where.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Folders, files, or globs of files; absolute.
    pub targets: Vec<PathBuf>,
    /// Look only into these folders of each target folder.
    pub subdirs: Vec<PathBuf>,
    /// Take only files that one of these globs means, from their target folder; empty for what looks like a script.
    pub patterns: Vec<String>,
    /// Take only files of these extensions (without dots); empty for any.
    pub extensions: Vec<String>,
    /// How many folders below a target are looked into: 0 for the target alone, `None` for all.
    pub max_depth: Option<u32>,
    /// What is left out, in the syntax of a `.gitignore`.
    pub skip: Vec<String>,
    /// The folder that `skip` is meant from; `None` for the target.
    pub skip_root: Option<PathBuf>,
    /// Which program runs files of an extension (without its dot).
    pub interpreters: BTreeMap<String, Vec<String>>,
    /// How many threads walk; 0 for as many as there are cores.
    pub threads: usize,
    /// Whether `.gitignore` and `.ignore` files are not honoured.
    pub no_ignore_files: bool,
}

/// A script that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Where it is; absolute, links not resolved.
    pub path: PathBuf,
    /// The same from [`Found::root`].
    pub relative: PathBuf,
    /// [`Script::relative`] as text, with `/` between folders and `\xHH` for bytes that are no text.
    pub name: String,
    /// What runs it.
    pub interpreter: Interpreter,
}

/// Something that was not looked at, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub path: PathBuf,
    /// Why, as a clause.
    pub reason: String,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The folder that names are relative to: the target folder, or the nearest above all targets.
    pub root: PathBuf,
    /// The scripts, sorted by their paths, folder by folder.
    pub scripts: Vec<Script>,
    /// What was not looked at, sorted by path.
    pub notices: Vec<Notice>,
}

/// Looks for scripts.
///
/// # Errors
/// A target does not exist or cannot be run, or a pattern cannot be understood. What goes wrong below a target is a notice.
pub fn discover(query: &Query) -> Result<Found, ProjectError> {
    let recogniser = Recogniser::new(&query.interpreters);
    let filter = Filter::new(&query.patterns, &query.extensions)?;
    let mut walks = Vec::new();
    let mut found = Findings::default();
    for target in &query.targets {
        match fs::metadata(target) {
            Ok(metadata) if metadata.is_dir() => walks.extend(folders(target, &query.subdirs, &filter)?),
            Ok(_) => found.scripts.push(named_file(target, &recogniser)?),
            Err(error) => match glob_target(target) {
                Some((folder, pattern)) if folder.is_dir() => {
                    walks.push(Walk { folder, filter: filter.and(&pattern)? });
                }
                _ if error.kind() == io::ErrorKind::NotFound => {
                    return Err(ProjectError::NoSuchTarget { path: target.clone() });
                }
                _ => {
                    return Err(ProjectError::Io { doing: "look at", path: target.clone(), source: error });
                }
            },
        }
    }
    let roots: Vec<&Path> = found
        .scripts
        .iter()
        .filter_map(|(path, _)| path.parent())
        .chain(walks.iter().map(|walk| walk.folder.as_path()))
        .collect();
    let root = match (query.targets.as_slice(), walks.as_slice()) {
        ([target], [_, ..]) if target.is_dir() => target.clone(),
        _ => common_folder(&roots),
    };
    let several =
        walks.len() > 1 || (!walks.is_empty() && !found.scripts.is_empty()) || found.scripts.len() > 1;
    for walk in &walks {
        walk.run(query, &recogniser, &mut found)?;
    }
    Ok(found.finish(root, several))
}

/// A folder to walk, and which of its files count.
struct Walk {
    folder: PathBuf,
    filter: Filter,
}

fn folders(target: &Path, subdirs: &[PathBuf], filter: &Filter) -> Result<Vec<Walk>, ProjectError> {
    if subdirs.is_empty() {
        return Ok(vec![Walk { folder: target.to_owned(), filter: filter.clone() }]);
    }
    subdirs
        .iter()
        .map(|subdir| target.join(subdir))
        .map(|folder| match folder.is_dir() {
            true => Ok(Walk { folder, filter: filter.clone() }),
            false => Err(ProjectError::NoSuchTarget { path: folder }),
        })
        .collect()
}

fn named_file(path: &Path, recogniser: &Recogniser) -> Result<(PathBuf, Interpreter), ProjectError> {
    match recogniser.recognise(path) {
        Ok(Some(interpreter)) if path.is_file() => Ok((path.to_owned(), interpreter)),
        Ok(_) => Err(ProjectError::NotRunnable { path: path.to_owned() }),
        Err(source) => Err(ProjectError::Io { doing: "read", path: path.to_owned(), source }),
    }
}

fn common_folder(folders: &[&Path]) -> PathBuf {
    let Some((first, rest)) = folders.split_first() else {
        return PathBuf::new();
    };
    let is_common = |folder: &&Path| rest.iter().all(|other| other.starts_with(folder));
    first.ancestors().find(is_common).unwrap_or(first).to_owned()
}

/// What walks bring back.
#[derive(Default)]
struct Findings {
    scripts: Vec<(PathBuf, Interpreter)>,
    notices: Vec<Notice>,
}

impl Findings {
    fn notice(&mut self, path: &Path, reason: impl Into<String>) {
        self.notices.push(Notice { path: path.to_owned(), reason: reason.into() });
    }

    fn finish(mut self, root: PathBuf, several: bool) -> Found {
        if several {
            // The same file by two targets, perhaps by a link of one to the other, counts once.
            let mut seen = HashSet::new();
            let mut folders = BTreeMap::new();
            self.scripts.sort_by(|(a, _), (b, _)| a.cmp(b));
            self.scripts.retain(|(path, _)| {
                let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
                let real = folders
                    .entry(folder)
                    .or_insert_with_key(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone()));
                seen.insert(real.join(path.file_name().unwrap_or_default()))
            });
        }
        let mut scripts: Vec<Script> = self
            .scripts
            .into_iter()
            .map(|(path, interpreter)| {
                let relative = path.strip_prefix(&root).unwrap_or(&path).to_owned();
                Script { name: name(&relative), relative, path, interpreter }
            })
            .collect();
        scripts.sort_by_cached_key(|script| folder_order(&script.path));
        self.notices.sort_by_cached_key(|notice| folder_order(&notice.path));
        self.notices.dedup();
        Found { root, scripts, notices: self.notices }
    }
}

/// A key by which `a/z` comes before `a.py`, as it does when paths are compared folder by folder.
fn folder_order(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

/// A path as text that tells every byte: what is no text becomes `\xHH`.
fn name(relative: &Path) -> String {
    let mut out = String::new();
    for component in relative.components() {
        if !out.is_empty() {
            out.push('/');
        }
        for chunk in component.as_os_str().as_encoded_bytes().utf8_chunks() {
            out.push_str(chunk.valid());
            out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        }
    }
    out
}

impl Walk {
    fn run(&self, query: &Query, recogniser: &Recogniser, found: &mut Findings) -> Result<(), ProjectError> {
        let skip_root = query.skip_root.as_deref().unwrap_or(&self.folder);
        let mut skip = GitignoreBuilder::new(skip_root);
        for pattern in &query.skip {
            skip.add_line(None, pattern).map_err(|error| ProjectError::BadPattern {
                pattern: pattern.clone(),
                message: error.to_string(),
            })?;
        }
        let skip = skip.build().map_err(|error| ProjectError::BadPattern {
            pattern: query.skip.join(" "),
            message: error.to_string(),
        })?;
        let honour = !query.no_ignore_files;
        let walker = WalkBuilder::new(&self.folder)
            .hidden(true)
            .follow_links(false)
            .max_depth(query.max_depth.map(|depth| depth as usize + 1))
            .parents(honour)
            .ignore(honour)
            .git_ignore(honour)
            .git_exclude(honour)
            .git_global(false)
            .require_git(false)
            .threads(query.threads)
            .build_parallel();
        let all = Mutex::new(found);
        let mut shared = Shared { walk: self, recogniser, skip, skip_root, all: &all };
        walker.visit(&mut shared);
        Ok(())
    }
}

/// What the threads of one walk have in common.
struct Shared<'w, 'f> {
    walk: &'w Walk,
    recogniser: &'w Recogniser,
    skip: Gitignore,
    skip_root: &'w Path,
    all: &'w Mutex<&'f mut Findings>,
}

impl<'s, 'w: 's, 'f: 's> ParallelVisitorBuilder<'s> for Shared<'w, 'f> {
    fn build(&mut self) -> Box<dyn ParallelVisitor + 's> {
        Box::new(Visitor {
            walk: self.walk,
            recogniser: self.recogniser,
            skip: self.skip.clone(),
            skip_root: self.skip_root,
            all: self.all,
            own: Findings::default(),
        })
    }
}

/// One thread of a walk. Keeps what it finds to itself until it ends, so that threads never wait for each other.
struct Visitor<'w, 'f> {
    walk: &'w Walk,
    recogniser: &'w Recogniser,
    skip: Gitignore,
    skip_root: &'w Path,
    all: &'w Mutex<&'f mut Findings>,
    own: Findings,
}

impl ParallelVisitor for Visitor<'_, '_> {
    fn visit(&mut self, entry: Result<DirEntry, ignore::Error>) -> WalkState {
        match entry {
            Ok(entry) => self.entry(entry),
            Err(error) => {
                let (path, reason) = told(&error, &self.walk.folder);
                self.own.notice(&path, reason);
                WalkState::Continue
            }
        }
    }
}

impl Visitor<'_, '_> {
    fn entry(&mut self, entry: DirEntry) -> WalkState {
        if let Some(error) = entry.error() {
            self.own.notice(entry.path(), format!("an ignore file is not understood: {error}"));
        }
        let Some(kind) = entry.file_type().filter(|_| entry.depth() > 0) else {
            return WalkState::Continue;
        };
        if kind.is_dir() {
            let skipped = is_skipped_folder(entry.file_name()) || self.is_skipped(entry.path(), true);
            return if skipped { WalkState::Skip } else { WalkState::Continue };
        }
        if kind.is_symlink() {
            self.link(entry.path());
        } else if kind.is_file() && self.wants(entry.path()) {
            self.take(entry.into_path());
        }
        WalkState::Continue
    }

    fn wants(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.walk.filter.takes(path, &self.walk.folder)
            && !is_skipped_file(name)
            && !self.is_skipped(path, false)
    }

    fn is_skipped(&self, path: &Path, is_folder: bool) -> bool {
        !self.skip.is_empty()
            && path
                .strip_prefix(self.skip_root)
                .is_ok_and(|path| self.skip.matched(path, is_folder).is_ignore())
    }

    fn take(&mut self, path: PathBuf) {
        match self.recogniser.recognise(&path) {
            Ok(Some(interpreter)) => self.own.scripts.push((path, interpreter)),
            Ok(None) => {}
            Err(error) => self.own.notice(&path, format!("cannot be read: {}", plain(&error))),
        }
    }

    /// A link to a file is as good as the file; a link to a folder could lead anywhere, also round in circles.
    fn link(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default();
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                if is_skipped_folder(name) || self.is_skipped(path, true) {
                    return;
                }
                let loops = path.canonicalize().is_ok_and(|real| {
                    path.parent()
                        .and_then(|parent| parent.canonicalize().ok())
                        .is_some_and(|parent| parent.starts_with(real))
                });
                let reason = if loops {
                    "a link to a folder above it: a loop, not followed"
                } else {
                    "a link to a folder is not followed"
                };
                self.own.notice(path, reason);
            }
            Ok(metadata) if metadata.is_file() && self.wants(path) => self.take(path.to_owned()),
            Ok(_) => {}
            Err(error) if self.wants(path) && self.recogniser.knows_name(path) => {
                let reason = match error.kind() {
                    io::ErrorKind::NotFound => "a link to nothing".to_owned(),
                    _ => format!("a link that cannot be followed: {}", plain(&error)),
                };
                self.own.notice(path, reason);
            }
            Err(_) => {}
        }
    }
}

impl Drop for Visitor<'_, '_> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.scripts.append(&mut self.own.scripts);
        all.notices.append(&mut self.own.notices);
    }
}

/// Hidden folders are left out by the walker itself.
pub(crate) fn is_skipped_folder(name: &OsStr) -> bool {
    SKIP_DIRS.iter().any(|skipped| name == *skipped)
}

/// [`SKIP_PATTERNS`], written out because it is asked for every file; hidden files are left out by the walker itself.
fn is_skipped_file(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b".")
        || bytes.ends_with(b"~")
        || (bytes.starts_with(b"#") && bytes.ends_with(b"#"))
        || name == "__init__.py"
        || name == "conftest.py"
}

/// The place and the words of an error of the walk.
fn told(error: &ignore::Error, folder: &Path) -> (PathBuf, String) {
    match error {
        ignore::Error::WithPath { path, err } => (path.clone(), told(err, folder).1),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => told(err, folder),
        ignore::Error::Loop { child, .. } => (child.clone(), "a loop of links".into()),
        ignore::Error::Io(error) => (folder.to_owned(), format!("cannot be read: {}", plain(error))),
        other => (folder.to_owned(), other.to_string()),
    }
}

/// An error of the system without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

#[cfg(all(test, unix))]
mod tests;
