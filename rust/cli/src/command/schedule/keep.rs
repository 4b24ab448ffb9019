//! `dirigent schedule run`: sleeps until a schedule has something to do, does it, and sleeps again.

use super::carry::Carrier;
use super::wake::Wake;
use crate::fault::CliError;
use crate::terminal;
use dirigent_report::quantity::counted;
use dirigent_schedule::{Timetable, zone};

/// The schedules of a project, kept.
pub(super) struct Keeper<'a> {
    timetable: Timetable,
    /// The job of each schedule in the timetable.
    jobs: Vec<usize>,
    carrier: Carrier,
    /// Milliseconds since 1970 by the wall clock.
    now_ms: &'a dyn Fn() -> i64,
}

impl<'a> Keeper<'a> {
    /// `positions_ms` says of each job up to where its ticks are dealt with.
    pub(super) fn new(carrier: Carrier, positions_ms: &[i64], now_ms: &'a dyn Fn() -> i64) -> Self {
        let mut timetable = Timetable::default();
        let mut jobs = Vec::new();
        for (number, (job, position_ms)) in carrier.jobs().iter().zip(positions_ms).enumerate() {
            let declared = &job.declared;
            if !declared.paused {
                timetable.add(declared.schedule.clone(), declared.catch_up, *position_ms);
                jobs.push(number);
            }
        }
        Self { timetable, jobs, carrier, now_ms }
    }

    /// Keeps them until a signal asks to end, and returns that.
    pub(super) fn keep(&mut self, wake: &Wake) -> Result<i32, CliError> {
        self.greet();
        let mut asked = None;
        loop {
            match asked {
                None => self.turn()?,
                Some(signal) if self.carrier.is_idle() => return Ok(signal),
                Some(_) => {}
            }
            let until_ms = self.timetable.next_ms().filter(|_| asked.is_none());
            let signals = wake.sleep(until_ms, self.carrier.patience());
            for signal in signals.into_iter().filter(|signal| *signal != libc::SIGCHLD) {
                self.carrier.end_all(signal);
                asked.get_or_insert(signal);
            }
            self.carrier.look((self.now_ms)())?;
        }
    }

    /// Does what is due.
    pub(super) fn turn(&mut self) -> Result<(), CliError> {
        let now_ms = (self.now_ms)();
        for (number, due) in self.timetable.due(now_ms) {
            let job = self.jobs[number];
            if let Some(missed) = due.missed {
                self.carrier.missed(job, missed.last_ms, missed.count, now_ms)?;
            }
            self.carrier.take(job, &due.run_ms, now_ms)?;
        }
        Ok(())
    }

    fn greet(&self) {
        let jobs = self.carrier.jobs();
        let next = jobs
            .iter()
            .filter(|job| !job.declared.paused)
            .filter_map(|job| Some((job.declared.schedule.next((self.now_ms)())?, job)))
            .min_by_key(|(tick_ms, _)| *tick_ms);
        let next = match next {
            Some((tick_ms, job)) => {
                format!("the next is {} at {}", job.declared.name, zone::shown(tick_ms, &job.declared.zone))
            }
            None => "nothing is to come".to_owned(),
        };
        terminal::say(&format!("keeping {}; {next}\n", counted(jobs.len(), "schedule")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::schedule::jobs::jobs;
    use dirigent_journal::{Reader, Store, TickOutcome};
    use dirigent_project::{Config, Document};
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const DAY_MS: i64 = 86_400_000;

    /// A project with a schedule, a clock that is set by hand, and a program that signs for the tick.
    struct Stage {
        folder: tempfile::TempDir,
        now_ms: Cell<i64>,
        /// Whether what was started is seen through before the clock goes on.
        is_patient: Cell<bool>,
    }

    impl Stage {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let program = folder.path().join("program");
            std::fs::write(&program, "#!/bin/sh\necho $DIRIGENT_TICK >> ledger\n").expect("written");
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("may be run");
            Self { folder, now_ms: Cell::new(0), is_patient: Cell::new(true) }
        }

        /// Starts a scheduler, has it look at the clock at these hours, and ends it.
        fn looks_at(&self, hours: &[i64], schedule: &str) {
            let root = self.folder.path();
            let text = format!("schedules: {{s: {{run: x, timezone: UTC, {schedule}}}}}");
            let document = Document::parse(&root.join("dirigent.yaml"), &text).expect("it can be read");
            let (jobs, root) =
                jobs(&Config::from_document(document).expect("it makes sense")).expect("there is one");
            let store = Arc::new(Store::open(&root.join("state")).expect("opened"));
            self.now_ms.set(hours[0] * DAY_MS / 24);
            let timing = jobs[0].timing();
            let position_ms = store.know_schedules(&[("s", &timing)], self.now_ms.get()).expect("known");
            let carrier =
                Carrier::new(jobs, root.clone(), root.join("program"), store, no_signals()).expect("made");
            let now_ms = || self.now_ms.get();
            let mut keeper = Keeper::new(carrier, &position_ms, &now_ms);
            for hour in hours {
                self.now_ms.set(hour * DAY_MS / 24);
                keeper.turn().expect("turned");
                if self.is_patient.get() {
                    self.see_through(&mut keeper);
                } else if !keeper.carrier.is_idle() {
                    // What it does about signals it has to have said by then.
                    let deadline = Instant::now() + Duration::from_secs(60);
                    while !self.path("began").exists() {
                        assert!(Instant::now() < deadline, "the program never began");
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            }
            std::fs::write(self.path("go"), "").expect("written");
            self.see_through(&mut keeper);
        }

        /// Waits until nothing runs and nothing waits.
        fn see_through(&self, keeper: &mut Keeper<'_>) {
            while !keeper.carrier.is_idle() {
                std::thread::sleep(Duration::from_millis(2));
                keeper.carrier.look(self.now_ms.get()).expect("looked");
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// The days whose ticks were carried out, as the program signed for them.
        fn days(&self) -> Vec<String> {
            let ledger = std::fs::read_to_string(self.path("ledger")).unwrap_or_default();
            ledger.lines().map(|line| line[8..10].to_owned()).collect()
        }

        /// What is recorded, the oldest tick first: the day, how it ended, how many it stands for.
        fn recorded(&self) -> Vec<(i64, TickOutcome, i64)> {
            let mut ticks = Reader::open(&self.path("state")).and_then(|it| it.ticks("s", 99)).expect("read");
            ticks.sort_by_key(|tick| tick.tick_ms);
            ticks.iter().map(|it| (it.tick_ms / DAY_MS + 1, it.outcome.expect("ended"), it.count)).collect()
        }
    }

    fn no_signals() -> libc::sigset_t {
        // SAFETY: an empty set is a set.
        unsafe {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            none
        }
    }

    /// Hours since 1970: three o'clock of a day of January 1970.
    fn three(day: i64) -> i64 {
        (day - 1) * 24 + 3
    }

    const DAILY: &str = "cron: '0 3 * * *'";

    #[test]
    fn the_clock_may_be_put_forward_and_back_by_days_and_no_tick_comes_twice() {
        let stage = Stage::new();
        let hours = [
            three(1),
            three(2),
            three(3),
            three(12) + 5,
            three(3) + 1,
            three(4),
            three(4),
            three(2),
            three(11),
        ];
        stage.looks_at(&hours, &format!("{DAILY}, catch_up: last"));
        assert_eq!(stage.days(), ["02", "03", "12", "04", "11"]);
        let ran = |day| (day, TickOutcome::Ran, 1);
        // The clock showed the third and the fourth twice: they are among the eight.
        assert_eq!(
            stage.recorded(),
            [ran(2), ran(3), ran(4), (10, TickOutcome::Missed, 8), ran(11), ran(12)],
            "a tick that was missed may be made up, and others are not run again"
        );
    }

    #[test]
    fn a_scheduler_that_comes_back_makes_up_by_policy() {
        for (catch_up, days, recorded) in [
            ("none", vec!["02"], vec![(2, TickOutcome::Ran, 1), (5, TickOutcome::Missed, 3)]),
            (
                "last",
                vec!["02", "05"],
                vec![(2, TickOutcome::Ran, 1), (4, TickOutcome::Missed, 2), (5, TickOutcome::Ran, 1)],
            ),
            ("all", vec!["02", "03", "04", "05"], (2..=5).map(|day| (day, TickOutcome::Ran, 1)).collect()),
        ] {
            let stage = Stage::new();
            let schedule = format!("{DAILY}, catch_up: {catch_up}");
            stage.looks_at(&[three(1), three(2)], &schedule);
            stage.looks_at(&[three(5) + 2, three(5) + 3], &schedule);
            assert_eq!(
                (stage.days(), stage.recorded()),
                (days.iter().map(ToString::to_string).collect(), recorded)
            );
        }
    }

    #[test]
    fn what_is_made_up_comes_one_after_the_other_and_a_new_tick_is_left_out_meanwhile() {
        let stage = Stage::new();
        let wait =
            "#!/bin/sh\n: > began; while [ ! -e go ]; do sleep 0.01; done\necho $DIRIGENT_TICK >> ledger\n";
        std::fs::write(stage.path("program"), wait).expect("written");
        stage.is_patient.set(false);
        stage.looks_at(&[three(1), three(4) + 2, three(5)], &format!("{DAILY}, catch_up: all"));
        assert_eq!(stage.days(), ["02", "03", "04"]);
        assert_eq!(stage.recorded()[3], (5, TickOutcome::Skipped, 1));
    }

    #[test]
    fn of_those_that_would_replace_each_other_the_newest_waits() {
        let stage = Stage::new();
        let wait = "#!/bin/sh\ntrap '' TERM; : > began; while [ ! -e go ]; do sleep 0.01; done\necho $DIRIGENT_TICK >> ledger\n";
        std::fs::write(stage.path("program"), wait).expect("written");
        stage.is_patient.set(false);
        stage.looks_at(&[three(1), three(2), three(3), three(4)], &format!("{DAILY}, overlap: replace"));
        assert_eq!(stage.days(), ["02", "04"]);
        let replaced = |day| (day, TickOutcome::Replaced, 1);
        assert_eq!(stage.recorded(), [replaced(2), replaced(3), (4, TickOutcome::Ran, 1)]);
    }

    #[test]
    fn a_schedule_that_is_new_changed_or_goes_on_begins_now() {
        let stage = Stage::new();
        stage.looks_at(&[three(9) + 1], DAILY);
        stage.looks_at(&[three(12) + 1], &format!("{DAILY}, paused: true"));
        stage.looks_at(&[three(15) + 1, three(16)], DAILY);
        stage.looks_at(&[three(19) + 1, three(20) + 1], "cron: '0 4 * * *'");
        assert_eq!(stage.days(), ["16", "20"]);
    }

    #[test]
    fn what_cannot_be_started_is_lost_and_the_next_one_comes() {
        let stage = Stage::new();
        let program = stage.path("program");
        std::fs::rename(&program, stage.path("away")).expect("renamed");
        stage.looks_at(&[three(1), three(2)], DAILY);
        std::fs::rename(stage.path("away"), &program).expect("renamed");
        stage.looks_at(&[three(2) + 1, three(3)], DAILY);
        assert_eq!(stage.recorded(), [(2, TickOutcome::Lost, 1), (3, TickOutcome::Ran, 1)]);
        let log = Path::new("ticks/2.log");
        let mode =
            std::fs::metadata(stage.path("state").join(log)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
