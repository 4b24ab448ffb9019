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
/// Columns of the bar of a row, in terminals of usual width and in wide ones.
const SMALL_BAR: (usize, usize) = (12, 24);
/// Columns of the time of a row: `59 min 59 s`; in narrow terminals `59 min`.
const TIME: usize = 11;
const BRIEF_TIME: usize = 6;
/// In fewer columns a row has its name and its time, and little else.
const NARROW: usize = 60;
/// From so many columns on a terminal is wide.
const WIDE: usize = 120;
/// A name is cut to fewer columns only where there is nothing else that could go.
const LEAST_NAME: usize = 12;
/// How many levels there are of saying less.
const LEVELS: usize = 3;
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

/// The same in one unit, for narrow terminals.
fn shown_briefly(s: u64) -> String {
    match s {
        0..100 => format!("{s} s"),
        100..6000 => format!("{} min", s / 60),
        6000..360_000 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
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
    let choices: [(Words, usize); 9] = [
        ([counts(&all, &all), elapsed(), left(true)].concat(), 12),
        ([counts(&all, &is_bad), elapsed(), left(true)].concat(), 10),
        ([counts(&is_news, &is_bad), elapsed(), left(true)].concat(), BAR.0),
        ([counts(&is_bad, &is_bad), elapsed(), left(false)].concat(), BAR.0),
        ([counts(&is_bad, &is_bad), elapsed(), left(false)].concat(), 0),
        ([counts(&is_bad, &none), elapsed(), left(false)].concat(), 0),
        ([counts(&is_bad, &is_bad), elapsed()].concat(), 0),
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
    /// How many a name may take, with what it is indented by.
    name: usize,
    bar: usize,
}

impl Columns {
    fn new(scene: &Scene, columns: usize) -> Self {
        let bar = if columns < WIDE { SMALL_BAR.0 } else { SMALL_BAR.1 };
        Self { columns, name: scene.name_columns.min(columns * 2 / 5), bar }
    }

    fn row(&self, task: &Going, colours: bool) -> Row {
        let mut row = Drawn::new(colours);
        // However deep it is, there is room for a name.
        row.go_to((2 + 2 * task.depth).min(self.columns / 4));
        let (sign, paint) = sign(task.status);
        row.push(&fitted(sign, self.columns.saturating_sub(row.row.columns)), Some(paint));
        if self.columns < NARROW {
            self.narrow(task, &mut row)
        } else {
            self.usual(task, &mut row)
        }
        row.row()
    }

    /// The name, and at the right edge the time with as much as leaves room for the name.
    fn narrow(&self, task: &Going, row: &mut Drawn) {
        let room = self.columns.saturating_sub(row.row.columns + 1);
        let time = shown_briefly(task.elapsed_s);
        let name = width(&task.name).min(LEAST_NAME);
        let used = |words: &Words| columns_of(words) + if words.is_empty() { 0 } else { 2 } + 2 + BRIEF_TIME;
        let words = (1..LEVELS).map(|level| words(task, level));
        let words = words.into_iter().find(|words| name + used(words) <= room).unwrap_or_default();
        if room < 3 + BRIEF_TIME {
            return;
        }
        row.push(" ", None);
        row.push(&fitted_end(&task.name, room.saturating_sub(used(&words)).max(1)), None);
        row.go_to(self.columns.saturating_sub(columns_of(&words) + 2 + BRIEF_TIME));
        words.iter().for_each(|(text, paint)| row.push(text, *paint));
        row.go_to(self.columns.saturating_sub(width(&time)));
        row.push(&time, Some(Paint::Dim));
    }

    /// Names, times and the rest below each other.
    fn usual(&self, task: &Going, row: &mut Drawn) {
        row.push(" ", None);
        let name_ends = 4 + self.name;
        let room = name_ends.saturating_sub(row.row.columns).max(1);
        row.push(&fitted_end(&task.name, room), None);
        let time = shown_s(task.elapsed_s);
        row.go_to((name_ends + 2 + TIME).saturating_sub(width(&time)));
        row.push(&time, Some(Paint::Dim));
        let room = self.columns.saturating_sub(row.row.columns + 2);
        let bar = if task.parts.is_some() { self.bar + 1 } else { 0 };
        let all = || (0..LEVELS).map(|level| words(task, level));
        let fits = |room: usize| move |words: &Words| columns_of(words) <= room;
        let with_bar = room.checked_sub(bar).and_then(|room| all().find(fits(room)));
        let has_bar = bar > 0 && with_bar.is_some();
        let words = with_bar.or_else(|| all().find(fits(room))).unwrap_or_default();
        if has_bar || !words.is_empty() {
            row.push("  ", None);
        }
        if let Some((share, _)) = task.parts.filter(|_| has_bar) {
            row.bar(share, self.bar);
            row.push(" ", None);
        }
        words.iter().for_each(|(text, paint)| row.push(text, *paint));
        let room = self.columns.saturating_sub(row.row.columns + 2);
        if !task.line.is_empty() && room >= LEAST_LINE {
            row.push("  ", None);
            row.push(&fitted(&task.line, room), Some(Paint::Dim));
        }
    }
}

/// What is to be said of a task beside its name and time, on level 0 the most.
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
        (TaskStatus::Waiting, _, 0 | 1) => "waits for an answer".to_owned(),
        (TaskStatus::Waiting, ..) => "waits".to_owned(),
        (TaskStatus::Retrying, Some(s), 0) => {
            format!("attempt {} failed, again in {}", task.attempt, shown_s(s))
        }
        (TaskStatus::Retrying, Some(s), 1) => format!("again in {}", shown_s(s)),
        (TaskStatus::Retrying, ..) => "again".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn going(name: &str, elapsed_s: u64) -> Going {
        Going {
            depth: 0,
            status: TaskStatus::Running,
            name: name.to_owned(),
            elapsed_s,
            attempt: 1,
            parts: None,
            again_s: None,
            line: String::new(),
        }
    }

    fn share(done: usize, failed: usize, total: usize) -> Share {
        Share { total, done, failed }
    }

    /// A run with something of everything.
    fn scene() -> Scene {
        let line = "read 1,200,000 of 4,000,000 rows of customers.parquet, which is a long line".to_owned();
        let tasks = vec![
            Going { line, attempt: 2, ..going("etl/extract_customers.py", 72) },
            Going { parts: Some((share(380, 2, 1000), 4)), ..going("shards", 3725) },
            Going { parts: Some((share(1, 0, 12), 2)), ..going("report", 5) },
            Going { depth: 1, ..going("日本語の表を作る", 4) },
            Going { depth: 1, ..going("plot", 0) },
            Going { status: TaskStatus::Retrying, attempt: 3, again_s: Some(8), ..going("fetch", 1) },
            Going { status: TaskStatus::Waiting, line: "Publish?".to_owned(), ..going("ok", 600) },
        ];
        let counts = vec![
            (TaskStatus::Failed, 3),
            (TaskStatus::Running, 7),
            (TaskStatus::Retrying, 1),
            (TaskStatus::Waiting, 1),
            (TaskStatus::Completed, 396),
        ];
        let name_columns = tasks.iter().map(|task| width(&task.name) + 2 * task.depth).max().unwrap_or(0);
        Scene {
            share: share(399, 3, 1040),
            counts,
            elapsed_s: 3800,
            left_s: Some(5400),
            tasks,
            more: 0,
            name_columns,
            colours: false,
        }
    }

    /// Draws it, and sees that it keeps within the terminal whatever that is like.
    #[track_caller]
    fn check(scene: &Scene, (columns, rows): (usize, usize), expected: &str) {
        let drawn = picture(scene, columns, rows);
        let text: Vec<&str> = drawn.iter().map(|row| row.text.trim_end()).collect();
        let expected: Vec<&str> = expected.trim_matches('\n').lines().map(str::trim_end).collect();
        assert_eq!(text, expected, "\n{}\n", text.join("\n"));
    }

    #[test]
    fn a_narrow_terminal_shows_names_times_and_what_went_wrong() {
        let expected = "
399/1,040  ✗ 3  1 h 3 min  ~1 h 30 min
  ▸ …ct_customers.py  attempt 2    72 s
  ▸ shards       380/1,000  ✗ 2  62 min
  ▸ report                 1/12     5 s
    ▸ 日本語の表を作る              4 s
    ▸ plot                          0 s
    … and 2 more
";
        check(&scene(), (40, 10), expected);
    }

    #[test]
    fn a_terminal_of_usual_size_shows_bars_and_words() {
        let expected = "
━━━━━╳╌╌╌╌╌╌╌╌╌╌╌ 399/1,040  ✗ 3 failed · ? 1  1 h 3 min  about 1 h 30 min left
  ▸ etl/extract_customers.py   1 min 12 s  attempt 2  read 1,200,000 of 4,000,…
  ▸ shards                      1 h 2 min  ━━━╳╌╌╌╌╌╌╌╌ 380/1,000  ✗ 2 failed
  ▸ report                            5 s  ━╌╌╌╌╌╌╌╌╌╌╌ 1/12  ▸ 2 running
    ▸ 日本語の表を作る                4 s
    ▸ plot                            0 s
  ↻ fetch                             1 s  attempt 3 failed, again in 8 s
  ? ok                             10 min  waits for an answer
";
        check(&scene(), (80, 24), expected);
    }

    #[test]
    fn a_wide_terminal_shows_last_lines_too() {
        let expected = "
━━━━━━━━━━━━━━╳╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 399/1,040  ✗ 3 failed · ▸ 7 running · ↻ 1 retrying · ? 1 waiting · ✓ 396 completed  1 h 3 min  about 1 h 30 min left
  ▸ etl/extract_customers.py   1 min 12 s  attempt 2  read 1,200,000 of 4,000,000 rows of customers.parquet, which is a long line
  ▸ shards                      1 h 2 min  ━━━━━━━━╳╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 380/1,000  ✗ 2 failed · ▸ 4 running
  ▸ report                            5 s  ━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 1/12  ▸ 2 running
    ▸ 日本語の表を作る                4 s
    ▸ plot                            0 s
  ↻ fetch                             1 s  attempt 3 failed, again in 8 s
  ? ok                             10 min  waits for an answer  Publish?
";
        check(&scene(), (160, 50), expected);
    }

    #[test]
    fn it_is_never_wider_nor_higher_than_the_terminal_and_counts_its_columns_right() {
        let mut scenes = vec![Scene::default(), scene()];
        let mut scene = scene();
        scene.tasks = (0..40).map(|n| Going { depth: n % 9, ..scene.tasks[n % 7].clone() }).collect();
        (scene.more, scene.colours, scene.left_s) = (17, true, None);
        scenes.push(scene);
        for scene in &scenes {
            for (columns, rows) in
                (0..200).flat_map(|columns| [0, 1, 2, 3, 5, 12, 60].map(|rows| (columns, rows)))
            {
                let drawn = picture(scene, columns, rows);
                assert!(drawn.len() <= rows.saturating_sub(1), "{} rows in {columns} × {rows}", drawn.len());
                for row in drawn {
                    let plain = dirigent_core::text::plain_output(row.text.as_bytes());
                    assert_eq!(width(&plain), row.columns, "{plain}");
                    assert!(row.columns < columns.max(1), "{} columns in {columns}: {plain}", row.columns);
                }
            }
        }
    }

    #[test]
    fn what_is_left_is_told_no_finer_than_it_is_known() {
        let told = [0, 7, 61, 119, 121, 601, 7199, 7201, 100_000].map(shown_left);
        assert_eq!(
            told,
            ["0 s", "7 s", "1 min 5 s", "2 min", "2 min 30 s", "11 min", "2 h", "2 h 10 min", "27 h 50 min"]
        );
    }
}
