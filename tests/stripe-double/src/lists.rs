//! Lists: newest first, by pages, with a cursor and bounds on the time of creation.

use crate::form::Form;
use crate::refusal::Refusal;
use serde_json::{Value, json};

const LIMIT_DEFAULT: i64 = 10;
const LIMIT_MAX: i64 = 100;

/// Which part of a list is asked for.
#[derive(Debug)]
pub(crate) struct Since {
    limit: usize,
    /// The page begins after this id.
    after: Option<String>,
    /// Unix seconds, both included.
    from: i64,
    to: i64,
}

impl Since {
    /// Reads `limit`, `starting_after` and `created`, and refuses what is neither these nor one of `filters`.
    pub(crate) fn read(form: &Form, filters: &[&str]) -> Result<Self, Refusal> {
        form.only(&[filters, &["created", "limit", "starting_after"]].concat())?;
        let limit = form.integer("limit")?.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let message = format!("Limits are from 1 to {LIMIT_MAX}");
            return Err(Refusal::invalid("parameter_invalid_integer", "limit", message));
        }
        let bound = |name, shift: i64| Ok(form.integer(name)?.map(|at| at.saturating_add(shift)));
        let exactly = form.integer("created")?;
        let from = [exactly, bound("created[gte]", 0)?, bound("created[gt]", 1)?];
        let to = [exactly, bound("created[lte]", 0)?, bound("created[lt]", -1)?];
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or_default(),
            after: form.owned("starting_after"),
            from: from.into_iter().flatten().max().unwrap_or(i64::MIN),
            to: to.into_iter().flatten().min().unwrap_or(i64::MAX),
        })
    }
}

/// A page of rows given oldest first as id, time of creation and whether the filters keep them.
pub(crate) fn page<'a>(
    rows: impl DoubleEndedIterator<Item = (&'a str, i64, bool)>,
    since: &Since,
    url: &str,
    render: impl Fn(&str) -> Value,
) -> Result<Value, Refusal> {
    let mut newest_first = rows.rev();
    if let Some(after) = &since.after
        && !newest_first.any(|(id, ..)| id == after)
    {
        return Err(Refusal::missing("object", after).in_param("starting_after"));
    }
    let within = |&(_, created, kept): &(&str, i64, bool)| kept && since.from <= created && created <= since.to;
    let mut matching = newest_first.filter(within);
    let ids: Vec<&str> = matching.by_ref().take(since.limit).map(|(id, ..)| id).collect();
    let has_more = matching.next().is_some();
    let data: Vec<Value> = ids.into_iter().map(render).collect();
    Ok(json!({ "object": "list", "url": url, "has_more": has_more, "data": data }))
}
