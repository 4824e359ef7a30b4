//! How good a model is, in scikit-learn's and scipy's numbers and words. Knows targets, not models or data
//! files.

mod agreement;
mod calibration;
mod confusion;
pub mod exact;
mod label_report;
mod mean;
mod report;
mod scores;
mod significance;
mod task_report;
mod value_report;

pub use agreement::agreement;
pub use calibration::expected_calibration_error;
pub use confusion::ConfusionMatrix;
pub use label_report::LabelReport;
pub use mean::Mean;
pub use report::{Averages, ClassificationReport};
pub use scores::ClassScores;
pub use significance::{Bootstrap, Sample, mcnemar_exact, paired_bootstrap, welch};
pub use task_report::Report;
pub use value_report::ValueReport;
