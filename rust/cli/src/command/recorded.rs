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

/// The task that somebody calls so: by its name, else by its number.
pub(super) fn task_called(state: &State, name: &str) -> Result<TaskIndex, CliError> {
    let place = state.tasks().iter().position(|task| *task.spec.name == *name);
    let number = || name.parse().ok().filter(|number| *number < state.tasks().len());
    let place = place.or_else(number).and_then(|place| u32::try_from(place).ok());
    place.map(TaskIndex).ok_or_else(|| {
        let meant = did_you_mean(name, state.tasks().iter().map(|task| &*task.spec.name));
        CliError::Nothing {
            message: format!("the run has no task `{}`", printable(name)),
            hint: Some(match meant {
                Some(meant) => format!("did you mean `{}`?", printable(meant)),
                None => "`dirigent show` lists its tasks".to_owned(),
            }),
        }
    })
}
