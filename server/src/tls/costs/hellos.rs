//! Handmade `ClientHello` messages.

/// A TLS 1.3 `ClientHello` with these extensions in addition to the usual ones (RFC 8446, section 4.1.2).
fn hello(suites: usize, groups: usize, schemes: usize, shares: &[u8], more: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    let mut suite_list = vec![0x13, 0x01];
    suite_list.extend((0..suites).flat_map(|n| (0x4000 + n as u16).to_be_bytes()));
    body.extend(with_length(&suite_list));
    body.extend([1, 0]);
    let mut extensions = extension(43, &[2, 3, 4]);
    let mut group_list = vec![0, 29];
    group_list.extend((0..groups).flat_map(|n| (0x4000 + n as u16).to_be_bytes()));
    extensions.extend(extension(10, &with_length(&group_list)));
    let mut scheme_list = vec![4, 3];
    scheme_list.extend((0..schemes).flat_map(|n| (0x4000 + n as u16).to_be_bytes()));
    extensions.extend(extension(13, &with_length(&scheme_list)));
    extensions.extend(extension(51, &with_length(shares)));
    extensions.extend(more);
    body.extend(with_length(&extensions));
    let mut message = vec![1, 0];
    message.extend(with_length(&body));
    message
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let mut all = (bytes.len() as u16).to_be_bytes().to_vec();
    all.extend(bytes);
    all
}

fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    let mut all = kind.to_be_bytes().to_vec();
    all.extend(with_length(bytes));
    all
}

fn share(group: u16, bytes: &[u8]) -> Vec<u8> {
    extension(group, bytes)
}

/// A `ClientHello` that is padded to this length.
pub(super) fn plain(bytes: usize) -> Vec<u8> {
    let shares = share(29, &[9; 32]);
    let without = hello(0, 0, 0, &shares, &extension(21, &[])).len();
    hello(0, 0, 0, &shares, &extension(21, &vec![0; bytes - without]))
}

pub(super) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let x25519 = share(29, &[9; 32]);
    let many = |n: u16, bytes: usize| -> Vec<u8> {
        (0..n).flat_map(|n| extension(0x4000 + n, &vec![0; bytes])).collect()
    };
    let mut many_shares = many(6000, 1);
    many_shares.extend(&x25519);
    // Identities with ages, then binders (RFC 8446, section 4.2.11).
    let offer = |n: usize, len: usize| {
        let identity = [with_length(&vec![5; len]), vec![0; 4]].concat();
        let binder = [vec![32], vec![6; 32]].concat();
        let keys = extension(45, &[1, 1]);
        let offer = [with_length(&identity.repeat(n)), with_length(&binder.repeat(n))].concat();
        [keys, extension(41, &offer)].concat()
    };
    let name = [vec![0], with_length(b"a")].concat();
    let protocols = [1, b'a'].repeat(14_000);
    vec![
        ("hello", hello(0, 0, 0, &x25519, &[])),
        ("padded", plain(30_000)),
        ("padded to the most", plain(60_000)),
        ("8,000 extensions", hello(0, 0, 0, &x25519, &many(8000, 0))),
        ("15,000 extensions", hello(0, 0, 0, &x25519, &many(15_000, 0))),
        ("6,000 key shares", hello(0, 0, 0, &many_shares, &[])),
        ("14,000 suites", hello(14_000, 0, 0, &x25519, &[])),
        ("14,000 groups", hello(0, 14_000, 0, &x25519, &[])),
        ("14,000 groups, no share", hello(0, 14_000, 0, &many(1, 1), &[])),
        ("14,000 schemes", hello(0, 0, 14_000, &x25519, &[])),
        ("700 tickets of a byte", hello(0, 0, 0, &x25519, &offer(700, 1))),
        ("1,500 tickets of a byte", hello(0, 0, 0, &x25519, &offer(1500, 1))),
        ("300 tickets of 60 bytes", hello(0, 0, 0, &x25519, &offer(300, 60))),
        ("4 tickets of 12,000 bytes", hello(0, 0, 0, &x25519, &offer(4, 12_000))),
        ("7,000 names", hello(0, 0, 0, &x25519, &extension(0, &with_length(&name.repeat(7000))))),
        ("14,000 protocols", hello(0, 0, 0, &x25519, &extension(16, &with_length(&protocols)))),
    ]
}

/// The message in records of `bytes` bytes each.
pub(super) fn records(message: &[u8], bytes: usize) -> Vec<u8> {
    let records = message.chunks(bytes).flat_map(|piece| {
        let mut record = vec![22, 3, 1];
        record.extend(with_length(piece));
        record
    });
    records.collect()
}
