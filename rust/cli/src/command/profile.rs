//! `dirigent profile`: where the time of a run went, and what other limits would bring.

use super::recorded::read;
use crate::args::ProfileArgs;
use crate::earlier::earlier_runs;
use crate::fault::{CliError, exit};
use crate::terminal;
use dirigent_report::Profile;

pub(super) fn profile(args: &ProfileArgs) -> Result<i32, CliError> {
    let (recorded, _) = read(&args.run)?;
    let row = &recorded.row;
    let earlier = earlier_runs(&recorded.state_dir, &row.workflow, row.created_at_ms, row.id.as_str())?;
    let profile = Profile::new(&recorded.events, &earlier).ok_or_else(|| CliError::Nothing {
        message: format!("run {} has no beginning", row.id),
        hint: None,
    })?;
    terminal::print(&match args.json {
        true => super::json(&profile),
        false => profile.text(terminal::columns_on_stdout()),
    });
    Ok(exit::OK)
}
