//! What a machine boots with, and the boot program that takes it to iPXE.
//!
//! The one table from DHCP option 93 to a program. The programs themselves come from Debian's
//! `ipxe` package at build time (`firmware/README.md`); a binary built without them says so.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The firmware that asks for a boot program, or runs one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Firmware {
    /// x86 BIOS with a UNDI option ROM.
    Bios,
    /// 64-bit x86 UEFI.
    Efi64,
}

impl Firmware {
    /// Every firmware that can be booted, for checks at load.
    pub const ALL: [Self; 2] = [Self::Bios, Self::Efi64];

    /// Reads an IANA processor architecture type (DHCP option 93, RFC 4578 section 2.1).
    ///
    /// The RFC's text and its errata swap 7 and 9, and both are sent by x64 firmware in the field.
    pub fn from_arch(arch: u16) -> Option<Self> {
        match arch {
            0x0000 => Some(Self::Bios),
            0x0007 | 0x0009 => Some(Self::Efi64),
            _ => None,
        }
    }

    /// What kind it is.
    pub fn platform(self) -> Platform {
        match self {
            Self::Bios => Platform::Bios,
            Self::Efi64 => Platform::Uefi,
        }
    }

    /// The program that TFTP hands to this firmware.
    ///
    /// UEFI gets `snponly.efi` because `ipxe.efi` with its own drivers hangs on VMware
    /// (ipxe/ipxe#1701, #624, #664).
    pub fn boot_program(self) -> &'static str {
        match self {
            Self::Bios => "undionly.kpxe",
            Self::Efi64 => "snponly.efi",
        }
    }
}

/// The kind of firmware, whatever the processor.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Told by iPXE as `pcbios`.
    Bios,
    /// Told by iPXE as `efi`.
    Uefi,
}

impl Platform {
    /// Reads iPXE's `${platform}`.
    pub fn from_ipxe(name: &str) -> Option<Self> {
        match name {
            "efi" => Some(Self::Uefi),
            "pcbios" => Some(Self::Bios),
            _ => None,
        }
    }
}

/// As a config names it.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        })
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Efi64 => "UEFI x64",
        })
    }
}

/// A boot program in this binary.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// Tells two builds of the same size apart.
    pub hash: u64,
    /// The program.
    pub bytes: &'static [u8],
}

/// The boot program of that name, if this binary was built with one.
pub fn embedded(name: &[u8]) -> Option<Embedded> {
    let found = EMBEDDED.iter().find(|(known, ..)| known.as_bytes() == name);
    found.map(|&(_, hash, bytes)| Embedded { hash, bytes })
}

// `EMBEDDED: &[(&str, u64, &[u8])]`, written by build.rs from what is in firmware/.
include!(concat!(env!("OUT_DIR"), "/firmware.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_x86_bios_and_x64_uefi_have_a_program() {
        let known: Vec<u16> =
            (0..=0xffff).filter(|&arch| Firmware::from_arch(arch).is_some()).collect();
        assert_eq!(known, [0, 7, 9]);
    }

    #[test]
    fn only_boot_programs_are_embedded() {
        for (name, _, bytes) in EMBEDDED {
            assert!(
                Firmware::ALL.iter().any(|firmware| firmware.boot_program() == *name),
                "{name}"
            );
            assert!(bytes.len() > 1024, "{name} is {} bytes", bytes.len());
        }
        assert!(embedded(b"nothing.efi").is_none());
    }
}
