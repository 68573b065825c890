//! What is served now: a config, and what it names on disk.
//!
//! Everything that can be wrong with either is found here, when it is loaded; a request keeps the
//! site it began with while the next one is loaded beside it.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt, fs, io,
    os::unix::{ffi::OsStrExt as _, fs::FileTypeExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{
    access::{advice, open_to_all},
    bootable, configs, goal, installs, lines,
    programs::Shelf,
    store::{OpenError, Opened, Store},
    tokens,
    unified::Stubs,
    unsaid,
};
use crate::{
    catalog::Pattern,
    config::{
        Access, Config, ConfigError, ControlSocket, Mode, NamedFile, Problem, Releases, Text,
    },
    firmware::Programs,
    ledger::Book,
    machine::{Mac, Machine},
    path::{RepositoryPath, UrlPath},
    proxydhcp::{Offering, Reason},
    render::{ConfigText, Configs},
};
pub use configs::is_meant_for;

/// Where the config is looked for when nobody says.
pub(super) const USUAL: &str = "/etc/bootbox/bootbox.toml";
/// The folder beside the config whose files have more profiles and groups.
pub(super) const BESIDE: &str = "groups.d";

/// One config and the folders it names.
#[derive(Debug)]
pub struct Site {
    /// What the operator decided.
    pub config: Config,
    /// The files.
    pub store: Store,
    /// The texts that are filled in or held in memory; everything else is a file.
    pub configs: Configs,
    /// The boot program of each firmware.
    pub programs: Programs,
    /// What unified images are made with.
    pub stubs: Stubs,
    /// Paths that installing groups name and that were in the repository when this was loaded.
    pub present: BTreeSet<String>,
    /// What is not wrong, but will not do what an operator may expect.
    pub warnings: Vec<String>,
    /// The texts of which it has been said that a machine could not have them.
    complaints: Mutex<BTreeSet<UrlPath>>,
}

/// Why a machine gets nothing here, whatever its group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TurnedAway {
    /// `[network] allow` does not have it.
    NotAllowed,
    /// `[network] mode` is `"observe"`.
    Observing,
}

impl TurnedAway {
    /// Its name among the silences of the log.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAllowed => Reason::NotAllowed.label(),
            Self::Observing => "observing",
        }
    }
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => Reason::NotAllowed.fmt(f),
            Self::Observing => f.write_str("[network] mode is \"observe\": nothing is booted"),
        }
    }
}

impl Site {
    /// Loads the config at this path, else the usual one, else the built-in defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, SiteError> {
        let (site, problems) = Self::look(path)?;
        match ConfigError::of(problems) {
            Some(error) => Err(error.into()),
            None => Ok(site),
        }
    }

    /// The same with all that is wrong with what the config names, so that more can be looked for.
    pub fn look(path: Option<&Path>) -> Result<(Self, Vec<Problem>), SiteError> {
        Ok(Self::open(Self::config(path)?))
    }

    /// Reads the config alone, and looks at nothing that it names.
    pub fn config(path: Option<&Path>) -> Result<Config, SiteError> {
        Ok(match read(path)? {
            Some((main, beside)) => Config::assemble(&main, &beside)?,
            None => Config::built_in(),
        })
    }

    /// Where the releases are of who serves with this config.
    pub fn releases(path: Option<&Path>) -> Result<Releases, SiteError> {
        let nothing = || Text { name: "built-in defaults".to_owned(), text: String::new() };
        Ok(Config::releases(&read_main(path)?.unwrap_or_else(nothing))?)
    }

    /// Where the commands reach the server that runs with this config.
    pub fn control_socket(path: Option<&Path>) -> Result<ControlSocket, SiteError> {
        let wanted = path.unwrap_or(Path::new(USUAL));
        match bytes(wanted) {
            // Of a file that is not all UTF-8, the line of the socket may be.
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Ok(Config::control_socket(&Text { name: wanted.display().to_string(), text })?)
            }
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(ControlSocket { path: Config::built_in().control_socket, note: None })
            }
            Err(error) => Err(SiteError::unreadable(wanted, error)),
        }
    }

    /// Serves files and answers no machine, as tests of one protocol want it.
    pub fn of(store: Store) -> Self {
        Self {
            config: Config::built_in(),
            store,
            configs: Configs::default(),
            programs: Programs::default(),
            stubs: Stubs::new(),
            present: BTreeSet::new(),
            warnings: Vec::new(),
            complaints: Mutex::default(),
        }
    }

    /// Tries the texts with machines that have been here before, and adds what is found to the
    /// warnings.
    pub fn try_with(&mut self, known: &[Machine]) {
        let found = configs::try_with(&self.config, &self.configs, known);
        self.warnings.extend(said(found));
    }

    /// Whether nothing was said about this text yet; from now on it was.
    pub fn is_first_complaint(&self, path: &UrlPath) -> bool {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.insert(path.clone())
    }

    fn open(config: Config) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        if config.catalog.groups().is_empty() {
            warnings.push(format!("{}: no [[group]], so no machine will be answered", config.name));
        }
        let reaches = &config.reaches;
        let told = reaches.unsaid.iter().chain(&reaches.wide).chain(&config.unused_machines);
        warnings.extend(told.map(Problem::to_string));
        let repository = match Store::open_folder(&config.repository.path) {
            Ok(folder) => Some(folder),
            Err(error) => {
                let path = config.repository.path.display();
                let advice = advice(&config.repository.path, &error).unwrap_or_default();
                let text = format!("[repository] root {path} cannot be opened: {error}{advice}");
                // The usual folder may be missing while nothing is served from it.
                if config.files.is_empty()
                    && config.templates.is_empty()
                    && config.repository.path == Config::built_in().repository.path
                {
                    warnings.push(text);
                } else {
                    problems.push(Problem { place: config.repository.place.clone(), text });
                }
                None
            }
        };
        let boot_programs = config.boot_programs.as_ref().and_then(|folder| {
            Store::open_folder(&folder.path)
                .map_err(|error| {
                    let path = folder.path.display();
                    let advice = advice(&folder.path, &error).unwrap_or_default();
                    let text = format!("[firmware] dir {path} cannot be opened: {error}{advice}");
                    problems.push(Problem { place: folder.place.clone(), text });
                })
                .ok()
        });
        let has_repository = repository.is_some();
        let store = Store::new(boot_programs, repository);
        if has_repository {
            let is_text = |file: &&NamedFile| {
                let path = UrlPath::from(&file.path);
                config.templates.iter().any(|template| template.path == path)
            };
            problems.extend(config.files.iter().filter(|file| !is_text(file)).filter_map(|file| {
                let error = store.read(&file.path).err()?;
                let root = config.repository.path.display();
                let name = OsStr::from_bytes(file.path.as_bytes());
                let instead = match within(&config.repository.path, name) {
                    Some(path) => format!("; paths begin below root: write \"/{path}\""),
                    None => error.remedy(&config.repository.path.join(name)),
                };
                let text = format!("{} beneath {root}: {error}{instead}", file.path);
                Some(Problem { place: file.place.clone(), text })
            }));
        }
        let Shelf { programs, stubs, problems: wrong, warnings: unfit } =
            Shelf::look(&config, &store);
        problems.extend(wrong);
        let bootable::Looked { problems: unbootable, warnings: doubtful } =
            bootable::look(&config, &store, &programs);
        problems.extend(unbootable);
        warnings.extend(said(doubtful));
        problems.extend(lines::look(&config, &configs::roles(&config)));
        let mut loaded = configs::Loaded::default();
        if has_repository {
            loaded = configs::load(&config, &store);
            problems.append(&mut loaded.problems);
        }
        let configs = loaded.configs;
        warnings.extend(said(tokens::look(&config, &configs)));
        warnings.extend(open_to_all(&config));
        warnings.extend(said(loaded.warnings));
        warnings.extend(unfit);
        let complaints = Mutex::default();
        let present = BTreeSet::new();
        let mut site =
            Self { config, store, configs, programs, stubs, present, warnings, complaints };
        site.present = goal::present(&site);
        let foreseen = said(installs::look(&site));
        site.warnings.extend(foreseen);
        let unsaid = unsaid::look(&site);
        site.warnings.extend(said(unsaid.warnings));
        problems.extend(unsaid.problems);
        (site, problems)
    }

    /// Opens a file for those who cannot be told apart: not what a config is made from, or is.
    pub fn read(&self, path: &RepositoryPath) -> Result<Opened, OpenError> {
        match self.configs.get(&path.into()) {
            Some(_) => Err(OpenError::Config),
            None => self.read_file(path, false),
        }
    }

    /// Opens what is no config by its path. By a linked folder it may be the file of one, which
    /// nobody is to read as it is, or one that args name, which wants a token.
    pub fn read_file(&self, path: &RepositoryPath, has_token: bool) -> Result<Opened, OpenError> {
        if !has_token && self.config.closes(path) {
            return Err(OpenError::Token);
        }
        let opened = self.store.read(path)?;
        if opened.stamp.len > configs::LARGEST {
            return Ok(opened);
        }
        let is_closed = |text: &ConfigText| {
            text.words().is_some() || self.config.config_access == Access::Token
        };
        let is_it = |file: &RepositoryPath| {
            self.store.read(file).is_ok_and(|source| source.is_same_file(&opened))
        };
        let mut closed = self.configs.sources().filter(|(_, text)| is_closed(text));
        if closed.any(|(file, _)| is_it(file)) {
            return Err(OpenError::Config);
        }
        match !has_token && self.config.closed_by_name(path).any(|file| is_it(&file)) {
            true => Err(OpenError::Token),
            false => Ok(opened),
        }
    }

    /// Why a machine gets nothing to boot here, whatever its group: on every way to a kernel.
    pub fn turns_away(&self, mac: Mac) -> Option<TurnedAway> {
        match self.config.mode {
            Mode::Observe => Some(TurnedAway::Observing),
            Mode::Serve if Pattern::allow(self.config.allow.as_deref(), mac) => None,
            Mode::Serve => Some(TurnedAway::NotAllowed),
        }
    }

    /// What ProxyDHCP has to offer.
    pub fn offering<'a>(&'a self, book: &'a Book) -> Offering<'a> {
        Offering {
            catalog: &self.config.catalog,
            book,
            most_attempts: self.config.most_attempts,
            programs: &self.programs,
            http_port: self.config.http_port,
            allow: self.config.allow.as_deref(),
            offer: self.config.offer,
        }
    }
}

/// The path below this folder of a name that was written from / on.
fn within(folder: &Path, name: &OsStr) -> Option<String> {
    let path = Path::new("/").join(name);
    let path = path.strip_prefix(folder).ok()?;
    Some(path.display().to_string())
}

fn said(problems: Vec<Problem>) -> Vec<String> {
    let sorted = ConfigError::of(problems).map(|problems| problems.to_string());
    sorted.iter().flat_map(|problems| problems.lines()).map(str::to_owned).collect()
}

/// The config and the files beside it; `None` where there is none and none was asked for.
fn read(path: Option<&Path>) -> Result<Option<(Text, Vec<Text>)>, SiteError> {
    let Some(main) = read_main(path)? else { return Ok(None) };
    let folder = path.unwrap_or(Path::new(USUAL)).with_file_name(BESIDE);
    let mut files = match fs::read_dir(&folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| SiteError::unreadable(&folder, error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(SiteError::unreadable(&folder, error)),
    };
    // Editors keep hidden copies, which also end in .toml.
    let is_hidden =
        |file: &Path| file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    files.retain(|file| file.extension().is_some_and(|end| end == "toml") && !is_hidden(file));
    files.sort();
    let read = |file: PathBuf| match bytes(&file) {
        Ok(bytes) => text(&file, bytes),
        Err(error) => Err(SiteError::unreadable(&file, error)),
    };
    let beside = files.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(Some((main, beside)))
}

/// The config itself, as [`read`].
fn read_main(path: Option<&Path>) -> Result<Option<Text>, SiteError> {
    let wanted = path.unwrap_or(Path::new(USUAL));
    match bytes(wanted) {
        Ok(bytes) => text(wanted, bytes).map(Some),
        Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SiteError::unreadable(wanted, error)),
    }
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    // Who opens a FIFO waits for its other end, and the server with it.
    match fs::metadata(file)?.file_type().is_fifo() {
        true => Err(io::Error::other("it is a FIFO")),
        false => fs::read(file),
    }
}

fn text(file: &Path, bytes: Vec<u8>) -> Result<Text, SiteError> {
    let name = file.display().to_string();
    match configs::decode(bytes) {
        Ok(text) => Ok(Text { name, text }),
        Err((_, line)) => Err(SiteError::Config(configs::not_utf8(&name, line).into())),
    }
}

/// Why a site cannot be loaded.
#[derive(Debug)]
pub enum SiteError {
    /// The config, or what it names, is wrong.
    Config(ConfigError),
    /// A config file cannot be read.
    Unreadable {
        /// The file.
        name: String,
        /// What the system says.
        error: io::Error,
    },
}

impl SiteError {
    fn unreadable(path: &Path, error: io::Error) -> Self {
        Self::Unreadable { name: path.display().to_string(), error }
    }
}

impl From<ConfigError> for SiteError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Unreadable { name, error } => {
                let advice = advice(Path::new(name), error).unwrap_or_default();
                write!(f, "{name}: cannot be read: {error}{advice}")
            }
        }
    }
}

impl std::error::Error for SiteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Unreadable { error, .. } => Some(error),
        }
    }
}
