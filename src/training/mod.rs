//! What fine-tuning a teacher and training a student share: losses, optimizers, schedules, checkpoints.

mod checkpoint;
mod cross_entropy;
mod gradient;
mod losses;
mod optimizer;
mod schedule;
mod scheduled;
mod step;
mod targets;
#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError, Settings, step_seed};
pub use cross_entropy::{ClassWeights, CrossEntropy};
pub use gradient::{Gradient, clip_by_norm};
pub use losses::{Balance, Loss, SoftLoss, SoftTargets};
pub use optimizer::{Optimizer, OptimizerError, OptimizerKind};
pub use schedule::{Decay, Schedule};
pub use scheduled::{Alpha, Line, Scheduled, progress};
pub use step::{Halves, Step};
pub use targets::HardTargets;
