//! What discovery promises, seen on real folders.

use super::*;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of files that goes with the test.
struct Tree(PathBuf);

impl Tree {
    /// Makes files from lines `path`, `path: text`, `path! text` (executable) and `path -> target`.
    fn new(lines: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("dirigent-discover-{}-{count}", std::process::id()));
        let tree = Self(root);
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some((path, target)) = line.split_once(" -> ") {
                symlink(target, tree.place(path)).expect("a link");
            } else if let Some((path, text)) = line.split_once("! ") {
                let path = tree.file(path, text);
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
            } else {
                let (path, text) = line.split_once(": ").unwrap_or((line, ""));
                tree.file(path, text);
            }
        }
        tree
    }

    fn place(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        path
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.place(path);
        fs::write(&path, text.replace("\\n", "\n")).expect("a file");
        path
    }

    fn query(&self) -> Query {
        Query { targets: vec![self.0.clone()], threads: 2, ..Query::default() }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(query: &Query) -> Vec<String> {
    discover(query).expect("a good query").scripts.into_iter().map(|script| script.name).collect()
}

/// What is found in a tree, with a query changed from the usual one.
#[track_caller]
fn check(tree: &str, change: impl FnOnce(&mut Query), expected: &str) {
    let tree = Tree::new(tree);
    let mut query = tree.query();
    change(&mut query);
    assert_eq!(names(&query).join(" "), expected);
}

#[test]
fn scripts_are_found_by_extension_or_first_line_and_sorted_folder_by_folder() {
    let tree = "
            b.py
            a/z.py
            a.py
            a-b/c.sh
            run! #!/bin/sh\\n
            elf! \u{7f}ELF
            text: #!/bin/sh\\n
            tool.rb! #!/usr/bin/ruby\\n
            notes.md
            data.csv! a,b";
    check(tree, |_| {}, "a/z.py a-b/c.sh a.py b.py run tool.rb");
}

#[test]
fn what_tools_leave_and_what_is_hidden_is_not_found() {
    let tree = "
            a.py
            __init__.py
            conftest.py
            .hidden.py
            a.py~
            __pycache__/a.py
            node_modules/x/a.py
            venv/bin/a.py
            .venv/bin/a.py
            lib/site-packages/a.py
            build/make.py
            dist/b.py
            env/c.py";
    check(tree, |_| {}, "a.py build/make.py dist/b.py env/c.py");
}

#[test]
fn ignore_files_count_also_outside_a_repository() {
    let tree = "
            .gitignore: old/\\n*.tmp.py\\n
            .ignore: big.py\\n
            a.py
            old/a.py
            b.tmp.py
            big.py
            sub/.gitignore: c.py\\n
            sub/c.py
            sub/d.py";
    check(tree, |_| {}, "a.py sub/d.py");
    check(tree, |query| query.no_ignore_files = true, "a.py b.tmp.py big.py old/a.py sub/c.py sub/d.py");
}

#[test]
fn skip_means_names_at_any_depth_and_paths_from_the_root() {
    let tree = "a.py\n x/a.py\n x/b.py\n x/y/b.py\n old/c.py\n x/old/d.py";
    let skip = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        move |query: &mut Query| query.skip = patterns
    };
    check(tree, skip(&["a.py", "old"]), "x/b.py x/y/b.py");
    check(tree, skip(&["/old", "x/b.py"]), "a.py x/a.py x/old/d.py x/y/b.py");
    check(tree, skip(&["*.py", "!a.py"]), "a.py x/a.py");
    check(
        tree,
        |query| {
            query.skip = vec!["x/y".into()];
            query.skip_root = query.targets[0].join("nowhere").into();
        },
        "a.py old/c.py x/a.py x/b.py x/old/d.py x/y/b.py",
    );
}

#[test]
fn depth_patterns_extensions_and_subfolders_narrow_it_down() {
    let tree = "a.py\n a.sh\n x/b.py\n x/y/c.py\n x/y/z/d.py\n w/e.py";
    let pattern = |pattern: &str| {
        let pattern = pattern.to_owned();
        move |query: &mut Query| query.patterns = vec![pattern]
    };
    check(tree, |query| query.max_depth = Some(0), "a.py a.sh");
    check(tree, |query| query.max_depth = Some(2), "a.py a.sh w/e.py x/b.py x/y/c.py");
    check(tree, pattern("*.py"), "a.py w/e.py x/b.py x/y/c.py x/y/z/d.py");
    check(tree, pattern("x/*.py"), "x/b.py");
    check(tree, pattern("x/**/*.py"), "x/b.py x/y/c.py x/y/z/d.py");
    check(tree, pattern("[bc].py"), "x/b.py x/y/c.py");
    check(tree, pattern("*.txt"), "");
    check(tree, |query| query.extensions = vec![".sh".into()], "a.sh");
    check(tree, |query| query.subdirs = vec!["w".into(), "x/y".into()], "w/e.py x/y/c.py x/y/z/d.py");
    check(tree, |query| query.targets = vec![query.targets[0].join("x/*.py")], "b.py");
    check(tree, |query| query.targets = vec![query.targets[0].join("*/**/d.py")], "x/y/z/d.py");
}

#[test]
fn a_file_by_two_targets_counts_once() {
    let tree = "a.py\n x/b.py\n link -> x";
    check(
        tree,
        |query| {
            query.targets.extend([query.targets[0].join("x"), query.targets[0].join("a.py")]);
        },
        "a.py x/b.py",
    );
    check(
        tree,
        |query| query.targets = vec![query.targets[0].join("link"), query.targets[0].join("x")],
        "link/b.py",
    );
    check(tree, |query| query.targets = vec![query.targets[0].join("link")], "b.py");
}

#[test]
fn a_named_file_is_taken_although_it_would_be_skipped() {
    let tree = Tree::new("conftest.py\n .gitignore: *\n plain.txt: hello\n run: #!/bin/sh\n x.rb: puts 1");
    let named = |name: &str, interpreters: &[(&str, &str)]| {
        let interpreters =
            interpreters.iter().map(|(ext, argv)| ((*ext).into(), vec![(*argv).into()])).collect();
        discover(&Query { targets: vec![tree.0.join(name)], interpreters, ..Query::default() })
    };
    assert_eq!(named("conftest.py", &[]).expect("is taken").scripts[0].name, "conftest.py");
    for name in ["plain.txt", "run", "x.rb"] {
        assert!(matches!(named(name, &[]), Err(ProjectError::NotRunnable { .. })), "{name}");
    }
    let ruby = named("x.rb", &[("rb", "ruby")]).expect("is taken");
    assert_eq!(ruby.scripts[0].interpreter, Interpreter::Program(vec!["ruby".into()]));
    assert!(matches!(named("nobody.py", &[]), Err(ProjectError::NoSuchTarget { .. })));
    assert_eq!(named("nobody*.py", &[]).expect("a glob may match nothing").scripts, []);
}

#[test]
fn what_runs_a_script_is_told() {
    let tree = Tree::new("a.py\n b.sh\n c.sh: #!/bin/zsh -e\\n\n d.bash\n e! #!/usr/bin/awk -f\\n");
    let found = discover(&tree.query()).expect("a good query");
    let program = |argv: &[&str]| Interpreter::Program(argv.iter().map(OsString::from).collect());
    let interpreters: Vec<_> = found.scripts.into_iter().map(|script| script.interpreter).collect();
    assert_eq!(
        interpreters,
        [
            Interpreter::Python,
            program(&["sh"]),
            program(&["/bin/zsh", "-e"]),
            program(&["bash"]),
            Interpreter::Itself
        ]
    );
}

#[test]
fn links_loops_and_odd_names_are_survived_and_told() {
    let tree = Tree::new(
        "x/a.py
             x/up -> ..
             other -> x
             gone.py -> nowhere.py
             gone.txt -> nowhere
             self.py -> self.py
             alias.py -> x/a.py
             node_modules -> x",
    );
    fs::write(tree.0.join("-r.py"), "").expect("a file");
    fs::write(tree.0.join("new\nline.py"), "").expect("a file");
    fs::write(tree.0.join(OsString::from_vec(b"\xff.py".to_vec())), "").expect("a file");
    fs::create_dir(tree.0.join("folder.py")).expect("a folder");
    let found = discover(&tree.query()).expect("a good query");
    let names: Vec<_> = found.scripts.iter().map(|script| script.name.as_str()).collect();
    assert_eq!(names, ["-r.py", "alias.py", "new\nline.py", "x/a.py", "\\xff.py"]);
    let told: Vec<_> = found
        .notices
        .iter()
        .map(|notice| {
            format!("{}: {}", notice.path.strip_prefix(&tree.0).expect("below").display(), notice.reason)
        })
        .collect();
    assert_eq!(
        told,
        [
            "gone.py: a link to nothing",
            "other: a link to a folder is not followed",
            "self.py: a link that cannot be followed: too many levels of symbolic links",
            "x/up: a link to a folder above it: a loop, not followed",
        ]
    );
}

#[test]
fn a_folder_that_cannot_be_read_is_told_and_the_rest_is_found() {
    let tree = Tree::new("a.py\n locked/b.py");
    let locked = tree.0.join("locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("permissions");
    let found = discover(&tree.query()).expect("a good query");
    let is_root = fs::read_dir(&locked).is_ok();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).expect("permissions");
    if !is_root {
        assert_eq!(found.scripts.len(), 1);
        assert_eq!(
            found.notices,
            [Notice { path: locked, reason: "cannot be read: permission denied".into() }]
        );
    }
}

#[test]
fn a_bad_pattern_is_an_error() {
    let tree = Tree::new("a.py");
    let bad = |change: fn(&mut Query)| {
        let mut query = tree.query();
        change(&mut query);
        matches!(discover(&query), Err(ProjectError::BadPattern { pattern, .. }) if pattern == "[z-a]")
    };
    assert!(bad(|query| query.patterns = vec!["*.py".into(), "[z-a]".into()]));
    assert!(bad(|query| query.skip = vec!["[z-a]".into()]));
}
