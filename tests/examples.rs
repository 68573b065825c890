//! Everything we show works: the configs below etc/ load and what they serve is valid, and every toml
//! block of the README and the documents loads.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails, its helpers too")]

#[path = "examples/example.rs"]
mod example;
#[path = "examples/fakes.rs"]
mod fakes;
#[path = "examples/install.rs"]
mod install;
#[path = "examples/node.rs"]
mod node;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use bootbox::{catalog::Reach, config::Config};
use example::Example;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shipped_config_is_valid() {
    let text = fs::read_to_string(root().join("etc/bootbox.toml")).unwrap();
    Config::parse(&text, "etc/bootbox.toml").expect("it is valid");
}

#[test]
fn every_toml_block_of_the_readme_is_valid() {
    let text = fs::read_to_string(root().join("README.md")).expect("the README can be read");
    let blocks: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or(""))
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let config = Config::parse(block, "README.md").expect("it is valid");
        assert!(!config.catalog.groups().is_empty(), "the example boots a machine");
    }
}

#[test]
fn the_readme_is_no_longer_than_a_person_reads() {
    let text = fs::read_to_string(root().join("README.md")).expect("the README can be read");
    assert!(text.lines().count() <= 150);
}

#[test]
fn an_example_is_refused_until_every_placeholder_is_filled_in() {
    for example in Example::all() {
        let said = Config::parse(&example.written, "bootbox.toml").unwrap_err().to_string();
        let asked: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
        let left: Vec<String> = example.placeholder_lines();
        assert!(left.len() > 1 && asked == left, "{}: {said}", example.name);
        let config = Config::parse(&example.filled_in(), "bootbox.toml").expect(&example.name);
        assert_eq!(config.catalog.groups().len(), 1, "{}", example.name);
        // What is said of the machines' disks, a reader of the folder must find.
        let readme = fs::read_to_string(example.folder.join("README.md")).unwrap();
        for word in ["## What it does", "disk", "## Files", "## What to change"] {
            assert!(readme.contains(word), "{}/README.md lacks {word:?}", example.name);
        }
    }
}

#[test]
fn check_names_what_is_left_to_fill_in() {
    for example in Example::all() {
        let file = example.folder.join("bootbox.toml").display().to_string();
        let output = bootbox(&["check", "--config", &file]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        for place in example.placeholder_lines() {
            let place = place.replace("bootbox.toml", &file);
            let line = said.lines().find(|line| line.contains(&format!("{place}: ")));
            assert!(line.unwrap().contains(" is still \"CHANGE-ME\"; "), "{place}: {said}");
        }
    }
}

#[test]
fn check_accepts_each_example_once_it_is_filled_in() {
    for example in Example::all() {
        let folder = scratch(&format!("check-{}", example.name));
        let file = example.installed_in(&folder);
        let output = bootbox(&["check", "--config", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}: {output:?}", example.name);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("nothing is wrong\n") && said.contains("52:54:00:12:34:56"),
            "{said}"
        );
    }
}

#[test]
fn the_vmware_document_shows_what_the_command_prints() {
    let document = fs::read_to_string(root().join("docs/vmware.md")).unwrap();
    let mut shown = 0;
    for (prompt, rest) in document.match_indices(" bootbox vmware --") {
        let block = document[prompt + rest.len() - 2..].split("```").next().unwrap();
        let Some((words, lines)) = block.split_once('\n') else { continue };
        // What stands in a sentence prints nothing here.
        if !lines.starts_with('…') {
            continue;
        }
        let mut words: Vec<&str> = words.split_whitespace().collect();
        if !words.contains(&"--config") {
            words.extend(["--config", "/dev/null", "--address", "10.77.0.2"]);
        }
        let output = bootbox(&[&["vmware"], words.as_slice()].concat());
        let printed = String::from_utf8_lossy(&output.stdout);
        for line in lines.lines().filter(|line| !line.starts_with('…') && !line.is_empty()) {
            assert!(
                printed.lines().any(|own| own == line),
                "{line} is not of {words:?}: {printed}"
            );
            shown += 1;
        }
    }
    assert!(shown >= 7, "{shown}");
}

#[test]
fn ignition_configs_of_the_examples_are_valid() {
    let mut validated = 0;
    for example in Example::all() {
        for (name, text) in example.rendered("ignition") {
            let config: serde_json::Value = serde_json::from_str(&text).expect(&name);
            match config["ignition"]["version"].as_str().unwrap() {
                // For CoreOS 1122's Ignition 0.8. Debian's Ignition 2.14 knows none of 2.x.
                "2.0.0" => assert_eq!(name, "coreos-rancher/coreos/ignition.json"),
                _ => {
                    accepted_by(Command::new("ignition-validate").arg("/dev/stdin"), &text, &name);
                    validated += 1;
                }
            }
        }
    }
    assert_eq!(validated, 3);
}

#[test]
fn scripts_of_the_examples_are_what_bash_reads() {
    for example in Example::all() {
        for (name, text) in example.rendered("script") {
            assert!(text.starts_with("#!/bin/bash\n"), "{name}");
            accepted_by(Command::new("bash").arg("-n"), &text, &name);
        }
    }
}

#[test]
fn the_preseed_file_is_what_debconf_reads() {
    let [(name, text)] = Example::of("debian-preseed").rendered("text").try_into().unwrap();
    let checked = accepted_by(Command::new("debconf-set-selections").arg("-c"), &text, &name);
    assert_eq!(checked, "", "{name}");
    assert!(text.contains("/v1/event?state=installed"), "{text}");
}

fn bootbox(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bootbox")).args(words).output().unwrap()
}

/// Gives the text to a program that must accept it; what it said.
fn accepted_by(program: &mut Command, text: &str, name: &str) -> String {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/packages test installs it");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{name}: {said}\n{text}");
    said
}

/// A folder of this test's own.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("examples-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn nothing_that_we_show_selects_a_whole_kind_of_machines() {
    let mut shown: Vec<(String, String)> = Vec::new();
    let mut folders: Vec<PathBuf> = ["etc", "docs"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let ends = |end: &str| path.extension().is_some_and(|it| it == end);
            if path.is_dir() {
                folders.push(path);
            } else if ends("toml") || ends("md") {
                shown.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    shown.push(("README.md".to_owned(), fs::read_to_string(root().join("README.md")).unwrap()));
    let mut looked_at = 0;
    for (name, text) in shown {
        let configs: Vec<String> = match name.ends_with(".md") {
            true => text
                .split("```toml\n")
                .skip(1)
                .map(|it| it.split("```").next().unwrap().to_owned())
                .collect(),
            // The keys that a comment shows belong to nothing here.
            false => vec![text.replace("CHANGE-ME", "x")],
        };
        for config in configs {
            // A part of a config names what stands elsewhere.
            let Ok(config) = Config::parse(&config, &name) else { continue };
            looked_at += usize::from(!config.catalog.groups().is_empty());
            assert!(config.reaches.unsaid.is_empty(), "{name}");
            let kinds = config.catalog.groups().iter().map(|group| group.selector.reach());
            assert!(!kinds.into_iter().any(|reach| matches!(reach, Reach::Kind(_))), "{name}");
        }
    }
    for example in Example::all() {
        // Comments warn of such a glob.
        let mut lines = example.written.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.find(|line| line.contains(":*\"")), None);
    }
    assert!(looked_at >= 2, "{looked_at} configs");
}
