//! fastText's own model file, `.bin` (versions 11 and 12): a dictionary, then a vector for each word and each
//! bucket of character n-grams; a word's vector is the mean of its own and those of its n-grams
//! (Bojanowski et al. 2017, arXiv 1607.04606; `FastText::getWordVector`). Words outside its dictionary have none
//! here.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

use super::{Found, broken, floats, unreadable};
use crate::text::TextError;

pub(super) const MAGIC: u32 = 793_712_314;

/// What a classifier calls itself.
const SUPERVISED: i32 = 3;

/// No word is longer.
const LONGEST_WORD: usize = 1 << 16;

/// Which n-grams of characters have vectors.
struct NGrams {
    shortest: usize,
    longest: usize,
    buckets: u32,
    words: i64,
}

impl NGrams {
    /// Rows of the n-grams of a word, as `Dictionary::computeSubwords` finds them.
    fn rows(&self, word: &str) -> Vec<i64> {
        let word = format!("<{word}>");
        let starts: Vec<usize> =
            word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        let last = starts.len() - 1;
        let mut rows = Vec::new();
        for first in 0..last {
            for length in self.shortest.max(1)..=self.longest {
                let end = first + length;
                if end > last {
                    break;
                }
                // The marks of beginning and end are no n-grams of their own.
                if length == 1 && (first == 0 || end == last) {
                    continue;
                }
                let bucket = hash(&word.as_bytes()[starts[first]..starts[end]]) % self.buckets;
                rows.push(self.words + i64::from(bucket));
            }
        }
        rows
    }
}

/// FNV-1a with sign-extended bytes, as fastText has it.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |hash: u32, &byte| {
        (hash ^ i32::from(byte.cast_signed()).cast_unsigned()).wrapping_mul(16_777_619)
    })
}

fn int32(file: &mut impl Read) -> std::io::Result<i32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(i32::from_le_bytes(bytes))
}

fn int64(file: &mut impl Read) -> std::io::Result<i64> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}

/// Reads the dictionary, then the rows of wanted words; the numbers of a vector.
pub(super) fn read(path: &Path, found: &mut Found<'_>) -> Result<usize, TextError> {
    let failed = unreadable(path);
    let mut file = BufReader::new(File::open(path).map_err(&failed)?);
    let mut next = || int32(&mut file).map_err(&failed);
    let (_magic, version) = (next()?, next()?);
    if !(11..=12).contains(&version) {
        let cause = format!("fastText's format of version {version}; 11 and 12 can be read");
        return Err(broken(path, cause));
    }
    // dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate
    let arguments = (0..12).map(|_| next()).collect::<Result<Vec<_>, _>>()?;
    let [width, .., model, buckets, shortest, longest, _] = arguments[..] else {
        return Err(broken(path, "has no arguments"));
    };
    let _sampling = int64(&mut file).map_err(&failed)?;
    let mut next = || int32(&mut file).map_err(&failed);
    let (entries, words, _labels) = (next()?, next()?, next()?);
    let (_tokens, pruned) =
        (int64(&mut file).map_err(&failed)?, int64(&mut file).map_err(&failed)?);
    if width <= 0 || words < 0 || entries < words {
        return Err(broken(path, "not a whole fastText model"));
    }

    let mut wanted = Vec::new();
    let mut word = Vec::new();
    for row in 0..i64::from(entries) {
        word.clear();
        (&mut file).take(LONGEST_WORD as u64).read_until(0, &mut word).map_err(&failed)?;
        let (_count, mut kind) = (int64(&mut file).map_err(&failed)?, [0]);
        file.read_exact(&mut kind).map_err(&failed)?;
        let word = word.strip_suffix(&[0]).unwrap_or(&word);
        let Ok(word) = std::str::from_utf8(word) else { continue };
        if row < i64::from(words) && kind[0] == 0 {
            wanted.extend(found.wants(word).map(|wanted| (row, word.to_owned(), wanted)));
        }
    }
    let mut quantised = [0];
    if pruned > 0 {
        return Err(broken(path, "a fastText model whose n-grams were pruned; use the whole one"));
    }
    file.read_exact(&mut quantised).map_err(&failed)?;
    if quantised[0] != 0 {
        return Err(broken(path, "a quantised fastText model; use the one that is not, .bin"));
    }
    let (rows, columns) = (int64(&mut file).map_err(&failed)?, int64(&mut file).map_err(&failed)?);
    if columns != i64::from(width) {
        return Err(broken(path, format!("vectors of {columns} numbers where {width} are stated")));
    }
    // A classifier of version 11 has no n-grams of characters.
    let has_none = (version == 11 && model == SUPERVISED) || buckets <= 0 || longest <= 0;
    let n_grams = NGrams {
        shortest: shortest.max(0) as usize,
        longest: if has_none { 0 } else { longest as usize },
        buckets: buckets.max(1).unsigned_abs(),
        words: i64::from(words),
    };

    let start = file.stream_position().map_err(&failed)?;
    let mut values = vec![0; 4 * width as usize];
    for (row, spelling, word) in wanted {
        let mut all = vec![row];
        if spelling != "</s>" {
            all.extend(n_grams.rows(&spelling));
        }
        let mut mean = vec![0f32; width as usize];
        for row in &all {
            if *row >= rows {
                return Err(broken(
                    path,
                    format!("has {rows} vectors, {spelling:?} needs number {row}"),
                ));
            }
            let at = start + (row * i64::from(width) * 4) as u64;
            file.seek(SeekFrom::Start(at)).map_err(&failed)?;
            file.read_exact(&mut values).map_err(&failed)?;
            for (sum, value) in mean.iter_mut().zip(floats(&values)) {
                *sum += value;
            }
        }
        for sum in &mut mean {
            *sum /= all.len() as f32;
        }
        found.add(word, mean);
    }
    Ok(width as usize)
}
