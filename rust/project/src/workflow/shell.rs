//! Lines for a shell with values in them: a value comes as a variable, quoted as the place wants where it stands.
//!
//! A shell never reads the content of a variable as commands. Where it would look into one all the same, or where the
//! variable could not be quoted so that it arrives as it is, no value may stand.

use super::action::Piece;
use crate::expression::Mistake;
use crate::template::{Part, Template};

/// Takes a line for a shell apart.
///
/// # Errors
///
/// An expression is none, or stands where a shell would take no variable, or would look into one.
pub(super) fn shell_line(text: &str) -> Result<Vec<Piece>, Mistake> {
    let template = Template::parse(text)?;
    let mut quotes = Quotes::default();
    let mut pieces = Vec::new();
    // Up to where the text has been looked at, to find the place of each expression.
    let mut seen = 0;
    for part in template.parts() {
        match part {
            Part::Text(plain) => {
                quotes.read(plain);
                pieces.push(Piece::Text(plain.clone()));
            }
            Part::Expression(expression) => {
                let at = text[seen..].find(expression.text()).map_or(seen, |at| seen + at);
                seen = at + expression.text().len();
                let place = quotes.place();
                if let Some((message, hint)) = place.refusal() {
                    return Err(Mistake {
                        message: message.to_owned(),
                        hint: Some(hint.to_owned()),
                        span: at..seen,
                    });
                }
                let is_quoted = place == Place::Double;
                pieces.push(Piece::Value { expression: expression.clone(), is_quoted });
                quotes.is_command_next = false;
            }
        }
    }
    Ok(pieces)
}

/// Where one stands in a line for a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Outside of all quotes, or in the commands of `$(…)` or `(…)`.
    Plain,
    Single,
    Double,
    /// In `$((…))`, `((…))` or `$[…]`.
    Arithmetic,
    /// In `[[…]]`, where some shells work out numbers.
    Test,
    Ticks,
    Here,
}

impl Place {
    /// Why no value may stand there, and what to do instead.
    fn refusal(self) -> Option<(&'static str, &'static str)> {
        const BY_NAME: &str = "give it a name under `env`, and use that as `\"$NAME\"`";
        match self {
            Self::Plain | Self::Double => None,
            Self::Single => Some((
                "in single quotes a shell knows no value",
                "write double quotes, or none: a value is quoted by itself",
            )),
            Self::Arithmetic => Some((
                "in arithmetic a shell looks into a value",
                "work it out in the expression: `${{ x + 1 }}`",
            )),
            Self::Test => Some(("in `[[…]]` some shells look into a value", "write `[ … ]`")),
            Self::Ticks => Some(("in backticks a value cannot be quoted safely", "write `$(…)` instead")),
            Self::Here => {
                Some(("behind `<<` a value cannot be told apart from the text of a here-document", BY_NAME))
            }
        }
    }
}

/// Something open in a line, and how many `case` without their `esac` stand directly in it.
struct Open {
    place: Place,
    cases: u32,
}

/// Follows the quotes of a line for a shell.
struct Quotes {
    /// From the outside in; the outermost is plain.
    open: Vec<Open>,
    /// The same of the outermost.
    cases: u32,
    is_here: bool,
    /// Whether the next word would be a command.
    is_command_next: bool,
}

impl Default for Quotes {
    fn default() -> Self {
        Self { open: Vec::new(), cases: 0, is_here: false, is_command_next: true }
    }
}

/// The words behind which another command stands.
const BEFORE_COMMANDS: [&str; 8] = ["then", "do", "else", "elif", "if", "while", "until", "!"];

impl Quotes {
    fn place(&self) -> Place {
        match self.is_here {
            true => Place::Here,
            false => self.innermost(),
        }
    }

    fn innermost(&self) -> Place {
        self.open.last().map_or(Place::Plain, |open| open.place)
    }

    fn cases(&mut self) -> &mut u32 {
        match self.open.last_mut() {
            Some(open) => &mut open.cases,
            None => &mut self.cases,
        }
    }

    fn push(&mut self, place: Place, length: usize) -> usize {
        self.open.push(Open { place, cases: 0 });
        self.is_command_next = true;
        length
    }

    fn pop(&mut self, length: usize) -> usize {
        self.open.pop();
        self.is_command_next = false;
        length
    }

    fn read(&mut self, text: &str) {
        let mut at = 0;
        while at < text.len() {
            at += self.step(&text[..at], &text[at..]);
        }
    }

    /// Takes in what comes next, and says how many bytes that was.
    fn step(&mut self, before: &str, rest: &str) -> usize {
        let Some(c) = rest.chars().next() else { return 0 };
        let length = c.len_utf8();
        let place = self.innermost();
        let is_plain = matches!(place, Place::Plain | Place::Test);
        match (place, c) {
            (Place::Single, '\'') => self.pop(length),
            (Place::Single, _) => length,
            (_, '\\') => {
                self.is_command_next = false;
                length + rest[length..].chars().next().map_or(0, char::len_utf8)
            }
            (Place::Ticks, '`') => self.pop(length),
            (Place::Ticks, _) => length,
            (_, '`') => self.push(Place::Ticks, length),
            (_, '$') if rest.starts_with("$((") => self.push(Place::Arithmetic, 3),
            (_, '$') if rest.starts_with("$(") => self.push(Place::Plain, 2),
            (_, '$') if rest.starts_with("$[") => self.push(Place::Arithmetic, 2),
            (Place::Arithmetic, ')') if rest.starts_with("))") => self.pop(2),
            (Place::Arithmetic, ']') => self.pop(length),
            (Place::Double, '"') => self.pop(length),
            (Place::Double, _) => length,
            (_, '"') => self.push(Place::Double, length),
            _ if place == Place::Arithmetic => length,
            (_, '\'') => self.push(Place::Single, length),
            (Place::Test, ']') if rest.starts_with("]]") => self.pop(2),
            (Place::Plain, '[') if self.is_command_next && rest.starts_with("[[") => {
                self.push(Place::Test, 2)
            }
            (Place::Plain, '(') if self.is_command_next && rest.starts_with("((") => {
                self.push(Place::Arithmetic, 2)
            }
            (_, '(') if is_plain => self.push(place, length),
            // It ends a pattern of a `case`.
            (Place::Plain, ')') if *self.cases() > 0 => {
                self.is_command_next = true;
                length
            }
            (_, ')') => self.pop(length),
            (Place::Plain, '<') if rest.starts_with("<<<") => 3,
            (Place::Plain, '<') if rest.starts_with("<<") => {
                self.is_here = true;
                2
            }
            (Place::Plain, '#') if begins_word(before) => rest.find('\n').unwrap_or(rest.len()),
            (_, ';' | '&' | '|' | '\n' | '{') => {
                self.is_command_next = true;
                length
            }
            (_, c) if c.is_whitespace() => length,
            _ => self.word(rest),
        }
    }

    fn word(&mut self, rest: &str) -> usize {
        let is_end = |c: char| c.is_whitespace() || "'\"`$\\()<>;&|#{".contains(c);
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let length = rest[first..].find(is_end).map_or(rest.len(), |at| first + at);
        let word = &rest[..length];
        let is_command = self.is_command_next;
        match word {
            "case" if is_command => *self.cases() += 1,
            "esac" => *self.cases() = self.cases().saturating_sub(1),
            _ => {}
        }
        self.is_command_next = is_command && BEFORE_COMMANDS.contains(&word);
        length
    }
}

fn begins_word(before: &str) -> bool {
    before.chars().next_back().is_none_or(|c| c.is_whitespace() || c == ';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> Result<String, String> {
        let pieces = shell_line(text).map_err(|mistake| mistake.message)?;
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value { is_quoted: true, .. } => "V".to_owned(),
            Piece::Value { is_quoted: false, .. } => "Q".to_owned(),
        };
        Ok(pieces.iter().map(piece).collect())
    }

    #[test]
    fn a_shell_gets_values_as_variables_quoted_where_they_are_not() {
        let check = |text: &str, expected: &str| assert_eq!(drawn(text), Ok(expected.to_owned()), "{text}");
        check("echo ${{ x }}", "echo Q");
        check("echo \"a ${{ x }}\" ${{ x }}", "echo \"a V\" Q");
        check("echo 'it''s' ${{ x }}", "echo 'it''s' Q");
        check("echo \"$(cat ${{ x }})\" ${{ x }}", "echo \"$(cat Q)\" Q");
        check("(cd ${{ x }} && ls) | wc", "(cd Q && ls) | wc");
        check("echo \\\" ${{ x }}", "echo \\\" Q");
        check("echo $((1 + 2)) ${{ x }}", "echo $((1 + 2)) Q");
        check("# it's\necho ${{ x }}", "# it's\necho Q");
        check("echo a#'b' ${{ x }}", "echo a#'b' Q");
        check("echo \"`date`\" ${{ x }} \"${{ x }}\"", "echo \"`date`\" Q \"V\"");
        check(
            "echo \"$(case a in a) echo ${{ x }};; esac) ${{ x }}\"",
            "echo \"$(case a in a) echo Q;; esac) V\"",
        );
        check(
            "case ${{ x }} in (a) b;; c) \"${{ x }}\";; esac; (echo) ${{ x }}",
            "case Q in (a) b;; c) \"V\";; esac; (echo) Q",
        );
        check("echo \"$(echo case) ${{ x }}\"", "echo \"$(echo case) V\"");
        check("if [ ${{ x }} = [[ ]; then echo ${{ x }}; fi", "if [ Q = [[ ]; then echo Q; fi");
        check(
            "echo \"${a:-${{ x }}}\" ${a:-${{ x }}} ${#a} # '\n${{ x }}",
            "echo \"${a:-V}\" ${a:-Q} ${#a} # '\nQ",
        );
    }

    #[test]
    fn where_a_shell_takes_no_value_none_is_given() {
        for text in [
            "echo '${{ x }}'",
            "echo $((${{ x }} + 1))",
            "((a = ${{ x }}))",
            "echo $[${{ x }}]",
            "if [[ ${{ x }} -eq 1 ]]; then echo; fi",
            "echo `echo ${{ x }}`",
            "echo \"`echo \\\"${{ x }}\\\"`\"",
            "cat <<E\n${{ x }}\nE",
        ] {
            assert!(drawn(text).is_err(), "{text}");
        }
    }
}
