//! How long a kernel line becomes: the kernel cuts a longer one without a word, its last argument
//! first.

use std::fmt;

use crate::machine::Machine;

/// COMMAND_LINE_SIZE of x86 and ARM64 Linux without the NUL, in bytes. iPXE cuts there, too.
const LONGEST: usize = 2047;
/// The same of 32-bit ARM and RISC-V.
const LONGEST_ON_SMALL: usize = 1023;
/// What iPXE fills in itself, by the setting's name, and the bytes of its value.
const SETTINGS: [(&str, usize); 9] = [
    ("dns", 15),
    ("filename", 64),
    ("gateway", 15),
    ("hostname", 64),
    ("ip", 15),
    ("mac", 17),
    ("netmask", 15),
    ("next-server", 15),
    ("uuid", 36),
];

/// A kernel line that is longer than the machine's kernel takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong {
    /// What it would be, in bytes.
    pub len: usize,
    /// What the kernel keeps of it.
    pub longest: usize,
}

/// Whether the machine's kernel keeps the whole line.
pub(super) fn fits(line: &str, machine: &Machine) -> Result<(), TooLong> {
    let arch = machine.labels.as_ref().and_then(|labels| labels.get("arch"));
    let is_small = arch.is_some_and(|arch| arch == "arm32" || arch.starts_with("riscv"));
    let longest = if is_small { LONGEST_ON_SMALL } else { LONGEST };
    let len = expanded_len(line);
    if len > longest { Err(TooLong { len, longest }) } else { Ok(()) }
}

/// The length with what iPXE fills in; a setting of unknown length counts as it is written.
fn expanded_len(line: &str) -> usize {
    let mut len = 0;
    let mut rest = line;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|end| start + end) else { break };
        let setting = rest[start + 2..end].rsplit('/').next().unwrap_or("");
        let name = setting.split(':').next().unwrap_or("");
        let known = SETTINGS.iter().find(|(known, _)| *known == name);
        len += start + known.map_or(end + 1 - start, |&(_, len)| len);
        rest = &rest[end + 1..];
    }
    len + rest.len()
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the kernel line is {} bytes long, and the kernel drops what is behind byte {} without \
             a word; write fewer or shorter args, or move them into the file that args name",
            self.len, self.longest
        )
    }
}

impl std::error::Error for TooLong {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn on(arch: &str) -> Machine {
        let labels = BTreeMap::from([("arch".to_owned(), arch.to_owned())]);
        Machine::told("52:54:00:00:00:01".parse().unwrap(), None, labels)
    }

    #[test]
    fn the_last_byte_that_each_kernel_keeps() {
        for (arch, longest) in [("x86_64", 2047), ("arm64", 2047), ("arm32", 1023)] {
            assert_eq!(fits(&"x".repeat(longest), &on(arch)), Ok(()));
            let error = fits(&"x".repeat(longest + 1), &on(arch)).unwrap_err();
            assert_eq!(error, TooLong { len: longest + 1, longest }, "{arch}");
        }
    }

    #[test]
    fn what_ipxe_fills_in_counts_with_its_value() {
        for (line, len) in [
            ("a=${uuid} b", 2 + 36 + 2),
            ("m=${net0/mac:hexhyp}", 2 + 17),
            ("x=${unknown}", 12),
            ("x=${open", 8),
        ] {
            assert_eq!(expanded_len(line), len, "{line}");
        }
    }
}
