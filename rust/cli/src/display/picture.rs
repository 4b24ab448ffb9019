//! The picture of a run that goes on, drawn into so many columns and rows. It knows no run, no clock and no terminal.
//!
//! The first row tells of the whole: a bar, counts, times. Below it stands a row for each task that runs, the longest
//! running first, and a task that consists of tasks has those below it; but of a fan-out there is one row, with a bar.
//! Where there is little room, what says least goes first, and what a state is always has a sign, not a colour alone.

use super::{sign, word};
use crate::terminal::{Paint, Row, fitted, fitted_end, painted, width};
use dirigent_core::outcome::shown_duration;
use dirigent_core::state::TaskStatus;
use dirigent_report::quantity::grouped;

/// Columns of the bar of the whole: the fewest, and the most, which wide terminals have.
const BAR: (usize, usize) = (6, 40);
/// The same for the bar of a row.
const SMALL_BAR: (usize, usize) = (8, 24);
/// Columns of the time of a row: `59 min 59 s`.
const TIME: usize = 11;
/// In fewer columns a row has its name and its time, and little else.
const NARROW: usize = 60;
/// Fewer columns are not worth the last line of some output.
const LEAST_LINE: usize = 16;
/// Rows of tasks that a terminal of usual height shows at most; a tall one gives half of its own.
const ROWS: usize = 12;

/// What there is to show.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) share: Share,
    /// How many tasks stand how, those of which there are any.
    pub(super) counts: Vec<(TaskStatus, usize)>,
    pub(super) elapsed_s: u64,
    /// How long the run will still take, where that is known.
    pub(super) left_s: Option<u64>,
    /// What goes on, in order.
    pub(super) tasks: Vec<Going>,
    /// How many more go on than those.
    pub(super) more: usize,
    /// The widest name so far, so that columns stay where they are.
    pub(super) name_columns: usize,
    pub(super) colours: bool,
}

/// How much is done of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) total: usize,
    /// How many have ended, however.
    pub(super) done: usize,
    pub(super) failed: usize,
}

/// A task that goes on: it runs, waits to be tried again, or waits for an answer.
#[derive(Clone, Debug)]
pub(super) struct Going {
    /// Of how many others it is a part.
    pub(super) depth: usize,
    pub(super) status: TaskStatus,
    pub(super) name: String,
    pub(super) elapsed_s: u64,
    pub(super) attempt: u32,
    /// Of a task that consists of tasks: how much of it is done, and how many of its tasks run.
    pub(super) parts: Option<(Share, usize)>,
    /// In how many seconds it is tried again.
    pub(super) again_s: Option<u64>,
    /// The last line that it wrote.
    pub(super) line: String,
}

/// How many rows there are for tasks in a terminal so high.
pub(super) fn room(rows: usize) -> usize {
    // One for the whole, one for the cursor, and a few to see what scrolled by.
    rows.saturating_sub(4).min(ROWS.max(rows / 2)).max(rows.saturating_sub(2).min(1))
}

/// Whether rows are wide enough for the last lines of what tasks write.
pub(super) fn has_room_for_lines(columns: usize) -> bool {
    columns > NARROW + LEAST_LINE
}

/// Draws it in a terminal of so many columns and rows, of which it leaves the last ones free.
pub(super) fn picture(scene: &Scene, columns: usize, rows: usize) -> Vec<Row> {
    // What stands in the last column makes some terminals begin a new row.
    let columns = columns.saturating_sub(1);
    let room = room(rows);
    let mut shown = whole(scene, columns).into_iter().take(rows.saturating_sub(1)).collect::<Vec<_>>();
    let is_cut = scene.tasks.len() > room || scene.more > 0;
    // The last of them says how many more there are.
    let count = if is_cut { room.saturating_sub(1).min(scene.tasks.len()) } else { scene.tasks.len() };
    let wide = Columns::new(scene, columns);
    shown.extend(scene.tasks.iter().take(count).map(|task| wide.row(task, scene.colours)));
    let more = scene.tasks.len() - count + scene.more;
    if more > 0 && room > 0 {
        let mut row = Drawn::new(scene.colours);
        row.push(&fitted(&format!("    … and {} more", grouped(more)), columns), Some(Paint::Dim));
        shown.push(row.row());
    }
    shown
}

/// A row while it is drawn.
struct Drawn {
    row: Row,
    colours: bool,
}

impl Drawn {
    fn new(colours: bool) -> Self {
        Self { row: Row::default(), colours }
    }

    fn push(&mut self, text: &str, paint: Option<Paint>) {
        self.row.columns += width(text);
        match paint {
            Some(paint) => self.row.text.push_str(&painted(text, paint, self.colours && !text.is_empty())),
            None => self.row.text.push_str(text),
        }
    }

    /// Goes on in this column.
    fn go_to(&mut self, column: usize) {
        let gap = column.saturating_sub(self.row.columns);
        self.push(&" ".repeat(gap), None);
    }

    /// What is done, what failed and what is left have each their own sign.
    fn bar(&mut self, share: Share, columns: usize) {
        let of = |count: usize| (columns * count).checked_div(share.total).unwrap_or(0);
        let done = of(share.done);
        // One that failed is seen among a million.
        let failed = of(share.failed).max(usize::from(share.failed > 0)).min(columns);
        let well = done.saturating_sub(failed);
        self.push(&"━".repeat(well), Some(Paint::Blue));
        self.push(&"╳".repeat(failed), Some(Paint::Red));
        self.push(&"╌".repeat(columns - well - failed), Some(Paint::Dim));
    }

    fn row(self) -> Row {
        self.row
    }
}

/// Words with their colours, of which a row is made.
type Words = Vec<(String, Option<Paint>)>;

fn columns_of(words: &Words) -> usize {
    words.iter().map(|(text, _)| width(text)).sum()
}

/// Whole seconds for a person.
fn shown_s(s: u64) -> String {
    if s == 0 { "0 s".to_owned() } else { shown_duration(s.saturating_mul(1000)) }
}

/// `2 min left` without its end, rounded as far as anybody can know.
fn shown_left(left_s: u64) -> String {
    let rounded = match left_s {
        0..20 => left_s,
        20..120 => left_s.div_ceil(5) * 5,
        120..600 => left_s.div_ceil(30) * 30,
        600..7200 => left_s.div_ceil(60) * 60,
        _ => left_s.div_ceil(600) * 600,
    };
    shown_s(rounded)
}

/// The row of the whole; none where there is no room for anything.
fn whole(scene: &Scene, columns: usize) -> Option<Row> {
    let Share { done, total, .. } = scene.share;
    let share = format!("{}/{}", grouped(done), grouped(total));
    let elapsed = shown_s(scene.elapsed_s);
    let counts = |is_shown: &dyn Fn(TaskStatus) -> bool, has_word: &dyn Fn(TaskStatus) -> bool| {
        let mut words = Words::new();
        for (status, count) in scene.counts.iter().filter(|(status, _)| is_shown(*status)) {
            let (sign, paint) = sign(*status);
            let gap = if words.is_empty() { "  " } else { " · " };
            words.push((gap.to_owned(), None));
            let word = if has_word(*status) { format!(" {}", word(*status)) } else { String::new() };
            words.push((format!("{sign} {}{word}", grouped(*count)), Some(paint)));
        }
        words
    };
    let left = |is_long: bool| match scene.left_s {
        None => Words::new(),
        Some(left_s) if is_long => vec![(format!("  about {} left", shown_left(left_s)), None)],
        Some(left_s) => vec![(format!("  ~{}", shown_left(left_s)), None)],
    };
    let is_bad = |status: TaskStatus| status.is_failure() || status == TaskStatus::Cancelled;
    let is_news = |status: TaskStatus| is_bad(status) || status == TaskStatus::Waiting;
    let (all, none) = (|_| true, |_| false);
    let elapsed = || vec![(format!("  {elapsed}"), None)];
    // What is told, the richest first, and the fewest columns that a bar then has to have.
    let choices: [(Words, usize); 7] = [
        ([counts(&all, &all), elapsed(), left(true)].concat(), 12),
        ([counts(&all, &is_bad), elapsed(), left(true)].concat(), 10),
        ([counts(&is_news, &is_bad), elapsed(), left(true)].concat(), BAR.0),
        ([counts(&is_bad, &is_bad), elapsed(), left(false)].concat(), BAR.0),
        ([counts(&is_bad, &is_bad), elapsed(), left(false)].concat(), 0),
        ([counts(&is_bad, &none), elapsed()].concat(), 0),
        (counts(&is_bad, &none), 0),
    ];
    let used = |words: &Words| width(&share) + columns_of(words);
    let fits = |(words, bar): &&(Words, usize)| used(words) + if *bar > 0 { bar + 1 } else { 0 } <= columns;
    let mut row = Drawn::new(scene.colours);
    let Some((words, _)) = choices.iter().find(fits) else {
        row.push(&fitted(&share, columns), None);
        return (columns > 0).then(|| row.row());
    };
    let bar = columns.saturating_sub(used(words) + 1).min(BAR.1.min(columns / 3));
    if bar >= BAR.0 {
        row.bar(scene.share, bar);
        row.push(" ", None);
    }
    row.push(&share, None);
    words.iter().for_each(|(text, paint)| row.push(text, *paint));
    Some(row.row())
}

/// Where things stand in the rows of tasks.
struct Columns {
    columns: usize,
    name: usize,
}

impl Columns {
    fn new(scene: &Scene, columns: usize) -> Self {
        let has_more = scene.tasks.iter().any(|task| !Self::words(task, 0).is_empty());
        let most = match columns {
            0..NARROW => columns.saturating_sub(4 + 2 + TIME + if has_more { 12 } else { 0 }).max(8),
            _ => columns * 2 / 5,
        };
        Self { columns, name: scene.name_columns.min(most) }
    }

    fn row(&self, task: &Going, colours: bool) -> Row {
        let mut row = Drawn::new(colours);
        // However deep it is, there is room for a name.
        let indent = (2 + 2 * task.depth).min(self.name / 2);
        row.go_to(indent.min(self.columns.saturating_sub(2)));
        let (sign, paint) = sign(task.status);
        row.push(sign, Some(paint));
        row.push(" ", None);
        let time = fitted(&shown_s(task.elapsed_s), self.columns / 2);
        let start = row.row.columns;
        let room = self.columns.saturating_sub(start + 2 + width(&time));
        let name_ends = 4 + self.name;
        row.push(&fitted_end(&task.name, name_ends.saturating_sub(start).max(1).min(room.max(1))), None);
        let time_ends = name_ends + 2 + TIME;
        let at = if time_ends <= self.columns {
            time_ends - width(&time)
        } else {
            (self.columns.saturating_sub(width(&time))).min(name_ends + 2)
        };
        row.go_to(at);
        if row.row.columns + width(&time) <= self.columns {
            row.push(&time, Some(Paint::Dim));
        }
        self.rest(task, &mut row);
        row.row()
    }

    /// What there is room for behind the time.
    fn rest(&self, task: &Going, row: &mut Drawn) {
        let room = self.columns.saturating_sub(row.row.columns + 2);
        let Some(level) = (0..3).find(|level| columns_of(&Self::words(task, *level)) <= room) else { return };
        let words = Self::words(task, level);
        if let Some((share, _)) = task.parts {
            let bar = (room.saturating_sub(columns_of(&words) + 1)).min(SMALL_BAR.1);
            row.push("  ", None);
            if bar >= SMALL_BAR.0 {
                row.bar(share, bar);
                row.push(" ", None);
            }
        } else if !words.is_empty() {
            row.push("  ", None);
        }
        words.iter().for_each(|(text, paint)| row.push(text, *paint));
        let room = self.columns.saturating_sub(row.row.columns + 2);
        if !task.line.is_empty() && room >= LEAST_LINE {
            row.push("  ", None);
            row.push(&fitted(&task.line, room), Some(Paint::Dim));
        }
    }

    /// What is to be said of a task beside its name and time, the most first.
    fn words(task: &Going, level: usize) -> Words {
        let mut words = Words::new();
        if let Some((share, running)) = task.parts {
            words.push((format!("{}/{}", grouped(share.done), grouped(share.total)), None));
            if share.failed > 0 {
                let (sign, paint) = sign(TaskStatus::Failed);
                let word = if level < 2 { " failed" } else { "" };
                words.push(("  ".to_owned(), None));
                words.push((format!("{sign} {}{word}", grouped(share.failed)), Some(paint)));
            }
            if running > 0 && level == 0 {
                let (sign, paint) = sign(TaskStatus::Running);
                words.push((if share.failed > 0 { " · " } else { "  " }.to_owned(), None));
                words.push((format!("{sign} {} running", grouped(running)), Some(paint)));
            }
        }
        let said = match (task.status, task.again_s, level) {
            (TaskStatus::Waiting, ..) if level < 2 => "waits for an answer".to_owned(),
            (TaskStatus::Retrying, Some(s), 0) => {
                format!("attempt {} failed, again in {}", task.attempt, shown_s(s))
            }
            (TaskStatus::Retrying, Some(s), _) => format!("again in {}", shown_s(s)),
            (_, _, 0 | 1) if task.attempt > 1 => format!("attempt {}", task.attempt),
            (_, _, _) if task.attempt > 1 => format!("#{}", task.attempt),
            _ => String::new(),
        };
        if !said.is_empty() {
            let gap = if words.is_empty() { "" } else { "  " };
            words.push((format!("{gap}{said}"), Some(Paint::Yellow)));
        }
        words
    }
}
