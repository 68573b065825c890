//! Tells a text for another tool, such as Butane given as Ignition, by how it looks.

use super::{Kind, Report, kind};

/// A kind of text that is told by its looks alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Looks {
    Butane,
    CloudInit,
    Html,
    Ignition,
    Ipxe,
    Kickstart,
    Preseed,
    Script,
    Xml,
}

/// Whether a text was meant for another reader; then that is all that is said of it.
pub(super) fn is_misfit(kind: Kind, text: &str, report: &mut Report) -> bool {
    let of_part = || (kind == Kind::Ignition && is_part_of_butane(text)).then_some(Looks::Butane);
    let looks = Looks::of(text).or_else(of_part).filter(|looks| !looks.may_be(kind));
    let Some(looks) = looks else { return false };
    report.error(1, format!("is {}, which {}{}", looks.name(), reader(kind), looks.instead()));
    true
}

impl Looks {
    fn of(text: &str) -> Option<Self> {
        let body = text.trim_start();
        let begin: String = body.chars().take(64).collect::<String>().to_ascii_lowercase();
        let has_line = |word: &str| kind::has_line(text.as_bytes(), word);
        if begin.starts_with("<!doctype html") || begin.starts_with("<html") {
            Some(Self::Html)
        } else if begin.starts_with("<?xml") {
            Some(Self::Xml)
        } else if begin.starts_with("#!ipxe") {
            Some(Self::Ipxe)
        } else if begin.starts_with("#!/") {
            Some(Self::Script)
        } else if kind::is_cloud_init(body.as_bytes()) {
            Some(Self::CloudInit)
        } else if body.starts_with('{') && text.contains("\"ignition") {
            Some(Self::Ignition)
        } else if is_butane(text) {
            Some(Self::Butane)
        } else if has_line("%end") && ["%packages", "%post", "%pre"].iter().any(|it| has_line(it)) {
            Some(Self::Kickstart)
        } else if has_line("d-i ") || has_line("d-i\t") {
            Some(Self::Preseed)
        } else {
            None
        }
    }

    /// Whether a reader of this kind may take it, or will say itself what is wrong.
    fn may_be(self, kind: Kind) -> bool {
        match (self, kind) {
            (_, Kind::Text)
            | (Self::Html | Self::Xml, Kind::AutoYast | Kind::Xml)
            | (Self::Butane | Self::CloudInit, Kind::Yaml)
            | (
                Self::CloudInit | Self::Script,
                Kind::Autoinstall | Kind::CloudConfig | Kind::CloudInit | Kind::Script,
            )
            | (Self::Ignition, Kind::Ignition | Kind::Json | Kind::Yaml)
            | (Self::Ipxe, Kind::Ipxe)
            | (Self::Kickstart, Kind::Kickstart | Kind::Script)
            | (Self::Preseed, Kind::Preseed | Kind::Script)
            // The reader of iPXE scripts itself tells a missing first line.
            | (Self::CloudInit | Self::Script | Self::Preseed | Self::Kickstart, Kind::Ipxe) => true,
            _ => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Butane => "Butane YAML",
            Self::CloudInit => "user-data of cloud-init (#cloud-config and the like)",
            Self::Html => "an HTML page, maybe an error page that was saved",
            Self::Ignition => "an Ignition config",
            Self::Ipxe => "an iPXE script",
            Self::Kickstart => "a kickstart file",
            Self::Preseed => "a preseed file (d-i …)",
            Self::Script => "a script (#!)",
            Self::Xml => "XML",
        }
    }

    fn instead(self) -> &'static str {
        match self {
            Self::Butane => "; run `butane --strict FILE > FILE.ign`, and name FILE.ign",
            Self::Html => "; fetch the file again",
            Self::Ignition => {
                "; name it with ignition.config.url= (CoreOS: coreos.config.url=, \
                               Flatcar: flatcar.config.url=)"
            }
            Self::Kickstart => "; name it with inst.ks=",
            Self::Preseed => "; name it with preseed/url=",
            Self::CloudInit | Self::Ipxe | Self::Script | Self::Xml => "; name another file",
        }
    }
}

fn reader(kind: Kind) -> &'static str {
    match kind {
        Kind::Autoinstall => "Ubuntu's installer does not read",
        Kind::AutoYast => "AutoYaST does not read",
        Kind::CloudConfig => "coreos-cloudinit does not read",
        Kind::CloudInit => "cloud-init does not read",
        Kind::Ignition => "Ignition does not read",
        Kind::Ipxe => "iPXE does not read",
        Kind::Json => "is no JSON",
        Kind::Kickstart => "Anaconda does not read",
        Kind::Preseed => "Debian's installer does not read",
        Kind::Script => "no shell can run",
        Kind::Talos => "Talos does not read",
        Kind::Text => "its reader may not take",
        Kind::Xml => "is no XML",
        Kind::Yaml => "is no YAML",
    }
}

/// Sections of Butane without its first keys, as files have that are merged by hand.
fn is_part_of_butane(text: &str) -> bool {
    let sections = ["ignition:", "kernel_arguments:", "passwd:", "storage:", "systemd:"];
    sections.iter().any(|section| kind::has_line(text.as_bytes(), section))
}

/// Its first keys are the variant and the version.
fn is_butane(text: &str) -> bool {
    let variants = ["fcos", "fiot", "flatcar", "openshift", "r4e"];
    text.lines().any(|line| {
        let value =
            line.strip_prefix("variant:").map(|value| value.trim().trim_matches(['"', '\'']));
        value.is_some_and(|value| variants.contains(&value))
    })
}
