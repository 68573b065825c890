//! Mutated texts, deep ones and large ones: no panic, no overflow, no long wait.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::{POST_CLOUD_CONFIG, POST_IGNITION, coreos, flatcar};
use crate::{
    check::{Kind, Target, faults, kind::KINDS},
    mutator::{Random, wanted},
};

const SPEC_3: &str = r#"{"ignition": {"version": "3.3.0", "config": {"merge": [{"source": "http://a/b"}]}},
 "storage": {"disks": [{"device": "/dev/sda", "partitions": [{"number": 1, "label": "é", "startMiB": 1,
 "sizeMiB": 9223372036854775807}]}], "links": [{"path": "/a", "target": "../b", "hard": true}],
 "files": [{"path": "/c", "mode": 420, "contents": {"source": "data:text/plain;base64,YQ=="}}]},
 "systemd": {"units": [{"name": "a.service", "contents": "[Unit]\nA=b\\\nc\n[Install]\n"}]},
 "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": ["ssh-rsa AAAA"]}]}}"#;

const OTHERS: [&str; 3] = [
    "#!ipxe\n:a\nkernel ${x}/y || goto a\ninitrd z ; boot && exit # b\n",
    "#!/bin/bash\r\nset -e\ncurl -f {{ x }}\nreboot\n",
    "#cloud-config\na: &x [1, *x]\nb: !!str off\nusers: [{name: a, <<: {b: c}}]\n\
     write_files: [{path: /a, encoding: gz+b64, content: H4sIAAAAAAAAA0tMBAD6JQdxAgAAAA==}]\n",
];

#[test]
fn mutated_texts_are_answered() {
    // A text takes as long as eight packets.
    let count = wanted() as usize / 8;
    let seeds = [POST_IGNITION, POST_CLOUD_CONFIG, SPEC_3, OTHERS[0], OTHERS[1], OTHERS[2]];
    let targets = [coreos(), flatcar(), Target::FedoraCoreOs, Target::Unknown];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut clean = 0_usize;
    for round in 0..count {
        let mut text = seeds[round % seeds.len()].as_bytes().to_vec();
        random.mutate(&mut text, &PIECES);
        let kind = if random.below(8) == 0 {
            KINDS[random.below(KINDS.len())].1
        } else {
            Kind::of(b"a.json", &text)
        };
        let found = faults(kind, &text, &targets[random.below(4)]);
        let lines = text.iter().filter(|&&byte| byte == b'\n').count() + 2;
        for fault in &found {
            assert!((1..=lines).contains(&fault.line), "{fault:?} of {lines} lines");
            assert!(fault.text.len() < 4096 && !fault.text.is_empty(), "{fault:?}");
        }
        clean += usize::from(found.is_empty());
    }
    assert!(clean < count, "nothing was ever wrong");
}

#[test]
fn bombs_are_answered_within_a_second() {
    let deep = |open: &str| open.repeat(100_000);
    let laughs: String = (1..40).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
    let laughs = format!("#cloud-config\na0: &a0 [x, x]\n{laughs}");
    let objects = format!("{{\"ignition\": {{\"version\": \"3.3.0\"}}, \"x\": {}", deep("{\"a\":"));
    let partitions: Vec<String> =
        (1..20_000).map(|n| format!("{{\"number\": {}, \"label\": \"a{n}\"}}", n % 128)).collect();
    let partitions = format!(
        "{{\"ignition\": {{\"version\": \"3.3.0\"}}, \"storage\": {{\"disks\": [{{\"device\": \"/a\", \
         \"partitions\": [{}]}}]}}}}",
        partitions.join(",")
    );
    for text in [
        deep("["),
        deep("[") + &deep("]"),
        deep("{\"a\":"),
        objects,
        partitions,
        format!("#cloud-config\na: {}", deep("[")),
        format!("#cloud-config\na: {}", deep("{a: ")),
        format!("#cloud-config\n{}", deep("- ")),
        format!("#cloud-config\n{}", deep("? ")),
        format!("#cloud-config\n{}", deep("a: &a ")),
        format!("#cloud-config\n{}", deep("a:\n")),
        format!("#cloud-config\n{}", deep("- a\n")),
        format!("#cloud-config\na: {}", deep("x")),
        laughs,
        format!("#!ipxe\n{}", deep("goto a\n")),
        format!("#!ipxe\n{}", deep("|| ")),
        format!("#!/bin/sh\n{}", deep("{{ x }}\n")),
        deep("\""),
        deep("\\u"),
    ] {
        for (_, kind) in KINDS {
            let begin = spent();
            let found = faults(kind, text.as_bytes(), &Target::Unknown);
            let spent = spent() - begin;
            let begin: String = text.chars().take(40).collect();
            assert!(spent < 1_000_000, "{kind}: {spent} µs for {begin:?}");
            assert!(found.len() <= 100, "{} faults", found.len());
        }
    }
}

/// Microseconds that this thread has computed: others may keep the machine busy.
fn spent() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    (usage.user_time() + usage.system_time()).num_microseconds()
}

/// What JSON, YAML and templates are made of.
const PIECES: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\n",
    b"\t",
    b"\\u",
    b"&a",
    b"*a",
    b"{{ x }}",
    b"\xc3\xa9",
    b"-9223372036854775808",
    b"%",
];
