//! Secrets as files name them: what they are called, where their values come from, which variables they become.
//!
//! Knows no value: whoever runs something looks there.

use crate::decode::{Entries, Spanned};
use crate::diagnose::did_you_mean;
use crate::document::Span;
use crate::value::{Argv, Location};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the value of a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A variable of the environment dirigent is started in, or else of an `env_file` of the project's defaults.
    Env(String),
    /// What is in a file, without the line break at its end.
    File(PathBuf),
    /// What a program prints, without the line break at its end.
    Command(Vec<String>),
}

/// Secrets by name, and where the values come from.
#[derive(Clone, Debug, Default, DeriveDeserialize)]
#[serde(transparent)]
pub struct SecretsTable(pub Entries<SecretSource>);

/// Which secrets something gets: pairs of a variable of its environment and the name of the secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecretUses(pub Vec<(Spanned<String>, Spanned<String>)>);

/// The source as it is written: one of these.
#[derive(DeriveDeserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    env: Option<String>,
    file: Option<Location>,
    command: Option<Argv>,
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        impl<'de> Visitor<'de> for Source {
            type Value = SecretSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with one of `env`, `file`, `command`")
            }

            // The message would hold what stands there, and that may be the secret itself.
            fn visit_str<E: Error>(self, _: &str) -> Result<SecretSource, E> {
                Err(E::custom("the value of a secret is not written here; say where it is: `{env: NAME}`"))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
                match Written::deserialize(MapAccessDeserializer::new(map))? {
                    Written { env: Some(name), file: None, command: None } if is_variable(&name) => {
                        Ok(SecretSource::Env(name))
                    }
                    Written { env: Some(_), file: None, command: None } => {
                        Err(A::Error::custom("`env` cannot be a variable of the environment"))
                    }
                    Written { env: None, file: Some(path), command: None } => Ok(SecretSource::File(path.0)),
                    Written { env: None, file: None, command: Some(argv) } => {
                        Ok(SecretSource::Command(argv.0))
                    }
                    _ => Err(A::Error::custom("a secret has one source: `env`, `file` or `command`")),
                }
            }
        }
        deserializer.deserialize_any(Source)
    }
}

impl<'de> Deserialize<'de> for SecretUses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Uses;
        impl<'de> Visitor<'de> for Uses {
            type Value = SecretUses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of secrets, or a table of variables and secrets")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<SecretUses, A::Error> {
                let names = Vec::<Spanned<String>>::deserialize(SeqAccessDeserializer::new(items))?;
                Ok(SecretUses(names.into_iter().map(|name| (name.clone(), name)).collect()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretUses, A::Error> {
                Entries::deserialize(MapAccessDeserializer::new(map)).map(|entries| SecretUses(entries.0))
            }
        }
        deserializer.deserialize_any(Uses)
    }
}

impl SecretsTable {
    /// Checks the names: each is a variable where a list of secrets names it.
    ///
    /// # Errors
    /// A name that cannot be a variable in every shell, with its place.
    pub fn check(&self) -> Result<(), (Span, String)> {
        let is_good = |name: &str| {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match self.0.0.iter().find(|(name, _)| !is_good(&name.value)) {
            None => Ok(()),
            Some((name, _)) => Err((
                name.span.clone(),
                format!("`{}` cannot be the name of a secret: letters, digits and `_` can", name.value),
            )),
        }
    }

    /// Has relative paths of sources meant from a folder: the one of the file they stand in.
    pub fn resolve(&mut self, folder: &Path) {
        for (_, source) in &mut self.0.0 {
            match source {
                SecretSource::Env(_) => {}
                SecretSource::File(path) => *path = folder.join(&*path),
                SecretSource::Command(argv) => {
                    if let Some(program) = argv.first_mut().filter(|program| program.contains('/')) {
                        *program = folder.join(&*program).to_string_lossy().into_owned();
                    }
                }
            }
        }
    }
}

impl SecretUses {
    /// Checks the variables, and that each secret is one of those there are.
    ///
    /// # Errors
    /// What cannot be a variable, and a secret that nobody has named: the place, what is wrong, what to do.
    pub fn check(&self, known: &[&str]) -> Result<(), (Span, String, String)> {
        for (variable, secret) in &self.0 {
            if !is_variable(&variable.value) {
                let message = format!("`{}` cannot be a variable of the environment", variable.value);
                return Err((variable.span.clone(), message, "give it another name".to_owned()));
            }
            if !known.contains(&secret.value.as_str()) {
                let hint = match did_you_mean(&secret.value, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("name it: `secrets: {{{}: {{env: NAME}}}}`", secret.value),
                };
                return Err((secret.span.clone(), format!("unknown secret `{}`", secret.value), hint));
            }
        }
        Ok(())
    }
}

/// Whether a variable of the environment can have this name.
pub fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}
