//! What people get wrong, one thing at a time: where, what stands there instead, the line that is to
//! be named, and words of what is to be said.

/// What is replaced where it stands first (nothing at all is the beginning of the file), by what; a
/// piece of the line that is named, nothing for the line of the mistake; words of what is said.
pub(crate) type Slip = (&'static str, &'static str, &'static str, &'static str);

/// The mistakes of each text.
pub(crate) const SLIPS: [(&str, &[Slip]); 6] = [
    ("bootbox.toml", SYNTAX),
    ("bootbox.toml", CONFIG),
    ("groups.d/lab.toml", GROUPS),
    ("repository/coreos/ignition.json", IGNITION),
    ("repository/coreos/cloud-config.yaml", CLOUD),
    ("repository/coreos/install.sh", SCRIPT),
];

const SYNTAX: &[Slip] = &[
    ("json\",\n  \"cloud", "json\"\n  \"cloud", "cloud-config-url", "missing comma"),
    (r#"name = "nodes""#, r#"name = "nodes"#, "", r#"expected `"`"#),
    ("[group.selector]", "[group.selector", "", "expected `]`"),
    ("= true", "= yes", "", r#""yes" is no value; write a text in double quotes, or true"#),
    ("= true", r#"= "true""#, "", "verify is the text \"true\"; write true or false"),
    ("verify", "verfiy", "", "`install`, `verify`, `metadata`"),
    ("kernel = ", "kernal = ", "", "expected one of `name`, `kernel`"),
    ("[http]", "[htpp]", "", "expected one of `network`, `http`"),
    ("mac = [", "macs = [", "", "expected one of `mac`"),
    (r#""once""#, r#""one""#, "", "no value of install; write \"always\", \"never\""),
    (r#""token""#, r#""tokens""#, "", "write \"address\" or \"token\""),
    (r#"disk = "/dev/sda""#, "disk = 1\ndisk = 2", "disk = 2", "a second time; keep one"),
    (r#"hostname_prefix = "coreos""#, r#"hostname_prefix = "é""#, "", "save the file as UTF-8"),
    (r#""rancher/agent:v1.0.2""#, r#""CHANGE-ME""#, "", "write your own value"),
];

/// An argument that becomes 2500 bytes long.
const LONG_ARG: &str = "a={% for a in '0123456789' %}{% for b in '0123456789' %}\
                        xxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}";

const CONFIG: &[Slip] = &[
    ("12:34:56", "12:34:5", "", r#"write it like "52:54:00:12:34:56""#),
    (r#""52:54:00:12:34:56""#, "", "", "no machine matches; leave it out"),
    ("mac = [", "uuid = \"564da6d2-1706\"\nmac = [", "", "UUID; write it like"),
    (r#"= "coreos-rancher""#, r#"= "coreos""#, "", "write one of coreos-rancher, rescue"),
    ("base_url }}/coreos/ign", "baseurl }}/coreos/ign", "", "the words are base_url"),
    ("base_url }}/coreos/ign", "base_url }/coreos/ign", "", "expected end of variable block"),
    ("first_boot=1", "first_boot=1 # in RAM", "", "start of a comment; leave it out"),
    ("kernel = \"/coreos", "kernel = \"coreos", "", "in the repository from / on"),
    ("kernel = \"/coreos/1122.2.0", "kernel = \"/coreos/1122.3.0", "", "or name another file"),
    ("json\"\nkind", "jsn\"\nkind", "", "ignition.jsn: no such file; put it there"),
    ("file = \"/coreos/install.sh\"\n", "", "path = \"/coreos/\"", "add file = "),
    (r#"kind = "cloud-config""#, r#"kind = "yml""#, "", "the kinds are autoinstall"),
    (r#""once""#, r#""always""#, "", "add allow-always = true"),
    (
        "kernel = \"/coreos",
        "chain = \"/x.ipxe\"\nkernel = \"/coreos",
        "",
        "or chains to a script; keep one",
    ),
    ("kernel = \"/coreos", "kernel = \"/{{ metadata.none }}", "", "has it; add it"),
    ("coreos.first_boot=1", LONG_ARG, "", "the kernel drops what is behind byte 2047"),
    ("attempts = 100", "attempts = 0", "", "write a number from 1 to 100"),
    (r#"["eth0"]"#, r#"["eth7"]"#, "", "interface eth7 does not exist; write one of these"),
];

const GROUPS: &[Slip] = &[
    (r#"name = "lab""#, r#"name = "nodes""#, "", "names are unique"),
    (r#"product = "Lab*""#, r#"firmware = "efi""#, "", r#"write "bios" or "uefi""#),
    (
        "mac = \"52:54:00:ff:*\"\nproduct = \"Lab*\"",
        "mac = \"52:54:00:12:34:56\"",
        "name = \"lab\"",
        "make one selector more specific",
    ),
    (r#"console = "ttyS0""#, r#"konsole = "ttyS0""#, "metadata.console", "has it; add it"),
    ("profile = \"rescue\"\n", "", "[[group]]", "missing field `profile`; add it"),
    (
        "[[group]]",
        "[http]\nport = 81\n[[group]]",
        "[http]",
        "expected one of `profile`, `group`, `machine`",
    ),
];

const IGNITION: &[Slip] = &[
    ("true,", "true", "", "lacks a comma at the end; add it"),
    ("\"start\": 0 }", "\"start\": 0, }", "", "take the comma out"),
    ("wipeTable", "wipe_table", "", r#"is "wipeTable" meant"#),
    ("2.0.0", "2.9.0", "", r#"no Ignition takes; write "2.0.0""#),
    ("2.0.0", "3.3.0", "", "which CoreOS 1122.2.0 refuses; write 2.0.0"),
    (r#""number": 0"#, r#""number": "0""#, "", "write 0, without quotes"),
    ("{{ metadata.disk }}\"", "{{ metadata.dsk }}\"", "", "has it; add it"),
    ("{{ metadata.disk }}\"", "{{ metadata.disk }\"", "", "between {% raw %} and {% endraw %}"),
    ("{{ metadata.ssh_key | json }}", r#""CHANGE-ME""#, "", "write your own value"),
];

const CLOUD: &[Slip] = &[
    ("", "\u{feff}", "#cloud-config", "save as UTF-8 without BOM"),
    ("#cloud-config", "# cloud-config", "", "write exactly #cloud-config"),
    ("server {{", "# é\n      server {{", "", "save the file as UTF-8"),
    ("    permissions", "\tpermissions", "", "a tab in its indentation; write spaces"),
    (r#""0755""#, "0o755", "", "write octal digits in quotes"),
    ("authorized", "authorised", "", r#"is "ssh_authorized_keys" meant"#),
    ("command: start", "command: started", "", "write one of start"),
    ("time_zone }}", "timezone }}", "", "has it; add it"),
    ("/etc/ntp.conf", "/usr/etc/ntp.conf", "", "/usr is read-only; write to /opt or /etc"),
    ("| yaml", "| yml", "", "the filters are json, lower, replace, sh, split, url, xml and yaml"),
];

const SCRIPT: &[Slip] = &[
    ("#!/bin/bash", "", "", "write #!/bin/bash above it"),
    ("#!/bin/bash", "#!/bin/bash\r", "", "save with LF"),
    ("#!/bin/bash", "#!bash", "", "write a whole path"),
    ("", "\u{feff}", "#!", "save as UTF-8 without BOM"),
    ("\"$1\"", "\"{{.Names}}\"", "", "between {% raw %} and {% endraw %}"),
    ("base_url", "base_ulr", "", "the words are base_url"),
];

/// What becomes of a file of a release, or of its keyring.
pub(crate) enum Fate {
    Becomes(&'static str),
    Gone,
    /// A key that signed nothing here, or what it signed.
    Other,
    /// The keyring says that its key had expired when it signed.
    Expired,
    /// The keyring has the secret key.
    Secret,
}

/// What the running server does about it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// The release is not given to anyone.
    Closed,
    /// All stays as it was.
    Kept,
}

/// File, what becomes of it, the line of bootbox.toml that is named, words, and what follows.
pub(crate) type Loss = (&'static str, Fate, &'static str, &'static str, Then);

pub(crate) const LOSSES: &[Loss] = &[
    ("KERNEL", Fate::Gone, "kernel = ", "no such file; put it there", Then::Closed),
    ("INITRD", Fate::Gone, "initrd = ", "no such file; put it there", Then::Closed),
    ("IMAGE", Fate::Gone, KERNEL, "lacks coreos_production_image.bin.bz2", Then::Closed),
    ("IMAGE.sig", Fate::Gone, KERNEL, "lacks coreos_production_image.bin.bz2.sig", Then::Closed),
    ("KERNEL.sig", Fate::Gone, KERNEL, "put its .sig beside it", Then::Closed),
    ("KERNEL.sig", Fate::Becomes(""), KERNEL, "is empty; fetch it again", Then::Closed),
    ("IMAGE.sig", Fate::Becomes("<html>404</html>"), KERNEL, "cut off; fetch it", Then::Closed),
    ("INITRD.sig", Fate::Other, KERNEL, "not in the keyring; add that key", Then::Closed),
    ("VERSION", Fate::Becomes(OTHER), KERNEL, "name the folder after the version", Then::Closed),
    ("keyring.asc", Fate::Expired, KERNEL, "(2016-06-01); fetch the key again", Then::Closed),
    ("keyring.asc", Fate::Other, KERNEL, "not in the keyring; add that key", Then::Closed),
    ("keyring.asc", Fate::Gone, "keyring = ", "write one with `gpg --export", Then::Kept),
    ("keyring.asc", Fate::Becomes(""), "keyring = ", "write one with `gpg --export", Then::Kept),
    ("keyring.asc", Fate::Secret, "keyring = ", "must not lie here; write one", Then::Kept),
    (INSTALL, Fate::Gone, "file = \"/coreos/install.sh", "no such file; put it there", Then::Kept),
];

const KERNEL: &str = "kernel = ";
const INSTALL: &str = "repository/coreos/install.sh";
/// A version.txt that contradicts the folder.
const OTHER: &str = "COREOS_VERSION=1185.3.0\n";
