//! How a person is told of what happened to their money: by mail, or by a webhook of theirs, signed as Standard Webhooks
//! says (standardwebhooks.com).
//!
//! One try each. When to try again, and that a notice outlives the process, is the caller's; a notice that comes twice has the
//! same id both times.

use crate::inference::{NoAnswer, Upstream};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gollem_engine::AccountId;
use gollem_projections::words::account_name;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Limited};
use lettre::message::header::{self, ContentType};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

/// How long a mail server may take for one answer, and for all of a mail.
const MAIL_STEP_PATIENCE: Duration = Duration::from_secs(10);
const MAIL_PATIENCE: Duration = Duration::from_secs(30);
/// How long a webhook may take.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(10);
/// What is read of a webhook's answer, in bytes; nothing in it means anything.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest id of a notice, in bytes.
const ID_BYTES_MAX: usize = 128;
/// What is kept of another server's words, in characters.
const WORDS_CHARS_MAX: usize = 256;
/// What the secrets of Standard Webhooks begin with; Base64 follows.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes in a secret that is made here; the standard says 24 to 64.
const SECRET_BYTES: usize = 32;
/// Answers of a mail server to who may not send by it: a setting of ours is wrong, not the mail (RFC 4954).
const NOT_LET_IN: [u16; 4] = [530, 534, 535, 538];

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What somebody is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// What it is about, such as `low_balance`, `renewal_failed`, `payout_failed` or `reconcile_difference`.
    pub(crate) kind: &'static str,
    pub(crate) account: AccountId,
    /// One line.
    pub(crate) title: String,
    /// The rest, in words.
    pub(crate) text: String,
    /// The figures, for programs.
    pub(crate) data: Value,
    /// The same each time that it is sent: 1 to 128 of a-z A-Z 0-9 - _
    pub(crate) id: String,
}

/// Why somebody was not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotifyError {
    /// It may work later: try again.
    #[error("{0}")]
    Later(String),
    /// It will not work as long as the address, the secret or the notice is what it is: give up, and say so.
    #[error("{0}")]
    Never(String),
}

impl NotifyError {
    /// Whether the same may work later.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, NotifyError::Later(_))
    }
}

/// Why notices cannot be sent as the settings say. No variant shows the address of the mail server, which holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotifierError {
    /// The mail server's address.
    #[error("the mail server must be smtps://user:password@host or smtp://user:password@host?tls=required")]
    Server,
    /// It would send the password for everyone on the way to read.
    #[error("smtp:// with a password needs ?tls=required, or use smtps://")]
    Password,
    /// The sender's address.
    #[error("the sender of mail must be an address such as GoLLeM <billing@example.com>")]
    From,
}

/// Sends notices.
pub(crate) struct Notifier {
    mail: Option<AsyncSmtpTransport<Tokio1Executor>>,
    from: Mailbox,
    upstream: Upstream,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the mail server's password.
        write!(f, "Notifier(mail: {}, from: {})", self.mail.is_some(), self.from)
    }
}

impl Notifier {
    /// Sends mail by this server, if there is one, as `from`, and webhooks by the client that calls providers.
    ///
    /// # Errors
    /// See [`NotifierError`]. The server is not spoken to yet.
    pub(crate) fn new(smtp_url: Option<&str>, from: &str, upstream: Upstream) -> Result<Notifier, NotifierError> {
        let from: Mailbox = from.parse().map_err(|_| NotifierError::From)?;
        let mail = smtp_url.map(|url| mail_server(url, from.email.domain())).transpose()?;
        Ok(Notifier { mail, from, upstream })
    }

    /// Mails a notice.
    ///
    /// # Errors
    /// [`NotifyError::Never`] where the address is none or the server refuses it or the mail for good.
    pub(crate) async fn send_mail(&self, to: &str, notice: &Notice) -> Result<(), NotifyError> {
        let mail = self.message(to, notice)?;
        let server = self.mail.as_ref().ok_or_else(|| NotifyError::Never("no mail server is set".into()))?;
        let sent = timeout(MAIL_PATIENCE, server.send(mail)).await;
        let sent = sent.map_err(|_| NotifyError::Later("the mail server took too long".into()))?;
        sent.map(drop).map_err(|error| {
            let not_let_in = error.status().is_some_and(|code| NOT_LET_IN.contains(&code.into()));
            let words = printable(&error.to_string());
            match (error.is_permanent() && !not_let_in) || error.is_client() {
                true => NotifyError::Never(words),
                false => NotifyError::Later(words),
            }
        })
    }

    fn message(&self, to: &str, notice: &Notice) -> Result<Message, NotifyError> {
        check_id(&notice.id)?;
        let address: Address = to.parse().map_err(|_| NotifyError::Never("this is no address of mail".into()))?;
        let automatic = header::HeaderName::new_from_ascii_str("Auto-Submitted");
        let mail = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .subject(printable(&notice.title))
            // The same for every try, so that whoever gets two of them sees one.
            .message_id(Some(format!("<{}@{}>", notice.id, self.from.email.domain())))
            // So that no absence is answered (RFC 3834).
            .raw_header(header::HeaderValue::new(automatic, "auto-generated".into()))
            .header(ContentType::TEXT_PLAIN)
            .body(notice.text.clone());
        mail.map_err(|error| NotifyError::Never(error.to_string()))
    }

    /// Posts a notice to a webhook, as JSON that is signed with `secret`: `whsec_` and Base64, see [`new_secret`].
    ///
    /// # Errors
    /// [`NotifyError::Never`] where the address may not be called, the secret is none, or the answer is 4xx other than 408 and
    /// 429; any other answer but 2xx, and none, is [`NotifyError::Later`]. Redirects are not followed.
    pub(crate) async fn post(&self, url: &str, secret: &str, notice: &Notice) -> Result<(), NotifyError> {
        check_id(&notice.id)?;
        let deadline = Instant::now() + WEBHOOK_PATIENCE;
        let body = json!({
            "type": notice.kind, "id": notice.id, "account": account_name(notice.account), "title": notice.title,
            "text": notice.text, "data": notice.data,
        });
        let body = Bytes::from(body.to_string());
        let headers = signed(secret, &notice.id, unix_s(), &body)?;
        let answer = self.upstream.call_webhook(url, headers, body, deadline).await.map_err(|error| match error {
            NoAnswer::Address(why) => NotifyError::Never(why),
            NoAnswer::Unreachable => NotifyError::Later("the webhook could not be reached".into()),
            NoAnswer::Late => NotifyError::Later("the webhook did not answer in time".into()),
        })?;
        let status = answer.status();
        // An answer that is read can be followed by another on its connection; how this one ends is nobody's concern.
        timeout_at(deadline, Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect()).await.ok();
        judge(status)
    }
}

/// Whether a text is an address that mail can be sent to.
pub(crate) fn is_mail_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

/// A new secret for a webhook, to be shown to its owner once.
///
/// # Errors
/// The system's random source fails.
pub(crate) fn new_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)))
}

fn mail_server(url: &str, own_domain: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, NotifierError> {
    let parsed = Url::parse(url).map_err(|_| NotifierError::Server)?;
    // A server, or whoever plays one, could leave `opportunistic` without TLS.
    let is_secret =
        parsed.scheme() == "smtps" || parsed.query_pairs().any(|pair| pair == ("tls".into(), "required".into()));
    if parsed.password().is_some() && !is_secret {
        return Err(NotifierError::Password);
    }
    let mut server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| NotifierError::Server)?;
    if parsed.path().len() <= 1 {
        server = server.hello_name(ClientId::Domain(own_domain.to_owned()));
    }
    Ok(server.timeout(Some(MAIL_STEP_PATIENCE)).build())
}

/// The three headers of Standard Webhooks.
fn signed(secret: &str, id: &str, at_unix_s: u64, body: &[u8]) -> Result<HeaderMap, NotifyError> {
    let no_secret = || NotifyError::Never("the webhook's secret is not whsec_ and Base64".into());
    let key = STANDARD.decode(secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret)).map_err(|_| no_secret())?;
    if key.is_empty() {
        return Err(no_secret());
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| no_secret())?;
    mac.update(format!("{id}.{at_unix_s}.").as_bytes());
    mac.update(body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let mut headers = HeaderMap::new();
    for (name, value) in
        [(WEBHOOK_ID, id), (WEBHOOK_TIMESTAMP, &at_unix_s.to_string()), (WEBHOOK_SIGNATURE, &signature)]
    {
        let value = HeaderValue::from_str(value).map_err(|error| NotifyError::Never(error.to_string()))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// What a webhook's answer means.
fn judge(status: StatusCode) -> Result<(), NotifyError> {
    let words = format!("the webhook answered {}", status.as_u16());
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(NotifyError::Later(words)),
        status if status.is_client_error() => Err(NotifyError::Never(words)),
        _ => Err(NotifyError::Later(words)),
    }
}

/// Ids stand in headers of mail and between the dots of what is signed.
fn check_id(id: &str) -> Result<(), NotifyError> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(sound) {
        return Ok(());
    }
    Err(NotifyError::Never(format!("a notice's id must be 1 to {ID_BYTES_MAX} of a-z A-Z 0-9 - _")))
}

/// A text as one line of bounded length.
fn printable(text: &str) -> String {
    text.chars().take(WORDS_CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
