//! What is fetched: sources, their hashes, compression and headers.

use super::{Context, Spec, repeats};
use crate::check::{Report, json::Node, url};

/// A resource that may be left empty.
pub(super) fn check(node: &Node, context: Context<'_>, report: &mut Report) {
    let source = node.text("source");
    if let Some(text) = source.filter(|text| !text.is_empty()) {
        is_source(text, node.line_of("source"), context, report);
    }
    if let Some(method) = node.filled("compression").filter(|&method| method != "gzip") {
        let line = node.line_of("compression");
        report.error(line, format!("has \"compression\": \"{method}\"; there is only \"gzip\""));
    }
    if let Some(verification) = node.get("verification").filter(|node| node.get("hash").is_some()) {
        let line = verification.line_of("hash");
        if context.spec >= Spec::V3_0 && source.is_none() {
            report.error(line, "has a \"hash\" without a \"source\"; add the source");
        }
        is_hash(verification.text("hash").unwrap_or(""), line, context, report);
    }
    headers(node, source, context, report);
}

/// A resource that must be there.
pub(super) fn required(node: &Node, context: Context<'_>, report: &mut Report) {
    if node.filled("source").is_none() {
        report.error(node.line_of("source"), "lacks a \"source\"; write the URL to fetch");
    }
    check(node, context, report);
}

/// A URL with one of the schemes that this version fetches.
pub(super) fn is_source(source: &str, line: usize, context: Context<'_>, report: &mut Report) {
    let shown: String = source.chars().take(60).collect();
    let scheme = match url::scheme(source) {
        Ok(scheme) => scheme,
        Err(why) => {
            report.error(line, format!("has the URL \"{shown}\", which {why}"));
            return;
        }
    };
    let known = schemes(context);
    match scheme.as_str() {
        "data" => {
            if let Some(why) = url::data_fault(source) {
                report.error(line, format!("has the URL \"{shown}\", which {why}"));
            }
        }
        scheme if !known.contains(&scheme) => {
            let known = known.join(", ");
            let write = if source.starts_with('/') { "a URL, not a path; " } else { "" };
            report.error(
                line,
                format!("has the URL \"{shown}\"; write {write}one of the schemes {known}, data"),
            );
        }
        "http" | "https" if url::lacks_host(source) => {
            report.error(line, format!("has the URL \"{shown}\", which names no host"));
        }
        "s3" | "arn" => s3(source, scheme.as_str(), line, report),
        _ => {}
    }
}

fn s3(source: &str, scheme: &str, line: usize, report: &mut Report) {
    let (path, query) = source.split_once('?').unwrap_or((source, ""));
    if query.split('&').any(|word| matches!(word, "versionId" | "versionId=")) {
        report.error(line, "has an empty \"versionId\"; write it, or take it out");
    }
    let fields: Vec<&str> = path.splitn(6, ':').collect();
    if scheme == "arn" && (fields.len() < 6 || fields.get(2) != Some(&"s3") || !path.contains('/'))
    {
        report.error(line, "has an ARN that is none of S3; write arn:aws:s3:::BUCKET/KEY");
    }
}

fn schemes(context: Context<'_>) -> Vec<&'static str> {
    let spec = context.spec;
    let mut schemes = vec!["http", "https"];
    if spec > Spec::V2_0 {
        schemes.extend(["tftp", "s3"]);
    }
    if spec >= Spec::V3_2 {
        schemes.push("gs");
    }
    if spec >= Spec::V3_4 {
        schemes.push("arn");
    }
    if spec < Spec::V3_0 || matches!(context.target, crate::check::Target::Flatcar(_)) {
        schemes.push("oem");
    }
    schemes
}

fn is_hash(hash: &str, line: usize, context: Context<'_>, report: &mut Report) {
    let Some((function, sum)) = hash.split_once('-') else {
        report.error(line, format!("has the hash \"{hash}\"; write sha512- and 128 hex digits"));
        return;
    };
    let digits = match function {
        "sha512" => 128,
        "sha256" if context.spec >= Spec::V3_1 => 64,
        _ => {
            report.error(line, format!("has a hash of the sort \"{function}\"; write sha512-…"));
            return;
        }
    };
    if sum.len() != digits || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let count = sum.chars().count();
        report.error(
            line,
            format!("has {count} characters after {function}-; write its {digits} hex digits"),
        );
    }
}

fn headers(node: &Node, source: Option<&str>, context: Context<'_>, report: &mut Report) {
    let headers = node.list("httpHeaders");
    let line = node.line_of("httpHeaders");
    if headers.is_empty() {
        return;
    }
    let scheme = source.and_then(|source| url::scheme(source).ok());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        report.error(line, "has \"httpHeaders\" for a source that is not fetched by HTTP");
    }
    for header in headers {
        if header.filled("name").is_none() {
            report.error(header.line, "has a header without \"name\"; add it");
        } else if header.text("value") == Some("") {
            report.error(header.line, "has a header with an empty \"value\"; leave \"value\" out");
        }
    }
    if context.is_spec_3() {
        repeats(headers.iter().map(|h| (h.line, h.text("name"))), "header", report);
    }
}

/// Who stands between the machine and its sources.
pub(super) fn proxy(node: &Node, context: Context<'_>, report: &mut Report) {
    for key in ["httpProxy", "httpsProxy"] {
        let Some(proxy) = node.text(key) else { continue };
        let line = node.line_of(key);
        match url::scheme(proxy).as_deref() {
            Ok("http" | "https") => {}
            _ => report.error(line, format!("has \"{key}\": \"{proxy}\"; write http://HOST:PORT")),
        }
    }
    if context.is_spec_3() {
        let hosts = node.list("noProxy").iter();
        repeats(hosts.map(|node| (node.line, node.as_text())), "host", report);
    }
}
