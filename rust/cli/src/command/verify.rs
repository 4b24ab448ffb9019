//! `dirigent verify`: whether the history of runs is what was recorded.

use super::recorded::{Place, find};
use crate::args::VerifyArgs;
use crate::fault::{CliError, exit, told};
use crate::terminal;
use dirigent_journal::Reader;

pub(super) fn verify(args: &VerifyArgs) -> Result<i32, CliError> {
    let (rows, reader) = if args.all {
        let place = Place::of(&args.run.records)?;
        let reader = Reader::open(&place.state_dir)?;
        (reader.runs(usize::MAX, None)?, reader)
    } else {
        let (row, place) = find(&args.run)?;
        (vec![row], Reader::open(&place.state_dir)?)
    };
    let mut worst = exit::OK;
    for row in rows {
        match reader.recorded(&row.id) {
            Ok(recorded) => terminal::print(&format!(
                "{}  {} events in {} groups  {}\n",
                row.id,
                recorded.events.len(),
                recorded.groups,
                recorded.hash()
            )),
            Err(error) => {
                terminal::say(&format!("{}\n", told(&error)));
                worst = exit::IO;
            }
        }
    }
    Ok(worst)
}
