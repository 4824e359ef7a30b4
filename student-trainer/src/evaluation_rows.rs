//! The teacher's rows of the sets that a run is judged on. They only serve the report: a teacher that is gone by then, or
//! lacks an example, costs the agreement and nothing else.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use lectern::{
    data::Example,
    wire::{TeacherCard, label_file::LabelReader},
};
use tracing::{info, warn};

use crate::{
    config::{LabelSource, TrainConfig},
    labels::{FileRows, Outcome, Request, SoftLabels, StreamSettings},
};

/// What one message to the teacher holds.
const BATCH: usize = 64;
/// How long a run that is otherwise complete waits for a teacher that is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// A row, or none, for each of `examples`; nothing at all without a teacher or where it could not be asked, which
/// the log says.
pub(crate) fn evaluation_rows(
    config: &TrainConfig,
    card: Option<&TeacherCard>,
    examples: &[&Example],
) -> Vec<Option<Vec<f32>>> {
    let (Some(source), Some(card)) = (&config.soft_labels, card) else { return Vec::new() };
    let outcomes = match source {
        LabelSource::Teacher(url) => {
            let settings = StreamSettings {
                memory_bytes: 0,
                patience: PATIENCE.min(config.teacher_patience),
                ..StreamSettings::new(url.clone(), config.name.clone())
            };
            ask(settings, card, &requests(examples))
        }
        LabelSource::File(path) => look_up(path, card, &requests(examples)),
    };
    match outcomes {
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

fn requests(examples: &[&Example]) -> Vec<Arc<Request>> {
    let request = |e: &&Example| Arc::new(Request::new(e.text.clone(), e.text_pair.clone()));
    examples.iter().map(request).collect()
}

fn ask(
    settings: StreamSettings,
    card: &TeacherCard,
    requests: &[Arc<Request>],
) -> anyhow::Result<Vec<Outcome>> {
    let batches: Vec<Vec<_>> = requests.chunks(BATCH).map(<[_]>::to_vec).collect();
    let count = batches.len();
    let mut labels = SoftLabels::start(settings, card.fingerprint.clone(), batches.into_iter())?;
    let mut outcomes = Vec::with_capacity(requests.len());
    for _ in 0..count {
        outcomes.extend(labels.next_batch()?);
    }
    Ok(outcomes)
}

fn look_up(
    path: &std::path::Path,
    card: &TeacherCard,
    requests: &[Arc<Request>],
) -> anyhow::Result<Vec<Outcome>> {
    let file = LabelReader::open(path)?;
    let (found, wanted) = (&file.card().fingerprint, &card.fingerprint);
    ensure!(found == wanted, "{} now has the rows of teacher {}", path.display(), found.short());
    let contents = || requests.iter().map(|request| request.content());
    let rows = FileRows::read(path, file, contents())?;
    Ok(contents().map(|content| rows.get(content)).collect())
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
            teacher: Some("http://127.0.0.1:1".into()),
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
        assert_eq!(evaluation_rows(&config, Some(&card), &[&example]), Vec::<Option<_>>::new());
        assert_eq!(evaluation_rows(&config, None, &[&example]), Vec::<Option<_>>::new());
    }
}
