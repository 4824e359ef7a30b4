//! Numbers of flags, checked.

use lectern::commands::Usage;

/// A number that must lie between 0 and `top`.
pub(super) fn share(name: &str, value: f64, top: f64) -> Result<f64, Usage> {
    if (0.0..=top).contains(&value) {
        Ok(value)
    } else {
        Err(Usage(format!("--{name} {value}: must lie between 0 and {top}")))
    }
}

/// A number that must be more than 0.
pub(super) fn positive(name: &str, value: f64) -> Result<f64, Usage> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Usage(format!("--{name} {value}: must be positive")))
    }
}
