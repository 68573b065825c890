//! `POST /v1/event`: what a machine's install script reports.
//!
//! `curl -X POST 'http://BOX/v1/event?state=installed'` from the machine itself. Who reports is
//! told by its address; whether the report can be true, by the ledger. With the machine's token in
//! the path it may be a GET: some installers can send nothing else.

use std::fmt;

use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::{request::QueryError, sender::Foreign};
use crate::{
    ledger::Report,
    machine::{Mac, NotAMac},
    printable::shown,
    token::Token,
};

/// Where reports go.
pub const PATH: &str = "/v1/event";
/// A body is read and not looked at: `curl -d` sends one, in bytes.
pub const LONGEST_BODY: u64 = 4096;
/// What a script says is cut after so many characters.
const LONGEST_TEXT: usize = 200;

/// A report, and who it says it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// What is reported.
    pub report: Report,
    /// The machine, where the script names it.
    pub mac: Option<Mac>,
    /// The token of its URL.
    pub token: Option<Token>,
    /// Whether it was asked for, and not sent: only the token shows then whose it is.
    pub is_get: bool,
}

/// Reads a report; `None` where the request is for something else.
pub fn read(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Result<Told, EventError>> {
    let (token, path) = Token::split(uri.path().as_bytes());
    if path != PATH.as_bytes() {
        return None;
    }
    let token = token.and_then(Token::read);
    let query = uri.query().unwrap_or("");
    let is_get = method == Method::GET && token.is_some();
    Some(match (is_get || method == Method::POST, is_long(headers)) {
        (true, false) => parse(query, token, is_get),
        (true, true) => Err(EventError::Body),
        (false, _) => Err(EventError::Method),
    })
}

fn parse(query: &str, token: Option<Token>, is_get: bool) -> Result<Told, EventError> {
    let word = |name: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(word, _)| word == name)
            .map(|(_, value)| clean(&value))
            .filter(|value| !value.is_empty())
    };
    // A script that says which URL failed says its token.
    let text = || word("reason").or_else(|| word("text")).map(|text| Token::hidden(&text));
    let report = match word("state").as_deref() {
        Some("failed") => Report::Failed(text().unwrap_or_else(|| "it gave no reason".to_owned())),
        Some("installed") => Report::Installed,
        Some("progress") => Report::Progress(text().unwrap_or_else(|| "it goes on".to_owned())),
        Some("started") => Report::Started,
        Some(other) => return Err(EventError::State(Some(other.to_owned()))),
        None => return Err(EventError::State(None)),
    };
    let mac = word("mac")
        .map(|mac| mac.parse().map_err(|NotAMac| EventError::Mac(QueryError::wrong(&mac))));
    Ok(Told { report, mac: mac.transpose()?, token, is_get })
}

fn is_long(headers: &HeaderMap) -> bool {
    is_longer_than(headers, LONGEST_BODY)
}

/// Whether a request announces a longer body, or none that can be counted.
pub(super) fn is_longer_than(headers: &HeaderMap, longest: u64) -> bool {
    // A body of unknown length is counted as it is read.
    !headers.contains_key(TRANSFER_ENCODING)
        && headers.get(CONTENT_LENGTH).is_some_and(|length| {
            let length = length.to_str().ok().and_then(|length| length.parse::<u64>().ok());
            length.is_none_or(|length| length > longest)
        })
}

/// The text stands in the history, in logs and on consoles.
fn clean(value: &str) -> String {
    let clean: String = shown(value, ' ').chars().take(LONGEST_TEXT).collect();
    clean.trim().to_owned()
}

/// Why a report is not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EventError {
    /// Its body is too long.
    Body,
    /// The machine at the address is another one than it names.
    Contradiction {
        /// Who has the address.
        here: Mac,
        /// Who it says it is about.
        named: Mac,
    },
    /// A web page may have sent it.
    Foreign(Foreign),
    /// `mac` is none.
    Mac(QueryError),
    /// It is asked for, not sent.
    Method,
    /// The ledger cannot be written.
    NotNoted(String),
    /// It cannot be true.
    Refused(String),
    /// `state` is none that is known.
    State(Option<String>),
    /// A failure that neither a token nor the address shows to be the machine's own.
    Stranger,
    /// A GET whose token is nobody's, or has expired.
    Token,
    /// No machine that is known has the address.
    Unknown,
}

impl EventError {
    /// The status that tells a script whether it should try again.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Contradiction { .. } | Self::Refused(_) | Self::Stranger => StatusCode::CONFLICT,
            Self::Foreign(_) => StatusCode::FORBIDDEN,
            Self::Mac(_) | Self::State(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotNoted(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token => StatusCode::FORBIDDEN,
            Self::Unknown => StatusCode::NOT_FOUND,
        }
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => write!(f, "takes no more than {LONGEST_BODY} bytes, and needs none"),
            Self::Contradiction { here, named } => {
                write!(f, "was told of {named}, and this address is {here}'s")
            }
            Self::Foreign(foreign) => foreign.fmt(f),
            Self::Mac(error) => error.fmt(f),
            Self::Method => f.write_str(
                "is where install scripts report: POST it, or GET it with the machine's token in the \
                 URL",
            ),
            Self::NotNoted(error) | Self::Refused(error) => write!(f, "is not noted: {error}"),
            Self::State(given) => {
                match given {
                    // Only plain characters: the text is shown on consoles.
                    Some(given) => {
                        let plain: String =
                            given.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
                        write!(f, "has the unknown state {plain:?}")?;
                    }
                    None => f.write_str("has no state")?,
                }
                f.write_str("; write ?state=started, progress, installed or failed")
            }
            Self::Stranger => f.write_str(
                "takes a failure from the machine alone: from an address it is known by, or with its \
                 token in the URL",
            ),
            Self::Token => f.write_str(
                "is asked for with a token that no machine has now; ask by the URL of the script that \
                 the machine was given last",
            ),
            Self::Unknown => f.write_str(
                "is for machines that bootbox has booted, and none that it knows has this address",
            ),
        }
    }
}

impl std::error::Error for EventError {}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn read(target: &str) -> Result<Told, EventError> {
        super::read(&Method::POST, &target.parse().unwrap(), &HeaderMap::new()).unwrap()
    }

    #[test]
    fn a_report_is_what_its_state_says() {
        for (query, report) in [
            ("state=started", Report::Started),
            ("state=installed&text=x", Report::Installed),
            ("state=progress&text=50%25%0a%1b[2J", Report::Progress("50%  [2J".to_owned())),
            (
                "state=failed&reason=BAD+signature&text=y",
                Report::Failed("BAD signature".to_owned()),
            ),
            ("state=failed", Report::Failed("it gave no reason".to_owned())),
        ] {
            let told = read(&format!("/v1/event?{query}")).unwrap();
            assert_eq!(told, Told { report, mac: None, token: None, is_get: false }, "{query}");
        }
        let told = read("/v1/event?state=installed&mac=52-54-00-12-34-56").unwrap();
        assert_eq!(told.mac.unwrap().to_string(), "52:54:00:12:34:56");
        let url = format!("state=failed&reason=curl:+http://b/~{}/x+is+missing", "0a".repeat(16));
        let reason = "curl: http://b/~.../x is missing".to_owned();
        assert_eq!(read(&format!("/v1/event?{url}")).unwrap().report, Report::Failed(reason));
        let long = read(&format!("/v1/event?state=progress&text={}", "é".repeat(500))).unwrap();
        assert_eq!(long.report, Report::Progress("é".repeat(LONGEST_TEXT)));
    }

    #[test]
    fn what_is_no_report_is_refused_in_words() {
        for (target, status, said) in [
            ("/v1/event", 400, "has no state; write ?state=started, progress"),
            ("/v1/event?state=", 400, "has no state"),
            ("/v1/event?state=do%22ne", 400, "has the unknown state \"done\"; write"),
            ("/v1/event?state=installed&mac=x", 400, "mac=x is not a hardware address"),
        ] {
            let error = read(target).unwrap_err();
            assert_eq!(error.status(), status, "{target}");
            assert!(error.to_string().contains(said), "{error}");
        }
        let uri = Uri::from_static("/v1/event?state=installed");
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            let error = super::read(&method, &uri, &HeaderMap::new()).unwrap().unwrap_err();
            assert_eq!((error.status().as_u16(), &error), (405, &EventError::Method));
        }
        let uri_of = |path: &str| path.parse::<Uri>().unwrap();
        let with_token = uri_of(&format!("/~{}/v1/event?state=installed", "0a".repeat(16)));
        for (method, is_taken) in [(Method::GET, true), (Method::HEAD, false), (Method::PUT, false)]
        {
            let told = super::read(&method, &with_token, &HeaderMap::new()).unwrap();
            assert_eq!(told.is_ok_and(|told| told.is_get), is_taken, "{method}");
        }
        let no_token = uri_of("/~x/v1/event?state=installed");
        let told = super::read(&Method::GET, &no_token, &HeaderMap::new()).unwrap();
        assert_eq!(told, Err(EventError::Method));
        assert_eq!(super::read(&Method::POST, &Uri::from_static("/v1"), &HeaderMap::new()), None);
        for (length, is_long) in [("0", false), ("4096", false), ("4097", true), ("x", true)] {
            let length = HeaderValue::from_static(length);
            let headers = HeaderMap::from_iter([(CONTENT_LENGTH, length)]);
            let told = super::read(&Method::POST, &uri, &headers).unwrap();
            assert_eq!(told == Err(EventError::Body), is_long, "{headers:?}");
        }
    }
}
