//! What the teacher server and the student trainer have in common.
pub mod wire;
