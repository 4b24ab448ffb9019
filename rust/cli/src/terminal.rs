//! What the terminal is like, text that fits it, and what stands at its end.

mod screen;
pub(crate) use screen::Row;

use screen::Screen;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether colours are welcome on standard output: a terminal, and nobody said no (<https://no-color.org>).
pub(crate) fn colours_on_stdout() -> bool {
    io::stdout().is_terminal() && colours_allowed()
}

/// Whether colours are welcome on standard error.
pub(crate) fn colours_on_stderr() -> bool {
    io::stderr().is_terminal() && colours_allowed()
}

fn colours_allowed() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard error can show a picture that changes.
pub(crate) fn stderr_is_live() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns and rows of the terminal on standard error; 80 by 24 where it will not say.
pub(crate) fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Columns of standard output: those of its terminal, else 100.
pub(crate) fn columns_on_stdout() -> usize {
    match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => 100,
    }
}

/// The value of a variable of the environment, where it says something.
fn said(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether the terminal shows more than ASCII: unless the locale says no, or it is the console of a Linux kernel, whose
/// fonts have none of our signs.
fn is_unicode() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(said);
        let is_utf_8 = |locale: OsString| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        };
        locale.is_none_or(is_utf_8) && said("TERM").is_none_or(|term| term != "linux")
    })
}

/// Whether the terminal breaks what it shows into rows anew when it becomes narrower, as most do.
fn breaks_rows() -> bool {
    let is_old = said("XTERM_VERSION").or_else(|| said("STY")).is_some() && said("TMUX").is_none();
    !is_old && said("TERM").is_none_or(|term| term != "linux")
}

/// Text in signs that every terminal has, each as wide as what it stands for.
fn in_ascii(text: &str) -> String {
    let sign = |c: char| match c {
        '━' => '=',
        '╌' | '–' => '-',
        '╳' | '✗' => 'x',
        '✓' => '+',
        '▸' => '>',
        '↻' => '@',
        '⧖' => 'T',
        '⊘' => '/',
        '→' => '-',
        '·' => ',',
        '…' => '~',
        '│' => '|',
        '○' => 'o',
        _ => '?',
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => out.extend(std::iter::repeat_n(sign(c), c.width().unwrap_or(0))),
        }
    }
    out
}

/// How text is marked. Nothing depends on it: every state also has a sign and a word.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paint {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
}

/// Text in a colour, where those are welcome.
pub(crate) fn painted(text: &str, paint: Paint, colours: bool) -> String {
    if !colours {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Bold => "1",
        Paint::Dim => "2",
        Paint::Red => "31",
        Paint::Green => "32",
        Paint::Yellow => "33",
        Paint::Blue => "34",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of a text that fits into so many columns, with an ellipsis where something is missing.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut left = columns.saturating_sub(1);
    let fits = text.chars().take_while(|c| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    });
    fits.chain(['…']).collect()
}

/// The end of a text that fits into so many columns: of a path, the end says more.
pub(crate) fn fitted_end(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut left = columns.saturating_sub(1);
    let mut end: Vec<char> = text
        .chars()
        .rev()
        .take_while(|c| {
            let width = c.width().unwrap_or(0);
            let fits = width <= left;
            left = left.saturating_sub(width);
            fits
        })
        .collect();
    end.push('…');
    end.iter().rev().collect()
}

/// Writes data. A reader that went away is no reason to complain.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes data that need not be text.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// What stands at the end of the terminal on standard error, which a process has one of.
static SCREEN: Mutex<Screen> = Mutex::new(Screen::new());

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes talk; above the picture, where there is one.
pub(crate) fn say(text: &str) {
    let mut screen = screen();
    if screen.picture().is_empty() {
        write(text);
    } else {
        let picture = screen.picture().to_vec();
        write(&screen.frame(text, picture, size().0));
    }
}

/// Has lines scroll by and a picture stand below them, in the place of the last one.
pub(crate) fn draw(lines: &str, picture: Vec<Row>) {
    let mut screen = screen();
    screen.breaks_rows = breaks_rows();
    write(&screen.frame(lines, picture, size().0));
}

/// Has no picture there from now on, or lets it come back.
pub(crate) fn hide_picture(is_hidden: bool) {
    let mut screen = screen();
    screen.hide(is_hidden);
    if is_hidden {
        write(&screen.frame("", Vec::new(), size().0));
    }
}

/// Writes to standard error, in one piece.
fn write(text: &str) {
    if !text.is_empty() {
        let text = if is_unicode() { Cow::Borrowed(text) } else { Cow::Owned(in_ascii(text)) };
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_as_wide_as_what_it_stands_for() {
        assert_eq!(in_ascii("✗ a.sh …"), "x a.sh ~");
        assert_eq!(in_ascii("日本é"), "?????");
        assert_eq!(in_ascii("\u{1b}[31m━╌\u{1b}[0m\n"), "\u{1b}[31m=-\u{1b}[0m\n");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(fitted("日本語のテスト", 7), "日本語…");
        assert_eq!(fitted_end("etl/日本語.py", 6), "…語.py");
        assert_eq!(fitted("abc", 3), "abc");
    }
}
