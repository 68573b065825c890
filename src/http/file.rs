//! The reply to a request for a file whose size and age are known: validators and ranges.
//!
//! RFC 9110 sections 13 and 14. Only strong comparison is offered, as every validator of ours is
//! strong: the ETag names inode, size and time of change.

use std::time::{Duration, SystemTime};

use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
        IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
        RANGE,
    },
};

use super::{
    reply::{Body, Refusal, Reply},
    request::Verb,
};

/// Seconds of year 10000: what HTTP's date format cannot write.
const END_OF_DATES: u64 = 253_402_300_800;

/// A file that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meta {
    /// Size in bytes.
    pub len: u64,
    /// Its validator, with quotes.
    pub etag: String,
    /// When its content last changed.
    pub modified: Option<SystemTime>,
    /// Whether it is a program for UEFI, whatever its name.
    pub is_uefi: bool,
}

/// Answers a request for this file.
///
/// A range is for GET alone, and one at most: no boot firmware asks for several, and a server may
/// send the whole instead (RFC 9110 section 14.2).
pub fn respond(
    verb: Verb,
    headers: &HeaderMap,
    name: &[u8],
    meta: &Meta,
) -> Result<Reply, Refusal> {
    match condition(headers, meta) {
        Condition::Changed => return Err(Refusal::Changed),
        Condition::Known => return Ok(head(StatusCode::NOT_MODIFIED, Body::Nothing, meta)),
        Condition::Met => {}
    }
    let part = match verb {
        Verb::Get => range(headers, meta)?,
        Verb::Head => None,
    };
    let (status, start, len) = match part {
        Some((start, len)) => (StatusCode::PARTIAL_CONTENT, start, len),
        None => (StatusCode::OK, 0, meta.len),
    };
    let kind = if meta.is_uefi { UEFI_PROGRAM } else { content_type(name) };
    let mut reply = head(status, Body::Part { start, len }, meta)
        .with(CONTENT_TYPE, HeaderValue::from_static(kind))
        .with(CONTENT_LENGTH, HeaderValue::from(len));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{}", start + len - 1, meta.len);
        if let Ok(range) = HeaderValue::try_from(range) {
            reply = reply.with(CONTENT_RANGE, range);
        }
    }
    Ok(reply.to(verb))
}

/// EDK2 boots by HTTP what has this type, or a name that ends in `.efi`, and nothing else: Debian's
/// own shim is `shimx64.efi.signed`.
const UEFI_PROGRAM: &str = "application/efi";

/// The media type of a name. EDK2 knows a boot program by it where a query hides the suffix.
fn content_type(name: &[u8]) -> &'static str {
    let suffix = name.rsplit(|&byte| byte == b'.').next().unwrap_or(name).to_ascii_lowercase();
    match suffix.as_slice() {
        b"cfg" | b"conf" | b"ipxe" | b"ks" | b"txt" => "text/plain; charset=utf-8",
        b"efi" => UEFI_PROGRAM,
        b"ign" | b"json" => "application/json",
        b"iso" => "application/vnd.efi-iso",
        // Not application/vnd.efi-img for .img: most of those are initrds, no disk images.
        _ => "application/octet-stream",
    }
}

/// What the conditional headers come to, in the order of RFC 9110 section 13.2.2.
enum Condition {
    Changed,
    Known,
    Met,
}

fn condition(headers: &HeaderMap, meta: &Meta) -> Condition {
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, IF_MATCH, meta) {
            return Condition::Changed;
        }
    } else if let (Some(since), Some(modified)) =
        (date(headers, IF_UNMODIFIED_SINCE), seconds(meta.modified))
        && modified > since
    {
        return Condition::Changed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if lists(headers, IF_NONE_MATCH, meta) {
            return Condition::Known;
        }
    } else if let (Some(since), Some(modified)) =
        (date(headers, IF_MODIFIED_SINCE), seconds(meta.modified))
        && modified <= since
    {
        return Condition::Known;
    }
    Condition::Met
}

/// The part that is asked for, `None` for the whole: start and length, never empty.
fn range(headers: &HeaderMap, meta: &Meta) -> Result<Option<(u64, u64)>, Refusal> {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Ok(None) };
    if !is_same_version(headers, meta) {
        return Ok(None);
    }
    let Some(asked) = range.to_str().ok().and_then(Asked::parse) else { return Ok(None) };
    let (start, end) = match asked {
        Asked::From { first, last } => (first, last.saturating_add(1).min(meta.len)),
        Asked::Last(count) => (meta.len.saturating_sub(count), meta.len),
    };
    if start >= end { Err(Refusal::Range(meta.len)) } else { Ok(Some((start, end - start))) }
}

/// One range as it is written; anything else is not understood and passed over.
enum Asked {
    From { first: u64, last: u64 },
    Last(u64),
}

impl Asked {
    fn parse(text: &str) -> Option<Self> {
        let (unit, set) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        match set.trim().split_once('-')? {
            ("", count) => Some(Self::Last(number(count)?)),
            (first, "") => Some(Self::From { first: number(first)?, last: u64::MAX }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From { first, last })
            }
        }
    }
}

/// Digits alone; `parse` would take a sign. More than a `u64` holds is behind every file's end.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// If-Range: the part is only of use to who has the rest of this very version.
fn is_same_version(headers: &HeaderMap, meta: &Meta) -> bool {
    let Some(validator) = headers.get(IF_RANGE) else { return true };
    validator.as_bytes() == meta.etag.as_bytes()
        || date(headers, IF_RANGE)
            .is_some_and(|since| seconds(meta.modified).is_some_and(|modified| modified == since))
}

/// Whether a list of validators names this version. If-None-Match compares weakly, so `W/` is
/// passed over; in If-Match it can only come from a validator that is not ours.
fn lists(headers: &HeaderMap, name: HeaderName, meta: &Meta) -> bool {
    let weak = name == IF_NONE_MATCH;
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| {
            let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            tag == "*" || tag == meta.etag
        })
    })
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    seconds(Some(httpdate::parse_http_date(text).ok()?))
}

/// Whole seconds since 1970, as HTTP compares them; `None` outside what it can write.
fn seconds(time: Option<SystemTime>) -> Option<u64> {
    let seconds = time?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (seconds < END_OF_DATES).then_some(seconds)
}

/// A date as HTTP writes it; `None` outside what it can write.
pub fn date_of(time: SystemTime) -> Option<HeaderValue> {
    let since = Duration::from_secs(seconds(Some(time))?);
    HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)).ok()
}

fn head(status: StatusCode, body: Body, meta: &Meta) -> Reply {
    let mut reply = Reply::new(status, body).with(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(etag) = HeaderValue::try_from(&meta.etag) {
        reply = reply.with(ETAG, etag);
    }
    if let Some(modified) = meta.modified.and_then(date_of) {
        reply = reply.with(LAST_MODIFIED, modified);
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
    const EARLIER: &str = "Tue, 15 Nov 1994 08:12:30 GMT";

    fn meta(len: u64) -> Meta {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(784_887_151_999_999_999);
        Meta { len, etag: "\"a\"".to_owned(), modified: Some(modified), is_uefi: false }
    }

    fn ask(verb: Verb, len: u64, headers: &[(HeaderName, &str)]) -> Result<Reply, Refusal> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        respond(verb, &HeaderMap::from_iter(headers), b"a.efi", &meta(len))
    }

    fn status(headers: &[(HeaderName, &str)]) -> u16 {
        ask(Verb::Get, 10, headers)
            .map_or_else(|refusal| refusal.status(), |reply| reply.status)
            .as_u16()
    }

    #[test]
    fn the_whole_file_has_a_complete_head() {
        let reply = ask(Verb::Get, 10, &[]).unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.body, Body::Part { start: 0, len: 10 });
        for (name, value) in [
            (CONTENT_LENGTH, "10"),
            (CONTENT_TYPE, "application/efi"),
            (ETAG, "\"a\""),
            (LAST_MODIFIED, DATE),
            (ACCEPT_RANGES, "bytes"),
        ] {
            assert_eq!(reply.headers[name], value);
        }
        let head = ask(Verb::Head, 10, &[(RANGE, "bytes=0-1")]).unwrap();
        assert_eq!(head, Reply { body: Body::Nothing, ..reply });
    }

    #[test]
    fn one_range_is_sent_as_a_part() {
        for (range, start, end) in [
            ("bytes=0-0", 0, 0),
            ("bytes=3-", 3, 9),
            ("bytes=3-99999999999999999999999", 3, 9),
            ("bytes=-4", 6, 9),
            ("bytes=-400", 0, 9),
            (" Bytes = 2-5 ", 2, 5),
        ] {
            let reply = ask(Verb::Get, 10, &[(RANGE, range)]).unwrap();
            assert_eq!(reply.status, 206, "{range}");
            assert_eq!(reply.body, Body::Part { start, len: end - start + 1 });
            assert_eq!(reply.headers[CONTENT_RANGE], format!("bytes {start}-{end}/10"));
            assert_eq!(reply.headers[CONTENT_LENGTH], (end - start + 1).to_string());
        }
    }

    #[test]
    fn a_range_behind_the_end_is_refused_with_the_size() {
        for (len, range) in [
            (10, "bytes=10-"),
            (10, "bytes=18446744073709551615-"),
            (10, "bytes=-0"),
            (0, "bytes=0-"),
        ] {
            assert_eq!(ask(Verb::Get, len, &[(RANGE, range)]), Err(Refusal::Range(len)), "{range}");
        }
    }

    #[test]
    fn a_range_that_is_not_one_is_passed_over() {
        for range in [
            "bytes=5-2",
            "bytes=0-1,4-5",
            "lines=0-1",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(status(&[(RANGE, range)]), 200, "{range}");
        }
        let mut headers = HeaderMap::new();
        headers.append(RANGE, HeaderValue::from_static("bytes=0-0"));
        headers.append(RANGE, HeaderValue::from_static("bytes=1-1"));
        assert_eq!(respond(Verb::Get, &headers, b"a", &meta(10)).unwrap().status, 200);
    }

    #[test]
    fn a_part_is_only_for_who_has_this_version() {
        let range = (RANGE, "bytes=1-");
        for (validator, expected) in [
            ("\"a\"", 206),
            (DATE, 206),
            ("\"b\"", 200),
            ("W/\"a\"", 200),
            (EARLIER, 200),
            ("", 200),
        ] {
            assert_eq!(status(&[range.clone(), (IF_RANGE, validator)]), expected, "{validator}");
        }
    }

    #[test]
    fn conditions_are_weighed_in_rfc_9110s_order() {
        for (headers, expected) in [
            (&[(IF_NONE_MATCH, "\"a\"")][..], 304),
            (&[(IF_NONE_MATCH, "\"x\", W/\"a\"")], 304),
            (&[(IF_NONE_MATCH, "*")], 304),
            (&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DATE)], 200),
            (&[(IF_MODIFIED_SINCE, DATE)], 304),
            (&[(IF_MODIFIED_SINCE, EARLIER)], 200),
            (&[(IF_MODIFIED_SINCE, "yesterday")], 200),
            (&[(IF_MATCH, "\"x\"")], 412),
            (&[(IF_MATCH, "W/\"a\"")], 412),
            (&[(IF_MATCH, "\"x\",\"a\"")], 200),
            (&[(IF_MATCH, "*"), (IF_UNMODIFIED_SINCE, EARLIER)], 200),
            (&[(IF_UNMODIFIED_SINCE, EARLIER)], 412),
            (&[(IF_UNMODIFIED_SINCE, DATE)], 200),
            (&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a\"")], 412),
            (&[(IF_MATCH, "\"a\""), (RANGE, "bytes=2-")], 206),
        ] {
            assert_eq!(status(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_304_has_the_validators_and_nothing_else() {
        let reply = ask(Verb::Get, 10, &[(IF_NONE_MATCH, "*")]).unwrap();
        assert_eq!(reply.body, Body::Nothing);
        assert_eq!(reply.headers[ETAG], "\"a\"");
        assert!(!reply.headers.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn a_date_that_http_cannot_write_is_left_out() {
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(END_OF_DATES);
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!([date_of(late), date_of(early)], [None, None]);
        for modified in [Some(late), Some(early), None] {
            let meta = Meta { modified, ..meta(10) };
            let reply = respond(Verb::Get, &HeaderMap::new(), b"a", &meta).unwrap();
            assert!(!reply.headers.contains_key(LAST_MODIFIED));
        }
    }

    #[test]
    fn the_type_follows_the_suffix() {
        for (name, expected) in [
            (&b"shimx64.EFI"[..], "application/efi"),
            (b"a/menu.ipxe", "text/plain; charset=utf-8"),
            (b"initrd.img", "application/octet-stream"),
            (b"vmlinuz", "application/octet-stream"),
            (b"a.efi/\xff", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected);
        }
        let signed = Meta { is_uefi: true, ..meta(10) };
        let reply = respond(Verb::Head, &HeaderMap::new(), b"shimx64.efi.signed", &signed).unwrap();
        assert_eq!(reply.headers[CONTENT_TYPE], "application/efi");
    }
}
