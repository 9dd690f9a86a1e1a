//! Signature algorithms that fail when the signatures verified so far exceed a time budget. The time is an
//! estimate, the same on every machine.

use std::cell::Cell;
use std::sync::LazyLock;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

/// The cost of a signature in microseconds on one core of a server of 2020. P-384 has no optimized code.
const ECDSA_P384_US: u32 = 1_150;
const OTHER_US: u32 = 90;
/// RSA with a key of 1,024 bits and the largest exponent. The cost grows with the square of the length.
const RSA_1024_US: u32 = 25;

/// The usual exponent, 65537, at the end of a key. Other exponents take twice as long.
const USUAL_EXPONENT: &[u8] = &[0x02, 0x03, 0x01, 0x00, 0x01];

thread_local! {
    /// The rest of the budget of [`within`], and whether it was exceeded.
    static LEFT_US: Cell<u32> = const { Cell::new(0) };
    static EXCEEDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls `verify` with a budget for signatures. Returns `None` if it was exceeded.
pub(super) fn within<T>(budget_us: u32, verify: impl FnOnce() -> T) -> Option<T> {
    LEFT_US.set(budget_us);
    EXCEEDED.set(false);
    let result = verify();
    (!EXCEEDED.get()).then_some(result)
}

/// The provider with algorithms that work only [`within`] a budget.
pub(crate) fn metered(provider: &CryptoProvider) -> CryptoProvider {
    CryptoProvider { signature_verification_algorithms: *ALGORITHMS, ..provider.clone() }
}

type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// Created once and leaked: the library requires algorithms with a static lifetime.
static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
    let metered = |algorithms: Algorithms| -> Algorithms {
        let metered = algorithms.iter().map(|&algorithm| {
            let metered: &dyn SignatureVerificationAlgorithm =
                Box::leak(Box::new(Metered(algorithm)));
            metered
        });
        Vec::leak(metered.collect())
    };
    let WebPkiSupportedAlgorithms { all, mapping } =
        ring::default_provider().signature_verification_algorithms;
    let mapping = mapping.iter().map(|&(scheme, algorithms)| (scheme, metered(algorithms)));
    WebPkiSupportedAlgorithms { all: metered(all), mapping: Vec::leak(mapping.collect()) }
});

#[derive(Debug)]
struct Metered(&'static dyn SignatureVerificationAlgorithm);

impl Metered {
    fn cost_us(&self, public_key: &[u8]) -> u32 {
        match self.0.public_key_alg_id() {
            alg_id::ECDSA_P384 => ECDSA_P384_US,
            alg_id::RSA_ENCRYPTION => {
                // The encoded key consists of the modulus and a few bytes.
                let k = public_key.len() as u32 / 128;
                let cost_us = RSA_1024_US * k * k;
                if public_key.ends_with(USUAL_EXPONENT) { cost_us / 2 } else { cost_us }
            }
            _ => OTHER_US,
        }
    }
}

impl SignatureVerificationAlgorithm for Metered {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let Some(left) = LEFT_US.get().checked_sub(self.cost_us(public_key)) else {
            EXCEEDED.set(true);
            return Err(InvalidSignature);
        };
        LEFT_US.set(left);
        self.0.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}
