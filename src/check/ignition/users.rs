//! Users and groups.

use super::{Context, named, repeats};
use crate::check::{Report, json::Node};

/// Adds what is wrong with them.
pub(super) fn check(config: &Node, context: Context<'_>, report: &mut Report) {
    let Some(passwd) = config.get("passwd") else { return };
    let users = passwd.list("users");
    let groups = passwd.list("groups");
    for user in users {
        named(user, "user", report);
        keys(user, report);
        created_twice(user, report);
        if context.is_spec_3() {
            for (list, what) in [("sshAuthorizedKeys", "SSH key"), ("groups", "group")] {
                let words = user.list(list).iter();
                repeats(words.map(|node| (node.line, node.as_text())), what, report);
            }
        }
    }
    groups.iter().for_each(|group| named(group, "group", report));
    if context.is_spec_3() {
        repeats(users.iter().map(|u| (u.line_of("name"), u.text("name"))), "user", report);
        repeats(groups.iter().map(|g| (g.line_of("name"), g.text("name"))), "group", report);
    }
}

/// sshd reads past what is no key, and nobody can log in.
fn keys(user: &Node, report: &mut Report) {
    for key in user.list("sshAuthorizedKeys") {
        if let Some(why) = key.as_text().and_then(crate::check::text::ssh_key_fault) {
            report.warn(key.line, why);
        }
    }
}

/// Spec 2.1.0 moved what was in `create` to the user; both at once are refused.
fn created_twice(user: &Node, report: &mut Report) {
    let Some(create) = user.get("create") else { return };
    let moved = [
        "uid",
        "gecos",
        "homeDir",
        "noCreateHome",
        "primaryGroup",
        "groups",
        "noUserGroup",
        "noLogInit",
        "shell",
        "system",
    ];
    if let Some(key) = moved.into_iter().find(|key| user.get(key).is_some_and(|n| !n.is_empty())) {
        report.error(create.line, format!("has both \"create\" and \"{key}\"; put it into one"));
    }
}
