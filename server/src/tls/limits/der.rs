//! Counting of a certificate's names and name constraints, without verification (RFC 5280, section 4, encoded
//! in DER).

/// Object identifiers of the extensions `subjectAltName` and `nameConstraints`.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// The counted parts of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) names: usize,
    pub(super) constraints: usize,
}

/// A subject alternative name that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// In lower case. It may begin with `*.`.
    Dns(Vec<u8>),
    /// Four or sixteen bytes.
    Ip(Vec<u8>),
}

/// The size of a certificate, or `None` if it is malformed.
pub(super) fn size(certificate: &[u8]) -> Option<Size> {
    let mut size = Size::default();
    each_extension(certificate, |kind, value| {
        match kind {
            SUBJECT_ALT_NAME => size.names += elements(inside(value, SEQUENCE)?)?.len(),
            NAME_CONSTRAINTS => {
                for (_, subtrees) in elements(inside(value, SEQUENCE)?)? {
                    size.constraints += elements(subtrees)?.len();
                }
            }
            _ => {}
        }
        Some(())
    })?;
    Some(size)
}

/// The DNS names and IP addresses of a certificate, or `None` if it is malformed.
pub(crate) fn names(certificate: &[u8]) -> Option<Vec<Name>> {
    let mut names = Vec::new();
    each_extension(certificate, |kind, value| {
        if kind == SUBJECT_ALT_NAME {
            for (tag, name) in elements(inside(value, SEQUENCE)?)? {
                match tag {
                    DNS_NAME => names.push(Name::Dns(name.to_ascii_lowercase())),
                    IP_ADDRESS => names.push(Name::Ip(name.to_vec())),
                    _ => {}
                }
            }
        }
        Some(())
    })?;
    Some(names)
}

/// Calls `each` with the identifier and the value of each extension.
fn each_extension<'a>(
    certificate: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut whole = inside(certificate, SEQUENCE)?;
    let (SEQUENCE, to_be_signed) = element(&mut whole)? else {
        return None;
    };
    for (tag, value) in elements(to_be_signed)? {
        if tag != EXTENSIONS {
            continue;
        }
        for (_, extension) in elements(inside(value, SEQUENCE)?)? {
            let mut rest = extension;
            let (OBJECT_IDENTIFIER, kind) = element(&mut rest)? else {
                return None;
            };
            // The optional `critical` flag may come before the value.
            let value = elements(rest)?.into_iter().find(|(tag, _)| *tag == OCTET_STRING);
            each(kind, value?.1)?;
        }
    }
    Some(())
}

/// The contents of the single element in `bytes`, which must have this tag.
fn inside(mut bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (found, contents) = element(&mut bytes)?;
    (found == tag && bytes.is_empty()).then_some(contents)
}

/// All elements, with tag and contents.
fn elements(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        found.push(element(&mut bytes)?);
    }
    Some(found)
}

/// Removes and returns the first element, with tag and contents.
fn element<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut len = usize::from(first);
    if first >= 0x80 {
        let of_len = usize::from(first & 0x7f);
        if of_len == 0 || of_len > 3 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(of_len)?;
        len = digits.iter().fold(0, |len, &digit| len << 8 | usize::from(digit));
        rest = after;
    }
    let (contents, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some((tag, contents))
}
