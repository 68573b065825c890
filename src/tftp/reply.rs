//! Writes what the server sends: OACK, DATA headers and ERROR.

/// Longest text of an ERROR: fits the 512-byte buffers of small ROMs.
const LONGEST_TEXT: usize = 200;

const DATA: u16 = 3;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// Error codes of RFC 1350 that this server sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum Code {
    /// Not allowed here: writing, climbing out of the root.
    AccessViolation = 2,
    /// Not something a read-only server in octet mode does.
    IllegalOperation = 4,
    /// Something else, see the text.
    NotDefined = 0,
    /// No such file.
    NotFound = 1,
    /// Part of a transfer that is not going on.
    UnknownTransfer = 5,
}

/// An ERROR packet; the text is cut where no client reads on.
pub fn error(code: Code, text: &str) -> Vec<u8> {
    let mut packet = Vec::with_capacity(5 + text.len().min(LONGEST_TEXT));
    packet.extend(ERROR.to_be_bytes());
    packet.extend((code as u16).to_be_bytes());
    packet.extend(text.bytes().filter(|byte| !byte.is_ascii_control()).take(LONGEST_TEXT));
    packet.push(0);
    packet
}

/// An OACK packet with these options, in this order.
pub(super) fn oack<'a>(options: impl Iterator<Item = (&'a [u8], u64)>) -> Vec<u8> {
    let mut packet = OACK.to_be_bytes().to_vec();
    for (name, value) in options {
        packet.extend(name);
        packet.push(0);
        packet.extend(value.to_string().bytes());
        packet.push(0);
    }
    packet
}

/// What stands before the bytes of a block. Block 65535 is followed by block 0: every client of
/// `facts/pxe.md` 3.1 that goes past it expects that.
pub fn data_header(block: u64) -> [u8; 4] {
    let [operation, rest] = DATA.to_be_bytes();
    let [high, low] = (block as u16).to_be_bytes();
    [operation, rest, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_after_65535_is_0() {
        assert_eq!(data_header(1), [0, 3, 0, 1]);
        assert_eq!(data_header(65535), [0, 3, 0xff, 0xff]);
        assert_eq!(data_header(65536), [0, 3, 0, 0]);
        assert_eq!(data_header(65537), [0, 3, 0, 1]);
    }

    #[test]
    fn an_error_is_short_and_ends_once() {
        assert_eq!(error(Code::NotFound, "no\0 such\n file"), b"\0\x05\0\x01no such file\0");
        assert_eq!(error(Code::NotDefined, &"x".repeat(9000)).len(), 4 + LONGEST_TEXT + 1);
    }
}
