//! The two layers (equation 7 of the paper): `Z = Â ReLU(Â W₀) W₁`, with `Â` the normalised adjacency
//! matrix and the identity in the place of node features.
//!
//! `N` nodes, `H` hidden units, `C` classes.

use tch::{Device, Kind, TchError, Tensor};

use super::graph::Graph;

/// A graph with its weights.
#[derive(Debug)]
pub(super) struct Gcn {
    /// `[N, N]`, sparse and symmetric.
    adjacency: Tensor,
    /// `[N, H]`.
    first: Tensor,
    /// `[H, C]`.
    second: Tensor,
    documents: i64,
}

impl Gcn {
    /// Weights as Glorot and Bengio 2010 draw them, from libtorch's random state.
    pub(super) fn new(
        graph: &Graph,
        hidden: i64,
        classes: usize,
        device: Device,
    ) -> Result<Self, TchError> {
        let glorot = |rows: i64, columns: i64| {
            let bound = (6.0 / (rows + columns) as f64).sqrt();
            let drawn = Tensor::f_rand([rows, columns], (Kind::Float, device))?;
            drawn.f_mul_scalar(2.0 * bound)?.f_sub_scalar(bound)
        };
        let first = glorot(graph.nodes as i64, hidden)?;
        Self::with_weights(graph, first, glorot(hidden, classes as i64)?)
    }

    pub(super) fn with_weights(
        graph: &Graph,
        first: Tensor,
        second: Tensor,
    ) -> Result<Self, TchError> {
        let entries = graph.normalised();
        let (n, device) = (graph.nodes as i64, first.device());
        let places = [&entries.rows, &entries.columns].map(|at| Tensor::f_from_slice(at));
        let [rows, columns] = places;
        let indices = Tensor::f_stack(&[rows?, columns?], 0)?.f_to_device(device)?;
        let values = Tensor::f_from_slice(&entries.values)?.f_to_device(device)?;
        let options = (Kind::Float, device);
        // The entries are ordered and distinct.
        let adjacency =
            Tensor::f_sparse_coo_tensor_indices_size(&indices, &values, [n, n], options, true)?;
        for weights in [&first, &second] {
            let _same = weights.f_set_requires_grad(true)?;
        }
        Ok(Self { adjacency, first, second, documents: graph.documents as i64 })
    }

    pub(super) fn parameters(&self) -> [(&str, &Tensor); 2] {
        [("first", &self.first), ("second", &self.second)]
    }

    pub(super) fn device(&self) -> Device {
        self.first.device()
    }

    pub(super) fn parameter_count(&self) -> usize {
        self.parameters().map(|(_, weights)| weights.numel()).iter().sum()
    }

    /// Logits of the documents, `[documents, C]`, with dropout of probability `p` before both layers. Before
    /// the first it falls on the identity: a node's row of `W₀` is there or not.
    pub(super) fn forward(&self, p: f64) -> Result<Tensor, TchError> {
        let training = p > 0.0;
        let input = if training {
            let ones =
                Tensor::f_ones([self.first.size()[0], 1], (Kind::Float, self.first.device()))?;
            self.first.f_mul(&ones.f_dropout(p, true)?)?
        } else {
            self.first.shallow_clone()
        };
        let hidden = Tensor::f_internal_sparse_mm(&self.adjacency, &input)?.f_relu()?;
        // `Â (H W₁)` rather than `(Â H) W₁`: the sparse product then has C columns and not H.
        let scores = hidden.f_dropout(p, training)?.f_mm(&self.second)?;
        Tensor::f_internal_sparse_mm(&self.adjacency, &scores)?.f_narrow(0, 0, self.documents)
    }
}
