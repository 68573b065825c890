//! Whether a profile may be served, by the release its kernel is of.

use std::collections::BTreeMap;

use super::{Family, Part, Piece, Presence, Release, signature::Verdict};
use crate::path::RepositoryPath;

/// What a profile boots, as far as it matters here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject<'a> {
    /// Its kernel, where that is in the repository.
    pub kernel: Option<&'a RepositoryPath>,
    /// Its initrds that are in the repository.
    pub initrd: Vec<&'a RepositoryPath>,
    /// Whether an initrd comes from elsewhere.
    pub by_url: bool,
    /// Whether it writes a disk.
    pub installs: bool,
    /// Whether only signed files will do.
    pub verify: bool,
}

/// What is known of one file's signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// It was read to its end.
    Done(Verdict),
    /// So many of a hundred parts of its release have been read.
    Pending(u8),
}

/// Whether a profile may be served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Gate {
    /// No: why.
    Closed(String),
    /// Yes.
    Open,
    /// Not yet: what is waited for.
    Pending(String),
}

/// Decides on a profile. `findings` has every file that has been or is being verified; the name of
/// a profile is the caller's to add to a reason.
pub fn gate(
    subject: &Subject<'_>,
    releases: &[Release],
    findings: &BTreeMap<RepositoryPath, Finding>,
) -> Gate {
    let Some((family, folder)) = subject.kernel.and_then(Release::of_kernel) else {
        return match subject.verify {
            true => Gate::Closed(
                "verify = true, and its kernel is none of a CoreOS or Flatcar release in the \
                 repository, so nothing says who signed it"
                    .to_owned(),
            ),
            false => Gate::Open,
        };
    };
    let Some(release) = find(releases, family, &folder) else {
        return match subject.verify || subject.installs {
            true => Gate::Closed(format!("{folder} has no {family} release")),
            false => Gate::Open,
        };
    };
    if let Some(reason) = other_initrd(subject, release, releases) {
        return Gate::Closed(reason);
    }
    let mut wanted: Vec<&Part> = release.parts.get(&Piece::Kernel).into_iter().collect();
    wanted.extend(initrds(subject, release, releases));
    if subject.installs {
        match disk_of(release, releases) {
            Ok(disk) => wanted.extend(disk.disks()),
            Err(reason) => return Gate::Closed(reason),
        }
    }
    match subject.verify {
        true if subject.by_url => Gate::Closed(
            "verify = true, and an initrd comes by URL, which nobody verifies; put it into the \
             repository"
                .to_owned(),
        ),
        true => proven(&wanted, findings),
        false => Gate::Open,
    }
}

fn find<'a>(
    releases: &'a [Release],
    family: Family,
    folder: &RepositoryPath,
) -> Option<&'a Release> {
    releases.iter().find(|release| release.family == family && release.folder == *folder)
}

/// The release's initrds that are booted: from its own folder, or from another of its version.
fn initrds<'a>(
    subject: &Subject<'_>,
    release: &'a Release,
    releases: &'a [Release],
) -> Vec<&'a Part> {
    let named = subject.initrd.iter().filter_map(|initrd| {
        let (family, folder) = Release::of_piece(initrd, &Piece::Initrd)?;
        find(releases, family, &folder)?.parts.get(&Piece::Initrd)
    });
    let named: Vec<&Part> = named.collect();
    match named.is_empty() {
        true => release.parts.get(&Piece::Initrd).into_iter().collect(),
        false => named,
    }
}

/// Why an initrd does not go with the kernel: it is of another version.
fn other_initrd(subject: &Subject<'_>, release: &Release, releases: &[Release]) -> Option<String> {
    subject.initrd.iter().find_map(|initrd| {
        let (family, folder) = Release::of_piece(initrd, &Piece::Initrd)?;
        let version = find(releases, family, &folder).map(|other| &other.version);
        let same = family == release.family
            && (folder == release.folder || version == Some(&release.version));
        let kernel = &release.folder;
        (!same).then(|| {
            format!(
                "its kernel is of {kernel} and its initrd of {folder}, which is another release"
            )
        })
    })
}

/// The release whose disk image an installer fetches that this one's kernel has booted: it asks for
/// the version that it runs, in a folder of that name, whatever folder the kernel came from.
fn disk_of<'a>(release: &'a Release, releases: &'a [Release]) -> Result<&'a Release, String> {
    let version = &release.version;
    if let Some(doubt) = &release.doubt {
        return Err(format!(
            "{doubt}, and an installer asks for its own version by the folder's name; name the \
             folder after the version"
        ));
    }
    let disk = match release.is_current() {
        false => release,
        true => {
            let same = |other: &&Release| {
                other.family == release.family
                    && other.base() == release.base()
                    && other.folder.file_name() == version.as_bytes()
            };
            releases.iter().find(same).ok_or_else(|| {
                let folder = &release.folder;
                format!(
                    "{folder} is version {version}, and an installer fetches that from a folder \
                     named {version} beside it, which is not there"
                )
            })?
        }
    };
    if let Some(doubt) = &disk.doubt {
        return Err(format!("it installs {version}, and {doubt}"));
    }
    let mut missing = release.lacks_pxe();
    missing.extend(disk.lacks_disk());
    if missing.is_empty() {
        return Ok(disk);
    }
    let other = match &disk.current {
        Some(current) if current != version && !disk.is_installable() => {
            format!("; version.txt of the folder current beside it says {current}")
        }
        Some(_) | None => String::new(),
    };
    let (folder, missing) = (&disk.folder, missing.join(", "));
    Err(format!("it installs {version}, and {folder} lacks {missing}{other}"))
}

fn proven(wanted: &[&Part], findings: &BTreeMap<RepositoryPath, Finding>) -> Gate {
    let mut pending = None;
    for part in wanted {
        let path = &part.path;
        if !part.is_there() {
            return Gate::Closed(format!("{path} cannot be verified: it is not there"));
        }
        match (&part.signature, findings.get(path)) {
            (Presence::Absent, _) => {
                return Gate::Closed(format!("{path} has no signature; put its .sig beside it"));
            }
            (Presence::Useless(why), _) => {
                let instead = "fetch it again";
                return Gate::Closed(format!("the signature of {path} {why}; {instead}"));
            }
            (Presence::Found(_), Some(Finding::Done(Verdict::Good { .. }))) => {}
            (Presence::Found(_), Some(Finding::Done(Verdict::Bad(fault)))) => {
                return Gate::Closed(format!("{path}: {fault}"));
            }
            (Presence::Found(_), Some(Finding::Pending(percent))) => pending = Some(*percent),
            (Presence::Found(_), None) => pending = pending.or(Some(0)),
        }
    }
    match pending {
        Some(percent) => Gate::Pending(format!("verification is under way: {percent} %")),
        None => Gate::Open,
    }
}

/// What an operator may not expect of a profile that is served all the same.
pub fn cautions(subject: &Subject<'_>, releases: &[Release]) -> Vec<String> {
    let kernel = subject.kernel.filter(|_| subject.installs);
    let release = kernel
        .and_then(Release::of_kernel)
        .and_then(|(family, folder)| find(releases, family, &folder));
    let Some(release) = release else {
        return Vec::new();
    };
    match &release.current {
        Some(current) if *current != release.version => vec![format!(
            "it boots {}, and version.txt of the folder current beside it says {current}: \
             `coreos-install -V current` would install that",
            release.version
        )],
        Some(_) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{
        super::{
            Fault,
            tests::{ALL, DISK, DISK_SIG, INITRD, KERNEL, path, release},
        },
        *,
    };

    const SIGNED: [&str; 6] = [
        KERNEL,
        INITRD,
        DISK,
        DISK_SIG,
        "coreos_production_pxe.vmlinuz.sig",
        "coreos_production_pxe_image.cpio.gz.sig",
    ];

    fn asked(folder: &str, installs: bool, verify: bool, releases: &[Release]) -> Gate {
        let (kernel, initrd) = files(folder, folder);
        let initrd = vec![&initrd];
        let subject = Subject { kernel: Some(&kernel), initrd, by_url: false, installs, verify };
        gate(&subject, releases, &BTreeMap::new())
    }

    fn files(kernel: &str, initrd: &str) -> (RepositoryPath, RepositoryPath) {
        (path(&format!("/coreos/{kernel}/{KERNEL}")), path(&format!("/coreos/{initrd}/{INITRD}")))
    }

    fn closed(reason: &str) -> Gate {
        Gate::Closed(reason.to_owned())
    }

    #[test]
    fn what_installs_needs_all_and_what_stays_in_ram_does_not() {
        let whole = [release("1122.2.0", &ALL, None)];
        let ram = [release("1122.2.0", &ALL[..2], None)];
        assert_eq!(asked("1122.2.0", true, false, &whole), Gate::Open);
        assert_eq!(asked("1122.2.0", false, false, &ram), Gate::Open);
        assert_eq!(
            asked("1122.2.0", true, false, &ram),
            closed(
                "it installs 1122.2.0, and /coreos/1122.2.0 lacks coreos_production_image.bin.bz2"
            )
        );
        assert_eq!(
            asked("1122.2.0", true, false, &[]),
            closed("/coreos/1122.2.0 has no CoreOS release")
        );
    }

    #[test]
    fn a_disk_image_of_another_version_than_the_kernels_closes() {
        let kernel = release("1122.2.0", &ALL[..2], None);
        let kernel = kernel.with_current(Some("COREOS_VERSION=1185.3.0\n"));
        assert_eq!(
            asked("1122.2.0", true, false, &[kernel]),
            closed(
                "it installs 1122.2.0, and /coreos/1122.2.0 lacks coreos_production_image.bin.bz2; \
                 version.txt of the folder current beside it says 1185.3.0"
            )
        );
        let doubtful = release("1122.2.0", &ALL, Some("COREOS_VERSION=1185.3.0\n"));
        let Gate::Closed(reason) = asked("1122.2.0", true, false, &[doubtful]) else {
            panic!("open");
        };
        assert!(reason.starts_with("version.txt in /coreos/1122.2.0 says 1185.3.0, and an"));
    }

    #[test]
    fn a_kernel_from_current_installs_from_the_folder_of_its_version() {
        let current = release("current", &ALL, Some("COREOS_VERSION=1122.2.0\n"));
        let Gate::Closed(reason) = asked("current", true, false, std::slice::from_ref(&current))
        else {
            panic!("open");
        };
        assert!(
            reason.contains("from a folder named 1122.2.0 beside it, which is not"),
            "{reason}"
        );
        let both = [current, release("1122.2.0", &ALL[2..], None)];
        assert_eq!(asked("current", true, false, &both), Gate::Open);
    }

    #[test]
    fn an_initrd_of_another_version_closes() {
        let releases = [
            release("1122.2.0", &ALL, None),
            release("1185.3.0", &ALL, None),
            release("current", &ALL, Some("COREOS_VERSION=1122.2.0\n")),
        ];
        let asked = |initrd: &str| {
            let (kernel, initrd) = files("1122.2.0", initrd);
            let initrd = vec![&initrd];
            let subject = Subject { kernel: Some(&kernel), initrd, ..Subject::default() };
            gate(&subject, &releases, &BTreeMap::new())
        };
        assert_eq!(asked("current"), Gate::Open);
        assert_eq!(
            asked("1185.3.0"),
            closed(
                "its kernel is of /coreos/1122.2.0 and its initrd of /coreos/1185.3.0, which is \
                 another release"
            )
        );
    }

    #[test]
    fn with_verify_every_file_must_be_good_and_be_there() {
        let releases = [release("1122.2.0", &SIGNED, None)];
        let (kernel, initrd) = files("1122.2.0", "1122.2.0");
        let disk = path(&format!("/coreos/1122.2.0/{DISK}"));
        let made = SystemTime::UNIX_EPOCH;
        let good = Finding::Done(Verdict::Good { fingerprint: "F".to_owned(), made, until: None });
        let mut findings = BTreeMap::new();
        let asked = |findings: &BTreeMap<_, _>, installs| {
            let initrd = vec![&initrd];
            let kernel = Some(&kernel);
            let subject = Subject { kernel, initrd, by_url: false, installs, verify: true };
            gate(&subject, &releases, findings)
        };
        let under_way = |percent| Gate::Pending(format!("verification is under way: {percent} %"));
        assert_eq!(asked(&findings, true), under_way(0));
        findings.insert(kernel.clone(), good.clone());
        findings.insert(initrd.clone(), good.clone());
        assert_eq!(asked(&findings, false), Gate::Open);
        findings.insert(disk.clone(), Finding::Pending(43));
        assert_eq!(asked(&findings, true), under_way(43));
        findings.insert(disk.clone(), good);
        assert_eq!(asked(&findings, true), Gate::Open);
        let unknown = Fault::UnknownKey("AB".to_owned());
        findings.insert(disk, Finding::Done(Verdict::Bad(unknown)));
        assert_eq!(
            asked(&findings, true),
            closed(
                "/coreos/1122.2.0/coreos_production_image.bin.bz2: signed by AB, which is not in \
                 the keyring; add that key, if you trust it"
            )
        );
        assert_eq!(asked(&findings, false), Gate::Open);
    }

    #[test]
    fn with_verify_what_nobody_can_have_signed_closes() {
        let unsigned = [release("1122.2.0", &ALL, None)];
        assert_eq!(
            asked("1122.2.0", false, true, &unsigned),
            closed(
                "/coreos/1122.2.0/coreos_production_pxe.vmlinuz has no signature; put its .sig \
                 beside it"
            )
        );
        let own = path("/debian/linux");
        let mut subject = Subject { kernel: Some(&own), ..Subject::default() };
        assert_eq!(gate(&subject, &unsigned, &BTreeMap::new()), Gate::Open);
        subject.verify = true;
        assert!(matches!(gate(&subject, &unsigned, &BTreeMap::new()), Gate::Closed(_)));
        subject.kernel = None;
        assert!(matches!(gate(&subject, &unsigned, &BTreeMap::new()), Gate::Closed(_)));
        let signed = [release("1122.2.0", &SIGNED, None)];
        let (kernel, _) = files("1122.2.0", "1122.2.0");
        subject = Subject { kernel: Some(&kernel), verify: true, ..Subject::default() };
        assert!(matches!(gate(&subject, &signed, &BTreeMap::new()), Gate::Pending(_)));
        subject.by_url = true;
        assert!(matches!(gate(&subject, &signed, &BTreeMap::new()), Gate::Closed(_)));
    }

    #[test]
    fn another_version_in_current_is_told_and_not_held_against_a_whole_release() {
        let whole = release("1122.2.0", &ALL, None).with_current(Some("COREOS_VERSION=1185.3.0\n"));
        assert_eq!(asked("1122.2.0", true, false, std::slice::from_ref(&whole)), Gate::Open);
        let (kernel, _) = files("1122.2.0", "1122.2.0");
        let subject = Subject { kernel: Some(&kernel), installs: true, ..Subject::default() };
        assert_eq!(cautions(&subject, &[whole]).len(), 1);
    }
}
