//! The PROXY protocol header, by which a load balancer passes on the address of the client. No I/O.
//!
//! The rules are those of `HAProxy`'s proxy-protocol.txt.

use std::net::SocketAddr;

use ppp::{v1, v2};

/// The longest header of version 1, with its line end (section 2.1).
pub const MAX_V1: usize = 107;

/// The longest header of version 2. Its length field allows 64 KiB. The addresses take at most 216 bytes.
/// What proxies add to them (section 2.2) stays far below this limit: a name, a certificate's common name,
/// an identifier.
pub const MAX_V2: usize = 4 << 10;

/// The length of the fixed part of version 2, which ends with the number of bytes that follow.
const V2_START: usize = 16;

/// The result of parsing the first bytes of a connection from a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A complete header: its length in bytes, and the client.
    Whole(usize, Client),
    /// The beginning of a header.
    Partial,
    /// Not a header, or a malformed one.
    Malformed,
}

/// The client of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A client at this address.
    At(SocketAddr),
    /// The proxy itself (a health check), or a client that the proxy cannot name because it is not on TCP
    /// over IP.
    Unknown,
}

/// Parses the header at the beginning of the input.
pub fn parse(bytes: &[u8]) -> Header {
    if bytes.is_empty() {
        return Header::Partial;
    }
    if bytes[0] == v2::PROTOCOL_PREFIX[0] {
        return parse_v2(bytes);
    }
    parse_v1(bytes)
}

fn parse_v1(bytes: &[u8]) -> Header {
    const PREFIX: &[u8] = b"PROXY ";
    let common = bytes.len().min(PREFIX.len());
    if bytes[..common] != PREFIX[..common] {
        return Header::Malformed;
    }
    let start = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = memchr::memchr(b'\n', start) else {
        return if start.len() < MAX_V1 { Header::Partial } else { Header::Malformed };
    };
    let client = match v1::Header::try_from(&bytes[..=end]).map(|header| header.addresses) {
        Ok(v1::Addresses::Tcp4(it)) => Client::At((it.source_address, it.source_port).into()),
        Ok(v1::Addresses::Tcp6(it)) => Client::At((it.source_address, it.source_port).into()),
        Ok(v1::Addresses::Unknown) => Client::Unknown,
        Err(_) => return Header::Malformed,
    };
    Header::Whole(end + 1, client)
}

fn parse_v2(bytes: &[u8]) -> Header {
    let common = bytes.len().min(v2::PROTOCOL_PREFIX.len());
    if bytes[..common] != v2::PROTOCOL_PREFIX[..common] {
        return Header::Malformed;
    }
    let Some(&[high, low]) = bytes.get(V2_START - 2..V2_START) else {
        return Header::Partial;
    };
    let len = V2_START + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_V2 {
        return Header::Malformed;
    }
    let Some(header) = bytes.get(..len) else {
        return Header::Partial;
    };
    let Ok(header) = v2::Header::try_from(header) else {
        return Header::Malformed;
    };
    let is_stream = header.protocol == v2::Protocol::Stream;
    let client = match header.addresses {
        _ if header.command == v2::Command::Local => Client::Unknown,
        v2::Addresses::IPv4(it) if is_stream => {
            Client::At((it.source_address, it.source_port).into())
        }
        v2::Addresses::IPv6(it) if is_stream => {
            Client::At((it.source_address, it.source_port).into())
        }
        _ => Client::Unknown,
    };
    Header::Whole(len, client)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((addresses.len() as u16).to_be_bytes());
        header.extend(addresses);
        header
    }

    fn at(address: &str) -> Client {
        Client::At(address.parse().unwrap())
    }

    fn examples() -> Vec<(Vec<u8>, Client)> {
        let ipv4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x1f, 0x90, 0, 80];
        let mut ipv6 = [0; 36];
        (ipv6[15], ipv6[33]) = (1, 7);
        let mut with_more = ipv4.to_vec();
        with_more.extend([4, 0, 1, 0]);
        // The longest header allowed.
        let mut with_most = ipv4.to_vec();
        with_most.extend([4, 0x0f, 0xe1]);
        with_most.resize(MAX_V2 - V2_START, b'x');
        vec![
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 80\r\n".to_vec(), at("192.0.2.1:8080")),
            (b"PROXY TCP6 ::1 ::2 7 80\r\n".to_vec(), at("[::1]:7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Client::Unknown),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Client::Unknown),
            (v2(1, 0x11, &ipv4), at("192.0.2.1:8080")),
            (v2(1, 0x11, &with_more), at("192.0.2.1:8080")),
            (v2(1, 0x11, &with_most), at("192.0.2.1:8080")),
            (v2(1, 0x21, &ipv6), at("[::1]:7")),
            (v2(1, 0x12, &ipv4), Client::Unknown),
            (v2(1, 0x31, &[b'/'; 216]), Client::Unknown),
            (v2(1, 0x00, &[]), Client::Unknown),
            (v2(0, 0x00, &[]), Client::Unknown),
            (v2(0, 0x11, &ipv4), Client::Unknown),
        ]
    }

    #[test]
    fn a_header_is_partial_until_it_is_whole() {
        for (mut bytes, client) in examples() {
            let len = bytes.len();
            bytes.extend(b"a message\n");
            for some in 0..bytes.len() {
                let expected = match some {
                    some if some < len => Header::Partial,
                    _ => Header::Whole(len, client),
                };
                let start = &bytes[..some];
                assert_eq!(parse(start), expected, "{}", start.escape_ascii());
            }
        }
    }

    #[test]
    fn headers_that_break_the_rules_are_malformed() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
        for bytes in [
            &b"hello\n"[..],
            b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 80\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 8080\r\n",
            b"PROXY TCP4 192.0.2.999 192.0.2.2 8080 80\r\n",
            b"PROXY TCP4 ::1 ::2 8080 80\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 8080 80\r\n",
            b"PROXY\tTCP4",
            &long,
            b"\r\n\r\nx",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf1",
            b"\x16\x03\x01",
        ] {
            assert_eq!(parse(bytes), Header::Malformed, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_header_is_never_longer_than_its_bytes(
            at in 0..13_usize, flips in prop::collection::vec((0..60_usize, any::<u8>()), 0..4),
            tail in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let (mut bytes, _) = examples().swap_remove(at);
            for (index, byte) in flips {
                let len = bytes.len();
                bytes[index % len] = byte;
            }
            bytes.extend(tail);
            match parse(&bytes) {
                Header::Whole(len, _) => prop_assert!(len <= bytes.len().min(MAX_V2)),
                Header::Partial => prop_assert!(bytes.len() < MAX_V2),
                Header::Malformed => {}
            }
        }
    }
}
