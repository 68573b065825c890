//! From what is written to what it means, collecting every problem on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use toml::Spanned;

use super::{
    Config, Folder, Keyring, Mention, NamedBootFile, NamedFile, ProfilePlaces, Releases,
    closed::Closed,
    error::{ConfigError, Page, Place, Problem},
    files::Files,
    install::hides_an_installer,
    reach::{Reaches, are_named},
    shape,
};
use crate::{
    catalog::{Boot, Catalog, Group, Profile, Values},
    firmware::BootFile,
    machine::SharedUuids,
    path::UrlPath,
    template::{Metadata, Words},
};

/// Names that HTTP answers with a script.
pub(super) const OURS: [&[u8]; 2] = [b"boot.ipxe", b"ipxe"];
/// Words that iPXE takes for operators between commands.
const OPERATORS: [&str; 3] = ["&&", "||", ";"];

pub(super) fn resolve(
    main: &Page<'_>,
    file: shape::File,
    beside: Vec<(Page<'_>, shape::Fragment)>,
    is_partial: bool,
) -> Result<Config, ConfigError> {
    let mut desk = Desk::new(main);
    desk.is_partial = is_partial;
    let interfaces = desk.interfaces(&file.network.interfaces);
    let allow = file.network.allow.as_ref().map(|allow| desk.allow(allow));
    desk.are_machines_named = are_named(allow.as_deref());
    let reply_delay = desk.reply_delay(&file.network.reply_delay_ms);
    if *file.http.port.get_ref() == 0 {
        desk.wrong(
            &file.http.port,
            "port 0 cannot be asked for; write the TCP port, 80 by default",
        );
    }
    let repository = desk.folder(file.repository.root);
    let control_socket = desk.socket(file.control.socket);
    let boot_programs = file.firmware.dir.map(|dir| desk.folder(dir));
    let named_programs = desk.programs(file.boot.programs);
    desk.allows_always = file.install.allow_always;
    let most_attempts = desk.attempts(&file.install.attempts);
    desk.shared_uuids = desk.uuids(&file.install.shared_uuids);
    let ledger = desk.ledger(file.install.ledger, &repository);
    let keyring = file.repository.keyring.map(|file| desk.folder(file));
    let keyring = keyring.map(|Folder { path, place }| Keyring { path, place });
    desk.has_keyring = keyring.is_some();
    let http_names = desk.http_names(&file.http.names);
    let templates = desk.templates(file.template);
    let (profile, group, machine) = (file.profile, file.group, file.machine);
    let mut fragments = vec![(main.clone(), shape::Fragment { profile, group, machine })];
    fragments.extend(beside);
    let (mut profiles, mut groups, mut machines) = (Vec::new(), Vec::new(), Vec::new());
    for (page, shape::Fragment { profile, group, machine }) in fragments {
        profiles.push((page.clone(), profile));
        groups.push((page.clone(), group));
        machines.push((page, machine));
    }
    // A group may name a profile of a file that is read later.
    let drafts = desk.profiles(profiles);
    let (values, entries) = desk.machines(machines);
    let (catalog, group_drafts) = desk.catalog(groups, &drafts, &values);
    let mut catalog = catalog.with_shared_uuids(std::mem::take(&mut desk.shared_uuids));
    let unused_machines = desk.equip((values, &entries), &mut catalog, (&group_drafts, &drafts));
    if let Some(error) = ConfigError::of(desk.problems) {
        return Err(error);
    }
    Ok(Config {
        name: main.name.to_string(),
        is_blank: main.text.parse::<toml::Table>().is_ok_and(|table| table.is_empty()),
        interfaces,
        answer_router_solicitations: file.network.answer_router_solicitations,
        mode: file.network.mode,
        allow,
        reply_delay,
        offer: file.boot.offer,
        prefer_http: file.boot.prefer_http,
        http_port: file.http.port.into_inner(),
        http_names,
        config_access: file.http.config_access,
        repository,
        keyring,
        boot_programs,
        control_socket,
        ledger,
        most_attempts,
        named_programs,
        boot_files: desk.boot_files,
        catalog,
        machines: entries.into_iter().map(|entry| entry.place).collect(),
        unused_machines,
        files: desk.files,
        profiles: drafts.into_iter().map(|(name, draft)| (name, draft.places)).collect(),
        templates,
        mentions: desk.mentions,
        reaches: desk.reaches,
        closed: desk.closed,
    })
}

/// Where releases are, of a config that need not be right elsewhere.
pub(super) fn releases(
    main: &Page<'_>,
    file: shape::ReleasesOnly,
) -> Result<Releases, ConfigError> {
    let mut desk = Desk::new(main);
    let repository = desk.folder(file.repository.root);
    let keyring = file.repository.keyring.map(|file| desk.folder(file));
    let keyring = keyring.map(|Folder { path, place }| Keyring { path, place });
    match ConfigError::of(desk.problems) {
        Some(error) => Err(error),
        None => Ok(Releases { repository, keyring, ledger: file.install.ledger }),
    }
}

/// Where the parts of a file are looked at, and what is wrong is noted.
pub(super) struct Desk<'a> {
    /// The file that lies on it.
    pub(super) page: Page<'a>,
    pub(super) problems: Vec<Problem>,
    pub(super) files: Vec<NamedFile>,
    pub(super) boot_files: Vec<NamedBootFile>,
    /// Boot programs for every group that ask us for nothing, and were not told of yet.
    pub(super) asking_no_more: Vec<(BootFile, Place)>,
    pub(super) allows_always: bool,
    pub(super) shared_uuids: SharedUuids,
    /// Whether signatures can be verified.
    has_keyring: bool,
    /// Parts of the config were left out because they do not fit their shape. What the others lack
    /// because of that is not told.
    pub(super) is_partial: bool,
    pub(super) mentions: Vec<Mention>,
    /// The group, path and key of each, as the machines of a group name the same.
    pub(super) mentioned: BTreeSet<(String, UrlPath, String)>,
    /// Profiles whose paths have words, by their name and what their paths become.
    pub(super) fillings: BTreeMap<(String, Vec<String>), Arc<Profile>>,
    pub(super) reaches: Reaches,
    /// Whether `[network] allow` leaves few machines.
    are_machines_named: bool,
    pub(super) closed: BTreeSet<Closed>,
    /// The paths of the templates.
    pub(super) documents: BTreeSet<UrlPath>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(page: &Page<'a>) -> Self {
        Self {
            page: page.clone(),
            problems: Vec::new(),
            files: Vec::new(),
            boot_files: Vec::new(),
            asking_no_more: Vec::new(),
            allows_always: false,
            shared_uuids: SharedUuids::default(),
            has_keyring: false,
            is_partial: false,
            mentions: Vec::new(),
            mentioned: BTreeSet::new(),
            fillings: BTreeMap::new(),
            reaches: Reaches::default(),
            are_machines_named: false,
            closed: BTreeSet::new(),
            documents: BTreeSet::new(),
        }
    }

    pub(super) fn wrong<T>(&mut self, value: &Spanned<T>, text: impl Into<String>) {
        let place = self.page.place(value);
        self.wrong_at(place, text);
    }

    pub(super) fn wrong_at(&mut self, place: Place, text: impl Into<String>) {
        self.problems.push(Problem { place, text: text.into() });
    }

    pub(super) fn folder(&mut self, written: Spanned<PathBuf>) -> Folder {
        let place = self.page.place(&written);
        if !written.get_ref().is_absolute() {
            let path = written.get_ref().display().to_string();
            self.wrong(
                &written,
                format!("{path:?} depends on the working directory; write it from / on"),
            );
        }
        Folder { path: written.into_inner(), place }
    }

    fn profiles(
        &mut self,
        written: Vec<(Page<'a>, Vec<shape::Profile>)>,
    ) -> BTreeMap<String, Draft> {
        let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
        for (page, profiles) in written {
            self.page = page;
            for profile in profiles {
                self.name(&profile.name, "profile");
                let name = profile.name.get_ref().clone();
                match drafts.get(&name) {
                    Some(known) => {
                        let place = known.places.name.clone();
                        self.not_unique("profile", &profile.name, &place);
                    }
                    None => {
                        let draft = self.draft(profile);
                        drafts.insert(name, draft);
                    }
                }
            }
        }
        drafts
    }

    fn draft(&mut self, written: shape::Profile) -> Draft {
        let place = self.page.place(&written.name);
        let (kernel, chains) = self.kernel(&written);
        let kernel_place = self.page.place(&kernel);
        let initrd_places = written.initrd.iter().map(|it| self.page.place(it)).collect();
        let name = written.name.into_inner();
        let (files, kernel, initrd) = self.files(&kernel, &written.initrd);
        let (args_places, args): (_, Vec<_>) = written
            .args
            .iter()
            .filter_map(|arg| {
                let place = self.page.place(arg);
                Some((place.clone(), self.arg(arg.get_ref(), &place)?))
            })
            .unzip();
        let says_install = written.install.is_some();
        let install = self.install(written.install.as_ref(), &kernel, &args);
        if *written.verify.get_ref() && !self.has_keyring {
            let instead = "name the signers' OpenPGP certificates in [repository] keyring";
            self.wrong(&written.verify, format!("verify = true needs a keyring; {instead}"));
        }
        let verify = written.verify.into_inner();
        let profile = Profile { name, kernel, chains, initrd, args, install, says_install, verify };
        let profile = Arc::new(profile);
        let places = ProfilePlaces {
            name: place,
            kernel: kernel_place,
            initrd: initrd_places,
            args: args_places,
        };
        Draft { profile, files, places, metadata: written.metadata }
    }

    fn catalog(
        &mut self,
        written: Vec<(Page<'a>, Vec<shape::Group>)>,
        drafts: &BTreeMap<String, Draft>,
        values: &Values,
    ) -> (Catalog, BTreeMap<String, GroupDraft>) {
        let mut found: Vec<Group> = Vec::new();
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        let mut kept: BTreeMap<String, GroupDraft> = BTreeMap::new();
        for (page, groups) in written {
            self.page = page;
            for group in groups {
                self.name(&group.name, "group");
                if let Some(known) = places.get(group.name.get_ref()) {
                    self.not_unique("group", &group.name, known);
                    continue;
                }
                places.insert(group.name.get_ref().clone(), self.page.place(&group.name));
                let draft = GroupDraft {
                    profile: group.profile.get_ref().clone(),
                    metadata: group.metadata.clone(),
                };
                kept.insert(group.name.get_ref().clone(), draft);
                found.extend(self.group(group, drafts, values));
            }
        }
        let catalog = Catalog::new(found).unwrap_or_else(|tie| {
            let text = format!(
                "a machine can be in group {:?} and in group {:?}, which boots it otherwise; \
                 make one selector more specific",
                tie.second, tie.first
            );
            if let Some(place) = places.remove(&tie.second).filter(|_| !self.is_partial) {
                self.wrong_at(place, text);
            }
            Catalog::default()
        });
        (catalog, kept)
    }

    fn not_unique(&mut self, what: &str, name: &Spanned<String>, known: &Place) {
        let text =
            format!("there is a {what} {:?} already, at {known}; names are unique", name.get_ref());
        self.wrong(name, text);
    }

    fn group(
        &mut self,
        written: shape::Group,
        drafts: &BTreeMap<String, Draft>,
        values: &Values,
    ) -> Option<Group> {
        let place = self.page.place(&written.name);
        let name = written.name.into_inner();
        let selector = self.selector(written.selector);
        let Some(draft) = drafts.get(written.profile.get_ref()) else {
            let known: Vec<&str> = drafts.keys().map(String::as_str).collect();
            let wanted = written.profile.get_ref();
            let instead = if known.is_empty() {
                "there is none; add a [[profile]]".to_owned()
            } else {
                format!("write one of {}", known.join(", "))
            };
            if !self.is_partial {
                self.wrong(&written.profile, format!("no profile is named {wanted:?}; {instead}"));
            }
            return None;
        };
        let metadata = Metadata::of(&draft.metadata, &written.metadata);
        let before = self.problems.len();
        let profile = self.outfit(draft, (&format!("group {name:?}"), &metadata), &name);
        // A group need not say what all its machines say for themselves.
        if selector.as_ref().is_some_and(|selector| values.have_all_of(selector)) {
            self.problems.truncate(before);
        }
        let program_place = written.boot_program.as_ref().map(|it| self.page.place(it));
        let program = written.boot_program.and_then(|program| self.boot_file(&program, None));
        let hand_off = written.hand_off;
        let boot = Boot { program, offer: written.offer };
        let (selector, every_machine) =
            (selector?, written.every_machine || self.are_machines_named);
        let group = Group { name, selector, profile, metadata, hand_off, boot, every_machine };
        self.reach(&group, place);
        self.unrecorded(&group, program_place);
        Some(group)
    }

    /// The profile as it is with this metadata, once all its arguments have been tried with it.
    pub(super) fn outfit(
        &mut self,
        draft: &Draft,
        (whom, metadata): (&str, &Metadata),
        group: &str,
    ) -> Arc<Profile> {
        for (place, template) in draft.places.args.iter().zip(&draft.profile.args) {
            let problem = match template.render_arg(&Words::specimen(), metadata) {
                Ok(None) => None,
                Ok(Some(text)) => unfit(&text)
                    .or_else(|| hides_an_installer(&draft.profile, &text))
                    .map(|problem| format!("becomes {text:?}: {problem}")),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                let text = format!("{:?}, for {whom}, {problem}", template.source());
                self.wrong_at(place.clone(), text);
            }
            self.mention(group, place, (&draft.profile, template), metadata);
        }
        self.filled(&draft.profile, &draft.files, &draft.places, (whom, metadata))
    }

    /// Names stand in logs, scripts and on consoles.
    fn name(&mut self, written: &Spanned<String>, what: &str) {
        let name = written.get_ref();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if name.is_empty() || !plain {
            self.wrong(
                written,
                format!("{name:?} is no name for a {what}; write letters, digits, \".\", \"_\" and \"-\""),
            );
        }
    }
}

/// What would break the line of a script that this argument stands in.
pub(super) fn unfit(arg: &str) -> Option<String> {
    if arg.chars().any(char::is_control) {
        return Some("a control character; a kernel line has none".to_owned());
    }
    if arg.trim().is_empty() {
        return Some("an empty argument; leave it out".to_owned());
    }
    let taken = |word: &str| {
        if OPERATORS.contains(&word) {
            return Some("the end of the command");
        }
        word.starts_with('#').then_some("the start of a comment")
    };
    let (word, meaning) = arg.split_whitespace().find_map(|word| Some((word, taken(word)?)))?;
    Some(format!("iPXE takes {word:?} for {meaning}; leave it out"))
}

/// A profile, and what is needed to look at its arguments with a group's words.
pub(super) struct Draft {
    profile: Arc<Profile>,
    files: Files,
    pub(super) metadata: toml::Table,
    places: ProfilePlaces,
}

/// A group as it was written, to be filled in with the values of a machine.
pub(super) struct GroupDraft {
    /// The name of its profile.
    pub(super) profile: String,
    pub(super) metadata: toml::Table,
}
