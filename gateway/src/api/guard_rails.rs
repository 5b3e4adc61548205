//! Spending windows of any account, for the operator. An account sees its own at `/v1/guardrails/spending`.

use crate::api::accounts::check_account;
use crate::api::{Segment, account_id, parse};
use crate::app::App;
use crate::error::ApiError;
use crate::money::parse_credits;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use gollem_engine::limits::GUARD_RAIL_MINUTES;
use gollem_engine::{AccountId, Command};
use gollem_projections::queries::{Asked, QUERIES};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// The limit of one spending window.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardRail, example = json!({ "minutes": 60, "limit": "500" }))]
pub(crate) struct SetGuardRail {
    /// Length of the window: 5, 15, 30, 60, 90, 120, 240, 300, 360, 400, 460, 520, 640, 700, 1440, 2880 or 4320.
    minutes: u16,
    /// Most credits in the window; null for no limit.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required = true)]
    limit: Option<String>,
}

/// `GET /v1/admin/guardrails/{account}`.
pub(crate) async fn view(State(app): State<Arc<App>>, Segment(account): Segment) -> Result<Json<Value>, ApiError> {
    spending(&app, account_id(&account)?).await
}

/// `PUT /v1/admin/guardrails/{account}`: sets or clears the limit of one window; answers with all of them.
pub(crate) async fn set(
    State(app): State<Arc<App>>,
    Segment(account): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = account_id(&account)?;
    let request: SetGuardRail = parse(&body)?;
    let window = (0_u8..).zip(GUARD_RAIL_MINUTES).find(|(_, minutes)| *minutes == request.minutes);
    let (window, _) = window.ok_or_else(|| {
        let known = GUARD_RAIL_MINUTES.map(|minutes| minutes.to_string()).join(", ");
        ApiError::invalid("minutes", format!("minutes must be one of {known}"))
    })?;
    let limit = request.limit.as_deref().map(|text| parse_credits("limit", text)).transpose()?;
    check_account(&app, account).await?;
    app.execute(Command::SetGuardRail { account, window, limit }).await?;
    spending(&app, account).await
}

/// `POST /v1/admin/guardrails/{account}/reset`: what the account spent so far no longer counts; the limits stay.
pub(crate) async fn reset(State(app): State<Arc<App>>, Segment(account): Segment) -> Result<Json<Value>, ApiError> {
    let account = account_id(&account)?;
    check_account(&app, account).await?;
    app.execute(Command::ResetGuardRails { account }).await?;
    spending(&app, account).await
}

/// The account's windows, as it sees them itself.
async fn spending(app: &App, account: AccountId) -> Result<Json<Value>, ApiError> {
    let query = QUERIES.iter().find(|query| query.path == "/v1/guardrails/spending");
    let query = query.ok_or_else(|| ApiError::internal(&"no query tells an account's windows"))?;
    let asked = Asked { account: Some(account), ..Asked::default() };
    Ok(Json(query.answer(&app.reader(0).await?, &asked)?))
}
