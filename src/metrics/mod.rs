//! How good a classifier is, in scikit-learn's numbers and words. Knows classes as indices, not
//! models or data files.

mod confusion;
pub mod exact;
mod mean;
mod report;

pub use confusion::ConfusionMatrix;
pub use mean::Mean;
pub use report::{Averages, ClassScores, ClassificationReport};
