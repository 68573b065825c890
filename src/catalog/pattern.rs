//! One value of a selector: what it accepts, and what else might accept the same.

use std::fmt;

use super::selector::{Field, Value};
use crate::{
    firmware::Platform,
    machine::{Mac, NotAMac, NotAUuid, Uuid},
};

/// Names of architectures that others use, and what iPXE tells instead.
const ARCHITECTURES: [(&str, &str); 9] = [
    ("aarch64", "arm64"),
    ("amd64", "x86_64"),
    ("armhf", "arm32"),
    ("i586", "i386"),
    ("i686", "i386"),
    ("loongarch64", "loong64"),
    ("x64", "x86_64"),
    ("x86", "i386"),
    ("x86-64", "x86_64"),
];

/// What one value of a selector accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pattern {
    /// Text with `*` and `?`.
    Glob(Glob),
    /// One hardware address.
    Mac(Mac),
    /// Hardware addresses, by their twelve digits: separators and case do not count.
    MacGlob(Glob),
    /// What kind of firmware.
    Platform(Platform),
    /// This text, exactly.
    Text(String),
    /// One machine's UUID, in either byte order.
    Uuid(Uuid),
}

impl Pattern {
    /// Reads a value as it is written for this field.
    pub fn parse(field: &Field, text: &str) -> Result<Self, PatternError> {
        let has_wildcard = text.contains(['*', '?']);
        match field {
            Field::Firmware => match text {
                "bios" => Ok(Self::Platform(Platform::Bios)),
                "uefi" => Ok(Self::Platform(Platform::Uefi)),
                _ => Err(PatternError::NotAFirmware),
            },
            Field::Mac if has_wildcard => {
                if text.chars().any(|c| !c.is_ascii_hexdigit() && !":-*?".contains(c)) {
                    return Err(PatternError::NotAMacGlob);
                }
                let digits = text.replace([':', '-'], "").to_ascii_lowercase();
                Ok(Self::MacGlob(Glob { written: text.to_owned(), pattern: digits }))
            }
            Field::Mac => text.parse().map(Self::Mac).map_err(PatternError::NotAMac),
            Field::Uuid => match text.parse::<Uuid>() {
                Ok(uuid) if uuid.is_shared() => Err(PatternError::SharedUuid),
                Ok(uuid) => Ok(Self::Uuid(uuid)),
                Err(error) => Err(PatternError::NotAUuid(error)),
            },
            Field::Arch
            | Field::Label(_)
            | Field::Manufacturer
            | Field::Product
            | Field::Serial => {
                // What a machine tells is cleaned of these.
                if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
                    return Err(PatternError::NeverTold);
                }
                if *field == Field::Arch
                    && let Some((_, own)) = ARCHITECTURES.iter().find(|(other, _)| *other == text)
                {
                    return Err(PatternError::NeverAnArch(own));
                }
                Ok(match has_wildcard {
                    true => Self::Glob(Glob { written: text.to_owned(), pattern: text.to_owned() }),
                    false => Self::Text(text.to_owned()),
                })
            }
        }
    }

    /// Whether it accepts one value only.
    pub fn is_exact(&self) -> bool {
        !matches!(self, Self::Glob(_) | Self::MacGlob(_))
    }

    /// The hardware address that it accepts, where it is one.
    pub(super) fn exact_mac(&self) -> Option<Mac> {
        match self {
            Self::Mac(mac) => Some(*mac),
            Self::Glob(_)
            | Self::MacGlob(_)
            | Self::Platform(_)
            | Self::Text(_)
            | Self::Uuid(_) => None,
        }
    }

    /// The start of each value that it accepts, in one spelling. Of two patterns that accept one
    /// value, the start of one begins with that of the other.
    pub(super) fn beginning(&self) -> String {
        match self {
            Self::Glob(glob) | Self::MacGlob(glob) => {
                glob.pattern.split(['*', '?']).next().unwrap_or_default().to_owned()
            }
            Self::Mac(mac) => digits(*mac),
            Self::Platform(platform) => platform.to_string(),
            Self::Text(text) => text.clone(),
            Self::Uuid(uuid) => uuid.in_one_order().to_string(),
        }
    }

    /// A value that it accepts, as a machine would tell it.
    pub(super) fn example(&self) -> String {
        match self {
            Self::Glob(glob) => glob.example(usize::from(glob.pattern.starts_with('*'))),
            Self::Mac(mac) => mac.to_string(),
            Self::MacGlob(glob) => {
                let fixed = glob.pattern.chars().filter(|&c| c != '*').count();
                glob.example(12_usize.saturating_sub(fixed))
            }
            Self::Platform(platform) => platform.to_string(),
            Self::Text(text) => text.clone(),
            Self::Uuid(uuid) => uuid.to_string(),
        }
    }

    /// Whether these allow this hardware address; absent, they allow every one.
    pub fn allow(patterns: Option<&[Self]>, mac: Mac) -> bool {
        let accepts = |pattern: &Self| pattern.accepts(&Value::Mac(mac));
        patterns.is_none_or(|patterns| patterns.iter().any(accepts))
    }

    pub(super) fn accepts(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Glob(glob), Value::Text(text)) => glob.accepts(text),
            (Self::Mac(own), Value::Mac(mac)) => own == mac,
            (Self::MacGlob(glob), Value::Mac(mac)) => glob.accepts(&digits(*mac)),
            (Self::Platform(own), Value::Platform(platform)) => own == platform,
            (Self::Text(own), Value::Text(text)) => own == text,
            (Self::Uuid(own), Value::Uuid(uuid)) => own.is_same_machine(uuid),
            // A field has values of its own kind only.
            _ => false,
        }
    }

    /// Whether one value may be accepted by both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Glob(one), Self::Glob(other)) | (Self::MacGlob(one), Self::MacGlob(other)) => {
                one.overlaps(other)
            }
            (Self::Glob(_), Self::Text(text)) => self.accepts(&Value::Text(text)),
            (Self::MacGlob(_), Self::Mac(mac)) => self.accepts(&Value::Mac(*mac)),
            (Self::Text(_), Self::Glob(_)) | (Self::Mac(_), Self::MacGlob(_)) => {
                other.overlaps(self)
            }
            (Self::Uuid(one), Self::Uuid(other)) => one.is_same_machine(other),
            _ => self == other,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glob(glob) | Self::MacGlob(glob) => write!(f, "{:?}", glob.written),
            Self::Mac(mac) => write!(f, "\"{mac}\""),
            Self::Platform(platform) => write!(f, "\"{platform}\""),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Uuid(uuid) => write!(f, "\"{uuid}\""),
        }
    }
}

/// Text in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob {
    written: String,
    pattern: String,
}

impl Glob {
    /// Characters that are no wildcards.
    pub(super) fn literals(&self) -> usize {
        self.pattern.chars().filter(|c| !matches!(c, '*' | '?')).count()
    }

    /// Digits of a hardware address that it leaves open.
    pub(super) fn open_digits(&self) -> usize {
        12_usize.saturating_sub(self.literals())
    }

    /// Whether all that it accepts begins so.
    pub(super) fn begins_with(&self, start: &str) -> bool {
        self.pattern.starts_with(start)
    }

    fn accepts(&self, text: &str) -> bool {
        // Of a text without wildcards, that is what overlapping means.
        meet(&self.pattern, text, false)
    }

    /// A text that it accepts; its first star stands for so many characters.
    fn example(&self, star: usize) -> String {
        self.pattern.replacen('*', &"0".repeat(star), 1).replace('*', "").replace('?', "0")
    }

    fn overlaps(&self, other: &Self) -> bool {
        meet(&self.pattern, &other.pattern, true)
    }
}

/// Whether one text fits both; wildcards of `other` count only when they are said to be some, as
/// they may also stand in what a machine tells. Quadratic at worst.
fn meet(glob: &str, other: &str, other_is_glob: bool) -> bool {
    let other: Vec<char> = other.chars().collect();
    let star = |c: char| other_is_glob && c == '*';
    // reached[n]: the glob so far and the first n characters of the other have a text in common.
    let mut reached = vec![false; other.len() + 1];
    reached[0] = true;
    let spread = |reached: &mut Vec<bool>| {
        for (at, &c) in other.iter().enumerate() {
            reached[at + 1] |= reached[at] && star(c);
        }
    };
    spread(&mut reached);
    for own in glob.chars() {
        let mut next = vec![false; other.len() + 1];
        for at in 0..=other.len() {
            if own == '*' {
                next[at] |= reached[at] || (at > 0 && next[at - 1]);
                continue;
            }
            // A star of the other takes this character and stays, or stops before it.
            next[at] |= at > 0 && star(other[at - 1]) && (reached[at - 1] || reached[at]);
            let fits = |c: char| own == '?' || c == own || (other_is_glob && c == '?');
            next[at] |= at > 0 && reached[at - 1] && !star(other[at - 1]) && fits(other[at - 1]);
        }
        spread(&mut next);
        reached = next;
    }
    reached[other.len()]
}

fn digits(mac: Mac) -> String {
    mac.to_string().replace(':', "")
}

/// Why a text is no value of a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PatternError {
    /// Empty, with spaces around it, or with control characters.
    NeverTold,
    /// Neither of the two.
    NotAFirmware,
    /// Another's name for an architecture; iPXE tells this one.
    NeverAnArch(&'static str),
    /// Not one machine's hardware address.
    NotAMac(NotAMac),
    /// More than digits, separators and wildcards.
    NotAMacGlob,
    /// Not one machine's UUID.
    NotAUuid(NotAUuid),
    /// A UUID that many boards have.
    SharedUuid,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverTold => f.write_str(
                "is empty, or has control characters or spaces around it, as no machine's has; \
                 leave them out",
            ),
            Self::NeverAnArch(own) => write!(f, "is no arch that iPXE tells; write {own:?}"),
            Self::NotAFirmware => f.write_str("is no firmware; write \"bios\" or \"uefi\""),
            Self::NotAMac(error) => error.fmt(f),
            Self::NotAMacGlob => {
                f.write_str("is no part of a hardware address; write it like \"52:54:00:*\"")
            }
            Self::NotAUuid(error) => error.fmt(f),
            Self::SharedUuid => f.write_str(
                "is what board makers leave on many boards, and names no machine; select by mac",
            ),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(field: &Field, text: &str) -> Pattern {
        Pattern::parse(field, text).unwrap()
    }

    #[test]
    fn a_glob_is_any_characters_or_one() {
        for (glob, yes, no) in [
            ("VMware*", "VMware7,1", "QEMU VMware"),
            ("a?c", "abc", "abbc"),
            ("*x*", "axb", "ab"),
            ("?*", "é", ""),
            ("*", "", "-"),
        ] {
            let glob = pattern(&Field::Product, glob);
            assert!(glob.accepts(&Value::Text(yes)), "{glob} {yes}");
            assert!(no == "-" || !glob.accepts(&Value::Text(no)), "{glob} {no}");
        }
        // A wildcard that a machine tells is a character like any other.
        assert!(!pattern(&Field::Product, "a?c").accepts(&Value::Text("a*")));
    }

    #[test]
    fn globs_of_addresses_know_no_separators_and_no_case() {
        let mac = "52:54:00:ab:cd:ef".parse().unwrap();
        for glob in ["52-54-00-*", "525400AB*", "52:54:00:ab:cd:??", "*EF"] {
            assert!(pattern(&Field::Mac, glob).accepts(&Value::Mac(mac)), "{glob}");
        }
        assert!(!pattern(&Field::Mac, "52:54:01:*").accepts(&Value::Mac(mac)));
    }

    #[test]
    fn overlapping_globs_are_found() {
        for (one, other, expected) in [
            ("a*", "*b", true),
            ("a*", "b*", false),
            ("a?c", "?b?", true),
            ("a?", "a??", false),
            ("a*c*", "abd", false),
            ("*ab", "*ba", false),
            ("x*y*z", "xz", false),
            ("x*y*z", "xy*", true),
            ("*", "*", true),
            ("a**", "a", true),
        ] {
            let (one, other) = (pattern(&Field::Serial, one), pattern(&Field::Serial, other));
            assert_eq!(one.overlaps(&other), expected, "{one} {other}");
            assert_eq!(other.overlaps(&one), expected, "{other} {one}");
        }
    }
}
