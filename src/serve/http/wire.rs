//! The socket under hyper: reads with a clock, writes bytes as they are and files by sendfile.
//!
//! A file is looked at before each system call. When it is no longer the one whose length and
//! validators were promised, the write fails and the connection ends short, so that the client
//! knows. What the kernel has taken by then it holds by reference: only a file replaced by rename
//! is safe from mixing, with any server that uses sendfile.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use hyper::{
    header::{DATE, HeaderValue},
    rt::{Read, ReadBufCursor, Write},
};
use nix::sys::sendfile::sendfile64;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::yield_now,
    time::{Instant, Sleep, sleep},
};

use super::{
    super::store::{Content, Opened},
    Limits,
    body::is_hole,
};
use crate::{
    http::reply::{Refusal, Reply, SERVER_NAME},
    trace::End,
};

/// What one connection may send before the others have their turn.
const TURN: usize = 16 * 1024 * 1024;
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
}

/// Bytes of a file that fill the next hole.
pub(super) struct Section {
    opened: Arc<Opened>,
    offset: u64,
    left: usize,
    /// Bytes since the file was looked at.
    unseen: usize,
}

impl Line {
    /// Queues what fills the next hole.
    pub(super) fn queue(&self, section: Section) {
        self.sections().push_back(section);
    }

    /// Notes that a request was read to its end.
    pub(super) fn note_request(&self) {
        self.asked.store(true, Ordering::Relaxed);
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

/// The socket of one connection.
pub(super) struct Wire {
    stream: TcpStream,
    line: Arc<Line>,
    patience: Pin<Box<Sleep>>,
    head: Duration,
    idle: Duration,
    mid_head: bool,
    corked: bool,
    /// Bytes sent since the last turn of the others.
    turn: usize,
    /// Our words in place of hyper's, as far as they are not sent.
    words: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, line: Arc<Line>, limits: &Limits) -> Self {
        let Limits { head, idle, .. } = *limits;
        let patience = Box::pin(sleep(head));
        Self {
            stream,
            line,
            patience,
            head,
            idle,
            mid_head: false,
            corked: false,
            turn: 0,
            words: Vec::new(),
        }
    }

    /// The socket alone.
    pub(super) fn into_stream(self) -> TcpStream {
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
        self.poll_send(cx, |stream| SockRef::from(stream).send_vectored(&bufs[..plain]))
    }

    /// Corked, the kernel sends full packets only: the end of one call to sendfile and the start of
    /// the next share one.
    fn cork(&mut self, corked: bool) -> io::Result<()> {
        if self.corked != corked {
            SockRef::from(&self.stream).set_tcp_cork(corked)?;
            self.corked = corked;
        }
        Ok(())
    }

    /// Fills up to `len` bytes of a hole.
    fn poll_file(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        if self.turn >= TURN {
            self.turn = 0;
            // Unlike the waker, this wakes no second worker to steal the task.
            let _ = pin!(yield_now()).poll(cx);
            return Poll::Pending;
        }
        let line = Arc::clone(&self.line);
        let mut sections = line.sections();
        let section = sections.front_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
        let count = section.next(len);
        section.look(count)?;
        let sent = ready!(self.poll_send(cx, |stream| section.send(stream, count)))?;
        section.offset += sent as u64;
        section.left -= sent;
        section.unseen += sent;
        if section.left == 0 {
            sections.pop_front();
            self.cork(false)?;
        }
        self.turn += sent;
        Poll::Ready(Ok(sent))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.stream.poll_write_ready(cx)?.is_pending() {
                self.turn = 0;
                return Poll::Pending;
            }
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Sends what is left of our own words.
    fn poll_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.words.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.words))?;
            self.words.drain(..sent);
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
    pub(super) fn new(opened: Arc<Opened>, offset: u64, left: usize) -> Self {
        Self { opened, offset, left, unseen: UNSEEN }
    }

    /// Looks whether the file is still the one that was promised: now and then, and before its end.
    fn look(&mut self, count: usize) -> io::Result<()> {
        if self.unseen < UNSEEN && count < self.left {
            return Ok(());
        }
        self.unseen = 0;
        if self.opened.is_unchanged() { Ok(()) } else { Err(changed()) }
    }

    /// How much the next system call sends of a hole of `len` bytes.
    fn next(&self, len: usize) -> usize {
        let len = len.min(self.left);
        if self.left <= SHORT { len } else { len.min(self.left - TAIL) }
    }

    fn send(&self, stream: &TcpStream, count: usize) -> io::Result<usize> {
        let Content::File(file) = &self.opened.content else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut offset = i64::try_from(self.offset).map_err(io::Error::other)?;
        match sendfile64(stream, file, Some(&mut offset), count)? {
            // It was cut.
            0 => Err(changed()),
            sent => Ok(sent),
        }
    }
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
            this.mid_head = false;
            this.patience.as_mut().reset(Instant::now() + this.idle);
        }
        let mut bytes = [0; 4096];
        let room = into.remaining().min(bytes.len());
        let mut read = ReadBuf::new(&mut bytes[..room]);
        if Pin::new(&mut this.stream).poll_read(cx, &mut read)?.is_pending() {
            ready!(this.patience.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if !this.mid_head {
            this.mid_head = true;
            this.patience.as_mut().reset(Instant::now() + this.head);
        }
        into.put_slice(read.filled());
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
        Pin::new(&mut this.stream).poll_shutdown(cx)
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
    match HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        Ok(date) => reply.with(DATE, date),
        Err(_) => reply,
    }
    .to_bytes()
}
