//! `.creds` files: a user's JWT, signed by an account, and the key that proves it.

use std::path::Path;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ring::signature::Ed25519KeyPair;

/// A user's JWT and key, as `nsc` writes them.
#[derive(Debug)]
pub struct Credentials {
    jwt: String,
    key: Ed25519KeyPair,
}

/// The two bytes before the 32 bytes of a seed: the kinds "seed" and "user", five bits each
/// (<https://github.com/nats-io/nkeys>).
const USER_SEED: [u8; 2] = (18_u16 << 11 | 20 << 6).to_be_bytes();

impl Credentials {
    /// Reads a file. It is read for each connection, so that it can be replaced.
    ///
    /// # Errors
    /// The text names the file and says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        let missing = |what: &str| format!("{shown}: it holds no {what}, as .creds files do");
        let jwt = section(&text, "NATS USER JWT").ok_or_else(|| missing("NATS USER JWT"))?;
        let seed = section(&text, "USER NKEY SEED").ok_or_else(|| missing("USER NKEY SEED"))?;
        let key =
            key(seed).ok_or_else(|| format!("{shown}: its USER NKEY SEED is no user's seed"))?;
        Ok(Self { jwt: jwt.to_owned(), key })
    }

    /// The JWT.
    pub fn jwt(&self) -> &str {
        &self.jwt
    }

    /// Signs the node's nonce, which proves possession of the key.
    pub fn sign(&self, nonce: &str) -> String {
        BASE64URL_NOPAD.encode(self.key.sign(nonce.as_bytes()).as_ref())
    }
}

/// The line after `-----BEGIN NAME-----`.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("-----BEGIN {name}-----");
    let mut lines = text
        .lines()
        .map(|line| line.trim_start_matches('\u{feff}').trim())
        .skip_while(|line| *line != begin)
        .skip(1);
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with('-'))
}

fn key(seed: &str) -> Option<Ed25519KeyPair> {
    let bytes = BASE32_NOPAD.decode(seed.as_bytes()).ok()?;
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    let seed = body.strip_prefix(&USER_SEED)?;
    if crc16(body).to_le_bytes() != sum {
        return None;
    }
    Ed25519KeyPair::from_seed_unchecked(seed).ok()
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        let mixed = sum ^ (u16::from(*byte) << 8);
        (0..8).fold(mixed, |sum, _| (sum << 1) ^ (0x1021 * (sum >> 15)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use ring::signature::KeyPair as _;

    /// A valid seed of twos.
    fn seed() -> String {
        let mut body = [USER_SEED.as_slice(), &[2; 32]].concat();
        let sum = crc16(&body).to_le_bytes();
        body.extend(sum);
        BASE32_NOPAD.encode(&body)
    }

    #[test]
    fn a_seed_is_its_users_key() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the check value of the catalogue");
        let seed = seed();
        assert!(seed.starts_with("SU"), "{seed}");
        let public = key(&seed).unwrap();
        let public = HEXLOWER.encode(public.public_key().as_ref());
        assert_eq!(
            public, "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
            "of the private key of twos"
        );
        for bad in ["", "S", "SUxx", &seed[1..], &seed.replace('A', "B")] {
            assert!(key(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_read_or_what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user.creds");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Credentials::read(&path).unwrap_err()
        };
        let seed = seed();
        let jwt = "-----BEGIN NATS USER JWT-----\nabc.def\n------END NATS USER JWT------\n";
        let key =
            format!("-----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\n");
        assert!(refused("").ends_with("no NATS USER JWT, as .creds files do"));
        assert!(refused(jwt).ends_with("no USER NKEY SEED, as .creds files do"));
        assert!(
            refused(&format!("{jwt}{}", key.replace("SU", "SA"))).ends_with("is no user's seed")
        );
        // Windows editors write a byte order mark first.
        std::fs::write(&path, format!("\u{feff}{jwt}\nkeep it secret\n\n{key}")).unwrap();
        let credentials = Credentials::read(&path).unwrap();
        assert_eq!(credentials.jwt(), "abc.def");
        assert_eq!(credentials.sign("nonce").len(), 86, "64 bytes in base64");
        let gone = Credentials::read(&folder.path().join("none")).unwrap_err();
        assert!(gone.contains("none: "), "{gone}");
    }
}
