//! What an example leaves on the disk: the scripts of the post's cloud-config, run beside fakes, and
//! what Ignition writes.

use super::{Command, accepted_by, example::Example, fakes::Fakes};

/// The scripts of the cloud-config by name.
fn scripts() -> Vec<(String, String)> {
    let [(name, text)] = Example::of("coreos-rancher").rendered("cloud-config").try_into().unwrap();
    assert!(text.starts_with("#cloud-config\n") && !text.contains('\t'), "{name}");
    let mut scripts = Vec::new();
    for file in text.split("  - path: ").skip(1) {
        let path = file.lines().next().unwrap();
        let content = file.split_once("    content: |\n").unwrap().1;
        let lines =
            content.lines().take_while(|line| line.is_empty() || line.starts_with("      "));
        let script: String = lines.flat_map(|line| [line.get(6..).unwrap_or(""), "\n"]).collect();
        if script.starts_with("#!") {
            scripts.push((path.to_owned(), script));
        }
    }
    scripts
}

fn script(path: &str) -> String {
    let (_, script) = scripts().into_iter().find(|(known, _)| known == path).unwrap();
    // On the node it is there; here it is a fake.
    script.replace("/opt/bin/own-address", "own-address")
}

#[test]
fn bash_reads_every_script_of_the_cloud_config() {
    let scripts = scripts();
    assert_eq!(scripts.len(), 3);
    for (path, script) in scripts {
        accepted_by(Command::new("bash").arg("-n"), &script, &path);
    }
}

#[test]
fn the_host_is_named_after_the_last_number_of_its_own_ipv4_address() {
    let route = "192.0.2.1 dev ens160 src 192.0.2.37 uid 0 \\    cache";
    let fakes = Fakes::of("own-address", &["ip"]).does("ip", &format!("echo '{route}'"));
    let output = fakes.run(&script("/opt/bin/own-address"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "192.0.2.37\n");
    assert_eq!(fakes.calls(), ["ip -4 -o route get 192.0.2.1"]);

    let fakes = Fakes::of("no-route", &["ip"]).failing("ip*", u32::MAX);
    assert!(!fakes.run(&script("/opt/bin/own-address")).status.success());

    let fakes = Fakes::of("name-host", &["hostnamectl", "own-address"])
        .does("own-address", "echo 192.0.2.37");
    assert!(fakes.run(&script("/opt/bin/name-host")).status.success());
    assert_eq!(fakes.calls().pop().unwrap(), "hostnamectl set-hostname coreos37");
    let fakes =
        Fakes::of("nameless", &["hostnamectl", "own-address"]).failing("own-address*", u32::MAX);
    assert!(!fakes.run(&script("/opt/bin/name-host")).status.success());
    assert_eq!(fakes.calls(), ["own-address "]);
}

/// The installed machine's Ignition config of today's example.
fn flatcar() -> serde_json::Value {
    let configs = Example::of("flatcar-kubernetes").rendered("ignition");
    let (_, text) = configs.iter().find(|(name, _)| name.ends_with("/node.json")).unwrap();
    serde_json::from_str(text).unwrap()
}

fn named<'a>(values: &'a serde_json::Value, key: &str, name: &str) -> &'a serde_json::Value {
    values.as_array().unwrap().iter().find(|value| value[key] == name).unwrap()
}

#[test]
fn a_flatcar_host_is_named_the_same_way() {
    let config = flatcar();
    let unit = named(&config["systemd"]["units"], "name", "name-host.service");
    let unit = unit["contents"].as_str().unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    // As systemd reads it.
    let start = start.replace("$$", "$").replace("%%", "%");
    let fakes = Fakes::of("flatcar", &["hostnamectl", "ip"])
        .does("ip", "echo '192.0.2.1 dev ens160 src 192.0.2.37 uid 0 \\    cache'");
    assert!(fakes.run(&start).status.success());
    assert_eq!(fakes.calls(), ["ip -4 -o route get 192.0.2.1", "hostnamectl set-hostname node37"]);
    let fakes = Fakes::of("flatcar-alone", &["hostnamectl", "ip"]).failing("ip*", u32::MAX);
    assert!(!fakes.run(&start).status.success());
    assert_eq!(fakes.calls().len(), 1);
}

#[test]
fn what_a_flatcar_host_joins_with_is_for_root_alone() {
    let config = flatcar();
    let file = named(&config["storage"]["files"], "path", "/etc/rancher-join.env");
    assert_eq!(file["mode"], 0o600);
    let url = file["contents"]["source"].as_str().unwrap();
    let text = percent_encoding::percent_decode_str(url.strip_prefix("data:,").unwrap());
    assert_eq!(
        text.decode_utf8().unwrap(),
        "SERVER=https://rancher.example.org\nTOKEN=ACCESS0123:SECRET4567\n\
         CHECKSUM=0f1e2d3c4b5a69788796a5b4c3d2e1f0\nROLES=--worker \n"
    );
    let units = config["systemd"]["units"].to_string();
    assert!(!units.contains("SECRET"), "units are for all to read: {units}");
}

/// Rancher 1.x: no token in an environment until one is asked for, and its URL comes a little later.
const RANCHER: &str = r#"
if [ "$(grep -c -e '-X POST' "$CALLS")" -eq 0 ] || [ "$(grep -c curl "$CALLS")" -lt 4 ]; then
    echo '{"type":"collection","data":[]}'
else
    echo '{"data":[{"state":"active","registrationUrl":"https://r.example/v1/scripts/A:1:B","x":"y"}]}'
fi
"#;

#[test]
fn rancher_is_joined_on_the_first_boot() {
    let fakes = Fakes::of("join", &["curl", "docker", "own-address"])
        .does("curl", RANCHER)
        .does("own-address", "echo 192.0.2.37")
        .failing("docker inspect*", u32::MAX);
    let output = fakes.run(&script("/opt/bin/join-rancher"));
    let calls = fakes.calls();
    assert!(output.status.success(), "{calls:#?} {output:#?}");
    assert_eq!(calls.iter().filter(|call| call.contains("-X POST")).count(), 1, "{calls:#?}");
    let run = calls.last().unwrap();
    for word in [
        "docker run -d --privileged --name rancher-bootstrap ",
        " CATTLE_AGENT_IP=192.0.2.37 ",
        " CATTLE_HOST_LABELS=internal=true ",
        " rancher/agent:v1.0.2 https://r.example/v1/scripts/A:1:B",
    ] {
        assert!(run.contains(word), "{word}: {run}");
    }
    assert!(!calls.concat().contains("SECRET"), "the key stands on no command line: {calls:#?}");
}

#[test]
fn a_second_boot_joins_nothing_twice() {
    let fakes = Fakes::of("again", &["curl", "docker", "own-address"]);
    assert!(fakes.run(&script("/opt/bin/join-rancher")).status.success());
    assert_eq!(
        fakes.calls(),
        ["docker inspect --type=container rancher-agent", "docker start rancher-agent"]
    );
}

#[test]
fn a_rancher_that_does_not_answer_is_tried_again_later() {
    for fails in ["curl*", "docker run*"] {
        let fakes = Fakes::of("silent", &["curl", "docker", "own-address"])
            .does("docker", "[ \"$1\" != inspect ] || exit 1")
            .does("curl", RANCHER)
            .failing(fails, u32::MAX);
        // systemd's Restart=on-failure runs it again.
        assert!(!fakes.run(&script("/opt/bin/join-rancher")).status.success(), "{fails}");
    }
}
