//! The kinds of values as JSON Schema tells them to editors.

use crate::decode::{Entries, Scalar, Spanned};
use crate::secret::{SecretSource, SecretUses, SecretsTable};
use crate::value::{Count, ExitCode, Limit, Megabytes, Pause, Skip, Texts};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

macro_rules! told {
    ($($type:ident: $schema:tt),* $(,)?) => {
        $(impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

told! {
    Count: {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    Megabytes: {"type": "integer", "minimum": 1},
    ExitCode: {"type": "integer", "minimum": 0, "maximum": 255},
    Limit: {"type": ["string", "number"], "description": "A time such as `90s`, `5m` or `1h30m`, a number of seconds, or `none`"},
    Pause: {"type": ["string", "number"], "description": "A time such as `500ms` or `5s`, or a number of seconds"},
    Skip: {"type": ["boolean", "string"]},
    Texts: {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    Scalar: {"type": ["string", "number", "boolean", "null"]},
    SecretUses: {
        "description": "Secrets by their names, or variables, each with the name of its secret",
        "anyOf": [
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ],
    },
    SecretSource: {
        "description": "Where the value is: in a variable, in a file, or what a program prints",
        "type": "object",
        "properties": {
            "env": {"type": "string"},
            "file": {"type": "string"},
            "command": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    },
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl JsonSchema for SecretsTable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretsTable".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Entries::<SecretSource>::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Table_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entries = generator.subschema_for::<T>();
        json_schema!({"type": "object", "additionalProperties": entries})
    }
}
