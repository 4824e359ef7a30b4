//! What is asked and what comes back, for one example.

use std::{path::Path, sync::Arc};

use lectern::wire::{ContentHash, Failure};

/// One example as the teacher sees it, with its content hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    text: String,
    text_pair: Option<String>,
    content: ContentHash,
}

impl Request {
    /// Hashes the content once, for all epochs.
    pub fn new(text: String, text_pair: Option<String>) -> Self {
        let content = ContentHash::new(&text, text_pair.as_deref());
        Self { text, text_pair, content }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The second text of a pair.
    pub fn text_pair(&self) -> Option<&str> {
        self.text_pair.as_deref()
    }

    /// Hash of both.
    pub fn content(&self) -> ContentHash {
        self.content
    }

    /// Bytes of UTF-8, both texts together.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.text_pair.as_ref().map_or(0, String::len)
    }
}

/// An example without a row, and why. Whether to stop, to skip it or to train on its hard label alone
/// is for the training loop to decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The teacher said so, or something kept the example from being sent.
    #[error("the teacher has no row for this example: {}", .0.message)]
    Refused(Failure),
    /// The label file, at this path, lacks it.
    #[error(
        "{} has no row for this example; run `student-trainer warm` with this data against the same \
         teacher, then export its store again", .0.display()
    )]
    NotInFile(Arc<Path>),
}

/// The `[C]` raw logits of one example, shared by all who ask for the same content, or why there
/// are none.
pub type Outcome = Result<Arc<[f32]>, Missing>;
