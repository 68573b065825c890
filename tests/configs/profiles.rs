//! Profiles' words for a boot, as machines get them over HTTP.

use std::{fs, path::Path, process::Command};

use super::{
    BINARY, Desk, NOBODY,
    lab::{self, BOX, office::Office, server::Bootbox},
    site,
};

/// Profiles with words in their paths, named initrds, a chain and machines with values of their own.
const PROFILES: &str = r#"
[[profile]]
name = "debian"
kernel = "/d{{ metadata.release }}/linux"
initrd = ["/d{{ metadata.release }}/initrd.gz", { file = "/oem.cpio", name = "oem", args = ["mode=0644"] }]
args = ["host={{ metadata.host }}", "vlan={{ metadata.vlan }}"]
install = "never"
metadata = { release = 12, host = "any", vlan = "" }
[[profile]]
name = "menu"
chain = "/menu.ipxe"
install = "never"
[[group]]
name = "most"
profile = "debian"
every-machine = true
[group.selector.not]
mac = "52:54:00:00:00:03"
label.rack = "9"
[[group]]
name = "menus"
profile = "menu"
selector.mac = "52:54:00:00:00:03"
[[machine]]
mac = "52:54:00:00:00:02"
[machine.metadata]
release = 13
host = "db-1"
vlan = 7
[[machine]]
mac = "52:54:00:00:00:99"
metadata.host = "leaver"
"#;

#[test]
fn profiles_say_all_that_a_boot_needs() {
    lab::run("profiles", &Office::Plain, 1, |lab| {
        let file = site(lab.scratch(), "address");
        let root = lab.scratch().join("repository");
        for folder in ["d12", "d13"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("linux"), format!("kernel of {folder}")).unwrap();
            fs::write(root.join(folder).join("initrd.gz"), "x").unwrap();
        }
        fs::write(root.join("oem.cpio"), "oem").unwrap();
        fs::write(root.join("menu.ipxe"), "#!ipxe\necho menu\nexit\n").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let (head, _) = text.split_once("[[template]]").unwrap();
        fs::write(&file, format!("{head}{PROFILES}")).unwrap();
        let mut server = Bootbox::start(lab, Path::new(BINARY), &file, "text")?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        desk.run(&format!("ip address add {NOBODY}/24 dev eth0"))?;
        let desk = Desk { desk, server: &mut server, lab };
        let script = |mac: &str, more: &str| {
            desk.ask(NOBODY, &format!("/ipxe?mac={mac}&rack=1&platform=efi{more}")).map(|it| it.2)
        };
        let any = script("52-54-00-00-00-01", "")?;
        for line in [
            "/d12/linux initrd=initrd.gz initrd=oem host=any || goto again\n",
            "initrd --name initrd.gz http://10.77.0.2/d12/initrd.gz || goto again\n",
            "initrd --name oem http://10.77.0.2/oem.cpio mode=0644 || goto again\n",
        ] {
            assert!(any.contains(line), "{line}{any}");
        }
        let own = script("52-54-00-00-00-02", "")?;
        let line = "/d13/linux initrd=initrd.gz initrd=oem host=db-1 vlan=7 || goto again\n";
        assert!(own.contains(line), "{own}");
        for folder in ["d12", "d13"] {
            let body = desk.ask(NOBODY, &format!("/{folder}/linux"))?.2;
            assert_eq!(body, format!("kernel of {folder}"));
        }
        let out = desk.ask(NOBODY, "/ipxe?mac=52-54-00-00-00-04&rack=9&platform=efi")?.2;
        assert!(out.contains("no group matches 52:54:00:00:00:04"), "{out}");
        let menu = script("52-54-00-00-00-03", "")?;
        for line in [
            "imgfetch --name bootbox-chain http://10.77.0.2/menu.ipxe || goto again\n",
            "imgexec bootbox-chain ||\n",
            "the script of profile menu has ended",
        ] {
            assert!(menu.contains(line), "{line}{menu}");
        }
        assert_eq!(desk.ask(NOBODY, "/menu.ipxe")?.2, "#!ipxe\necho menu\nexit\n");
        let output = Command::new(BINARY)
            .args([
                "explain",
                "52:54:00:00:00:02",
                "--label",
                "rack=1",
                "--address",
                BOX,
                "--config",
            ])
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("its own values, of the [[machine]] at"), "{said}");
        let output = Command::new(BINARY).arg("check").arg("--config").arg(&file).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.contains("2 machines have values of their own"), "{said}");
        Ok(())
    });
}

#[test]
fn a_script_that_fetches_our_texts_without_a_token_is_told() {
    let folder = std::env::temp_dir().join(format!("bootbox-bare-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for (access, is_told) in [("token", true), ("address", false)] {
        let file = site(&folder, access);
        let script = folder.join("repository/coreos/install.sh");
        let text = "#!/bin/bash\nset -e\ncurl -o c http://10.77.0.2/coreos/cloud-config.yaml\n";
        fs::write(script, text).unwrap();
        let output = Command::new(BINARY).args(["check", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let words = "install.sh:3: fetches /coreos/cloud-config.yaml by a URL without a token";
        assert_eq!(said.contains(words), is_told, "{access}: {said}");
    }
    fs::remove_dir_all(folder).unwrap();
}
