//! The end of the terminal, where a picture stands that changes: what has to be written so that it looks right.
//!
//! A frame is written in one piece, and has only the rows that differ. Nothing of the terminal is switched that somebody
//! would have to switch back: whatever ends the program, the picture stands there and the cursor is below it.

use std::fmt::Write;

/// Asks the terminal to show nothing until the frame is there, where it knows how.
/// <https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036>
const BEGIN: &str = "\u{1b}[?2026h";
const END: &str = "\u{1b}[?2026l";
/// Erases what is right of the cursor, and what is below it.
const ERASE_RIGHT: &str = "\u{1b}[K";
const ERASE_BELOW: &str = "\u{1b}[J";
const ERASE_ROW: &str = "\u{1b}[2K";
const UP: &str = "\u{1b}[A";

/// A row of a picture: text with its colours, and how many columns it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) columns: usize,
}

/// What stands at the end of the terminal.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    rows: Vec<Row>,
    /// How wide the terminal was then.
    columns: usize,
    /// Whether a terminal breaks rows anew when it becomes narrower; the others cut them off.
    pub(crate) breaks_rows: bool,
    /// Whether there is to be no picture for now.
    is_hidden: bool,
}

impl Screen {
    pub(crate) const fn new() -> Self {
        Self { rows: Vec::new(), columns: 0, breaks_rows: true, is_hidden: false }
    }

    /// What stands there.
    pub(crate) fn picture(&self) -> &[Row] {
        &self.rows
    }

    /// Has no picture there from now on, or lets it come back.
    pub(crate) fn hide(&mut self, is_hidden: bool) {
        self.is_hidden = is_hidden;
    }

    /// What is to be written so that lines scroll by and a picture stands below them, in a terminal so wide. Empty where
    /// nothing changes.
    pub(crate) fn frame(&mut self, lines: &str, picture: Vec<Row>, columns: usize) -> String {
        let picture = if self.is_hidden { Vec::new() } else { picture };
        let is_broken = self.rows.iter().any(|row| row.columns > columns);
        let is_as_it_was = self.rows.is_empty() || (columns == self.columns && !is_broken);
        if lines.is_empty() && is_as_it_was && picture == self.rows {
            return String::new();
        }
        let mut out = BEGIN.to_owned();
        if lines.is_empty() && is_as_it_was && !picture.is_empty() {
            self.rewrite(&picture, &mut out);
        } else {
            // Row by row: a multiplexer that is to erase all of its screen keeps it in what scrolled by.
            out.push('\r');
            out.push_str(&format!("{UP}{ERASE_ROW}").repeat(self.height(columns)));
            for line in lines.lines() {
                let _ = write!(out, "{line}\r\n");
            }
            for row in &picture {
                let _ = write!(out, "{}\r\n", row.text);
            }
        }
        out.push_str(END);
        (self.rows, self.columns) = (picture, columns);
        out
    }

    /// Writes the rows that differ, and what is below the last goes.
    fn rewrite(&self, picture: &[Row], out: &mut String) {
        if !self.rows.is_empty() {
            let _ = write!(out, "\r\u{1b}[{}A", self.rows.len());
        }
        let mut at = 0;
        let go_to = |out: &mut String, row: usize, at: &mut usize| {
            if row > *at {
                let _ = write!(out, "\u{1b}[{}B", row - *at);
            }
            *at = row + 1;
        };
        for (place, row) in picture.iter().enumerate() {
            if self.rows.get(place) != Some(row) {
                go_to(out, place, &mut at);
                let _ = write!(out, "{}{ERASE_RIGHT}\r\n", row.text);
            }
        }
        go_to(out, picture.len(), &mut at);
        // What somebody typed stands there as well.
        out.push_str(ERASE_BELOW);
    }

    /// How many rows of a terminal so wide the picture takes, which was made when it may have been wider.
    fn height(&self, columns: usize) -> usize {
        let broken = |row: &Row| row.columns.div_ceil(columns.max(1)).max(1);
        match self.breaks_rows {
            true => self.rows.iter().map(broken).sum(),
            false => self.rows.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(words: &str) -> Vec<Row> {
        words.split_whitespace().map(|word| Row { text: word.to_owned(), columns: word.len() }).collect()
    }

    /// Draws pictures one after another, each given as a width and words, and expects what is written for the last.
    #[track_caller]
    fn check(before: &[(usize, &str)], (columns, lines, picture): (usize, &str, &str), expected: &str) {
        let mut screen = Screen::new();
        for (columns, picture) in before {
            screen.frame("", rows(picture), *columns);
        }
        let written = screen.frame(lines, rows(picture), columns);
        let inner = written.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).unwrap_or(&written);
        assert_eq!(inner.replace('\u{1b}', "^").replace("\r\n", "/"), expected);
    }

    #[test]
    fn only_rows_that_differ_are_written() {
        check(&[], (80, "", "one two"), "one^[K/two^[K/^[J");
        check(&[(80, "one two")], (80, "", "one two"), "");
        check(&[(80, "one two three")], (80, "", "one 2 three"), "\r^[3A^[1B2^[K/^[1B^[J");
        check(&[(80, "one two three")], (80, "", "1 two 3"), "\r^[3A1^[K/^[1B3^[K/^[J");
        check(&[(80, "one two three")], (80, "", "one"), "\r^[3A^[1B^[J");
        check(&[(80, "one")], (80, "", "one two"), "\r^[1A^[1Btwo^[K/^[J");
        check(&[(80, "one two")], (80, "", ""), "\r^[A^[2K^[A^[2K");
    }

    #[test]
    fn lines_scroll_by_above_the_picture() {
        check(&[(80, "one two")], (80, "a\nb\n", "one two"), "\r^[A^[2K^[A^[2Ka/b/one/two/");
        check(&[], (80, "a\n", ""), "\ra/");
    }

    #[test]
    fn a_terminal_that_became_narrower_has_broken_the_rows() {
        let wide = [(10, "12345678 12 123")];
        check(&wide, (3, "", "1"), &format!("\r{}1/", "^[A^[2K".repeat(5)));
        check(&wide, (20, "", "1"), &format!("\r{}1/", "^[A^[2K".repeat(3)));
        // It became so while the picture was made: that was too wide at once.
        let too_wide = [(3, "12345678 12 123")];
        check(&too_wide, (3, "", "1"), &format!("\r{}1/", "^[A^[2K".repeat(5)));
        check(&too_wide, (20, "", "1"), &format!("\r{}1/", "^[A^[2K".repeat(3)));
    }

    #[test]
    fn a_hidden_picture_is_not_there_until_it_is_shown() {
        let mut screen = Screen::new();
        screen.frame("", rows("one"), 80);
        screen.hide(true);
        assert!(screen.frame("", rows("one"), 80).contains("\u{1b}[A\u{1b}[2K"));
        assert_eq!(screen.frame("", rows("two"), 80), "");
        screen.hide(false);
        assert!(screen.frame("", rows("two"), 80).contains("two"));
    }
}
