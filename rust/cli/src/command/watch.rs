//! `dirigent watch`: runs, and runs again whenever something that counts has changed.
//!
//! What was written while a run goes on is taken for its own, unless it is a source: a script, the configuration, or what
//! was named. A source that every run changes is taken for its own in the end. So nothing runs in circles.

mod child;
mod lookout;

use super::selection::{configuration, nearest_folder};
use super::target::has_jobs;
use crate::args::{OnChange, WatchArgs};
use crate::display::{paint_of, shown_ms};
use crate::fault::{CliError, shown};
use crate::hooks;
use crate::record::state_dir;
use crate::signals::Signals;
use crate::surroundings::Surroundings;
use crate::terminal::{self, painted};
use child::Child;
use dirigent_project::{Became, Config, Scope, Snapshot};
use dirigent_report::quantity::counted;
use lookout::{Lookout, Touched};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

/// How often in a row a run may change a source before that counts as its own doing.
const MOST_IN_A_ROW: u32 = 5;
/// How many times the debounce may begin again before there is a look all the same.
const MOST_DEBOUNCES: u32 = 20;
/// How many paths are named.
const MOST_NAMED: usize = 3;

/// What the loop is told.
enum News {
    Touched(Touched),
    Ended,
    Signal(i32),
    /// Everything has been quiet.
    Quiet,
}

type Changes = BTreeMap<PathBuf, Became>;

/// The run under way.
struct Round {
    child: Child,
    why: String,
    /// What changed meanwhile and does not count.
    own: Changes,
    /// Sources that changed meanwhile.
    sources: Changes,
    is_asked_to_end: bool,
}

/// What the configuration says about what is watched.
struct Place {
    scope: Scope,
    state_dir: PathBuf,
    config: Config,
}

/// All that a watch knows.
struct Watch<'a> {
    args: &'a WatchArgs,
    /// What is typed to run once.
    once: Vec<OsString>,
    surroundings: Surroundings,
    place: Place,
    lookout: Lookout,
    seen: Snapshot,
    round: Option<Round>,
    rounds: u64,
    /// What the next run is for.
    pending: Changes,
    /// How many runs in a row changed a source.
    in_a_row: BTreeMap<PathBuf, u32>,
    /// When what happens first was heard of, and when to look.
    due: Option<(Instant, Instant)>,
    exit: Option<i32>,
    tell: Sender<News>,
}

pub(super) fn watch(args: &WatchArgs, typed: &[OsString]) -> Result<i32, CliError> {
    if args.run.selection.targets.is_empty() {
        return Err(CliError::Usage {
            message: "nothing to run was named".to_owned(),
            hint: Some("name a folder, a script or a glob, such as `dirigent watch scripts/`".to_owned()),
        });
    }
    let signals = Signals::hold();
    let (tell, news) = mpsc::channel();
    let mut watch = Watch::new(args, typed, tell.clone())?;
    let pass_on = move || while tell.send(News::Signal(signals.next())).is_ok() {};
    let thread = std::thread::Builder::new().name("dirigent-signals".to_owned()).spawn(pass_on);
    thread.map_err(CliError::io("hear", Path::new("signals")))?;
    watch.look()?;
    let files = counted(watch.seen.len(), "file");
    let folders = counted(watch.seen.folders().len(), "folder");
    terminal::say(&format!("watching   {files} in {folders}; Ctrl-C ends it\n"));
    watch.start("first run".to_owned())?;
    loop {
        match watch.next(&news) {
            News::Touched(touched) => watch.heard(&touched),
            News::Quiet => watch.settle()?,
            News::Ended => watch.finish()?,
            News::Signal(signal) => watch.signalled(signal),
        }
        if let Some(code) = watch.exit.filter(|_| watch.round.is_none()) {
            return Ok(code);
        }
    }
}

impl<'a> Watch<'a> {
    fn new(args: &'a WatchArgs, typed: &[OsString], tell: Sender<News>) -> Result<Self, CliError> {
        let surroundings = Surroundings::look()?;
        let place = Place::new(args, &surroundings)?;
        let touched = tell.clone();
        let lookout = Lookout::new(move |it| drop(touched.send(News::Touched(it))))?;
        Ok(Self {
            args,
            once: once(typed),
            surroundings,
            place,
            lookout,
            seen: Snapshot::default(),
            round: None,
            rounds: 0,
            pending: Changes::new(),
            in_a_row: BTreeMap::new(),
            due: None,
            exit: None,
            tell,
        })
    }

    fn next(&self, news: &Receiver<News>) -> News {
        let left = self.due.map(|(_, due)| due.saturating_duration_since(Instant::now()));
        let next = match left {
            Some(left) => news.recv_timeout(left),
            None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        // This struct holds a sender too, so that the channel is never closed.
        next.unwrap_or(News::Quiet)
    }

    fn heard(&mut self, touched: &Touched) {
        if self.lookout.heard(touched, &self.place.scope) {
            self.expect_more();
        }
    }

    /// Looks when nothing more has happened for a while; but not later than after some such whiles.
    fn expect_more(&mut self) {
        let (now, pause) = (Instant::now(), self.args.debounce.0);
        let first = self.due.map_or(now, |(first, _)| first);
        self.due = Some((first, (now + pause).min(first + pause * MOST_DEBOUNCES)));
    }

    /// Finds what changed since the last look.
    fn look(&mut self) -> Result<Changes, CliError> {
        let now = self.lookout.look(&self.place.scope, &self.seen)?;
        let changes: Changes = self.seen.changes(&now).into_iter().collect();
        self.seen = now;
        let is_configuration = |path: &PathBuf| {
            path.file_stem() == Some(OsStr::new("dirigent"))
                || self.place.config.files().any(|file| file == path)
        };
        if changes.keys().any(is_configuration) {
            // Where it says something wrong, the run will tell. Nothing that changes meanwhile is lost: a run is due.
            if let Ok(place) = Place::new(self.args, &self.surroundings) {
                self.place = place;
                self.seen = self.lookout.look(&self.place.scope, &self.seen)?;
            }
        }
        Ok(changes)
    }

    /// Everything has been quiet: looks, and does what follows.
    fn settle(&mut self) -> Result<(), CliError> {
        self.due = None;
        let changes = self.look()?;
        if self.round.is_some() {
            self.sort_out(changes);
        } else {
            changes.into_iter().for_each(|(path, became)| add(&mut self.pending, path, became));
        }
        match &mut self.round {
            _ if self.exit.is_some() => Ok(()),
            None if !self.pending.is_empty() => {
                let why = format!("{} changed", self.named(&self.pending));
                hooks::changed(&self.place.config, told(&self.pending));
                self.pending.clear();
                self.start(why)
            }
            Some(round) if !self.pending.is_empty() && self.args.on_change == OnChange::Restart => {
                if !std::mem::replace(&mut round.is_asked_to_end, true) {
                    round.child.signal(libc::SIGINT);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells what changed while a run goes on from what the run changed.
    fn sort_out(&mut self, changes: Changes) {
        let Some(round) = &mut self.round else {
            return;
        };
        for (path, became) in changes {
            let is_source = self.place.scope.is_source(&path);
            if is_source {
                add(&mut round.sources, path.clone(), became);
            }
            if is_source && self.in_a_row.get(&path).is_none_or(|count| *count < MOST_IN_A_ROW) {
                add(&mut self.pending, path, became);
            } else {
                add(&mut round.own, path, became);
            }
        }
    }

    fn start(&mut self, why: String) -> Result<(), CliError> {
        if self.args.clear && terminal::stderr_is_live() {
            terminal::say("\u{1b}[H\u{1b}[2J\u{1b}[3J");
        }
        let tell = self.tell.clone();
        let child = Child::start(&self.once, move || drop(tell.send(News::Ended)))?;
        let (own, sources) = (Changes::new(), Changes::new());
        self.rounds += 1;
        self.round = Some(Round { child, why, own, sources, is_asked_to_end: false });
        Ok(())
    }

    /// The run has ended: what it wrote last is still its own.
    fn finish(&mut self) -> Result<(), CliError> {
        let changes = self.look()?;
        self.sort_out(changes);
        let Some(round) = self.round.take() else {
            return Ok(());
        };
        let counts = std::mem::take(&mut self.in_a_row);
        let again = |path: PathBuf| {
            let count = counts.get(&path).copied().unwrap_or_default() + 1;
            (path, count)
        };
        self.in_a_row = round.sources.into_keys().map(again).collect();
        let ended = round.child.collect(&self.place.state_dir)?;
        let verdict = painted(&ended.verdict, paint_of(&ended.verdict), terminal::colours_on_stderr());
        let took = shown_ms(u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX));
        let run = ended.run.map_or_else(|| "the run".to_owned(), |run| format!("run {run}"));
        let own = match round.own.is_empty() {
            true => String::new(),
            false => format!("; taken for its own doing: {}", self.named(&round.own)),
        };
        let number = format!("round {}", self.rounds);
        terminal::say(&format!("{number:<10} {}: {run} {verdict} in {took}{own}\n", round.why));
        if !self.pending.is_empty() {
            // Whoever changed it may not be through.
            self.expect_more();
        }
        Ok(())
    }

    /// The first asks the run to end, the second ends it at once; each goes to the run as it comes.
    fn signalled(&mut self, signal: i32) {
        match (&self.round, signal) {
            (Some(round), libc::SIGTSTP) => round.child.stop_together(),
            (None, libc::SIGTSTP) => {
                // SAFETY: stops this process; the call returns when it is continued.
                unsafe { libc::raise(libc::SIGSTOP) };
            }
            (round, signal) => {
                self.exit.get_or_insert(128 + signal);
                if let Some(round) = round {
                    round.child.signal(signal);
                }
            }
        }
    }

    /// The first of these paths, as seen from here, and how many more there are.
    fn named(&self, changes: &Changes) -> String {
        let name = |(path, became): (&PathBuf, &Became)| {
            let path = shown(path.strip_prefix(&self.surroundings.cwd).unwrap_or(path));
            match became {
                Became::New => format!("{path} (new)"),
                Became::Changed => path,
                Became::Gone => format!("{path} (gone)"),
            }
        };
        let mut names = changes.iter().map(name).take(MOST_NAMED).collect::<Vec<_>>().join(", ");
        if changes.len() > MOST_NAMED {
            names.push_str(&format!(" and {} more", changes.len() - MOST_NAMED));
        }
        names
    }
}

impl Place {
    fn new(args: &WatchArgs, surroundings: &Surroundings) -> Result<Self, CliError> {
        let selection = &args.run.selection;
        let flags = super::run::flags(&args.run)?;
        let targets: Vec<PathBuf> =
            selection.targets.iter().map(|path| surroundings.absolute(path)).collect();
        let start = targets.first().map_or(surroundings.cwd.as_path(), |target| nearest_folder(target));
        let config = configuration(surroundings, start, selection.config.as_deref(), flags)?;
        let state_dir = state_dir(&config, surroundings)?;
        let root = config.root().unwrap_or(start);
        let except = vec![state_dir.clone()];
        let mut scope = Scope::new(&config.skip_patterns(), root, except, &config.interpreters())?;
        for (target, typed) in targets.iter().zip(&selection.targets) {
            if typed == Path::new("-") {
                return Err(CliError::Usage {
                    message: "standard input cannot be read again and again".to_owned(),
                    hint: Some("write it to a file, and watch that".to_owned()),
                });
            }
            // The tasks of a job may be anywhere in the project.
            let is_job = typed.components().count() == 1
                && !target.exists()
                && config.project_document().is_some_and(has_jobs)
                && !typed.to_string_lossy().contains(['*', '?', '[', ':']);
            if is_job { scope.add(root, false)? } else { scope.add_target(target)? }
        }
        for path in &args.path {
            scope.add(&surroundings.absolute(path), true)?;
        }
        for file in config.files() {
            scope.add(file, true)?;
        }
        Ok(Self { scope, state_dir, config })
    }
}

/// What changed, for hooks.
fn told(changes: &Changes) -> Vec<Value> {
    let one = |(path, became): (&PathBuf, &Became)| {
        let became = match became {
            Became::New => "new",
            Became::Changed => "changed",
            Became::Gone => "gone",
        };
        json!({"path": path.to_string_lossy(), "became": became})
    };
    changes.iter().map(one).collect()
}

/// Adds what became of a file; one that is new stays so while it changes.
fn add(changes: &mut Changes, path: PathBuf, became: Became) {
    let known = changes.entry(path).or_insert(became);
    if (*known, became) != (Became::New, Became::Changed) {
        *known = became;
    }
}

/// What is typed to run once: the same, without what only a watch knows.
fn once(typed: &[OsString]) -> Vec<OsString> {
    let mut once = vec![OsString::from("run")];
    // The verb comes first, since no option stands before it.
    let mut words = typed.iter().skip(2);
    while let Some(word) = words.next() {
        match word.to_str().unwrap_or_default() {
            "--clear" => {}
            "--path" | "--debounce" | "--on-change" => {
                words.next();
            }
            text if ["--path=", "--debounce=", "--on-change="].iter().any(|own| text.starts_with(own)) => {}
            "--" => {
                once.push(word.clone());
                once.extend(words.by_ref().cloned());
            }
            _ => once.push(word.clone()),
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, expected: &str) {
        let typed: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
        let once: Vec<String> =
            once(&typed).into_iter().map(|word| word.into_string().expect("was text")).collect();
        assert_eq!(once.join(" "), expected);
    }

    #[test]
    fn a_run_gets_everything_but_what_only_a_watch_knows() {
        check("dirigent watch a.py", "run a.py");
        check("dirigent watch --path x a.py --jobs 4 --debounce=1s --clear", "run a.py --jobs 4");
        check("dirigent watch a.py --on-change restart -- --path --clear x", "run a.py -- --path --clear x");
    }
}
