//! What fine-tuning a teacher and training a student share: losses, optimizers, schedules.

mod losses;
mod optimizer;
mod schedule;
mod targets;
#[cfg(test)]
mod tests;

pub use losses::{Loss, SoftTargets};
pub use optimizer::{Gradient, Optimizer, OptimizerKind, clip_by_norm};
pub use schedule::warm_up_then_decay;
pub use targets::HardTargets;
