//! Who speaks over a connection that lasts. The credential is proven once; whether it is still good is looked at again
//! before everything that is done in its name.

use super::{Presented, address_of_parts, check, claim, payer_of, prove, signed, still_good};
use crate::app::App;
use crate::error::ApiError;
use crate::identity::Caller;
use crate::keys::Scopes;
use crate::route::Route;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use std::net::IpAddr;

/// Somebody who has shown a credential.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    presented: Presented,
    address: IpAddr,
}

impl Lasting {
    /// Who asks for the connection; `None` when the request says nothing of it.
    ///
    /// # Errors
    /// 401 or 403, as for any other request.
    pub(crate) fn of_request(app: &App, parts: &Parts) -> Result<Option<Lasting>, ApiError> {
        let headers: &HeaderMap = &parts.headers;
        let says = |name: &str| headers.contains_key(name);
        if !says(header::AUTHORIZATION.as_str()) && !says("x-api-key") && !says(signed::KEY) {
            return Ok(None);
        }
        let address = address_of_parts(app, parts);
        let claim = claim(app, headers, Scopes::ALL, address)?;
        let presented = prove(app, claim, parts, &[], (Scopes::ALL, address))?;
        Ok(Some(Lasting { presented, address }))
    }

    /// Who shows this key or session over a connection from there.
    ///
    /// # Errors
    /// 401 or 403, as for a request with it.
    pub(crate) fn of_text(app: &App, text: &str, address: IpAddr) -> Result<Lasting, ApiError> {
        Ok(Lasting { presented: check(app, text.trim(), Scopes::ALL, address)?, address })
    }

    /// Whom it spoke for when the credential was shown.
    pub(crate) fn whose(&self) -> Caller {
        self.presented.caller()
    }

    /// Whom it speaks for, if it still does and may do this.
    ///
    /// # Errors
    /// 401 when the credential is no longer good, 403 without the scope.
    pub(crate) fn caller(&self, app: &App, scopes: Scopes) -> Result<Caller, ApiError> {
        still_good(app, &self.presented, scopes, self.address)?;
        Ok(self.presented.caller())
    }

    /// Takes what a call of this route counts from the caller's limits.
    ///
    /// # Errors
    /// 429 when nothing is left.
    pub(crate) fn charge(&self, app: &App, caller: &Caller, route: &Route) -> Result<(), ApiError> {
        app.limiter.admit(&payer_of(app, caller, &self.presented), route)
    }
}
