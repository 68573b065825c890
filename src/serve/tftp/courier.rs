//! Carries what a session says from the file to the client.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    ops::Range,
    os::unix::fs::FileExt,
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::UdpGsoSegment},
};
use socket2::SockRef;
use tokio::{io::Interest, net::UdpSocket};

use crate::{
    serve::store::{Content, Opened},
    tftp::{self, Code, Flight, Session},
    trace::End,
};

/// Most of one send: what an IPv4 datagram holds, and the kernel's limit on its segments.
const LONGEST_SEND: u64 = 65_507;
const MOST_SEGMENTS: u64 = 64;
/// A file is looked at again after this many bytes, and before its last block.
const BETWEEN_LOOKS: u64 = 1 << 20;
/// What stands before the bytes of a block.
const HEADER: u64 = 4;

thread_local! {
    /// The bytes of one send. Shared by all transfers on this thread, since none waits while it
    /// holds them: 500 transfers need no 500 windows.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A client's socket, and the file that goes out through it.
pub(super) struct Courier {
    pub(super) socket: UdpSocket,
    opened: Opened,
    /// Whether the kernel cuts a send into datagrams of one block each.
    segments: bool,
    since_look: u64,
}

impl Courier {
    pub(super) fn new(socket: UdpSocket, opened: Opened, session: &Session) -> Self {
        let mut courier = Self { socket, opened, segments: false, since_look: 0 };
        courier.segments = session.has_window() && courier.cut_at(session.block_size() + HEADER);
        courier
    }

    /// Sends a flight; the error is the end of the transfer.
    pub(super) async fn send(&mut self, session: &Session, flight: Flight) -> Result<(), End> {
        let mut blocks = match flight {
            Flight::Blocks(blocks) => blocks,
            Flight::Oack => return self.send_oack(session).await,
        };
        while !blocks.is_empty() {
            let most = self.most_blocks(session);
            let now = blocks.start..blocks.end.min(blocks.start + most);
            let bytes = session.bytes_of(now.clone());
            self.since_look += bytes.end - bytes.start;
            match self.try_send(session, now.clone(), bytes) {
                Ok(()) => blocks.start = now.end,
                Err(Trouble::File(reason)) => return Err(self.fail(reason)),
                Err(Trouble::Socket(error)) => self.overcome(error).await?,
            }
        }
        Ok(())
    }

    /// The end that an error of the socket means.
    pub(super) fn unreachable(error: &io::Error) -> End {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return End::Abort { reason: "it closed its port".into() };
        }
        End::Fail { reason: format!("cannot be sent: {error}") }
    }

    async fn send_oack(&self, session: &Session) -> Result<(), End> {
        match self.socket.send(session.oack()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Self::unreachable(&error)),
        }
    }

    fn try_send(
        &mut self,
        session: &Session,
        blocks: Range<u64>,
        bytes: Range<u64>,
    ) -> Result<(), Trouble> {
        let look = self.since_look >= BETWEEN_LOOKS || session.ends_with(&blocks);
        SCRATCH.with_borrow_mut(|scratch| {
            let data = read(&self.opened.content, bytes, scratch)
                .map_err(|error| Trouble::File(changed(&error)))?;
            // After the read, so that nothing changed before it goes unnoticed.
            if look {
                self.since_look = 0;
                if !self.opened.is_unchanged() {
                    return Err(Trouble::File("the file was changed or replaced".into()));
                }
            }
            send_blocks(&self.socket, blocks, data, session.block_size()).map_err(Trouble::Socket)
        })
    }

    /// Waits for room, or gives up segments where this network's device has no use for them.
    async fn overcome(&mut self, error: io::Error) -> Result<(), End> {
        if error.kind() == io::ErrorKind::WouldBlock {
            return self.socket.writable().await.map_err(|error| Self::unreachable(&error));
        }
        let refused = [Errno::EINVAL as i32, Errno::EIO as i32, Errno::EMSGSIZE as i32];
        if self.segments && error.raw_os_error().is_some_and(|code| refused.contains(&code)) {
            self.cut_at(0);
            self.segments = false;
            return Ok(());
        }
        Err(Self::unreachable(&error))
    }

    /// Tells the client that the file cannot be sent on.
    fn fail(&self, reason: String) -> End {
        let _ = self.socket.try_send(&tftp::error(Code::NotDefined, &reason));
        End::Fail { reason }
    }

    fn most_blocks(&self, session: &Session) -> u64 {
        if !self.segments {
            return 1;
        }
        (LONGEST_SEND / (session.block_size() + HEADER)).clamp(1, MOST_SEGMENTS)
    }

    fn cut_at(&self, length: u64) -> bool {
        i32::try_from(length)
            .is_ok_and(|length| setsockopt(&self.socket, UdpGsoSegment, &length).is_ok())
    }
}

/// What keeps blocks from leaving.
enum Trouble {
    File(String),
    Socket(io::Error),
}

fn changed(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "the file was cut short".into();
    }
    format!("the file cannot be read: {error}")
}

fn read<'a>(
    content: &'a Content,
    bytes: Range<u64>,
    scratch: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    match content {
        Content::Embedded(all) => usize::try_from(bytes.start)
            .ok()
            .zip(usize::try_from(bytes.end).ok())
            .and_then(|(start, end)| all.get(start..end))
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        Content::File(file) => {
            let length = (bytes.end - bytes.start) as usize;
            if scratch.len() < length {
                scratch.resize(length, 0);
            }
            let data = &mut scratch[..length];
            file.read_exact_at(data, bytes.start)?;
            Ok(data)
        }
    }
}

/// One send: a header before the bytes of each block, the last of which may have none.
fn send_blocks(
    socket: &UdpSocket,
    blocks: Range<u64>,
    data: &[u8],
    block_size: u64,
) -> io::Result<()> {
    let headers: Vec<[u8; 4]> = blocks.map(tftp::data_header).collect();
    let mut pieces = Vec::with_capacity(2 * headers.len());
    let mut chunks = data.chunks(block_size as usize);
    for header in &headers {
        pieces.push(IoSlice::new(header));
        if let Some(chunk) = chunks.next() {
            pieces.push(IoSlice::new(chunk));
        }
    }
    socket.try_io(Interest::WRITABLE, || SockRef::from(socket).send_vectored(&pieces))?;
    Ok(())
}
