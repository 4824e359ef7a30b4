//! A table of vectors as numpy saves it (NEP 1), in row or column order, with its words in another file.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

use half::f16;

use super::{Found, broken, unreadable};
use crate::text::TextError;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is believed.
const LONGEST_HEADER: usize = 1 << 16;

/// What the header says.
struct Layout {
    bytes: usize,
    by_columns: bool,
    rows: usize,
    width: usize,
}

/// The text after `key` in numpy's header, a Python dictionary.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn layout(path: &Path, file: &mut impl Read) -> Result<Layout, TextError> {
    let failed = unreadable(path);
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(&failed)?;
    let mut size = [0; 4];
    // Version 1 has two bytes for the header's length.
    let bytes = if start[6] == 1 { 2 } else { 4 };
    file.read_exact(&mut size[..bytes]).map_err(&failed)?;
    let size = u32::from_le_bytes(size) as usize;
    if size > LONGEST_HEADER {
        return Err(broken(path, format!("its header would take {size} bytes")));
    }
    let mut header = vec![0; size];
    file.read_exact(&mut header).map_err(&failed)?;
    let header = String::from_utf8_lossy(&header);
    let kind =
        value(&header, "descr").and_then(|v| v.split(['\'', '"']).nth(1)).unwrap_or_default();
    let bytes = match kind {
        "<f2" => 2,
        "<f4" => 4,
        "<f8" => 8,
        other => {
            let cause = format!("holds values of type {other:?}; save it as float32, \"<f4\"");
            return Err(broken(path, cause));
        }
    };
    let shape = value(&header, "shape").and_then(|v| v.strip_prefix('(')?.split(')').next());
    let shape: Option<Vec<usize>> = shape.and_then(|shape| {
        shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().ok()).collect()
    });
    let Some([rows, width]) = shape.as_deref() else {
        return Err(broken(
            path,
            "not a table: its shape must have two dimensions, words and numbers",
        ));
    };
    let by_columns = value(&header, "fortran_order").is_some_and(|v| v.starts_with("True"));
    Ok(Layout { bytes, by_columns, rows: *rows, width: *width })
}

fn number(bytes: &[u8]) -> f32 {
    match bytes.len() {
        2 => bytes.try_into().map_or(f32::NAN, |bytes| f16::from_le_bytes(bytes).to_f32()),
        4 => bytes.try_into().map_or(f32::NAN, f32::from_le_bytes),
        _ => bytes.try_into().map_or(f32::NAN, |bytes| f64::from_le_bytes(bytes) as f32),
    }
}

/// Reads both files; the numbers of a vector.
pub(super) fn read(path: &Path, names: &Path, found: &mut Found<'_>) -> Result<usize, TextError> {
    let failed = unreadable(path);
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(&failed)?);
    let Layout { bytes, by_columns, rows, width } = layout(path, &mut file)?;
    // The rows that are wanted, in order.
    let mut wanted: Vec<(usize, (String, bool))> = Vec::new();
    let mut count = 0;
    let words = BufReader::new(File::open(names).map_err(unreadable(names))?);
    for (row, line) in words.lines().enumerate() {
        let line = line.map_err(unreadable(names))?;
        count += 1;
        wanted.extend(found.wants(line.trim()).map(|word| (row, word)));
    }
    if count != rows {
        let cause = format!("has {count} lines, {} {rows} vectors", path.display());
        return Err(broken(names, cause));
    }
    let (outer, inner) = if by_columns { (width, rows) } else { (rows, width) };
    let mut vectors = vec![Vec::with_capacity(width); wanted.len()];
    let mut line = vec![0; inner * bytes];
    let mut next = 0;
    for at in 0..outer {
        file.read_exact(&mut line).map_err(&failed)?;
        if by_columns {
            for (vector, (row, _)) in vectors.iter_mut().zip(&wanted) {
                vector.push(number(&line[row * bytes..(row + 1) * bytes]));
            }
        } else if wanted.get(next).is_some_and(|(row, _)| *row == at) {
            vectors[next].extend(line.chunks_exact(bytes).map(number));
            next += 1;
        }
    }
    for ((_, word), vector) in wanted.into_iter().zip(vectors) {
        found.add(word, vector);
    }
    Ok(width)
}
