//! Reading the texts of a file: templates, expressions, arguments. What is wrong with one is told at its place in the file.

use super::action::Shape;
use crate::decode::{Entries, MOST_PROBLEMS, Scalar, Spanned};
use crate::diagnose::{Diagnostic, Severity};
use crate::document::{Document, Span};
use crate::expression::{Expression, Mistake};
use crate::secret::{SecretUses, is_variable};
use crate::template::Template;
use crate::value::Texts;
use serde_json::Value;

/// Everything that reading a file needs at hand.
pub(super) struct Reading<'a> {
    pub(super) document: &'a Document,
    pub(super) problems: &'a mut Vec<Diagnostic>,
}

impl Reading<'_> {
    /// Whether more is wrong than anybody is told.
    pub(super) fn is_enough(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    pub(super) fn wrong(&mut self, code: &'static str, span: &Span, message: String, hint: Option<String>) {
        let told = self.document.diagnostic(Severity::Error, code, span.clone(), message);
        self.problems.push(Diagnostic { hint, ..told });
    }

    pub(super) fn misread(&mut self, place: &Span, text: &str, mistake: Mistake, of: &str) {
        self.problems.push(misread(self.document, place, text, mistake, of));
    }

    pub(super) fn template(&mut self, text: &Spanned<String>, of: &str) -> Option<Template> {
        let parsed = Template::parse(&text.value);
        parsed.map_err(|mistake| self.misread(&text.span, &text.value, mistake, of)).ok()
    }

    pub(super) fn expression(&mut self, text: &Spanned<String>, of: &str) -> Option<Expression> {
        let (inner, shift) = bare(&text.value);
        let parsed = Expression::parse(inner).map_err(|mistake| Mistake {
            span: mistake.span.start + shift..mistake.span.end + shift,
            ..mistake
        });
        parsed.map_err(|mistake| self.misread(&text.span, &text.value, mistake, of)).ok()
    }

    pub(super) fn templates(&mut self, texts: Option<&Spanned<Texts>>, of: &str) -> Vec<Template> {
        let spanned = |span: &Span, text: &String| Spanned { value: text.clone(), span: span.clone() };
        let texts =
            texts.iter().flat_map(|texts| texts.value.0.iter().map(|text| spanned(&texts.span, text)));
        texts.collect::<Vec<_>>().iter().filter_map(|text| self.template(text, of)).collect()
    }

    pub(super) fn shape(&mut self, value: Spanned<Value>, of: &str) -> Option<Shape> {
        let span = value.span;
        Shape::parse(value.value).map_err(|(text, mistake)| self.misread(&span, &text, mistake, of)).ok()
    }

    pub(super) fn arguments(&mut self, args: Spanned<Vec<Spanned<Scalar>>>, of: &str) -> Vec<Template> {
        let mut templates = Vec::with_capacity(args.value.len());
        for arg in args.value {
            let Some(value) = arg.value.0 else {
                self.wrong(
                    "workflow.null_argument",
                    &arg.span,
                    format!("{of}: an argument without a value"),
                    None,
                );
                continue;
            };
            if value.contains('\0') {
                self.wrong(
                    "workflow.null_character",
                    &arg.span,
                    format!("{of}: an argument holds a null character"),
                    None,
                );
            }
            templates.extend(self.template(&Spanned { value, span: arg.span }, of));
        }
        templates
    }

    /// Checks the names of variables.
    pub(super) fn variables(
        &mut self,
        secrets: Option<&SecretUses>,
        passed: Option<&Spanned<Texts>>,
        of: &str,
    ) {
        let secrets = secrets.iter().flat_map(|uses| &uses.0);
        let names = secrets.map(|(variable, _)| (&variable.value, &variable.span));
        let passed = passed.iter().flat_map(|names| names.value.0.iter().map(|name| (name, &names.span)));
        for (name, span) in names.chain(passed).filter(|(name, _)| !is_variable(name)) {
            let message = format!("{of}: `{name}` cannot be a variable of the environment");
            self.wrong("config.invalid_value", span, message, None);
        }
    }

    pub(super) fn environment(
        &mut self,
        entries: Entries<Spanned<Scalar>>,
    ) -> Vec<(String, Option<Template>)> {
        let mut env = Vec::with_capacity(entries.0.len());
        for (name, value) in entries.0 {
            let of = format!("`env.{}`", name.value);
            let is_bad = |text: &str| text.contains('\0');
            if name.value.is_empty()
                || name.value.contains(['=', '\0'])
                || value.value.0.as_deref().is_some_and(is_bad)
            {
                let message = format!("`{}` cannot be a variable of the environment", name.value);
                self.wrong("config.invalid_value", &name.span, message, None);
            }
            let span = value.span;
            let template = value.value.0.map(|value| self.template(&Spanned { value, span }, &of));
            match template {
                None => env.push((name.value, None)),
                Some(Some(template)) => env.push((name.value, Some(template))),
                Some(None) => {}
            }
        }
        env
    }
}

/// An expression may stand with or without its `${{ }}`, where nothing else can stand. Also returns how much was taken off.
fn bare(text: &str) -> (&str, usize) {
    let trimmed = text.trim();
    match trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
        Some(inner) if !inner.contains("${{") => (inner, text.len() - text.trim_start().len() + 3),
        _ => (text, 0),
    }
}

/// Tells what is wrong in a text that stands at a place of a file.
fn misread(document: &Document, place: &Span, text: &str, mistake: Mistake, of: &str) -> Diagnostic {
    let span = within(document, place, text, &mistake.span);
    let message = format!("{of}: {}", mistake.message);
    let told = document.diagnostic(Severity::Error, "workflow.bad_expression", span, message);
    Diagnostic { hint: mistake.hint, ..told }
}

/// The bytes of the file that hold a part of a text: exact where the text is written as it is, else the whole of it.
fn within(document: &Document, place: &Span, text: &str, part: &Span) -> Span {
    let written = document.source.get(place.clone()).unwrap_or_default();
    let exact = written.find(text).map(|at| at + part.start..at + part.end);
    // A text over several lines is written with an indentation that is no part of it.
    let near = || {
        let wanted = text.get(part.clone()).filter(|wanted| !wanted.is_empty())?;
        written.find(wanted).map(|at| at..at + wanted.len())
    };
    match exact.or_else(near) {
        Some(span) => place.start + span.start..(place.start + span.end).max(place.start + span.start + 1),
        None => place.clone(),
    }
}
