//! From files to examples: readers, labels, and the order in which training sees the data.
//! Knows nothing of tokens, tensors or the network.

mod cell;
mod columns;
mod delimited;
mod error;
mod example;
mod json;
mod labels;
mod parquet;
mod read;
mod resolve;
mod sampler;
mod splits;
mod stream;
mod task;
#[cfg(test)]
mod tests;
mod unlabelled;

pub use columns::{Columns, LabelUse};
pub use error::DataError;
pub use example::{Example, RawLabel, Record, Target, contents_hash};
pub use labels::{LabelError, LabelSet};
pub use read::{RecordStream, read_lines, read_records, stream_records};
pub use resolve::Records;
pub use sampler::{epoch_batches, epoch_share};
pub use splits::{SplitFiles, Splits};
pub use stream::{InputFormat, InputRecords};
pub use task::Task;
pub use unlabelled::read_unlabelled;
