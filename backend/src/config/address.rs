//! Addresses as configuration writes them: an IP, `unix://` paths, lists of them, and templates that ask for the
//! machine's interfaces (`{{ GetPrivateIP }}`, `{{ GetAllInterfaces | include "type" "IPv4" | join "address" " " }}`).
//!
//! Never looks at the machine; it is told. Contract: agent configuration, section "Sources and merging".

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

/// An address of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, such as `eth0`.
    pub name: String,
    /// Address.
    pub address: IpAddr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// Whether the interface is up.
    pub up: bool,
}

/// One item of an address list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// An IP address.
    Ip(IpAddr),
    /// A path.
    Unix(PathBuf),
}

/// Reads a list of addresses separated by spaces. A template is resolved first.
///
/// # Errors
/// What is not an address.
pub(super) fn list(text: &str, interfaces: &[Interface]) -> Result<Vec<Item>, String> {
    let resolved = resolve(text, interfaces)?;
    resolved.split_whitespace().map(one).collect()
}

fn one(text: &str) -> Result<Item, String> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Ok(Item::Unix(PathBuf::from(path)));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(Item::Ip).map_err(|_| format!("invalid ip address: {text}"))
}

/// Replaces every `{{ … }}` by what it stands for.
fn resolve(text: &str, interfaces: &[Interface]) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find("}}") else {
            return Err(format!("unable to parse address template \"{text}\": unclosed action"));
        };
        out.push_str(
            &pipeline(&rest[start + 2..start + end], interfaces)
                .map_err(|why| format!("unable to parse address template \"{text}\": {why}"))?,
        );
        rest = &rest[start + end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// What flows through a pipeline.
enum Flow {
    Interfaces(Vec<Interface>),
    Text(String),
}

fn pipeline(text: &str, interfaces: &[Interface]) -> Result<String, String> {
    let mut stages = text.split('|').map(words);
    let mut flow = source(&stages.next().transpose()?.unwrap_or_default(), interfaces)?;
    for stage in stages {
        flow = step(flow, &stage?)?;
    }
    Ok(match flow {
        Flow::Text(text) => text,
        Flow::Interfaces(list) => join(&list, "address", " ")?,
    })
}

/// Splits at spaces outside quotes.
fn words(stage: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for (at, part) in stage.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    if stage.matches('"').count() % 2 == 1 { Err("unterminated quoted string".to_owned()) } else { Ok(words) }
}

fn source(words: &[String], interfaces: &[Interface]) -> Result<Flow, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let up = || interfaces.iter().filter(|one| one.up);
    let list = |keep: &dyn Fn(&Interface) -> bool| Flow::Interfaces(up().filter(|one| keep(one)).cloned().collect());
    let addresses = |keep: &dyn Fn(&Interface) -> bool, only_first: bool| {
        let found = up().filter(|one| keep(one)).map(|one| one.address.to_string());
        Flow::Text(if only_first { found.take(1).collect() } else { found.collect::<Vec<_>>().join(" ") })
    };
    let private = |one: &Interface| is_private(one.address) && !one.address.is_loopback();
    let public = |one: &Interface| is_public(one.address);
    Ok(match words.as_slice() {
        ["GetAllInterfaces"] => Flow::Interfaces(interfaces.to_vec()),
        ["GetPrivateInterfaces"] => list(&private),
        ["GetPublicInterfaces"] => list(&public),
        ["GetDefaultInterfaces"] => list(&|one| !one.address.is_loopback()),
        ["GetPrivateIP"] => addresses(&|one| one.address.is_ipv4() && private(one), true),
        ["GetPrivateIPs"] => addresses(&private, false),
        ["GetPublicIP"] => addresses(&public, true),
        ["GetPublicIPs"] => addresses(&public, false),
        ["GetInterfaceIP", name] => addresses(&|one| one.name == *name, true),
        ["GetInterfaceIPs", name] => addresses(&|one| one.name == *name, false),
        [name, ..] => return Err(format!("function \"{name}\" not defined")),
        [] => return Err("missing value for command".to_owned()),
    })
}

fn step(flow: Flow, words: &[String]) -> Result<Flow, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Flow::Interfaces(mut interfaces) = flow else {
        return Err(format!("\"{}\" needs a list of interfaces", words.join(" ")));
    };
    match words.as_slice() {
        [verb @ ("include" | "exclude"), by, what] => {
            let mut matches = Vec::new();
            for one in &interfaces {
                matches.push(fits(one, by, what)? == (*verb == "include"));
            }
            let mut keep = matches.into_iter();
            interfaces.retain(|_| keep.next().unwrap_or(false));
            Ok(Flow::Interfaces(interfaces))
        }
        ["sort", by] => {
            match by.trim_start_matches(['+', '-']) {
                "address" => interfaces.sort_by_key(|one| one.address),
                "name" => interfaces.sort_by(|a, b| a.name.cmp(&b.name)),
                "size" => interfaces.sort_by_key(|one| std::cmp::Reverse(one.prefix)),
                "type" => interfaces.sort_by_key(|one| one.address.is_ipv6()),
                _ => return Err(format!("unknown sort order \"{by}\"")),
            }
            if by.starts_with('-') {
                interfaces.reverse();
            }
            Ok(Flow::Interfaces(interfaces))
        }
        ["limit", count] => {
            interfaces.truncate(count.parse().map_err(|_| format!("\"{count}\" is not a number"))?);
            Ok(Flow::Interfaces(interfaces))
        }
        ["attr", name] => Ok(Flow::Text(interfaces.first().map(|one| attribute(one, name)).transpose()?.unwrap_or_default())),
        ["join", name, separator] => Ok(Flow::Text(join(&interfaces, name, separator)?)),
        [name, ..] => Err(format!("function \"{name}\" not defined")),
        [] => Err("missing value for command".to_owned()),
    }
}

fn join(interfaces: &[Interface], name: &str, separator: &str) -> Result<String, String> {
    Ok(interfaces.iter().map(|one| attribute(one, name)).collect::<Result<Vec<_>, _>>()?.join(separator))
}

fn attribute(one: &Interface, name: &str) -> Result<String, String> {
    match name {
        "address" => Ok(one.address.to_string()),
        "name" => Ok(one.name.clone()),
        "type" => Ok(if one.address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned()),
        _ => Err(format!("unknown attribute \"{name}\"")),
    }
}

fn fits(one: &Interface, by: &str, what: &str) -> Result<bool, String> {
    match by {
        "type" => Ok(match what.to_lowercase().as_str() {
            "ip" => true,
            "ipv4" => one.address.is_ipv4(),
            "ipv6" => one.address.is_ipv6(),
            _ => false,
        }),
        "name" => regex::Regex::new(what).map(|name| name.is_match(&one.name)).map_err(|why| why.to_string()),
        "address" => regex::Regex::new(what).map(|name| name.is_match(&one.address.to_string())).map_err(|why| why.to_string()),
        "network" => what.split('|').map(|network| contains(network, one.address)).try_fold(false, |any, one| Ok(any || one?)),
        "flags" | "flag" => Ok(what.split('|').all(|flag| match flag {
            "up" => one.up,
            "loopback" => one.address.is_loopback(),
            "forwardable" => !one.address.is_loopback() && !is_link_local(one.address),
            _ => false,
        })),
        "rfc" => Ok(match what {
            "1918" => matches!(one.address, IpAddr::V4(v4) if v4.is_private()),
            "6890" => !is_public(one.address),
            _ => false,
        }),
        _ => Err(format!("unknown filter \"{by}\"")),
    }
}

/// Whether a network, written `address/bits`, holds the address.
///
/// # Errors
/// Text that is not a network.
pub(super) fn contains(network: &str, address: IpAddr) -> Result<bool, String> {
    let invalid = || format!("invalid CIDR address: {network}");
    let (base, bits) = network.split_once('/').ok_or_else(invalid)?;
    let base: IpAddr = base.parse().map_err(|_| invalid())?;
    let bits: u32 = bits.parse().map_err(|_| invalid())?;
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            Ok(base.to_bits() & mask == address.to_bits() & mask)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Ok(base.to_bits() & mask == address.to_bits() & mask)
        }
        (IpAddr::V4(_), _) if bits > 32 => Err(invalid()),
        (IpAddr::V6(_), _) if bits > 128 => Err(invalid()),
        _ => Ok(false),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Private ranges: 10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || Ipv4Addr::new(100, 64, 0, 0) == Ipv4Addr::from_bits(v4.to_bits() & 0xffc0_0000),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Neither private nor for special use.
pub(super) fn is_public(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_documentation() || v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(_) => false,
    };
    !(special
        || is_private(address)
        || is_link_local(address)
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Interface> {
        let one = |name: &str, address: &str, prefix, up| Interface {
            name: name.to_owned(),
            address: address.parse().expect("an address"),
            prefix,
            up,
        };
        vec![
            one("lo", "127.0.0.1", 8, true),
            one("eth0", "10.1.2.3", 24, true),
            one("eth1", "203.0.114.9", 24, true),
            one("eth1", "fe80::1", 64, true),
            one("eth2", "192.168.7.7", 16, false),
        ]
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(resolve(text, &machine()).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn templates_ask_the_machine() {
        check("10.0.0.1", "10.0.0.1");
        check("{{ GetPrivateIP }}", "10.1.2.3");
        check("{{GetPublicIP}}", "203.0.114.9");
        check("{{ GetInterfaceIP \"eth1\" }}", "203.0.114.9");
        check("{{ GetInterfaceIP \"eth9\" }}", "");
        check("127.0.0.1 {{ GetPrivateIP }}", "127.0.0.1 10.1.2.3");
        check(
            "{{ GetAllInterfaces | include \"type\" \"IPv4\" | exclude \"name\" \"lo\" | join \"address\" \" \" }}",
            "10.1.2.3 203.0.114.9 192.168.7.7",
        );
        check("{{ GetAllInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"address\" }}", "10.1.2.3");
        check("{{ GetPrivateInterfaces | sort \"-address\" | limit 1 | attr \"name\" }}", "eth0");
    }

    #[test]
    fn bad_templates_and_addresses_are_refused() {
        assert_eq!(list("foo", &[]), Err("invalid ip address: foo".to_owned()));
        let text = "{{ Foo }}";
        assert_eq!(list(text, &[]), Err(format!("unable to parse address template \"{text}\": function \"Foo\" not defined")));
        assert!(list("{{ GetPrivateIP", &[]).is_err());
        assert!(list("{{ GetAllInterfaces | include \"network\" \"x\" }}", &machine()).is_err());
    }

    #[test]
    fn lists_hold_addresses_and_paths() {
        let expected = vec![Item::Ip("127.0.0.1".parse().expect("an address")), Item::Unix("/run/x.sock".into())];
        assert_eq!(list("127.0.0.1  unix:///run/x.sock", &[]), Ok(expected));
        assert_eq!(list("[::1]", &[]), Ok(vec![Item::Ip("::1".parse().expect("an address"))]));
        assert_eq!(list("", &[]), Ok(Vec::new()));
    }
}
