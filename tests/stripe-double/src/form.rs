//! Parameters as Stripe takes them: form-encoded, with bracket keys (`metadata[order]=7`, `expand[]=data.source`).
//!
//! Unknown parameters are refused, as by Stripe: a client that misspells one should hear of it.

use crate::records::Metadata;
use crate::refusal::Refusal;
use std::collections::BTreeMap;

const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_CHARS_MAX: usize = 40;
const METADATA_VALUE_CHARS_MAX: usize = 500;

/// The parameters of one request, in order of their names: two forms are equal if they ask for the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    values: BTreeMap<String, Vec<String>>,
}

impl Form {
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            values.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Self { values }
    }

    /// Refuses every parameter that is not among `known`, by what stands before the first bracket.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let root = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
        match self.values.keys().map(|name| root(name)).find(|name| name != "expand" && !known.contains(&name.as_str()))
        {
            None => Ok(()),
            Some(name) => {
                let message = format!("Received unknown parameter: {name} (or the double does not know it)");
                Err(Refusal::invalid("parameter_unknown", &name, message))
            }
        }
    }

    /// The last value given; none if it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|values| values.last()).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        let missing = || Refusal::invalid("parameter_missing", name, format!("Missing required param: {name}."));
        self.text(name).ok_or_else(missing)
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let invalid = |_| Refusal::invalid("parameter_invalid_integer", name, format!("Invalid integer: {name}"));
        self.text(name).map(|text| text.parse().map_err(invalid)).transpose()
    }

    /// A positive amount in cents.
    pub(crate) fn cents(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.integer(name)? {
            Some(cents) if cents <= 0 => {
                let message = format!("Invalid positive integer: {name}");
                Err(Refusal::invalid("parameter_invalid_integer", name, message))
            }
            cents => Ok(cents),
        }
    }

    pub(crate) fn required_cents(&self, name: &str) -> Result<i64, Refusal> {
        self.required(name)?;
        self.cents(name).map(Option::unwrap_or_default)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::invalid("parameter_invalid_boolean", name, format!("Invalid boolean: {name}"))),
        }
    }

    /// The double's accounts have US dollars only.
    pub(crate) fn require_usd(&self) -> Result<(), Refusal> {
        match self.required("currency")? {
            currency if currency.eq_ignore_ascii_case("usd") => Ok(()),
            other => {
                let message = format!("Invalid currency: {other}. The double knows usd only.");
                Err(Refusal::invalid("parameter_invalid_string", "currency", message))
            }
        }
    }

    /// `metadata[key]=value`, within Stripe's limits.
    pub(crate) fn metadata(&self) -> Result<Metadata, Refusal> {
        let mut metadata = Metadata::new();
        for (name, values) in &self.values {
            let key = name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']'));
            if let (Some(key), Some(value)) = (key, values.last()) {
                metadata.insert(key.to_owned(), value.clone());
            }
        }
        let fits = |(key, value): (&String, &String)| {
            key.chars().count() <= METADATA_KEY_CHARS_MAX && value.chars().count() <= METADATA_VALUE_CHARS_MAX
        };
        if metadata.len() > METADATA_KEYS_MAX || !metadata.iter().all(fits) {
            let message = "Metadata can have up to 50 keys of up to 40 characters, with values of up to 500";
            return Err(Refusal::invalid("parameter_invalid_string", "metadata", message));
        }
        Ok(metadata)
    }

    /// The paths under `expand[]` or `expand[0]`.
    pub(crate) fn expansions(&self) -> Vec<String> {
        let named = |name: &&String| name.starts_with("expand[");
        let names = self.values.keys().filter(named);
        names.filter_map(|name| self.values.get(name)).flatten().cloned().collect()
    }
}
