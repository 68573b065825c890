//! Texts of ours that a boot loader asks for by a name of its own choice, over HTTP and TFTP alike.
//!
//! A file of that name is the operator's word, and wins; that is for those who open files to see.

use std::{borrow::Cow, collections::BTreeMap};

use super::request::Query;
use crate::{
    firmware::{Platform, from_grub},
    machine::{Mac, Uuid},
    path::RepositoryPath,
};

/// What every GRUB config's name begins with: Debian's asks `grub/grub.cfg` and
/// `debian-installer/amd64/grub/grub.cfg`, Fedora's `grub.cfg-UUID`, `grub.cfg-01-MAC`,
/// `grub.cfg-HEXIP` and `grub.cfg` beside itself.
const CONFIG: &str = "grub.cfg";
/// ARP's hardware type of Ethernet, before the address in a name.
const ETHERNET: &str = "01-";
/// What newer iPXE fetches beside itself, before it does anything else.
const AUTOEXEC: &[u8] = b"autoexec.ipxe";
/// What our first config has GRUB tell. Anything else with an equals sign is a part of what stands
/// before it.
const TOLD: [&str; 7] = ["mac", "uuid", "arch", "platform", "manufacturer", "product", "serial"];

/// A text that a boot loader asks for by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    /// iPXE's: has it ask for the first script.
    Autoexec,
    /// GRUB's first, the same for every machine; the card's address where the name has it.
    First(Option<Mac>),
    /// GRUB's own for one machine.
    Machine(Told),
}

/// What GRUB tells of the machine it runs on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// The card that booted, absent where GRUB does not know it.
    pub mac: Option<Mac>,
    /// SMBIOS system UUID.
    pub uuid: Option<Uuid>,
    /// Everything else by name, in iPXE's words; absent where the name is the short one, or was cut, or GRUB could not
    /// read SMBIOS: the rest is then not empty, but unknown.
    pub labels: Option<BTreeMap<String, String>>,
}

impl Named {
    /// Reads the name of what is no file.
    pub fn read(path: &RepositoryPath) -> Option<Self> {
        if path.file_name() == AUTOEXEC {
            return Some(Self::Autoexec);
        }
        // What a machine tells of itself may have slashes.
        let path = String::from_utf8_lossy(path.as_bytes());
        let (folder, told) = path.split_once(';').unwrap_or((&path, ""));
        let name = folder.rsplit('/').next().unwrap_or(folder);
        let rest = name.strip_prefix(CONFIG)?;
        match (rest, told) {
            ("", "") => Some(Self::First(None)),
            ("", told) => Some(Self::Machine(Told::read(told))),
            (rest, "") => {
                let rest = rest.strip_prefix('-')?;
                Some(Self::First(rest.strip_prefix(ETHERNET).and_then(|mac| mac.parse().ok())))
            }
            (_, _) => None,
        }
    }
}

impl Told {
    fn read(text: &str) -> Self {
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for piece in text.split(';') {
            match (piece.split_once('=').filter(|(name, _)| TOLD.contains(name)), pairs.last_mut())
            {
                (Some((name, value)), _) => pairs.push((name.into(), value.into())),
                // A semicolon within what the machine tells.
                (None, Some((_, value))) => *value = format!("{value};{piece}").into(),
                (None, None) => {}
            }
        }
        let given = |pair: &(Cow<'_, str>, Cow<'_, str>)| pair.0 == "mac" && !pair.1.is_empty();
        let mac = pairs.iter().find(|pair| given(pair)).and_then(|(_, mac)| mac.parse().ok());
        let (uuid, mut labels) = Query::told(pairs.into_iter().filter(|(name, _)| name != "mac"));
        for (name, value) in &mut labels {
            *value = from_grub(name, value).to_owned();
        }
        Self { mac, uuid, labels: is_whole(&labels).then_some(labels) }
    }
}

/// Whether GRUB told all that there will be: the name came to its end, where its platform stands, and
/// SMBIOS was read.
fn is_whole(labels: &BTreeMap<String, String>) -> bool {
    let platform = labels.get("platform").and_then(|name| Platform::from_ipxe(name));
    platform.is_some()
        && ["manufacturer", "product", "serial"].iter().any(|it| labels.contains_key(*it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<Named> {
        Named::read(&RepositoryPath::parse(path.as_bytes()).unwrap())
    }

    fn told(path: &str) -> Told {
        match read(path) {
            Some(Named::Machine(told)) => told,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn every_name_that_a_grub_asks_for_is_its_first_config() {
        let mac = "52:54:00:12:34:56".parse().ok();
        for (path, card) in [
            ("/grub/grub.cfg", None),
            ("/grub/x86_64-efi/grub.cfg", None),
            ("/debian-installer/amd64/grub/grub.cfg", None),
            ("/EFI/fedora/grub.cfg", None),
            ("/grub.cfg-11223344-5566-7788-99aa-bbccddeeff00", None),
            ("//grub.cfg-01-52-54-00-12-34-56", mac),
            ("/grub.cfg-01-zz", None),
            ("/grub.cfg-C0A80105", None),
            ("/grub.cfg-C", None),
        ] {
            assert_eq!(read(path), Some(Named::First(card)), "{path}");
        }
        assert_eq!(read("/snp/autoexec.ipxe"), Some(Named::Autoexec));
        for file in [
            "/grub/x86_64-efi/command.lst",
            "/grub.cfg.sig",
            "/grub.cfg-x;mac=525400123456",
            "/xgrub.cfg",
            "/grub.cfg/x",
            "/autoexec.ipxe.sig",
            "/grubx64.efi",
        ] {
            assert_eq!(read(file), None, "{file}");
        }
    }

    #[test]
    fn a_machine_is_told_of_in_the_name() {
        let told = told(
            "/grub.cfg;mac=52:54:00:12:34:56;uuid=11223344-5566-7788-99aa-bbccddeeff00;\
             arch=x86_64;platform=efi;manufacturer=A/B; C=D;product=Standard PC (Q35 + ICH9, 2009)\
             ;serial=",
        );
        assert_eq!(told.mac, "52:54:00:12:34:56".parse().ok());
        assert_eq!(told.uuid, "11223344-5566-7788-99aa-bbccddeeff00".parse().ok());
        let labels = told.labels.unwrap();
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            labels,
            [
                ("arch", "x86_64"),
                ("manufacturer", "A/B; C=D"),
                ("platform", "efi"),
                ("product", "Standard PC (Q35 + ICH9, 2009)"),
            ]
        );
    }

    #[test]
    fn the_short_name_tells_of_no_labels_and_none_of_a_made_up_machine() {
        let short = told("/grub.cfg;mac=52:54:00:12:34:56");
        assert_eq!(short.mac, "52:54:00:12:34:56".parse().ok());
        assert_eq!((short.uuid, short.labels), (None, None));
        for nobody in ["/grub.cfg;mac=", "/grub.cfg;x", "/grub.cfg;mac=01:00:00:00:00:01"] {
            assert_eq!(told(nobody).mac, None, "{nobody}");
        }
    }

    #[test]
    fn a_name_that_was_cut_or_a_grub_without_smbios_has_not_told_all() {
        let mac = "/grub.cfg;mac=52:54:00:12:34:56;uuid=";
        for (rest, is_whole) in [
            (";arch=x86_64;manufacturer=;product=;serial=;platform=efi", false),
            (";arch=x86_64;manufacturer= ;product=;serial=;platform=efi", false),
            (";platform=efi", false),
            (";arch=x86_64;manufacturer=A;product=B;serial=C;platform=ef", false),
            (";arch=x86_64;manufacturer=A;product=B;serial=C;platform=", false),
            (";arch=x86_64;manufacturer=A;product=B", false),
            (";arch=x86_64;manufacturer=;product=;serial=C;platform=efi", true),
            (";arch=i386;manufacturer=A;product=;serial=;platform=pc", true),
        ] {
            assert_eq!(told(&format!("{mac}{rest}")).labels.is_some(), is_whole, "{rest}");
        }
    }

    #[test]
    fn what_grub_calls_otherwise_is_told_as_ipxe_tells_it() {
        for (arch, platform, words) in [
            ("i386", "pc", ["i386", "pcbios"]),
            ("arm", "efi", ["arm32", "efi"]),
            ("loongarch64", "efi", ["loong64", "efi"]),
        ] {
            let told = told(&format!("/grub.cfg;mac=x;arch={arch};product=pc;platform={platform}"));
            let labels = told.labels.unwrap();
            assert_eq!(["arch", "platform"].map(|name| labels[name].as_str()), words);
            assert_eq!(labels["product"], "pc");
        }
    }

    #[test]
    fn what_a_board_maker_wrote_is_no_label_of_its_own() {
        let labels = told("/grub.cfg;mac=x;product=a;rack=1;B=C;serial=7;platform=efi").labels;
        let labels = labels.unwrap();
        assert_eq!(labels["product"], "a;rack=1;B=C");
        assert!(labels.keys().eq(["platform", "product", "serial"]), "{labels:?}");
    }
}
