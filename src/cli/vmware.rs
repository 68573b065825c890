//! `bootbox vmware`: the govc commands and .vmx lines for VMs that boot from here. Pure text: nothing
//! is run, and no vCenter is asked.

use std::{fmt::Write as _, net::Ipv4Addr, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use super::{CONFIG, USAGE, fail, print};
use crate::{
    catalog::{Catalog, Group, Pattern},
    machine::Mac,
    serve::{interface::Interface, site::Site},
    template::base_url,
};

/// What the template is called.
const TEMPLATE: &str = "bootbox-template";
/// Bytes that VMware reserves for a ROM: without this line it takes none but its own size.
const ROM_SIZE: u32 = 262_144;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The VM's network card.
    #[arg(long, value_enum, default_value_t)]
    nic: Nic,
    /// The VM's firmware.
    #[arg(long, value_enum, default_value_t)]
    firmware: Firmware,
    /// An iPXE ROM for the card, as ESXi sees the file: /vmfs/volumes/DATASTORE/ipxe/15ad07b0.rom.
    /// With BIOS only. Not needed: the card's own ROM boots from bootbox.
    #[arg(long, value_name = "PATH", value_parser = rom)]
    rom: Option<String>,
    /// Our address [default: that of the first interface served on]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
    /// The config [default: /etc/bootbox/bootbox.toml if it is there, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Firmware {
    /// VMware's PC BIOS.
    #[default]
    Bios,
    /// UEFI, with Secure Boot off.
    Efi,
}

impl Firmware {
    fn word(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Efi => "efi",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Nic {
    /// Intel 82545EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// AMD PCnet.
    Vlance,
    /// VMware's own, the usual one.
    #[default]
    Vmxnet3,
}

impl Nic {
    /// In a .vmx file.
    fn device(self) -> &'static str {
        match self {
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Vlance => "vlance",
            Self::Vmxnet3 => "vmxnet3",
        }
    }

    /// As govc calls it.
    fn adapter(self) -> &'static str {
        match self {
            Self::Vlance => "pcnet32",
            Self::E1000 | Self::E1000e | Self::Vmxnet3 => self.device(),
        }
    }

    /// The key that names a ROM for it, and the ROM, which is called by its PCI id (ipxe.org).
    fn rom(self) -> (&'static str, &'static str) {
        match self {
            Self::E1000 => ("e1000bios.filename", "8086100f.mrom"),
            Self::E1000e => ("e1000ebios.filename", "808610d3.mrom"),
            Self::Vlance => ("nbios.filename", "10222000.rom"),
            Self::Vmxnet3 => ("nx3bios.filename", "15ad07b0.rom"),
        }
    }
}

fn rom(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_control() || "'\"\\$`".contains(c)) {
        return Err(
            "write it without quotes, like /vmfs/volumes/DATASTORE/ipxe/15ad07b0.rom".into()
        );
    }
    Ok(text.to_owned())
}

pub(super) fn run(options: &Options) -> ExitCode {
    if options.rom.is_some() && options.firmware == Firmware::Efi {
        return fail(
            USAGE,
            &"--rom is for BIOS: VMware's EFI takes no ROM from a file; leave it out",
        );
    }
    let config = match Site::config(options.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &error),
    };
    let address = match options.address {
        Some(address) => address,
        None => match Interface::choose(&config.interfaces).as_deref() {
            Ok([first, ..]) => first.address,
            Ok([]) => Ipv4Addr::UNSPECIFIED,
            Err(error) => return fail(CONFIG, &format!("{error}\nor say --address")),
        },
    };
    let base_url = base_url(address, config.http_port);
    print(commands(options, &config.catalog, &base_url, address).as_bytes())
}

/// What to paste into a shell.
fn commands(options: &Options, catalog: &Catalog, base_url: &str, address: Ipv4Addr) -> String {
    let mut text = format!(
        "# VMs that boot from bootbox at {base_url}: a template, made once, and VMs of it.\n\
         # Set GOVC_URL, GOVC_DATASTORE, GOVC_RESOURCE_POOL, and GOVC_NETWORK to the port group of the VLAN\n\
         # that {address} is on. docs/vmware.md explains each step. An ESXi without vCenter makes no clones:\n\
         # run the lines of the template with each VM's name in its place, and leave markastemplate out.\n"
    );
    text.push_str(&template(options));
    for group in catalog.groups() {
        text.push_str(&vms(group));
    }
    if catalog.groups().is_empty() {
        let _ = writeln!(
            text,
            "\n# There is no [[group]] yet. A VM to write one for:\n\
             govc vm.clone -vm {TEMPLATE} -on=false vm-1"
        );
    }
    text.push_str(
        "\n# What VM is called by in a [group.selector]: the MAC Address is its mac, the UUID its uuid, in\n\
         # either byte order; its serial is \"VMware-\" and the UUID, \"VMware-56 4d a6 …\".\n\
         #   govc device.info -vm VM ethernet-0\n\
         #   govc vm.info VM\n",
    );
    text.push_str(&vmx(options));
    text
}

fn template(options: &Options) -> String {
    let (firmware, nic) = (options.firmware.word(), options.nic.adapter());
    let mut text = format!(
        "\n# The template: an empty VM. Memory is for a system that runs in RAM (Flatcar: 3 GB at least).\n\
         govc vm.create -on=false -g coreos64Guest -firmware {firmware} -c 2 -m 4096 \\\n\
         \x20   -net.adapter {nic} -disk 20GB -disk.controller pvscsi {TEMPLATE}\n\
         # Disks tell their ids (/dev/disk/by-id), which Kubernetes asks for.\n\
         govc vm.change -vm {TEMPLATE} -e disk.enableUUID=TRUE\n"
    );
    if options.firmware == Firmware::Efi {
        let _ = writeln!(
            text,
            "# Secure Boot must be off.\ngovc device.boot -vm {TEMPLATE} -firmware efi -secure=false"
        );
    }
    if let Some(path) = &options.rom {
        let (key, file) = options.nic.rom();
        let _ = writeln!(
            text,
            "# The ROM, iPXE's {file}; VMware ignores one that has no size.\n\
             govc vm.change -vm {TEMPLATE} -e ethernet0.opromsize={ROM_SIZE} -e '{key}={path}'"
        );
    }
    let _ = writeln!(
        text,
        "# The network first, so that `bootbox reinstall` reaches it; an installed machine gets no offer\n\
         # and goes on to its disk. \"disk,ethernet\" works too: an empty disk is passed over.\n\
         govc device.boot -vm {TEMPLATE} -order ethernet,disk\n\
         govc vm.markastemplate {TEMPLATE}"
    );
    text
}

/// The VMs of a group: one for each address or UUID that it names, else one to begin with.
fn vms(group: &Group) -> String {
    let (mut macs, mut uuids) = (Vec::new(), Vec::new());
    for pattern in group.selector.all_patterns() {
        match pattern {
            Pattern::Mac(mac) => macs.push(mac),
            Pattern::Uuid(uuid) => uuids.push(uuid),
            Pattern::Glob(_) | Pattern::MacGlob(_) | Pattern::Platform(_) | Pattern::Text(_) => {}
        }
    }
    let who = match group.selector.is_empty() {
        true => "every machine that no other group takes".to_owned(),
        false => group.selector.to_string(),
    };
    let name = &group.name;
    let mut text =
        format!("\n# Group {name} boots profile {}; in it is {who}.\n", group.profile.name);
    for index in 0..macs.len().max(uuids.len()).max(1) {
        let vm = format!("{name}-{}", index + 1);
        if let Some(mac) = macs.get(index).filter(|mac| is_given(mac)) {
            let _ = writeln!(text, "# {mac} was given by VMware: the VM that has it is there.");
            continue;
        }
        let _ = writeln!(text, "govc vm.clone -vm {TEMPLATE} -on=false {vm}");
        if let Some(mac) = macs.get(index) {
            let _ = writeln!(text, "govc vm.network.change -vm {vm} -net.address {mac} ethernet-0");
        }
        if let Some(uuid) = uuids.get(index) {
            let _ = writeln!(text, "govc vm.change -vm {vm} -uuid {uuid}");
        }
        let _ = writeln!(text, "govc vm.power -on {vm}");
    }
    text
}

/// Whether nobody can choose this address: VMware gives it, and takes only 00:50:56:00 to 00:50:56:3f
/// from a person (vSphere networking, "Static MAC Address").
fn is_given(mac: &Mac) -> bool {
    matches!(mac.octets(), [0x00, 0x50, 0x56, 0x40.., ..] | [0x00, 0x0c, 0x29, ..])
}

fn vmx(options: &Options) -> String {
    let mut lines = vec![
        ("firmware", options.firmware.word().to_owned()),
        ("disk.EnableUUID", "TRUE".to_owned()),
        ("ethernet0.virtualDev", options.nic.device().to_owned()),
    ];
    match options.firmware {
        Firmware::Bios => lines.push(("bios.bootOrder", "ethernet0,hdd".to_owned())),
        Firmware::Efi => lines.push(("uefi.secureBoot.enabled", "FALSE".to_owned())),
    }
    if let Some(path) = &options.rom {
        lines.push(("ethernet0.opromsize", ROM_SIZE.to_string()));
        lines.push((options.nic.rom().0, path.clone()));
    }
    let mut text = "\n# The same in the .vmx file of a VM that is powered off:\n".to_owned();
    for (key, value) in lines {
        let _ = writeln!(text, "#   {key} = \"{value}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Config;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    const CONFIG: &str = "
[[profile]]
name = \"coreos\"
kernel = \"/k\"
[[group]]
name = \"nodes\"
profile = \"coreos\"
selector.mac = [\"00:50:56:00:00:01\", \"00:50:56:00:00:02\"]
[[group]]
name = \"db\"
profile = \"coreos\"
selector.uuid = \"564da6d2-1706-6343-dc2d-0123456789ab\"
[[group]]
name = \"rest\"
profile = \"coreos\"
selector.mac = \"00:50:56:*\"
";

    fn printed(words: &[&str], config: &str) -> String {
        let line = Line::try_parse_from([&["vmware"], words].concat()).unwrap();
        let catalog = Config::parse(config, "b.toml").unwrap().catalog;
        commands(&line.options, &catalog, "http://10.77.0.2", ADDRESS)
    }

    /// What a shell would run.
    fn run(text: &str) -> Vec<&str> {
        text.lines().filter(|line| line.starts_with("govc")).collect()
    }

    #[test]
    fn an_address_that_vmware_gave_is_no_new_vm() {
        let text = printed(&[], &CONFIG.replace("00:50:56:00:00:02", "00:50:56:80:12:34"));
        assert!(!run(&text).iter().any(|line| line.contains("nodes-2")), "{text}");
        assert!(text.contains("\n# 00:50:56:80:12:34 was given by VMware"), "{text}");
    }

    #[test]
    fn machines_that_a_group_names_get_vms_of_that_name() {
        let text = printed(&[], CONFIG);
        assert_eq!(
            run(&text),
            [
                "govc vm.create -on=false -g coreos64Guest -firmware bios -c 2 -m 4096 \\",
                "govc vm.change -vm bootbox-template -e disk.enableUUID=TRUE",
                "govc device.boot -vm bootbox-template -order ethernet,disk",
                "govc vm.markastemplate bootbox-template",
                "govc vm.clone -vm bootbox-template -on=false nodes-1",
                "govc vm.network.change -vm nodes-1 -net.address 00:50:56:00:00:01 ethernet-0",
                "govc vm.power -on nodes-1",
                "govc vm.clone -vm bootbox-template -on=false nodes-2",
                "govc vm.network.change -vm nodes-2 -net.address 00:50:56:00:00:02 ethernet-0",
                "govc vm.power -on nodes-2",
                "govc vm.clone -vm bootbox-template -on=false db-1",
                "govc vm.change -vm db-1 -uuid 564da6d2-1706-6343-dc2d-0123456789ab",
                "govc vm.power -on db-1",
                "govc vm.clone -vm bootbox-template -on=false rest-1",
                "govc vm.power -on rest-1",
            ]
        );
        assert!(
            text.contains("at http://10.77.0.2:") && text.contains("VLAN\n# that 10.77.0.2 is on")
        );
        assert!(
            text.contains("\n# Group rest boots profile coreos; in it is mac = \"00:50:56:*\".\n")
        );
        assert!(text.contains("\n#   disk.EnableUUID = \"TRUE\"\n"));
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            assert!(line.starts_with("govc ") || line.starts_with("    -net.adapter "), "{line}");
        }
    }

    #[test]
    fn a_rom_is_named_only_where_it_is_asked_for() {
        for (nic, adapter, key) in [
            ("e1000", "e1000", "e1000bios.filename"),
            ("e1000e", "e1000e", "e1000ebios.filename"),
            ("vlance", "pcnet32", "nbios.filename"),
            ("vmxnet3", "vmxnet3", "nx3bios.filename"),
        ] {
            let without = printed(&["--nic", nic], "");
            assert!(without.contains(&format!(" -net.adapter {adapter} -disk")), "{without}");
            assert!(without.contains(&format!("\n#   ethernet0.virtualDev = \"{nic}\"\n")));
            assert!(!without.contains("filename") && !without.contains("opromsize"), "{without}");
            let with = printed(&["--nic", nic, "--rom", "/vmfs/volumes/d s/x.rom"], "");
            let command =
                format!("-e ethernet0.opromsize=262144 -e '{key}=/vmfs/volumes/d s/x.rom'\n");
            assert!(with.contains(&command), "{with}");
            let line = format!("\n#   {key} = \"/vmfs/volumes/d s/x.rom\"\n");
            assert!(with.contains(&line), "{with}");
        }
        assert!(Line::try_parse_from(["vmware", "--rom", "/x'; rm -rf /; '"]).is_err());
        let line = Line::try_parse_from(["vmware", "--rom", "/x", "--firmware", "efi"]).unwrap();
        assert_eq!(super::run(&line.options), USAGE.into());
    }

    #[test]
    fn efi_has_secure_boot_off() {
        let text = printed(&["--firmware", "efi"], "");
        assert!(text.contains(" -firmware efi -c 2"), "{text}");
        assert!(
            run(&text)
                .contains(&"govc device.boot -vm bootbox-template -firmware efi -secure=false")
        );
        assert!(text.contains("\n#   uefi.secureBoot.enabled = \"FALSE\"\n"), "{text}");
        assert!(!text.contains("bios.bootOrder"), "{text}");
    }

    #[test]
    fn without_a_group_there_is_a_vm_to_write_one_for() {
        let text = printed(&[], "");
        assert_eq!(run(&text).pop(), Some("govc vm.clone -vm bootbox-template -on=false vm-1"));
    }
}
