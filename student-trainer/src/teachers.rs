//! One or several teachers as the training loop sees them: one row per example. Knows neither where rows come from nor
//! what is learnt from them.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use lectern::{
    data::{Example, LabelSet, Target},
    wire::{Failure, TeacherCard},
};

use crate::{
    config::{Combine, TrainConfig},
    labels::{LabelError, Missing, Outcome, Request, SoftLabels, StreamMetrics},
    source::{Checked, Source},
};

/// The rows of one run, in the order in which the training loop consumes them.
pub(crate) struct Teachers {
    /// At least one; the first has the order of labels that is kept.
    streams: Vec<Stream>,
    combine: Combine,
    /// The classes of the batches to come, where there are any, as far as somebody looks at them.
    classes: Box<dyn Iterator<Item = Vec<Option<usize>>> + Send>,
}

struct Stream {
    /// The teacher's name.
    name: String,
    labels: SoftLabels,
    /// For each class of the first teacher, this one's class of the same name; absent where it is the same.
    order: Option<Vec<usize>>,
}

impl fmt::Debug for Teachers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Teachers");
        shown.field("teachers", &self.streams.len()).field("combine", &self.combine);
        shown.finish_non_exhaustive()
    }
}

/// Opens all sources of a run, with the cards of their teachers, which must have the same task and the same labels, in any order.
pub(crate) fn open(config: &TrainConfig) -> anyhow::Result<(Vec<Source>, Vec<TeacherCard>)> {
    let open = |source| Source::open(source, config.teacher_patience);
    let sources: Vec<Source> = config.soft_labels.iter().map(open).collect::<Result<_, _>>()?;
    orders(&sources)?;
    let cards = sources.iter().map(|source| source.card().clone()).collect();
    Ok((sources, cards))
}

/// For each source, where its classes are in the first one's order.
fn orders(sources: &[Source]) -> anyhow::Result<Vec<Option<Vec<usize>>>> {
    let Some(first) = sources.first() else { return Ok(Vec::new()) };
    let kept = first.card().label_set()?;
    let order = |source: &Source| {
        let order = order_of(first.card(), &kept, source.card())?;
        Ok(order.iter().enumerate().any(|(here, &there)| here != there).then_some(order))
    };
    sources.iter().map(order).collect()
}

fn order_of(
    first: &TeacherCard,
    kept: &LabelSet,
    card: &TeacherCard,
) -> anyhow::Result<Vec<usize>> {
    let theirs = card.label_set()?;
    let who = |card: &TeacherCard| format!("{} ({})", card.name, card.fingerprint.short());
    let differ = format!("teachers {} and {} do not teach the same", who(first), who(card));
    kept.mapping_to(&theirs).context(differ)
}

/// Sources that nothing is known to be wrong with, and what they will be asked.
#[derive(Debug)]
pub(crate) struct Ready {
    sources: Vec<(String, Checked, Option<Vec<usize>>)>,
    /// One for each example.
    requests: Arc<[Arc<Request>]>,
    /// The hard labels of the examples, where there are any.
    classes: Vec<Option<usize>>,
}

/// Reads what can be read before the rows of `examples` are asked for; `None` without a source.
pub(crate) fn check(
    sources: Vec<Source>,
    config: &TrainConfig,
    examples: &[Example],
) -> anyhow::Result<Option<Ready>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let requests: Arc<[Arc<Request>]> = (examples.iter())
        .map(|e| Arc::new(Request::new(e.text.clone(), e.text_pair.clone())))
        .collect();
    let orders = orders(&sources)?;
    let check = |(source, order): (Source, _)| {
        let name = source.card().name.clone();
        anyhow::Ok((name, source.check(config, examples, &requests)?, order))
    };
    let sources = sources.into_iter().zip(orders).map(check).collect::<Result<_, _>>()?;
    let class = |example: &Example| match example.target {
        Some(Target::Label(class)) => Some(class),
        _ => None,
    };
    Ok(Some(Ready { sources, requests, classes: examples.iter().map(class).collect() }))
}

impl Ready {
    /// Begins to fetch the rows of `batches`, which gives the same batches of examples, by their number, each time.
    pub(crate) fn start<B: Iterator<Item = Vec<usize>> + Send + 'static>(
        self,
        config: &TrainConfig,
        batches: impl Fn() -> B,
    ) -> anyhow::Result<Teachers> {
        let memory = config.label_memory / self.sources.len() as u64;
        let start = |(name, source, reorder): (String, Checked, _)| {
            let asked = Arc::clone(&self.requests);
            let requests =
                move |batch: Vec<usize>| batch.into_iter().map(|i| Arc::clone(&asked[i])).collect();
            let labels = source.start(config, memory, batches().map(requests))?;
            anyhow::Ok(Stream { name, labels, order: reorder })
        };
        let streams = self.sources.into_iter().map(start).collect::<Result<_, _>>()?;
        let classes: Box<dyn Iterator<Item = _> + Send> = match config.combine {
            Combine::Mean(_) => Box::new(std::iter::empty()),
            Combine::Confidence => {
                let classes = self.classes;
                let of = move |batch: Vec<usize>| batch.into_iter().map(|i| classes[i]).collect();
                Box::new(batches().map(of))
            }
        };
        Ok(Teachers { streams, combine: config.combine.clone(), classes })
    }
}

impl Teachers {
    /// The outcomes of the next batch, one per example and in the batch's order; blocks while a teacher is the slower
    /// side. An example that one of several teachers has no row for has none.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<Outcome>, LabelError> {
        if let [only] = self.streams.as_mut_slice() {
            return only.labels.next_batch();
        }
        let mut examples: Vec<Result<Vec<Arc<[f32]>>, _>> = Vec::new();
        for (k, stream) in self.streams.iter_mut().enumerate() {
            let outcomes = stream.labels.next_batch()?;
            if k == 0 {
                examples.resize_with(outcomes.len(), || Ok(Vec::new()));
            }
            for (example, outcome) in examples.iter_mut().zip(outcomes) {
                match (example.as_mut(), outcome) {
                    (Ok(rows), Ok(row)) => rows.push(reordered(row, stream.order.as_deref())),
                    (Ok(_), Err(missing)) => *example = Err(named(missing, &stream.name)),
                    // The first reason is as good as any.
                    (Err(_), _) => {}
                }
            }
        }
        let classes = self.classes.next().unwrap_or_default();
        let classes = classes.into_iter().chain(std::iter::repeat(None));
        let one = |(rows, class): (Result<Vec<Arc<[f32]>>, _>, _)| {
            rows.map(|rows| match &self.combine {
                Combine::Mean(weights) => mean(&rows, weights),
                Combine::Confidence => mean(&rows, &confidence(&rows, class)),
            })
        };
        Ok(examples.into_iter().zip(classes).map(one).collect())
    }

    /// How long [`Self::next_batch`] has blocked in all.
    pub(crate) fn waited(&self) -> Duration {
        self.metrics().waited
    }

    /// What has happened so far, the teachers' counts added up.
    pub(crate) fn metrics(&self) -> StreamMetrics {
        self.streams.iter().map(|stream| stream.labels.metrics()).sum()
    }
}

/// With the name of the teacher who says so; a file is named by its path anyway.
fn named(missing: Missing, teacher: &str) -> Missing {
    match missing {
        Missing::Refused(Failure { code, message }) => {
            Missing::Refused(Failure { code, message: format!("{teacher}: {message}") })
        }
        in_file @ Missing::NotInFile(_) => in_file,
    }
}

fn reordered(row: Arc<[f32]>, order: Option<&[usize]>) -> Arc<[f32]> {
    match order {
        None => row,
        Some(order) => order.iter().map(|&class| row[class]).collect(),
    }
}

/// `Σ_k w_k · t_k` for `K` rows `[C]` and `K` weights.
fn mean(rows: &[Arc<[f32]>], weights: &[f64]) -> Arc<[f32]> {
    let classes = rows.first().map_or(0, |row| row.len());
    let value = |class: usize| {
        let weighted = rows.iter().zip(weights).map(|(row, weight)| weight * f64::from(row[class]));
        weighted.sum::<f64>() as f32
    };
    (0..classes).map(value).collect()
}

/// The weights of `K > 1` teachers for one example: `w_k = (1 - exp(L_k) / Σ_j exp(L_j)) / (K - 1)`, which add up to
/// 1; Zhang et al. 2022 (CA-MKD, arXiv 2201.00007). `L_k` is the cross-entropy of teacher `k` with the hard label;
/// where there is none, ours: the entropy of its own distribution, so that who is surer counts more.
///
/// The paper weighs the teachers' losses with them; here they weigh logits, so that any loss sees one row.
///
/// - `rows`: `K` rows `[C]` of raw logits
fn confidence(rows: &[Arc<[f32]>], class: Option<usize>) -> Vec<f64> {
    let doubts: Vec<f64> = rows
        .iter()
        .map(|row| {
            let log = log_softmax(&row.iter().map(|&logit| f64::from(logit)).collect::<Vec<_>>());
            match class {
                Some(class) => -log[class],
                None => -log.iter().map(|log| log.exp() * log).sum::<f64>(),
            }
        })
        .collect();
    let others = (rows.len() - 1) as f64;
    log_softmax(&doubts).iter().map(|log| -log.exp_m1() / others).collect()
}

fn log_softmax(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
    values.iter().map(|value| value - largest - sum.ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Arc<[f32]> {
        values.into()
    }

    /// Logits whose softmax is `p`.
    fn of(p: [f64; 2]) -> Arc<[f32]> {
        p.iter().map(|p| p.ln() as f32).collect()
    }

    fn close(found: &[f64], expected: &[f64]) -> bool {
        // The logits are rounded to float32.
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6)
    }

    #[test]
    fn rows_become_their_weighted_mean() {
        let rows = [row(&[1.0, -2.0]), row(&[3.0, 4.0])];
        assert_eq!(*mean(&rows, &[0.5, 0.5]), [2.0, 1.0]);
        assert_eq!(*mean(&rows, &[0.75, 0.25]), [1.5, -0.5]);
    }

    #[test]
    fn another_order_of_labels_is_put_right() {
        assert_eq!(*reordered(row(&[1.0, 2.0, 3.0]), Some(&[2, 0, 1])), [3.0, 1.0, 2.0]);
        assert_eq!(*reordered(row(&[1.0, 2.0]), None), [1.0, 2.0]);
    }

    #[test]
    fn the_teacher_nearer_to_the_label_counts_more() {
        // Cross-entropies with class 0 are log 2 and log 4: exp of them 2 and 4, so weights 1 - 2/6 and 1 - 4/6.
        let rows = [of([0.5, 0.5]), of([0.25, 0.75])];
        assert!(close(&confidence(&rows, Some(0)), &[2.0 / 3.0, 1.0 / 3.0]));
        // With class 1 they are log 2 and log 4/3.
        assert!(close(&confidence(&rows, Some(1)), &[0.4, 0.6]));
        // Of three, exp of 2, 4 and 2: (1 - 1/4) / 2 and (1 - 1/2) / 2.
        let rows = [of([0.5, 0.5]), of([0.25, 0.75]), of([0.5, 0.5])];
        assert!(close(&confidence(&rows, Some(0)), &[0.375, 0.25, 0.375]));
    }

    #[test]
    fn without_a_label_the_surer_teacher_counts_more() {
        let rows = [of([0.5, 0.5]), of([0.25, 0.75])];
        // exp(H) is 2, and 4^(1/4) · (4/3)^(3/4).
        let sure = 4f64.powf(0.25) * (4f64 / 3.0).powf(0.75);
        let expected = [1.0 - 2.0 / (2.0 + sure), 1.0 - sure / (2.0 + sure)];
        assert!(close(&confidence(&rows, None), &expected));
        assert!(expected[1] > expected[0]);
    }

    #[test]
    fn a_teacher_that_is_as_wrong_as_can_be_counts_nothing() {
        let rows = [row(&[2000.0, 0.0]), row(&[0.0, 0.0])];
        assert!(close(&confidence(&rows, Some(1)), &[0.0, 1.0]));
    }
}
