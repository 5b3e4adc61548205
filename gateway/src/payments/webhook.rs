//! Whether a webhook is Stripe's: the header `Stripe-Signature`, `t=<seconds>,v1=<hex>[,v1=<hex>]`, is an HMAC-SHA256 of
//! `<seconds>.<body>` with a secret that only Stripe and we know.
//!
//! The bytes of the body are looked at as they came; nothing of them is parsed. That a good webhook comes twice is for the
//! caller to notice, by the id in it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;

/// Longest header that is read, in bytes.
const HEADER_BYTES_MAX: usize = 4 * 1024;
/// Signatures that are looked at; Stripe sends one for each secret in use, which is two while one is replaced.
const SIGNATURES_MAX: usize = 16;
/// How far from our clock the time of a signature may be, in seconds: Stripe's own bound. Later, it may be a recording.
const TOLERANCE_S: u64 = 300;

/// Why a webhook is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// No signature of the scheme that is known here.
    #[error("there is no v1 signature")]
    Missing,
    /// A header that Stripe would not write.
    #[error("the header is not of the form t=<seconds>,v1=<hex>")]
    Malformed,
    /// Signed with our secret, but so long ago, or, if negative, so far ahead of our clock.
    #[error("it was signed {seconds} s ago by our clock; at most {TOLERANCE_S} are believed, either way")]
    Stale {
        /// Our time less that of the signature.
        seconds: i64,
    },
    /// No signature of this body with any secret of ours.
    #[error("no signature is of this body with a secret of ours")]
    Wrong,
}

/// The secrets of our endpoint at Stripe: more than one while one is replaced.
pub(crate) struct Signatures {
    secrets: Vec<String>,
}

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signatures({})", self.secrets.len())
    }
}

impl Signatures {
    /// Takes `whsec_…` as Stripe shows them. Empty ones are left out: anyone could sign with them.
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Signatures {
        Signatures { secrets: secrets.into_iter().filter(|secret| !secret.is_empty()).collect() }
    }

    /// Checks the header `Stripe-Signature` (empty where there is none) of a request with this body, as it came.
    ///
    /// # Errors
    /// See [`SignatureError`]. Nothing in the body may be believed then.
    pub(crate) fn verify(&self, header: &str, body: &[u8], now_unix_s: i64) -> Result<(), SignatureError> {
        let signed = Signed::read(header)?;
        if !self.secrets.iter().any(|secret| signed.is_by(secret, body)) {
            return Err(SignatureError::Wrong);
        }
        // Last: who cannot sign learns nothing of our clock.
        let seconds = now_unix_s.saturating_sub(signed.at_unix_s);
        if seconds.unsigned_abs() > TOLERANCE_S { Err(SignatureError::Stale { seconds }) } else { Ok(()) }
    }
}

/// What a header says.
struct Signed<'a> {
    /// As it was signed.
    time: &'a str,
    at_unix_s: i64,
    signatures: Vec<[u8; 32]>,
}

impl Signed<'_> {
    fn read(header: &str) -> Result<Signed<'_>, SignatureError> {
        if header.is_empty() {
            return Err(SignatureError::Missing);
        }
        if header.len() > HEADER_BYTES_MAX {
            return Err(SignatureError::Malformed);
        }
        let (mut time, mut signatures, mut seen) = (None, Vec::new(), 0);
        for part in header.split(',') {
            match part.split_once('=').ok_or(SignatureError::Malformed)? {
                ("t", text) if time.is_none() => time = Some(text),
                // Which of two times is meant nobody can tell.
                ("t", _) => return Err(SignatureError::Malformed),
                ("v1", text) if seen < SIGNATURES_MAX => {
                    seen += 1;
                    signatures.extend(read_hex(text));
                }
                // Older and newer schemes stand beside ours.
                _ => {}
            }
        }
        let time = time.ok_or(SignatureError::Malformed)?;
        let digits = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
        let at_unix_s = time.parse().ok().filter(|_| digits).ok_or(SignatureError::Malformed)?;
        if seen == 0 {
            return Err(SignatureError::Missing);
        }
        Ok(Signed { time, at_unix_s, signatures })
    }

    /// Whether one of them is made with this secret; takes as long whichever it is and however wrong the others are.
    fn is_by(&self, secret: &str, body: &[u8]) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return false; // HMAC takes keys of any length.
        };
        for part in [self.time.as_bytes(), b".", body] {
            mac.update(part);
        }
        let right: [u8; 32] = mac.finalize().into_bytes().into();
        let equal = self.signatures.iter().map(|signature| right.ct_eq(signature));
        equal.fold(subtle::Choice::from(0), |found, equal| found | equal).into()
    }
}

/// 64 hexadecimal digits; anything else is no signature.
fn read_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = [char::from(pair[0]).to_digit(16)?, char::from(pair[1]).to_digit(16)?];
        *byte = u8::try_from(pair[0] << 4 | pair[1]).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use SignatureError::{Malformed, Missing, Stale, Wrong};

    const SECRET: &str = "whsec_test_secret";
    const BODY: &[u8] = b"{\"id\": \"evt_1\"}";
    const NOW: i64 = 1_763_830_000;

    fn sign(secret: &str, time: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&[time.as_bytes(), b".", body].concat());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn header(secret: &str, at: i64) -> String {
        format!("t={at},v1={}", sign(secret, &at.to_string(), BODY))
    }

    fn verify(header: &str) -> Result<(), SignatureError> {
        Signatures::new([SECRET.to_owned()]).verify(header, BODY, NOW)
    }

    #[test]
    fn a_signature_computed_elsewhere_is_right() {
        // printf '1763830000.{"id": "evt_1"}' | openssl dgst -sha256 -hmac whsec_test_secret
        let made = "f1d4e27f9c36357c8acb8c0e80f7fce3ca7638e130bcd8c674331edcf9fb350e";
        assert_eq!(verify(&format!("t=1763830000,v1={made}")), Ok(()));
        assert_eq!(verify(&format!("t=1763830000,v1={}", made.to_uppercase())), Ok(()));
    }

    #[test]
    fn what_is_forged_or_changed_is_wrong() {
        assert_eq!(verify(&header(SECRET, NOW)), Ok(()));
        assert_eq!(verify(&header("whsec_another", NOW)), Err(Wrong));
        assert_eq!(verify(&header("", NOW)), Err(Wrong));
        let good = header(SECRET, NOW);
        // The time is signed, too.
        assert_eq!(verify(&good.replace("t=1763830000", "t=1763830001")), Err(Wrong));
        assert_eq!(verify(&good.replace("t=1763830000", "t=01763830000")), Err(Wrong));
        for at in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[at] ^= 1;
            let verified = Signatures::new([SECRET.to_owned()]).verify(&good, &body, NOW);
            assert_eq!(verified, Err(Wrong), "byte {at}");
        }
        for body in [&BODY[1..], &BODY[..BODY.len() - 1], b"", b"{\"id\": \"evt_1\"}\n"] {
            assert_eq!(Signatures::new([SECRET.to_owned()]).verify(&good, body, NOW), Err(Wrong));
        }
        let last = if good.ends_with('0') { "1" } else { "0" };
        assert_eq!(verify(&(good[..good.len() - 1].to_owned() + last)), Err(Wrong));
        for tail in ["00", "garbage", "="] {
            assert_eq!(verify(&format!("{good}{tail}")), Err(Wrong), "{tail}");
        }
        assert_eq!(verify(&good[..good.len() - 2]), Err(Wrong), "shorter");
    }

    #[test]
    fn the_time_may_be_five_minutes_off_either_way() {
        for seconds in [-300, -1, 0, 1, 300] {
            assert_eq!(verify(&header(SECRET, NOW - seconds)), Ok(()), "{seconds}");
        }
        for seconds in [-86_400, -301, 301, NOW] {
            assert_eq!(verify(&header(SECRET, NOW - seconds)), Err(Stale { seconds }), "{seconds}");
        }
        let far = header(SECRET, i64::MAX);
        assert_eq!(verify(&far), Err(Stale { seconds: NOW - i64::MAX }));
        let past = Signatures::new([SECRET.to_owned()]).verify(&far, BODY, i64::MIN);
        assert_eq!(past, Err(Stale { seconds: i64::MIN }));
        // A forged one is wrong, whatever its time.
        assert_eq!(verify(&header("whsec_another", 1)), Err(Wrong));
    }

    #[test]
    fn while_a_secret_is_replaced_either_is_good() {
        let both = Signatures::new(["whsec_old".to_owned(), "whsec_new".to_owned()]);
        for secret in ["whsec_old", "whsec_new"] {
            assert_eq!(both.verify(&header(secret, NOW), BODY, NOW), Ok(()));
        }
        let (old, new) = (header("whsec_old", NOW), header("whsec_new", NOW));
        let sent = format!("{old},{}", new.split_once(',').unwrap().1);
        for ours in ["whsec_old", "whsec_new"] {
            assert_eq!(Signatures::new([ours.to_owned()]).verify(&sent, BODY, NOW), Ok(()), "{ours}");
        }
        assert_eq!(Signatures::new(["whsec_third".to_owned()]).verify(&sent, BODY, NOW), Err(Wrong));
    }

    #[test]
    fn without_a_secret_nothing_is_good() {
        for none in [Signatures::new([]), Signatures::new([String::new()])] {
            assert_eq!(none.verify(&header("", NOW), BODY, NOW), Err(Wrong));
        }
    }

    #[test]
    fn only_scheme_v1_counts_and_others_do_not_hurt() {
        let made = sign(SECRET, &NOW.to_string(), BODY);
        assert_eq!(verify(&format!("t={NOW},v0={made}")), Err(Missing));
        assert_eq!(verify(&format!("t={NOW}")), Err(Missing));
        assert_eq!(verify(""), Err(Missing));
        assert_eq!(verify(&format!("t={NOW},v0=x,v1={made},v2=")), Ok(()));
        assert_eq!(verify(&format!("v1=zz,v1={made},t={NOW}")), Ok(()));
    }

    #[test]
    fn what_stripe_would_not_write_is_malformed() {
        let made = sign(SECRET, &NOW.to_string(), BODY);
        for bad in [
            format!("v1={made}"),
            format!("t=,v1={made}"),
            format!("t=-{NOW},v1={made}"),
            format!("t=+{NOW},v1={made}"),
            format!("t={NOW}.0,v1={made}"),
            format!("t= {NOW},v1={made}"),
            format!("t=99999999999999999999,v1={made}"),
            format!("t={NOW},t={NOW},v1={made}"),
            format!("t={NOW},v1={made},garbage"),
            format!("t={NOW},v1={made},"),
            "garbage".to_owned(),
            ",".to_owned(),
        ] {
            assert_eq!(verify(&bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn the_work_for_a_header_is_bounded() {
        let made = sign(SECRET, &NOW.to_string(), BODY);
        let padded = |wrong: usize| format!("t={NOW}{},v1={made}", ",v1=00".repeat(wrong));
        assert_eq!(verify(&padded(SIGNATURES_MAX - 1)), Ok(()));
        assert_eq!(verify(&padded(SIGNATURES_MAX)), Err(Wrong));
        let long = |bytes: usize| {
            let good = format!("t={NOW},v1={made},x=");
            let missing = bytes - good.len();
            good + &"x".repeat(missing)
        };
        assert_eq!(verify(&long(HEADER_BYTES_MAX)), Ok(()));
        assert_eq!(verify(&long(HEADER_BYTES_MAX + 1)), Err(Malformed));
    }
}
