//! What the verbs about recorded runs share: where runs are, which one is meant, and which task of it.

use super::selection::configuration;
use crate::args::{OneRun, Records};
use crate::fault::CliError;
use crate::record::{self, Recorded, state_dir};
use crate::surroundings::Surroundings;
use dirigent_core::ids::TaskIndex;
use dirigent_core::state::State;
use dirigent_core::text::printable;
use dirigent_journal::RunRow;
use dirigent_project::diagnose::did_you_mean;
use dirigent_project::value::Location;
use dirigent_project::{Config, Flags};
use std::path::PathBuf;

/// The surroundings, with the state folder that is meant.
pub(super) struct Place {
    pub(super) surroundings: Surroundings,
    pub(super) config: Config,
    pub(super) state_dir: PathBuf,
}

impl Place {
    pub(super) fn of(records: &Records) -> Result<Self, CliError> {
        let surroundings = Surroundings::look()?;
        let flags = Flags { state_dir: records.state_dir.clone().map(Location), ..Flags::default() };
        let config = configuration(&surroundings, &surroundings.cwd, None, flags)?;
        let state_dir = state_dir(&config, &surroundings)?;
        Ok(Self { surroundings, config, state_dir })
    }
}

/// The head of the run that is meant, and where it lies.
pub(super) fn find(run: &OneRun) -> Result<(RunRow, Place), CliError> {
    let mut place = Place::of(&run.records)?;
    let (row, state_dir) = record::find_run(Some(&run.run), &place.state_dir, &place.surroundings)?;
    place.state_dir = state_dir;
    Ok((row, place))
}

/// The run that is meant, read back.
pub(super) fn read(run: &OneRun) -> Result<(Recorded, Place), CliError> {
    let place = Place::of(&run.records)?;
    let recorded = record::read_run(Some(&run.run), &place.state_dir, &place.surroundings)?;
    Ok((recorded, place))
}

/// The task that somebody calls so: by its name, else by its number, else by the end of a path that only one has.
pub(super) fn task_called(state: &State, name: &str) -> Result<TaskIndex, CliError> {
    let place = state.tasks().iter().position(|task| *task.spec.name == *name);
    let number = || name.parse().ok().filter(|number| *number < state.tasks().len());
    let end = format!("/{name}");
    let by_end = || {
        let mut ending = (0..).zip(state.tasks()).filter(|(_, task)| task.spec.name.ends_with(&end));
        ending.next().map(|(place, _)| place).filter(|_| ending.next().is_none())
    };
    let place = place.or_else(number).or_else(by_end).and_then(|place| u32::try_from(place).ok());
    place.map(TaskIndex).ok_or_else(|| {
        let names = || state.tasks().iter().map(|task| &*task.spec.name);
        let last = |name: &'_ str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let lasts: Vec<String> = names().map(last).collect();
        let meant = did_you_mean(name, names().chain(lasts.iter().map(String::as_str)));
        CliError::Nothing {
            message: format!("the run has no task `{}`", printable(name)),
            hint: Some(match meant {
                Some(meant) => format!("did you mean `{}`?", printable(meant)),
                None => "`dirigent show` lists its tasks".to_owned(),
            }),
        }
    })
}
