//! The socket under hyper: reads with a clock, writes bytes as they are and files by sendfile.
//!
//! A file is looked at and sent by jobs on the disk's threads: what is not in the page cache is
//! read meanwhile, and may take for ever. It is looked at before each system call. When it is no longer the one whose length and
//! validators were promised, the write fails and the connection ends short, so that the client
//! knows. What the kernel has taken by then it holds by reference: only a file replaced by rename
//! is safe from mixing, with any server that uses sendfile.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use hyper::{
    header::DATE,
    rt::{Read, ReadBufCursor, Write},
};
use nix::sys::sendfile::sendfile64;
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::{
    super::{
        disk::{Area, Held},
        store::Content,
    },
    Limits,
    body::is_hole,
    room::Activity,
};
use crate::{
    http::{
        file::date_of,
        reply::{Refusal, Reply, SERVER_NAME},
    },
    trace::End,
};

/// How much may go unseen between two looks at a file: a look at each call costs 2 % of the speed.
const UNSEEN: usize = 8 * 1024 * 1024;
/// The end of a longer file goes by itself, after a last look at it.
const TAIL: usize = 4096;
/// Up to this size a file goes in one piece.
const SHORT: usize = 64 * 1024;

/// What the wire and the exchange of one connection tell each other.
#[derive(Default)]
pub(super) struct Line {
    sections: Mutex<VecDeque<Section>>,
    fault: OnceLock<End>,
    asked: AtomicBool,
    refused: AtomicBool,
    activity: Arc<Activity>,
}

/// Bytes of a file that fill the next hole.
pub(super) struct Section {
    opened: Arc<Held>,
    offset: u64,
    left: usize,
    /// Bytes since the file was looked at.
    unseen: usize,
}

impl Line {
    /// That of a connection which tells whether it is idle.
    pub(super) fn of(activity: Arc<Activity>) -> Self {
        Self { activity, ..Self::default() }
    }

    /// Queues what fills the next hole.
    pub(super) fn queue(&self, section: Section) {
        self.sections().push_back(section);
    }

    /// Notes that a request was read to its end.
    pub(super) fn note_request(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.activity.begins();
    }

    /// Notes that the last request was refused, perhaps before all of it was read.
    pub(super) fn note_refusal(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// What ended the connection, where that was neither hyper nor the client.
    pub(super) fn fault(&self) -> Option<&End> {
        self.fault.get()
    }

    fn sections(&self) -> MutexGuard<'_, VecDeque<Section>> {
        self.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that tells how many bytes the socket took.
type Sending = Pin<Box<dyn Future<Output = io::Result<usize>> + Send>>;

/// The socket of one connection.
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    line: Arc<Line>,
    patience: Pin<Box<Sleep>>,
    head: Duration,
    idle: Duration,
    mid_head: bool,
    corked: bool,
    /// The system call that fills the hole now.
    sending: Option<Sending>,
    /// Our words in place of hyper's, as far as they are not sent.
    words: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, line: Arc<Line>, limits: &Limits) -> Self {
        let Limits { head, idle, .. } = *limits;
        let patience = Box::pin(sleep(head));
        Self {
            stream: Arc::new(stream),
            line,
            patience,
            head,
            idle,
            mid_head: false,
            corked: false,
            sending: None,
            words: Vec::new(),
        }
    }

    /// The socket alone.
    pub(super) fn into_stream(self) -> Arc<TcpStream> {
        self.stream
    }

    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head waits for the first bytes of its file, so that both leave in full packets.
        let plain = bufs.iter().position(is_hole).unwrap_or(bufs.len());
        self.cork(plain < bufs.len())?;
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let send = || SockRef::from(&*self.stream).send_vectored(&bufs[..plain]);
            if let Some(sent) = settled(self.stream.try_io(Interest::WRITABLE, send)) {
                return Poll::Ready(sent);
            }
        }
    }

    /// Corked, the kernel sends full packets only: the end of one call to sendfile and the start of
    /// the next share one.
    fn cork(&mut self, corked: bool) -> io::Result<()> {
        if self.corked != corked {
            SockRef::from(&*self.stream).set_tcp_cork(corked)?;
            self.corked = corked;
        }
        Ok(())
    }

    /// Fills up to `len` bytes of a hole.
    fn poll_file(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        loop {
            let mut sending = match self.sending.take() {
                Some(sending) => sending,
                None => {
                    ready!(self.stream.poll_write_ready(cx))?;
                    self.begin(len)?
                }
            };
            let Poll::Ready(sent) = sending.as_mut().poll(cx) else {
                self.sending = Some(sending);
                return Poll::Pending;
            };
            if let Some(sent) = settled(sent) {
                return Poll::Ready(sent.and_then(|sent| self.has_sent(sent)));
            }
        }
    }

    /// Begins to send from the file of the next hole.
    fn begin(&self, len: usize) -> io::Result<Sending> {
        let mut sections = self.line.sections();
        let section = sections.front_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
        let count = section.next(len);
        let (is_due, offset) = (section.is_due(count), section.offset);
        let (opened, stream) = (Arc::clone(&section.opened), Arc::clone(&self.stream));
        let area: Area = opened.area().clone();
        let send = move || {
            if is_due && !opened.is_unchanged() {
                return Err(changed());
            }
            stream.try_io(Interest::WRITABLE, || send(&stream, &opened, offset, count))
        };
        Ok(Box::pin(async move {
            area.read(send).await.unwrap_or_else(|stall| Err(io::Error::other(stall.to_string())))
        }))
    }

    fn has_sent(&mut self, sent: usize) -> io::Result<usize> {
        let line = Arc::clone(&self.line);
        let mut sections = line.sections();
        let section = sections.front_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
        section.offset += sent as u64;
        section.left -= sent;
        section.unseen += sent;
        if section.left == 0 {
            sections.pop_front();
            self.cork(false)?;
        }
        Ok(sent)
    }

    fn poll_bytes_in(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            if let Some(read) = settled(self.stream.try_read(into)) {
                return Poll::Ready(read);
            }
        }
    }

    /// Sends what is left of our own words.
    fn poll_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.words.is_empty() {
            ready!(self.stream.poll_write_ready(cx))?;
            if let Some(sent) = settled(self.stream.try_write(&self.words)) {
                self.words.drain(..sent?);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_words(cx))?;
        let Some(first) = bufs.iter().find(|slice| !slice.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        if is_hole(first) {
            return self.poll_file(cx, first.len());
        }
        if let Some(refusal) = hypers_refusal(first) {
            self.line.note_refusal();
            self.words = words(&refusal);
            // hyper's words are taken; ours follow before anything else does.
            let _ = self.poll_words(cx)?;
            return Poll::Ready(Ok(first.len()));
        }
        self.poll_bytes(cx, bufs)
    }
}

impl Section {
    pub(super) fn new(opened: Arc<Held>, offset: u64, left: usize) -> Self {
        Self { opened, offset, left, unseen: UNSEEN }
    }

    /// Whether the file is to be looked at before so many bytes: now and then, and before its end.
    fn is_due(&mut self, count: usize) -> bool {
        let is_due = self.unseen >= UNSEEN || count >= self.left;
        if is_due {
            self.unseen = 0;
        }
        is_due
    }

    /// How much the next system call sends of a hole of `len` bytes.
    fn next(&self, len: usize) -> usize {
        let len = len.min(self.left);
        if self.left <= SHORT { len } else { len.min(self.left - TAIL) }
    }
}

fn send(stream: &TcpStream, opened: &Held, offset: u64, count: usize) -> io::Result<usize> {
    let Content::File(file) = &opened.content else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut offset = i64::try_from(offset).map_err(io::Error::other)?;
    match sendfile64(stream, file, Some(&mut offset), count)? {
        // It was cut.
        0 => Err(changed()),
        sent => Ok(sent),
    }
}

/// The result of a system call; `None` where it has to be tried again.
fn settled(result: io::Result<usize>) -> Option<io::Result<usize>> {
    let is_open = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
    };
    (!result.as_ref().is_err_and(is_open)).then_some(result)
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file changed meanwhile")
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper reads only when it waits for a head: the first one, or one after a reply.
        if this.line.asked.swap(false, Ordering::Relaxed) {
            this.line.activity.ends();
            this.mid_head = false;
            this.patience.as_mut().reset(Instant::now() + this.idle);
        }
        let mut bytes = [0; 4096];
        let room = into.remaining().min(bytes.len());
        let Poll::Ready(read) = this.poll_bytes_in(cx, &mut bytes[..room]) else {
            ready!(this.patience.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        let read = read?;
        if !this.mid_head {
            this.mid_head = true;
            this.patience.as_mut().reset(Instant::now() + this.head);
        }
        into.put_slice(&bytes[..read]);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = ready!(this.poll_vectored(cx, bufs));
        if let Err(error) = &sent {
            // The first fault counts.
            let _ = this.line.fault.set(end(error));
        }
        Poll::Ready(sent)
    }

    /// hyper queues slices for a vectored writer; for any other it would copy the hole.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_words(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_words(cx))?;
        Poll::Ready(SockRef::from(&*this.stream).shutdown(Shutdown::Write))
    }
}

/// How a download ends whose write failed.
fn end(error: &io::Error) -> End {
    let reason = error.to_string();
    #[expect(clippy::wildcard_enum_match_arm, reason = "ErrorKind is not exhaustive")]
    match error.kind() {
        io::ErrorKind::TimedOut => End::TimeOut,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => End::Abort { reason },
        _ => End::Fail { reason },
    }
}

/// Reads a reply that hyper made by itself, to a head that it could not parse. It has no body.
fn hypers_refusal(head: &[u8]) -> Option<Refusal> {
    let own = format!("Server: {SERVER_NAME}\r\n");
    let is_head = head.starts_with(b"HTTP/1.") && head.ends_with(b"\r\n\r\n");
    if !is_head || head.len() > 256 || head.windows(own.len()).any(|part| part == own.as_bytes()) {
        return None;
    }
    match head.get(9..12)? {
        b"400" => Some(Refusal::Broken),
        b"414" => Some(Refusal::LongTarget),
        b"431" => Some(Refusal::Headers),
        _ => None,
    }
}

fn words(refusal: &Refusal) -> Vec<u8> {
    let reply = Reply::refuse(refusal, b"this");
    match date_of(SystemTime::now()) {
        Some(date) => reply.with(DATE, date),
        None => reply,
    }
    .to_bytes()
}
