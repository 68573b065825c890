//! Files that a machine boots: whether a kernel is one that a loader starts, and whether an initrd is
//! none. Looks at the first bytes alone.

use super::Severity;

/// So many bytes of a file are looked at.
pub const HEAD: usize = 1024;

/// The kind of a file, by its first bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Looks {
    /// A RAM disk or another archive, by its name.
    Archive(&'static str),
    /// A module of Syslinux.
    Com32,
    /// It has no bytes.
    Empty,
    /// Compressed by gzip: an initrd, or a kernel of ARM64.
    Gzip,
    /// A page that says that there is no such file, or a list of files.
    Html,
    /// A program of UEFI that is no kernel of Linux by its header.
    Efi,
    /// A script of iPXE.
    IpxeScript,
    /// A kernel of Linux for x86.
    Linux,
    /// A file that Git LFS has not fetched.
    LfsPointer,
    /// Anything else.
    Unknown,
}

impl Looks {
    /// The kind that begins with these bytes.
    pub fn of(head: &[u8]) -> Self {
        let archives: [(&[u8], &str); 9] = [
            (b"070701", "a cpio archive"),
            (b"070702", "a cpio archive"),
            (b"\xc7\x71", "a cpio archive"),
            (b"\xfd7zXZ\0", "compressed by xz"),
            (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
            (b"BZh", "compressed by bzip2"),
            (b"\x02\x21\x4c\x18", "compressed by lz4"),
            (b"hsqs", "a squashfs image"),
            (b"MSWIM\0\0\0", "a WIM image"),
        ];
        if head.is_empty() {
            return Self::Empty;
        }
        if let Some((_, what)) = archives.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Self::Archive(what);
        }
        let start = head.trim_ascii_start();
        let begins = |text: &[u8]| {
            start.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
        };
        match () {
            () if begins(b"<!doctype") || begins(b"<html") || begins(b"<?xml") => Self::Html,
            () if head.starts_with(b"version https://git-lfs") => Self::LfsPointer,
            () if head.starts_with(b"#!ipxe") || head.starts_with(b"#!gpxe") => Self::IpxeScript,
            () if head.get(0x202..0x206) == Some(b"HdrS") => Self::Linux,
            () if head.starts_with(b"\x1f\x8b") => Self::Gzip,
            () if head.starts_with(b"\xb8\xff\x4c\xcd\x21") => Self::Com32,
            () if head.starts_with(b"MZ") => Self::Efi,
            () => Self::Unknown,
        }
    }

    /// The fault that it has as a kernel.
    pub fn kernel_fault(self) -> Option<(Severity, String)> {
        let error = |text: &str| Some((Severity::Error, text.to_owned()));
        match self {
            Self::Archive(what) => Some((
                Severity::Error,
                format!("is {what}, and no kernel; are kernel and initrd swapped?"),
            )),
            Self::Com32 => error(
                "is a module of Syslinux (COM32), and no kernel: iPXE as Debian builds it has no \
                 COMBOOT. On UEFI, ESXi's kernel is efi/boot/bootx64.efi",
            ),
            Self::Empty => error("has no bytes; copy it again"),
            Self::Gzip => Some((
                Severity::Warning,
                "is compressed by gzip, and no loader here starts that but GRUB on ARM64; are kernel \
                 and initrd swapped? A kernel is to be unpacked"
                    .to_owned(),
            )),
            Self::Html => error("is a web page that was saved in its place; fetch it again"),
            Self::IpxeScript => Some((
                Severity::Warning,
                "is an iPXE script, which is started anew 20 times when it ends; write chain = \
                 instead of kernel ="
                    .to_owned(),
            )),
            Self::LfsPointer => error("is a pointer of Git LFS, and not the file; run git lfs pull"),
            Self::Efi | Self::Linux | Self::Unknown => None,
        }
    }

    /// The fault that it has as an initrd of this kernel.
    pub fn initrd_fault(self) -> Option<(Severity, String)> {
        let error = |text: &str| Some((Severity::Error, text.to_owned()));
        match self {
            Self::Empty => error("has no bytes; copy it again"),
            Self::Html => error("is a web page that was saved in its place; fetch it again"),
            Self::LfsPointer => {
                error("is a pointer of Git LFS, and not the file; run git lfs pull")
            }
            Self::Linux => Some((
                Severity::Warning,
                "is a kernel of Linux; are kernel and initrd swapped?".to_owned(),
            )),
            Self::Archive(_)
            | Self::Com32
            | Self::Efi
            | Self::Gzip
            | Self::IpxeScript
            | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_none_is_told_by_its_first_bytes() {
        let linux = [&[0x4d, 0x5a][..], &[0; 0x200], b"HdrS", &[0; 64]].concat();
        for (head, kernel, initrd) in [
            (&b""[..], Some(Severity::Error), Some(Severity::Error)),
            (b"\n<!DOCTYPE html><title>404", Some(Severity::Error), Some(Severity::Error)),
            (b"<HTML>", Some(Severity::Error), Some(Severity::Error)),
            (b"070701000", Some(Severity::Error), None),
            (b"\xfd7zXZ\0x", Some(Severity::Error), None),
            (b"\x28\xb5\x2f\xfdx", Some(Severity::Error), None),
            (b"\x1f\x8b\x08", Some(Severity::Warning), None),
            (b"#!ipxe\nboot", Some(Severity::Warning), None),
            (b"\xb8\xff\x4c\xcd\x21", Some(Severity::Error), None),
            (
                b"version https://git-lfs.github.com/spec/v1",
                Some(Severity::Error),
                Some(Severity::Error),
            ),
            (&linux, None, Some(Severity::Warning)),
            (b"MZ\0\0", None, None),
            (b"\x7fELF", None, None),
            (b"KKKKKKKK", None, None),
        ] {
            let looks = Looks::of(head);
            assert_eq!(looks.kernel_fault().map(|it| it.0), kernel, "{looks:?}");
            assert_eq!(looks.initrd_fault().map(|it| it.0), initrd, "{looks:?}");
        }
    }
}
