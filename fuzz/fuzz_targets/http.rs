//! A request head goes through every pure function of `http`: `fuzz/run` runs it.
//! Seeds: `tests/fixtures/http/`.
#![no_main]

use std::time::SystemTime;

use bootbox::http::{
    file::{self, Meta},
    read,
    reply::{Body, Reply},
    route::{Route, Script},
};
use hyper::{
    HeaderMap, Method, Uri,
    header::{HeaderName, HeaderValue},
};

libfuzzer_sys::fuzz_target!(|head: &[u8]| {
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next().unwrap_or_default().split(|&byte| byte == b' ');
    let method = Method::from_bytes(words.next().unwrap_or_default());
    let target = words.next().unwrap_or_default();
    let (Ok(method), Ok(uri)) = (method, Uri::try_from(target)) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let name = HeaderName::from_bytes(halves.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(halves.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let len = head.len() as u64 * 977;
    let meta = Meta { len, etag: "\"a\"".to_owned(), modified: Some(SystemTime::UNIX_EPOCH), is_uefi: false };
    let (name, answered) =
        match read(&method, &uri, &headers, |path| path.as_bytes().starts_with(b"/coreos/")) {
            Ok((_, Route::Config(_))) => return,
            Ok((verb, Route::File(path))) => {
                (path.as_bytes().to_vec(), file::respond(verb, &headers, path.as_bytes(), &meta))
            }
            Ok((_, Route::Script(Script::Nobody(error)))) => {
                return assert!(error.to_string().len() < 256);
            }
            Ok((_, Route::Script(Script::Boot | Script::Machine(_) | Script::Named(_)))) => return,
            Ok((_, Route::Image(_))) => return,
            Err(refusal) => (target.to_vec(), Err(refusal)),
        };
    match answered {
        Ok(Reply { body: Body::Part { start, len }, .. }) => assert!(start + len <= meta.len),
        Ok(_) => {}
        // Status line and date come on top.
        Err(refusal) => assert!(Reply::refuse(&refusal, &name).to_bytes().len() < 1400),
    }
});
