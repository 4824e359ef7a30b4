//! Aligned tables on a terminal: first column to the left, the others to the right.

use std::fmt::Write as _;

/// Renders a header and rows of the same width.
pub(crate) fn render<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&header]).map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    });
    let rule = widths.map(|width| "-".repeat(width));
    let mut text = String::new();
    for row in [&header, &rule].into_iter().chain(rows) {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_under_each_other() {
        let rows = [["a".into(), "1".into()], ["bcd".into(), "1,000".into()]];
        let expected = "\
            name  count\n\
            ----  -----\n\
            a         1\n\
            bcd   1,000\n";
        assert_eq!(render(["name", "count"], &rows), expected);
    }

    #[test]
    fn thousands_are_grouped_from_the_right() {
        assert_eq!([7, 999, 1_000, 22_713_216].map(grouped), ["7", "999", "1,000", "22,713,216"]);
    }
}
