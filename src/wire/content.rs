//! The hash that ties a row to the text it answers.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::LazyLock,
};

/// The start of every hash: deriving the key from its context takes half as long as hashing a headline.
static CONTENT: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("lectern.v1 example content"));

/// First 16 bytes of the BLAKE3 hash of an example's text and pair; labels do not enter.
///
/// Two examples with the same hash get the same row, whoever sent them. 128 bits make an accidental
/// collision among a billion examples less likely than 1 in 10^20.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; Self::BYTES]);

impl ContentHash {
    /// Bytes of a hash on the wire and in the label store.
    pub const BYTES: usize = 16;

    /// Hashes `text` and `text_pair` as `proto/lectern/v1/teacher.proto` defines it. Lengths go in
    /// before the bytes, so that ("ab", "c") and ("a", "bc") differ.
    pub fn new(text: &str, text_pair: Option<&str>) -> Self {
        let mut hasher = CONTENT.clone();
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
        match text_pair {
            None => {
                hasher.update(&[0]);
            }
            Some(pair) => {
                hasher.update(&[1]);
                hasher.update(&(pair.len() as u64).to_le_bytes());
                hasher.update(pair.as_bytes());
            }
        }
        let mut bytes = [0; Self::BYTES];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }

    /// A hash as it came from the wire or from the store.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The hash as it travels.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A map by content.
pub type ByContent<V> = HashMap<ContentHash, V, BuildHasherDefault<HashedAlready>>;

/// Takes eight bytes of a [`ContentHash`] as they are: BLAKE3 has mixed them. Whoever chooses the texts
/// can still choose such bytes, so it is for maps of one's own texts.
#[derive(Debug, Default, Clone, Copy)]
pub struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_not_its_concatenation() {
        let hashes = [
            ContentHash::new("ab", Some("c")),
            ContentHash::new("a", Some("bc")),
            ContentHash::new("abc", None),
            ContentHash::new("abc", Some("")),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(hashes[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn the_hash_follows_the_contract_byte_by_byte() {
        let mut message = 2u64.to_le_bytes().to_vec();
        message.extend(b"ab\x01");
        message.extend(1u64.to_le_bytes());
        message.extend(b"c");
        let expected = blake3::derive_key("lectern.v1 example content", &message);
        assert_eq!(ContentHash::new("ab", Some("c")).as_bytes(), &expected[..16]);
    }
}
