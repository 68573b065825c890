//! The keys of version 1.

use super::{Key, Of, TEXTS};

const fn key(name: &'static str, of: Of) -> Key {
    Key(name, of, 10, 10)
}

pub(super) const CONFIG: &[Key] = &[
    key("ignitionVersion", Of::Whole),
    key("storage", Of::Object(STORAGE)),
    key("systemd", Of::Object(&[key("units", Of::List(&Of::Object(UNIT)))])),
    key("networkd", Of::Object(&[key("units", Of::List(&Of::Object(FILE_UNIT)))])),
    key("passwd", Of::Object(PASSWD)),
];

const STORAGE: &[Key] = &[
    key("disks", Of::List(&Of::Object(DISK))),
    key("raid", Of::List(&Of::Object(RAID))),
    key("filesystems", Of::List(&Of::Object(FILESYSTEM))),
];

const DISK: &[Key] = &[
    key("device", Of::Text),
    key("wipeTable", Of::Bool),
    key("partitions", Of::List(&Of::Object(PARTITION))),
];

const PARTITION: &[Key] = &[
    key("label", Of::Text),
    key("number", Of::Whole),
    key("size", Of::Whole),
    key("start", Of::Whole),
    key("typeGuid", Of::Text),
];

const RAID: &[Key] = &[
    key("name", Of::Text),
    key("level", Of::Text),
    key("devices", TEXTS),
    key("spares", Of::Whole),
];

const FILESYSTEM: &[Key] = &[
    key("device", Of::Text),
    key("format", Of::Text),
    key("create", Of::Object(&[key("force", Of::Bool), key("options", TEXTS)])),
    key("files", Of::List(&Of::Object(FILE))),
];

const FILE: &[Key] = &[
    key("path", Of::Text),
    key("contents", Of::Text),
    key("mode", Of::Whole),
    key("uid", Of::Whole),
    key("gid", Of::Whole),
];

const FILE_UNIT: &[Key] = &[key("name", Of::Text), key("contents", Of::Text)];

const UNIT: &[Key] = &[
    key("name", Of::Text),
    key("enable", Of::Bool),
    key("mask", Of::Bool),
    key("contents", Of::Text),
    key("dropins", Of::List(&Of::Object(FILE_UNIT))),
];

const PASSWD: &[Key] =
    &[key("users", Of::List(&Of::Object(USER))), key("groups", Of::List(&Of::Object(GROUP)))];

const USER: &[Key] = &[
    key("name", Of::Text),
    key("passwordHash", Of::Text),
    key("sshAuthorizedKeys", TEXTS),
    key("create", Of::Object(CREATE)),
];

const CREATE: &[Key] = &[
    key("uid", Of::Whole),
    key("gecos", Of::Text),
    key("homeDir", Of::Text),
    key("noCreateHome", Of::Bool),
    key("primaryGroup", Of::Text),
    key("groups", TEXTS),
    key("noUserGroup", Of::Bool),
    key("system", Of::Bool),
    key("noLogInit", Of::Bool),
    key("shell", Of::Text),
];

const GROUP: &[Key] = &[
    key("name", Of::Text),
    key("gid", Of::Whole),
    key("passwordHash", Of::Text),
    key("system", Of::Bool),
];
