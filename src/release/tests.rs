use super::*;

const BASE: &str = "/coreos";

pub(super) fn path(text: &str) -> RepositoryPath {
    RepositoryPath::parse(text.as_bytes()).unwrap()
}

/// A release of CoreOS in `/coreos/<folder>`, of these files.
pub(super) fn release(folder: &str, files: &[&str], version_txt: Option<&str>) -> Release {
    let files = files.iter().map(|name| (name.as_bytes(), Presence::Found(1)));
    let folder = path(&format!("{BASE}/{folder}"));
    let mut found = Release::in_folder(&folder, files, version_txt);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

pub(super) const KERNEL: &str = "coreos_production_pxe.vmlinuz";
pub(super) const INITRD: &str = "coreos_production_pxe_image.cpio.gz";
pub(super) const DISK: &str = "coreos_production_image.bin.bz2";
pub(super) const DISK_SIG: &str = "coreos_production_image.bin.bz2.sig";
pub(super) const ALL: [&str; 4] = [KERNEL, INITRD, DISK, DISK_SIG];

#[test]
fn a_release_is_complete_or_says_what_it_lacks() {
    let vmware = "coreos_production_vmware_raw_image.bin.bz2";
    for (files, said) in [
        (&ALL[..], "complete"),
        (&ALL[..2], "RAM only: it has no disk image to install"),
        (&ALL[..3], "incomplete, lacks coreos_production_image.bin.bz2.sig"),
        (&ALL[1..], "incomplete, lacks coreos_production_pxe.vmlinuz"),
        (
            &ALL[2..],
            "incomplete, lacks coreos_production_pxe.vmlinuz, coreos_production_pxe_image.cpio.gz",
        ),
        (
            &[KERNEL],
            "incomplete, lacks coreos_production_pxe_image.cpio.gz, \
                     coreos_production_image.bin.bz2",
        ),
        (&[KERNEL, INITRD, vmware, "coreos_production_vmware_raw_image.bin.bz2.sig"], "complete"),
        (
            &[KERNEL, INITRD, DISK, DISK_SIG, vmware],
            "incomplete, lacks coreos_production_vmware_raw_image.bin.bz2.sig",
        ),
        (&[KERNEL, INITRD, DISK, DISK_SIG, "flatcar_production_image.bin.bz2.DIGESTS"], "complete"),
    ] {
        assert_eq!(release("1122.2.0", files, None).state().to_string(), said, "{files:?}");
    }
    let mut broken = ALL.map(|name| (name.as_bytes(), Presence::Found(1)));
    broken[2].1 = Presence::Useless("is empty".to_owned());
    let found = Release::in_folder(&path("/c/1"), broken, None);
    let said = "incomplete, lacks coreos_production_image.bin.bz2 (is empty)";
    assert_eq!(found[0].state().to_string(), said);
}

#[test]
fn one_folder_may_have_a_release_of_each_family() {
    let files = ["flatcar_production_pxe.vmlinuz", KERNEL, "version.txt", "x"];
    let files = files.map(|name| (name.as_bytes(), Presence::Found(1)));
    let text = "FLATCAR_VERSION=3510.2.8\nFLATCAR_VERSION_ID=3510.2.8\n";
    let found = Release::in_folder(&path("/x/3510.2.8"), files, Some(text));
    let families: Vec<Family> = found.iter().map(|release| release.family).collect();
    assert_eq!(families, Family::ALL);
    assert!(found.iter().all(|release| release.version == "3510.2.8" && release.doubt.is_none()));
}

#[test]
fn the_version_is_version_txts_and_must_be_the_folders_name() {
    let real = "COREOS_VERSION=1122.2.0\nCOREOS_VERSION_ID=1122.2.0\nCOREOS_BUILD_ID=\"\"\n\
                COREOS_SDK_VERSION=1122.1.0\n";
    for (folder, text, version, doubt) in [
        ("1122.2.0", Some(real), "1122.2.0", None),
        ("1122.2.0", None, "1122.2.0", None),
        ("current", Some(real), "1122.2.0", None),
        ("1185.3.0", Some(real), "1122.2.0", Some("version.txt in /coreos/1185.3.0 says 1122.2.0")),
        (
            "current",
            None,
            "current",
            Some("no version.txt in /coreos/current says which version it is"),
        ),
        (
            "stable",
            None,
            "stable",
            Some("no version.txt in /coreos/stable says which version it is"),
        ),
        ("1122.2.0", Some("COREOS_VERSION=../x\n"), "1122.2.0", None),
        ("1122.2.0", Some("FLATCAR_VERSION=3510.2.8\n"), "1122.2.0", None),
    ] {
        let release = release(folder, &ALL, text);
        assert_eq!((release.version.as_str(), release.doubt.as_deref()), (version, doubt));
    }
}

#[test]
fn a_version_txt_of_ours_is_read_as_theirs() {
    for family in Family::ALL {
        let text = version_txt(family, "1122.2.0");
        assert_eq!(stated_in(&text, family).as_deref(), Some("1122.2.0"));
    }
}

#[test]
fn the_newest_is_the_highest_number_that_can_be_installed() {
    let release = |folder: &str, files: &[&str]| release(folder, files, None);
    let found = [
        release("1122.2.0", &ALL),
        release("1122.10.0", &ALL),
        release("899.17.0", &ALL),
        release("2000.0.0", &ALL[..2]),
        release("2000.1.0", &ALL[..3]),
        release("current", &ALL),
    ];
    let newest = |family| newest(&found, family).map(|release| release.version.as_str());
    assert_eq!(newest(Family::CoreOs), Some("1122.10.0"));
    assert_eq!(newest(Family::Flatcar), None);
}

#[test]
fn a_kernel_tells_its_releases_folder() {
    let of = |text: &str| Release::of_kernel(&path(text));
    let folder = path("/a/b/1122.2.0");
    assert_eq!(of("/a/b/1122.2.0/coreos_production_pxe.vmlinuz"), Some((Family::CoreOs, folder)));
    for other in [
        "/coreos_production_pxe.vmlinuz",
        "/a/1/coreos_production_pxe.vmlinuz.sig",
        "/a/1/coreos_production_pxe_image.cpio.gz",
        "/a/1/vmlinuz",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
}
