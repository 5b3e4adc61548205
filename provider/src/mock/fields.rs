//! Reading the fields of a JSON object. A field that is `null` counts as absent, as with OpenAI.

use serde_json::{Map, Value};

use super::error::ApiError;

/// A field that is there and not `null`.
pub(crate) fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

pub(crate) fn flag(fields: &Map<String, Value>, name: &'static str) -> Result<bool, ApiError> {
    match present(fields, name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(ApiError::invalid(Some(name), format!("`{name}` must be true or false"))),
    }
}

pub(crate) fn whole_number(fields: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, ApiError> {
    match present(fields, name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::invalid(Some(name), format!("`{name}` must be a whole number"))),
        },
    }
}
