//! Our verdict on an Ignition config, beside that of Debian's `ignition-validate` (2.14.0: spec 3.0 to
//! 3.3), and on the iPXE scripts that we write ourselves.
//!
//! We may be stricter than the tool, where `STRICTER` says why; we are never laxer.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use bootbox::{
    check::{self, Kind, Severity, Target},
    render,
};

const VALIDATE: &str = "/usr/bin/ignition-validate";

/// What the tool takes and we refuse: words of our fault, and why.
const STRICTER: [(&str, &str); 11] = [
    ("has the unknown key", "the tool warns, and what the author wanted does not happen"),
    ("without \"name\"; add it", "the validator takes it, and the machine's Ignition stops at it"),
    ("has the partition number", "sgdisk refuses it: the table has entries 1 to 128"),
    ("has a negative \"s", "sgdisk refuses it"),
    ("has no version", "\"Ignition\" with a capital is a slip that the other tools stop at"),
    ("is nested more than 100 deep", "no key of any version is nested so deep"),
    ("has a link without \"target\"", "the tool refuses it from 3.3.0 on, and none can be made"),
    ("lacks a \"source\"", "the tool refuses it from 3.1.0 on, and nothing can be fetched"),
    ("characters after sha512-", "the hash is compared as hex digits, and can never match"),
    ("above the first [Section]", "systemd drops it, with a line in its log"),
    ("which names no host", "the fetch is retried until the machine stops"),
];

#[test]
fn our_verdicts_are_those_of_the_real_validator() {
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check/ignition.jsonl");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ignition-validate");
    fs::create_dir_all(&scratch).expect("the scratch folder can be made");
    let file = scratch.join("config.ign");
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let (mut taken, mut refused, mut wrong) = (0, 0, Vec::new());
    for line in fs::read_to_string(fixtures).expect("the fixtures can be read").lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let (name, text) = (case["name"].as_str().unwrap(), case["text"].as_str().unwrap());
        fs::write(&file, text).expect("the config can be written");
        let output = Command::new(VALIDATE).arg(&file).output();
        let output = output.expect("ignition-validate is installed (tests/packages test)");
        let theirs = output.status.success();
        if theirs {
            taken += 1
        } else {
            refused += 1
        }
        let faults = check::faults(Kind::Ignition, text.as_bytes(), &Target::Unknown);
        let errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
        let reasons = errors.map(|fault| {
            STRICTER.iter().find(|(words, _)| fault.text.contains(words)).map(|&(words, _)| words)
        });
        let reasons: Vec<Option<&str>> = reasons.collect();
        let agreed = reasons.is_empty() == theirs;
        // One listed reason is enough: the rest may follow from it.
        if !agreed && (!theirs || reasons.iter().all(Option::is_none)) {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            wrong.push(format!("{name}: they take it: {theirs}\n  {said}\n  {faults:?}"));
        } else if !agreed {
            used.extend(reasons.into_iter().flatten());
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(used.len(), STRICTER.len(), "a reason that nothing needs: only {used:?}");
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused: a poor table");
}

#[test]
fn our_own_scripts_have_no_faults() {
    for script in [render::boot_script(), render::notice_script("no group matches")] {
        assert_eq!(check::faults(Kind::Ipxe, script.as_bytes(), &Target::Unknown), [], "{script}");
    }
}
