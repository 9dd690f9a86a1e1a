//! A NATS operator with one account and its users: the same tokens as those of `nsc`
//! (<https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt>).

use std::fs;
use std::path::Path;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// A key pair and its seed; `kind` determines the first letter of the public key.
struct Key {
    seed: [u8; 32],
    kind: u8,
    pair: Ed25519KeyPair,
}

/// The five-bit prefixes of keys and seeds.
const OPERATOR: u8 = 14;
const ACCOUNT: u8 = 0;
const USER: u8 = 20;
const SEED: u8 = 18;

/// The operator's configuration for nodes, and the account that issues credentials.
pub struct Operator {
    /// The part of the nodes' configuration for the operator.
    pub config: String,
    account: Key,
}

impl Operator {
    pub fn new() -> Self {
        let (operator, account, system) =
            (Key::new(1, OPERATOR), Key::new(2, ACCOUNT), Key::new(3, ACCOUNT));
        let kind = |kind: &str| json!({"type": kind, "version": 2});
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let with_streams = json!({"type": "account", "version": 2, "limits": limits});
        let mut plain = limits.clone();
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            plain[limit] = json!(0);
        }
        let without = json!({"type": "account", "version": 2, "limits": plain});
        let config = format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n {}: {}\n {}: {}\n}}",
            operator.vouch_for(&operator, &kind("operator")),
            system.public(),
            account.public(),
            operator.vouch_for(&account, &with_streams),
            system.public(),
            operator.vouch_for(&system, &without),
        );
        Self { config, account }
    }

    /// Writes a `.creds` file for a new user of the account.
    pub fn write_user(&self, path: &Path) {
        let user = Key::new(4, USER);
        let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
        let token = self.account.vouch_for(&user, &claims);
        let seed = user.seed();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(path, text).unwrap();
    }
}

impl Key {
    fn new(number: u8, kind: u8) -> Self {
        let seed = [number; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        Self { seed, kind, pair }
    }

    fn public(&self) -> String {
        encoded(&[self.kind << 3], self.pair.public_key().as_ref())
    }

    fn seed(&self) -> String {
        let before = u16::from(SEED) << 11 | u16::from(self.kind) << 6;
        encoded(&before.to_be_bytes(), &self.seed)
    }

    /// A token with claims about `subject`, signed by this key.
    fn vouch_for(&self, subject: &Self, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let head = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
        let body = part(&json!({
            "jti": "1", "iat": 1, "iss": self.public(), "name": "test", "sub": subject.public(), "nats": claims,
        }));
        let signed = format!("{head}.{body}");
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

/// Base32 of the prefix, the key, and their CRC-16.
fn encoded(before: &[u8], key: &[u8]) -> String {
    let mut bytes = [before, key].concat();
    let sum = bytes.iter().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| (sum << 1) ^ (0x1021 * (sum >> 15)))
    });
    bytes.extend(sum.to_le_bytes());
    BASE32_NOPAD.encode(&bytes)
}
