//! Foresees installations when a config is loaded: whether bootbox can learn that one
//! has ended, and whether a machine can fetch its texts from the address that its arguments give it.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{
    goal::{named, signs},
    site::Site,
};
use crate::{
    catalog::{Group, Install},
    config::{Access, Place, Problem},
    machine::{Mac, Machine},
    render::arguments,
    template::Words,
};

/// Warnings: each profile and each group once.
pub(super) fn look(site: &Site) -> Vec<Problem> {
    let words = Words::specimen();
    let (mut done, mut told) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::new();
    for group in site.config.catalog.variants() {
        let profile = &group.profile;
        let Some(place) = site.config.profiles.get(&profile.name).map(|places| &places.name) else {
            continue;
        };
        if profile.install == Install::Once && done.insert(&profile.name) {
            found.extend(presumes(site, group, &words, place));
            found.extend(absent_image(site, group, &words, place));
        }
        if !told.contains(&group.name)
            && let Some(problem) = unknown_address(site, group, &words, place)
        {
            told.insert(&group.name);
            found.push(problem);
        }
    }
    found
}

/// An image that the installer is told to fetch here, and that is not here. One whose name differs
/// from machine to machine is not looked for.
fn absent_image(site: &Site, group: &Group, words: &Words, place: &Place) -> Option<Problem> {
    let mac = Mac::new([0x52, 0x54, 0, 0, 0, 2])?;
    let other = Words { machine: Machine::heard(mac, None, None), ..words.clone() };
    let [images, others] = [words, &other].map(|words| signs(site, group, words, false).images);
    let path = images.intersection(&others).find(|image| !site.present.contains(*image))?;
    let root = site.config.repository.path.display();
    let text = format!(
        "profile {:?} installs from {path}, which is not beneath {root}: the installer gets a 404; \
         put it there, or name another file",
        group.profile.name
    );
    Some(Problem { place: place.clone(), text })
}

/// An installer that neither reports nor fetches an image that is known by its name.
fn presumes(site: &Site, group: &Group, words: &Words, place: &Place) -> Option<Problem> {
    let signs = signs(site, group, words, false);
    if signs.is_image || signs.reports {
        return None;
    }
    let last = signs.goal.files.iter().next().map_or("its script", String::as_str);
    let text = format!(
        "profile {:?} installs, and nothing tells bootbox that an installation ended well: a machine \
         that has fetched {last} is presumed installed; let the installer run \
         `curl -X POST \"{{{{ base_url }}}}/v1/event?state=installed\"` at its end",
        group.profile.name
    );
    Some(Problem { place: place.clone(), text })
}

/// A text that is fetched from an address which the arguments give, and no DHCP server.
fn unknown_address(site: &Site, group: &Group, words: &Words, place: &Place) -> Option<Problem> {
    if site.config.config_access == Access::Token {
        return None;
    }
    let args = arguments(group, words).ok()?;
    let tokens: Vec<&str> = args.iter().flat_map(|arg| arg.split_whitespace()).collect();
    let address = tokens.iter().find(|token| is_static(token))?;
    let tells = |token: &str| token.contains("mac=") || token.contains("uuid=");
    let text = tokens
        .iter()
        .filter(|token| !tells(token))
        .flat_map(|token| named(token, &words.base_url))
        .find(|path| site.configs.get(path).is_some())?;
    let text = format!(
        "{address} gives machines of group {:?} an address that bootbox does not know them by, so \
         {text} is answered with 503; write {{{{ base_url }}}}{text}?mac={{{{ mac }}}}, and &mac={{{{ mac \
         }}}} behind the URLs of reports",
        group.name
    );
    Some(Problem { place: place.clone(), text })
}

/// Whether an argument gives the machine a fixed IPv4 address: dracut's and the kernel's `ip=`, and
/// what Debian's and SUSE's installers have for it.
fn is_static(token: &str) -> bool {
    let is_address = |text: &str| text.parse::<Ipv4Addr>().is_ok();
    match token.split_once('=') {
        Some(("ip", value)) => value.split(':').next().is_some_and(is_address),
        Some(("netcfg/get_ipaddress" | "hostip", value)) => {
            is_address(value.split('/').next().unwrap_or_default())
        }
        Some(("ifcfg", value)) => value
            .rsplit('=')
            .next()
            .and_then(|value| value.split(['/', ',']).next())
            .is_some_and(is_address),
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_address_is_told_from_one_by_dhcp() {
        for token in [
            "ip=192.0.2.51::192.0.2.1:255.255.255.0:n1:ens3:none",
            "ip=192.0.2.51",
            "netcfg/get_ipaddress=192.0.2.51",
            "hostip=192.0.2.51/24",
            "ifcfg=*=192.0.2.51/24,192.0.2.1",
        ] {
            assert!(is_static(token), "{token}");
        }
        for token in
            ["ip=dhcp", "ip=:::::eth0:dhcp", "ip=eth0:dhcp", "ifcfg=*=dhcp", "ip=", "quiet"]
        {
            assert!(!is_static(token), "{token}");
        }
    }
}
