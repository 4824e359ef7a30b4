//! A setting that is one value or a list of them in a file: `#[serde(with = "one_or_many")]`.
//!
//! `serde_with` has the like, but with it nine packages for formats of time and hexadecimal digits enter the lock file.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "one value or a list of them")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// One value as itself, several as a list.
#[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
pub(super) fn serialize<T: Serialize, S: Serializer>(
    values: &Option<Vec<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match values.as_deref() {
        Some([one]) => one.serialize(serializer),
        several => several.serialize(serializer),
    }
}

/// Either of them.
pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Ok(Some(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    }))
}
