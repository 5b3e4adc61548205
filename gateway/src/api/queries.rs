//! What the views answer: one handler for the whole table of [`QUERIES`].

use crate::api::Segment;
use crate::app::App;
use crate::auth::forbidden;
use crate::error::ApiError;
use crate::identity::Caller;
use crate::keys::Scopes;
use axum::Json;
use axum::extract::{MatchedPath, Query as Params, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, http::Uri};
use gollem_engine::AccountId;
use gollem_projections::queries::{Access, Asked, QUERIES, QueryError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `GET` of any path in [`QUERIES`]. `?after=SEQ` waits until the answer reflects that input; an answer always reflects what
/// was durable when the question came. A caller asks about its own account; an operator names one with `?account=acc_7`.
pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    path: MatchedPath,
    caller: Option<Extension<Caller>>,
    Segment(segment): Segment,
    RawQuery(params): RawQuery,
) -> Result<Response, ApiError> {
    let query = QUERIES.iter().find(|query| query.path == path.as_str());
    let query = query.ok_or_else(|| ApiError::internal(&"a route for queries is not in their table"))?;
    let mut params = read_params(params)?;
    let after = params.remove("after").map(|after| {
        after.parse().map_err(|_| ApiError::invalid("after", "after must be the seq of an earlier answer"))
    });
    let after: u64 = after.transpose()?.unwrap_or(0);
    let account = match query.access {
        Access::Public => None,
        Access::Account => Some(whose(caller.map(|Extension(caller)| caller), params.remove("account"))?),
    };
    let asked = Asked { account, segment: Some(segment), params };
    let reader = app.reader(after).await?;
    Ok(match query.answer(&reader, &asked)? {
        Value::String(csv) => ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response(),
        answer => Json(answer).into_response(),
    })
}

/// Parameters by name, each at most once.
pub(crate) fn read_params(raw: Option<String>) -> Result<BTreeMap<String, String>, ApiError> {
    let unreadable = || ApiError::invalid("query", "the query cannot be read");
    let uri = Uri::builder().path_and_query(format!("/?{}", raw.unwrap_or_default())).build();
    let uri = uri.map_err(|_| unreadable())?;
    let Params(pairs) = Params::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|_| unreadable())?;
    let mut params = BTreeMap::new();
    for (name, value) in pairs {
        if params.insert(name.clone(), value).is_some() {
            return Err(ApiError::invalid(name.as_str(), format!("{name} is given twice")));
        }
    }
    Ok(params)
}

/// Whose account a question is about.
pub(crate) fn whose(caller: Option<Caller>, named: Option<String>) -> Result<AccountId, ApiError> {
    let named = named.map(|text| crate::api::account_id(&text)).transpose()?;
    let operator = caller.is_some_and(|caller| caller.scopes.intersects(Scopes::ADMIN));
    match (caller.and_then(|caller| caller.account), named) {
        (Some(own), None) => Ok(own),
        (Some(own), Some(named)) if own == named => Ok(own),
        (_, Some(named)) if operator => Ok(named),
        (_, Some(_)) => Err(forbidden(Scopes::ADMIN)),
        (None, None) => {
            let message = "this API key belongs to no account: name one with ?account=acc_7, or use a key of its own";
            let error = ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "no_account", message);
            Err(ApiError { param: Some("account".into()), ..error })
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        match error {
            QueryError::Invalid { param, message } => ApiError::invalid(param, message),
            QueryError::NotFound { param, code, message } => ApiError::not_found(param, code, message),
            QueryError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Exchange, ExchangeOptions};
    use crate::routes::{self, ROUTES};
    use gollem_engine::Command;
    use gollem_engine::KeyId;

    #[test]
    fn every_query_has_its_route_for_those_who_may_ask() {
        for query in QUERIES {
            let mut gets = ROUTES.iter().filter(|route| route.path == query.path && route.method == "GET");
            let route = gets.next().unwrap_or_else(|| panic!("{} is not routed", query.path));
            let read = Scopes::READ.with(Scopes::ADMIN);
            let fits = match (query.access, route.access) {
                (Access::Public, routes::Access::Public) => true,
                (Access::Account, routes::Access::Scoped(scopes)) => scopes == read,
                _ => false,
            };
            assert!(fits, "{}: {:?} is served as {:?}", query.path, query.access, route.access);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_about_a_position_that_is_not_reached_says_where_the_views_are() {
        let dir = tempfile::tempdir().unwrap();
        let exchange = Exchange::open(&ExchangeOptions::new(dir.path().to_owned())).await.unwrap();
        let app = exchange.app();
        let seq = app.execute(Command::OpenAccount).await.unwrap().seq;
        assert!(app.reader(seq).await.unwrap().seq() >= seq, "the caller reads its own write");
        let error = app.reader(seq + 7).await.expect_err("nothing more happens");
        assert_eq!((error.status.as_u16(), error.code), (503, "view_behind"));
        let (at, wanted) = (format!("at input {seq} "), format!("must reach {}:", seq + 7));
        assert!(error.message.contains(&at) && error.message.contains(&wanted), "{}", error.message);
        drop(app);
        exchange.close().await.unwrap();
    }

    #[test]
    fn a_parameter_is_given_once() {
        assert_eq!(read_params(Some("limit=5&after=7".into())).unwrap()["limit"], "5");
        assert_eq!(read_params(None).unwrap().len(), 0);
        let error = read_params(Some("limit=5&limit=6".into())).expect_err("twice");
        assert_eq!(error.param.as_deref(), Some("limit"));
    }

    #[test]
    fn only_an_operator_names_another_account() {
        let key =
            |account: Option<u32>, scopes| Some(Caller { account: account.map(AccountId), key: KeyId(0), scopes });
        let check = |caller, named: Option<&str>| whose(caller, named.map(str::to_owned)).map_err(|error| error.code);
        assert_eq!(check(key(Some(3), Scopes::READ), None), Ok(AccountId(3)));
        assert_eq!(check(key(Some(3), Scopes::READ), Some("acc_3")), Ok(AccountId(3)));
        assert_eq!(check(key(Some(3), Scopes::READ), Some("acc_4")), Err("insufficient_scope"));
        assert_eq!(check(key(None, Scopes::ADMIN), Some("acc_4")), Ok(AccountId(4)));
        assert_eq!(check(key(None, Scopes::ADMIN), None), Err("no_account"));
        assert_eq!(check(key(None, Scopes::ADMIN), Some("4")), Err("invalid_value"));
    }
}
