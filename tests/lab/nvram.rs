//! What a UEFI machine's firmware remembers: its boot order, written into a blank
//! variable store as its owner would set it in the firmware's menu. QEMU's own boot order
//! names devices only, and OVMF would try PXE and HTTP, IPv4 and IPv6, 70 s each, before
//! the disk.

use std::fs;
use std::path::Path;

use super::Failure;

/// A firmware's memory, as it is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// AAVMF's, which comes as zeros.
    Aavmf,
    /// OVMF's, without variables.
    Blank,
    /// OVMF's with Microsoft's keys, and Secure Boot on.
    Microsoft,
}

impl Store {
    /// What is in it.
    pub fn read(self) -> Result<Vec<u8>, Failure> {
        let file = match self {
            Self::Aavmf => return Ok(blank_arm64()),
            Self::Blank => "/usr/share/OVMF/OVMF_VARS_4M.fd",
            Self::Microsoft => "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
        };
        fs::read(file).map_err(|error| Failure::new(format!("{file}: {error}")))
    }
}

/// What stands first in the boot order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// HTTP Boot over IPv4, and nothing else.
    Http,
    /// PXE over IPv4, then the disk.
    PxeThenDisk,
}

/// The size of the flash that ARM64's firmware keeps its variables in.
pub const ARM64_FLASH: u64 = 64 << 20;

/// Where the first variable goes: after the volume's header and the store's.
const FIRST: usize = 0x48 + 0x1c;
/// EFI_GLOBAL_VARIABLE (UEFI 2.10 section 3.3), as it lies in memory.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// Kept, and visible before and after the operating system starts.
const ATTRIBUTES: u32 = 7;

/// The PCI slots of a machine whose firmware is given a boot order.
pub const NIC_SLOT: u8 = 4;
/// The disk controller's.
pub const DISK_SLOT: u8 = 5;

/// Bytes of a variable's header, and where in it the lengths of name and data are.
const HEADER: usize = 60;
const LENGTHS: usize = 36;
/// The state of a variable, its third byte: of one that stands, and the bit that deleting clears.
const STANDS: u8 = 0x3f;
const DELETED: u8 = 0xfd;

/// Writes a store in which this comes first, on the card `mac`.
pub fn write(mut store: Vec<u8>, first: First, mac: &str, to: &Path) -> Result<(), Failure> {
    let mut card = Vec::new();
    for byte in mac.split(':') {
        let byte = u8::from_str_radix(byte, 16);
        card.push(byte.map_err(|_| Failure::new(format!("{mac} is no MAC address")))?);
    }
    card.resize(32, 0);
    card.push(1); // Ethernet

    let network = [pci(NIC_SLOT), node(3, 11, &card), node(3, 12, &[0; 23])].concat();
    let http = [&network[..], &node(3, 24, &[])].concat();
    let disk = [pci(DISK_SLOT), node(3, 2, &[0; 4])].concat();
    let variables = match first {
        First::Http => {
            [variable("Boot0000", &load_option("http", &http)), variable("BootOrder", &[0, 0])]
                .concat()
        }
        First::PxeThenDisk => [
            variable("Boot0000", &load_option("network", &network)),
            variable("Boot0001", &load_option("disk", &disk)),
            variable("BootOrder", &[0, 0, 1, 0]),
        ]
        .concat(),
    };

    let end = drop_boot_order(&mut store)?;
    let place = &mut store[end..end + variables.len()];
    if place.iter().any(|&byte| byte != 0xff) {
        return Err(Failure::new("a variable store that has no room"));
    }
    place.copy_from_slice(&variables);
    fs::write(to, store)?;
    Ok(())
}

/// A volume of three blocks with an empty store in the first, as AAVMF formats its flash:
/// EFI_FIRMWARE_VOLUME_HEADER and edk2's VARIABLE_STORE_HEADER.
fn blank_arm64() -> Vec<u8> {
    const BLOCK: u32 = 0x4_0000;
    const VOLUME: [u8; 16] = [
        0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f,
        0x50,
    ];
    const STORE: [u8; 16] = [
        0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77,
        0x92,
    ];
    let mut bytes = vec![0; 16];
    bytes.extend(VOLUME);
    bytes.extend(u64::from(3 * BLOCK).to_le_bytes());
    bytes.extend(b"_FVH");
    bytes.extend([0x36, 0x0e, 0, 0]); // readable and writable, erased to ones
    bytes.extend([0x48, 0, 0xf8, 0xf8]); // length and checksum of this header
    bytes.extend([0, 0, 0, 2]); // revision
    bytes.extend([0x100, BLOCK, 0, 0].map(u32::to_le_bytes).concat());
    bytes.extend(STORE);
    bytes.extend((BLOCK - 0x48).to_le_bytes());
    bytes.extend([0x5a, 0xfe]); // formatted and healthy
    bytes.resize(FIRST, 0);
    bytes.resize(BLOCK as usize, 0xff);
    bytes
}

/// Writes a copy of [`Store::Microsoft`] that knows one more certificate, as the machine's owner would
/// enroll it in the firmware's menu.
pub fn with_key(certificate: &[u8], to: &Path) -> Result<(), Failure> {
    // EFI_CERT_X509_GUID (UEFI 2.10 section 32.4.1), as it lies in memory.
    const X509: [u8; 16] = [
        0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0,
        0x72,
    ];
    let mut store = Store::Microsoft.read()?;
    let mut found = None;
    let end = walk(&mut store, |name, at, end| {
        if name == utf16("db") {
            found = Some((at, end));
        }
        false
    })?;
    let (at, data_end) = found.ok_or_else(|| Failure::new("the store knows no key"))?;
    let mut variable = store[at..data_end].to_vec();
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or_default().to_le_bytes();
    // EFI_SIGNATURE_LIST with one EFI_SIGNATURE_DATA, whose owner is nobody.
    let one = 16 + certificate.len();
    for part in [&X509[..], &size(28 + one), &size(0), &size(one), &[0; 16], certificate] {
        variable.extend(part);
    }
    let place = LENGTHS + 4;
    let data = variable.len() - HEADER - utf16("db").len();
    variable[place..place + 4].copy_from_slice(&size(data));
    store[at + 2] &= DELETED;
    store[end..end + variable.len()].copy_from_slice(&variable);
    fs::write(to, store)?;
    Ok(())
}

/// Takes the boot order away that is there; returns where the last variable ends.
fn drop_boot_order(store: &mut [u8]) -> Result<usize, Failure> {
    let boot = utf16("Boot");
    walk(store, |name, _, _| name.starts_with(&boot[..boot.len() - 2]))
}

/// Shows each variable that stands, its name, where it begins and where its data ends, and deletes
/// it where the answer is yes; returns where the last one ends.
fn walk(
    store: &mut [u8],
    mut is_unwanted: impl FnMut(&[u8], usize, usize) -> bool,
) -> Result<usize, Failure> {
    let cut = || Failure::new("a variable store that is cut short");
    let mut at = FIRST;
    while store.get(at..at + 2).ok_or_else(cut)? == [0xaa, 0x55] {
        let header: [u8; HEADER] =
            store.get(at..at + HEADER).and_then(|it| it.try_into().ok()).ok_or_else(cut)?;
        let length = |place: usize| {
            let bytes = header[place..place + 4].try_into().unwrap_or_default();
            u32::from_le_bytes(bytes) as usize
        };
        let name_end = at + HEADER + length(LENGTHS);
        let end = name_end + length(LENGTHS + 4);
        let name = store.get(at + HEADER..name_end).ok_or_else(cut)?;
        if header[2] == STANDS && is_unwanted(name, at, end) {
            store[at + 2] &= DELETED;
        }
        at = end.next_multiple_of(4);
    }
    Ok(at)
}

/// AUTHENTICATED_VARIABLE_HEADER of edk2's VariableFormat.h, name and data.
fn variable(name: &str, data: &[u8]) -> Vec<u8> {
    let name = utf16(name);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes();
    let mut bytes = vec![0xaa, 0x55, 0x3f, 0]; // the start, and "added"
    bytes.extend(ATTRIBUTES.to_le_bytes());
    bytes.extend([0; 8 + 16 + 4]); // count, time and key: of no signature
    bytes.extend(length(&name));
    bytes.extend(length(data));
    bytes.extend(GLOBAL);
    bytes.extend(name);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0xff);
    bytes
}

/// EFI_LOAD_OPTION (UEFI 2.10 section 3.1.3), active, with one path.
fn load_option(description: &str, path: &[u8]) -> Vec<u8> {
    const PCI_ROOT: [u8; 8] = [0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0];
    let path = [&node(2, 1, &PCI_ROOT), path, &node(0x7f, 0xff, &[])].concat();
    let mut option = 1_u32.to_le_bytes().to_vec();
    option.extend(u16::try_from(path.len()).unwrap_or_default().to_le_bytes());
    option.extend(utf16(description));
    option.extend(path);
    option
}

fn pci(slot: u8) -> Vec<u8> {
    node(1, 1, &[0, slot])
}

/// One node of a device path (UEFI 2.10 section 10.3).
fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).unwrap_or_default().to_le_bytes();
    [&[kind, subtype, length[0], length[1]], data].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}
