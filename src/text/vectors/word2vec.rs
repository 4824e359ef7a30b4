//! word2vec's binary format: a line with the number of words and of numbers, then each word, a space and its
//! float32 values.

use std::{io::BufRead, path::Path};

use super::{Found, broken, floats, text::header, unreadable};
use crate::text::TextError;

/// No word is longer; beyond it the file is of another format.
const LONGEST_WORD: usize = 1 << 16;

/// Widest vectors that are believed.
const WIDEST: usize = 1 << 16;

pub(super) fn read(
    path: &Path,
    mut file: Box<dyn BufRead>,
    found: &mut Found<'_>,
) -> Result<usize, TextError> {
    let failed = unreadable(path);
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line).map_err(&failed)?;
    let (words, width) = header(&line)
        .filter(|(_, width)| *width <= WIDEST)
        .ok_or_else(|| broken(path, "begins without a number of words and of numbers"))?;
    let mut word = Vec::new();
    let mut values = vec![0; 4 * width];
    for number in 0..words {
        word.clear();
        file.read_until(b' ', &mut word).map_err(&failed)?;
        if word.last() != Some(&b' ') {
            let cause = format!("ends after {number} of {words} words; was it downloaded whole?");
            return Err(broken(path, cause));
        }
        if word.len() > LONGEST_WORD {
            return Err(broken(path, format!("word {number} has no end: not word2vec's format")));
        }
        file.read_exact(&mut values).map_err(&failed)?;
        // The program ends each vector with a line feed, which other writers leave out.
        let word = word[..word.len() - 1].trim_ascii_start();
        if let Some(word) = std::str::from_utf8(word).ok().and_then(|word| found.wants(word)) {
            found.add(word, floats(&values));
        }
    }
    Ok(width)
}
