//! A setting that may change over a run: a number, or a way from one number to another. A pure function of the
//! run's progress.

use std::{f64::consts::PI, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How far a run is: `step / (steps - 1)`, so that the first step, 0, has 0 and the last one 1. A run of one step
/// has 0.
pub fn progress(step: usize, steps: usize) -> f64 {
    let last = steps.saturating_sub(1);
    if last == 0 { 0.0 } else { step.min(last) as f64 / last as f64 }
}

/// A number over a run. Written `0.5`, `linear:FROM:TO` or `cosine:FROM:TO`, in settings as a number or as text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Scheduled {
    /// The same at every step.
    Constant(f64),
    /// From one number at the first step to another at the last.
    Changing {
        /// Along which line.
        line: Line,
        /// At the first step.
        from: f64,
        /// At the last.
        to: f64,
    },
}

/// How a setting gets from one number to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// By the same amount at every step.
    Linear,
    /// Along half a cosine: slowly at both ends.
    Cosine,
}

impl Scheduled {
    /// The number at a progress in `[0, 1]`, as [`progress`] tells it.
    pub fn at(self, progress: f64) -> f64 {
        let (line, from, to) = match self {
            Self::Constant(value) => return value,
            Self::Changing { line, from, to } => (line, from, to),
        };
        let done = match line {
            Line::Linear => progress,
            Line::Cosine => f64::midpoint(1.0, -(PI * progress).cos()),
        };
        // Exact at both ends.
        from * (1.0 - done) + to * done
    }

    /// The numbers that all others lie between.
    pub const fn ends(self) -> [f64; 2] {
        match self {
            Self::Constant(value) => [value, value],
            Self::Changing { from, to, .. } => [from, to],
        }
    }
}

impl From<f64> for Scheduled {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl FromStr for Scheduled {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.trim().parse().ok().filter(|number| f64::is_finite(*number));
        let parts: Vec<&str> = text.trim().split(':').collect();
        let read = match *parts {
            [value] => number(value).map(Self::Constant),
            [line @ ("linear" | "cosine"), from, to] => {
                let line = if line == "linear" { Line::Linear } else { Line::Cosine };
                let ends = number(from).zip(number(to));
                ends.map(|(from, to)| Self::Changing { line, from, to })
            }
            _ => None,
        };
        read.ok_or_else(|| {
            format!("{text:?} is neither a number nor linear:FROM:TO nor cosine:FROM:TO")
        })
    }
}

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Changing { line: Line::Linear, from, to } => write!(f, "linear:{from}:{to}"),
            Self::Changing { line: Line::Cosine, from, to } => write!(f, "cosine:{from}:{to}"),
        }
    }
}

/// The weight `α` of the hard part of a loss; the soft part weighs `1 - α`. Written as a [`Scheduled`] or `entropy`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Alpha {
    /// The same for all examples of a step.
    Scheduled(Scheduled),
    /// Each example its own, by how unsure its teacher is; see
    /// [`Balance::Entropy`](super::Balance::Entropy).
    Entropy,
}

impl From<f64> for Alpha {
    fn from(value: f64) -> Self {
        Self::Scheduled(value.into())
    }
}

impl FromStr for Alpha {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "entropy" {
            return Ok(Self::Entropy);
        }
        text.parse().map(Self::Scheduled).map_err(|wrong| format!("{wrong} nor entropy"))
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduled(scheduled) => scheduled.fmt(f),
            Self::Entropy => f.write_str("entropy"),
        }
    }
}

/// What a file of settings holds of either.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

impl TryFrom<Written> for Scheduled {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(value) => Ok(value.into()),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Scheduled> for Written {
    fn from(scheduled: Scheduled) -> Self {
        match scheduled {
            Scheduled::Constant(value) => Self::Number(value),
            changing @ Scheduled::Changing { .. } => Self::Text(changing.to_string()),
        }
    }
}

impl TryFrom<Written> for Alpha {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(value) => Ok(value.into()),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Alpha> for Written {
    fn from(alpha: Alpha) -> Self {
        match alpha {
            Alpha::Scheduled(scheduled) => scheduled.into(),
            Alpha::Entropy => Self::Text(alpha.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn along(text: &str) -> Vec<f64> {
        let scheduled: Scheduled = text.parse().unwrap();
        (0..5).map(|step| scheduled.at(progress(step, 5))).collect()
    }

    #[test]
    fn a_setting_goes_from_its_first_to_its_last_number() {
        assert_eq!(along("0.25"), [0.25; 5]);
        assert_eq!(along("linear:1:0"), [1.0, 0.75, 0.5, 0.25, 0.0]);
        // (1 - cos(π/4)) / 2 of the way after a quarter.
        let quarter = (1.0 - 0.5_f64.sqrt()) / 2.0;
        let expected = [4.0, 4.0 - 3.0 * quarter, 2.5, 1.0 + 3.0 * quarter, 1.0];
        let found = along("cosine:4:1");
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn progress_ends_at_one_and_a_single_step_is_the_first() {
        let told = |pairs: &[(usize, usize)]| -> Vec<f64> {
            pairs.iter().map(|&(step, steps)| progress(step, steps)).collect()
        };
        assert_eq!(told(&[(0, 3), (1, 3), (2, 3), (9, 3)]), vec![0.0, 0.5, 1.0, 1.0]);
        assert_eq!(told(&[(0, 1), (0, 0)]), vec![0.0, 0.0]);
    }

    #[test]
    fn settings_are_read_and_written_as_numbers_or_as_text() {
        for (written, text) in [
            (json!(0.5), "0.5"),
            (json!("linear:1:0.25"), "linear:1:0.25"),
            (json!("cosine:4:1"), "cosine:4:1"),
        ] {
            let scheduled: Scheduled = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(scheduled, text.parse().unwrap());
            assert_eq!(scheduled.to_string(), text);
            assert_eq!(serde_json::to_value(scheduled).unwrap(), written);
            let alpha: Alpha = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(alpha, Alpha::Scheduled(scheduled));
            assert_eq!(serde_json::to_value(alpha).unwrap(), written);
        }
        assert_eq!(serde_json::from_value::<Scheduled>(json!(2)).unwrap(), 2.0.into());
        assert_eq!(serde_json::from_value::<Scheduled>(json!("2")).unwrap(), 2.0.into());
        assert_eq!(serde_json::to_value(Alpha::Entropy).unwrap(), json!("entropy"));
        assert_eq!("entropy".parse(), Ok(Alpha::Entropy));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_what_would_be() {
        for wrong in ["", "warm", "linear:1", "linear:1:2:3", "square:1:2", "cosine:a:1", "nan"] {
            let said = wrong.parse::<Scheduled>().unwrap_err();
            assert!(said.contains("linear:FROM:TO"), "{said}");
            assert!(wrong.parse::<Alpha>().unwrap_err().ends_with("nor entropy"));
        }
        assert!("entropy".parse::<Scheduled>().is_err());
    }
}
