//! Which processor a UEFI program is for, by its PE header.

use super::Firmware;
use crate::unified::{Processor, machine_type};

/// The machine type of a processor that there is neither a stub nor a kernel for.
const RISCV32: u16 = 0x5032;

/// The UEFI that starts this program; `None` of what is none, or for a processor we do not know.
pub fn made_for(head: &[u8]) -> Option<Firmware> {
    match machine_type(head)? {
        RISCV32 => Some(Firmware::EfiRiscv32),
        number => Some(match Processor::of_machine_type(number)? {
            Processor::Arm => Firmware::EfiArm32,
            Processor::Arm64 => Firmware::EfiArm64,
            Processor::LoongArch64 => Firmware::EfiLoong64,
            Processor::RiscV64 => Firmware::EfiRiscv64,
            Processor::X64 => Firmware::Efi64,
            Processor::X86 => Firmware::Efi32,
        }),
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
            (0x1c0, Some(Firmware::EfiArm32)),
            (0x1c4, Some(Firmware::EfiArm32)),
            (0xaa64, Some(Firmware::EfiArm64)),
            (0x5032, Some(Firmware::EfiRiscv32)),
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
