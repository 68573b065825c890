//! A name beneath the repository's root, cleaned once for TFTP, HTTP and the config alike.
//!
//! Works on bytes: firmware sends names that are not UTF-8. Says what may be looked up, never
//! whether it exists; the open itself is held beneath the root by the kernel (`serve::store`).

use std::fmt;

/// The longest name that is looked up, in bytes; the TFTP and URL names in the field stay far below.
const LONGEST: usize = 1024;

/// A relative path without empty, `.` or `..` components and without control characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepositoryPath(Vec<u8>);

impl RepositoryPath {
    /// Reads a name as clients write it: leading and doubled slashes are dropped (shim asks for
    /// `//grubx64.efi`, coreos-install of 2016 for `/coreos//1122.2.0/…`).
    pub fn parse(name: &[u8]) -> Result<Self, PathError> {
        if name.len() > LONGEST {
            return Err(PathError::TooLong);
        }
        if let Some(&control) = name.iter().find(|byte| byte.is_ascii_control()) {
            return Err(PathError::Control(control));
        }
        let mut clean = Vec::with_capacity(name.len());
        for component in name.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathError::Parent),
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(component);
        }
        if clean.is_empty() || name.ends_with(b"/") {
            return Err(PathError::Directory);
        }
        Ok(Self(clean))
    }

    /// The path relative to the root, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folder it is in; `None` for what lies in the root.
    pub fn parent(&self) -> Option<Self> {
        let end = self.0.iter().rposition(|&byte| byte == b'/')?;
        Some(Self(self.0[..end].to_owned()))
    }

    /// A name below it.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        Self::parse(&[&self.0, &b"/"[..], name].concat())
    }

    /// The last component.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|&byte| byte == b'/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

/// Why a name is not looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathError {
    /// A control character, NUL among them.
    Control(u8),
    /// The root itself, or a name that ends in a slash: there are no listings.
    Directory,
    /// A `..` component.
    Parent,
    /// Over 1024 bytes.
    TooLong,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(byte) => write!(f, "has the control character 0x{byte:02x}"),
            Self::Directory => f.write_str("names a directory, and there are no listings"),
            Self::Parent => f.write_str("climbs with \"..\""),
            Self::TooLong => write!(f, "is longer than {LONGEST} bytes"),
        }
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_write_is_cleaned() {
        for (name, clean) in [
            ("/coreos//1122.2.0/version.txt", "coreos/1122.2.0/version.txt"),
            ("undionly.kpxe", "undionly.kpxe"),
            ("//debian/./grubx64.efi", "debian/grubx64.efi"),
            ("/..a/b..", "..a/b.."),
        ] {
            assert_eq!(
                RepositoryPath::parse(name.as_bytes()).unwrap().as_bytes(),
                clean.as_bytes()
            );
        }
        let high = RepositoryPath::parse(b"/a/\xff\xfe").unwrap();
        assert_eq!(high.as_bytes(), b"a/\xff\xfe");
        assert_eq!(high.file_name(), b"\xff\xfe");
    }

    #[test]
    fn what_leaves_the_root_or_names_no_file_is_refused() {
        for (name, error) in [
            (&b"/../etc/passwd"[..], PathError::Parent),
            (b"/a/..", PathError::Parent),
            (b"", PathError::Directory),
            (b"/", PathError::Directory),
            (b"/./", PathError::Directory),
            (b"/coreos/", PathError::Directory),
            (b"/a\0b", PathError::Control(0)),
            (b"/a\nb", PathError::Control(b'\n')),
            (&[b'a'; LONGEST + 1], PathError::TooLong),
        ] {
            assert_eq!(RepositoryPath::parse(name), Err(error));
        }
    }
}
