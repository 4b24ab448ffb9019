//! A mistake in a file the user wrote, shown with its line.
//!
//! Knows neither formats nor settings: it gets a text, a span and words. Whatever the text holds, what comes out is safe
//! for a terminal and short.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use dirigent_core::fault::{Fault, Kind};
use dirigent_core::text::printable;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// How many characters of a line are shown on each side of where the mistake begins.
const SHOWN_AROUND: usize = 80;

/// Whether a diagnostic stops the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// Something to say about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the work.
    pub severity: Severity,
    /// Stable name for programs, `config.reason`.
    pub code: &'static str,
    /// The file, as it was named.
    pub file: PathBuf,
    /// Its whole text.
    pub source: Arc<str>,
    /// The bytes of the text it is about.
    pub span: Range<usize>,
    /// What is wrong, without a capital and without a full stop.
    pub message: String,
    /// Words that stand beside the place.
    pub label: Option<String>,
    /// One thing to try, as an imperative sentence or a question.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// The line of the place, from 1.
    pub fn line(&self) -> usize {
        self.source[..self.start()].bytes().filter(|b| *b == b'\n').count() + 1
    }

    /// The column of the place in characters, from 1.
    pub fn column(&self) -> usize {
        self.source[self.line_start()..self.start()].chars().count() + 1
    }

    /// The whole message: what, where, the line itself, what to do.
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = printable(&self.message);
        let title = renderer(colour).render(&[Group::with_title(level.primary_title(message))]);
        let mut out = format!("{title}\n{}", self.draw(colour));
        if let Some(hint) = &self.hint {
            let hint = Level::HELP.with_name("hint").primary_title(printable(hint));
            out.push('\n');
            out.push_str(&renderer(colour).render(&[Group::with_title(hint)]));
        }
        out
    }

    /// The place alone: file, line and column, and the line itself.
    pub fn place(&self) -> String {
        self.draw(false)
    }

    fn draw(&self, colour: bool) -> String {
        let (line, window) = (self.line(), self.window());
        let mark =
            AnnotationKind::Primary.span(window.span.clone()).label(self.label.as_deref().map(printable));
        let snippet = Snippet::source(&window.text).line_start(line).annotation(mark);
        let drawn = renderer(colour).render(&[Group::with_level(Level::ERROR).element(snippet)]);
        // The renderer would take the column from the text it is given, which is not the line as it is in the file.
        let file = printable(&self.file.to_string_lossy());
        format!("{:width$}--> {file}:{line}:{}\n{drawn}", "", self.column(), width = line.to_string().len())
    }

    /// The part of the line that is shown, with what hides in it made visible.
    ///
    /// Cut here and not by the renderer, whose work would grow with the length of the line.
    fn window(&self) -> Window {
        let (line_start, start) = (self.line_start(), self.start());
        let rest = &self.source[start..];
        let line_end = start + rest.find('\n').unwrap_or(rest.len());
        let before = &self.source[line_start..start];
        let cut = before.char_indices().rev().nth(SHOWN_AROUND - 1).map_or(0, |(at, _)| at);
        let shown_end = |from: usize| {
            let tail = &self.source[from..line_end];
            from + tail.char_indices().nth(SHOWN_AROUND).map_or(tail.len(), |(at, _)| at)
        };
        let end = shown_end(start);
        let span_end = self.floor(self.span.end).clamp(start, end);
        let mut text = if cut > 0 { "…".to_owned() } else { String::new() };
        text.push_str(&visible(&before[cut..]));
        let from = text.len();
        text.push_str(&visible(&self.source[start..span_end]));
        let to = text.len();
        text.push_str(&visible(self.source[span_end..end].trim_end_matches('\r')));
        if end < line_end {
            text.push('…');
        }
        Window { span: from..to, text }
    }

    fn start(&self) -> usize {
        self.floor(self.span.start)
    }

    fn line_start(&self) -> usize {
        self.source[..self.start()].rfind('\n').map_or(0, |at| at + 1)
    }

    /// The nearest place not after `at` that is inside the text and between two characters.
    fn floor(&self, at: usize) -> usize {
        (0..=at.min(self.source.len())).rev().find(|at| self.source.is_char_boundary(*at)).unwrap_or(0)
    }
}

struct Window {
    text: String,
    span: Range<usize>,
}

fn renderer(colour: bool) -> Renderer {
    if colour { Renderer::styled() } else { Renderer::plain() }
}

/// A tab stays one column wide, so that what stands under the line stays under it.
fn visible(text: &str) -> String {
    printable(&text.replace('\t', " "))
}

/// Says what is wrong in one line; the place comes by [`Diagnostic::place`].
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message))
    }
}

impl std::error::Error for Diagnostic {}

impl Fault for Diagnostic {
    fn kind(&self) -> Kind {
        Kind::Config
    }

    fn code(&self) -> &'static str {
        self.code
    }

    fn hint(&self) -> Option<String> {
        self.hint.as_deref().map(printable)
    }

    fn place(&self) -> Option<String> {
        Some(Diagnostic::place(self))
    }
}

/// The form for programs: `severity`, `code`, `file`, `line`, `column`, `message`, `label`, `hint`.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Diagnostic", 8)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("code", self.code)?;
        out.serialize_field("file", &self.file.to_string_lossy())?;
        out.serialize_field("line", &self.line())?;
        out.serialize_field("column", &self.column())?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("label", &self.label)?;
        out.serialize_field("hint", &self.hint)?;
        out.end()
    }
}

/// How many words are looked at for the one that was meant: a file may have a hundred mistakes, and be told of them at once.
const MOST_CANDIDATES: usize = 500;

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic in the length, and nobody misspells a word of a thousand letters.
    let length = word.chars().take(101).count();
    if length > 100 {
        return None;
    }
    let near = length.div_ceil(3);
    let folded = |text: &str| text.to_lowercase().replace('-', "_");
    let word = folded(word);
    candidates
        .into_iter()
        .take(MOST_CANDIDATES)
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= near.max(3))
        .map(|candidate| (strsim::damerau_levenshtein(&word, &folded(candidate)), candidate))
        .filter(|(distance, _)| *distance <= near && *distance < length)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(source: &str, span: Range<usize>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: "config.unknown_key",
            file: "etl.yaml".into(),
            source: source.into(),
            span,
            message: "unknown key `retires` in task `load`".into(),
            label: None,
            hint: Some("did you mean `retry`?".into()),
        }
    }

    #[track_caller]
    fn check(source: &str, span: Range<usize>, expected: &str) {
        assert_eq!(diagnostic(source, span).place().trim_end(), expected.trim_matches('\n'));
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_what_to_do() {
        assert_eq!(
            diagnostic("tasks:\n  load:\n    retires: 3\n", 19..26).render(false),
            "\
error: unknown key `retires` in task `load`
 --> etl.yaml:3:5
  |
3 |     retires: 3
  |     ^^^^^^^
hint: did you mean `retry`?"
        );
    }

    #[test]
    fn what_hides_in_a_line_is_shown_and_the_mark_stays_in_place() {
        let source = "a\u{1b}[2J\tб\u{202e}: x\r\n";
        let at = source.find('x').expect("is there");
        check(
            source,
            at..at + 1,
            r"
 --> etl.yaml:1:11
  |
1 | a\u{1b}[2J б\u{202e}: x
  |                       ^",
        );
    }

    #[test]
    fn a_huge_line_is_cut_around_the_mistake() {
        let source = format!("{}X{}", "é".repeat(500_000), "y".repeat(500_000));
        let place = diagnostic(&source, 1_000_000..1_000_001).place();
        assert!(place.contains("etl.yaml:1:500001"), "{place}");
        assert!(place.contains("éX") && place.chars().count() < 600, "{place}");
    }

    #[test]
    fn a_span_outside_the_text_or_inside_a_character_does_no_harm() {
        for span in [0..0, 1..2, 3..3, 5..900, 900..901] {
            let _ = diagnostic("aé\nb", span.clone()).render(true);
            let _ = diagnostic("", span).render(false);
        }
        check("a", 1..1, " --> etl.yaml:1:2\n  |\n1 | a\n  |  ^");
    }

    #[test]
    fn programs_get_the_place_as_numbers() {
        let json = serde_json::to_value(diagnostic("a\nbé: x", 2..3)).expect("serialises");
        assert_eq!((&json["line"], &json["column"]), (&2.into(), &1.into()));
    }

    #[test]
    fn only_a_near_word_is_offered() {
        let known = ["timeout", "args", "env", "cwd", "skip_reason"];
        assert_eq!(did_you_mean("timeuot", known), Some("timeout"));
        assert_eq!(did_you_mean("Skip-Reason", known), Some("skip_reason"));
        assert_eq!(did_you_mean("arg", known), Some("args"));
        assert_eq!(did_you_mean("colour", known), None);
        assert_eq!(did_you_mean(&"x".repeat(1_000_000), known), None);
    }
}
