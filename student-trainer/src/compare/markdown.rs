//! Numbers and tables as Markdown that also lines up on a terminal. Widths count characters.

use std::fmt;

use lectern::metrics::Sample;

/// Rows of as many cells as there are columns; the first column is text, the others are set to the right.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: Vec<String>) -> Self {
        Self { rows: vec![head] }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A bar within a cell would end it.
        let cell = |cell: &String| cell.replace('|', "\\|");
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        for (index, row) in rows.iter().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if index == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width);
                    if column == 0 {
                        write!(f, "|:{dashes}-|")?;
                    } else {
                        write!(f, "-{dashes}:|")?;
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// The value, or mean ± sample standard deviation of several; nothing of none.
pub(super) fn with_spread(values: &[f64]) -> String {
    match values {
        [] => String::new(),
        [value] => number(*value),
        values => {
            let Sample { mean, sd, .. } = Sample::new(values);
            if sd == 0.0 { number(mean) } else { format!("{} ± {}", number(mean), number(sd)) }
        }
    }
}

/// Whole from 1,000 on, for those are counts; else with four decimals, or two digits where these would all be 0.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "undefined".to_owned()
    } else if size >= 1000.0 || (size >= 1.0 && value.fract() == 0.0 && size > 1.0) {
        format!("{value:.0}")
    } else if size > 0.0 && size < 1e-4 {
        format!("{value:.1e}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_need_to_be() {
        for (value, text) in [
            (0.75, "0.7500"),
            (1.0, "1.0000"),
            (0.0, "0.0000"),
            (960_003.0, "960003"),
            (12_345.6, "12346"),
            (42.0, "42"),
            (0.000_012_34, "1.2e-5"),
            (f64::NAN, "undefined"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(with_spread(&[0.5, 0.7]), "0.6000 ± 0.1414");
        assert_eq!(with_spread(&[4200.0, 4200.0]), "4200");
        assert_eq!(with_spread(&[]), "");
    }

    #[test]
    fn tables_line_up_and_bars_stay_in_their_cell() {
        let mut table = Table::new(vec!["run".to_owned(), "f1".to_owned()]);
        table.row(vec!["a|b".to_owned(), "0.5000".to_owned()]);
        let expected = "\
| run  |     f1 |
|:-----|-------:|
| a\\|b | 0.5000 |
";
        assert_eq!(table.to_string(), expected);
    }
}
