//! A name beneath the repository's root, cleaned once for TFTP, HTTP and the config alike.
//!
//! Works on bytes: firmware sends names that are not UTF-8. Says what may be looked up, never
//! whether it exists; the open itself is held beneath the root by the kernel (`serve::store`).

use std::fmt;

/// The longest name that is looked up, in bytes; the TFTP and URL names in the field stay far below.
const LONGEST: usize = 1024;
/// The longest that is looked up where TFTP asks for it, and so the longest that GRUB is told.
pub const LONGEST_BY_TFTP: usize = 255;

/// All but RFC 3986's "unreserved" and the slash: firmware reads the URL, and so does iPXE, which splits
/// a line at spaces and expands `${…}`.
const IN_URL: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'/')
    .remove(b'_')
    .remove(b'~');

/// A relative path without empty, `.` or `..` components and without control characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepositoryPath(Vec<u8>);

impl RepositoryPath {
    /// Reads a name as clients write it: leading and doubled slashes are dropped (shim asks for
    /// `//grubx64.efi`, coreos-install of 2016 for `/coreos//1122.2.0/…`).
    pub fn parse(name: &[u8]) -> Result<Self, PathError> {
        let clean = clean(name)?;
        if clean.is_empty() || name.ends_with(b"/") {
            return Err(PathError::Directory);
        }
        Ok(Self(clean))
    }

    /// The path of the folder it lies in, `None` in the root itself.
    pub fn folder(&self) -> Option<Self> {
        let end = self.0.iter().rposition(|&byte| byte == b'/')?;
        Some(Self(self.0[..end].to_vec()))
    }

    /// The path relative to the root, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it is written in a URL, without a leading slash.
    pub fn in_url(&self) -> impl fmt::Display + '_ {
        percent_encoding::percent_encode(&self.0, IN_URL)
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

/// The path of a URL: a name beneath the root, or a folder where it ends in a slash.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UrlPath(Vec<u8>);

impl UrlPath {
    /// Reads a path as clients write it, decoded; cleaned like [`RepositoryPath::parse`].
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        let mut clean = clean(path)?;
        clean.insert(0, b'/');
        if path.ends_with(b"/") && clean.len() > 1 {
            clean.push(b'/');
        }
        Ok(Self(clean))
    }

    /// With its leading slash, and the one at its end where it is a folder.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The file of that name; `None` of a folder.
    pub fn file(&self) -> Option<RepositoryPath> {
        RepositoryPath::parse(&self.0).ok()
    }

    /// Whether it lies in the folder of `other`, or is it. The root is no such folder: all is in it.
    pub fn is_beside(&self, other: &Self) -> bool {
        let end = other.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        self == other || (end > 0 && self.0.starts_with(&other.0[..=end]))
    }
}

impl From<&RepositoryPath> for UrlPath {
    fn from(path: &RepositoryPath) -> Self {
        Self([b"/", path.as_bytes()].concat())
    }
}

impl fmt::Display for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

fn clean(name: &[u8]) -> Result<Vec<u8>, PathError> {
    if name.len() > LONGEST {
        return Err(PathError::TooLong);
    }
    if let Some(&control) = name.iter().find(|byte| byte.is_ascii_control()) {
        return Err(PathError::Control(control));
    }
    let mut clean = Vec::with_capacity(name.len() + 2);
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
    Ok(clean)
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
    fn in_a_url_nothing_is_left_that_its_readers_could_take_for_theirs() {
        for (name, url) in [
            ("/a/linux-6.1_~x.efi", "a/linux-6.1_~x.efi"),
            ("a b?#%&+;=", "a%20b%3F%23%25%26%2B%3B%3D"),
            ("${evil}||\u{fc}", "%24%7Bevil%7D%7C%7C%C3%BC"),
        ] {
            assert_eq!(RepositoryPath::parse(name.as_bytes()).unwrap().in_url().to_string(), url);
        }
    }

    #[test]
    fn a_folder_is_told_from_a_file_of_its_name() {
        let path = |path: &str| UrlPath::parse(path.as_bytes()).unwrap();
        for (written, clean) in
            [("/coreos//", "/coreos/"), ("//coreos/./x", "/coreos/x"), ("/", "/"), ("", "/")]
        {
            assert_eq!(path(written).to_string(), clean);
        }
        assert_ne!(path("/coreos/"), path("/coreos"));
        assert_eq!(path("/coreos/").file(), None);
        assert_eq!(UrlPath::from(&path("/coreos/x").file().unwrap()), path("/coreos/x"));
        for (one, other, beside) in [
            ("/coreos/a", "/coreos/", true),
            ("/coreos/a/b", "/coreos/x", true),
            ("/coreos/", "/coreos/x", true),
            ("/coreos", "/coreos/x", false),
            ("/a", "/x", false),
            ("/a", "/a", true),
            ("/a", "/", false),
        ] {
            assert_eq!(path(one).is_beside(&path(other)), beside, "{one} {other}");
        }
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
