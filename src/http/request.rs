//! The head of a request, typed: verb, name and iPXE's words about its machine.
//!
//! Names are decoded once, on bytes. Whether such a file exists is not asked here.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use hyper::{
    HeaderMap, Method, Uri,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::reply::Refusal;
use crate::{
    machine::{Mac, Machine, NotAMac, Uuid},
    printable::is_hidden,
    token::Token,
};

/// A target above this is no name and no query of ours, in bytes.
const LONGEST_TARGET: usize = 8192;
/// SMBIOS strings are short; what is longer is garbage that no group should select by.
const LONGEST_LABEL: usize = 128;
/// Our own first script sends five; room for what other scripts add.
const MOST_LABELS: usize = 64;
/// Bytes of labels that are kept, names and values: iPXE tells some 300, and the ledger keeps them of
/// every machine.
const MOST_TOLD: usize = 2048;

/// A request that can be answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// What is wanted of the name.
    pub verb: Verb,
    /// The decoded path, with its leading slash and without a token.
    pub path: Vec<u8>,
    /// The token that stood before it.
    pub token: Option<Token>,
    /// What stands behind the question mark, as it was sent.
    pub query: &'a str,
}

/// The two methods there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Head and body.
    Get,
    /// The head alone: EDK2 asks for the size this way.
    Head,
}

/// What iPXE tells of the machine it runs on, in the query of `/ipxe`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// `mac`: the card that boots.
    pub mac: Mac,
    /// `uuid`: SMBIOS system UUID, absent where it is unset.
    pub uuid: Option<Uuid>,
    /// Every other parameter that has a value, cleaned: `serial`, `arch`, `platform`, ….
    pub labels: BTreeMap<String, String>,
}

impl<'a> Request<'a> {
    /// Reads a head that hyper has parsed.
    pub fn read(method: &Method, uri: &'a Uri, headers: &HeaderMap) -> Result<Self, Refusal> {
        let verb = match method.as_str() {
            "GET" => Verb::Get,
            "HEAD" => Verb::Head,
            _ => return Err(Refusal::Method),
        };
        if announces_body(headers) {
            return Err(Refusal::Body);
        }
        Ok(Self { verb, ..Self::of_get(uri)? })
    }

    /// Reads the target, as that of a GET.
    pub(super) fn of_get(uri: &'a Uri) -> Result<Self, Refusal> {
        // Of an absolute-form target (RFC 9112 section 3.2.2) these are the same two parts.
        let (path, query) = (uri.path(), uri.query().unwrap_or(""));
        if path.len() + query.len() > LONGEST_TARGET {
            return Err(Refusal::LongTarget);
        }
        if !path.starts_with('/') {
            return Err(Refusal::Target);
        }
        let path: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
        let (token, path) = Token::split(&path);
        let token = token.and_then(Token::read);
        Ok(Self { verb: Verb::Get, path: path.to_vec(), token, query })
    }
}

impl Query {
    /// Reads the query of `/ipxe`. Of doubled words the first counts, and only the address must be
    /// right.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let pairs = || form_urlencoded::parse(query.as_bytes());
        let mac = pairs().find(|(name, _)| name == "mac").map(|(_, mac)| mac);
        let mac = mac.ok_or(QueryError::NoMac)?;
        let mac = mac.trim().parse().map_err(|NotAMac| QueryError::wrong(&mac))?;
        let (uuid, labels) = Self::told(pairs().filter(|(name, _)| name != "mac"));
        Ok(Self { mac, uuid, labels })
    }

    /// Reads everything but the address. SMBIOS strings are whatever a board maker left there, so
    /// they are cleaned and never a reason to refuse a boot.
    pub(super) fn told<'a>(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> (Option<Uuid>, BTreeMap<String, String>) {
        let (mut uuid, mut labels) = (None, BTreeMap::new());
        let mut room = MOST_TOLD;
        for (name, value) in pairs {
            match name.as_ref() {
                "uuid" => uuid = uuid.or(Some(value)),
                name if name.len() > LONGEST_LABEL || labels.len() == MOST_LABELS => {}
                name => {
                    let value = clean(&value);
                    let len = name.len() + value.len();
                    if len <= room && !labels.contains_key(name) {
                        room -= len;
                        labels.insert(name.to_owned(), value);
                    }
                }
            }
        }
        let uuid = uuid.and_then(|uuid| uuid.trim().parse().ok());
        labels.retain(|_, value| !value.is_empty());
        (uuid, labels)
    }

    /// The machine it tells of.
    pub fn machine(self) -> Machine {
        Machine::told(self.mac, self.uuid, self.labels)
    }
}

impl QueryError {
    /// What was given in the place of a hardware address.
    pub(super) fn wrong(mac: &str) -> Self {
        Self::WrongMac(shown(mac))
    }
}

/// A path as it may be shown: as it was sent, or decoded where it has a token, which is left out.
pub fn shown_path(path: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let hidden = Token::hidden(&decoded);
    if hidden == decoded { path.to_owned() } else { hidden }
}

/// Whose config a query asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// That of the machine with one of these cards, as the body of a POST tells.
    Cards(BTreeSet<Mac>),
    /// That of this machine, of which it tells more or less.
    Machine(Query),
    /// It does not say.
    Nobody,
    /// That of the machine with this UUID.
    Uuid(Uuid),
    /// That of what is no machine.
    Wrong(QueryError),
}

impl Claim {
    /// Reads the query of a config. A word without a value is as good as none: some clients fill
    /// in what they know, and iPXE leaves the rest empty.
    pub fn parse(query: &str) -> Self {
        let value = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(word, _)| word == name)
                .map(|(_, value)| value)
                .filter(|value| !value.trim().is_empty())
        };
        if value("mac").is_some() {
            return match Query::parse(query) {
                Ok(query) => Self::Machine(query),
                Err(error) => Self::Wrong(error),
            };
        }
        let uuid = value("uuid").and_then(|uuid| uuid.trim().parse().ok());
        uuid.map_or(Self::Nobody, Self::Uuid)
    }
}

/// Why a query names no machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum QueryError {
    /// No `mac=`.
    NoMac,
    /// What was given instead, fit to be printed anywhere.
    WrongMac(String),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMac => f.write_str("the query has no mac: ask for /ipxe?mac=52-54-00-12-34-56"),
            Self::WrongMac(given) => write!(f, "mac={given} {NotAMac}"),
        }
    }
}

impl std::error::Error for QueryError {}

fn announces_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0")
}

fn clean(value: &str) -> String {
    let clean: String = value.chars().filter(|&c| !is_hidden(c)).take(LONGEST_LABEL).collect();
    clean.trim().to_owned()
}

/// The message is shown by iPXE, whose scripts expand `${…}`, so only plain characters pass.
fn shown(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '.' | '_');
    value.chars().take(32).map(|c| if plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, target: &'static str) -> Result<(Verb, Vec<u8>, String), Refusal> {
        let uri = Uri::from_static(target);
        let request = Request::read(&method, &uri, &HeaderMap::new())?;
        Ok((request.verb, request.path, request.query.to_owned()))
    }

    #[test]
    fn a_name_is_decoded_once_on_bytes() {
        for (target, path) in [
            ("/a%20b", &b"/a b"[..]),
            ("/%ff%FE", b"/\xff\xfe"),
            ("/%252e%252e/x", b"/%2e%2e/x"),
            ("/50%", b"/50%"),
            ("/a%zzb", b"/a%zzb"),
            ("http://192.0.2.1:80/a/b?c", b"/a/b"),
            ("http://192.0.2.1", b"/"),
        ] {
            assert_eq!(read(Method::GET, target).unwrap().1, path, "{target}");
        }
        assert_eq!(read(Method::HEAD, "/ipxe?a=%20").unwrap().2, "a=%20");
    }

    #[test]
    fn what_is_neither_get_nor_head_of_a_name_is_refused() {
        assert_eq!(read(Method::POST, "/"), Err(Refusal::Method));
        assert_eq!(read(Method::OPTIONS, "*"), Err(Refusal::Method));
        assert_eq!(read(Method::GET, "*"), Err(Refusal::Target));
        let long = format!("/{}", "a".repeat(LONGEST_TARGET)).parse().unwrap();
        let refused = Request::read(&Method::GET, &long, &HeaderMap::new());
        assert_eq!(refused, Err(Refusal::LongTarget));
    }

    #[test]
    fn a_body_is_refused_and_an_empty_one_is_not() {
        let uri = Uri::from_static("/");
        for (name, value, refused) in [
            (CONTENT_LENGTH, "0", false),
            (CONTENT_LENGTH, "1", true),
            (CONTENT_LENGTH, "x", true),
            (TRANSFER_ENCODING, "chunked", true),
        ] {
            let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            let read = Request::read(&Method::GET, &uri, &headers);
            assert_eq!(read == Err(Refusal::Body), refused, "{value}");
        }
    }

    #[test]
    fn ipxe_tells_of_its_machine() {
        let query = Query::parse(
            "mac=52-54-00-12-34-56&uuid=11223344-5566-7788-99AA-010203040506&serial=A%20B\
             &arch=x86_64&manufacturer=VMware%2C+Inc.&platform=efi&mac=no&new=1",
        )
        .unwrap();
        assert_eq!(query.mac.to_string(), "52:54:00:12:34:56");
        assert_eq!(query.uuid.unwrap().to_string(), "11223344-5566-7788-99aa-010203040506");
        let labels: Vec<(&str, &str)> =
            query.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("arch", "x86_64"),
            ("manufacturer", "VMware, Inc."),
            ("new", "1"),
            ("platform", "efi"),
            ("serial", "A B"),
        ];
        assert_eq!(labels, expected);
    }

    #[test]
    fn what_a_board_maker_left_in_smbios_is_cleaned() {
        let long = "x".repeat(5000);
        let query =
            format!("mac=525400123456&uuid=none&serial=%0a%00%1b[2JAB%ff+&asset=++&product={long}");
        let query = Query::parse(&query).unwrap();
        assert_eq!(query.uuid, None);
        assert_eq!(query.labels["serial"], "[2JAB\u{fffd}");
        assert!(!query.labels.contains_key("asset"));
        assert_eq!(query.labels["product"].len(), LONGEST_LABEL);
        let value = "x".repeat(LONGEST_LABEL);
        let large: String = (0..60).map(|number| format!("&label{number}={value}")).collect();
        let told = Query::parse(&format!("mac=525400123456{large}&serial=late")).unwrap().labels;
        let bytes: usize = told.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes <= MOST_TOLD && told.contains_key("label0"), "{bytes}");
        let many: String = (0..1000).map(|number| format!("&l{number}=x")).collect();
        assert_eq!(Query::parse(&format!("mac=525400123456{many}")).unwrap().labels.len(), 64);
    }

    #[test]
    fn a_token_is_taken_off_the_path() {
        let text = "00112233445566778899aabbccddeeff";
        for (target, token, path) in [
            (format!("/~{text}/coreos//x"), true, "/coreos//x"),
            (format!("//%7E{}/", text.to_uppercase()), true, "/"),
            ("/~x/coreos/x".to_owned(), false, "/coreos/x"),
            (format!("/coreos/~{text}/x"), false, &format!("/coreos/~{text}/x")),
        ] {
            let uri = target.parse().unwrap();
            let request = Request::read(&Method::GET, &uri, &HeaderMap::new()).unwrap();
            assert_eq!(request.path, path.as_bytes(), "{target}");
            assert_eq!(request.token, token.then(|| text.parse().unwrap()), "{target}");
        }
    }

    #[test]
    fn a_path_is_shown_without_its_token() {
        let text = "00112233445566778899aabbccddeeff";
        for (path, shown) in [
            (format!("/~{text}/a%20b"), "/~.../a b"),
            (format!("/%2f%7E{text}/a%20b"), "//~.../a b"),
            (format!("/~%30{}/a", &text[1..]), "/~.../a"),
            ("/a%0ab/%ff".to_owned(), "/a%0ab/%ff"),
        ] {
            assert_eq!(shown_path(&path), shown);
        }
    }

    #[test]
    fn a_query_claims_a_machine_by_address_or_uuid() {
        let uuid = "11223344-5566-7788-99aa-010203040506";
        let machine = Claim::parse(&format!("uuid={uuid}&mac=52-54-00-12-34-56"));
        let Claim::Machine(query) = machine else { panic!("{machine:?}") };
        assert_eq!(query.uuid, uuid.parse().ok());
        assert_eq!(Claim::parse(&format!("mac=&uuid={uuid}")), Claim::Uuid(uuid.parse().unwrap()));
        for nobody in ["", "x=1", "mac=&uuid=", "mac=%20", "uuid=none"] {
            assert_eq!(Claim::parse(nobody), Claim::Nobody, "{nobody}");
        }
        let wrong = Claim::parse("mac=${mac}");
        assert_eq!(wrong, Claim::Wrong(QueryError::WrongMac("??mac?".to_owned())));
    }

    #[test]
    fn a_query_without_a_machine_says_so() {
        assert_eq!(Query::parse("uuid=1"), Err(QueryError::NoMac));
        let wrong = Query::parse("mac=${net0}%0aboot").unwrap_err();
        assert_eq!(wrong, QueryError::WrongMac("??net0??boot".to_owned()));
        assert!(wrong.to_string().starts_with("mac=??net0??boot is not a hardware address"));
        let long = Query::parse(&format!("mac={}", "5".repeat(4000))).unwrap_err();
        assert!(long.to_string().len() < 200, "{long}");
    }
}
