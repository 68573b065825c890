//! Mutated request heads: nothing panics, and no refusal is above one MTU.

use std::time::SystemTime;

use hyper::{
    HeaderMap, Method, Uri,
    header::{HeaderName, HeaderValue},
};

use super::{
    file::{self, Meta},
    read,
    reply::{Body, Refusal, Reply},
    request::{Claim, shown_path},
    route::{Route, Script},
};
use crate::mutator::{Random, wanted};

const HEADS: [&[u8]; 9] = [
    include_bytes!("../../tests/fixtures/http/http_UefiHttpBoot_1.0_GET.txt"),
    include_bytes!("../../tests/fixtures/http/http_UefiHttpBoot_1.0_HEAD.txt"),
    include_bytes!("../../tests/fixtures/http/http_iPXE_1.0.0+git-20190125.36a4c8_GET.txt"),
    b"GET /ipxe?mac=52-54-00-12-34-56&uuid=11223344-5566-7788-99aa-010203040506&serial=A%20B\
      &arch=x86_64&manufacturer=QEMU HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
    b"GET http://192.0.2.1/a%2f..%2e/b HTTP/1.1\r\nRange: bytes=5-9\r\nIf-Range: \"a\"\r\n\
      If-Match: \"a\", W/\"b\"\r\nIf-Unmodified-Since: Tue, 15 Nov 1994 08:12:31 GMT\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\nIf-None-Match: *\r\nIf-Modified-Since: Tue, 15 Nov 1994 08:12:31 GMT\r\n\
      Range: bytes=-18446744073709551615\r\nContent-Length: 0\r\n\r\n",
    b"GET //%7E00112233445566778899aabbccddeeff/coreos//?mac=&uuid=11223344-5566-7788-99aa-010203040506 \
      HTTP/1.1\r\n\r\n",
    b"GET /~00112233445566778899aabbccddeeff/coreos/current/version.txt HTTP/1.1\r\n\r\n",
    b"GET /linuxaa64.efi.stub/52-54-00-12-34-56/11223344-5566-7788-99aa-010203040506.efi HTTP/1.1\r\n\r\n",
];
const MTU: usize = 1500;

#[test]
fn mutated_heads_are_answered_within_one_mtu() {
    let count = wanted() as usize;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut replies = 0_u64;
    for round in 0..count {
        let mut head = HEADS[round % HEADS.len()].to_vec();
        random.mutate(&mut head, &PIECES);
        replies += u64::from(answer(&head, random.next()));
    }
    assert!(replies > count as u64 / 10, "only {replies} of {count} heads could be read at all");
}

/// Splits a head as hyper would and takes it through every pure function; false when even hyper's
/// own types refuse it.
fn answer(head: &[u8], len: u64) -> bool {
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.next().unwrap_or(b"");
    let mut words = first.splitn(2, |&byte| byte == b' ');
    let method = Method::from_bytes(words.next().unwrap_or(b""));
    let target = words.next().unwrap_or(b"");
    let target = target.strip_suffix(b" HTTP/1.1").unwrap_or(target);
    let (Ok(method), Ok(uri)) = (method, Uri::try_from(target)) else { return false };
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let name = HeaderName::from_bytes(halves.next().unwrap_or(b""));
        let value = HeaderValue::from_bytes(halves.next().unwrap_or(b"").trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let etag = "\"a\"".to_owned();
    let meta = Meta { len, etag, modified: Some(SystemTime::UNIX_EPOCH), is_uefi: false };
    match read(&method, &uri, &headers, |path| path.as_bytes().starts_with(b"/coreos/")) {
        Ok((_, Route::Config(asked))) => {
            if let Claim::Wrong(error) = asked.claim {
                check(&Reply::refuse(&Refusal::Claim(error), asked.path.as_bytes()), len);
            }
            let hidden = shown_path(uri.path());
            // Who writes a token into a name as well shows it himself.
            let repeats = |token: &str| asked.path.to_string().contains(token);
            let token = asked.token.map(|token| token.to_string());
            assert!(token.is_none_or(|token| repeats(&token) || !hidden.contains(&token)));
        }
        Err(refusal) => check(&Reply::refuse(&refusal, target), len),
        Ok((_, Route::Script(Script::Nobody(error)))) => assert!(error.to_string().len() < 256),
        Ok((_, Route::Script(Script::Boot | Script::Machine(_) | Script::Named(_)))) => {}
        Ok((verb, Route::Image(_))) => check(&Reply::image(len).to(verb), len),
        Ok((verb, Route::File(path))) => {
            match file::respond(verb, &headers, path.as_bytes(), &meta) {
                Ok(reply) => check(&reply, len),
                Err(refusal) => check(&Reply::refuse(&refusal, path.as_bytes()), len),
            }
        }
    }
    true
}

fn check(reply: &Reply, file: u64) {
    let fields = reply.headers.iter();
    let head: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let body = match &reply.body {
        Body::Nothing => 0,
        Body::Bytes(text) => text.len(),
        Body::Text(text) => text.len(),
        Body::Part { start, len } => {
            assert!(start.checked_add(*len).is_some_and(|end| end <= file));
            0
        }
    };
    // Status line and date, which hyper adds.
    assert!(head + body + 100 < MTU, "{reply:?}");
    if reply.status.as_u16() >= 400 {
        assert!(body > 0 && reply.headers["connection"] == "close");
    }
}

/// What a head trips over.
const PIECES: [&[u8]; 13] = [
    b"%2e%2e",
    b"%2f",
    b"%00",
    b"..",
    b"//",
    b"\r\n",
    b"%",
    b"&mac=",
    b"=",
    b"\xff",
    b"-",
    b"9999999999",
    b"/~00112233445566778899aabbccddeeff",
];
