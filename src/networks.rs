//! Lists of addresses, and whether a peer is one of them. Pure.

use crate::limits::{next_entry, whole_number};
use crate::start_error::StartError;
use std::net::{IpAddr, SocketAddr};
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
pub struct Networks(Vec<Network>);

/// Addresses whose first bits are these. IPv4 addresses are within `::ffff:0:0/96`, where a socket of IPv6 shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u128,
    /// The bits that count.
    mask: u128,
}

impl Networks {
    /// Whether an address belongs to one of the networks. `::ffff:a.b.c.d`, which a socket of IPv6 shows for an IPv4
    /// peer, counts as `a.b.c.d`.
    #[inline(never)]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| (bits(address) ^ network.address) & network.mask == 0)
    }
}

impl FromStr for Networks {
    type Err = StartError;

    #[cold]
    #[inline(never)]
    fn from_str(list: &str) -> Result<Networks, StartError> {
        let mut networks = Vec::new();
        let mut rest = Some(list);
        while let Some(entry) = next_entry(&mut rest) {
            if entry == "loopback" {
                networks.extend(LOOPBACK);
                continue;
            }
            let network = network(entry);
            networks.push(network.ok_or_else(|| {
                StartError::expected("loopback, ADDR or ADDR/PREFIX, with commas between them", list)
            })?);
        }
        Ok(Networks(networks))
    }
}

/// 127.0.0.0/8 and ::1.
const LOOPBACK: [Network; 2] =
    [Network { address: 0xffff_7f00_0000, mask: u128::MAX << 24 }, Network { address: 1, mask: u128::MAX }];

fn network(entry: &str) -> Option<Network> {
    // Searching byte by byte is slower than `split_once`, and much smaller.
    let slash = entry.bytes().position(|byte| byte == b'/');
    let (address, prefix) = (&entry[..slash.unwrap_or(entry.len())], slash.map(|at| &entry[at + 1..]));
    // The parser of whole socket addresses is there anyhow.
    let is_v6 = address.bytes().any(|byte| byte == b':');
    let (open, close) = if is_v6 { ("[", "]") } else { ("", "") };
    let address = format!("{open}{address}{close}:0");
    let address = bits(address.parse::<SocketAddr>().ok()?.ip());
    let width = if is_v6 { 128 } else { 32 };
    let prefix = prefix.map_or(Some(width), whole_number)?;
    let rest = width.checked_sub(prefix)? as u32;
    // A shift by the whole width leaves no bit that counts.
    Some(Network { address, mask: u128::MAX.checked_shl(rest).unwrap_or(0) })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
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
            ("10.0.0.0/8,fd00::/8", "10.255.1.1", true),
            ("10.0.0.0/8,fd00::/8", "fd12::1", true),
            ("10.0.0.0/8,fd00::/8", "fc12::1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fe80::1", true),
            ("::/0", "192.0.2.1", true),
            ("::ffff:0:0/96", "192.0.2.1", true),
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
        for list in
            ["", "any", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "loopback,", "1::ffff:", "10.0.0.1:80", "/8"]
        {
            let error = list.parse::<Networks>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("expected loopback, ADDR or ADDR/PREFIX, with commas between them, not '{list}'")
            );
        }
    }
}
