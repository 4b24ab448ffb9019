//! What a report asks about the output of tasks. Whoever implements [`Logs`] knows files; this crate does not.

use dirigent_core::TaskIndex;

/// Which of its two streams a program wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl StreamName {
    /// Its name, as in the summary: `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Where the output of the last attempt of each task is. Asked only for streams that the attempt wrote to.
pub trait Logs {
    /// The log's path, relative to the run's folder, with `/`; `None` where there is no log.
    fn path(&self, task: TaskIndex, stream: StreamName) -> Option<String>;

    /// The end of the log as plain text (see [`plain_output`](dirigent_core::text::plain_output)), about `max_bytes`
    /// of it; empty where it cannot be read.
    fn tail(&self, task: TaskIndex, stream: StreamName, max_bytes: usize) -> String;
}

/// For a run whose logs are gone or were never kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLogs;

impl Logs for NoLogs {
    fn path(&self, _: TaskIndex, _: StreamName) -> Option<String> {
        None
    }

    fn tail(&self, _: TaskIndex, _: StreamName, _: usize) -> String {
        String::new()
    }
}

/// The last whole lines of a text that fit into `max_bytes`, and how many bytes were left out before them.
///
/// Of a line that alone does not fit, its end is kept.
pub(crate) fn last_lines(text: &str, max_bytes: usize) -> (&str, usize) {
    if text.len() <= max_bytes {
        return (text, 0);
    }
    let mut start = text.len() - max_bytes;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let at_line_start = text.as_bytes()[start - 1] == b'\n';
    if let Some(end) = text[start..].find('\n').filter(|end| !at_line_start && start + end + 1 < text.len()) {
        start += end + 1;
    }
    (&text[start..], start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_whole_lines_where_it_can() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 100), ("one\ntwo\nthree\n", 0));
        assert_eq!(last_lines("one\ntwo\nthree\n", 12), ("two\nthree\n", 4));
        assert_eq!(last_lines("one\ntwo\nthree\n", 10), ("two\nthree\n", 4));
        assert_eq!(last_lines("äöü", 3), ("ü", 4));
        assert_eq!(last_lines("abcdef\n", 4), ("def\n", 3));
    }
}
