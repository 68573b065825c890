//! Who may import whom: only a lower floor, or a sibling in the same folder.
//!
//! The table is the house's plan; a module that is not in it fails, too.

use std::{collections::BTreeMap, fs, path::Path};

const FLOORS: [(&str, u8); 24] = [
    ("firmware", 0),
    ("machine", 0),
    ("mutator", 0),
    ("path", 0),
    ("printable", 0),
    ("template", 0),
    ("token", 0),
    ("unified", 0),
    ("catalog", 1),
    ("check", 1),
    ("release", 1),
    ("trace", 1),
    ("ledger", 2),
    ("render", 2),
    ("config", 3),
    ("control", 3),
    ("http", 3),
    ("lan", 3),
    ("proxydhcp", 3),
    ("solicitation", 3),
    ("tftp", 3),
    ("serve", 4),
    ("cli", 5),
    ("lib", 6),
];

/// What stands next to each other on floor 0 may be used there: a template is filled in with a
/// machine's words.
const GROUND: u8 = 0;

#[test]
fn every_module_imports_only_from_lower_floors() {
    let floors: BTreeMap<&str, u8> = FLOORS.into();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = 0;
    for (file, text) in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("below src").to_owned();
        let first = relative.components().next().expect("a file has a name");
        let module = first.as_os_str().to_str().expect("UTF-8").trim_end_matches(".rs");
        if module == "main" {
            continue;
        }
        let own = *floors.get(module).unwrap_or_else(|| panic!("{module} has no floor"));
        for imported in crate_paths(&text) {
            let floor = *floors.get(imported).unwrap_or_else(|| panic!("{imported} has no floor"));
            let fine = imported == module || floor < own || (floor, own) == (GROUND, GROUND);
            assert!(
                fine,
                "{}: floor {own} uses crate::{imported} of floor {floor}",
                relative.display()
            );
            imports += 1;
        }
    }
    assert!(imports > 20, "only {imports} imports were found: is the reading wrong?");
}

fn rust_files(folder: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            files.push((path, text));
        }
    }
    files
}

/// The first word after each `crate::`, those inside `use crate::{…}` included.
fn crate_paths(text: &str) -> Vec<&str> {
    let mut paths = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || "_$".contains(c)) {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => paths.extend(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (index, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_alphabetic() => {
                            paths.extend(word(&list[index..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    paths
}

fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}
