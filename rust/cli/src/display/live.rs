//! A picture that changes: failures scroll by above, below them a row for the whole and one for each task that runs.
//!
//! Nothing is drawn where nothing changed, but for the clocks, once a second. The next frame waits a hundred times as long as
//! the last one took, so that the picture never costs more than a hundredth of a core.

use super::REST;
use super::foresight::Foresight;
use super::lines::Scrolling;
use super::picture::{Going, Scene, Share, has_room_for_lines, picture, room};
use super::tally::{Shown, Tally};
use crate::record::{now_ms, tail_bytes};
use crate::terminal::{self, width};
use dirigent_core::event::{Event, Fact};
use dirigent_core::ids::TaskIndex;
use dirigent_core::spec::Action;
use dirigent_core::state::{State, TaskStatus};
use dirigent_core::text::{plain_output, printable};
use dirigent_engine::run::attempt_folder;
use dirigent_report::StreamName;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the picture changes at most, and how often somebody looks whether the terminal has another size.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How often the clocks in it move.
const CLOCK: Duration = Duration::from_secs(1);
/// How much of the end of a log is read for its last line.
const LINE_BYTES: usize = 512;

pub(super) struct Live {
    state: State,
    tally: Tally,
    scrolling: Scrolling,
    began: Instant,
    /// When the last frame was drawn, and how long that took.
    drawn: Option<(Instant, Duration)>,
    size: (usize, usize),
    /// Whether anything happened since then.
    is_stale: bool,
    name_columns: usize,
    clock: Clock,
    foresight: Foresight,
    /// The run's folder, with the logs of its tasks.
    folder: PathBuf,
    /// The last lines of those that are shown, and when they were read.
    last_lines: HashMap<TaskIndex, String>,
    read_at: Option<Instant>,
}

/// How long the run has gone on, since this engine took it up and without the time it was stopped.
#[derive(Default)]
struct Clock {
    since_ms: i64,
    stopped_ms: i64,
    stopped_since_ms: Option<i64>,
}

impl Clock {
    fn note(&mut self, event: &Event) {
        match &event.fact {
            Fact::RunCreated(_) | Fact::RunResumed { .. } => {
                *self = Self { since_ms: event.at_ms, ..Self::default() };
            }
            Fact::RunSuspended => self.stopped_since_ms = Some(event.at_ms),
            Fact::RunContinued => {
                self.stopped_ms += self.stopped_since_ms.take().map_or(0, |since_ms| event.at_ms - since_ms);
            }
            _ => {}
        }
    }

    fn elapsed_ms(&self, now_ms: i64) -> i64 {
        self.stopped_since_ms.unwrap_or(now_ms) - self.since_ms - self.stopped_ms
    }
}

impl Live {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            state: State::default(),
            tally: Tally::default(),
            scrolling: Scrolling::new(terminal::colours_on_stderr()),
            began: Instant::now(),
            drawn: None,
            size: terminal::size(),
            is_stale: true,
            name_columns: 0,
            clock: Clock::default(),
            foresight: Foresight::new(folder),
            folder: folder.to_owned(),
            last_lines: HashMap::new(),
            read_at: None,
        }
    }

    /// How long until the picture may change. The first one waits, so that short runs draw none.
    fn pause(&self) -> Duration {
        match self.drawn {
            None => TICK.saturating_sub(self.began.elapsed()),
            Some((at, took)) => (took * REST).clamp(TICK, CLOCK).saturating_sub(at.elapsed()),
        }
    }

    pub(super) fn take(&mut self, events: &[Event]) {
        for event in events {
            self.tally.apply(&mut self.state, event);
            self.scrolling.note(&self.state, event);
            self.clock.note(event);
        }
        self.is_stale = true;
        self.look();
    }

    /// Draws, if there is anything to draw and it is time.
    pub(super) fn look(&mut self) {
        let size = terminal::size();
        let is_resized = std::mem::replace(&mut self.size, size) != size && self.drawn.is_some();
        let has_clock_moved = self.drawn.is_none_or(|(at, _)| at.elapsed() >= CLOCK);
        let is_time = self.pause().is_zero() && (self.is_stale || has_clock_moved);
        if is_time || is_resized || !self.scrolling.is_empty() {
            self.draw();
        }
    }

    /// Says something that is no event.
    pub(super) fn tell(&mut self, line: &str) {
        self.scrolling.tell(line);
        self.draw();
    }

    /// Replaces the picture, after whatever has to scroll by.
    fn draw(&mut self) {
        let began = Instant::now();
        let (columns, rows) = self.size;
        let scene = self.scene(now_ms(), columns, rows);
        terminal::draw(&self.scrolling.take(), picture(&scene, columns, rows));
        self.drawn = Some((began, began.elapsed()));
        self.is_stale = false;
    }

    /// Takes the picture away; what scrolled by stays.
    pub(super) fn clear(mut self) {
        terminal::draw(&self.scrolling.take(), Vec::new());
    }

    fn scene(&mut self, now_ms: i64, columns: usize, rows: usize) -> Scene {
        let (shown, more) = self.tally.shown(&self.state, room(rows));
        if has_room_for_lines(columns) && self.read_at.is_none_or(|at| at.elapsed() >= CLOCK) {
            self.last_lines = shown.iter().filter_map(|shown| self.last_line(shown.task)).collect();
            self.read_at = Some(Instant::now());
        }
        let tasks: Vec<Going> = shown.into_iter().map(|shown| self.going(shown, now_ms)).collect();
        let widest = tasks.iter().map(|task| width(&task.name) + 2 * task.depth).max().unwrap_or(0);
        self.name_columns = self.name_columns.max(widest);
        let total = self.state.tasks().len();
        let counts: Vec<(TaskStatus, usize)> = self.tally.counts().collect();
        let failed = counts.iter().filter(|(status, _)| status.is_failure()).map(|(_, count)| count).sum();
        Scene {
            share: Share { total, done: total - self.state.open() as usize, failed },
            counts,
            elapsed_s: seconds(self.clock.elapsed_ms(now_ms)),
            left_s: self.foresight.left_ms(&self.state, now_ms).map(|ms| ms.div_ceil(1000)),
            tasks,
            more,
            name_columns: self.name_columns,
            colours: self.scrolling.colours,
        }
    }

    fn going(&self, Shown { task, depth }: Shown, now_ms: i64) -> Going {
        let it = &self.state.tasks()[task.usize()];
        let outer = it.parent.map(|parent| &*self.state.tasks()[parent.usize()].spec.name);
        let name = &*it.spec.name;
        let name = outer.and_then(|outer| name.strip_prefix(outer)?.strip_prefix('/')).unwrap_or(name);
        let elapsed_ms = match it.status {
            TaskStatus::Waiting => now_ms - it.started_at_ms.unwrap_or(now_ms),
            _ => i64::try_from(self.state.ran_ms(task, now_ms)).unwrap_or(i64::MAX),
        };
        Going {
            depth,
            status: it.status,
            name: printable(name),
            elapsed_s: seconds(elapsed_ms),
            attempt: it.attempts,
            parts: self.tally.whole(task).map(|whole| (whole.share, whole.running)),
            again_s: self.tally.again_ms(task).map(|at_ms| seconds(at_ms - now_ms + 999)),
            line: match &it.spec.action {
                Action::Approval(approval) => printable(&approval.prompt),
                _ => self.last_lines.get(&task).cloned().unwrap_or_default(),
            },
        }
    }

    /// What a task that runs wrote last.
    fn last_line(&self, task: TaskIndex) -> Option<(TaskIndex, String)> {
        let it = self.state.task(task).filter(|task| task.status == TaskStatus::Running)?;
        let attempt = self.folder.join(attempt_folder(task, it.attempts));
        let logs =
            [StreamName::Stdout, StreamName::Stderr].map(|it| attempt.join(format!("{}.log", it.name())));
        let changed = |log: &PathBuf| log.metadata().and_then(|it| it.modified()).ok();
        let newest = logs.iter().filter_map(|log| Some((changed(log)?, log))).max()?.1;
        let text = plain_output(&tail_bytes(newest, LINE_BYTES));
        let line = text.lines().rfind(|line| !line.trim().is_empty())?;
        Some((task, line.trim().replace('\t', " ")))
    }
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0) / 1000
}
