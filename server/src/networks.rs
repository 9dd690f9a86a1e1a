//! Networks in CIDR notation, for `-allow` and `-proxy-from`.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// A list of networks. Addresses are compared in canonical form: an IPv4-mapped IPv6 address
/// (`::ffff:192.0.2.1`) counts as its IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether an address is in one of the networks.
    pub fn contain(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Networks {
    type Err = String;

    /// Parses a list such as `192.0.2.0/24,2001:db8::/32,::1`. An address without a prefix length is a
    /// network of one address.
    fn from_str(list: &str) -> Result<Self, String> {
        let networks = list.split(',').map(|item| network(item.trim()));
        networks.collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.strip_prefix('[') {
        Some(rest) => bracketed(rest),
        None => bare(text),
    };
    let network = network.ok_or_else(|| {
        format!("expected networks such as 192.0.2.0/24,2001:db8::/32, got '{text}'")
    })?;
    canonical(network).ok_or_else(|| format!("'{text}' reaches beyond the IPv4-mapped addresses"))
}

/// An address with or without a prefix length.
fn bare(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The same for IPv6 in brackets, after the `[`: `2001:db8::]/32`.
fn bracketed(rest: &str) -> Option<IpNet> {
    let (ip, prefix) = rest.split_once(']')?;
    let ip = ip.parse::<Ipv6Addr>().ok()?;
    match prefix.strip_prefix('/') {
        Some(length) => bare(&format!("{ip}/{length}")),
        None => prefix.is_empty().then(|| IpAddr::V6(ip).into()),
    }
}

/// A network of IPv4-mapped addresses as an IPv4 network. `None` if it contains other addresses, too.
fn canonical(network: IpNet) -> Option<IpNet> {
    /// Bits before the IPv4 address in an IPv4-mapped address.
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else {
        return Some(network.trunc());
    };
    match v6.addr().to_ipv4_mapped() {
        Some(ip) if v6.prefix_len() >= MAPPED_BITS => {
            let v4 = IpNet::new(ip.into(), v6.prefix_len() - MAPPED_BITS).ok()?;
            Some(v4.trunc())
        }
        Some(_) => None,
        None => Some(network.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_their_networks_and_in_no_others() {
        let networks: Networks =
            "192.0.2.0/24, 2001:db8::/32,::1,::ffff:10.0.0.0/104,[fe80::]/10".parse().unwrap();
        for (ip, expected) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("::ffff:192.0.2.7", true),
            ("192.0.3.0", false),
            ("10.255.0.1", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.0", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::2", false),
            ("fe80::1", true),
        ] {
            assert_eq!(networks.contain(ip.parse().unwrap()), expected, "{ip}");
        }
        let all: Networks = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(all.contain("::ffff:1.2.3.4".parse().unwrap()));
        assert!(all.contain("::1".parse().unwrap()));
    }

    #[test]
    fn an_invalid_network_is_named() {
        for (list, expected) in [
            ("192.0.2.0/24,x", "expected networks such as 192.0.2.0/24,2001:db8::/32, got 'x'"),
            (
                "192.0.2.0/33",
                "expected networks such as 192.0.2.0/24,2001:db8::/32, got '192.0.2.0/33'",
            ),
            ("", "expected networks such as 192.0.2.0/24,2001:db8::/32, got ''"),
            ("::ffff:0.0.0.0/90", "'::ffff:0.0.0.0/90' reaches beyond the IPv4-mapped addresses"),
        ] {
            assert_eq!(list.parse::<Networks>(), Err(expected.to_owned()));
        }
        for list in [
            "]1]27.0.0.0/8",
            "[[::1]",
            "[::1",
            "::1]",
            "[::1]]",
            "[::1/128]",
            "[::1]128",
            "[127.0.0.1]",
            "1]27.0.0.1",
        ] {
            assert!(list.parse::<Networks>().is_err(), "{list}");
        }
    }
}
