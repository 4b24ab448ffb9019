//! Which paths a pattern of the user means.
//!
//! A pattern without a `/` is about the name of a file at any depth; one with a `/` is about the whole path from a root.
//! `*` and `?` stay within one name, `**` goes across.

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use std::path::Path;

/// Several patterns, matched at once.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    names: Kind,
    paths: Kind,
}

/// The patterns of one kind, and which of all they are.
#[derive(Clone, Debug)]
struct Kind {
    globs: GlobSet,
    places: Vec<usize>,
}

impl Default for Kind {
    fn default() -> Self {
        Self { globs: GlobSet::empty(), places: Vec::new() }
    }
}

/// Why a pattern is refused: its place among those given, and what is wrong with it.
pub type BadPattern = (usize, String);

impl Patterns {
    /// Understands patterns.
    ///
    /// # Errors
    /// The first that cannot be understood.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let mut builders = [GlobSetBuilder::new(), GlobSetBuilder::new()];
        let mut places = [Vec::new(), Vec::new()];
        for (place, pattern) in patterns.into_iter().enumerate() {
            let kind = usize::from(pattern.contains('/'));
            builders[kind].add(glob(pattern).map_err(|message| (place, message))?);
            places[kind].push(place);
        }
        let build = |builder: &GlobSetBuilder| builder.build().map_err(|error| (0, error.kind().to_string()));
        let [names, paths] = places;
        Ok(Self {
            names: Kind { globs: build(&builders[0])?, places: names },
            paths: Kind { globs: build(&builders[1])?, places: paths },
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.places.is_empty() && self.paths.places.is_empty()
    }

    /// Whether any means this path, given from the root.
    pub fn matches(&self, relative: &Path) -> bool {
        let name = relative.file_name().unwrap_or_default();
        (!self.names.globs.is_empty() && self.names.globs.is_match(name))
            || (!self.paths.globs.is_empty() && self.paths.globs.is_match(relative))
    }

    /// Which of the patterns mean this path, by their place, in order.
    pub fn matching(&self, relative: &Path) -> Vec<usize> {
        let name = Candidate::new(relative.file_name().unwrap_or_default());
        let path = Candidate::new(relative);
        let mut places: Vec<usize> = [(&self.names, name), (&self.paths, path)]
            .iter()
            .flat_map(|(kind, candidate)| {
                kind.globs.matches_candidate(candidate).into_iter().map(|index| kind.places[index])
            })
            .collect();
        places.sort_unstable();
        places
    }
}

/// Whether a pattern names one path rather than describing many.
pub fn is_exact(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '{', '\\'])
}

fn glob(pattern: &str) -> Result<Glob, String> {
    if pattern.is_empty() {
        return Err("an empty pattern means no file".into());
    }
    let pattern = pattern.strip_prefix("./").or(pattern.strip_prefix('/')).unwrap_or(pattern);
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: bool) {
        let patterns = Patterns::new([pattern]).expect("a good pattern");
        assert_eq!(patterns.matches(Path::new(path)), expected, "{pattern} on {path}");
        assert_eq!(!patterns.matching(Path::new(path)).is_empty(), expected, "{pattern} on {path}");
    }

    #[test]
    fn a_bare_name_means_any_depth_and_a_path_means_one_place() {
        check("load.py", "load.py", true);
        check("load.py", "a/b/load.py", true);
        check("*.py", "a/b/load.py", true);
        check("a/load.py", "a/load.py", true);
        check("./a/load.py", "a/load.py", true);
        check("/load.py", "load.py", true);
        check("/load.py", "a/load.py", false);
        check("a/load.py", "b/a/load.py", false);
        check("a/*.py", "a/b/load.py", false);
        check("a/**/*.py", "a/b/c/load.py", true);
        check("a/**/*.py", "a/load.py", true);
        check("{x,y}.sh", "d/y.sh", true);
        check("*", "a/.hidden", true);
    }

    #[test]
    fn which_patterns_match_is_told_in_their_order() {
        let patterns = Patterns::new(["etl/*", "*.sh", "*.py", "etl/a.py"]).expect("good patterns");
        assert_eq!(patterns.matching(Path::new("etl/a.py")), [0, 2, 3]);
    }

    #[test]
    fn a_bad_pattern_is_named_by_its_place() {
        assert_eq!(Patterns::new(["*.py", "a[.py"]).map(|_| ()).map_err(|(place, _)| place), Err(1));
        assert_eq!(Patterns::new([""]).map(|_| ()).map_err(|(place, _)| place), Err(0));
    }
}
