//! Vectors as text: a word and its numbers on each line, in word2vec's format after a line with the number of
//! words and of numbers, in `GloVe`'s without.

use std::{io::BufRead, path::Path};

use super::{Found, broken, unreadable};
use crate::text::TextError;

/// The first line of word2vec's formats: words and numbers of each.
pub(super) fn header(line: &[u8]) -> Option<(usize, usize)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split_whitespace();
    let header = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (fields.next().is_none() && header.1 > 0).then_some(header)
}

/// How many numbers follow the first word of a line, if nothing else does.
pub(super) fn fields_after_word(line: &str) -> Option<usize> {
    let (_, numbers) = line.trim_end().split_once([' ', '\t'])?;
    let mut count = 0;
    for field in numbers.split_ascii_whitespace() {
        field.parse::<f32>().ok()?;
        count += 1;
    }
    Some(count)
}

/// Word and numbers of a line. Some words of `GloVe` hold spaces, so that the numbers are the last ones.
fn parse(line: &str, width: usize) -> Option<(&str, Vec<f32>)> {
    let mut rest = line;
    let mut vector = Vec::with_capacity(width);
    for _ in 0..width {
        let (before, number) = rest.trim_end().rsplit_once([' ', '\t'])?;
        vector.push(number.parse().ok()?);
        rest = before;
    }
    vector.reverse();
    (!rest.is_empty()).then_some((rest, vector))
}

/// Reads all lines; the numbers of a vector.
pub(super) fn read(
    path: &Path,
    mut file: Box<dyn BufRead>,
    found: &mut Found<'_>,
) -> Result<usize, TextError> {
    let failed = unreadable(path);
    let mut line = Vec::new();
    let (mut number, mut words) = (0usize, 0usize);
    let mut announced = None;
    let mut width = 0;
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(&failed)? == 0 {
            break;
        }
        number += 1;
        if number == 1 {
            if let Some((words, stated)) = header(&line) {
                (announced, width) = (Some(words), stated);
                continue;
            }
            width = fields_after_word(&String::from_utf8_lossy(&line)).unwrap_or_default();
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        words += 1;
        // Words in another encoding than UTF-8 are in some files; no text holds them.
        let Ok(line) = std::str::from_utf8(&line) else { continue };
        let is_cut = !line.ends_with('\n');
        let line = line.trim_end();
        if is_cut && parse(line, width).is_none() {
            return Err(broken(
                path,
                format!("ends within line {number}; was it downloaded whole?"),
            ));
        }
        let first = line.split([' ', '\t']).next().unwrap_or_default();
        // Looked up before its numbers are parsed, which is what costs; a word with spaces is never wanted.
        let Some(word) = found.wants(first) else { continue };
        match parse(line, width) {
            Some((parsed, vector)) if parsed == first => found.add(word, vector),
            Some(_) => {}
            None => {
                return Err(broken(
                    path,
                    format!("line {number}: not {width} numbers after a word"),
                ));
            }
        }
    }
    match announced {
        Some(announced) if words < announced => Err(broken(
            path,
            format!("ends after {words} of {announced} words; was it downloaded whole?"),
        )),
        _ => Ok(width),
    }
}
