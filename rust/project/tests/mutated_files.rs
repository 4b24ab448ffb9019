//! Workflow files with bytes and parts changed at random: reading and checking one never panics, overflows or hangs, and what
//! is wrong with it can be shown. The seeds are `tests/hostile/`, `tests/check_messages.txt` and the examples.
//!
//! `MUTATIONS=1000000 cargo test --release -p dirigent-project --test mutated_files` goes on for longer.

use dirigent_project::{Document, ProjectError, WorkflowFile};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where files of the whole project lie.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for folder in ["tests/hostile", "examples", "examples/workflows", "examples/files"] {
        let Ok(entries) = std::fs::read_dir(project().join(folder)) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let is_file = |path: &PathBuf| {
            path.extension().is_some_and(|it| ["yaml", "toml", "json"].iter().any(|known| it == *known))
        };
        seeds.extend(paths.into_iter().filter(is_file).filter_map(|path| std::fs::read(path).ok()));
    }
    let messages = std::fs::read_to_string(project().join("tests/check_messages.txt")).expect("is there");
    let cases = messages.split("=== ").filter_map(|case| case.split_once('\n')?.1.split("→\n").next());
    seeds.extend(cases.map(|text| text.as_bytes().to_vec()));
    seeds
}

/// What means something in such files.
const WORDS: &[&str] = &[
    "tasks:",
    "params:",
    "finally:",
    "a: ",
    "b: ",
    "run: [echo]",
    "shell: |\n",
    "needs: [a]",
    "when: ",
    "each: ",
    "item",
    "workflow: x.yaml",
    "python: \"m:f\"",
    "approval: ",
    "retry: ",
    "repeat: ",
    "until: ",
    "with: ",
    "output: json",
    "${{ ",
    " }}",
    "$${{",
    "tasks.a.value",
    "params.x",
    " | ",
    "length",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "\\",
    "`",
    "$((",
    "<<E",
    "<<: *a",
    "&a ",
    "*a",
    "!!str ",
    "---\n",
    "#",
    ": ",
    ",",
    "\n",
    "  ",
    "\t",
    "\r\n",
    "\0",
    "\u{feff}",
    "~",
    "null",
    "-1",
    "99999999999999999999",
    "1e309",
    ".nan",
    "é",
    "\u{202e}",
    "case x in",
    "esac",
    "[[",
    "]]",
    "= ",
    "\"\"\"",
    "'''",
];

#[derive(Clone, Debug)]
enum Change {
    /// Takes bytes out.
    Cut(Index, u8),
    /// Puts a word in.
    Word(Index, Index),
    /// Makes another byte of one.
    Byte(Index, u8),
    /// Puts a part of another file in.
    Part(Index, Index, Index, u8),
    /// Repeats a part, some times.
    Again(Index, u8, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        2 => (at(), 0..20_u8).prop_map(|(at, n)| Change::Cut(at, n)),
        5 => (at(), at()).prop_map(|(at, word)| Change::Word(at, word)),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => (at(), at(), at(), any::<u8>()).prop_map(|(at, file, from, n)| Change::Part(at, file, from, n)),
        1 => (at(), any::<u8>(), any::<u8>()).prop_map(|(at, n, times)| Change::Again(at, n, times)),
    ]
}

fn apply(text: &mut Vec<u8>, change: &Change, seeds: &[Vec<u8>]) {
    let length = text.len();
    let place = |at: &Index| at.index(length + 1);
    let end = |at: usize, n: u8| (at + usize::from(n)).min(length);
    match change {
        Change::Cut(at, n) => drop(text.drain(place(at)..end(place(at), *n))),
        Change::Word(at, word) => {
            let at = place(at);
            drop(text.splice(at..at, WORDS[word.index(WORDS.len())].bytes()));
        }
        Change::Byte(at, byte) => {
            if let Some(it) = text.get_mut(place(at)) {
                *it = *byte;
            }
        }
        Change::Part(at, file, from, n) => {
            let file = &seeds[file.index(seeds.len())];
            let from = from.index(file.len() + 1);
            let part = file[from..(from + 4 * usize::from(*n)).min(file.len())].to_vec();
            let at = place(at);
            drop(text.splice(at..at, part));
        }
        Change::Again(at, n, times) => {
            let at = place(at);
            let part = text[at..end(at, *n)].repeat(usize::from(*times));
            drop(text.splice(at..at, part));
        }
    }
}

/// The places of a tree, each as the way to it.
fn places(value: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut next = 0;
    while let Some(place) = found.get(next).cloned() {
        match value.pointer(&place) {
            Some(Value::Array(items)) => found.extend((0..items.len()).map(|item| format!("{place}/{item}"))),
            Some(Value::Object(entries)) => {
                let step = |key: &String| format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                found.extend(entries.keys().map(step));
            }
            _ => {}
        }
        next += 1;
    }
    found
}

/// Changes what a file says and leaves it one: a value of another file, or a text with a word in it, takes a value's place.
fn regraft(tree: &mut Value, change: &Graft, trees: &[Value]) {
    let (at, file, from, word) = change;
    let own = places(tree);
    let other = &trees[file.index(trees.len())];
    let theirs = places(other);
    let Some(it) = tree.pointer_mut(&own[at.index(own.len())]) else { return };
    let graft = other.pointer(&theirs[from.index(theirs.len())]).cloned().unwrap_or_default();
    let word = word.map(|word| WORDS[word.index(WORDS.len())]);
    *it = match (word, it.take()) {
        (Some(word), Value::String(text)) => {
            let cut = from.index(text.len() + 1);
            let cut = (0..=cut).rev().find(|cut| text.is_char_boundary(*cut)).unwrap_or(0);
            Value::String(format!("{}{word}{}", &text[..cut], &text[cut..]))
        }
        (Some(word), _) => Value::String(word.to_owned()),
        (None, _) => graft,
    };
}

type Graft = (Index, Index, Index, Option<Index>);

#[test]
fn no_other_value_in_a_file_makes_reading_it_fall_over() {
    let parse = |seed: &Vec<u8>| {
        let text = String::from_utf8_lossy(seed);
        Document::parse(Path::new("flow.yaml"), &text).ok().map(|document| document.to_json())
    };
    let trees: Vec<Value> = seeds().iter().filter_map(parse).collect();
    assert!(trees.len() > 100, "{}", trees.len());
    let graft = (any::<Index>(), any::<Index>(), any::<Index>(), prop::option::of(any::<Index>()));
    let strategy = (any::<Index>(), prop::collection::vec(graft, 0..6));
    let run = |(seed, grafts): (Index, Vec<Graft>)| {
        let mut tree = trees[seed.index(trees.len())].clone();
        grafts.iter().for_each(|change| regraft(&mut tree, change, &trees));
        let began = Instant::now();
        read("json", &tree.to_string());
        prop_assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
        Ok(())
    };
    if let Err(error) = TestRunner::new(config()).run(&strategy, run) {
        panic!("{error}");
    }
}

/// As many cases as the tester wants.
fn config() -> Config {
    let cases = std::env::var("MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Reads a text in a format; where it is refused, shows why.
fn read(extension: &str, text: &str) -> usize {
    let path = PathBuf::from(format!("nowhere/flow.{extension}"));
    let shown = |error: &ProjectError| error.diagnostics().iter().map(|it| it.render(false).len()).sum();
    match Document::parse(&path, text).and_then(|document| WorkflowFile::read(&document)) {
        Ok(file) => file.tasks.iter().map(|task| task.expressions().count()).sum(),
        Err(error) => shown(&error),
    }
}

#[test]
fn no_change_of_a_file_makes_reading_it_fall_over() {
    let seeds = seeds();
    assert!(seeds.len() > 150, "{}", seeds.len());
    let strategy = (any::<Index>(), prop::collection::vec(change(), 0..4), 0..3_usize);
    let run = |(seed, changes, format): (Index, Vec<Change>, usize)| {
        let mut text = seeds[seed.index(seeds.len())].clone();
        changes.iter().for_each(|change| apply(&mut text, change, &seeds));
        let text = String::from_utf8_lossy(&text);
        // Most seeds are YAML, and most of what can go wrong is in what they mean.
        let began = Instant::now();
        read(["yaml", "yaml", if text.starts_with('{') { "json" } else { "toml" }][format], &text);
        prop_assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
        Ok(())
    };
    if let Err(error) = TestRunner::new(config()).run(&strategy, run) {
        panic!("{error}");
    }
}
