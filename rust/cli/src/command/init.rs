//! `dirigent init`: a project to start from. Nothing that is there is touched.

use crate::args::InitArgs;
use crate::fault::{CliError, exit, shown};
use crate::terminal;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const PROJECT_FILE: &str = r#"# How the scripts of this project run. `dirigent config` shows what counts; `dirigent check` finds mistakes.

[run]
# jobs = 4                 # how many at once; one a core, where nothing is said
# timeout = "10m"          # for scripts that have no limit of their own
# fail_fast = true         # start nothing new after a failure

[default]
# env = { LOG_LEVEL = "info" }

# By path or glob; later ones win, an exact path wins over all.
[scripts."scripts/hello.py"]
args = ["world"]
timeout = "30s"
"#;

const FIRST_SCRIPT: &str = r#"#!/usr/bin/env python3
"""Says hello."""

import sys

print("hello,", *sys.argv[1:])
"#;

pub(super) fn init(args: &InitArgs) -> Result<i32, CliError> {
    let folder = args.folder.as_path();
    for name in ["dirigent.toml", "dirigent.yaml", "dirigent.yml", "dirigent.json"] {
        let there = folder.join(name);
        if there.exists() {
            return Err(CliError::Usage {
                message: format!("{} is there already", shown(&there)),
                hint: Some("look at it with `dirigent config`".to_owned()),
            });
        }
    }
    let scripts = folder.join("scripts");
    fs::create_dir_all(&scripts).map_err(CliError::io("make", &scripts))?;
    make(&folder.join("dirigent.toml"), PROJECT_FILE, 0o644)?;
    let first = scripts.join("hello.py");
    if !first.exists() {
        make(&first, FIRST_SCRIPT, 0o755)?;
    }
    terminal::print(&format!("{}\n{}\n", shown(&folder.join("dirigent.toml")), shown(&first)));
    terminal::say(&format!("next: dirigent run {}\n", shown(&scripts)));
    Ok(exit::OK)
}

fn make(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(CliError::io("make", path))
}
