//! A plain TFTP client with windows (RFC 7440), the same for every server it is pointed at.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

/// What to fetch, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) server: SocketAddr,
    pub(crate) name: &'a str,
    /// `None`: not asked for, 512.
    pub(crate) block_size: Option<u16>,
    /// `None`: not asked for, 1.
    pub(crate) window: Option<u16>,
}

/// Silence after which the last packet is sent again, and how often in a row.
const WAIT: Duration = Duration::from_millis(400);
const TRIES: u32 = 30;

impl Fetch<'_> {
    /// Fetches the file; `sink` is given each block in order.
    pub(crate) fn run(&self, sink: impl FnMut(&[u8])) -> io::Result<u64> {
        let socket = UdpSocket::bind((self.server.ip(), 0))?;
        socket.set_read_timeout(Some(WAIT))?;
        self.run_on(&socket, sink)
    }

    /// The read request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut packet = [b"\0\x01", self.name.as_bytes(), b"\0octet\0"].concat();
        for (option, value) in [("blksize", self.block_size), ("windowsize", self.window)] {
            if let Some(value) = value {
                packet.extend(format!("{option}\0{value}\0").bytes());
            }
        }
        packet
    }

    fn run_on(&self, socket: &UdpSocket, mut sink: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut buffer = vec![0; 65_536];
        let (length, server) = self.ask(socket, &mut buffer)?;
        socket.connect(server)?;
        let mut transfer = Transfer { block_size: 512, window: 1, ..Transfer::default() };
        let mut answer = transfer.take(&buffer[..length], &mut sink)?;
        let mut silent = 0;
        while !transfer.done {
            if answer {
                socket.send(&transfer.ack())?;
            }
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    answer = transfer.take(&buffer[..length], &mut sink)?;
                    silent = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && silent < TRIES => {
                    silent += 1;
                    transfer.in_window = 0;
                    answer = true;
                }
                Err(error) => return Err(error),
            }
        }
        socket.send(&transfer.ack())?;
        Ok(transfer.bytes)
    }

    fn ask(&self, socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let request = self.request();
        for _ in 0..TRIES {
            socket.send_to(&request, self.server)?;
            match socket.recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

#[derive(Default)]
struct Transfer {
    block_size: usize,
    window: u32,
    last: u16,
    in_window: u32,
    /// A gap was told; what follows it is not told again.
    told_gap: bool,
    bytes: u64,
    done: bool,
}

impl Transfer {
    fn ack(&self) -> [u8; 4] {
        let [high, low] = self.last.to_be_bytes();
        [0, 4, high, low]
    }

    /// Takes a packet; true where it is to be acknowledged now.
    fn take(&mut self, packet: &[u8], sink: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        match packet {
            [0, 3, high, low, data @ ..] => {
                if u16::from_be_bytes([*high, *low]) != self.last.wrapping_add(1) {
                    self.in_window = 0;
                    return Ok(!std::mem::replace(&mut self.told_gap, true));
                }
                self.told_gap = false;
                self.last = self.last.wrapping_add(1);
                self.bytes += data.len() as u64;
                sink(data);
                self.in_window += 1;
                self.done = data.len() < self.block_size;
                let full = self.in_window == self.window;
                if full {
                    self.in_window = 0;
                }
                Ok(full && !self.done)
            }
            [0, 5, _, code, text @ ..] => {
                let text = String::from_utf8_lossy(text);
                Err(io::Error::other(format!("error {code}: {text}")))
            }
            [0, 6, options @ ..] => {
                self.agree(options);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn agree(&mut self, options: &[u8]) {
        let options = String::from_utf8_lossy(options).to_lowercase();
        let words: Vec<&str> = options.split('\0').collect();
        for pair in words.chunks_exact(2) {
            match (pair[0], pair[1].parse()) {
                ("blksize", Ok(size)) => self.block_size = size,
                ("windowsize", Ok(window)) => self.window = window as u32,
                _ => {}
            }
        }
    }
}
