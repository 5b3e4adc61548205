//! Card numbers have no business here: they go from their holder's browser to the payment processor, and what comes back is
//! a token. A request that holds one by mistake is refused before anything of it is kept, so that none is ever in a log, a
//! journal or a backup of ours.
//!
//! This finds accidents, not smugglers: who wants to hide a number from it can.

use crate::auth::SIGNATURE_HEADERS;
use crate::error::ApiError;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Digits of a card number.
const DIGITS: RangeInclusive<usize> = 13..=19;
/// Bytes of a UUID as text.
const UUID_BYTES: usize = 36;

/// Headers in which long numbers are somebody's signature, version or trace, not what the caller wrote. Some tracers count in
/// random decimals of 19 digits, of which one in a hundred would pass for a card.
const PASSED_OVER: [&str; 11] = [
    "authorization",
    "baggage",
    "cookie",
    "stripe-signature",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-cloud-trace-context",
    "x-datadog-parent-id",
    "x-datadog-trace-id",
    "x-request-id",
];

/// A request's body, of a request that holds no card number anywhere.
#[derive(Debug)]
pub(crate) struct CardFree(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for CardFree {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<CardFree, ApiError> {
        let (parts, body) = request.into_parts();
        check_head(&parts)?;
        let body = Bytes::from_request(Request::from_parts(parts, body), state).await;
        let body = body.map_err(|rejection| ApiError::invalid("body", rejection.body_text()))?;
        if holds_card_number(&body) { Err(refused("body", "the body")) } else { Ok(CardFree(body)) }
    }
}

fn check_head(parts: &Parts) -> Result<(), ApiError> {
    if holds_card_number(parts.uri.path().as_bytes()) {
        return Err(refused("path", "the path"));
    }
    if parts.uri.query().is_some_and(|query| holds_card_number(query.as_bytes())) {
        return Err(refused("query", "the query"));
    }
    for (name, value) in &parts.headers {
        let passed_over = PASSED_OVER.contains(&name.as_str()) || SIGNATURE_HEADERS.contains(&name.as_str());
        if !passed_over && holds_card_number(value.as_bytes()) {
            return Err(refused(name.as_str(), &format!("the header {name}")));
        }
    }
    Ok(())
}

/// 400, without the number: answers are kept in logs, too.
fn refused(param: &str, place: &str) -> ApiError {
    let message = format!(
        "{place} seems to hold a card number, which nobody here may have: give it to the payment processor's own client \
         together with the client_secret, or name a saved method by its token, pm_..."
    );
    let error = ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "card_number_refused", message);
    ApiError { param: Some(param.to_owned()), ..error }
}

/// Whether there is a card number in the text, as it stands or behind the escapes of URLs and JSON: 13 to 19 digits, in one
/// piece or with single spaces, dashes, dots or pluses between them, that begin as a brand's do, are as many as its
/// numbers have and pass the check of Luhn.
///
/// Digits that adjoin a letter or an underscore are a part of an id, those of a UUID too, and two pieces with a dot
/// between them are a decimal.
pub(crate) fn holds_card_number(text: &[u8]) -> bool {
    let text = unescaped(text);
    let is_part_of_word = |at: usize| text.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    // The newest pieces, each joined to the next, of which a number may be made.
    let mut pieces = Vec::<Piece<'_>>::new();
    let (mut at, mut end) = (0, 0);
    while at < text.len() {
        let begins_word = at == 0 || !is_part_of_word(at - 1);
        if begins_word && is_uuid(text.get(at..at + UUID_BYTES)) && !is_part_of_word(at + UUID_BYTES) {
            at += UUID_BYTES;
            continue;
        }
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            at += 1;
            continue;
        }
        let joint = if at == 0 { 0 } else { text[at - 1] };
        if at != end + 1 || !matches!(joint, b' ' | b'-' | b'.' | b'+') {
            pieces.clear();
        }
        let piece = Piece { joint, digits: &text[at..at + digits] };
        at += digits;
        end = at;
        if !begins_word || is_part_of_word(end) || digits > *DIGITS.end() {
            pieces.clear();
            continue;
        }
        pieces.push(piece);
        if ends_in_card_number(&mut pieces) {
            return true;
        }
    }
    false
}

/// Digits in one piece, and what stands between them and the piece before.
#[derive(Clone, Copy)]
struct Piece<'a> {
    joint: u8,
    digits: &'a [u8],
}

/// Whether the newest pieces are a card number, from whichever on; lets go of those that are too far back for the next.
fn ends_in_card_number(pieces: &mut Vec<Piece<'_>>) -> bool {
    let mut number = [0; *DIGITS.end()];
    let mut begin = number.len();
    for from in (0..pieces.len()).rev() {
        let digits = pieces[from].digits;
        let Some(earlier) = begin.checked_sub(digits.len()) else {
            pieces.drain(..=from);
            return false;
        };
        number[earlier..begin].copy_from_slice(digits);
        begin = earlier;
        let is_decimal = from + 2 == pieces.len() && pieces[from + 1].joint == b'.';
        if !is_decimal && is_card_number(&number[begin..]) {
            return true;
        }
    }
    false
}

fn is_card_number(digits: &[u8]) -> bool {
    let count = digits.len();
    if !DIGITS.contains(&count) {
        return false;
    }
    let lead = digits[..4].iter().fold(0, |lead, digit| lead * 10 + u16::from(digit - b'0'));
    let is_a_brand_s = match lead {
        4000..=4999 => matches!(count, 13 | 16 | 19),           // Visa
        2221..=2720 | 5100..=5599 => count == 16,               // Mastercard
        3400..=3499 | 3700..=3799 => count == 15,               // American Express
        3528..=3589 => count >= 16,                             // JCB
        3000..=3059 | 3600..=3699 | 3800..=3999 => count >= 14, // Diners Club
        5000..=5099 | 5600..=6999 => true, // Maestro, and among its numbers Discover's and UnionPay's
        _ => false,
    };
    is_a_brand_s && passes_luhn(digits)
}

/// Whether the digits, of which every second from the right but one is doubled and loses its tens to its ones, add up to a
/// multiple of ten.
fn passes_luhn(digits: &[u8]) -> bool {
    const DOUBLED: [u32; 10] = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
    let term = |(place, digit): (usize, &u8)| match (place % 2, digit - b'0') {
        (0, digit) => u32::from(digit),
        (_, digit) => DOUBLED[usize::from(digit)],
    };
    digits.iter().rev().enumerate().map(term).sum::<u32>().is_multiple_of(10)
}

/// Eight, four, four, four and twelve hexadecimal digits with dashes between them. Where all are decimal, parts of it could
/// pass for a card.
fn is_uuid(text: Option<&[u8]>) -> bool {
    let right = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.is_some_and(|text| text.iter().enumerate().all(right))
}

/// The text without the escapes of URLs and JSON, and with plain spaces for those that do not break.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'\\' | 0xc2)) {
        return text.into();
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        let (byte, taken) = match rest {
            [b'%', high, low, ..] => (hex(&[*high, *low]), 3),
            [b'\\', b'u', a, b, c, d, ..] => {
                (hex(&[*a, *b, *c, *d]).map(|char| if char == 0xa0 { 0x20 } else { char }), 6)
            }
            [b'\\', b'b' | b'f' | b'n' | b'r' | b't', ..] => (Some(u16::from(b'\n')), 2),
            [0xc2, 0xa0, ..] => (Some(u16::from(b' ')), 2),
            _ => (None, 1),
        };
        // What is not ASCII is nothing that is looked for, whatever it is.
        plain.push(byte.map_or(*first, |byte| u8::try_from(byte).unwrap_or(u8::MAX)));
        rest = &rest[if byte.is_some() { taken } else { 1 }..];
    }
    plain.into()
}

fn hex(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Numbers that processors publish for tests.
    const CARDS: [&str; 16] = [
        "4242424242424242",
        "4000056655665556",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "5200828282828210",
        "378282246310005",
        "371449635398431",
        "6011111111111117",
        "6011000990139424",
        "3056930009020004",
        "36227206271667",
        "3566002020360505",
        "6200000000000005",
        "6205500000000000004",
        "6759649826438453",
    ];

    fn finds(text: &str) -> bool {
        holds_card_number(text.as_bytes())
    }

    #[test]
    fn published_test_numbers_are_found_however_they_are_written() {
        for card in CARDS {
            assert!(finds(card), "{card}");
            for joint in [" ", "-", ".", "+", "%20", "%2D", "\u{a0}", "\\u0020", "\\u00a0"] {
                let pieces: Vec<&str> = card.as_bytes().chunks(4).map(|piece| str::from_utf8(piece).unwrap()).collect();
                let written = pieces.join(joint);
                assert!(finds(&written), "{written}");
            }
        }
        let around = [
            "{\"card\":\"#\"}",
            "{\"card\":#}",
            "card=#&cvc=123",
            "1 #",
            "12/27 # 123 12/27",
            "{\"note\":\"my card:\\n#\\n12/27\"}",
            "{\"note\":\"100%, # \\\"\"}",
            "number%3A%20#%20",
            "кредит#карта",
            "(#)",
            "1234567890123456789012345 #",
        ];
        for around in around {
            let text = around.replace('#', "4242 4242 4242 4242");
            assert!(finds(&text), "{text}");
        }
        assert!(finds("3782 822463 10005"), "as it is printed");
        assert!(finds("%34242424242424242"), "a digit behind an escape");
    }

    #[test]
    fn what_is_no_card_number_is_let_through() {
        let none = [
            "",
            "4242424242424241",                 // Luhn
            "1234567812345670",                 // no brand's
            "424242424242",                     // too short
            "42424242424242424242",             // 20 digits
            "424242424242424",                  // no length of Visa's
            "4242  4242 4242 4242",             // two spaces
            "4242,4242,4242,4242",              // a list
            "ord_4242424242424242",             // an id
            "pi_3MtwBw4242424242424242",        // another
            "4242424242424242n",                // adjoined by a letter
            "sk-gollem-4242424242424242a-x",    // a key
            "e3b0c4242424242424242f1c149afbf4", // a hash
            "1763830000123456",                 // microseconds
            "1763830000123456789",              // nanoseconds
            "2026-11-22T16:53:11.123456789Z",   // a time
            "{\"price\":4.242424242424242}",    // a decimal
            "{\"a\":4242,\"b\":4242,\"c\":4242,\"d\":4242}",
            "41000000-0000-4000-8000-000000000005",
            "id=12345678-4242-4242-4242-424242424242&x=1",
        ];
        for text in none {
            assert!(!finds(text), "{text}");
        }
        // Of a UUID that is not one, the pieces count.
        assert!(finds("12345678-4242-4242-4242-4242"));
    }

    async fn extract(request: Request) -> Result<Bytes, ApiError> {
        CardFree::from_request(request, &()).await.map(|CardFree(body)| body)
    }

    fn request(uri: &str, headers: &[(&str, &str)], body: &str) -> Request {
        let mut request = axum::http::Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body.to_owned())).unwrap()
    }

    #[tokio::test]
    async fn a_request_with_a_card_number_is_refused_by_place_and_never_by_number() {
        let card = "4242 4242-4242 4242";
        let cases = [
            (request("/", &[], &format!("{{\"reference\":\"{card}\"}}")), "body"),
            (request("/?reference=4242+4242+4242+4242", &[], "{}"), "query"),
            (request("/v1/purchases/4242424242424242", &[], "{}"), "path"),
            (request("/", &[("idempotency-key", card)], "{}"), "idempotency-key"),
            (request("/", &[("x-anything", "a"), ("x-anything", card)], "{}"), "x-anything"),
        ];
        for (request, place) in cases {
            let error = extract(request).await.unwrap_err();
            let told = (error.status.as_u16(), error.kind, error.code, error.param.as_deref());
            assert_eq!(told, (400, "invalid_request_error", "card_number_refused", Some(place)));
            let said = format!("{error:?} {}", error.body());
            assert!(error.message.contains(place) && error.message.contains("pm_"), "{said}");
            assert!(!said.contains("4242"), "{said}");
        }
    }

    #[tokio::test]
    async fn what_others_write_into_headers_is_passed_over() {
        let number = "4242424242424242";
        let headers: Vec<(&str, &str)> =
            PASSED_OVER.iter().chain(&SIGNATURE_HEADERS).map(|name| (*name, number)).collect();
        let body = "{\"amount_usd\":\"10.00\"}";
        assert_eq!(extract(request("/v1/purchases?after=17", &headers, body)).await.unwrap(), body);
    }

    /// The sum that Luhn asks for, in the words of ISO/IEC 7812-1.
    fn luhn_sum(number: &str) -> u32 {
        let terms = number.chars().rev().map(|digit| digit.to_digit(10).unwrap());
        let term = |(at, digit): (usize, u32)| {
            (digit * (at as u32 % 2 + 1)).to_string().chars().map(|c| c.to_digit(10).unwrap()).sum::<u32>()
        };
        terms.enumerate().map(term).sum()
    }

    /// A number of a brand, with a right check digit.
    fn card() -> impl Strategy<Value = String> {
        let brand = prop_oneof![
            (4000..5000_u32, prop::sample::select(vec![13_usize, 16, 19])),
            (prop_oneof![2221..2721_u32, 5100..5600_u32], Just(16)),
            (prop_oneof![3400..3500_u32, 3700..3800_u32], Just(15)),
            (prop_oneof![Just(6011), 6440..6600_u32, 3528..3590_u32, 6200..6300_u32], 16..=19_usize),
            (prop_oneof![3000..3060_u32, 3600..3700_u32, 3800..4000_u32], 14..=19_usize),
            (prop_oneof![5000..5100_u32, 5600..7000_u32], 13..=19_usize),
        ];
        (brand, prop::collection::vec(0..10_u8, 15)).prop_map(|((lead, count), digits)| {
            let rest = digits.iter().map(|digit| char::from(b'0' + digit)).take(count - 5);
            let number: String = lead.to_string().chars().chain(rest).collect();
            (0..10).map(|check| format!("{number}{check}")).find(|number| luhn_sum(number).is_multiple_of(10)).unwrap()
        })
    }

    /// One of these, or nothing, between any two digits; never one dot alone, which makes a decimal.
    fn joints() -> impl Strategy<Value = Vec<&'static str>> {
        let joint = prop::sample::select(vec!["", "", "", " ", "-", ".", "+", "%20", "\u{a0}"]);
        prop::collection::vec(joint, 18)
    }

    fn written(card: &str, joints: &[&str]) -> String {
        let between = &joints[..card.len() - 1];
        let is_decimal = between.concat() == ".";
        let between = between.iter().map(|joint| if is_decimal { "" } else { joint });
        card.split("")
            .filter(|digit| !digit.is_empty())
            .zip(std::iter::once("").chain(between))
            .map(|(digit, joint)| format!("{joint}{digit}"))
            .collect()
    }

    /// Some JSON around a text, without other digits than those of its names.
    fn around(text: String) -> impl Strategy<Value = Value> {
        let words = "[a-zé\"\\\\/\n %:]{0,12}";
        (words, words, "[a-z]{1,8}", 0..4_u8).prop_map(move |(before, after, name, depth)| {
            let mut value = json!(format!("{before}: {text} ,{after}"));
            for level in 0..depth {
                value = if level % 2 == 0 { json!([1, value, true]) } else { json!({ name.clone(): value, "": null }) };
            }
            value
        })
    }

    proptest! {
        #[test]
        fn any_card_number_is_found_in_any_json(
            value in (card(), joints()).prop_flat_map(|(card, joints)| around(written(&card, &joints))),
        ) {
            prop_assert!(finds(&value.to_string()), "{value}");
        }

        #[test]
        fn no_other_number_is(value in (card(), 1..10_u32).prop_flat_map(|(card, off)| {
            let (rest, check) = card.split_at(card.len() - 1);
            let check = (check.parse::<u32>().unwrap() + off) % 10;
            around(format!("{rest}{check}"))
        })) {
            prop_assert!(!finds(&value.to_string()), "{value}");
        }

        #[test]
        fn no_id_or_time_of_ours_is(
            uuid in "[0-9]{8}-[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{12}",
            card in card(),
            us in 1_577_836_800_000_000..2_208_988_800_000_000_u64,
        ) {
            let key = format!("sk-gollem-abcdefghijkl-{card}z");
            for text in [uuid, key, us.to_string(), format!("{us}999"), format!("ord_{card}"), format!("a{card}f")] {
                prop_assert!(!finds(&text), "{text}");
            }
        }

        #[test]
        fn any_bytes_can_be_looked_at(bytes in prop::collection::vec(prop::sample::select(b"4%\\u0 -.a\xc2\xa0".to_vec()), 0..64)) {
            holds_card_number(&bytes);
        }
    }
}
