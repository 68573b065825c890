//! The parts of a URL that Ignition looks at: its scheme, and what a `data:` URL holds.

use super::text;

/// A URL's scheme in lower case, if Go could parse the URL at all.
pub(super) fn scheme(url: &str) -> Result<String, String> {
    if let Some(c) = url.chars().find(|c| c.is_control()) {
        return Err(format!("has the character U+{:04X}", u32::from(c)));
    }
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    if let Some(at) = bad_escape(fragment) {
        return Err(format!("has \"{at}\"; a percent sign itself is %25"));
    }
    let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return Ok(String::new());
    };
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            authority(&rest[..end])?;
            &rest[end..]
        }
        None if rest.starts_with('/') => rest,
        None => "",
    };
    if let Some(at) = bad_escape(path.split('?').next().unwrap_or("")) {
        return Err(format!("has \"{at}\"; a percent sign itself is %25"));
    }
    Ok(scheme.to_ascii_lowercase())
}

fn is_scheme(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn authority(authority: &str) -> Result<(), String> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(fine) || bad_escape(user).is_some() {
        return Err(format!("has \"{user}\" before its @"));
    }
    let port = match host.strip_prefix('[') {
        Some(rest) => {
            let (_, rest) = rest.split_once(']').ok_or("has a [ without its ]")?;
            rest
        }
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("has \"{digits}\" for a port number"));
    }
    if host.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
        return Err(format!("has the host \"{host}\", which is no name or address"));
    }
    // Only what is no ASCII may be escaped there.
    let ascii = host.find('%').is_some_and(|at| {
        let digit = host.as_bytes().get(at + 1).is_some_and(|digit| matches!(digit, b'0'..=b'7'));
        digit && !host.starts_with('[')
    });
    if ascii || bad_escape(host).is_some() {
        return Err(format!("has a percent sign in its host \"{host}\""));
    }
    Ok(())
}

/// Whether an http URL names nobody to ask.
pub(super) fn lacks_host(url: &str) -> bool {
    let rest = url.split_once(':').map_or("", |(_, rest)| rest);
    let host = rest.strip_prefix("//").unwrap_or("");
    host.is_empty() || host.starts_with(['/', '?', '#', ':'])
}

fn bad_escape(text: &str) -> Option<String> {
    text.match_indices('%').find_map(|(at, _)| {
        let two = text.as_bytes().get(at + 1..at + 3);
        let fine = two.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        (!fine).then(|| text[at..].chars().take(3).collect())
    })
}

/// What is wrong with a `data:` URL, as the library that every Ignition reads them with sees it.
pub(super) fn data_fault(url: &str) -> Option<String> {
    let Some(rest) = url.strip_prefix("data:") else {
        return Some("must begin with \"data:\" in small letters".to_owned());
    };
    let Some((media, data)) = rest.split_once(',') else {
        return Some("has no comma before its data; write \"data:,TEXT\"".to_owned());
    };
    let mut parts = media.split(';').peekable();
    let sort = parts.next().unwrap_or("");
    if !sort.is_empty() && sort.split('/').filter(|part| is_name(part)).count() != 2
        || sort.matches('/').count() > 1
    {
        return Some(format!("has the media type \"{sort}\"; write one like text/plain, or none"));
    }
    let mut base64 = false;
    while let Some(part) = parts.next() {
        if part == "base64" && parts.peek().is_none() {
            base64 = true;
        } else if part
            .split_once('=')
            .is_none_or(|(name, value)| !is_token(name) || !is_value(value))
        {
            return Some(format!(
                "has \"{part}\" before its comma; write \";base64,\", or \";name=value,\""
            ));
        }
    }
    let stray = |c: &char| !(c.is_ascii_alphanumeric() || "-_.!~*'();/?:@&=+$,%".contains(*c));
    if let Some(c) = data.chars().find(stray) {
        let mut bytes = [0; 4];
        let escaped: String =
            c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
        return Some(format!("has {c:?} in its data; write {escaped}, or use base64"));
    }
    if let Some(at) = bad_escape(data) {
        return Some(format!("has \"{at}\" in its data; a percent sign itself is %25"));
    }
    let data = if base64 { unescaped(data) } else { return None };
    match text::base64(&data) {
        Some(_) => None,
        None => Some("holds no base64, or lacks its = signs at the end".to_owned()),
    }
}

fn is_token(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*'`{}|~".contains(&byte))
}

fn is_name(word: &str) -> bool {
    is_token(word) && word.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A token in which other characters are escaped.
fn is_value(word: &str) -> bool {
    is_token(&word.replace('%', "x")) && bad_escape(word).is_none()
}

fn unescaped(data: &str) -> String {
    percent_encoding::percent_decode_str(data).decode_utf8_lossy().into_owned()
}
