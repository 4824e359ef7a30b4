//! Which format a file of word vectors has, by its first bytes, and its contents unpacked.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;

use super::{broken, fasttext, npy, text, unreadable};
use crate::text::TextError;

/// Enough for a first line and a vector of thousands of numbers.
const BUFFER: usize = 1 << 20;

/// A file whose format is known. Those that are read in another order than from front to back are opened by
/// their readers.
pub(super) enum Opened {
    Npy,
    FastText,
    Text(Box<dyn BufRead>),
    Word2Vec(Box<dyn BufRead>),
}

pub(super) fn open(path: &Path) -> Result<Opened, TextError> {
    let failed = unreadable(path);
    let mut file = BufReader::with_capacity(BUFFER, File::open(path).map_err(&failed)?);
    let start = file.fill_buf().map_err(&failed)?;
    let is = |magic: &[u8]| start.starts_with(magic);
    let unpacked: Box<dyn BufRead> = if is(npy::MAGIC) {
        return Ok(Opened::Npy);
    } else if is(&fasttext::MAGIC.to_le_bytes()) {
        return Ok(Opened::FastText);
    } else if is(b"PK\x03\x04") || is(b"7z\xbc\xaf") || is(b"\xfd7zXZ") {
        return Err(broken(path, "an archive; unpack it and name the file of vectors in it"));
    } else if is(b"\x1f\x8b") {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)))
    } else if is(b"BZh") {
        Box::new(BufReader::with_capacity(BUFFER, MultiBzDecoder::new(file)))
    } else {
        Box::new(file)
    };
    by_first_lines(path, unpacked)
}

/// word2vec's two formats begin with the same line; in text the numbers after the first word can be read.
fn by_first_lines(path: &Path, mut file: Box<dyn BufRead>) -> Result<Opened, TextError> {
    let mut start = vec![0; BUFFER / 2];
    let mut length = 0;
    // Decoders hand out little at a time.
    while length < start.len() {
        let read = file.read(&mut start[length..]).map_err(unreadable(path))?;
        if read == 0 {
            break;
        }
        length += read;
    }
    start.truncate(length);
    let mut lines = start.split(|&byte| byte == b'\n');
    let first = lines.next().map(<[u8]>::to_vec).unwrap_or_default();
    let second = lines.next().map(<[u8]>::to_vec).unwrap_or_default();
    let file: Box<dyn BufRead> = Box::new(std::io::Cursor::new(start).chain(file));
    let numbers = |line: &[u8]| text::fields_after_word(&String::from_utf8_lossy(line));
    match text::header(&first) {
        Some((_, width)) if numbers(&second) != Some(width) => Ok(Opened::Word2Vec(file)),
        Some(_) => Ok(Opened::Text(file)),
        None if numbers(&first).is_some_and(|width| width > 0) => Ok(Opened::Text(file)),
        None => Err(broken(
            path,
            "neither word2vec's text or binary format, nor GloVe's, fastText's or an .npy table",
        )),
    }
}
