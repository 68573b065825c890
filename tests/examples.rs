//! Every config we show loads: those below etc/, and every toml block of the README.

use std::{fs, path::Path};

use bootbox::config::Config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_config_below_etc_is_valid() {
    let mut folders = vec![root().join("etc")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("etc can be read") {
            let path = entry.expect("etc can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let text = fs::read_to_string(&path).expect("the config can be read");
                Config::parse(&text, &path.display().to_string()).expect("it is valid");
                found += 1;
            }
        }
    }
    assert!(found > 0);
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
