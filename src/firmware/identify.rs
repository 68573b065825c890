//! Which firmware a message comes from, by what it says and by what is known of those that say
//! something else.

use std::fmt;

use super::{Architecture, Firmware, Means};

/// What of a message tells the firmware.
#[derive(Clone, Copy, Debug)]
pub struct Clues<'a> {
    /// Option 93, 16 bits an architecture; empty where it is missing.
    pub architecture: &'a [u8],
    /// Option 60.
    pub vendor_class: &'a [u8],
    /// The hardware address.
    pub mac: [u8; 6],
    /// Option 97 behind its type.
    pub guid: Option<&'a [u8]>,
}

/// Why it is not known which boot program would do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unidentified {
    /// An architecture that we give nothing, and why.
    Foreign(&'static Architecture),
    /// It tells none.
    NoArchitecture,
    /// A number that is not registered.
    Unregistered(u16),
}

/// What Raspberry Pi's network cards begin with.
const RASPBERRY_PI: [[u8; 3]; 5] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0xd8, 0x3a, 0xdd],
    [0x2c, 0xcf, 0x67],
];
/// What an x86 BIOS is that asks by HTTP.
const BIOS_BY_HTTP: u16 = 20;
/// How its EEPROM's option 97 begins.
const RASPBERRY_PI_GUID: &[u8] = b"RPi";

/// How a client asks, by option 60; `None` where it does not want to boot by us.
pub fn means(vendor_class: &[u8]) -> Option<Means> {
    match vendor_class {
        class if class.starts_with(b"PXEClient") => Some(Means::Pxe),
        class if class.starts_with(b"HTTPClient") => Some(Means::Http),
        _ => None,
    }
}

/// Reads which firmware it is.
pub fn identify(clues: &Clues<'_>) -> Result<Firmware, Unidentified> {
    let numbers = || clues.architecture.chunks_exact(2).map(|a| u16::from_be_bytes([a[0], a[1]]));
    // Of several the first that we can boot.
    let first = numbers().find(|&number| of(number).is_ok()).or_else(|| numbers().next());
    let number = first.or_else(|| number_in_text(clues.vendor_class));
    // It says that it is an x86 BIOS; a UEFI on the same board says that it is ARM.
    if matches!(number, None | Some(0)) && clues.is_a_raspberry_pi() {
        return Ok(Firmware::RaspberryPi);
    }
    let number = number.ok_or(Unidentified::NoArchitecture)?;
    let number = match (number, means(clues.vendor_class)) {
        (0, Some(Means::Http)) => BIOS_BY_HTTP,
        _ => number,
    };
    of(number)
}

fn of(number: u16) -> Result<Firmware, Unidentified> {
    let row = Architecture::of(number).ok_or(Unidentified::Unregistered(number))?;
    row.firmware.map_err(|_| Unidentified::Foreign(row))
}

/// The number in `PXEClient:Arch:00007`: decimal by the specification. Hexadecimal by U-Boot, as its
/// letters tell, or that it would ask by HTTP and is a `PXEClient`.
fn number_in_text(vendor_class: &[u8]) -> Option<u16> {
    let at = vendor_class.windows(6).position(|six| six == b":Arch:")?;
    let text = std::str::from_utf8(vendor_class.get(at + 6..at + 11)?).ok()?;
    // A sign is no digit, and from_str_radix takes one.
    if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let hexadecimal = u16::from_str_radix(text, 16).ok();
    if text.bytes().any(|digit| !digit.is_ascii_digit()) {
        return hexadecimal;
    }
    let decimal: u16 = text.parse().ok()?;
    let fetches = Architecture::of(decimal).map_or(Means::Pxe, |row| row.means);
    match (means(vendor_class), fetches) {
        (Some(Means::Pxe), Means::Http) => hexadecimal,
        _ => Some(decimal),
    }
}

impl Clues<'_> {
    fn is_a_raspberry_pi(&self) -> bool {
        RASPBERRY_PI.iter().any(|maker| self.mac.starts_with(maker))
            || self.guid.is_some_and(|guid| guid.starts_with(RASPBERRY_PI_GUID))
    }
}

impl fmt::Display for Unidentified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(Architecture { number, name, firmware, .. }) => {
                let why = firmware.err().unwrap_or_default();
                write!(f, "{name} (option 93 is {number}): {why}")
            }
            Self::NoArchitecture => {
                f.write_str("it says neither in option 93 nor in option 60 what firmware it is")
            }
            Self::Unregistered(number) => {
                write!(f, "no boot program is known for architecture {number} (option 93)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::ARCHITECTURES;

    const QEMU: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const PI: [u8; 6] = [0xdc, 0xa6, 0x32, 0, 0, 1];

    fn firmware(
        architecture: &[u8],
        vendor_class: &str,
        mac: [u8; 6],
    ) -> Result<Firmware, Unidentified> {
        let vendor_class = vendor_class.as_bytes();
        identify(&Clues { architecture, vendor_class, mac, guid: None })
    }

    #[test]
    fn the_number_counts_and_the_text_where_there_is_none() {
        let text = "PXEClient:Arch:00000:UNDI:002001";
        for (architecture, class, expected) in [
            (&[0, 7][..], text, Ok(Firmware::Efi64)),
            (&[], text, Ok(Firmware::Bios)),
            (&[0], text, Ok(Firmware::Bios)),
            (&[], "PXEClient:Arch:00011:UNDI:003000", Ok(Firmware::EfiArm64)),
            (&[], "PXEClient:Arch:0001b:UNDI:003000", Ok(Firmware::EfiRiscv64)),
            (&[], "PXEClient:Arch:00016:UNDI:003000", Ok(Firmware::UbootArm64)),
            (&[], "HTTPClient:Arch:00016:UNDI:003016", Ok(Firmware::Efi64)),
            (&[], "PXEClient:Arch:+0007", Err(Unidentified::NoArchitecture)),
            (&[], "PXEClient:Arch:99999", Err(Unidentified::NoArchitecture)),
            (&[], "PXEClient", Err(Unidentified::NoArchitecture)),
            (&[0x12, 0x34], text, Err(Unidentified::Unregistered(0x1234))),
            (&[0, 0], "HTTPClient", Err(Unidentified::Foreign(&ARCHITECTURES[20]))),
            (&[0, 1, 0, 9], text, Ok(Firmware::Efi64)),
        ] {
            assert_eq!(firmware(architecture, class, QEMU), expected, "{architecture:?} {class}");
        }
    }

    #[test]
    fn a_raspberry_pi_is_no_bios_and_its_uefi_is_no_raspberry_pi() {
        let text = "PXEClient:Arch:00000:UNDI:002001";
        assert_eq!(firmware(&[0, 0], text, PI), Ok(Firmware::RaspberryPi));
        assert_eq!(firmware(&[], text, PI), Ok(Firmware::RaspberryPi));
        assert_eq!(firmware(&[0, 41], text, QEMU), Ok(Firmware::RaspberryPi));
        assert_eq!(firmware(&[0, 11], text, PI), Ok(Firmware::EfiArm64));
        // By IEEE's registry, the maker's own.
        for maker in ["b827eb", "dca632", "e45f01", "d83add", "2ccf67"] {
            let octet = |at| u8::from_str_radix(&maker[at..at + 2], 16).unwrap();
            let mac = [octet(0), octet(2), octet(4), 1, 2, 3];
            assert_eq!(firmware(&[0, 0], text, mac), Ok(Firmware::RaspberryPi), "{maker}");
        }
        let guid = Some(&b"RPi4\x12\x34"[..]);
        let clues = Clues { architecture: &[0, 0], vendor_class: b"PXEClient", mac: QEMU, guid };
        assert_eq!(identify(&clues), Ok(Firmware::RaspberryPi));
    }
}
