//! Where a request comes from: the other end of its connection, or what a proxy that is trusted says of it.

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The client's address: the connection's other end, unless that is a trusted proxy. Then it is the last address that a
/// trusted proxy has added to `X-Forwarded-For` and that is none of theirs; what stands before it anyone may have written.
pub(super) fn client_address(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // Every connection has one; a request made inside this process counts as from here.
    let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |Peer(address)| *address);
    behind_proxies(peer.to_canonical(), headers, trusted)
}

/// What counts as one address where numbers of something are limited: of IPv6 the network of 64 bits, which one customer has.
pub(crate) fn one_customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    if trusted.is_empty() || !is_trusted(&client) {
        return client;
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|line| line.to_str().ok());
    for hop in lines.flat_map(|line| line.rsplit(',')) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let [one, other, elsewhere, four] = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1", "::ffff:192.0.2.1"]
            .map(|text| text.parse().unwrap());
        assert_eq!(one_customer(one), one_customer(other));
        assert_ne!(one_customer(one), one_customer(elsewhere));
        assert_eq!(one_customer(four), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_added_itself() {
        let check = |peer: &str, lines: &[&'static str], trusted: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
            let client = behind_proxies(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?} {trusted:?}");
        };
        let proxy: &[&str] = &["10.0.0.0/8"];
        check("9.9.9.9", &["1.1.1.1"], &[], "9.9.9.9");
        check("9.9.9.9", &["1.1.1.1"], proxy, "9.9.9.9");
        check("10.0.0.1", &["1.1.1.1"], &[], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1"], proxy, "1.1.1.1");
        check("10.0.0.1", &["6.6.6.6, 1.1.1.1"], proxy, "1.1.1.1");
        check("10.0.0.1", &["6.6.6.6", "1.1.1.1, 10.2.2.2"], proxy, "1.1.1.1");
        check("10.0.0.1", &[], proxy, "10.0.0.1");
        check("10.0.0.1", &["nonsense"], proxy, "10.0.0.1");
        check("10.0.0.1", &["6.6.6.6, nonsense, 10.3.3.3"], proxy, "10.3.3.3");
        check("10.0.0.1", &["::ffff:1.1.1.1"], proxy, "1.1.1.1");
    }
}
