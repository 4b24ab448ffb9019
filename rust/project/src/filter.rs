//! Which files of a walked folder count, as the command says: by glob, by extension.
//!
//! Asked about every file of a tree, so the usual question, `*.py`, is answered without a glob.

use crate::fault::ProjectError;
use crate::pattern::{Patterns, is_exact};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Which files of a folder count.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Each list must mean the file.
    lists: Vec<List>,
}

#[derive(Clone, Debug)]
enum List {
    /// `*.py`, by far the most common, needs no matching of globs.
    Extensions(Vec<String>),
    Globs(Patterns),
}

impl Filter {
    /// A filter by globs and by extensions (with or without dots); empty lists let everything through.
    ///
    /// # Errors
    /// A glob cannot be understood.
    pub fn new(patterns: &[String], extensions: &[String]) -> Result<Self, ProjectError> {
        let mut filter = Self::default();
        if !patterns.is_empty() {
            filter.lists.push(List::new(patterns)?);
        }
        if !extensions.is_empty() {
            let bare = extensions.iter().map(|extension| extension.trim_start_matches('.').to_owned());
            filter.lists.push(List::Extensions(bare.collect()));
        }
        Ok(filter)
    }

    /// The same filter with one more glob that must mean the file.
    ///
    /// # Errors
    /// The glob cannot be understood.
    pub fn and(&self, pattern: &str) -> Result<Self, ProjectError> {
        let mut filter = self.clone();
        filter.lists.push(List::new(&[pattern.to_owned()])?);
        Ok(filter)
    }

    /// Whether a file below a folder gets through.
    pub fn takes(&self, path: &Path, folder: &Path) -> bool {
        self.lists.iter().all(|list| match list {
            List::Extensions(extensions) => {
                let extension = extension(path.file_name().unwrap_or_default());
                extensions.iter().any(|wanted| Some(wanted.as_bytes()) == extension)
            }
            List::Globs(patterns) => patterns.matches(path.strip_prefix(folder).unwrap_or(path)),
        })
    }
}

impl List {
    fn new(patterns: &[String]) -> Result<Self, ProjectError> {
        let simple = |pattern: &String| {
            let extension = pattern.strip_prefix("*.")?;
            (is_exact(extension) && !extension.contains(['/', '.'])).then(|| extension.to_owned())
        };
        if let Some(extensions) = patterns.iter().map(simple).collect() {
            return Ok(Self::Extensions(extensions));
        }
        let globs = Patterns::new(patterns.iter().map(String::as_str));
        globs.map(Self::Globs).map_err(|(place, message)| ProjectError::BadPattern {
            pattern: patterns[place].clone(),
            message,
        })
    }
}

/// What follows the last dot of a name, as `*.x` sees it.
fn extension(name: &OsStr) -> Option<&[u8]> {
    let name = name.as_encoded_bytes();
    name.iter().rposition(|byte| *byte == b'.').map(|dot| &name[dot + 1..])
}

/// Splits a target with wildcards into the folder before the first and the pattern from there.
pub fn glob_target(target: &Path) -> Option<(PathBuf, String)> {
    let mut folder = PathBuf::new();
    let mut components = target.components();
    while let Some(component) = components.clone().next() {
        if !is_exact(component.as_os_str().to_str()?) {
            // The leading slash says that the pattern is about the whole path, also when it is a single name.
            return Some((folder, format!("/{}", components.as_path().to_str()?)));
        }
        folder.push(component);
        components.next();
    }
    None
}
