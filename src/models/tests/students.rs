//! Students against PyTorch; fixtures by `tests/fixtures/make_student.py`.

use std::fs;

use serde::Deserialize;
use tch::{Kind, Reduction, Tensor};

use super::{
    super::{
        Builder, TokenBatch,
        bilstm::{BiLstm, BiLstmConfig, Head},
        read_weights,
        students::{Channels, Table, UNTRAINED},
    },
    assert_close, fixtures,
};
use crate::{
    testing::{device, tensor_of},
    text::Tokens,
    training::{Gradient, Optimizer, OptimizerKind},
};

#[derive(Deserialize)]
struct ExpectedStudent {
    token_ids: Vec<Vec<i64>>,
    labels: Vec<i64>,
    logits: Vec<Vec<f64>>,
    gradients: std::collections::BTreeMap<String, serde_json::Value>,
}

fn flat(value: &serde_json::Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(flat).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

/// Rows that no example holds, padding's among them, have no gradient.
fn dense(gradient: Gradient) -> Tensor {
    match gradient {
        Gradient::Dense(dense) => dense,
        Gradient::Rows { rows, values } => {
            Tensor::zeros([50, 8], (Kind::Float, device())).index_copy(0, &rows, &values)
        }
        Gradient::Absent => panic!("no gradient"),
    }
}

#[test]
fn the_bilstm_and_its_gradients_agree_with_packed_sequences_in_pytorch() {
    let text = fs::read_to_string(fixtures().join("student.json")).unwrap();
    let expected: ExpectedStudent = serde_json::from_str(&text).unwrap();
    let path = fixtures().join("student.safetensors");
    let builder = Builder::from_weights(read_weights(&path).unwrap(), &path, device());
    let config = BiLstmConfig {
        table: Table::tuned(50, 8),
        hidden: 6,
        inner: 5,
        ..BiLstmConfig::original(0)
    };
    let model = BiLstm::new(&builder, config, 3, false).unwrap();
    let parameters = builder.finish().unwrap();
    parameters.set_trainable(|_| true).unwrap();

    let tokens: Vec<_> = (expected.token_ids.iter())
        .map(|ids| Tokens { ids: ids.clone(), type_ids: vec![0; ids.len()], truncated: false })
        .collect();
    let batch = TokenBatch::padded(&tokens.iter().collect::<Vec<_>>(), 9).unwrap();
    let logits = model.logits(&batch, true).unwrap();
    assert_close("logits", &logits, &expected.logits);

    let labels = tensor_of(&expected.labels);
    let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    let optimizer = Optimizer::new(OptimizerKind::Adam, parameters.iter());
    let gradients = optimizer.gradients(&loss).unwrap();
    assert_eq!(gradients.len(), expected.gradients.len());
    for ((name, _), gradient) in parameters.iter().zip(gradients) {
        let dense = dense(gradient);
        assert_close(name, &dense, &[flat(&expected.gradients[name])]);
    }
}

#[test]
fn padding_never_changes_a_students_answer() {
    for head in [Head::MaxOverTime, Head::LastStates] {
        let builder = Builder::fresh(device());
        let table = Table::tuned(20, 8);
        let config = BiLstmConfig { table, hidden: 6, inner: 5, head, ..BiLstmConfig::original(0) };
        let model = BiLstm::new(&builder, config, 3, true).unwrap();
        let tokens = |ids: &[i64]| Tokens {
            ids: ids.to_vec(),
            type_ids: vec![0; ids.len()],
            truncated: false,
        };
        let (short, long) = (tokens(&[3, 4]), tokens(&[5, 6, 7, 8, 9]));
        let together = TokenBatch::new(&[&short, &long], device()).unwrap();
        let together = model.logits(&together, false).unwrap();
        for (row, alone) in [(0, &short), (1, &long)] {
            let batch = TokenBatch::new(&[alone], device()).unwrap();
            let alone = model.logits(&batch, false).unwrap();
            let difference = (alone.get(0) - together.get(row)).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{head:?}: {difference}");
        }
    }
}

#[test]
fn texts_of_one_token_and_words_that_are_not_trained_have_the_gradients_that_libtorch_records() {
    for (head, channels) in
        [(Head::MaxOverTime, Channels::Both), (Head::LastStates, Channels::Static)]
    {
        let builder = Builder::fresh(device());
        let table = Table { channels, ..Table::tuned(20, 8) };
        let config = BiLstmConfig { table, hidden: 6, inner: 5, head, ..BiLstmConfig::original(0) };
        let model = BiLstm::new(&builder, config, 3, true).unwrap();
        let parameters = builder.finish().unwrap();
        parameters.set_trainable(|name| name != UNTRAINED).unwrap();
        let optimizer = Optimizer::new(OptimizerKind::Adam, parameters.iter());
        let gradients = |tokens: &[&Tokens], by_libtorch: bool| {
            let batch = TokenBatch::new(tokens, device()).unwrap();
            let logits = if by_libtorch {
                model.logits(&batch, true).unwrap().into()
            } else {
                model.traced(&batch).unwrap()
            };
            let loss = logits.map(|logits| logits.f_square()?.f_sum(Kind::Float)).unwrap();
            optimizer.gradients(loss).unwrap()
        };
        let tokens = |ids: &[i64]| Tokens {
            ids: ids.to_vec(),
            type_ids: vec![0; ids.len()],
            truncated: false,
        };
        let (one, other, long) = (tokens(&[3]), tokens(&[4]), tokens(&[5, 3, 5, 7, 3, 8, 5, 9]));
        for batch in [vec![&one, &other], vec![&one, &long, &other], vec![&long]] {
            let recorded = gradients(&batch, true).into_iter();
            let both = recorded.zip(gradients(&batch, false)).map(<[_; 2]>::from);
            for ((name, _), pair) in parameters.iter().filter(|(_, t)| t.requires_grad()).zip(both)
            {
                let [expected, found] = pair.map(dense);
                let difference = (found - expected).abs().max().double_value(&[]);
                assert!(difference < 1e-5, "{head:?}, {name}: {difference}");
            }
        }
    }
}
