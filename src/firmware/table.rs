//! The processor architecture types of DHCP option 93, and what each of them is to us.
//!
//! By IANA's registry (RFC 4578 section 2.1, RFC 5970 and what was added since). The RFC's text and
//! its errata swap 7 and 9, and both are sent by x64 firmware in the field.

use super::{Firmware, Means};

/// One architecture type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Architecture {
    /// Its number in option 93.
    pub number: u16,
    /// What it is called.
    pub name: &'static str,
    /// How who says so asks.
    pub means: Means,
    /// What it boots as, or why it is ignored.
    pub firmware: Result<Firmware, &'static str>,
}

const fn boots(number: u16, name: &'static str, firmware: Firmware) -> Architecture {
    Architecture { number, name, means: Means::Pxe, firmware: Ok(firmware) }
}

const fn by_http(number: u16, name: &'static str, firmware: Firmware) -> Architecture {
    Architecture { means: Means::Http, ..boots(number, name, firmware) }
}

const fn ignored(number: u16, name: &'static str, why: &'static str) -> Architecture {
    Architecture { number, name, means: Means::Pxe, firmware: Err(why) }
}

/// No longer made, and no boot program for it is built any more.
const GONE: &str = "nobody builds a boot program for it any more";
/// Made, but iPXE has no build for it.
const NO_BUILD: &str = "there is no build of iPXE for it";
/// Boots by a config of its own kind.
const OWN_WAY: &str = "it boots in a way of its own, which is not PXE's";

/// All that are registered, by their number.
pub static ARCHITECTURES: [Architecture; 42] = [
    boots(0, "x86 BIOS", Firmware::Bios),
    ignored(1, "NEC PC-98", GONE),
    ignored(2, "Itanium", GONE),
    ignored(3, "DEC Alpha", GONE),
    ignored(4, "Arc x86", GONE),
    ignored(5, "Intel Lean Client", GONE),
    boots(6, "x86 UEFI", Firmware::Efi32),
    boots(7, "x64 UEFI", Firmware::Efi64),
    ignored(8, "EFI Xscale", GONE),
    boots(9, "EBC, as some x64 UEFI says", Firmware::Efi64),
    boots(10, "ARM 32-bit UEFI", Firmware::EfiArm32),
    boots(11, "ARM 64-bit UEFI", Firmware::EfiArm64),
    ignored(12, "PowerPC Open Firmware", OWN_WAY),
    ignored(13, "PowerPC ePAPR", OWN_WAY),
    ignored(14, "POWER OPAL v3", OWN_WAY),
    by_http(15, "x86 UEFI HTTP Boot", Firmware::Efi32),
    by_http(16, "x64 UEFI HTTP Boot", Firmware::Efi64),
    by_http(17, "EBC HTTP Boot, as some x64 UEFI says", Firmware::Efi64),
    by_http(18, "ARM 32-bit UEFI HTTP Boot", Firmware::EfiArm32),
    by_http(19, "ARM 64-bit UEFI HTTP Boot", Firmware::EfiArm64),
    ignored(20, "x86 BIOS HTTP Boot", "there is no boot program that a BIOS loads by HTTP"),
    boots(21, "ARM 32-bit U-Boot", Firmware::UbootArm32),
    boots(22, "ARM 64-bit U-Boot", Firmware::UbootArm64),
    by_http(23, "ARM 32-bit U-Boot HTTP", Firmware::UbootArm32),
    by_http(24, "ARM 64-bit U-Boot HTTP", Firmware::UbootArm64),
    boots(25, "RISC-V 32-bit UEFI", Firmware::EfiRiscv32),
    by_http(26, "RISC-V 32-bit UEFI HTTP Boot", Firmware::EfiRiscv32),
    boots(27, "RISC-V 64-bit UEFI", Firmware::EfiRiscv64),
    by_http(28, "RISC-V 64-bit UEFI HTTP Boot", Firmware::EfiRiscv64),
    ignored(29, "RISC-V 128-bit UEFI", NO_BUILD),
    ignored(30, "RISC-V 128-bit UEFI HTTP Boot", NO_BUILD),
    ignored(31, "s390 Basic", OWN_WAY),
    ignored(32, "s390 Extended", OWN_WAY),
    ignored(33, "MIPS 32-bit UEFI", NO_BUILD),
    ignored(34, "MIPS 64-bit UEFI", NO_BUILD),
    ignored(35, "Sunway 32-bit UEFI", NO_BUILD),
    ignored(36, "Sunway 64-bit UEFI", NO_BUILD),
    ignored(37, "LoongArch 32-bit UEFI", NO_BUILD),
    ignored(38, "LoongArch 32-bit UEFI HTTP Boot", NO_BUILD),
    boots(39, "LoongArch 64-bit UEFI", Firmware::EfiLoong64),
    by_http(40, "LoongArch 64-bit UEFI HTTP Boot", Firmware::EfiLoong64),
    boots(41, "ARM rpiboot", Firmware::RaspberryPi),
];

impl Architecture {
    /// The row of a number; `None` for what is not registered.
    pub fn of(number: u16) -> Option<&'static Self> {
        ARCHITECTURES.get(usize::from(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_stands_at_its_own_number_and_no_other_has_one() {
        for (at, row) in ARCHITECTURES.iter().enumerate() {
            assert_eq!(usize::from(row.number), at, "{}", row.name);
        }
        let known = (0..=u16::MAX).filter(|&number| Architecture::of(number).is_some()).count();
        assert_eq!(known, ARCHITECTURES.len());
    }

    #[test]
    fn every_firmware_has_a_number_that_leads_to_it() {
        for firmware in Firmware::ALL {
            assert!(ARCHITECTURES.iter().any(|row| row.firmware == Ok(firmware)), "{firmware}");
        }
    }
}
