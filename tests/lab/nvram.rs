//! What a UEFI machine's firmware remembers: its boot order, written into a blank
//! variable store as its owner would set it in the firmware's menu. QEMU's own boot order
//! names devices only, and OVMF would try PXE and HTTP, IPv4 and IPv6, 70 s each, before
//! the disk.

use std::fs;
use std::path::Path;

use super::Failure;

/// A store without variables.
pub const BLANK: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// One with Microsoft's keys, and Secure Boot on.
pub const MICROSOFT: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

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

/// Writes a copy of the store `from` in which PXE over IPv4 on the card `mac` comes first, the disk
/// second.
pub fn network_then_disk(mac: &str, from: &str, to: &Path) -> Result<(), Failure> {
    let mut card = Vec::new();
    for byte in mac.split(':') {
        let byte = u8::from_str_radix(byte, 16);
        card.push(byte.map_err(|_| Failure::new(format!("{mac} is no MAC address")))?);
    }
    card.resize(32, 0);
    card.push(1); // Ethernet

    let network = [pci(NIC_SLOT), node(3, 11, &card), node(3, 12, &[0; 23])].concat();
    let disk = [pci(DISK_SLOT), node(3, 2, &[0; 4])].concat();
    let variables = [
        variable("Boot0000", &load_option("network", &network)),
        variable("Boot0001", &load_option("disk", &disk)),
        variable("BootOrder", &[0, 0, 1, 0]),
    ]
    .concat();

    let mut store = fs::read(from).map_err(|error| Failure::new(format!("{from}: {error}")))?;
    let end = drop_boot_order(&mut store)?;
    let place = &mut store[end..end + variables.len()];
    if place.iter().any(|&byte| byte != 0xff) {
        return Err(Failure::new(format!("{from} has no room")));
    }
    place.copy_from_slice(&variables);
    fs::write(to, store)?;
    Ok(())
}

/// Takes the boot order away that is there; returns where the last variable ends.
fn drop_boot_order(store: &mut [u8]) -> Result<usize, Failure> {
    const DELETED: u8 = 0xfd;
    let cut = || Failure::new("a variable store that is cut short");
    let mut at = FIRST;
    while store.get(at..at + 2).ok_or_else(cut)? == [0xaa, 0x55] {
        let header: [u8; HEADER] =
            store.get(at..at + HEADER).and_then(|it| it.try_into().ok()).ok_or_else(cut)?;
        let length = |place: usize| {
            let bytes = header[place..place + 4].try_into().unwrap_or_default();
            u32::from_le_bytes(bytes) as usize
        };
        let (name, data) = (length(LENGTHS), length(LENGTHS + 4));
        let begin = utf16("Boot");
        if store[at + HEADER..].starts_with(&begin[..begin.len() - 2]) {
            store[at + 2] &= DELETED;
        }
        at = (at + HEADER + name + data).next_multiple_of(4);
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
