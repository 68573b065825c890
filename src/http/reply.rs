//! The head of a reply, and the words of a refusal.
//!
//! Every refusal has a body and closes the connection: EDK2's HTTP stack under shim waits for ever
//! on a keep-alive reply of status 300 or above without a body.

use std::fmt;

use hyper::{
    HeaderMap, StatusCode,
    body::Bytes,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName,
        HeaderValue, RETRY_AFTER, SERVER,
    },
};

use super::{
    event::EventError,
    request::{QueryError, Verb},
};
use crate::{check::Kind, machine::Mac, path::PathError, printable};

/// The `Server` header of every reply of ours; `serve::http` knows hyper's own replies by its
/// absence.
pub const SERVER_NAME: &str = "bootbox";

/// The part of a name that a refusal repeats, in characters: its reply stays below one MTU.
const LONGEST_NAME: usize = 160;
/// The part of a reason that a refusal repeats, in bytes: for the same end.
const LONGEST_REASON: usize = 400;

/// A reply, ready to be sent but for the bytes of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status line's code.
    pub status: StatusCode,
    /// All headers but `Date`.
    pub headers: HeaderMap,
    /// What follows them.
    pub body: Body,
}

/// What follows the head.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// Of any encoding.
    Bytes(Bytes),
    /// Nothing, whatever Content-Length says.
    Nothing,
    /// These bytes of the file.
    Part {
        /// Offset of the first.
        start: u64,
        /// How many.
        len: u64,
    },
    /// A text of ours.
    Text(String),
}

impl Reply {
    /// A head without any header but our name.
    pub fn new(status: StatusCode, body: Body) -> Self {
        let headers = HeaderMap::from_iter([(SERVER, HeaderValue::from_static(SERVER_NAME))]);
        Self { status, headers, body }
    }

    /// A script or another short text. One with a status of 400 or above closes the connection.
    pub fn text(status: StatusCode, text: String) -> Self {
        // An empty body is what some firmware hangs on, so there is none.
        let text = if text.is_empty() { format!("{status}\n") } else { text };
        let reply = Self::new(status, Body::Nothing)
            .with(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
            .with(CONTENT_LENGTH, HeaderValue::from(text.len()));
        let reply = Self { body: Body::Text(text), ..reply };
        if status.as_u16() < 400 {
            return reply;
        }
        reply.with(CONNECTION, HeaderValue::from_static("close"))
    }

    /// A text that is made for one machine: nobody may keep it, and it may be empty.
    pub fn config(kind: Kind, text: Bytes) -> Self {
        let media = if matches!(kind, Kind::Ignition | Kind::Json) {
            "application/json"
        // It says its encoding itself.
        } else if matches!(kind, Kind::AutoYast | Kind::Xml) {
            "application/xml"
        } else if std::str::from_utf8(&text).is_err() {
            "application/octet-stream"
        } else {
            "text/plain; charset=utf-8"
        };
        let reply = Self::new(StatusCode::OK, Body::Nothing)
            .with(CONTENT_TYPE, HeaderValue::from_static(media))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .with(CONTENT_LENGTH, HeaderValue::from(text.len()));
        Self { body: Body::Bytes(text), ..reply }
    }

    /// The head of an EFI program that is composed for one machine: nobody may keep it, and no part
    /// of it is the same the next time.
    pub fn image(len: u64) -> Self {
        Self::new(StatusCode::OK, Body::Part { start: 0, len })
            // EDK2 goes by this before it looks at the name.
            .with(CONTENT_TYPE, HeaderValue::from_static("application/efi"))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .with(CONTENT_LENGTH, HeaderValue::from(len))
    }

    /// Answers a report. The same one at another time is another one.
    pub fn report(text: String) -> Self {
        let no_store = HeaderValue::from_static("no-store");
        Self::text(StatusCode::OK, text).with(CACHE_CONTROL, no_store)
    }

    /// Refuses what was asked for under this name, in words.
    pub fn refuse(refusal: &Refusal, name: &[u8]) -> Self {
        let status = refusal.status();
        let name = printable(name);
        let reply = Self::text(status, format!("{status}: {name} {refusal}\n"));
        let no_store =
            |reply: Self| reply.with(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let later = |reply: Self| reply.with(RETRY_AFTER, HeaderValue::from_static("5"));
        match refusal {
            Refusal::Busy => later(reply),
            Refusal::NoMachine | Refusal::NotReady(_) => no_store(later(reply)),
            Refusal::Claim(_)
            | Refusal::Event(EventError::Token)
            | Refusal::NoBoot(_)
            | Refusal::NoGroup(_)
            | Refusal::Token => no_store(reply),
            Refusal::Method => reply.with(ALLOW, HeaderValue::from_static("GET, HEAD")),
            Refusal::Event(EventError::Method) => {
                reply.with(ALLOW, HeaderValue::from_static("POST"))
            }
            Refusal::Range(len) => match HeaderValue::try_from(format!("bytes */{len}")) {
                Ok(range) => reply.with(CONTENT_RANGE, range),
                Err(_) => reply,
            },
            Refusal::Body
            | Refusal::Broken
            | Refusal::Changed
            | Refusal::Event(_)
            | Refusal::Headers
            | Refusal::LongBody
            | Refusal::LongTarget
            | Refusal::NoSuchFile
            | Refusal::NotAFile
            | Refusal::Outside
            | Refusal::Path(_)
            | Refusal::Target
            | Refusal::Unreadable(_) => reply,
        }
    }

    /// The same with one more header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same as it answers this verb: HEAD gets the head that GET would.
    pub fn to(self, verb: Verb) -> Self {
        match verb {
            Verb::Get => self,
            Verb::Head => Self { body: Body::Nothing, ..self },
        }
    }

    /// The whole reply as it stands on the wire, for those that hyper does not send.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {}\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            let mut starts = true;
            for byte in name.as_str().bytes() {
                bytes.push(if starts { byte.to_ascii_uppercase() } else { byte });
                starts = byte == b'-';
            }
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        match &self.body {
            Body::Bytes(text) => bytes.extend_from_slice(text),
            Body::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Body::Nothing | Body::Part { .. } => {}
        }
        bytes
    }
}

/// A name from the wire as it may stand in a log or a message: printable and short.
pub fn printable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String =
        text.chars().flat_map(char::escape_debug).take(LONGEST_NAME + 1).collect();
    if let Some((cut, _)) = shown.char_indices().nth(LONGEST_NAME) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

/// A reason that quotes what others wrote: on one line, and short.
fn short(reason: &str) -> String {
    let mut shown = printable::shown(reason, ' ').into_owned();
    if let Some((cut, _)) = shown.char_indices().find(|(at, c)| at + c.len_utf8() > LONGEST_REASON)
    {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

/// Why a request is not answered with what it asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It brings a body.
    Body,
    /// It is no HTTP request that can be read.
    Broken,
    /// The server is out of files or memory for a moment.
    Busy,
    /// If-Match or If-Unmodified-Since names another version.
    Changed,
    /// A query that says whose config it wants names no machine.
    Claim(QueryError),
    /// A report that is not taken.
    Event(EventError),
    /// Its headers are too large or too many.
    Headers,
    /// The body of a POST for a config is over 64 KiB.
    LongBody,
    /// The target is over 8 KiB.
    LongTarget,
    /// Neither GET nor HEAD.
    Method,
    /// An image or a config for a machine that boots nothing here, for this reason.
    NoBoot(String),
    /// The machine that asks for its config is in no group.
    NoGroup(Mac),
    /// It is not known which machine asks for its config.
    NoMachine,
    /// There is none.
    NoSuchFile,
    /// A directory, device, socket or FIFO.
    NotAFile,
    /// A config that cannot be given away now, for this reason.
    NotReady(String),
    /// A symlink on the way leads out of the root.
    Outside,
    /// The name cannot be looked up.
    Path(PathError),
    /// The range begins behind the end of a file of this many bytes.
    Range(u64),
    /// The target is no path.
    Target,
    /// A config that only the token of its machine's script gets.
    Token,
    /// The file is there and cannot be read.
    Unreadable(String),
}

impl Refusal {
    /// The status that says it to a client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body | Self::LongBody => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken | Self::Claim(_) | Self::Target => StatusCode::BAD_REQUEST,
            // Never 404: the readers of configs give up then, and try again after 503.
            Self::Busy | Self::NoMachine | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::Event(error) => error.status(),
            Self::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoBoot(_)
            | Self::NoGroup(_)
            | Self::NoSuchFile
            | Self::NotAFile
            | Self::Path(PathError::Directory) => StatusCode::NOT_FOUND,
            Self::Outside | Self::Token => StatusCode::FORBIDDEN,
            Self::Path(PathError::TooLong) => StatusCode::URI_TOO_LONG,
            Self::Path(PathError::Control(_) | PathError::Parent) => StatusCode::BAD_REQUEST,
            Self::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("takes no request body"),
            Self::Broken => f.write_str("is not an HTTP request that can be read"),
            Self::Busy => f.write_str("has to wait: the server is out of file descriptors"),
            Self::Changed => f.write_str("is another version than the one asked for"),
            Self::Claim(error) => error.fmt(f),
            Self::Event(error) => error.fmt(f),
            Self::Headers => f.write_str("has more than 16 KiB or 100 lines of headers"),
            Self::LongBody => f.write_str("takes no body of more than 64 KiB"),
            Self::LongTarget => f.write_str("is longer than 8192 bytes"),
            Self::Method => f.write_str("can only be read: GET and HEAD"),
            Self::NoBoot(reason) => write!(f, "is not given: {}", short(reason)),
            Self::NoGroup(mac) => write!(f, "is for machines of a group, and {mac} is in none"),
            Self::NoMachine => f.write_str(
                "is each machine's own, and it is not known yet which one asks: boot it with bootbox \
                 first, or ask with ?mac=52-54-00-12-34-56",
            ),
            Self::NoSuchFile => f.write_str("is not here: no such file"),
            Self::NotAFile => f.write_str("is not a regular file"),
            Self::NotReady(reason) => write!(f, "is not ready: {}", short(reason)),
            Self::Outside => f.write_str("leads out of the repository"),
            Self::Path(error) => error.fmt(f),
            Self::Range(len) => write!(f, "has {len} bytes, and the range begins behind them"),
            Self::Target => f.write_str("is no path: write it like /coreos/vmlinuz"),
            Self::Token => f.write_str(
                "needs the token of its machine: boot the machine, and ask as its script says",
            ),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_closes() {
        let reply = Reply::refuse(&Refusal::NoSuchFile, b"/a\n\xff\"");
        assert_eq!(reply.status, 404);
        assert_eq!(reply.headers[CONNECTION], "close");
        let Body::Text(text) = reply.body else { panic!("no text") };
        assert_eq!(text, "404 Not Found: /a\\n\u{fffd}\\\" is not here: no such file\n");
        assert_eq!(reply.headers[CONTENT_LENGTH], text.len().to_string());
    }

    #[test]
    fn a_refusal_helps_where_http_has_a_header_for_it() {
        assert_eq!(Reply::refuse(&Refusal::Method, b"/").headers[ALLOW], "GET, HEAD");
        assert_eq!(Reply::refuse(&Refusal::Range(9), b"/").headers[CONTENT_RANGE], "bytes */9");
        assert_eq!(Reply::refuse(&Refusal::Busy, b"/").headers[RETRY_AFTER], "5");
    }

    #[test]
    fn a_config_is_kept_by_nobody_and_refused_for_a_while() {
        let reply = Reply::config(Kind::Ignition, Bytes::from_static(b"{}"));
        assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
        assert_eq!(reply.headers[CONTENT_LENGTH], "2");
        let empty = Reply::config(Kind::Text, Bytes::new());
        assert_eq!(
            (empty.status.as_u16(), &empty.headers[CONTENT_LENGTH]),
            (200, &"0".parse().unwrap())
        );
        let mac = "52:54:00:00:00:01".parse().unwrap();
        let long = Refusal::NotReady(format!("é\n{}", "é".repeat(1000)));
        for (refusal, status, again) in [
            (long, 503, true),
            (Refusal::NoMachine, 503, true),
            (Refusal::Token, 403, false),
            (Refusal::NoBoot("it is installed".to_owned()), 404, false),
            (Refusal::NoGroup(mac), 404, false),
            (Refusal::Claim(QueryError::NoMac), 400, false),
        ] {
            let reply = Reply::refuse(&refusal, b"/x");
            assert_eq!(reply.status, status);
            assert_eq!(reply.headers.contains_key(RETRY_AFTER), again);
            assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
            assert!(reply.to_bytes().len() < 1000);
        }
    }

    #[test]
    fn a_long_name_is_cut_and_an_empty_text_filled() {
        let shown = printable(&[0xff; 9000]);
        assert_eq!(shown.chars().count(), LONGEST_NAME + 1);
        assert!(shown.len() < 600);
        let reply = Reply::text(StatusCode::NOT_FOUND, String::new());
        assert_eq!(reply.body, Body::Text("404 Not Found\n".to_owned()));
    }
}
