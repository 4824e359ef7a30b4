//! The names of the classes, in order. Matches two sets by name, so that a teacher and a student
//! may number the same classes differently.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DataError;
use super::error::listed;
use super::read::read_utf8;

/// At least two distinct names in order; the index of a name is its class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct LabelSet {
    names: Vec<String>,
}

/// A list of names that is no label set, or two sets that do not have the same names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum LabelError {
    #[error("a classifier needs at least 2 labels, there are {found}")]
    TooFew { found: usize },
    #[error("label {name:?} stands twice in the list, at {first} and {second}")]
    Twice { name: String, first: usize, second: usize },
    #[error("label {position} of the list is empty")]
    Unnamed { position: usize },
    #[error(
        "the label sets differ: {} only here, {} only there; train and teach with the same labels \
         (their order may differ)", listed(.here), listed(.there)
    )]
    Differ { here: Vec<String>, there: Vec<String> },
}

impl LabelSet {
    /// Checks that the names are distinct, not empty and at least two.
    pub fn new(names: Vec<String>) -> Result<Self, LabelError> {
        for (index, name) in names.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(LabelError::Unnamed { position: index + 1 });
            }
            if let Some(first) = names[..index].iter().position(|earlier| earlier == name) {
                let (first, second) = (first + 1, index + 1);
                return Err(LabelError::Twice { name: name.clone(), first, second });
            }
        }
        if names.len() < 2 {
            return Err(LabelError::TooFew { found: names.len() });
        }
        Ok(Self { names })
    }

    /// Reads a JSON array of names (ending `.json`), or else one name per line.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let text = read_utf8(path)?;
        let names = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            serde_json::from_str(&text).map_err(|error| DataError::Malformed {
                path: path.to_owned(),
                line: error.line(),
                format: "JSON array of names",
                cause: super::json::cause(&error),
            })?
        } else {
            text.trim_end().lines().map(|line| line.trim().to_owned()).collect()
        };
        Self::new(names).map_err(|source| DataError::Labels { path: path.to_owned(), source })
    }

    /// The names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of classes, at least 2.
    #[expect(clippy::len_without_is_empty, reason = "a label set is never empty")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The class called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// For each class of this set, the class of `other` with the same name, whatever the order.
    pub fn mapping_to(&self, other: &Self) -> Result<Vec<usize>, LabelError> {
        let here = self.without(other);
        let there = other.without(self);
        if here.is_empty() && there.is_empty() {
            Ok(self.names.iter().filter_map(|name| other.index_of(name)).collect())
        } else {
            Err(LabelError::Differ { here, there })
        }
    }

    fn without(&self, other: &Self) -> Vec<String> {
        let known: HashSet<&String> = other.names.iter().collect();
        self.names.iter().filter(|name| !known.contains(name)).cloned().collect()
    }
}

impl TryFrom<Vec<String>> for LabelSet {
    type Error = LabelError;

    fn try_from(names: Vec<String>) -> Result<Self, LabelError> {
        Self::new(names)
    }
}

impl From<LabelSet> for Vec<String> {
    fn from(labels: LabelSet) -> Self {
        labels.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> LabelSet {
        LabelSet::new(names.iter().map(ToString::to_string).collect()).unwrap()
    }

    fn file(name: &str, contents: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        (folder, path)
    }

    #[test]
    fn sets_match_by_name_whatever_the_order() {
        let (student, teacher) = (set(&["car", "edu", "game"]), set(&["game", "car", "edu"]));
        assert_eq!(student.mapping_to(&teacher).unwrap(), [1, 2, 0]);
    }

    #[test]
    fn sets_that_differ_name_what_is_missing_on_both_sides() {
        let error = set(&["car", "edu", "news"]).mapping_to(&set(&["edu", "game"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the label sets differ: \"car\", \"news\" only here, \"game\" only there; train and \
             teach with the same labels (their order may differ)"
        );
        assert!(set(&["a", "b"]).mapping_to(&set(&["a", "b", "c"])).is_err());
    }

    #[test]
    fn names_are_distinct_not_empty_and_at_least_two() {
        let refused = |names: &[&str]| {
            LabelSet::new(names.iter().map(ToString::to_string).collect()).unwrap_err()
        };
        assert_eq!(refused(&["one"]), LabelError::TooFew { found: 1 });
        assert_eq!(refused(&["a", " "]), LabelError::Unnamed { position: 2 });
        let twice = LabelError::Twice { name: "a".to_owned(), first: 1, second: 3 };
        assert_eq!(refused(&["a", "b", "a"]), twice);
    }

    #[test]
    fn a_label_file_has_lines_or_a_json_array() {
        let lines = file("labels.txt", "\u{feff}car\r\nedu \r\n体育\r\n\r\n");
        assert_eq!(LabelSet::from_file(&lines.1).unwrap(), set(&["car", "edu", "体育"]));
        let array = file("labels.json", "[\"b\",\n\"a\"]");
        assert_eq!(LabelSet::from_file(&array.1).unwrap(), set(&["b", "a"]));
    }

    #[test]
    fn a_bad_label_file_is_named() {
        let gap = file("labels.txt", "car\n\nedu\n");
        let message = LabelSet::from_file(&gap.1).unwrap_err().to_string();
        assert!(message.ends_with("labels.txt: label 2 of the list is empty"), "{message}");
        let object = file("labels.json", "\n{\"0\": \"car\"}");
        let message = LabelSet::from_file(&object.1).unwrap_err().to_string();
        assert!(message.contains("labels.json:2: not valid JSON array of names"), "{message}");
    }

    #[test]
    fn a_set_travels_as_an_array_and_is_checked_on_the_way_in() {
        let json = serde_json::to_string(&set(&["neg", "pos"])).unwrap();
        assert_eq!(json, "[\"neg\",\"pos\"]");
        assert!(serde_json::from_str::<LabelSet>("[\"neg\",\"neg\"]").is_err());
    }
}
