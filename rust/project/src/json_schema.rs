//! The kinds of values as JSON Schema tells them to editors.

use crate::decode::{Entries, Scalar, Spanned};
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
