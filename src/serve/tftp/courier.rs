//! Carries what a session says from the file to the client.

use std::{
    io::{self, IoSlice},
    ops::Range,
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::UdpGsoSegment},
};
use socket2::SockRef;
use tokio::{io::Interest, net::UdpSocket};

use super::content::{Sent, Source};
use crate::{
    tftp::{self, Code, Flight, Session},
    trace::End,
};

/// Most of one send: what an IPv4 datagram holds, and the kernel's limit on its segments.
const LONGEST_SEND: u64 = 65_507;
const MOST_SEGMENTS: u64 = 64;
/// As long as any OACK and ERROR of ours: RFC 1350's block.
const LEAST_SEGMENT: u64 = 512;
/// What stands before the bytes of a block.
const HEADER: u64 = 4;

/// A client's socket, and the file that goes out through it.
pub(super) struct Courier {
    pub(super) socket: UdpSocket,
    source: Source,
    /// Whether the kernel cuts a send into datagrams of one block each.
    segments: bool,
}

impl Courier {
    pub(super) fn new(socket: UdpSocket, sent: Sent, session: &Session) -> Self {
        let mut courier = Self { socket, source: Source::new(sent), segments: false };
        // Segments would cut the OACK and an ERROR, too, where they are longer than a block.
        courier.segments = session.has_window()
            && session.block_size() >= LEAST_SEGMENT
            && courier.cut_at(session.block_size() + HEADER);
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
            match self.try_send(session, now.clone()).await {
                Ok(Ok(())) => blocks.start = now.end,
                Ok(Err(error)) if is_lost(&error) => blocks.start = now.end,
                Ok(Err(error)) => self.overcome(error).await?,
                Err(reason) => return Err(self.fail(reason)),
            }
        }
        if self.segments {
            self.source.forget();
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
            Err(error) if is_lost(&error) => Ok(()),
            Err(error) => Err(Self::unreachable(&error)),
        }
    }

    /// Sends these blocks at once: what the socket said, or why the file cannot be sent.
    async fn try_send(
        &mut self,
        session: &Session,
        blocks: Range<u64>,
    ) -> Result<io::Result<()>, String> {
        let bytes = session.bytes_of(blocks.clone());
        let last = session.ends_with(&blocks);
        let data = self.source.bytes(bytes, last).await?;
        Ok(match self.segments {
            true => send_window(&self.socket, blocks, data, session.block_size() as usize),
            false => send_block(&self.socket, blocks.start, data),
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

/// Whether the network lost what was sent, as a link that is down for a moment does: the session's
/// timer sends it again.
pub(super) fn is_lost(error: &io::Error) -> bool {
    let lost = [Errno::ENETUNREACH, Errno::ENETDOWN, Errno::EHOSTUNREACH, Errno::ENOBUFS];
    error.raw_os_error().is_some_and(|code| lost.contains(&Errno::from_raw(code)))
}

/// One send: a header before the bytes of each block, the last of which may have none.
fn send_window(
    socket: &UdpSocket,
    blocks: Range<u64>,
    data: &[u8],
    block_size: usize,
) -> io::Result<()> {
    let headers: Vec<[u8; 4]> = blocks.map(tftp::data_header).collect();
    let mut pieces = Vec::with_capacity(2 * headers.len());
    let mut chunks = data.chunks(block_size);
    for header in &headers {
        pieces.push(IoSlice::new(header));
        if let Some(chunk) = chunks.next() {
            pieces.push(IoSlice::new(chunk));
        }
    }
    send(socket, &pieces)
}

fn send_block(socket: &UdpSocket, block: u64, data: &[u8]) -> io::Result<()> {
    send(socket, &[IoSlice::new(&tftp::data_header(block)), IoSlice::new(data)])
}

fn send(socket: &UdpSocket, pieces: &[IoSlice<'_>]) -> io::Result<()> {
    socket.try_io(Interest::WRITABLE, || SockRef::from(socket).send_vectored(pieces))?;
    Ok(())
}
