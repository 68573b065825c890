//! The word in a URL by which a machine is known where its address is not believed.
//!
//! A token stands in a path as `/~TOKEN/…`. It is a secret: never printed but into the texts of the
//! machine it was made for, and hidden from whatever else a path ends up in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What stands before a token in a path.
const MARK: u8 = b'~';
/// Other spellings of the mark, percent-encoded once and twice.
const SPELLINGS: [&str; 3] = ["~", "%7e", "%257e"];

/// 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(u128);

impl Token {
    /// Of 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }

    /// What a path has for a token before its name, and the name: `/~TOKEN/a/b` is `TOKEN` and
    /// `/a/b`. A path that has none is all name.
    pub fn split(path: &[u8]) -> (Option<&[u8]>, &[u8]) {
        let mut rest = path;
        loop {
            let Some(inner) = rest.strip_prefix(b"/") else { return (None, path) };
            let end = inner.iter().position(|&byte| byte == b'/').unwrap_or(inner.len());
            let (component, behind) = inner.split_at(end);
            match component {
                b"" | b"." if !behind.is_empty() => rest = behind,
                [MARK, token @ ..] => {
                    return (Some(token), if behind.is_empty() { b"/" } else { behind });
                }
                _ => return (None, path),
            }
        }
    }

    /// Reads what [`Token::split`] found.
    pub fn read(written: &[u8]) -> Option<Self> {
        std::str::from_utf8(written).ok()?.parse().ok()
    }

    /// A path or a text with paths in it, without any token: `/~TOKEN/a` becomes `/~.../a`.
    pub fn hidden(text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(slash) = rest.find('/') {
            let (before, behind) = rest.split_at(slash + 1);
            shown.push_str(before);
            rest = behind;
            let is_mark = |mark: &&str| {
                rest.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark))
            };
            if SPELLINGS.iter().any(is_mark) {
                shown.push_str("~...");
                let ends = |c: char| c == '/' || c.is_whitespace() || "\"'?\\".contains(c);
                rest = &rest[rest.find(ends).unwrap_or(rest.len())..];
            }
        }
        shown.push_str(rest);
        shown
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Never the token: debug output ends up in logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        // `from_str_radix` would take a sign.
        let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = u128::from_str_radix(text, 16).map_err(|_| NotAToken)?;
        plain.then_some(Self(bits)).ok_or(NotAToken)
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.to_string()
    }
}

impl TryFrom<String> for Token {
    type Error = NotAToken;

    fn try_from(text: String) -> Result<Self, NotAToken> {
        text.parse()
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAToken;

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not 32 hexadecimal digits")
    }
}

impl std::error::Error for NotAToken {}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn a_token_is_read_as_it_is_written_and_never_shown_by_debug() {
        let token: Token = TEXT.parse().unwrap();
        assert_eq!(token.to_string(), TEXT);
        assert_eq!(format!("{token:?}"), "Token(…)");
        for wrong in ["", "0", &TEXT[1..], &format!("+{}", &TEXT[1..]), &format!("{TEXT}0")] {
            assert_eq!(wrong.parse::<Token>(), Err(NotAToken), "{wrong}");
        }
    }

    #[test]
    fn the_first_component_of_a_path_may_be_a_token() {
        for (path, token, name) in [
            ("/~abc/coreos/", Some("abc"), "/coreos/"),
            ("//.//~abc//x", Some("abc"), "//x"),
            ("/~abc", Some("abc"), "/"),
            ("/~/x", Some(""), "/x"),
            ("/coreos/~abc", None, "/coreos/~abc"),
            ("/", None, "/"),
            ("/./", None, "/./"),
            ("", None, ""),
            ("~abc/x", None, "~abc/x"),
        ] {
            let (found, rest) = Token::split(path.as_bytes());
            assert_eq!(found, token.map(str::as_bytes), "{path}");
            assert_eq!(rest, name.as_bytes(), "{path}");
        }
    }

    #[test]
    fn no_spelling_of_a_token_is_shown() {
        for (text, shown) in [
            (format!("/~{TEXT}/a"), "/~.../a"),
            (format!("/%7E{TEXT}/a"), "/~.../a"),
            (format!("/%257e{TEXT}"), "/~..."),
            (format!("//./~{TEXT}//~{TEXT}"), "//./~...//~..."),
            (format!("url=http://192.0.2.1/~{TEXT}/x y"), "url=http://192.0.2.1/~.../x y"),
            (format!("\"/~{TEXT}\" is wrong"), "\"/~...\" is wrong"),
            ("/a~1/é".to_owned(), "/a~1/é"),
        ] {
            assert_eq!(Token::hidden(&text), shown);
        }
    }
}
