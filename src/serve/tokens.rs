//! Texts and args that fetch what only a token opens, and name it without `{{ base_url }}`, which is
//! what the token comes by.

use std::collections::BTreeSet;

use crate::{
    config::{Access, Config, Place, Problem},
    path::UrlPath,
    render::Configs,
};

/// The lines that would be refused for want of a token, as warnings: the URL may be another server's.
pub(super) fn look(config: &Config, configs: &Configs) -> Vec<Problem> {
    if config.config_access != Access::Token {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (_, text) in configs.iter() {
        for (line, content) in (1..).zip(text.source().lines()) {
            let place = || Place::of_file(&text.name, Some(line));
            found.extend(
                told(content, config, configs).map(|text| Problem { place: place(), text }),
            );
        }
    }
    let mut done = BTreeSet::new();
    for profile in config.catalog.profiles() {
        let Some(places) = config.profiles.get(&profile.name) else { continue };
        if !done.insert(&profile.name) {
            continue;
        }
        for (arg, place) in profile.args.iter().zip(&places.args) {
            let said = told(&arg.source(), config, configs);
            found.extend(said.map(|text| Problem { place: place.clone(), text }));
        }
    }
    found
}

fn told(line: &str, config: &Config, configs: &Configs) -> Option<String> {
    let path = paths(line).into_iter().find(|path| {
        configs.get(path).is_some() || path.file().is_some_and(|file| config.closes(&file))
    })?;
    Some(format!(
        "fetches {path} by a URL without a token, and bootbox answers 403; write {{{{ base_url \
         }}}}{path} (when another server is meant, nothing is wrong)"
    ))
}

/// The paths of whole URLs; what begins with a word of ours has none of these.
fn paths(line: &str) -> Vec<UrlPath> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("://") {
        let mut rest = &line[at + 3..];
        // The host may be a word itself.
        if let Some(end) = rest.strip_prefix("{{").and_then(|word| word.find("}}")) {
            rest = &rest[end + 4..];
        }
        let is_end = |c: char| c.is_whitespace() || "?#;,\"'<>|)`".contains(c);
        let rest = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let path = rest.find('/').map_or("", |slash| &rest[slash..]);
        if path.len() > 1 && !path.starts_with("/~") {
            found.extend(UrlPath::parse(path.as_bytes()).ok());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::Kind,
        render::{ConfigText, Origin},
    };

    const CONFIG: &str = "[http]\nconfig-access = \"token\"\n[[profile]]\nname = \"p\"\n\
        kernel = \"/k\"\nargs = [\"autoyast={{ base_url }}/suse/a.xml\",\n\
        \"ks=http://192.0.2.9/suse/a.xml\"]\n[[group]]\nname = \"g\"\nprofile = \"p\"\n";

    #[test]
    fn a_document_of_ours_that_is_fetched_without_a_token_is_told() {
        let text = "#!/bin/sh\ncurl {{ base_url }}/x/c.yaml\ncurl -f \"http://box/x/c.yaml?a\"\n\
                    curl http://{{ metadata.host }}/suse/a.xml http://box/k http://box/other\n\
                    curl http://box/~0123/x/c.yaml\n";
        let path = UrlPath::parse(b"/x/c.yaml").unwrap();
        let mut configs = Configs::default();
        let text = ConfigText::template("i.sh".to_owned(), (Kind::Script, Origin::Said), text);
        let text = text.unwrap();
        configs.add(path, None, text);
        let config = Config::parse(CONFIG, "b.toml").unwrap();
        let found: Vec<String> = look(&config, &configs).iter().map(ToString::to_string).collect();
        let expected = ["i.sh:3: fetches /x/c.yaml", "i.sh:4: fetches /suse/a.xml", "b.toml:7: "];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (said, expected) in found.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
        let open = Config::parse(&CONFIG.replace("\"token\"", "\"address\""), "b.toml").unwrap();
        assert_eq!(look(&open, &configs), []);
    }
}
