//! A `BiGRU` student (Cho et al. 2014, arXiv 1406.1078): three gates for the LSTM's four. Two last states are
//! classified as in the BiLSTM of Tang et al. 2019.

pub use super::recurrent::RecurrentConfig as BiGruConfig;

use super::recurrent::Head;

impl BiGruConfig {
    /// Sizes of the BiLSTM of Tang et al. 2019: 300, 150, 200, last states.
    pub const fn gru(vocabulary: i64) -> Self {
        Self::new(vocabulary, [300, 150, 200], Head::LastStates)
    }
}
