//! `dirigent logs`: what tasks wrote, as bytes, so that it can be piped on.

use super::recorded::{find, read, task_called};
use crate::args::{LogsArgs, Stream};
use crate::fault::{CliError, exit};
use crate::record::Recorded;
use crate::terminal;
use dirigent_core::ids::TaskIndex;
use dirigent_core::outcome::Outcome;
use dirigent_core::text::printable;
use dirigent_engine::run::attempt_folder;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// How often somebody who follows looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn logs(args: &LogsArgs) -> Result<i32, CliError> {
    let (mut recorded, _) = read(&args.run)?;
    let files = files(args, &recorded)?;
    if files.is_empty() && !args.follow {
        terminal::say(&nothing(args, &recorded)?);
    }
    for (name, path) in &files {
        if args.task.is_none() && !args.follow {
            terminal::say(&format!("== {name}\n"));
        }
        let bytes = std::fs::read(path).map_err(CliError::io("read", path))?;
        terminal::print_bytes(&chosen(&bytes, args));
    }
    if !args.follow {
        tell_raised(args, &recorded)?;
        return Ok(exit::OK);
    }
    // From where each file was read to.
    let length = |path: &PathBuf| path.metadata().map_or(0, |it| it.len());
    let mut read_to: HashMap<PathBuf, u64> =
        files.iter().map(|(_, path)| (path.clone(), length(path))).collect();
    loop {
        let is_running = find(&args.run)?.0.holder.is_some();
        recorded = read(&args.run)?.0;
        for (_, path) in self::files(args, &recorded)? {
            let from = read_to.entry(path.clone()).or_default();
            let mut bytes = Vec::new();
            let mut read = || -> std::io::Result<usize> {
                let mut file = File::open(&path)?;
                file.seek(SeekFrom::Start(*from))?;
                file.read_to_end(&mut bytes)
            };
            *from += read().map_err(CliError::io("read", &path))? as u64;
            terminal::print_bytes(&matching(&bytes, args));
        }
        if !is_running {
            tell_raised(args, &recorded)?;
            return Ok(exit::OK);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Why there is nothing to print.
fn nothing(args: &LogsArgs, recorded: &Recorded) -> Result<String, CliError> {
    let Some(name) = &args.task else {
        return Ok("nothing was written\n".to_owned());
    };
    let task = recorded.state.task(task_called(&recorded.state, name)?);
    Ok(match task.and_then(|task| task.reused.as_ref().map(|reused| (task, reused))) {
        Some((task, reused)) => format!(
            "nothing was written here: the task was carried out in run {from}\n`dirigent logs {from} {}` prints what it \
             wrote there\n",
            super::run::quoted(&printable(&task.spec.name)),
            from = reused.from,
        ),
        None => "nothing was written\n".to_owned(),
    })
}

/// Says where functions raised: that is in no log, since they did not write it.
fn tell_raised(args: &LogsArgs, recorded: &Recorded) -> Result<(), CliError> {
    let state = &recorded.state;
    let meant = args.task.as_deref().map(|name| task_called(state, name)).transpose()?;
    for (index, task) in (0u32..).map(TaskIndex).zip(state.tasks()) {
        let is_meant = meant.is_none_or(|meant| meant == index)
            && args.attempt.is_none_or(|attempt| attempt == task.attempts)
            && !matches!(args.stream, Stream::Stdout)
            && args.grep.is_none();
        let ended = task.ended.as_ref().filter(|_| is_meant);
        if let Some(ended) = ended.filter(|ended| matches!(ended.outcome, Outcome::Raised { .. }))
            && !ended.last_lines.is_empty()
        {
            terminal::say(&format!("== {} raised\n{}\n", printable(&task.spec.name), ended.last_lines));
        }
    }
    Ok(())
}

/// The logs that are meant and are there, with the names of their tasks.
fn files(args: &LogsArgs, recorded: &Recorded) -> Result<Vec<(String, PathBuf)>, CliError> {
    let state = &recorded.state;
    let tasks: Vec<TaskIndex> = match &args.task {
        Some(name) => vec![task_called(state, name)?],
        None => (0u32..).map(TaskIndex).zip(state.tasks()).map(|(index, _)| index).collect(),
    };
    let streams: &[&str] = match args.stream {
        Stream::Stdout => &["stdout"],
        Stream::Stderr => &["stderr"],
        Stream::Both => &["stdout", "stderr"],
    };
    let mut files = Vec::new();
    for index in tasks {
        let Some(task) = state.task(index) else { continue };
        let attempt = args.attempt.unwrap_or(task.attempts);
        if args.task.is_some() && args.attempt.is_some_and(|n| n == 0 || n > task.attempts) {
            return Err(CliError::Nothing {
                message: format!("task `{}` has no attempt {attempt}", printable(&task.spec.name)),
                hint: Some(format!("it had {}, counted from 1", task.attempts)),
            });
        }
        // Of a task that need not run, where it was carried out.
        let is_inside =
            |logs: &&str| Path::new(logs).components().all(|it| matches!(it, Component::Normal(_)));
        let reused = task.reused.as_ref().and_then(|reused| reused.logs.as_deref()).filter(is_inside);
        let folder = match reused {
            Some(logs) => recorded.state_dir.join(logs),
            None => recorded.folder.join(attempt_folder(index, attempt)),
        };
        for stream in streams {
            let path = folder.join(format!("{stream}.log"));
            let is_last = attempt == task.attempts && reused.is_none();
            if let Some(ended) = task.ended.as_ref().filter(|_| is_last) {
                let recorded = if *stream == "stdout" { &ended.stdout } else { &ended.stderr };
                see_whole(&path, recorded.as_ref().map_or(0, |it| it.kept_bytes))?;
            }
            if path.is_file() {
                files.push((format!("{} {stream}", printable(&task.spec.name)), path));
            }
        }
    }
    Ok(files)
}

/// Sees that a log has at least the bytes that were recorded: a cut of power can take it away, and so can whoever makes room.
fn see_whole(log: &Path, bytes: u64) -> Result<(), CliError> {
    match log.metadata().map_or(0, |it| it.len()) {
        there if there < bytes => Err(CliError::Nothing {
            message: format!("{} has {there} of the {bytes} bytes that were recorded", log.display()),
            hint: Some("name a task, `--stream` or `--attempt` to see what other logs have".to_owned()),
        }),
        _ => Ok(()),
    }
}

/// The lines that are asked for.
fn chosen(bytes: &[u8], args: &LogsArgs) -> Vec<u8> {
    let kept = matching(bytes, args);
    let Some(tail) = args.tail else { return kept };
    let lines: Vec<&[u8]> = kept.split_inclusive(|byte| *byte == b'\n').collect();
    lines[lines.len().saturating_sub(tail)..].concat()
}

fn matching(bytes: &[u8], args: &LogsArgs) -> Vec<u8> {
    let Some(text) = args.grep.as_deref().map(str::as_bytes).filter(|text| !text.is_empty()) else {
        return bytes.to_vec();
    };
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| line.windows(text.len()).any(|part| part == text)).collect::<Vec<_>>().concat()
}
