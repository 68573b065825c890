//! Reads the bytes of blocks, and watches that the file stays what it was.

use std::{io, ops::Range, os::unix::fs::FileExt, sync::Arc};

use crate::serve::{
    disk::Held,
    store::{Content, Opened},
};

/// A file is looked at again after this many bytes, and before its last block.
const BETWEEN_LOOKS: u64 = 1 << 20;
/// Read at once for a client without a window: some blocks for one job of the disk.
const AHEAD: u64 = 16 << 10;

/// What is sent.
pub(super) enum Sent {
    /// A file.
    File(Arc<Held>),
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
            Self::File(held) => match &held.content {
                Content::Embedded(bytes) => Some(bytes),
                Content::File(_) => None,
            },
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

    /// These bytes of a window, or of a block and then more than those; the error is the reason why
    /// the file cannot be sent.
    pub(super) async fn bytes(&mut self, bytes: Range<u64>, last: bool) -> Result<&[u8], String> {
        let length = (bytes.end - bytes.start) as usize;
        if self.sent.memory().is_none() {
            self.since_look += length as u64;
            let is_due = last || self.since_look >= BETWEEN_LOOKS;
            if is_due || !self.has_ahead(&bytes) {
                self.read(bytes.clone(), is_due).await?;
            }
            let start = (bytes.start - self.ahead_from) as usize;
            return Ok(&self.ahead[start..start + length]);
        }
        let start = bytes.start as usize;
        let all = self.sent.memory().unwrap_or_default();
        Ok(all.get(start..start + length).unwrap_or_default())
    }

    /// Gives back the memory of a window: 500 transfers need no 500 windows between two ACKs.
    pub(super) fn forget(&mut self) {
        self.ahead = Vec::new();
    }

    fn has_ahead(&self, bytes: &Range<u64>) -> bool {
        self.ahead_from <= bytes.start && bytes.end <= self.ahead_from + self.ahead.len() as u64
    }

    async fn read(&mut self, bytes: Range<u64>, is_due: bool) -> Result<(), String> {
        let Sent::File(held) = &self.sent else { return Ok(()) };
        let end = bytes.end.max(bytes.start + AHEAD).min(self.sent.len());
        let wanted = (!self.has_ahead(&bytes)).then_some(bytes.start..end);
        let (opened, area) = (Arc::clone(held), held.area().clone());
        let read = move || read(&opened, wanted, is_due);
        if let Some(ahead) = area.read(read).await.map_err(|stall| stall.to_string())?? {
            (self.ahead, self.ahead_from) = (ahead, bytes.start);
        }
        if is_due {
            self.since_look = 0;
        }
        Ok(())
    }
}

/// Reads what is wanted, and looks at the file afterwards where that is due, so that nothing that
/// changed before goes unnoticed.
fn read(
    opened: &Opened,
    wanted: Option<Range<u64>>,
    is_due: bool,
) -> Result<Option<Vec<u8>>, String> {
    let ahead = match (wanted, &opened.content) {
        (Some(range), Content::File(file)) => {
            let mut ahead = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut ahead, range.start).map_err(|error| unreadable(&error))?;
            Some(ahead)
        }
        (Some(_), Content::Embedded(_)) | (None, _) => None,
    };
    match is_due && !opened.is_unchanged() {
        true => Err("the file was changed or replaced".into()),
        false => Ok(ahead),
    }
}

fn unreadable(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "the file was cut short".into();
    }
    format!("the file cannot be read: {error}")
}
