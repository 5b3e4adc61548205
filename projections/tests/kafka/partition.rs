//! The network between publisher and broker is cut, and stands still, at random.

use super::broker::{Broker, wait_until};
use super::exchange::{Exchange, journal};
use super::expected;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{park_timeout, spawn};
use std::time::Duration;

/// A proxy in front of a broker.
struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The broker's port; 0: nobody is let through.
    port: AtomicU16,
    /// Bytes are kept and go nowhere.
    is_still: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        spawn(move || {
            for stream in listener.incoming() {
                accepting.serve(stream.unwrap());
            }
        });
        Proxy { address, shared }
    }

    fn cut(&self) {
        self.shared.port.store(0, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Shared {
    fn serve(self: &Arc<Shared>, client: TcpStream) {
        let port = self.port.load(Ordering::SeqCst);
        let Some(Ok(broker)) = (port > 0).then(|| TcpStream::connect(("127.0.0.1", port))) else { return };
        let mut streams = self.streams.lock().unwrap();
        for (from, to) in [(&client, &broker), (&broker, &client)] {
            streams.push(from.try_clone().unwrap());
            let (from, to, shared) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(self));
            spawn(move || shared.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            while self.is_still.load(Ordering::SeqCst) {
                park_timeout(Duration::from_millis(5));
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Both).ok();
    }
}

#[test]
fn a_network_that_is_cut_and_stands_still_loses_nothing_and_repeats_nothing() {
    let proxy = Proxy::start();
    let Some(broker) = Broker::start_behind(Some(proxy.address.clone())) else { return };
    let let_through = || proxy.shared.port.store(broker.proxied_port(), Ordering::SeqCst);
    let_through();
    let dir = tempfile::tempdir().unwrap();
    let mut exchange = Exchange::open(dir.path(), &proxy.address, 31);
    for round in 0..12 {
        let before = exchange.publisher.view().records();
        exchange.play(300);
        wait_until("something is published", || exchange.publisher.view().records() > before);
        exchange.play(100);
        if round % 3 == 2 {
            // Still, then cut: requests are on their way, and their answers are lost.
            proxy.shared.is_still.store(true, Ordering::SeqCst);
            exchange.play(300);
            proxy.cut();
            proxy.shared.is_still.store(false, Ordering::SeqCst);
        } else {
            proxy.cut();
            exchange.play(300);
        }
        let_through();
    }
    wait_until("all is published", || exchange.is_published());
    exchange.close();
    expected::check(&broker.address(), &journal(dir.path()));
}
