//! Which processor a UEFI program is for, by its PE header.

use super::Firmware;

/// So much of a file holds its header; that of a kernel with an EFI stub, too.
pub const HEAD: usize = 4096;

/// The UEFI that starts this program; `None` of what is none, or for a processor we do not know.
pub fn made_for(head: &[u8]) -> Option<Firmware> {
    let dos = head.strip_prefix(b"MZ")?;
    let at: [u8; 4] = dos.get(0x3a..0x3e)?.try_into().ok()?;
    let at = usize::try_from(u32::from_le_bytes(at)).ok()?;
    let machine: [u8; 2] = head.get(at..)?.strip_prefix(b"PE\0\0")?.get(..2)?.try_into().ok()?;
    match u16::from_le_bytes(machine) {
        0x014c => Some(Firmware::Efi32),
        0x8664 => Some(Firmware::Efi64),
        0x01c0 | 0x01c2 | 0x01c4 => Some(Firmware::EfiArm32),
        0xaa64 => Some(Firmware::EfiArm64),
        0x6264 => Some(Firmware::EfiLoong64),
        0x5032 => Some(Firmware::EfiRiscv32),
        0x5064 => Some(Firmware::EfiRiscv64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::embedded;

    /// A header that says this machine, and nothing behind it.
    fn program(machine: u16) -> Vec<u8> {
        let mut head = vec![0; 0x86];
        head[..2].copy_from_slice(b"MZ");
        head[0x3c] = 0x80;
        head[0x80..0x84].copy_from_slice(b"PE\0\0");
        head[0x84..].copy_from_slice(&machine.to_le_bytes());
        head
    }

    #[test]
    fn a_uefi_program_says_which_processor_it_is_for() {
        for (machine, firmware) in [
            (0x14c, Some(Firmware::Efi32)),
            (0x8664, Some(Firmware::Efi64)),
            (0xaa64, Some(Firmware::EfiArm64)),
            (0x5064, Some(Firmware::EfiRiscv64)),
            (0x1234, None),
        ] {
            assert_eq!(made_for(&program(machine)), firmware, "{machine:x}");
        }
        if let Some(snponly) = embedded(b"snponly.efi") {
            assert_eq!(made_for(snponly.bytes), Some(Firmware::Efi64));
        }
        if let Some(undionly) = embedded(b"undionly.kpxe") {
            assert_eq!(made_for(undionly.bytes), None);
        }
    }

    #[test]
    fn a_header_that_lies_or_ends_early_is_none() {
        let whole = program(0x8664);
        for end in 0..whole.len() {
            assert_eq!(made_for(&whole[..end]), None, "{end}");
        }
        let mut far = whole;
        far[0x3c..0x40].fill(0xff);
        assert_eq!(made_for(&far), None);
    }
}
