//! What GRUB calls otherwise than iPXE, whose words are a machine's labels: a group selects by them,
//! whichever of the two has told.

/// The label, GRUB's word (`$grub_cpu` and `$grub_platform`) and iPXE's (`${buildarch}` and
/// `${platform}`); all others are the same.
const WORDS: [(&str, &str, &str); 3] =
    [("arch", "arm", "arm32"), ("arch", "loongarch64", "loong64"), ("platform", "pc", "pcbios")];

/// iPXE's word for what GRUB tells by this label.
pub fn from_grub<'a>(label: &str, word: &'a str) -> &'a str {
    let known = WORDS.iter().find(|(name, grub, _)| (*name, *grub) == (label, word));
    known.map_or(word, |(_, _, ipxe)| ipxe)
}

/// GRUB's word for what iPXE tells by this label.
pub fn to_grub<'a>(label: &str, word: &'a str) -> &'a str {
    let known = WORDS.iter().find(|(name, _, ipxe)| (*name, *ipxe) == (label, word));
    known.map_or(word, |(_, grub, _)| grub)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::{Firmware, Platform};

    #[test]
    fn grub_and_ipxe_mean_the_same_machine() {
        for (label, grub, ipxe) in [
            ("arch", "arm", "arm32"),
            ("arch", "arm64", "arm64"),
            ("arch", "i386", "i386"),
            ("arch", "loongarch64", "loong64"),
            ("arch", "x86_64", "x86_64"),
            ("platform", "efi", "efi"),
            ("platform", "pc", "pcbios"),
            ("product", "pc", "pc"),
            ("serial", "arm32", "arm32"),
        ] {
            assert_eq!(from_grub(label, grub), ipxe, "{label}");
            assert_eq!(to_grub(label, ipxe), grub, "{label}");
        }
        for processor in Firmware::ALL.into_iter().filter_map(Firmware::processor) {
            let processor = processor.to_string();
            assert_eq!(from_grub("arch", to_grub("arch", &processor)), processor);
        }
        assert_eq!(Platform::from_ipxe(from_grub("platform", "pc")), Some(Platform::Bios));
    }
}
