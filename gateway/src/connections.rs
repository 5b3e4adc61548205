//! How many connections one address may have open, so that it cannot take all of them.

use crate::auth::one_customer;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Open connections by address.
#[derive(Debug)]
pub(crate) struct Connections {
    /// Of one address; 0 for any number.
    max: u32,
    /// Proxies, which stand for many.
    trusted: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, u32>>,
}

impl Connections {
    pub(crate) fn new(max: u32, trusted: Vec<IpNet>) -> Arc<Connections> {
        Arc::new(Connections { max, trusted, open: Mutex::default() })
    }

    /// A place for a connection from there until it is dropped; `None` when the address has all it may have.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let counted = self.max > 0 && !self.trusted.iter().any(|network| network.contains(&address));
        let address = one_customer(address);
        if counted {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let own = open.entry(address).or_default();
            if *own >= self.max {
                return None;
            }
            *own += 1;
        }
        Some(Place { connections: Arc::clone(self), counted: counted.then_some(address) })
    }
}

/// A connection's place.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    counted: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.counted else { return };
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&address) {
            *own -= 1;
            if *own == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_no_more_and_proxies_have_any_number() {
        let connections = Connections::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let [one, mapped, other, proxy] =
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "10.0.0.1"].map(|text| text.parse().unwrap());
        let held = [connections.take(one).unwrap(), connections.take(mapped).unwrap()];
        assert!(connections.take(one).is_none());
        drop(connections.take(other).unwrap());
        let proxied: Vec<_> = (0..9).map(|_| connections.take(proxy).unwrap()).collect();
        drop((held, proxied));
        assert!(connections.open.lock().unwrap().is_empty(), "nobody is remembered");
        let any = Connections::new(0, Vec::new());
        assert!((0..9).map(|_| any.take(one)).collect::<Vec<_>>().iter().all(Option::is_some));
    }
}
