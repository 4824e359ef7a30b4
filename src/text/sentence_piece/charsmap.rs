//! A SentencePiece model's table of character replacements, checked before the library follows it.

use std::str;

use tokenizers::normalizers::Precompiled;

/// Reads a `precompiled_charsmap`: the size in bytes of a trie as a little-endian `u32`, the trie (a
/// double array of `u32` units, darts-clone), and the replacements, each ended by a zero byte.
///
/// The library follows offsets of the trie without a look at its size, so that a damaged table would
/// end the program at some text.
pub(super) fn read(table: &[u8]) -> Result<Precompiled, String> {
    let damaged = || "its table of character replacements is damaged".to_owned();
    let (size, rest) = table.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (trie, replacements) =
        rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or_else(damaged)?;
    let replacements = str::from_utf8(replacements).map_err(|_| damaged())?;
    let (units, []) = trie.as_chunks::<4>() else { return Err(damaged()) };
    let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    // Children are found by exclusive or with a byte, which stays inside a block of 256 units.
    let whole_blocks = !units.is_empty() && units.len().is_multiple_of(256);
    let inside = |(at, &unit): (usize, &u32)| {
        if unit >> 31 == 1 {
            replacements.is_char_boundary((unit & 0x7fff_ffff) as usize)
        } else {
            let offset = (unit >> 10) << ((unit & (1 << 9)) >> 6);
            (at ^ offset as usize) < units.len()
        }
    };
    if !whole_blocks || !units.iter().enumerate().all(inside) {
        return Err(damaged());
    }
    Precompiled::from(table).map_err(|cause| cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One block: the root's children start at unit 0 ^ 1; none is there.
    fn table(unit: u32, replacements: &str) -> Vec<u8> {
        let mut units = [0_u32; 256];
        units[7] = unit;
        let trie = units.map(u32::to_le_bytes).concat();
        [&1024_u32.to_le_bytes()[..], &trie, replacements.as_bytes()].concat()
    }

    #[test]
    fn a_damaged_table_is_refused_before_it_meets_a_text() {
        assert!(read(&table(0, "a\0")).is_ok());
        assert!(read(&table(1 << 31 | 2, "\u{e9}\0")).is_ok());
        assert!(read(&table(1 << 31 | 1, "\u{e9}\0")).is_err(), "in the middle of a character");
        assert!(read(&table(1 << 31 | 9, "a\0")).is_err(), "behind the last replacement");
        assert!(read(&table(300 << 10, "a\0")).is_err(), "behind the last unit");
        let whole = table(0, "a\0");
        for length in [0, 3, 4, 500, 1023] {
            assert!(read(&whole[..length]).is_err(), "cut to {length}");
        }
        assert!(read(&[0; 4]).is_err(), "no trie");
    }
}
