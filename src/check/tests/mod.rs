//! The post's own texts, what a text is told to be by, and the mistakes that people make.

mod cloud;
mod ignition;
mod mistakes;
mod mutations;
mod readers;

use super::{kind::KINDS, *};

pub(super) const POST_IGNITION: &str =
    include_str!("../../../tests/fixtures/check/post-ignition.json");
pub(super) const POST_CLOUD_CONFIG: &str =
    include_str!("../../../tests/fixtures/check/post-cloud-config.yaml");

pub(super) fn coreos() -> Target {
    Target::CoreOs("1122.2.0".to_owned())
}

pub(super) fn flatcar() -> Target {
    Target::Flatcar(Some("4230.2.1".to_owned()))
}

pub(super) fn errors(kind: Kind, text: &str, target: &Target) -> Vec<Fault> {
    let mut faults = faults(kind, text.as_bytes(), target);
    faults.retain(|fault| fault.severity == Severity::Error);
    faults
}

#[test]
fn the_post_s_ignition_is_right_for_its_coreos_and_warns_of_the_stray_key() {
    assert_eq!(errors(Kind::Ignition, POST_IGNITION, &coreos()), []);
    let faults = faults(Kind::Ignition, POST_IGNITION.as_bytes(), &coreos());
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].line, 37);
    assert!(faults[0].text.contains("unknown key \"files\""), "{faults:?}");
}

#[test]
fn the_post_s_ignition_is_refused_by_a_flatcar_that_translates_it() {
    let found = errors(Kind::Ignition, POST_IGNITION, &flatcar());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].line, 12);
    assert!(found[0].text.contains("Flatcar 4230.2.1 refuses; write version 3.3.0"), "{found:?}");
    let old = Target::Flatcar(Some("2605.12.0".to_owned()));
    assert_eq!(errors(Kind::Ignition, POST_IGNITION, &old), []);
    assert!(!errors(Kind::Ignition, POST_IGNITION, &Target::FedoraCoreOs).is_empty());
}

#[test]
fn the_post_s_cloud_config_has_no_errors_and_warns_of_what_it_gets_wrong() {
    for target in [coreos(), flatcar(), Target::Unknown] {
        assert_eq!(errors(Kind::CloudConfig, POST_CLOUD_CONFIG, &target), []);
    }
    let faults = faults(Kind::CloudConfig, POST_CLOUD_CONFIG.as_bytes(), &coreos());
    let found: Vec<(usize, bool)> = faults
        .iter()
        .map(|fault| {
            let words = ["docker rm -f", "network-online", "no SSH key"];
            (fault.line, words.iter().any(|word| fault.text.contains(word)))
        })
        .collect();
    assert_eq!(found, [(25, true), (57, true), (81, true)], "{faults:?}");
}

#[test]
fn a_text_is_told_by_its_name_and_its_first_line() {
    for (path, text, kind) in [
        ("/coreos/ignition.json", "{\"ignition\":{}}", Kind::Ignition),
        ("/coreos/ignition.json", "{ \"ignition\" ", Kind::Ignition),
        ("/coreos/other.json", "{}", Kind::Json),
        ("/a.ign", "", Kind::Ignition),
        ("/coreos/cloud-config.yaml", "", Kind::CloudInit),
        ("/u/user-data", "users:", Kind::CloudInit),
        ("/x", "#cloud-config\r\na: b", Kind::CloudInit),
        ("/x", "#cloud-config\ncoreos:\n  units: []\n", Kind::CloudConfig),
        ("/x", "#cloud-config\nautoinstall:\n  version: 1\n", Kind::Autoinstall),
        ("/x", " \n#Include\nhttp://a/b\n", Kind::CloudInit),
        ("/x", "## template: jinja\n#cloud-config\n", Kind::CloudInit),
        ("/u/vendor-data", "", Kind::CloudInit),
        ("/u/meta-data", "", Kind::Yaml),
        ("/t/c.yaml", "version: v1alpha1\nmachine:\n  type: worker\n", Kind::Talos),
        ("/x.yml", "a: b", Kind::Yaml),
        ("/a.xml", "<?xml version=\"1.0\"?>\n<profile xmlns=\"x\"/>", Kind::AutoYast),
        ("/b", "<?xml version=\"1.0\"?><a/>", Kind::Xml),
        ("/ks.cfg", "text", Kind::Kickstart),
        ("/x", "lang C\n%packages\n%end\n", Kind::Kickstart),
        ("/coreos/", "#!/bin/bash\n", Kind::Script),
        ("/install.sh", "echo", Kind::Script),
        ("/x", "#!ipxe\n", Kind::Ipxe),
        ("/boot.ipxe", "", Kind::Ipxe),
        ("/preseed.cfg", "d-i x y z", Kind::Preseed),
        ("/debian.seed", "d-i x y z", Kind::Preseed),
        ("/user-data", "#!/bin/sh\n", Kind::Script),
    ] {
        assert_eq!(Kind::of(path.as_bytes(), text.as_bytes()), kind, "{path}: {text}");
    }
}

#[test]
fn a_kind_is_written_as_it_is_read() {
    for (word, kind) in KINDS {
        assert_eq!(word.parse(), Ok(kind));
        assert_eq!(kind.to_string(), word);
    }
    let error = "yml".parse::<Kind>().unwrap_err().to_string();
    assert!(error.contains("the kinds are autoinstall, autoyast, cloud-config"), "{error}");
}

#[test]
fn a_target_is_told_by_its_kernel() {
    let coreos = |version: &str| Target::CoreOs(version.to_owned());
    for (path, target) in [
        ("/coreos/1122.2.0/coreos_production_pxe.vmlinuz", coreos("1122.2.0")),
        ("coreos_production_pxe.vmlinuz", coreos("current")),
        ("/coreos/4230.2.1/flatcar_production_pxe.vmlinuz", flatcar()),
        ("http://x/flatcar_production_pxe.vmlinuz", Target::Flatcar(None)),
        ("/f/fedora-coreos-41.20250101.3.0-live-kernel.x86_64", Target::FedoraCoreOs),
        ("/debian/linux", Target::Unknown),
    ] {
        assert_eq!(Target::of(path), target, "{path}");
    }
    for (arg, target) in [
        ("flatcar.first_boot=1", Target::Flatcar(None)),
        ("coreos.inst.install_dev=/dev/sda", Target::FedoraCoreOs),
        ("coreos.live.rootfs_url=http://a/b", Target::FedoraCoreOs),
        ("coreos.first_boot=1", Target::Unknown),
        ("x=flatcar.first_boot", Target::Unknown),
    ] {
        assert_eq!(Target::of("/k/vmlinuz").or_by_arg(arg), target, "{arg}");
        assert_eq!(coreos("1122.2.0").or_by_arg(arg), coreos("1122.2.0"), "{arg}");
    }
}
