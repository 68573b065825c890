//! A lossy network: stands between clients and a TFTP server and drops packets in both directions.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::mutator::Random;

/// Stops its threads when dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Forwards to `server`, dropping `percent` of the packets each way.
    pub(crate) fn start(server: SocketAddr, percent: u64, seed: u64) -> io::Result<Self> {
        let front = UdpSocket::bind((server.ip(), 0))?;
        front.set_read_timeout(Some(Duration::from_millis(100)))?;
        let address = front.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || ask(&front, server, percent, seed, &stopped));
        Ok(Self { address, stop })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Forwards requests; each client gets a pair of sockets that stand for the transfer's ports.
fn ask(front: &UdpSocket, server: SocketAddr, percent: u64, seed: u64, stop: &Arc<AtomicBool>) {
    let mut random = Random(seed);
    let mut clients: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = front.recv_from(&mut buffer) else { continue };
        if random.next() % 100 < percent {
            continue;
        }
        let back = clients.entry(client).or_insert_with(|| {
            let [near, far] = [(); 2].map(|()| {
                let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                socket
            });
            near.connect(client).unwrap();
            let back = far.try_clone().unwrap();
            pump(near, far, percent, random.next(), stop);
            back
        });
        let _ = back.send_to(&buffer[..length], server);
    }
}

fn pump(near: UdpSocket, far: UdpSocket, percent: u64, seed: u64, stop: &Arc<AtomicBool>) {
    let (up, down) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let transfer: Arc<std::sync::Mutex<Option<SocketAddr>>> = Arc::default();
    let learned = Arc::clone(&transfer);
    let (stop_down, stop_up) = (Arc::clone(stop), Arc::clone(stop));
    thread::spawn(move || {
        let mut random = Random(seed | 1);
        let mut buffer = [0; 65_536];
        while !stop_down.load(Ordering::Relaxed) {
            let Ok((length, from)) = down.recv_from(&mut buffer) else { continue };
            *learned.lock().unwrap() = Some(from);
            if random.next() % 100 >= percent {
                let _ = near.send(&buffer[..length]);
            }
        }
    });
    thread::spawn(move || {
        let mut random = Random(seed.rotate_left(17) | 1);
        let mut buffer = [0; 2048];
        while !stop_up.load(Ordering::Relaxed) {
            let Ok(length) = up.recv(&mut buffer) else { continue };
            let to = *transfer.lock().unwrap();
            if random.next() % 100 >= percent
                && let Some(to) = to
            {
                let _ = far.send_to(&buffer[..length], to);
            }
        }
    });
}
