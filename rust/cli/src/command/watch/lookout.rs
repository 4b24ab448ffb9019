//! Notices that something may have changed, and finds out what did.
//!
//! The system is asked about each folder that counts, and no other: what is ignored costs nothing. What it tells is a
//! reason to look, and no more than that.

use crate::fault::CliError;
use dirigent_project::{Scope, Snapshot};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often folders may turn up while folders are looked at, before that is left for the next time.
const MOST_ROUNDS: usize = 20;

/// Something happened to these paths.
pub(super) struct Touched {
    pub(super) paths: Vec<PathBuf>,
    /// Whether what is there now may be something else under the same name.
    replaces: bool,
    /// Whether the system could not tell everything.
    is_partial: bool,
}

/// What the system is asked about.
pub(super) struct Lookout {
    watcher: RecommendedWatcher,
    /// Each folder, and which one that was.
    folders: BTreeMap<PathBuf, (u64, u64)>,
}

impl Lookout {
    /// Begins. `tell` is called on another thread.
    pub(super) fn new(tell: impl Fn(Touched) + Send + 'static) -> Result<Self, CliError> {
        let pass_on = move |event: notify::Result<Event>| {
            let all = || Touched { paths: Vec::new(), replaces: true, is_partial: true };
            match event {
                Ok(event) if event.need_rescan() => tell(all()),
                Ok(event) => match event.kind {
                    // We look at files ourselves.
                    EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write) => {}
                    kind => {
                        let replaces =
                            matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
                        tell(Touched { paths: event.paths, replaces, is_partial: false });
                    }
                },
                Err(_) => tell(all()),
            }
        };
        let watcher =
            notify::recommended_watcher(pass_on).map_err(|error| refused(error, Path::new("files")))?;
        Ok(Self { watcher, folders: BTreeMap::new() })
    }

    /// Takes in what the system told; whether it concerns what is watched.
    pub(super) fn heard(&mut self, touched: &Touched, scope: &Scope) -> bool {
        if touched.is_partial {
            self.folders.clear();
        }
        if touched.replaces {
            // The system stops telling about a folder that went away, also where it is back since.
            self.folders.retain(|folder, _| !touched.paths.iter().any(|path| folder.starts_with(path)));
        }
        touched.is_partial || touched.paths.iter().any(|path| scope.may_concern(path))
    }

    /// Looks at everything, until there is no folder that the system was not asked about before it was looked at.
    pub(super) fn look(&mut self, scope: &Scope, before: &Snapshot) -> Result<Snapshot, CliError> {
        let mut snapshot = Snapshot::take(scope, before);
        for _ in 0..MOST_ROUNDS {
            if !self.ask_about(scope, &snapshot)? {
                break;
            }
            snapshot = Snapshot::take(scope, &snapshot);
        }
        Ok(snapshot)
    }

    /// Asks the system about these folders; whether there was a new one.
    fn ask_about(&mut self, scope: &Scope, snapshot: &Snapshot) -> Result<bool, CliError> {
        let mut wanted = scope.above();
        wanted.extend(snapshot.folders().iter().cloned());
        for folder in self.folders.keys().filter(|folder| !wanted.contains(*folder)) {
            let _ = self.watcher.unwatch(folder);
        }
        self.folders.retain(|folder, _| wanted.contains(folder));
        let mut is_new = false;
        for folder in wanted {
            let Ok(metadata) = folder.metadata() else {
                continue;
            };
            let identity = (metadata.dev(), metadata.ino());
            if self.folders.get(&folder) == Some(&identity) {
                continue;
            }
            let _ = self.watcher.unwatch(&folder);
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder, identity);
                    is_new = true;
                }
                // It went away meanwhile, which is told by the folder above it.
                Err(_) if !folder.is_dir() => {}
                Err(error) => return Err(refused(error, &folder)),
            }
        }
        Ok(is_new)
    }
}

fn refused(error: notify::Error, path: &Path) -> CliError {
    let why = match error.kind {
        notify::ErrorKind::Io(source) => source,
        notify::ErrorKind::MaxFilesWatch => io::Error::other(
            "the system watches no more for this user: raise fs.inotify.max_user_watches, or name fewer folders",
        ),
        _ => io::Error::other(error.to_string()),
    };
    CliError::io("watch", path)(why)
}
