//! What an account is at the processor, and what it wishes: automatic purchases, alerts.

use super::{Store, small};
use crate::payments::processor::{Cents, Connected};
use gollem_engine::{AccountId, Amount};
use sqlx::Row;
use sqlx::any::AnyRow;

/// An account's side of payments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PaymentAccount {
    /// The processor's number of the buyer.
    pub customer: Option<String>,
    /// Its token of a way of paying that was kept.
    pub method: Option<String>,
    /// The provider's account there.
    pub connected: Option<Connected>,
    pub renewal: Option<Renewal>,
    pub alert: Option<Alert>,
    /// Whether the low balance was told, and the balance not above the mark since.
    pub alerted: bool,
}

/// Automatic purchases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// One is made when there is less available.
    pub below: Amount,
    /// What one comes to.
    pub cents: Cents,
    /// What those of a month (UTC) may come to.
    pub monthly_cap: Cents,
}

/// Who is told when there is little left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    /// When there is less available.
    pub below: Amount,
    pub mail: Option<String>,
    pub url: Option<String>,
}

impl Store {
    /// An account's side of payments; empty when nothing is known.
    pub(crate) async fn account(&self, account: AccountId) -> Result<PaymentAccount, sqlx::Error> {
        let row = sqlx::query("SELECT * FROM payment_accounts WHERE account = $1").bind(i64::from(account.0));
        let row = row.fetch_optional(&self.pool).await?;
        row.as_ref().map_or_else(|| Ok(PaymentAccount::default()), account_in)
    }

    /// Accounts whose balance is watched.
    pub(crate) async fn watched(&self) -> Result<Vec<AccountId>, sqlx::Error> {
        let select = "SELECT account FROM payment_accounts WHERE renew_below IS NOT NULL OR alert_below IS NOT NULL";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        rows.iter().map(|row| small(row.try_get("account")?).map(AccountId)).collect()
    }

    /// The account whose connected account that is.
    pub(crate) async fn connected_as(&self, id: &str) -> Result<Option<AccountId>, sqlx::Error> {
        let row = sqlx::query("SELECT account FROM payment_accounts WHERE connected = $1").bind(id);
        let row = row.fetch_optional(&self.pool).await?;
        row.map(|row| small(row.try_get("account")?).map(AccountId)).transpose()
    }

    /// Notes the processor's number of a buyer.
    pub(crate) async fn set_customer(&self, account: AccountId, customer: &str) -> Result<(), sqlx::Error> {
        self.ensure(account).await?;
        let update = sqlx::query("UPDATE payment_accounts SET customer = $1 WHERE account = $2");
        update.bind(customer).bind(i64::from(account.0)).execute(&self.pool).await.map(|_| ())
    }

    /// Keeps a way of paying, or forgets it.
    pub(crate) async fn set_method(&self, account: AccountId, method: Option<&str>) -> Result<(), sqlx::Error> {
        self.ensure(account).await?;
        let update = sqlx::query("UPDATE payment_accounts SET method = $1 WHERE account = $2");
        update.bind(method).bind(i64::from(account.0)).execute(&self.pool).await.map(|_| ())
    }

    /// Notes a provider's account at the processor.
    pub(crate) async fn set_connected(&self, account: AccountId, connected: &Connected) -> Result<(), sqlx::Error> {
        self.ensure(account).await?;
        let update = sqlx::query("UPDATE payment_accounts SET connected = $1, payable = $2 WHERE account = $3");
        let update = update.bind(&connected.id).bind(i64::from(connected.payable)).bind(i64::from(account.0));
        update.execute(&self.pool).await.map(|_| ())
    }

    /// Sets automatic purchases, or ends them.
    pub(crate) async fn set_renewal(&self, account: AccountId, renewal: Option<Renewal>) -> Result<(), sqlx::Error> {
        self.ensure(account).await?;
        let update =
            "UPDATE payment_accounts SET renew_below = $1, renew_cents = $2, renew_cap = $3 WHERE account = $4";
        sqlx::query(update)
            .bind(renewal.map(|renewal| renewal.below.0))
            .bind(renewal.map_or(0, |renewal| renewal.cents))
            .bind(renewal.map_or(0, |renewal| renewal.monthly_cap))
            .bind(i64::from(account.0))
            .execute(&self.pool)
            .await
            .map(|_| ())
    }

    /// Sets who is told when there is little left, or nobody.
    pub(crate) async fn set_alert(&self, account: AccountId, alert: Option<&Alert>) -> Result<(), sqlx::Error> {
        self.ensure(account).await?;
        let update = "UPDATE payment_accounts SET alert_below = $1, alert_mail = $2, alert_url = $3, \
                      alerted = CASE WHEN alert_below = $1 THEN alerted ELSE 0 END WHERE account = $4";
        sqlx::query(update)
            .bind(alert.map(|alert| alert.below.0))
            .bind(alert.and_then(|alert| alert.mail.as_deref()))
            .bind(alert.and_then(|alert| alert.url.as_deref()))
            .bind(i64::from(account.0))
            .execute(&self.pool)
            .await
            .map(|_| ())
    }

    /// Notes whether the low balance was told.
    pub(crate) async fn set_alerted(&self, account: AccountId, alerted: bool) -> Result<(), sqlx::Error> {
        let update = sqlx::query("UPDATE payment_accounts SET alerted = $1 WHERE account = $2");
        update.bind(i64::from(alerted)).bind(i64::from(account.0)).execute(&self.pool).await.map(|_| ())
    }

    async fn ensure(&self, account: AccountId) -> Result<(), sqlx::Error> {
        let insert = sqlx::query("INSERT INTO payment_accounts (account) VALUES ($1) ON CONFLICT DO NOTHING");
        insert.bind(i64::from(account.0)).execute(&self.pool).await.map(|_| ())
    }
}

fn account_in(row: &AnyRow) -> Result<PaymentAccount, sqlx::Error> {
    let connected: Option<String> = row.try_get("connected")?;
    let payable = row.try_get::<i64, _>("payable")? != 0;
    let renewal = match row.try_get::<Option<i64>, _>("renew_below")? {
        Some(below) => Some(Renewal {
            below: Amount(below),
            cents: row.try_get("renew_cents")?,
            monthly_cap: row.try_get("renew_cap")?,
        }),
        None => None,
    };
    let alert = match row.try_get::<Option<i64>, _>("alert_below")? {
        Some(below) => {
            Some(Alert { below: Amount(below), mail: row.try_get("alert_mail")?, url: row.try_get("alert_url")? })
        }
        None => None,
    };
    Ok(PaymentAccount {
        customer: row.try_get("customer")?,
        method: row.try_get("method")?,
        connected: connected.map(|id| Connected { id, payable }),
        renewal,
        alert,
        alerted: row.try_get::<i64, _>("alerted")? != 0,
    })
}
