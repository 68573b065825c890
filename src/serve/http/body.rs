//! A reply's body as hyper holds it: a text, bytes of this binary, or a hole where a file goes.
//!
//! hyper frames bodies from `Buf`s and hands their slices to the wire. For a file that slice is
//! taken from one page range that nobody ever reads or writes, the hole: the wire knows it by its
//! address and sends as many bytes of the file instead.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    iter, mem,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Buf, Bytes, Frame, SizeHint};

use super::{
    super::{disk::Held, store::Content},
    download::Download,
    evidence::Evidence,
    wire::{Line, Section},
};
use crate::trace::End;

/// The most that one system call sends: what is not in the page cache is read from disk meanwhile.
const HOLE_LEN: usize = 2 * 1024 * 1024;
/// Zeroed by the kernel when touched, and never touched: address space, no memory.
static HOLE: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; HOLE_LEN].into_boxed_slice());

/// Whether a slice is part of the hole.
pub(super) fn is_hole(slice: &IoSlice<'_>) -> bool {
    !slice.is_empty() && HOLE.as_ptr_range().contains(&slice.as_ptr())
}

/// The body of a reply.
pub(super) enum ReplyBody {
    Empty,
    Guarded(Guarded),
    Part(Part),
    Pieces(Pieces),
    Text(Bytes),
}

/// A body of several pieces, whose last one may have to wait for something.
pub(super) struct Pieces {
    left: VecDeque<Piece>,
    wait: Option<Wait>,
}

/// The end of a body waits for this.
type Wait = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One of several pieces of a body.
pub(super) enum Piece {
    Bytes { left: Bytes, download: Arc<Download> },
    File(Part),
}

/// Bytes of a file.
pub(super) struct Part {
    pub(super) opened: Arc<Held>,
    pub(super) line: Arc<Line>,
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) download: Arc<Download>,
}

/// Bytes of a file whose last one has to wait for something.
pub(super) struct Guarded {
    before: Option<Part>,
    last: Part,
    wait: Wait,
}

/// What hyper frames and queues.
pub(super) enum Chunk {
    Bytes { left: Bytes, download: Arc<Download> },
    Hole { left: usize, download: Arc<Download> },
    Memory { left: &'static [u8], download: Arc<Download> },
    Text(Bytes),
}

impl Part {
    /// The same, but its last byte leaves only when the kernel has taken all others and the ledger
    /// knows that the machine may have the whole file.
    pub(super) fn guarded(self, evidence: Evidence) -> Guarded {
        let Self { opened, line, start, len, download } = self;
        let before = len.saturating_sub(1);
        let part = |start, len| Self {
            opened: Arc::clone(&opened),
            line: Arc::clone(&line),
            start,
            len,
            download: Arc::clone(&download),
        };
        let watched = Arc::clone(&download);
        let wait = Box::pin(async move {
            watched.taken(before).await;
            evidence.last_byte().await
        });
        Guarded {
            before: Some(part(start, before)),
            last: part(start + before, len - before),
            wait,
        }
    }

    fn into_chunk(self) -> Option<Chunk> {
        let Self { opened, line, start, len, download } = self;
        let left = usize::try_from(len).ok().filter(|&left| left > 0)?;
        if let Content::Embedded(bytes) = opened.content {
            let start = usize::try_from(start).ok()?;
            let left = bytes.get(start..start.checked_add(left)?)?;
            return Some(Chunk::Memory { left, download });
        }
        line.queue(Section::new(opened, start, left));
        Some(Chunk::Hole { left, download })
    }
}

impl Pieces {
    /// These; where there is evidence, the ledger must know before the last of them leaves.
    pub(super) fn new(left: VecDeque<Piece>, evidence: Option<Evidence>) -> Self {
        let wait = evidence.map(|evidence| {
            let wait: Wait = Box::pin(async move { evidence.last_byte().await });
            wait
        });
        Self { left, wait }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, io::Error>>> {
        if self.left.len() <= 1
            && let Some(wait) = &mut self.wait
        {
            let noted = ready!(wait.as_mut().poll(cx));
            self.wait = None;
            if let Err(reason) = noted {
                self.left.clear();
                return Poll::Ready(Some(Err(io::Error::other(reason))));
            }
        }
        let chunk = iter::from_fn(|| self.left.pop_front()).find_map(Piece::into_chunk);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

impl Piece {
    fn into_chunk(self) -> Option<Chunk> {
        match self {
            Self::Bytes { left, download } => Some(Chunk::Bytes { left, download }),
            Self::File(part) => part.into_chunk(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Bytes { left, .. } => left.len() as u64,
            Self::File(part) => part.len,
        }
    }
}

impl Guarded {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, io::Error>> {
        if let Some(chunk) = self.before.take().and_then(Part::into_chunk) {
            return Poll::Ready(Ok(Some(chunk)));
        }
        match ready!(self.wait.as_mut().poll(cx)) {
            Ok(()) => Poll::Ready(Ok(None)),
            Err(reason) => {
                self.last.download.ends(End::Fail { reason: reason.clone() });
                Poll::Ready(Err(io::Error::other(reason)))
            }
        }
    }
}

impl Body for ReplyBody {
    type Data = Chunk;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, io::Error>>> {
        if let Self::Guarded(guarded) = &mut *self {
            match ready!(guarded.poll(cx)) {
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
                Ok(None) => {}
                Err(error) => {
                    *self = Self::Empty;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        if let Self::Pieces(pieces) = &mut *self {
            return pieces.poll(cx);
        }
        let chunk = match mem::replace(&mut *self, Self::Empty) {
            Self::Empty => None,
            Self::Guarded(Guarded { last, .. }) => last.into_chunk(),
            Self::Part(part) => part.into_chunk(),
            Self::Pieces(_) => None,
            Self::Text(text) => Some(Chunk::Text(text)),
        };
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Guarded(_) => false,
            Self::Part(part) => part.len == 0,
            Self::Pieces(pieces) => pieces.left.is_empty(),
            Self::Text(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Empty => 0,
            Self::Guarded(Guarded { before, last, .. }) => {
                before.as_ref().map_or(0, |before| before.len) + last.len
            }
            Self::Part(part) => part.len,
            Self::Pieces(pieces) => pieces.left.iter().map(Piece::len).sum(),
            Self::Text(text) => text.len() as u64,
        })
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes { left, .. } => left.len(),
            Self::Hole { left, .. } => *left,
            Self::Memory { left, .. } => left.len(),
            Self::Text(text) => text.len(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes { left, .. } => left,
            Self::Hole { left, .. } => &HOLE[..HOLE_LEN.min(*left)],
            Self::Memory { left, .. } => left,
            Self::Text(text) => text,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes { left, download } => {
                left.advance(count);
                download.sent(count);
            }
            Self::Hole { left, download } => {
                *left = left.saturating_sub(count);
                download.sent(count);
            }
            Self::Memory { left, download } => {
                *left = left.get(count..).unwrap_or_default();
                download.sent(count);
            }
            Self::Text(text) => text.advance(count),
        }
    }
}
