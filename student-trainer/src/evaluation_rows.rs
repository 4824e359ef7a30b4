//! The teacher's rows of the sets that a run is judged on. They only serve the report: a teacher that is gone by then, or
//! lacks an example, costs the agreement and nothing else.

use std::time::Duration;

use anyhow::ensure;
use lectern::{data::Example, wire::TeacherCard};
use tracing::{info, warn};

use crate::{
    config::{OnMissing, TrainConfig},
    labels::Outcome,
    teachers,
};

/// What one message to the teacher holds.
const BATCH: usize = 64;
/// How long a run that is otherwise complete waits for a teacher that is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// A row, or none, for each of `examples`; nothing at all without a teacher or where it could not be asked, which
/// the log says.
pub(crate) fn evaluation_rows(
    config: &TrainConfig,
    cards: &[TeacherCard],
    examples: &[&Example],
) -> Vec<Option<Vec<f32>>> {
    if cards.is_empty() {
        return Vec::new();
    }
    match ask(config, cards, examples) {
        Ok(outcomes) => {
            let rows: Vec<_> = outcomes.into_iter().map(|row| Some(row.ok()?.to_vec())).collect();
            let lacking = rows.iter().filter(|row| row.is_none()).count();
            if lacking > 0 {
                info!(lacking, of = rows.len(), "dev and test examples without a soft label");
            }
            rows
        }
        Err(cause) => {
            warn!("no agreement with the teacher in the reports of dev and test: {cause:#}");
            Vec::new()
        }
    }
}

fn ask(
    config: &TrainConfig,
    cards: &[TeacherCard],
    examples: &[&Example],
) -> anyhow::Result<Vec<Outcome>> {
    let mut config = config.clone();
    config.label_memory = 0;
    config.teacher_patience = PATIENCE.min(config.teacher_patience);
    config.on_missing = OnMissing::Skip;
    let (sources, found) = teachers::open(&config)?;
    for (found, card) in found.iter().zip(cards) {
        let (found, name) = (&found.fingerprint, &card.name);
        ensure!(*found == card.fingerprint, "{name} is another teacher now, {}", found.short());
    }
    let examples: Vec<Example> = examples.iter().map(|&example| example.clone()).collect();
    let Some(ready) = teachers::check(sources, &config, &examples)? else { return Ok(Vec::new()) };
    let numbers: Vec<usize> = (0..examples.len()).collect();
    let batches: Vec<Vec<usize>> = numbers.chunks(BATCH).map(<[_]>::to_vec).collect();
    let count = batches.len();
    let mut teachers = ready.start(&config, || batches.clone().into_iter())?;
    let mut outcomes = Vec::with_capacity(examples.len());
    for _ in 0..count {
        outcomes.extend(teachers.next_batch()?);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::TrainOptions;

    #[test]
    fn a_teacher_that_is_gone_costs_no_more_than_its_rows() {
        let options = TrainOptions {
            train: Some("a.csv".into()),
            dev: Some("b.csv".into()),
            output: Some("run".into()),
            // Nobody listens on a port of 1.
            teacher: Some(vec!["http://127.0.0.1:1".into()]),
            teacher_patience: Some(0),
            ..TrainOptions::default()
        };
        let config = options.resolve().unwrap();
        let card: TeacherCard = serde_json::from_value(json!({
            "fingerprint": "0123456789abcdef".repeat(4), "name": "gone", "labels": ["a", "b"],
            "architecture": "", "parameters": 0, "max_length": 8, "arithmetic": "float32", "members": 1,
            "limits": { "credits": 1, "max_example_bytes": 9, "max_message_bytes": 9 },
            "encodings": [],
        }))
        .unwrap();
        let example = Example { text: "a".to_owned(), text_pair: None, target: None };
        assert_eq!(evaluation_rows(&config, &[card], &[&example]), Vec::<Option<_>>::new());
        assert_eq!(evaluation_rows(&config, &[], &[&example]), Vec::<Option<_>>::new());
    }
}
