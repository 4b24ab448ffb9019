//! What the configuration promises, layer by layer.

use super::*;
use crate::value::{Count, Limit};
use std::time::Duration;

fn config(file: &str, text: &str) -> Result<Config, ProjectError> {
    Document::parse(&Path::new("/p").join(file), text).and_then(Config::from_document)
}

/// A file is refused with exactly this text.
#[track_caller]
fn check_refused(file: &str, text: &str, expected: &str) {
    match config(file, text) {
        Err(ProjectError::Invalid(diagnostic)) => {
            let diagnostic = Diagnostic { file: file.into(), ..*diagnostic };
            assert_eq!(diagnostic.render(false), expected.trim_matches('\n'));
        }
        other => panic!("{other:?}"),
    }
}

/// What a script of `/p/scripts` runs with, in the words of the assertion.
#[track_caller]
fn script(text: &str, path: &str) -> ScriptSettings {
    let config = config("dirigent.yaml", text).expect("a good file");
    config.for_script(&Path::new("/p").join(path), Path::new("/p/scripts"))
}

#[test]
fn a_misspelt_key_is_named_in_every_format() {
    check_refused(
        "dirigent.yaml",
        "scripts:\n  etl/*.py:\n    timeuot: 5\n",
        "
error: unknown key `timeuot` in `scripts.\"etl/*.py\"`
 --> dirigent.yaml:3:5
  |
3 |     timeuot: 5
  |     ^^^^^^^
hint: did you mean `timeout`?",
    );
    check_refused(
        "dirigent.toml",
        "[run]\njob = 4\n",
        "
error: unknown key `job` in `run`
 --> dirigent.toml:2:1
  |
2 | job = 4
  | ^^^
hint: did you mean `jobs`?",
    );
    check_refused(
        "dirigent.json",
        "{\n  \"defaults\": {}\n}",
        "
error: unknown key `defaults`
 --> dirigent.json:2:3
  |
2 |   \"defaults\": {}
  |   ^^^^^^^^^^
hint: did you mean `default`?",
    );
}

#[test]
fn a_wrong_kind_of_value_is_shown_where_it_stands() {
    check_refused(
        "dirigent.toml",
        "[default]\nargs = \"--fast\"\n",
        "
error: `default.args`: expected a list, found the string \"--fast\"
 --> dirigent.toml:2:8
  |
2 | args = \"--fast\"
  |        ^^^^^^^^",
    );
    check_refused(
        "dirigent.yaml",
        "run:\n  fail_fast: yes\n",
        "
error: `run.fail_fast`: expected true or false, found the string \"yes\"
 --> dirigent.yaml:2:14
  |
2 |   fail_fast: yes
  |              ^^^
hint: write `true`",
    );
    check_refused(
        "dirigent.yaml",
        "default:\n  allowed_exit_codes: [0, 256]\n",
        "
error: `default.allowed_exit_codes[1]`: 256 is too large, the most is 255
 --> dirigent.yaml:2:27
  |
2 |   allowed_exit_codes: [0, 256]
  |                           ^^^",
    );
    check_refused(
        "dirigent.json",
        "{\"scripts\": [1]}",
        "
error: `scripts`: expected a table, found a list
 --> dirigent.json:1:13
  |
1 | {\"scripts\": [1]}
  |             ^^^",
    );
    check_refused(
        "dirigent.yaml",
        "default:\n  timeout:\n",
        "
error: `default.timeout`: there is no value
 --> dirigent.yaml:2:3
  |
2 |   timeout:
  |   ^^^^^^^
hint: give it one, or remove the key",
    );
}

#[test]
fn a_bad_duration_is_told_how_to_be_written() {
    check_refused(
            "dirigent.yaml",
            "timeout_override:\n  a.py: 5 minutes\n",
            "
error: `timeout_override.\"a.py\"`: \"5 minutes\" is no duration; write a number of seconds, or `90s`, `500ms`, `5m`, `1h30m`
 --> dirigent.yaml:2:9
  |
2 |   a.py: 5 minutes
  |         ^^^^^^^^^",
        );
    for text in ["0", "-1", ".inf", ".nan", "'90'", "true", "[1]", "1e300"] {
        let file = format!("run: {{timeout: {text}}}");
        let error = config("dirigent.yaml", &file).expect_err(text);
        assert!(error.to_string().starts_with("`run.timeout`: "), "{error}");
    }
}

#[test]
fn what_this_version_cannot_do_is_refused() {
    for section in ["workflows:", "workflows: {a: {}}"] {
        let error = config("dirigent.yaml", section).expect_err(section);
        assert!(error.to_string().contains("not supported by this version yet"), "{error}");
    }
    let error = config("dirigent.yaml", "jobs: 4").expect_err("no table");
    assert!(error.to_string().contains("`jobs`: expected a table"), "{error}");
}

#[test]
fn senseless_values_are_refused() {
    for text in [
        "run: {jobs: 0}",
        "run: {report: [pdf]}",
        "run: {max_depth: -1}",
        "run: {pattern: 'a['}",
        "run: {python: ''}",
        "interpreters: {'': x}",
        "interpreters: {.rb: []}",
        "interpreters: {a/b: x}",
        "scripts: {'a[': {}}",
        "timeout_override: {'': 5}",
        "default: {env: {'A=B': 1}}",
        "default: {env: {A: [1]}}",
        "default: {allowed_exit_codes: []}",
        "default: {skip: 'yes'}",
        "default: {skip: 1}",
        "default: {args: [null]}",
        "default: {args: [[a]]}",
        "default: {needs: a.py}",
        "skip: '*.bak'",
        "5",
        "- a",
    ] {
        let error = config("dirigent.yaml", text).map(|_| ()).expect_err(text);
        assert!(matches!(error, ProjectError::Invalid(_)), "{text}: {error}");
    }
}

#[test]
fn sections_without_entries_are_empty() {
    assert!(config("dirigent.yaml", "run:\ninterpreters:\ndefault:\nscripts:\n  a.py:\n").is_ok());
}

#[test]
fn later_patterns_win_key_by_key_and_an_exact_path_is_last() {
    let text = "
default: {timeout: 1, args: [d], env: {A: d, B: d}}
scripts:
  scripts/etl/load.py: {args: [path, 1.50, true]}
  load.py: {args: [name], env: {B: null}}
  '*.py': {timeout: 2m, args: [glob]}
  etl/*: {env: {C: 0x10}, cwd: work}
";
    let settings = script(text, "scripts/etl/load.py");
    assert_eq!(settings.args, ["path", "1.50", "true"]);
    assert_eq!(settings.timeout, Some(Duration::from_secs(120)));
    assert_eq!(settings.cwd, Some("/p/work".into()));
    let env: Vec<_> = settings.env.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(env, [("A", Some("d")), ("B", None), ("C", Some("0x10"))]);
    assert_eq!(script(text, "scripts/x/load.py").args, ["name"]);
    assert_eq!(script(text, "scripts/other.py").args, ["glob"]);
    assert_eq!(script(text, "scripts/other.sh").args, ["d"]);
}

#[test]
fn the_override_beats_the_script_which_beats_the_default_which_beats_the_run() {
    let run = "run: {timeout: 9s, memory_limit_mb: 7}\n";
    let limit =
        |text: &str| script(&format!("{run}{text}"), "scripts/a.py").timeout.map(|limit| limit.as_secs());
    assert_eq!(limit(""), Some(9));
    assert_eq!(limit("default: {timeout: 8}"), Some(8));
    assert_eq!(limit("default: {timeout: 8}\nscripts: {a.py: {timeout: 7}}"), Some(7));
    assert_eq!(limit("default: {timeout: 8}\nscripts: {a.py: {timeout: none}}"), None);
    assert_eq!(limit("scripts: {a.py: {timeout: 7}}\ntimeout_override: 6"), Some(6));
    assert_eq!(limit("scripts: {a.py: {timeout: 7}}\ntimeout_override: {'*': 5, b.py: 4}"), Some(5));
    assert_eq!(script(run, "scripts/a.py").memory_limit_mb, Some(7));
}

#[test]
fn a_skip_has_its_reason() {
    let reason = |text: &str| {
        let settings = script(text, "scripts/a.py");
        (settings.skip, settings.skip_reason)
    };
    assert_eq!(reason("scripts: {a.py: {skip: true, skip_reason: slow}}"), (true, Some("slow".into())));
    assert_eq!(reason("scripts: {a.py: {skip: needs a GPU}}"), (true, Some("needs a GPU".into())));
    assert_eq!(reason("default: {skip: slow}\nscripts: {a.py: {skip: false}}"), (false, None));
}

#[test]
fn each_layer_beats_the_one_before_and_says_so() {
    let folder = std::env::temp_dir().join(format!("dirigent-settings-{}", std::process::id()));
    let (user, project) = (folder.join("user"), folder.join("project"));
    std::fs::create_dir_all(project.join("deep/er")).expect("a folder");
    std::fs::create_dir_all(&user).expect("a folder");
    let write = |path: PathBuf, text: &str| std::fs::write(path, text).expect("a file");
    write(
        user.join("config.yaml"),
        "run: {jobs: 1, grace: 1, fail_fast: true, report: [md]}\ninterpreters: {.rb: ruby}\n",
    );
    write(project.join("dirigent.toml"), "[run]\njobs = 2\ngrace = 2\nreport = ['html']\nstate_dir = 'st'\n");
    let sources = Sources {
        start: project.join("deep/er"),
        user_dir: Some(user.clone()),
        environment: vec![
            ("DIRIGENT_GRACE".into(), "3s".into()),
            ("DIRIGENT_REPORT".into(), "junit, json".into()),
            ("DIRIGENT_JOBS".into(), "3".into()),
            ("DIRIGENT_RUN_ID".into(), "x".into()),
            ("DIRIGENT_BENCH_DIR".into(), "x".into()),
            ("PATH".into(), "x".into()),
        ],
        flags: Flags { jobs: Some(Count(4)), timeout: Some(Limit(None)), ..Flags::default() },
        ..Sources::default()
    };
    let config = Config::load(sources.clone()).expect("good sources");
    assert_eq!(config.root(), Some(project.as_path()));
    assert_eq!(config.interpreters()["rb"], ["ruby"]);
    let explained: Vec<String> = config
        .explain()
        .iter()
        .map(|line| format!("{} = {} ({})", line.key, line.value, line.origin))
        .collect();
    let (user, at) = (user.display(), project.display());
    assert_eq!(
        explained,
        [
            "run.jobs = 4 (--jobs)".to_owned(),
            "run.timeout = null (--timeout)".into(),
            "run.grace = \"3s\" (DIRIGENT_GRACE)".into(),
            format!("run.fail_fast = true ({user}/config.yaml:1)"),
            "run.max_depth = null (default)".into(),
            "run.pattern = [] (default)".into(),
            "run.report = [\"junit\",\"json\"] (DIRIGENT_REPORT)".into(),
            "run.output_limit_mb = 64 (default)".into(),
            "run.python = null (default)".into(),
            format!("run.state_dir = \"{at}/st\" ({at}/dirigent.toml:5)"),
            "run.memory_limit_mb = null (default)".into(),
            format!("interpreters.\".rb\" = \"ruby\" ({user}/config.yaml:2)"),
        ]
    );
    std::fs::write(project.join("dirigent.json"), "{}").expect("a file");
    let two = Config::load(sources).expect_err("two files");
    std::fs::remove_dir_all(&folder).expect("is removed");
    assert!(matches!(two, ProjectError::TwoFiles { .. }), "{two}");
}

#[test]
fn a_variable_that_means_nothing_is_an_error() {
    let load = |name: &str, text: &str| {
        let environment = vec![(name.to_owned(), text.to_owned())];
        Config::load(Sources { start: "/nowhere".into(), environment, ..Sources::default() }).map(|_| ())
    };
    let told = |result: Result<(), ProjectError>| {
        result.map_err(|error| format!("{error}; {}", dirigent_core::Fault::hint(&error).unwrap_or_default()))
    };
    assert_eq!(
        told(load("DIRIGENT_TIMEUOT", "5")),
        Err("unknown environment variable `DIRIGENT_TIMEUOT`; did you mean `DIRIGENT_TIMEOUT`?".into())
    );
    assert_eq!(
            told(load("DIRIGENT_JOBS", "many")),
            Err("environment variable `DIRIGENT_JOBS`: expected a whole number from 1, found the string \"many\"; ".into())
        );
    assert_eq!(load("DIRIGENT_FAIL_FAST", "1").map_err(|error| error.to_string()), Ok(()));
    assert!(load("DIRIGENT_FAIL_FAST", "maybe").is_err());
    assert!(load("DIRIGENT_", "1").is_err());
}

#[test]
fn a_path_that_means_no_script_is_a_warning() {
    let config = config("dirigent.yaml", "scripts:\n  etl/laod.py: {}\n  '*.rb': {}\n  load.py: {}\n")
        .expect("a good file");
    let found = [Path::new("/p/scripts/etl/load.py")];
    let warnings = config.unmatched(found, Path::new("/p/scripts"));
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!((warning.line(), warning.column()), (2, 3));
    assert_eq!(warning.hint.as_deref(), Some("did you mean `etl/load.py`?"));
}
