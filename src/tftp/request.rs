//! Reads a datagram that came to the service's port.
//!
//! A read request comes out with a name that may be looked up and with the options we know, as the
//! client wrote them; a bad option never fails a request, it is left out of the answer.

use std::borrow::Cow;

use super::{Answer, reply::Code};
use crate::{
    path::{LONGEST_BY_TFTP, PathError, RepositoryPath},
    printable,
};

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// A file that is asked for, in octet mode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadRequest {
    /// Which file.
    pub path: RepositoryPath,
    pub(super) options: Vec<Asked>,
}

/// An option we know, once each, in the order they were asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    pub(super) option: OptionName,
    /// The name in the client's own case: it may compare bytes.
    pub(super) written: Vec<u8>,
    pub(super) value: u64,
}

/// The options we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OptionName {
    /// Bytes in a block, RFC 2348.
    BlockSize,
    /// Seconds until a block is sent again, RFC 2349.
    TimeOut,
    /// Size of the file, RFC 2349.
    TransferSize,
    /// Blocks sent for one ACK, RFC 7440.
    WindowSize,
}

/// What is refused with an ERROR.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Error code of RFC 1350.
    pub code: Code,
    /// What the client, and perhaps a person before it, reads.
    pub text: Cow<'static, str>,
    /// The name in the request, printable; `None` where nothing was asked for.
    pub file: Option<String>,
}

/// Why a datagram gets no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// An ERROR: answering one could go on for ever.
    ErrorPacket,
    /// Not a TFTP packet.
    NotTftp,
}

impl Reason {
    /// The stable label under which it is counted.
    pub fn label(self) -> &'static str {
        match self {
            Self::ErrorPacket => "error-packet",
            Self::NotTftp => "not-tftp",
        }
    }
}

pub(super) fn read(datagram: &[u8]) -> Answer {
    let Some((&operation, rest)) = datagram.split_first_chunk::<2>() else {
        return Answer::Ignore(Reason::NotTftp);
    };
    match u16::from_be_bytes(operation) {
        RRQ => read_request(rest).map_or_else(Answer::Refuse, Answer::Open),
        WRQ => {
            let name = rest.split(|&byte| byte == 0).next().unwrap_or_default();
            let text = "this server is read-only";
            Answer::Refuse(Refusal::of(Code::AccessViolation, text, clean(name).as_ref()))
        }
        DATA | ACK | OACK => Answer::Refuse(Refusal {
            code: Code::UnknownTransfer,
            text: "no such transfer on this port".into(),
            file: None,
        }),
        ERROR => Answer::Ignore(Reason::ErrorPacket),
        _ => Answer::Ignore(Reason::NotTftp),
    }
}

fn read_request(rest: &[u8]) -> Result<ReadRequest, Refusal> {
    let mut strings = Strings(rest);
    let Some(name) = strings.next() else {
        let text = "the file name has no end";
        return Err(Refusal::of(Code::IllegalOperation, text, &clean(rest)));
    };
    let name = clean(name);
    let Some(mode) = strings.next() else {
        return Err(Refusal::of(Code::IllegalOperation, "the mode has no end", &name));
    };
    if !mode.eq_ignore_ascii_case(b"octet") {
        // A client in netascii mode turns CR LF into LF: octets sent to it arrive as another file.
        let text = "only octet mode is served here (tftp -m binary)";
        return Err(Refusal::of(Code::IllegalOperation, text, &name));
    }
    if name.len() > LONGEST_BY_TFTP {
        return Err(Refusal::of(Code::AccessViolation, "the file name is too long", &name));
    }
    let path = RepositoryPath::parse(&name).map_err(|error| {
        let code = match error {
            PathError::Directory => Code::NotFound,
            PathError::Control(_) | PathError::Parent | PathError::TooLong => Code::AccessViolation,
        };
        Refusal::of(code, format!("the file name {error}"), &name)
    })?;
    Ok(ReadRequest { path, options: options(strings) })
}

/// The name as it is looked up: old ROMs copy it out of DHCP together with the END byte 0xff, and
/// Windows-minded ones write backslashes.
fn clean(name: &[u8]) -> Vec<u8> {
    let end = name.iter().rposition(|&byte| byte != 0xff && !byte.is_ascii_control());
    let name = &name[..end.map_or(0, |last| last + 1)];
    let mut name: Vec<u8> =
        name.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect();
    if let Some(scheme) = name.first_chunk::<7>()
        && scheme.eq_ignore_ascii_case(b"tftp://")
    {
        let host = name[scheme.len()..].iter().position(|&byte| byte == b'/');
        name.drain(..host.map_or(name.len(), |slash| 7 + slash));
    }
    name
}

/// Takes the options we know; the first of its kind counts, and one without a sound value does not.
fn options(mut strings: Strings<'_>) -> Vec<Asked> {
    let mut options: Vec<Asked> = Vec::new();
    while let (Some(name), Some(value)) = (strings.next(), strings.next()) {
        let Some(option) = OptionName::read(name) else { continue };
        let Some(value) = number(value) else { continue };
        if options.iter().all(|asked| asked.option != option) {
            options.push(Asked { option, written: name.to_vec(), value });
        }
    }
    options
}

/// A plain decimal number; what does not fit is as large as it gets.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit =
        |sum: u64, &byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Some(value.iter().fold(0, digit))
}

/// A name as it is logged: one line, whatever the client sent.
pub fn file_name(name: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&name[..name.len().min(LONGEST_BY_TFTP)]);
    printable::shown(&shown, '\u{fffd}').into_owned()
}

impl OptionName {
    fn read(name: &[u8]) -> Option<Self> {
        [
            (&b"blksize"[..], Self::BlockSize),
            (b"timeout", Self::TimeOut),
            (b"tsize", Self::TransferSize),
            (b"windowsize", Self::WindowSize),
        ]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, option)| option)
    }
}

impl Refusal {
    fn of(code: Code, text: impl Into<Cow<'static, str>>, name: &[u8]) -> Self {
        Self { code, text: text.into(), file: Some(file_name(name)) }
    }
}

/// The NUL-terminated strings of a request.
struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let (string, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(datagram: &[u8]) -> ReadRequest {
        let Answer::Open(request) = read(datagram) else { panic!("{datagram:?} is not served") };
        request
    }

    fn refuse(datagram: &[u8]) -> (Code, String) {
        let Answer::Refuse(refusal) = read(datagram) else { panic!("{datagram:?} is served") };
        (refusal.code, refusal.file.unwrap_or_default())
    }

    #[test]
    fn names_are_cleaned_as_roms_and_people_write_them() {
        for (name, clean) in [
            (&b"undionly.kpxe\xff"[..], &b"undionly.kpxe"[..]),
            (b"undionly.kpxe\xff\r\n\xff", b"undionly.kpxe"),
            (b"\\boot\\ipxe.efi", b"boot/ipxe.efi"),
            (b"/debian//grubx64.efi", b"debian/grubx64.efi"),
            (b"tftp://10.0.0.1/a/b", b"a/b"),
            (b"TFTP:\\\\10.0.0.1\\a\\b", b"a/b"),
            (b"a\xffb", b"a\xffb"),
        ] {
            let packet = [b"\0\x01", name, b"\0OCTET\0"].concat();
            assert_eq!(open(&packet).path.as_bytes(), clean, "{name:?}");
        }
    }

    #[test]
    fn names_that_may_not_be_looked_up_are_refused() {
        let long = vec![b'a'; 256];
        for (name, code) in [
            (&b"../etc/shadow"[..], Code::AccessViolation),
            (b"..\\etc\\shadow", Code::AccessViolation),
            (b"a\nb", Code::AccessViolation),
            (&long, Code::AccessViolation),
            (b"", Code::NotFound),
            (b"\xff", Code::NotFound),
            (b"tftp://10.0.0.1", Code::NotFound),
            (b"dir/", Code::NotFound),
        ] {
            let packet = [b"\0\x01", name, b"\0octet\0"].concat();
            assert_eq!(refuse(&packet).0, code, "{name:?}");
        }
    }

    #[test]
    fn options_keep_their_order_and_case_and_bad_ones_are_left_out() {
        let request = open(
            b"\0\x01x\0octet\0TSize\x000\0multicast\0\0blksize\0-1\0WINDOWSIZE\x0016\0\
              windowsize\x004\0blksize\x0099999999999999999999999\0timeout",
        );
        let seen: Vec<_> = request
            .options
            .iter()
            .map(|asked| (asked.option, asked.written.as_slice(), asked.value))
            .collect();
        assert_eq!(
            seen,
            [
                (OptionName::TransferSize, &b"TSize"[..], 0),
                (OptionName::WindowSize, b"WINDOWSIZE", 16),
                (OptionName::BlockSize, b"blksize", u64::MAX),
            ]
        );
    }

    #[test]
    fn only_reading_in_octet_mode_is_served() {
        assert_eq!(refuse(b"\0\x01x\0netascii\0"), (Code::IllegalOperation, "x".into()));
        assert_eq!(refuse(b"\0\x01x\0octet"), (Code::IllegalOperation, "x".into()));
        assert_eq!(refuse(b"\0\x01x"), (Code::IllegalOperation, "x".into()));
        assert_eq!(refuse(b"\0\x02x\0octet\0"), (Code::AccessViolation, "x".into()));
    }

    /// RFC 1350 section 4: an ERROR "is not acknowledged", and a packet from an unknown transfer
    /// is answered with error 5.
    #[test]
    fn parts_of_a_transfer_are_strays_on_port_69() {
        for packet in [&b"\0\x03\0\x01data"[..], b"\0\x04\0\x01", b"\0\x06tsize\x000\0"] {
            assert_eq!(refuse(packet), (Code::UnknownTransfer, String::new()));
        }
        assert_eq!(read(b"\0\x05\0\x01no\0"), Answer::Ignore(Reason::ErrorPacket));
        for packet in [&b""[..], b"\0", b"\0\0", b"\x01\x01x\0octet\0", b"\0\x07"] {
            assert_eq!(read(packet), Answer::Ignore(Reason::NotTftp));
        }
    }

    #[test]
    fn a_logged_name_is_one_line() {
        assert_eq!(file_name(b"a\nb\x1b[2J\xff"), "a\u{fffd}b\u{fffd}[2J\u{fffd}");
    }
}
