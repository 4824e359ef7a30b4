//! What a model's outputs are: the task, and their names in order. Matches two sets by name, so that a
//! teacher and a student may number the same classes differently.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::error::listed;
use super::read::read_utf8;
use super::{DataError, Task};

/// Distinct names in order, one for each output of a model; the index of a name is its class. A
/// single-label task has at least two, a multi-label task at least one, a regression one, which only
/// serves people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSet {
    task: Task,
    names: Vec<String>,
}

/// A list of names that is no label set, or two sets that do not have the same names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum LabelError {
    #[error("a {task} task needs {}, there {}", wanted(*.task), there_are(*.found))]
    Count { task: Task, found: usize },
    #[error("label {name:?} stands twice in the list, at {first} and {second}")]
    Twice { name: String, first: usize, second: usize },
    #[error("label {position} of the list is empty")]
    Unnamed { position: usize },
    #[error(
        "the label sets differ: {} only here, {} only there; train and teach with the same labels \
         (their order may differ)", listed(.here), listed(.there)
    )]
    Differ { here: Vec<String>, there: Vec<String> },
    #[error("the task is {here} here and {there} there")]
    Tasks { here: Task, there: Task },
}

const fn wanted(task: Task) -> &'static str {
    match task {
        Task::SingleLabel => "at least 2 labels",
        Task::MultiLabel => "at least 1 label",
        Task::Regression => "exactly 1 name, its output's",
    }
}

fn there_are(found: usize) -> String {
    if found == 1 { "is 1".to_owned() } else { format!("are {found}") }
}

impl LabelSet {
    /// The labels of a single-label task.
    pub fn new(names: Vec<String>) -> Result<Self, LabelError> {
        Self::of_task(Task::SingleLabel, names)
    }

    /// Checks that the names are distinct, not empty and as many as the task can have.
    pub fn of_task(task: Task, names: Vec<String>) -> Result<Self, LabelError> {
        let mut seen = HashMap::with_capacity(names.len());
        for (position, name) in (1..).zip(&names) {
            if name.trim().is_empty() {
                return Err(LabelError::Unnamed { position });
            }
            if let Some(first) = seen.insert(name, position) {
                let (name, second) = (name.clone(), position);
                return Err(LabelError::Twice { name, first, second });
            }
        }
        let fits = match task {
            Task::SingleLabel => names.len() >= 2,
            Task::MultiLabel => !names.is_empty(),
            Task::Regression => names.len() == 1,
        };
        if !fits {
            return Err(LabelError::Count { task, found: names.len() });
        }
        Ok(Self { task, names })
    }

    /// Reads a JSON array of names (ending `.json`), or else one name per line.
    pub fn from_file(path: &Path, task: Task) -> Result<Self, DataError> {
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
        Self::of_task(task, names)
            .map_err(|source| DataError::Labels { path: path.to_owned(), source })
    }

    /// What the outputs say.
    pub const fn task(&self) -> Task {
        self.task
    }

    /// The names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of outputs, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a label set is never empty")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The class called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// For each class of this set, the class of `other` with the same name, whatever the order. Of two
    /// regressions the outputs correspond, whatever they are called.
    pub fn mapping_to(&self, other: &Self) -> Result<Vec<usize>, LabelError> {
        if self.task != other.task {
            return Err(LabelError::Tasks { here: self.task, there: other.task });
        }
        if self.task == Task::Regression {
            return Ok(vec![0]);
        }
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
    fn names_are_distinct_not_empty_and_as_many_as_the_task_has() {
        let made = |task, names: &[&str]| {
            LabelSet::of_task(task, names.iter().map(ToString::to_string).collect())
        };
        let refused = |names: &[&str]| made(Task::SingleLabel, names).unwrap_err();
        assert_eq!(refused(&["a", " "]), LabelError::Unnamed { position: 2 });
        let twice = LabelError::Twice { name: "a".to_owned(), first: 1, second: 3 };
        assert_eq!(refused(&["a", "b", "a"]), twice);
        for (task, least, most) in
            [(Task::SingleLabel, 2, 3), (Task::MultiLabel, 1, 3), (Task::Regression, 1, 1)]
        {
            for found in 0..=3 {
                let result = made(task, &["a", "b", "c"][..found]);
                if (least..=most).contains(&found) {
                    assert_eq!(result.unwrap().task(), task);
                } else {
                    assert_eq!(result.unwrap_err(), LabelError::Count { task, found });
                }
            }
        }
        assert_eq!(
            refused(&["one"]).to_string(),
            "a single-label task needs at least 2 labels, there is 1"
        );
    }

    #[test]
    fn sets_of_different_tasks_do_not_match_and_a_number_has_whatever_name() {
        let made = |task, names: &[&str]| {
            LabelSet::of_task(task, names.iter().map(ToString::to_string).collect()).unwrap()
        };
        let error = made(Task::MultiLabel, &["a", "b"]).mapping_to(&set(&["a", "b"])).unwrap_err();
        assert_eq!(error.to_string(), "the task is multi-label here and single-label there");
        let (ours, theirs) =
            (made(Task::Regression, &["score"]), made(Task::Regression, &["LABEL_0"]));
        assert_eq!(ours.mapping_to(&theirs).unwrap(), [0]);
    }

    #[test]
    fn a_label_file_has_lines_or_a_json_array() {
        let lines = file("labels.txt", "\u{feff}car\r\nedu \r\n体育\r\n\r\n");
        assert_eq!(
            LabelSet::from_file(&lines.1, Task::SingleLabel).unwrap(),
            set(&["car", "edu", "体育"])
        );
        let array = file("labels.json", "[\"b\",\n\"a\"]");
        assert_eq!(LabelSet::from_file(&array.1, Task::SingleLabel).unwrap(), set(&["b", "a"]));
    }

    #[test]
    fn a_bad_label_file_is_named() {
        let gap = file("labels.txt", "car\n\nedu\n");
        let message = LabelSet::from_file(&gap.1, Task::SingleLabel).unwrap_err().to_string();
        assert!(message.ends_with("labels.txt: label 2 of the list is empty"), "{message}");
        let object = file("labels.json", "\n{\"0\": \"car\"}");
        let message = LabelSet::from_file(&object.1, Task::SingleLabel).unwrap_err().to_string();
        assert!(message.contains("labels.json:2: not valid JSON array of names"), "{message}");
    }
}
