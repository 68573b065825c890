//! The headers of an EFI program: read once, and rewritten with sections added.
//!
//! Microsoft's "PE Format"; what EDK2's loader (BasePeCoffLib) looks at, and nothing else.

use std::fmt;

/// So much of a file holds its headers, as far as its machine type; those of a kernel with an EFI
/// stub, too.
pub const HEAD: usize = 4096;

/// Offset of the PE header's own offset.
const AT: usize = 0x3c;
/// From the PE signature to the optional header.
const COFF: usize = 24;
/// Size of one entry of the section table.
const ENTRY: usize = 40;
/// Offsets in the optional header, the same in both of its forms.
const ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
const SIZE_OF_IMAGE: usize = 56;
const SIZE_OF_HEADERS: usize = 60;
const CHECKSUM: usize = 64;
const SUBSYSTEM: usize = 68;
const EFI_APPLICATION: u16 = 10;
/// Which data directory holds the signature.
const SIGNATURE: usize = 4;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`.
const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Sections are loaded page by page.
const PAGE: u64 = 4096;
/// The least that PE has files aligned to.
const SECTOR: u64 = 512;

/// What an EFI program runs on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Processor {
    /// 32-bit ARM.
    Arm,
    /// 64-bit ARM.
    Arm64,
    /// 64-bit LoongArch.
    LoongArch64,
    /// 64-bit RISC-V.
    RiscV64,
    /// 64-bit x86.
    X64,
    /// 32-bit x86.
    X86,
}

/// Where things stand in a stub's headers.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    /// The machine type.
    pub(super) processor: u16,
    /// Where in memory the first added section goes.
    pub(super) end: u64,
    pub(super) alignment: u64,
    pub(super) file_alignment: u64,
    count_at: usize,
    optional: usize,
    /// Where the signature's directory entry stands, if there is one.
    signature: Option<usize>,
    table: usize,
    count: usize,
    /// Where the headers end, as the firmware reads them.
    pub(super) limit: usize,
}

/// One section to be added.
#[derive(Debug)]
pub(super) struct Addition {
    pub(super) name: &'static [u8; 8],
    pub(super) address: u32,
    pub(super) len: u32,
    pub(super) at: u32,
    pub(super) file_len: u32,
}

impl Processor {
    /// All that there is a stub for.
    const ALL: [Self; 6] =
        [Self::Arm, Self::Arm64, Self::LoongArch64, Self::RiscV64, Self::X64, Self::X86];

    /// The one whose stub has this name in systemd; `None` where it is no stub's.
    pub fn of_stub(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|processor| processor.stub().as_bytes() == name)
    }

    /// What systemd calls the stub for it.
    pub fn stub(self) -> &'static str {
        match self {
            Self::Arm => "linuxarm.efi.stub",
            Self::Arm64 => "linuxaa64.efi.stub",
            Self::LoongArch64 => "linuxloongarch64.efi.stub",
            Self::RiscV64 => "linuxriscv64.efi.stub",
            Self::X64 => "linuxx64.efi.stub",
            Self::X86 => "linuxia32.efi.stub",
        }
    }

    /// The one that PE's machine type means. ARM has three, and U-Boot starts them all.
    pub fn of_machine_type(number: u16) -> Option<Self> {
        match number {
            0x01c0 | 0x01c2 | 0x01c4 => Some(Self::Arm),
            0xaa64 => Some(Self::Arm64),
            0x6264 => Some(Self::LoongArch64),
            0x5064 => Some(Self::RiscV64),
            0x8664 => Some(Self::X64),
            0x014c => Some(Self::X86),
            _ => None,
        }
    }

    /// Whether firmware on this processor can start the kernel that begins so.
    pub fn starts(self, kernel: &[u8]) -> Result<(), NoKernel> {
        if kernel.starts_with(&[0x1f, 0x8b]) {
            return Err(NoKernel::Gzip);
        }
        let has = machine_type(kernel).ok_or(NoKernel::NotEfi)?;
        match Self::of_machine_type(has) == Some(self) {
            true => Ok(()),
            false => Err(NoKernel::Processor { has, wants: self }),
        }
    }
}

impl Headers {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unfit> {
        Self::parse(bytes).ok_or(Unfit::NotEfi)?
    }

    /// `None` where the bytes end too soon.
    fn parse(bytes: &[u8]) -> Option<Result<Self, Unfit>> {
        let pe = signature_at(bytes)?;
        let processor = machine_type(bytes)?;
        let count = usize::from(u16_at(bytes, pe + 6)?);
        let optional = pe + COFF;
        let directories = match u16_at(bytes, optional)? {
            0x010b => optional + 92,
            0x020b => optional + 108,
            _ => return None,
        };
        if u16_at(bytes, optional + SUBSYSTEM)? != EFI_APPLICATION {
            return Some(Err(Unfit::NotAStub));
        }
        let directory_count = u32_at(bytes, directories)? as usize;
        let table = optional + usize::from(u16_at(bytes, pe + 20)?);
        let signature = directories + 4 + 8 * SIGNATURE;
        let alignment = |at| u32_at(bytes, optional + at).map(u64::from);
        let (alignment, file_alignment) = (alignment(ALIGNMENT)?, alignment(FILE_ALIGNMENT)?);
        let is_sound = |alignment: u64| alignment.is_power_of_two() && alignment <= 16 * PAGE;
        if !is_sound(alignment) || !is_sound(file_alignment) {
            return None;
        }
        let mut limit = (u32_at(bytes, optional + SIZE_OF_HEADERS)? as usize).min(bytes.len());
        let mut end = 0;
        for index in 0..count {
            let entry = table + ENTRY * index;
            let [len, address, file_len, at] =
                [8, 12, 16, 20].map(|field| u32_at(bytes, entry + field));
            let (at, file_len) = (at? as usize, file_len?);
            if file_len > 0 {
                limit = limit.min(at);
            }
            if at.checked_add(file_len as usize)? > bytes.len() {
                return None;
            }
            end = end.max(u64::from(address?) + u64::from(len?.max(file_len)));
        }
        let alignment = alignment.max(PAGE);
        Some(Ok(Self {
            processor,
            end: end.next_multiple_of(alignment),
            alignment,
            file_alignment: file_alignment.max(SECTOR),
            count_at: pe + 6,
            optional,
            signature: (directory_count > SIGNATURE && signature + 8 <= table).then_some(signature),
            table,
            count,
            limit,
        }))
    }

    pub(super) fn has_section(&self, bytes: &[u8], name: &[u8; 8]) -> bool {
        (0..self.count).any(|index| {
            let entry = self.table + ENTRY * index;
            bytes.get(entry..entry + name.len()) == Some(name)
        })
    }

    /// For how many more sections there is room in the headers.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.table + ENTRY * self.count) / ENTRY
    }

    /// Adds the sections to the headers of a copy of the bytes that these were read of; `room` has
    /// been asked before. `end` is where the last one ends in memory.
    pub(super) fn add(&self, bytes: &mut [u8], additions: &[Addition], end: u32) {
        for (index, addition) in additions.iter().enumerate() {
            let mut entry = Vec::with_capacity(ENTRY);
            entry.extend(addition.name);
            let Addition { address, len, at, file_len, .. } = *addition;
            for field in [len, address, file_len, at, 0, 0, 0, READ_ONLY_DATA] {
                entry.extend(field.to_le_bytes());
            }
            put(bytes, self.table + ENTRY * (self.count + index), &entry);
        }
        let count = u16::try_from(self.count + additions.len()).unwrap_or(u16::MAX);
        put(bytes, self.count_at, &count.to_le_bytes());
        put(bytes, self.optional + SIZE_OF_IMAGE, &end.to_le_bytes());
        // Both would be wrong now; zero is "none".
        put(bytes, self.optional + CHECKSUM, &[0; 4]);
        if let Some(signature) = self.signature {
            put(bytes, signature, &[0; 8]);
        }
    }
}

/// The machine type of the EFI program that begins so; `None` of what is none.
pub fn machine_type(head: &[u8]) -> Option<u16> {
    u16_at(head, signature_at(head)? + 4)
}

/// Where "PE" stands.
fn signature_at(bytes: &[u8]) -> Option<usize> {
    let at = bytes.starts_with(b"MZ").then(|| u32_at(bytes, AT))?? as usize;
    // Far from the end of every number below.
    let is_near = at < 1 << 20;
    (is_near && bytes.get(at..at + 4)? == b"PE\0\0").then_some(at)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + new.len()) {
        place.copy_from_slice(new);
    }
}

/// As iPXE names it.
impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arm => "arm32",
            Self::Arm64 => "arm64",
            Self::LoongArch64 => "loong64",
            Self::RiscV64 => "riscv64",
            Self::X64 => "x86_64",
            Self::X86 => "i386",
        })
    }
}

/// Why images cannot be made with a stub.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// Its headers are full.
    NoRoom,
    /// It is an EFI program, and not systemd's stub.
    NotAStub,
    /// It is no EFI program.
    NotEfi,
    /// It is for another processor.
    Processor {
        /// Its machine type.
        has: u16,
        /// What it should be for.
        wants: Processor,
    },
    /// It has a kernel already.
    Unified,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("its headers have no room for more sections"),
            Self::NotAStub => f.write_str("is an EFI program, but not systemd's stub"),
            Self::NotEfi => f.write_str("is no EFI program, or only the beginning of one"),
            Self::Processor { has, wants } => {
                write!(f, "is for {}, not for {wants}", named(*has))
            }
            Self::Unified => f.write_str("is a unified kernel image already, not the stub alone"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Why a kernel cannot be started by a stub.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoKernel {
    /// It is packed.
    Gzip,
    /// It is no EFI program.
    NotEfi,
    /// It is for another processor.
    Processor {
        /// Its machine type.
        has: u16,
        /// What it should be for.
        wants: Processor,
    },
}

impl fmt::Display for NoKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip => f.write_str("is packed with gzip, which UEFI cannot start: gunzip it"),
            Self::NotEfi => f.write_str("is no kernel that UEFI can start (no EFI stub)"),
            Self::Processor { has, wants } => write!(f, "is for {}, not for {wants}", named(*has)),
        }
    }
}

impl std::error::Error for NoKernel {}

fn named(number: u16) -> String {
    Processor::of_machine_type(number)
        .map_or_else(|| format!("PE machine type {number:#06x}"), |processor| processor.to_string())
}
