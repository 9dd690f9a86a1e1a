//! Position in a file that is recognised after it was renamed.

use serde::{Deserialize, Serialize};

/// A position in a file that may be renamed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// The device of the file. Device and inode identify the file.
    pub device: u64,
    /// The inode of the file.
    pub inode: u64,
    /// The number of bytes before the line.
    pub offset: u64,
    /// The beginning of the file. It detects an inode that was reused for another file.
    pub head: Head,
}

impl FilePosition {
    /// The beginning of the same file.
    #[must_use]
    pub fn beginning(&self) -> Self {
        Self { offset: 0, head: Head::default(), ..*self }
    }
}

/// A hash of the first bytes of a file, as far as they were acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many bytes were hashed.
    pub length: u64,
    /// FNV-1a of these bytes.
    pub hash: u64,
}

impl Default for Head {
    /// The head of no bytes, which every file matches.
    fn default() -> Self {
        Self::of(b"")
    }
}

impl Head {
    /// Maximum number of bytes to hash.
    pub const MAX: usize = 1024;

    /// The head of a file that begins with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(Self::MAX)];
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { length: bytes.len() as u64, hash }
    }
}
