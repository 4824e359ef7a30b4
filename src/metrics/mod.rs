//! How good a model is, in scikit-learn's and scipy's numbers and words. Knows targets, not models or data
//! files.

mod confusion;
mod label_report;
mod mean;
mod of_task;
mod report;
mod scores;
mod value_report;

pub use confusion::ConfusionMatrix;
pub use label_report::LabelReport;
pub use mean::Mean;
pub use of_task::Report;
pub use report::{Averages, ClassificationReport};
pub use scores::ClassScores;
pub use value_report::ValueReport;
