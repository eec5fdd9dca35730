//! Lists of addresses, and whether a peer is one of them. Pure.

use crate::start_error::StartError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A list of networks: `loopback`, addresses, and addresses with a prefix, with commas between them.
///
/// ```
/// let networks: fc_hooks::Networks = "loopback,10.1.0.0/16".parse()?;
/// assert!(networks.contains("10.1.2.3".parse().unwrap()) && networks.contains("::1".parse().unwrap()));
/// assert!(!networks.contains("10.2.0.1".parse().unwrap()));
/// # Ok::<(), fc_hooks::StartError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<(IpAddr, u32)>);

impl Networks {
    /// Whether an address belongs to one of the networks. An IPv4 address that a socket of IPv6 shows as
    /// `::ffff:a.b.c.d` counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (address, width) = bits(address.to_canonical());
        self.0.iter().any(|(network, prefix)| {
            let (network, of_network) = bits(*network);
            // A shift by the whole width leaves nothing to compare.
            width == of_network && (address ^ network).checked_shr(width - prefix).unwrap_or(0) == 0
        })
    }
}

impl FromStr for Networks {
    type Err = StartError;

    fn from_str(list: &str) -> Result<Networks, StartError> {
        let error = || StartError::expected("loopback, ADDR or ADDR/PREFIX, with commas between them", list);
        let mut networks = Vec::new();
        for entry in list.split(',').map(str::trim) {
            if entry == "loopback" {
                networks.extend([(Ipv4Addr::LOCALHOST.into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)]);
                continue;
            }
            let (address, prefix) =
                entry.split_once('/').map_or((entry, None), |(address, rest)| (address, Some(rest)));
            let address: IpAddr = address.parse().map_err(|_| error())?;
            let (_, width) = bits(address);
            let prefix = prefix.map_or(Ok(width), str::parse).map_err(|_| error())?;
            if prefix > width {
                return Err(error());
            }
            networks.push((address, prefix));
        }
        Ok(Networks(networks))
    }
}

/// The bits of an address as a number, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_and_out() {
        let cases = [
            ("loopback", "127.0.0.1", true),
            ("loopback", "127.255.0.1", true),
            ("loopback", "::1", true),
            ("loopback", "::ffff:127.0.0.1", true),
            ("loopback", "128.0.0.1", false),
            ("loopback", "::2", false),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.6", false),
            ("10.0.0.0/8, fd00::/8", "10.255.1.1", true),
            ("10.0.0.0/8, fd00::/8", "fd12::1", true),
            ("10.0.0.0/8, fd00::/8", "fc12::1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fe80::1", true),
            ("192.0.2.129/25", "192.0.2.200", true),
            ("192.0.2.129/25", "192.0.2.100", false),
        ];
        for (list, address, expected) in cases {
            let networks: Networks = list.parse().unwrap();
            assert_eq!(networks.contains(address.parse().unwrap()), expected, "{address} in {list}");
        }
    }

    #[test]
    fn lists_that_mean_nothing() {
        for list in ["", "any", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "loopback,", "10.0.0.1:80", "/8"] {
            let error = list.parse::<Networks>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("expected loopback, ADDR or ADDR/PREFIX, with commas between them, not '{list}'")
            );
        }
    }
}
