//! The boot programs in this binary.

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
    use crate::firmware::Firmware;

    #[test]
    fn only_boot_programs_are_embedded() {
        for (name, _, bytes) in EMBEDDED {
            assert!(
                Firmware::ALL.iter().any(|firmware| firmware.usual_programs().contains(name)),
                "{name}"
            );
            assert!(bytes.len() > 1024, "{name} is {} bytes", bytes.len());
        }
        assert!(embedded(b"nothing.efi").is_none());
    }
}
