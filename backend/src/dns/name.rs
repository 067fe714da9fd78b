//! What a question's name asks for. Pure; never panics on any name.
//!
//! Contract: DNS, section "Name forms".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a name under the domain stands for. Parts are lower-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `<node>.node[.<dc>]`
    Node {
        /// Node name; may contain dots.
        node: String,
        /// Datacenter; empty means the agent's.
        datacenter: String,
    },
    /// `[<tag>.]<service>.service[.<dc>]` and the RFC 2782 form.
    Service {
        /// Service name.
        service: String,
        /// Tag wanted; empty for any.
        tag: String,
        /// Datacenter; empty means the agent's.
        datacenter: String,
    },
    /// `<hex>.addr[.<dc>]`
    Address(IpAddr),
    /// Nothing there is.
    Unknown,
}

/// The labels left of the domain; `None` when the name lies outside it.
pub(super) fn within<'a>(labels: &'a [String], domain: &[String]) -> Option<&'a [String]> {
    labels.strip_suffix(domain).filter(|_| !domain.is_empty())
}

/// Reads the lower-case labels left of the domain. `srv` tells whether SRV records are asked for: only then may the
/// label `service` be left out.
pub(super) fn parse(labels: &[String], srv: bool) -> Target {
    for (at, label) in labels.iter().enumerate().rev() {
        let (before, after) = (&labels[..at], &labels[at + 1..]);
        match label.as_str() {
            "service" => return service(before, after),
            "node" if !before.is_empty() => {
                return datacenter(after).map_or(Target::Unknown, |dc| Target::Node { node: before.join("."), datacenter: dc });
            }
            "addr" => return address(before, after),
            "node" | "connect" | "ingress" | "query" | "virtual" => return Target::Unknown,
            label if srv && label.starts_with('_') => return service(&labels[..=at], after),
            _ => {}
        }
    }
    Target::Unknown
}

/// The datacenter named by the labels after the kind: none, `<dc>` or `<dc>.dc`.
fn datacenter(labels: &[String]) -> Option<String> {
    match labels {
        [] => Some(String::new()),
        [dc] => Some(dc.clone()),
        [dc, marker] if marker == "dc" => Some(dc.clone()),
        _ => None,
    }
}

fn service(before: &[String], after: &[String]) -> Target {
    let Some(datacenter) = datacenter(after) else { return Target::Unknown };
    match before {
        [] => Target::Unknown,
        [service, protocol] if service.starts_with('_') && protocol.starts_with('_') => {
            let tag = if protocol == "_tcp" { String::new() } else { protocol[1..].to_owned() };
            Target::Service { service: service[1..].to_owned(), tag, datacenter }
        }
        [tags @ .., service] => Target::Service { service: service.clone(), tag: tags.join("."), datacenter },
    }
}

fn address(before: &[String], after: &[String]) -> Target {
    let ([hex], Some(_)) = (before, datacenter(after)) else { return Target::Unknown };
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Target::Unknown;
    }
    let parsed = match hex.len() {
        8 => u32::from_str_radix(hex, 16).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        32 => u128::from_str_radix(hex, 16).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        _ => return Target::Unknown,
    };
    parsed.map_or(Target::Unknown, Target::Address)
}

/// Whether a name lies in the reverse zones, and which address it stands for when it is complete.
pub(super) fn reverse(labels: &[String]) -> Option<Option<IpAddr>> {
    match labels {
        [digits @ .., zone, arpa] if arpa == "arpa" && zone == "in-addr" => Some(reverse_v4(digits)),
        [digits @ .., zone, arpa] if arpa == "arpa" && zone == "ip6" => Some(reverse_v6(digits)),
        _ => None,
    }
}

fn reverse_v4(digits: &[String]) -> Option<IpAddr> {
    let [d, c, b, a] = digits else { return None };
    Some(IpAddr::V4(Ipv4Addr::new(a.parse().ok()?, b.parse().ok()?, c.parse().ok()?, d.parse().ok()?)))
}

fn reverse_v6(digits: &[String]) -> Option<IpAddr> {
    if digits.len() != 32 {
        return None;
    }
    let mut bits = 0_u128;
    for digit in digits.iter().rev() {
        let nibble = u8::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1)?;
        bits = bits << 4 | u128::from(nibble);
    }
    Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(name: &str) -> Vec<String> {
        name.split('.').filter(|label| !label.is_empty()).map(str::to_lowercase).collect()
    }

    fn service(service: &str, tag: &str, datacenter: &str) -> Target {
        Target::Service { service: service.into(), tag: tag.into(), datacenter: datacenter.into() }
    }

    fn node(node: &str, datacenter: &str) -> Target {
        Target::Node { node: node.into(), datacenter: datacenter.into() }
    }

    #[test]
    fn every_form_of_name_is_read() {
        for (name, srv, expected) in [
            ("ext1.node", false, node("ext1", "")),
            ("Ext1.Node.DC1", false, node("ext1", "dc1")),
            ("a.b.node", false, node("a.b", "")),
            ("my_node.node", false, node("my_node", "")),
            ("ext1.node.dc1.dc", false, node("ext1", "dc1")),
            ("api.service", false, service("api", "", "")),
            ("v1.api.service.dc1", false, service("api", "v1", "dc1")),
            ("v1.2.api.service", false, service("api", "v1.2", "")),
            ("_api._tcp.service", false, service("api", "", "")),
            ("_api._v2.service", true, service("api", "v2", "")),
            ("_api._tcp", true, service("api", "", "")),
            ("_api._tcp.dc1", true, service("api", "", "dc1")),
            ("_api._tcp", false, Target::Unknown),
            ("0a000001.addr", false, Target::Address([10, 0, 0, 1].into())),
            ("0a000001.addr.dc1", false, Target::Address([10, 0, 0, 1].into())),
            ("20010db8000000000000000000000006.addr", false, Target::Address("2001:db8::6".parse().expect("address"))),
            ("0a00.addr", false, Target::Unknown),
            ("ext1.addr", false, Target::Unknown),
            ("+a000001.addr", false, Target::Unknown),
            ("service", false, Target::Unknown),
            ("node", false, Target::Unknown),
            ("x", false, Target::Unknown),
            ("", false, Target::Unknown),
            ("foo.bogus", false, Target::Unknown),
            ("api.service.dc1.extra", false, Target::Unknown),
            ("nosuch.query", false, Target::Unknown),
            ("api.virtual", false, Target::Unknown),
            ("api.ingress", false, Target::Unknown),
        ] {
            assert_eq!(parse(&labels(name), srv), expected, "{name}");
        }
    }

    #[test]
    fn reverse_names_give_their_address() {
        for (name, expected) in [
            ("1.0.0.10.in-addr.arpa", Some("10.0.0.1".parse().ok())),
            ("0.10.in-addr.arpa", Some(None)),
            ("1.0.0.300.in-addr.arpa", Some(None)),
            ("6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", Some("2001:db8::6".parse().ok())),
            ("in-addr.arpa", Some(None)),
            ("api.service.consul", None),
        ] {
            assert_eq!(reverse(&labels(name)), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_panics(name in "[a-z0-9_.\u{e9}+-]{0,50}(\\.(node|service|addr|in-addr\\.arpa|ip6\\.arpa))?", srv: bool) {
            let labels = labels(&name);
            let _ = (parse(&labels, srv), reverse(&labels));
        }
    }
}
