//! A unified kernel image, composed for one machine: an EFI program that holds its kernel, its
//! initrds and its command line, for firmware that no iPXE is there for.
//!
//! The stub (systemd's, from the operator) finds what it starts in the sections that are added to it
//! here (UAPI group, "Unified Kernel Image"). Only its headers are made and the places reckoned: the
//! bytes of kernel and initrds never pass through this code.

mod header;
mod name;

use std::{fmt, sync::Arc};

use header::{Addition, Headers};
pub use header::{HEAD, NoKernel, Processor, Unfit, machine_type};
pub use name::Name;

/// What a stub of systemd says of itself, before its version.
const MARK: &[u8] = b"#### LoaderInfo: systemd-stub ";
/// The sections of an image, as the stub calls them.
const COMMAND_LINE: &[u8; 8] = b".cmdline";
const KERNEL: &[u8; 8] = b".linux\0\0";
const INITRD: &[u8; 8] = b".initrd\0";
/// How many of them there are.
const SECTIONS: usize = 3;
/// The kernel passes over zeros between the archives of an initrd, up to this multiple
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
const ARCHIVE_ALIGNMENT: u64 = 4;

/// A stub that images can be made with.
#[derive(Clone, Debug)]
pub struct Stub {
    processor: Processor,
    headers: Headers,
    /// What its headers are in, and changes.
    head: Vec<u8>,
    /// The rest, shared by all images.
    rest: Arc<[u8]>,
}

/// Where the bytes of an image come from, in their order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// The pieces, none of them empty.
    pub pieces: Vec<Piece>,
    /// Bytes of all of them.
    pub len: u64,
}

/// Some bytes of an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// These.
    Bytes(Vec<u8>),
    /// The whole initrd of this index, and its length.
    Initrd(usize, u64),
    /// The whole kernel, and its length.
    Kernel(u64),
    /// These, which all images of a stub share.
    Shared(Arc<[u8]>),
}

impl Stub {
    /// No stub comes near it, in bytes: systemd's have 70 to 200 KiB.
    pub const LARGEST: usize = 4 << 20;

    /// Reads a stub for this processor.
    pub fn read(bytes: &[u8], processor: Processor) -> Result<Self, Unfit> {
        if bytes.len() > Self::LARGEST {
            return Err(Unfit::NotAStub);
        }
        let headers = Headers::read(bytes)?;
        if Processor::of_machine_type(headers.processor) != Some(processor) {
            return Err(Unfit::Processor { has: headers.processor, wants: processor });
        }
        if !bytes.windows(MARK.len()).any(|part| part == MARK) {
            return Err(Unfit::NotAStub);
        }
        if [COMMAND_LINE, KERNEL, INITRD].iter().any(|name| headers.has_section(bytes, name)) {
            return Err(Unfit::Unified);
        }
        if headers.room() < SECTIONS {
            return Err(Unfit::NoRoom);
        }
        let (head, rest) = bytes.split_at_checked(headers.limit).ok_or(Unfit::NotEfi)?;
        Ok(Self { processor, headers, head: head.to_vec(), rest: rest.into() })
    }

    /// What it is for.
    pub fn processor(&self) -> Processor {
        self.processor
    }

    /// The image of a kernel and initrds of these lengths with this command line.
    pub fn image(&self, cmdline: &str, kernel: u64, initrds: &[u64]) -> Result<Image, TooLarge> {
        let mut layout = Layout::new(self);
        layout.section(COMMAND_LINE, &[Piece::Bytes(cmdline.as_bytes().to_vec())])?;
        layout.section(KERNEL, &[Piece::Kernel(kernel)])?;
        let initrds: Vec<Piece> =
            initrds.iter().enumerate().map(|(index, &len)| Piece::Initrd(index, len)).collect();
        if !initrds.is_empty() {
            layout.section(INITRD, &initrds)?;
        }
        layout.finish()
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Initrd(_, len) | Self::Kernel(len) => *len,
            Self::Shared(bytes) => bytes.len() as u64,
        }
    }
}

/// An image that is being laid out.
struct Layout<'a> {
    stub: &'a Stub,
    additions: Vec<Addition>,
    pieces: Vec<Piece>,
    /// Bytes so far, those of the stub among them.
    len: u64,
    /// Where the next section is loaded.
    address: u64,
}

impl<'a> Layout<'a> {
    fn new(stub: &'a Stub) -> Self {
        let (len, address) = (stub.head.len() as u64, stub.headers.end);
        let mut layout = Self { stub, additions: Vec::new(), pieces: Vec::new(), len, address };
        layout.push(Piece::Shared(Arc::clone(&stub.rest)));
        layout.pad(stub.headers.file_alignment);
        layout
    }

    fn section(&mut self, name: &'static [u8; 8], pieces: &[Piece]) -> Result<(), TooLarge> {
        let at = self.len;
        for piece in pieces {
            self.pad(ARCHIVE_ALIGNMENT);
            self.push(piece.clone());
        }
        let len = self.len.checked_sub(at).ok_or(TooLarge)?;
        self.pad(self.stub.headers.file_alignment);
        self.additions.push(Addition {
            name,
            address: small(self.address)?,
            len: small(len)?,
            at: small(at)?,
            file_len: small(self.len - at)?,
        });
        let end = self.address.checked_add(len).ok_or(TooLarge)?;
        self.address = aligned(end, self.stub.headers.alignment);
        Ok(())
    }

    fn pad(&mut self, alignment: u64) {
        let count = aligned(self.len, alignment) - self.len;
        // Smaller than an alignment: `Headers::read` takes none over 64 KiB.
        self.push(Piece::Bytes(vec![0; usize::try_from(count).unwrap_or_default()]));
    }

    fn push(&mut self, piece: Piece) {
        self.len = self.len.saturating_add(piece.len());
        match (self.pieces.last_mut(), piece) {
            (_, piece) if piece.len() == 0 => {}
            (Some(Piece::Bytes(last)), Piece::Bytes(bytes)) => last.extend(bytes),
            (_, piece) => self.pieces.push(piece),
        }
    }

    fn finish(self) -> Result<Image, TooLarge> {
        let mut head = self.stub.head.clone();
        self.stub.headers.add(&mut head, &self.additions, small(self.address)?);
        let mut pieces = self.pieces;
        pieces.insert(0, Piece::Bytes(head));
        Ok(Image { pieces, len: self.len })
    }
}

fn aligned(value: u64, alignment: u64) -> u64 {
    value.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
}

/// PE counts in 32 bits.
fn small(value: u64) -> Result<u32, TooLarge> {
    u32::try_from(value).map_err(|_| TooLarge)
}

/// Kernel and initrds are more than an EFI program can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its kernel and initrds have more than the 4 GiB that an EFI program can hold")
    }
}

impl std::error::Error for TooLarge {}

#[cfg(test)]
mod tests;
