//! Where the gateway may be asked to call, a provider's model server or somebody's webhook: checked when it is registered and
//! again when its name is resolved for a connection, so that the gateway cannot be made to call into private networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Longest endpoint accepted, in bytes.
const ENDPOINT_BYTES_MAX: usize = 256;
/// Longest address of a webhook, in bytes: some carry a signature of their own.
const WEBHOOK_BYTES_MAX: usize = 2_048;

/// Checks a provider's base URL; `dev` allows private addresses. Returns it without a trailing slash.
///
/// # Errors
/// What is wrong with it, in words for its owner.
pub(crate) fn check(endpoint: &str, dev: bool) -> Result<String, String> {
    let url = parse("endpoint", endpoint, ENDPOINT_BYTES_MAX, dev)?;
    if url.query().is_some() {
        return Err("endpoint may have no query".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Checks the address of a webhook, which may have a query; `dev` allows private addresses. Returns it in its usual form.
///
/// # Errors
/// What is wrong with it, in words for its owner.
pub(crate) fn check_webhook(url: &str, dev: bool) -> Result<String, String> {
    parse("url", url, WEBHOOK_BYTES_MAX, dev).map(String::from)
}

fn parse(field: &str, text: &str, bytes_max: usize, dev: bool) -> Result<Url, String> {
    if text.len() > bytes_max {
        return Err(format!("{field} may have at most {bytes_max} bytes"));
    }
    let url = Url::parse(text).map_err(|error| format!("{field} is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{field} must start with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(format!("{field} may have no user, password or fragment"));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(_)) => None, // Checked when it is resolved.
        None => return Err(format!("{field} needs a host")),
    };
    if !dev && literal.is_some_and(|ip| !is_public(ip)) {
        return Err(format!("{field} must be a public address (private ones only with --dev)"));
    }
    Ok(url)
}

/// Those of the resolved addresses that may be called.
pub(crate) fn allowed(addresses: impl Iterator<Item = SocketAddr>, dev: bool) -> Vec<SocketAddr> {
    addresses.filter(|address| dev || is_public(address.ip())).collect()
}

/// Whether an address is reachable for anyone on the Internet: not loopback, private, link-local, shared,
/// multicast, documentation or reserved (the IANA special-purpose registries).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_public_v6(ip), is_public_v4),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let global_unicast = first & 0xe000 == 0x2000;
    let documentation = first == 0x2001 && second == 0x0db8;
    // 6to4 and NAT64-like ranges could embed a private IPv4 address.
    let embeds_v4 = first == 0x2002 || (first == 0x2001 && second == 0);
    global_unicast && !documentation && !embeds_v4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_refused_outside_development() {
        let private = [
            "http://127.0.0.1/v1",
            "http://10.1.2.3/v1",
            "http://172.16.0.1/v1",
            "http://192.168.1.1/v1",
            "http://169.254.169.254/latest",
            "http://100.64.0.1/v1",
            "http://0.0.0.0/v1",
            "http://[::1]/v1",
            "http://[fe80::1]/v1",
            "http://[fd00::1]/v1",
            "http://[::ffff:127.0.0.1]/v1",
            "http://[2002:7f00:1::]/v1",
            "http://2130706433/v1", // 127.0.0.1 as one number
            "http://0x7f.1/v1",
        ];
        for endpoint in private {
            assert!(check(endpoint, false).is_err() && check_webhook(endpoint, false).is_err(), "{endpoint}");
            assert!(check(endpoint, true).is_ok() && check_webhook(endpoint, true).is_ok(), "{endpoint}");
        }
        assert_eq!(check("http://8.8.8.8:9000/v1/", false).as_deref(), Ok("http://8.8.8.8:9000/v1"));
        assert!(check("http://models.example/v1", false).is_ok());
        assert!(check("https://models.example/v1", false).is_ok());
        assert!(check("https://10.0.0.1/v1", false).is_err());
    }

    #[test]
    fn what_is_no_plain_http_base_is_refused() {
        let long = format!("http://example.com/{}", "x".repeat(300));
        let bad = [
            "",
            "example.com/v1",
            "ftp://example.com",
            "file:///etc/passwd",
            "http://u:p@example.com/",
            "http://e.com/?a=b",
            &long,
        ];
        for endpoint in bad {
            assert!(check(endpoint, true).is_err(), "{endpoint}");
        }
        let webhook = "https://hooks.example/a?token=b".to_owned() + &"x".repeat(300);
        assert_eq!(check_webhook(&webhook, false), Ok(webhook.clone()));
        let long = webhook + &"x".repeat(WEBHOOK_BYTES_MAX);
        for bad in ["", "e.com", "ftp://e.com", "http://u@e.com/", "http://:p@e.com/", "http://e.com/#a", &long] {
            assert!(check_webhook(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_that_resolves_to_a_private_address_is_not_called() {
        let resolved = ["127.0.0.1:80", "8.8.8.8:80", "10.0.0.1:80"].map(|address| address.parse().unwrap());
        assert_eq!(allowed(resolved.into_iter(), false), [resolved[1]]);
        assert_eq!(allowed(resolved.into_iter(), true), resolved);
    }
}
