//! `dirigent doctor`: looks for trouble in the state folder, and says the cure.

use super::recorded::Place;
use crate::args::DoctorArgs;
use crate::fault::{CliError, exit, shown, told};
use crate::record::goes_on;
use crate::terminal;
use dirigent_core::state::State;
use dirigent_journal::{DATABASE, JournalError, Reader, has_records};
use dirigent_report::quantity::{counted, shown_bytes};
use std::path::Path;

pub(super) fn doctor(args: &DoctorArgs) -> Result<i32, CliError> {
    let place = Place::of(&args.records)?;
    let database = place.state_dir.join(DATABASE);
    if !has_records(&place.state_dir)? {
        terminal::print(&format!(
            "nothing is recorded in {}: nothing is wrong with it\n",
            shown(&place.state_dir)
        ));
        return Ok(exit::OK);
    }
    match look(&place.state_dir) {
        Ok(found) => {
            terminal::print(&found.text);
            Ok(if found.is_well { exit::OK } else { exit::FAILED })
        }
        Err(JournalError::Damaged { path, what }) => {
            terminal::print(&format!(
                "✗ {} is damaged: {what}\n  put it aside, with the files beside it that begin with its name, and go on \
                 with a new one:\n  mv {} {}\n  `sqlite3 OLD .recover` reads what is left of it; logs and reports in {} \
                 are not touched\n",
                shown(&path),
                shown(&database),
                shown(&database.with_extension("damaged.db")),
                shown(&place.state_dir.join("runs")),
            ));
            Ok(exit::IO)
        }
        Err(error) => {
            terminal::say(&format!("{}\n", told(&error)));
            Ok(exit::IO)
        }
    }
}

/// What was found.
struct Found {
    text: String,
    is_well: bool,
}

fn look(state_dir: &Path) -> Result<Found, JournalError> {
    let reader = Reader::open(state_dir)?;
    reader.check()?;
    let rows = reader.runs(usize::MAX, None)?;
    let mut found = Found { text: String::new(), is_well: true };
    let mut say = |is_well: bool, line: &str| {
        found.is_well &= is_well;
        found.text.push_str(if is_well { "✓ " } else { "✗ " });
        found.text.push_str(line);
        found.text.push('\n');
    };
    let size = std::fs::metadata(state_dir.join(DATABASE)).map_or(0, |it| it.len());
    say(true, &format!("{} in {}, {}", counted(rows.len(), "run"), shown(state_dir), shown_bytes(size)));
    for row in &rows {
        let recorded = reader.recorded(&row.id);
        let is_cut_short = row.verdict.is_none() && row.holder.is_none();
        match recorded {
            Err(error) => {
                say(
                    false,
                    &format!("{error}\n  its logs are untouched; `dirigent gc` drops it when it is old"),
                );
            }
            Ok(recorded) if is_cut_short => {
                let (id, state) = (&row.id, State::fold(&recorded.events));
                say(true, &format!("run {id} was cut short\n  {}", goes_on(id, &state)));
            }
            Ok(_) => {}
        }
    }
    let artifacts = reader.artifacts();
    for hash in artifacts.all() {
        if let Err(error) = artifacts.load(&hash) {
            say(false, &format!("{error}\n  the task that made it runs again where a resumed run needs it"));
        }
    }
    let room = rustix::fs::statvfs(state_dir).map_or(u64::MAX, |it| it.f_bavail.saturating_mul(it.f_frsize));
    say(room > 64 << 20, &format!("{} of room", shown_bytes(room)));
    Ok(found)
}
