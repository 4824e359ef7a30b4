//! What a model is asked of a text: one label of several, any number of labels, or a number. What a
//! task means for data, losses, reports and answers stands beside each of them; this is its name.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The kind of answer, as `problem_type` of `transformers` has it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Each text has exactly one label: softmax and cross-entropy
    #[default]
    SingleLabel,
    /// Each text has any number of labels, also none: a sigmoid and binary cross-entropy for each
    MultiLabel,
    /// Each text has a number: squared error
    Regression,
}

impl Task {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::SingleLabel, Self::MultiLabel, Self::Regression];

    /// As flags, cards and run folders spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "single-label",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
        }
    }

    /// As `problem_type` in `config.json` spells it.
    pub const fn problem_type(self) -> &'static str {
        match self {
            Self::SingleLabel => "single_label_classification",
            Self::MultiLabel => "multi_label_classification",
            Self::Regression => "regression",
        }
    }

    /// The task of that `problem_type`.
    pub fn of_problem_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.problem_type() == name)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_files_and_messages_spell_a_task_the_same_way() {
        for task in Task::ALL {
            let flag = task.to_possible_value().unwrap();
            assert_eq!(flag.get_name(), task.name());
            assert_eq!(serde_json::to_value(task).unwrap(), task.name());
            assert_eq!(Task::of_problem_type(task.problem_type()), Some(task));
        }
        assert_eq!(Task::of_problem_type("token_classification"), None);
    }
}
