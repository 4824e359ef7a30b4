//! The teacher's card: what a student must know of a teacher before it trusts a row.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Encoding, WireError, proto};
use crate::data::{LabelError, LabelSet, Task};

/// Hash of everything that can change a teacher's answer; 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint behind a finished hash.
    pub fn from_hash(hash: &blake3::Hash) -> Self {
        Self(hash.to_hex().to_string())
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = WireError;

    fn from_str(digits: &str) -> Result<Self, WireError> {
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(digits.to_ascii_lowercase()))
        } else {
            Err(WireError::Card("fingerprint of 64 hexadecimal digits"))
        }
    }
}

/// What one stream may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Examples in flight.
    pub credits: usize,
    /// Bytes of UTF-8 in one example.
    pub max_example_bytes: usize,
    /// Bytes of one message.
    pub max_message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // 1,024 examples in flight keep a GPU that takes 256 at once busy across a round trip. 64 KiB
        // is ten times the longest input of any encoder; 4 MiB is what gRPC peers accept by default.
        Self { credits: 1024, max_example_bytes: 64 << 10, max_message_bytes: 4 << 20 }
    }
}

/// A teacher as it presents itself; see the contract for each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeacherCard {
    /// Identity of the teacher: other fingerprint, other rows.
    pub fingerprint: Fingerprint,
    /// The model folder's name.
    pub name: String,
    /// What the values of a row say. Cards written before there were others are of single-label teachers.
    #[serde(default)]
    pub task: Task,
    /// Label names; `labels[c]` belongs to value `c` of every row.
    pub labels: Vec<String>,
    /// Family and size, for people.
    pub architecture: String,
    /// Number of trained values.
    pub parameters: u64,
    /// Longest input in tokens.
    pub max_length: usize,
    /// Arithmetic type of the forward pass.
    pub arithmetic: String,
    /// What one stream may do.
    pub limits: Limits,
    /// Encodings to choose from.
    pub encodings: Vec<Encoding>,
    /// Models behind this teacher; more than 1 for an ensemble.
    #[serde(default = "one")]
    pub members: usize,
    /// What stands for a hidden word in a text, where its tokenizer has such a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_token: Option<String>,
}

/// Cards written before there were ensembles.
const fn one() -> usize {
    1
}

impl TeacherCard {
    /// The labels with the task; an error only for a card that was not checked on arrival.
    pub fn label_set(&self) -> Result<LabelSet, LabelError> {
        LabelSet::of_task(self.task, self.labels.clone())
    }
}

impl From<Task> for proto::Task {
    fn from(task: Task) -> Self {
        match task {
            Task::SingleLabel => Self::SingleLabel,
            Task::MultiLabel => Self::MultiLabel,
            Task::Regression => Self::Regression,
        }
    }
}

fn task(number: i32) -> Result<Task, WireError> {
    match proto::Task::try_from(number) {
        Ok(proto::Task::Unspecified | proto::Task::SingleLabel) => Ok(Task::SingleLabel),
        Ok(proto::Task::MultiLabel) => Ok(Task::MultiLabel),
        Ok(proto::Task::Regression) => Ok(Task::Regression),
        Err(_) => Err(WireError::Unknown { what: "task", number }),
    }
}

impl From<&TeacherCard> for proto::TeacherCard {
    fn from(card: &TeacherCard) -> Self {
        Self {
            fingerprint: card.fingerprint.to_string(),
            name: card.name.clone(),
            task: proto::Task::from(card.task).into(),
            labels: card.labels.clone(),
            architecture: card.architecture.clone(),
            parameters: card.parameters,
            max_length: card.max_length as u32,
            arithmetic: card.arithmetic.clone(),
            limits: Some(proto::Limits {
                credits: card.limits.credits as u32,
                max_example_bytes: card.limits.max_example_bytes as u32,
                max_message_bytes: card.limits.max_message_bytes as u32,
            }),
            encodings: card.encodings.iter().map(|&e| proto::Encoding::from(e).into()).collect(),
            members: card.members as u32,
            mask_token: card.mask_token.clone().unwrap_or_default(),
        }
    }
}

impl TryFrom<proto::TeacherCard> for TeacherCard {
    type Error = WireError;

    fn try_from(card: proto::TeacherCard) -> Result<Self, WireError> {
        let limits = card.limits.ok_or(WireError::Card("limits"))?;
        if limits.credits == 0 {
            return Err(WireError::Card("credits"));
        }
        let task = task(card.task)?;
        LabelSet::of_task(task, card.labels.clone())?;
        Ok(Self {
            task,
            fingerprint: card.fingerprint.parse()?,
            name: card.name,
            labels: card.labels,
            architecture: card.architecture,
            parameters: card.parameters,
            max_length: card.max_length as usize,
            arithmetic: card.arithmetic,
            limits: Limits {
                credits: limits.credits as usize,
                max_example_bytes: limits.max_example_bytes as usize,
                max_message_bytes: limits.max_message_bytes as usize,
            },
            // A newer server may speak encodings that this student does not know; it need not.
            encodings: card.encodings.iter().filter_map(|&e| Encoding::try_from(e).ok()).collect(),
            members: card.members.max(1) as usize,
            mask_token: (!card.mask_token.is_empty()).then_some(card.mask_token),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(task: i32, labels: &[&str]) -> Result<TeacherCard, WireError> {
        TeacherCard::try_from(proto::TeacherCard {
            fingerprint: "0123456789abcdef".repeat(4),
            task,
            labels: labels.iter().map(ToString::to_string).collect(),
            limits: Some(proto::Limits { credits: 1, ..proto::Limits::default() }),
            ..proto::TeacherCard::default()
        })
    }

    #[test]
    fn a_card_says_its_task_and_has_the_labels_for_it() {
        for task in Task::ALL {
            let number = proto::Task::from(task).into();
            assert_eq!(card(number, &["a", "b"][..=usize::from(number < 3)]).unwrap().task, task);
        }
        assert_eq!(card(0, &["a", "b"]).unwrap().task, Task::SingleLabel);
        let refused = |task, labels: &[&str]| card(task, labels).unwrap_err().to_string();
        assert!(refused(4, &["a", "b"]).contains("unknown task 4"));
        assert!(refused(0, &["a"]).contains("at least 2 labels"));
        assert!(refused(1, &["a", "a"]).contains("twice"));
        assert!(refused(3, &["a", "b"]).contains("exactly 1 name"));
    }
}
