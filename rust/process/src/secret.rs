//! Secrets by name: their values for the children that are to have them, and `***` for everybody else.
//!
//! Knows nothing of where they come from.

use crate::disguise::{LEAST_BYTES, disguises, without_line_breaks};
use crate::fault::ProcessError;
use crate::mask::{Masker, Needles};
use dirigent_core::outcome::Outcome;
use dirigent_core::spec::Command;
use dirigent_core::text::OsText;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The secrets of a run. What is shown of them is their names.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    withheld: Vec<OsText>,
    needles: Option<Arc<Needles>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// Takes the values by their names. Children do not inherit the variables in `withheld`: from there the values come.
    ///
    /// # Errors
    ///
    /// A value is too short to be told from other text, or cannot be the value of a variable.
    pub fn new(values: BTreeMap<String, String>, withheld: Vec<OsText>) -> Result<Self, ProcessError> {
        for (name, value) in &values {
            let refused = |why| ProcessError::Secret { name: name.clone(), why };
            if value.is_empty() {
                return Err(refused("it is empty"));
            }
            if value.contains('\0') {
                return Err(refused("it contains a NUL byte, and no variable can"));
            }
            if without_line_breaks(value.as_bytes()).len() < LEAST_BYTES
                || value.chars().count() < LEAST_BYTES
            {
                return Err(refused("it has under 4 characters, and would be found everywhere"));
            }
        }
        let needles = match values.is_empty() {
            true => None,
            false => {
                let needles = Needles::new(values.values().flat_map(|value| disguises(value)));
                let first = || values.keys().next().cloned().unwrap_or_default();
                let too_large =
                    || ProcessError::Secret { name: first(), why: "there is too much to look for" };
                Some(Arc::new(needles.ok_or_else(too_large)?))
            }
        };
        Ok(Self { values, withheld, needles })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The names of those that stand in a text, in any form.
    pub fn named_in(&self, text: impl AsRef<[u8]>) -> Vec<&str> {
        let text = text.as_ref();
        if !self.are_in(text) {
            return Vec::new();
        }
        let stands = |value: &String| {
            Needles::new(disguises(value).into_iter()).is_some_and(|needles| needles.are_in(text))
        };
        self.values.iter().filter(|(_, value)| stands(value)).map(|(name, _)| name.as_str()).collect()
    }

    /// Makes variables of a command that have just the value of a secret into variables that are that secret.
    pub fn claim(&self, command: &mut Command) {
        for (variable, value) in std::mem::take(&mut command.env) {
            let text = value.as_ref().and_then(|value| value.as_os_str().to_str());
            match self.values.iter().find(|(_, known)| text == Some(known.as_str())) {
                Some((name, _)) => command.secrets.push((variable, name.clone())),
                None => command.env.push((variable, value)),
            }
        }
    }

    /// The values by their names: for a process that has to mask them as well.
    pub fn reveal(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The text with `***` in the place of every secret.
    pub fn mask_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(mut masker) = self.masker().filter(|_| self.are_in(text.as_bytes())) else {
            return Cow::Borrowed(text);
        };
        let mut masked = Vec::with_capacity(text.len());
        masker.push(text.as_bytes(), &mut masked);
        masker.finish(&mut masked);
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }

    /// What masks a stream; `None` where there is nothing to mask.
    pub fn masker(&self) -> Option<Masker> {
        self.needles.as_ref().map(|needles| Masker::new(Arc::clone(needles)))
    }

    /// Changes to the environment that come before those of the command: what it does not inherit.
    pub(crate) fn withheld(&self) -> impl Iterator<Item = &OsText> {
        self.withheld.iter()
    }

    /// The variables of a command that are secrets, with their values; the outcome where that cannot be.
    pub(crate) fn variables<'a>(
        &'a self,
        command: &'a Command,
    ) -> Result<Vec<(&'a OsText, &'a str)>, Outcome> {
        let refused = |doing: String, reason: &str| {
            Err(Outcome::CouldNotStart { doing: doing.into(), reason: reason.into(), errno: None })
        };
        let variable = |(variable, name): &'a (OsText, String)| match self.values.get(name) {
            _ if variable.as_os_str().is_empty() => refused(
                format!("hand over the secret `{name}` in its arguments or within a variable"),
                "that is public, or recorded",
            ),
            Some(value) => Ok((variable, value.as_str())),
            None => refused(format!("give it the secret `{name}`"), "nobody has told its value"),
        };
        command.secrets.iter().map(variable).collect()
    }

    fn are_in(&self, text: &[u8]) -> bool {
        self.needles.as_ref().is_some_and(|needles| needles.are_in(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dirigent_core::fault::Fault;

    fn secrets(values: &[(&str, &str)]) -> Result<Secrets, ProcessError> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Secrets::new(values.collect(), Vec::new())
    }

    #[test]
    fn a_value_that_cannot_be_kept_secret_is_refused_by_name() {
        for value in ["", "abc", "a\nb\nc\n", "äöü", "with\0nul"] {
            let error = secrets(&[("TOKEN", value)]).expect_err(value);
            assert_eq!(error.code(), "process.secret");
            let told = error.to_string();
            assert!(told.starts_with("secret `TOKEN` cannot be kept: it "), "{told}");
            assert!(value.is_empty() || !told.contains(value), "{told}");
        }
        assert!(secrets(&[("TOKEN", "abcd"), ("KEY", "äöüß")]).is_ok());
    }

    #[test]
    fn nothing_shows_a_value() {
        let secrets = secrets(&[("TOKEN", "hunter22"), ("OTHER", "12345678")]).expect("good values");
        assert_eq!(format!("{secrets:?}"), r#"{"OTHER", "TOKEN"}"#);
        assert_eq!(secrets.mask_text("a hunter22!"), "a ***!");
        assert_eq!(secrets.named_in("aHVudGVyMjI="), ["TOKEN"]);
        assert_eq!(secrets.named_in("hunter 22"), [""; 0]);
        assert!(matches!(secrets.mask_text("hunter 22"), Cow::Borrowed(_)));
    }
}
