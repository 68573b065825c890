use std::{fs, path::PathBuf};

use crate::{config::Config, serve::site::Site};

/// So many groups of profile p, each of one machine.
fn groups(count: usize) -> String {
    let group = |number: usize| {
        format!(
            "[[group]]\nname = \"g{number}\"\nprofile = \"p\"\nmetadata.n = {number}\n\
             selector.mac = \"52:54:00:00:{:02x}:{:02x}\"\n",
            number >> 8,
            number & 255
        )
    };
    (0..count).map(group).collect()
}

/// A config of so many groups, each of one machine, that share a profile and its texts.
fn site(count: usize) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bootbox-load-{}-{count}", std::process::id()));
    fs::create_dir_all(folder.join("files")).unwrap();
    let root = folder.join("files");
    fs::write(root.join("k"), "kernel").unwrap();
    fs::write(root.join("t.sh"), "#!/bin/sh\necho {{ mac }} {{ metadata.n }}\n").unwrap();
    let text = format!(
        "[repository]\nroot = {root:?}\n[[template]]\npath = \"/t.sh\"\nfile = \"/t.sh\"\n[[profile]]\nname = \"p\"\n\
         kernel = \"/k\"\nargs = [\"x={{{{ base_url }}}}/t.sh?mac={{{{ mac }}}}\"]\n",
    );
    fs::write(folder.join("b.toml"), text + &groups(count)).unwrap();
    folder
}

/// Nanoseconds of processor time of this thread: other tests do not count.
fn spent() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn took(folder: &std::path::Path) -> u64 {
    let began = spent();
    let (_, problems) = Site::look(Some(&folder.join("b.toml"))).unwrap();
    let took = spent() - began;
    assert_eq!(problems, []);
    took
}

/// The same by one group of values for each machine.
fn site_of_machines(count: usize) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bootbox-own-{}-{count}", std::process::id()));
    let files = folder.join("files");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("k"), "kernel").unwrap();
    fs::write(files.join("t.sh"), "#!/bin/sh\necho {{ mac }} {{ metadata.n }}\n").unwrap();
    let macs: Vec<String> = (0..count).map(mac).collect();
    let machine = |number| format!("[[machine]]\nmac = {:?}\nmetadata.n = {number}\n", mac(number));
    let text = format!(
        "[repository]\nroot = {files:?}\n[[template]]\npath = \"/t.sh\"\n[[profile]]\nname = \"p\"\n\
         kernel = \"/k\"\nargs = [\"x={{{{ base_url }}}}/t.sh?mac={{{{ mac }}}}\", \"n={{{{ metadata.n }}}}\"]\n\
         [[group]]\nname = \"g\"\nprofile = \"p\"\nselector.mac = {macs:?}\n{}",
        (0..count).map(machine).collect::<String>()
    );
    fs::write(folder.join("b.toml"), text).unwrap();
    folder
}

fn mac(number: usize) -> String {
    format!("52:54:00:00:{:02x}:{:02x}", number >> 8, number & 255)
}

#[test]
fn twice_as_many_machines_with_values_load_in_about_twice_the_time() {
    let folders = [site_of_machines(500), site_of_machines(1000)];
    let [some, twice] = folders.each_ref().map(|it| (0..3).map(|_| took(it)).min().unwrap());
    for folder in folders {
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(twice < some * 3, "{some} ns, then {twice} ns");
}

#[test]
fn a_text_is_tried_with_each_machines_values() {
    let folder = site_of_machines(3);
    let text = fs::read_to_string(folder.join("b.toml")).unwrap();
    fs::write(folder.join("files/t.sh"), "echo {{ metadata.n }} {{ metadata.x }}\n").unwrap();
    let given = text.replace("metadata.n = 0", "metadata = { n = 0, x = 1 }");
    fs::write(folder.join("b.toml"), given).unwrap();
    let (_, problems) = Site::look(Some(&folder.join("b.toml"))).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let [said] = said.as_slice() else { panic!("{said:?}") };
    assert!(
        said.contains("for 52:54:00:00:00:01 (group g) and 1 more: has \"metadata.x\""),
        "{said}"
    );
}

#[test]
fn a_site_of_twice_as_many_groups_loads_in_about_twice_the_time() {
    let folders = [site(500), site(1000)];
    let [some, twice] = folders.each_ref().map(|it| (0..3).map(|_| took(it)).min().unwrap());
    for folder in folders {
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(twice < some * 3, "{some} ns, then {twice} ns");
}

fn config(count: usize) -> String {
    format!("[[profile]]\nname = \"p\"\nkernel = \"/k\"\n{}", groups(count))
}

/// The same with groups of 256 machines.
fn globs_of(count: usize) -> String {
    let group = |number: usize| {
        format!(
            "[[group]]\nname = \"g{number}\"\nprofile = \"p\"\nmetadata.n = {number}\n\
             selector.mac = \"52:54:00:{:02x}:{:02x}:*\"\n",
            number >> 8,
            number & 255
        )
    };
    let groups: String = (0..count).map(group).collect();
    config(0) + &groups
}

#[test]
fn twice_as_many_groups_take_about_twice_as_long() {
    let took = |count, globs| {
        let text = match globs {
            true => globs_of(count),
            false => config(count),
        };
        let began = spent();
        let config = Config::parse(&text, "b.toml").unwrap();
        let took = spent() - began;
        assert_eq!(config.catalog.groups().len(), count);
        took
    };
    for globs in [false, true] {
        let took = |count| took(count, globs);
        let best = |count| (0..3).map(|_| took(count)).min().unwrap();
        let (some, twice) = (best(1500), best(3000));
        assert!(twice < some * 3, "globs: {globs}; {some} ns, then {twice} ns");
    }
}

#[test]
fn a_tie_is_found_among_many_by_the_value_they_share() {
    let mut text = config(300);
    text.push_str(
        "[[group]]\nname = \"again\"\nprofile = \"p\"\nmetadata.n = 1\n\
         selector.mac = [\"52:54:00:00:ff:ff\", \"52:54:00:00:00:07\"]\n",
    );
    let error = Config::parse(&text, "b.toml").unwrap_err().to_string();
    assert!(error.contains("group \"again\" and in group \"g7\""), "{error}");
}
