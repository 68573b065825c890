//! Reads the bytes of blocks, and watches that the file stays what it was.

use std::{cell::RefCell, io, ops::Range, os::unix::fs::FileExt};

use crate::serve::store::{Content, Opened};

/// A file is looked at again after this many bytes, and before its last block.
const BETWEEN_LOOKS: u64 = 1 << 20;
/// Read at once for a client without a window: some blocks for one call.
const AHEAD: u64 = 8 << 10;

thread_local! {
    /// The bytes of one window. Shared by all transfers on this thread, since none waits while it
    /// holds them: 500 transfers need no 500 windows.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is sent.
pub(super) enum Sent {
    /// A file.
    File(Opened),
    /// A text that was made for whoever asks.
    Text(String),
}

impl Sent {
    /// Size in bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File(opened) => opened.stamp.len,
            Self::Text(text) => text.len() as u64,
        }
    }

    fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::File(Opened { content: Content::Embedded(bytes), .. }) => Some(bytes),
            Self::File(Opened { content: Content::File(_), .. }) => None,
            Self::Text(text) => Some(text.as_bytes()),
        }
    }
}

/// What is sent, read in order.
pub(super) struct Source {
    sent: Sent,
    since_look: u64,
    ahead: Vec<u8>,
    ahead_from: u64,
}

impl Source {
    pub(super) fn new(sent: Sent) -> Self {
        Self { sent, since_look: 0, ahead: Vec::new(), ahead_from: 0 }
    }

    /// Gives `send` these bytes, of a window; the error is the reason why the file cannot be sent.
    pub(super) fn window<T>(
        &mut self,
        bytes: Range<u64>,
        last: bool,
        send: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, String> {
        let Sent::File(Opened { content: Content::File(file), .. }) = &self.sent else {
            return self.block(bytes, last, send);
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let length = (bytes.end - bytes.start) as usize;
            if scratch.len() < length {
                scratch.resize(length, 0);
            }
            let data = &mut scratch[..length];
            file.read_exact_at(data, bytes.start).map_err(|error| unreadable(&error))?;
            look(&self.sent, &mut self.since_look, length, last)?;
            Ok(send(data))
        })
    }

    /// Gives `send` these bytes, of a single block, and reads on while the client is busy with it.
    pub(super) fn block<T>(
        &mut self,
        bytes: Range<u64>,
        last: bool,
        send: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, String> {
        let length = (bytes.end - bytes.start) as usize;
        if let Some(all) = self.sent.memory() {
            let start = bytes.start as usize;
            return Ok(send(all.get(start..start + length).unwrap_or_default()));
        }
        if !self.has_ahead(&bytes) {
            self.read_ahead(bytes.clone())?;
        }
        look(&self.sent, &mut self.since_look, length, last)?;
        let start = (bytes.start - self.ahead_from) as usize;
        let sent = send(&self.ahead[start..start + length]);
        let next = bytes.end..(bytes.end + length as u64).min(self.sent.len());
        if !self.has_ahead(&next) {
            self.read_ahead(next)?;
        }
        Ok(sent)
    }

    fn has_ahead(&self, bytes: &Range<u64>) -> bool {
        self.ahead_from <= bytes.start && bytes.end <= self.ahead_from + self.ahead.len() as u64
    }

    fn read_ahead(&mut self, bytes: Range<u64>) -> Result<(), String> {
        let Sent::File(Opened { content: Content::File(file), .. }) = &self.sent else {
            return Ok(());
        };
        let end = bytes.end.max(bytes.start + AHEAD).min(self.sent.len());
        self.ahead.resize((end - bytes.start) as usize, 0);
        self.ahead_from = bytes.start;
        file.read_exact_at(&mut self.ahead, bytes.start).map_err(|error| unreadable(&error))
    }
}

/// Looks at the file after it was read, so that nothing that changed before goes unnoticed.
fn look(sent: &Sent, since: &mut u64, length: usize, last: bool) -> Result<(), String> {
    *since += length as u64;
    if !last && *since < BETWEEN_LOOKS {
        return Ok(());
    }
    *since = 0;
    match sent {
        Sent::File(opened) if !opened.is_unchanged() => {
            Err("the file was changed or replaced".into())
        }
        Sent::File(_) | Sent::Text(_) => Ok(()),
    }
}

fn unreadable(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "the file was cut short".into();
    }
    format!("the file cannot be read: {error}")
}
