//! Whether each machine's kernel keeps its whole line, found at load.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::{
    config::{Config, Place, Problem},
    render::{Role, TooLong, arguments, overlong},
    template::base_url,
};

/// The longest form of an address: which one a machine has is known only when it asks.
const LONGEST: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 255);

/// The lines that would be cut, each group once, for its machine with the longest.
pub(super) fn look(config: &Config, roles: &[Role<'_>]) -> Vec<Problem> {
    let mut worst: BTreeMap<&str, (TooLong, &Role<'_>)> = BTreeMap::new();
    for role in roles {
        let mut words = role.words.clone();
        words.base_url = base_url(LONGEST, config.http_port);
        words.ip = LONGEST;
        let Some(found) = overlong(role.group, &words) else { continue };
        let known = worst.entry(&role.group.name).or_insert((found, role));
        if known.0.len < found.len {
            *known = (found, role);
        }
    }
    let problem = |(group, (error, role)): (&str, (TooLong, &Role<'_>))| {
        let name = &role.group.profile.name;
        let text = format!("profile {name}, for {} (group {group}): {error}", role.name);
        Some(Problem { place: place(config, role)?, text })
    };
    worst.into_iter().filter_map(problem).collect()
}

/// The line of the longest argument.
fn place(config: &Config, role: &Role<'_>) -> Option<Place> {
    let places = config.profiles.get(&role.group.profile.name)?;
    let args = arguments(role.group, &role.words).unwrap_or_default();
    let longest = places.args.iter().zip(args).max_by_key(|(_, arg)| arg.len());
    Some(longest.map_or(&places.kernel, |(place, _)| place).clone())
}

#[cfg(test)]
mod tests {
    use super::{super::configs::roles, *};

    fn problems(http: &str, args: &str) -> Vec<String> {
        let text = format!(
            "[http]\n{http}\n[[profile]]\nname = \"p\"\nkernel = \"/k\"\ninitrd = [\"/i\"]\n\
             args = [{args}]\n[[group]]\nname = \"g\"\nprofile = \"p\"\n"
        );
        let config = Config::parse(&text, "b.toml").unwrap();
        look(&config, &roles(&config)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_is_counted_with_initrd_token_and_the_longest_address() {
        // initrd=i, a space, the argument; the URL is http://255.255.255.255 and the token's /~….
        let arg = |len: usize| format!("\"{}={{{{ base_url }}}}\"", "x".repeat(len));
        let (plain, token) = ("http://255.255.255.255".len(), "/~".len() + 32);
        let longest = 2047 - "initrd=i =".len();
        let (port, by_token) = ("", "config-access = \"token\"");
        for (http, len) in [
            (port, longest - plain),
            ("port = 8080", longest - plain - ":8080".len()),
            (by_token, longest - plain - token),
        ] {
            assert_eq!(problems(http, &arg(len)), Vec::<String>::new(), "{http}");
            let said = problems(http, &arg(len + 1));
            let expected = "b.toml:7: profile p, for a made-up machine (group g): the kernel line \
                            is 2048 bytes long";
            assert!(said.len() == 1 && said[0].starts_with(expected), "{http}: {said:?}");
        }
    }
}
