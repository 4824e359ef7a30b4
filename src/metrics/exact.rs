//! Any float64 in JSON, for `#[serde(with = "exact")]`: as text, because JSON has no number for a score of minus infinity,
//! which an undefined one counts as.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes the shortest text that reads back as the same number.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads it back.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}
