//! The service under test, in this process, on a free port of loopback.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use crate::{fake::Fake, mutator::Random};
use bootbox::http::route::Script;
use bootbox::serve::{
    drain::{self, Tap},
    http::Arrival,
    journal::Journal,
    site::Site,
    store::Store,
    tftp,
};
use tokio::{net::UdpSocket, sync::watch};

/// More than one block of any size.
pub(crate) const TEXT_LINES: usize = 100;

fn script(script: &Script, arrival: Arrival) -> String {
    let Script::Named(named) = script else { panic!("{script:?} has no name in TFTP") };
    let body = format!("{} asks {} for {named:?}\n", arrival.peer.ip(), arrival.local.ip());
    body.repeat(TEXT_LINES)
}

/// Ends the service and removes its folder when dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) root: PathBuf,
    tap: Tap,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Service {
    /// Serves a new, empty folder on a network of 1500 bytes; it wins over embedded boot programs.
    pub(crate) fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root =
            std::env::temp_dir().join(format!("bootbox-tftp-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let store = Store::open(Some(&root), Some(&root)).unwrap();

        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let socket = runtime.block_on(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = socket.local_addr().unwrap();
        let (tap, drain) = drain::channel();
        let thread = std::thread::spawn(move || {
            let (_sites, site) = watch::channel(Arc::new(Site::of(store)));
            let address = Ipv4Addr::LOCALHOST;
            let scripts = Arc::new(Fake(script));
            let journal = Journal::new();
            runtime.block_on(tftp::run(socket, address, 1500, site, journal, scripts, drain))
        });
        Self { address, root, tap, thread: Some(thread) }
    }

    /// Puts a file of `length` bytes there that no shifted or doubled block can imitate.
    pub(crate) fn file(&self, name: &str, length: usize) -> Vec<u8> {
        let bytes = noise(length);
        fs::write(self.root.join(name), &bytes).unwrap();
        bytes
    }

    /// Asks the service to finish, and waits until it has.
    pub(crate) fn drain(&mut self) {
        self.tap.open();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }

    /// The service's port, for the command lines of clients.
    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Where a client on the same machine is told to go.
    pub(crate) fn v4(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.address.port())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tap.open();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Bytes that look random and are the same in every run.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
