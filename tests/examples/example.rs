//! The folders of etc/examples, filled in as an operator would.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bootbox::{
    config::Config,
    template::{Setting, Template, Words},
};

use super::root;

const PLACEHOLDER: &str = "\"CHANGE-ME\"";

/// What an operator writes, by key.
const OWN: [(&str, &str); 8] = [
    ("mac", "\"52:54:00:12:34:56\""),
    ("rancher_checksum", "\"0f1e2d3c4b5a69788796a5b4c3d2e1f0\""),
    ("rancher_project", "\"1a5\""),
    ("rancher_server", "\"https://rancher.example.org\""),
    ("rancher_token", "\"ACCESS0123:SECRET4567\""),
    ("ssh_key", "\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample it's me\""),
    ("time_server", "\"time.example.org\""),
    ("time_zone", "\"America/Chicago\""),
];

/// One folder.
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Its bootbox.toml.
    pub(crate) written: String,
}

impl Example {
    pub(crate) fn of(name: &str) -> Self {
        let folder = root().join("etc/examples").join(name);
        let written = fs::read_to_string(folder.join("bootbox.toml")).unwrap();
        Self { name: name.to_owned(), folder, written }
    }

    pub(crate) fn all() -> Vec<Self> {
        let all: Vec<Self> = fs::read_dir(root().join("etc/examples"))
            .unwrap()
            .map(|entry| Self::of(entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        assert!(all.len() >= 4);
        all
    }

    /// Where a value is left to the operator.
    pub(crate) fn placeholder_lines(&self) -> Vec<String> {
        let is_left = |line: &&str| line.contains(PLACEHOLDER) && !line.starts_with('#');
        let lines = self.written.lines().enumerate();
        lines
            .filter(|(_, line)| is_left(line))
            .map(|(index, _)| format!("bootbox.toml:{}", index + 1))
            .collect()
    }

    /// The config with an operator's values.
    pub(crate) fn filled_in(&self) -> String {
        let own = |line: &str| {
            if !line.contains(PLACEHOLDER) || line.starts_with('#') {
                return format!("{line}\n");
            }
            let key = line.split(" =").next().unwrap();
            let value = OWN.iter().find(|(known, _)| *known == key);
            let (_, value) = value.unwrap_or_else(|| panic!("no value for {key}"));
            format!("{}\n", line.replace(PLACEHOLDER, value))
        };
        self.written.lines().map(own).collect()
    }

    /// Puts its files and config below a folder, as its README says, with made-up downloads.
    pub(crate) fn installed_in(&self, folder: &Path) -> PathBuf {
        let root = folder.join("repository");
        let config = Config::parse(&self.filled_in(), &self.name).unwrap();
        for entry in fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                let to = root.join(entry.file_name().unwrap());
                fs::create_dir_all(&to).unwrap();
                for file in fs::read_dir(entry).unwrap().map(|file| file.unwrap().path()) {
                    fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
                }
            }
        }
        for file in &config.files {
            let file = root.join(file.path.to_string().trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "made up").unwrap();
            // The disk image of a release lies beside its kernel.
            let name = file.to_str().unwrap();
            if let Some(release) = name.strip_suffix("_pxe.vmlinuz") {
                for image in ["_image.bin.bz2", "_image.bin.bz2.sig"] {
                    fs::write(format!("{release}{image}"), "made up").unwrap();
                }
            }
        }
        let mut text: toml::Table = self.filled_in().parse().unwrap();
        text.insert("network".to_owned(), toml::toml! { interfaces = ["lo"] }.into());
        let repository =
            toml::Table::from_iter([("root".to_owned(), root.to_str().unwrap().into())]);
        text.insert("repository".to_owned(), repository.into());
        for profile in text["profile"].as_array_mut().unwrap() {
            // Nobody has signed what is made up; tests/releases.rs is about that.
            profile.as_table_mut().unwrap().remove("verify");
        }
        let file = folder.join("bootbox.toml");
        fs::write(&file, text.to_string()).unwrap();
        file
    }

    /// The name and text of each template of this kind, as its machine gets it.
    pub(crate) fn rendered(&self, kind: &str) -> Vec<(String, String)> {
        let config = Config::parse(&self.filled_in(), &self.name).unwrap();
        let group = &config.catalog.groups()[0];
        let setting =
            Setting { group: &group.name, profile: &group.profile.name, metadata: &group.metadata };
        let written: toml::Table = self.written.parse().unwrap();
        let templates = written["template"].as_array().unwrap();
        let render = |template: &toml::Value| {
            let file = template.get("file").unwrap_or(&template["path"]).as_str().unwrap();
            let name = format!("{}{file}", self.name);
            let source = fs::read_to_string(self.folder.join(&file[1..])).expect(&name);
            let template = Template::parse_file(&source).expect(&name);
            (name, template.render_file(&Words::specimen(), &setting).unwrap())
        };
        templates
            .iter()
            .filter(|template| template["kind"].as_str() == Some(kind))
            .map(render)
            .collect()
    }
}
