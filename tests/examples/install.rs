//! The install scripts of the examples: whatever fails, nothing restarts, and bootbox is told.

use super::{example::Example, fakes::Fakes};

/// What fails, how often, and what comes of it.
struct Case {
    fails: &'static str,
    times: u32,
    restarts: bool,
    /// How often the installer is called.
    installs: usize,
    /// The states reported, the tries among them that fail left out.
    states: &'static str,
}

const ALWAYS: u32 = 1_000;

#[rustfmt::skip]
const CASES: [Case; 11] = [
    Case { fails: "nothing", times: 0, restarts: true, installs: 1, states: "started progress installed" },
    Case { fails: "curl*state=started", times: ALWAYS, restarts: false, installs: 0, states: "failed" },
    Case { fails: "curl*state=started", times: 2, restarts: true, installs: 1, states: "started progress installed" },
    Case { fails: "curl -fsS -m 60*CONFIG", times: ALWAYS, restarts: false, installs: 0, states: "started failed" },
    Case { fails: "curl -fsS -m 60*CONFIG", times: 3, restarts: true, installs: 1, states: "started progress installed" },
    Case { fails: "INSTALLER*", times: ALWAYS, restarts: false, installs: 3, states: "started progress failed" },
    Case { fails: "INSTALLER*", times: 1, restarts: true, installs: 2, states: "started progress installed" },
    Case { fails: "udevadm*", times: ALWAYS, restarts: false, installs: 1, states: "started progress failed" },
    Case { fails: "curl*state=installed", times: ALWAYS, restarts: false, installs: 1, states: "started progress failed" },
    Case { fails: "systemctl*", times: ALWAYS, restarts: false, installs: 1, states: "started progress installed failed" },
    Case { fails: "curl*", times: ALWAYS, restarts: false, installs: 0, states: "" },
];

#[test]
fn an_install_script_restarts_only_into_a_whole_disk_and_says_what_failed() {
    for (name, config, installer) in [
        (
            "coreos-rancher",
            "cloud-config.yaml",
            "coreos-install -d /dev/sda -c cloud-config.yaml -b ",
        ),
        ("flatcar-kubernetes", "node.json", "flatcar-install -d /dev/sda -i node.json -b "),
    ] {
        let [(_, script)] = Example::of(name).rendered("script").try_into().unwrap();
        for (number, case) in CASES.iter().enumerate() {
            let programs = ["coreos-install", "curl", "flatcar-install", "sync", "udevadm"];
            let fails = case.fails.replace("CONFIG", config).replace("INSTALLER", &installer[..14]);
            let fakes =
                Fakes::of(&format!("{name}-{number}"), &programs).failing(&fails, case.times);
            let output = fakes.run(&script);
            let (calls, done) = (fakes.calls(), fakes.done());
            let seen =
                format!("{name}, {fails} fails {} times: {calls:#?} {output:#?}", case.times);
            let states: Vec<&str> =
                done.iter().filter_map(|call| call.split("/v1/event?state=").nth(1)).collect();
            assert_eq!(states.join(" "), case.states, "{seen}");
            let installs = calls.iter().filter(|call| call.starts_with(installer)).count();
            assert_eq!(installs, case.installs, "{seen}");
            assert_eq!(done.contains(&"systemctl reboot".to_owned()), case.restarts, "{seen}");
            // What else would restart it.
            assert!(!calls.iter().any(|call| call.starts_with("reboot")), "{seen}");
            if case.states.ends_with("failed") {
                assert!(done.last().unwrap().contains(": exit "), "{seen}");
            }
            assert!(output.status.success() || !case.restarts, "{seen}");
        }
    }
}

#[test]
fn what_failed_is_told_with_the_last_words_of_it() {
    let [(_, script)] = Example::of("coreos-rancher").rendered("script").try_into().unwrap();
    let programs = ["coreos-install", "curl", "sync", "udevadm"];
    let fakes = Fakes::of("last-words", &programs).failing("coreos-install*", ALWAYS);
    // As it is where configs are given out by token.
    let script = script.replace("http://192.0.2.1'", "http://192.0.2.1/~0f1e2d3c'");
    let output = fakes.run(&script);
    let told = fakes.calls().pop().unwrap();
    assert!(told.contains("text=writing the image to /dev/sda: exit 1: "), "{told}");
    assert!(told.contains("fake: coreos-install -d /dev/sda"), "{told}");
    let (text, url) = told.rsplit_once(' ').unwrap();
    assert_eq!(url, "http://192.0.2.1/~0f1e2d3c/v1/event?state=failed");
    assert!(text.contains("http://192.0.2.1/coreos") && !text.contains("0f1e2d3c"), "{text}");
    let console = String::from_utf8_lossy(&output.stdout);
    assert!(
        console.contains("Nothing was restarted") && console.contains("off and on"),
        "{console}"
    );
}
