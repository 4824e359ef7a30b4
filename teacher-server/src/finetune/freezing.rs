//! Which parameters move, how fast each does, and how many layers before them are therefore the same in every step.

use std::collections::HashSet;

use anyhow::ensure;
use lectern::models::Teacher;

use super::config::Trainable;

/// Lets the parameters of the head and those `trainable` move and no others, and of these not the word table if it is
/// frozen; returns how many of the first layers give each example the same hidden states in every step.
pub(super) fn freeze(
    teacher: &Teacher,
    trainable: Trainable,
    freeze_embeddings: bool,
) -> anyhow::Result<usize> {
    let mut trained = trained(teacher, trainable)?;
    if freeze_embeddings {
        let table = teacher.word_table();
        ensure!(
            teacher.parameters().as_built().any(|name| name == table),
            "--freeze-embeddings: this family has no table {table}; freeze layers instead"
        );
        trained.remove(table.as_str());
    }
    teacher.parameters().set_trainable(|name| trained.contains(name))?;
    Ok(frozen_layers(teacher, &trained))
}

fn trained(teacher: &Teacher, trainable: Trainable) -> anyhow::Result<HashSet<&str>> {
    let depth = teacher.layers();
    let all = || teacher.parameters().as_built();
    let of_encoder = || all().filter(|name| teacher.is_of_encoder(name));
    let encoder: HashSet<&str> = match trainable {
        Trainable::All => of_encoder().collect(),
        Trainable::Layers(n) => {
            ensure!(n <= depth, "--trainable-layers {n}: the encoder has only {depth} layers");
            let cuts = teacher.cuts();
            ensure!(
                cuts.contains(&(depth - n)),
                "--trainable-layers {n}: layers of this encoder share parameters, which cannot be frozen in one and \
                 trained in the other; choose one of {:?}",
                cuts.iter().rev().map(|cut| depth - cut).collect::<Vec<_>>()
            );
            let is_last = |name: &&str| teacher.layer_of(name).is_some_and(|l| l >= depth - n);
            of_encoder().filter(is_last).collect()
        }
        Trainable::Tensors(n) => {
            let count = of_encoder().count();
            ensure!(n <= count, "--trainable-tensors {n}: the encoder has only {count} tensors");
            of_encoder().skip(count - n).collect()
        }
    };
    Ok(all().filter(|name| encoder.contains(name) || !teacher.is_of_encoder(name)).collect())
}

/// Layers before the first that a trained parameter changes. What is in no layer, embeddings or what layers share, may
/// change them all.
fn frozen_layers(teacher: &Teacher, trained: &HashSet<&str>) -> usize {
    let of_encoder = trained.iter().filter(|name| teacher.is_of_encoder(name));
    let first = of_encoder.map(|name| teacher.layer_of(name).unwrap_or(0)).min();
    first.unwrap_or(teacher.layers())
}

/// Factor of the learning rate of each parameter, `d` being the decay from one layer to that before it: 1 for the head,
/// `d^(depth - l)` for layer `l` counted from 0, `d^(depth + 1)` for embeddings and what layers share (Howard and Ruder
/// 2018, arXiv 1801.06146, section 3.2, with the layer below as one step).
pub(super) fn rate(teacher: &Teacher, decay: f64, name: &str) -> f64 {
    let depth = teacher.layers();
    let steps_down = match teacher.layer_of(name) {
        Some(layer) => depth - layer,
        None if teacher.is_of_encoder(name) => depth + 1,
        None => 0,
    };
    decay.powi(steps_down as i32)
}
