//! An initramfs: a newc archive of files written here, programs of this machine with the
//! libraries they need, and modules of the kernel it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::Failure;

/// An archive being written.
pub struct Archive {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Archive {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { bytes: Vec::new(), names: BTreeSet::new() }
    }

    /// A folder, and those above it.
    pub fn folder(&mut self, name: &str) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.folder(above);
        }
        self.append(name, 0o040_755, &[]);
    }

    /// A file with these permissions.
    pub fn file(&mut self, name: &str, permissions: u32, body: &[u8]) {
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.folder(folder);
        }
        self.append(name, 0o100_000 | permissions, body);
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &str, to: &str) {
        self.append(name, 0o120_777, to.as_bytes());
    }

    /// A file of this machine.
    pub fn copy(&mut self, from: &str, name: &str) -> Result<(), Failure> {
        let body = fs::read(from).map_err(|error| {
            Failure::new(format!("{from}: {error}; run `tests/packages test` first"))
        })?;
        self.file(name, 0o755, &body);
        Ok(())
    }

    /// A program of this machine as `bin/NAME`, with the libraries it is linked to.
    pub fn program(&mut self, path: &str) -> Result<(), Failure> {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        self.copy(path, &format!("bin/{name}"))?;
        let linked = Command::new("ldd").arg(path).output()?;
        for word in String::from_utf8_lossy(&linked.stdout).split_whitespace() {
            if word.starts_with("/lib") && !self.names.contains(&word[1..]) {
                self.copy(word, &word[1..])?;
            }
        }
        Ok(())
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.append("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// One newc entry (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
    fn append(&mut self, name: &str, mode: u32, body: &[u8]) {
        if !self.names.insert(name.to_owned()) {
            return;
        }
        let inode = u32::try_from(self.names.len()).unwrap_or(1);
        let size = u32::try_from(body.len()).expect("a file of the initramfs is small");
        let name_size = u32::try_from(name.len() + 1).expect("a name is short");
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
