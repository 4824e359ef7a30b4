//! What another arithmetic does to a teacher's answers, on given texts.

use std::{fmt, path::Path};

use lectern::{
    commands::CommandError,
    data::{Columns, LabelUse, Task, read_records},
    metrics::Mean,
    models::{Arithmetic, ModelFiles, Prediction, classify},
};

/// How far two sets of answers to the same texts lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Texts compared.
    pub texts: usize,
    /// Share of texts with the same label, or the same labels; numbers of a regression have none.
    pub labels: Option<f64>,
    /// Mean difference of a logit, without its sign.
    pub mean: f64,
    /// Largest difference of a logit.
    pub largest: f64,
    /// Standard deviation of the second set's logits, to read the differences by.
    pub deviation: f64,
}

impl Agreement {
    /// `found` against `reference`, text by text.
    pub fn between(task: Task, found: &[Prediction], reference: &[Prediction]) -> Self {
        let mut labels = Mean::default();
        let (mut difference, mut first, mut second) =
            (Mean::default(), Mean::default(), Mean::default());
        let mut largest = 0.0f64;
        for (found, reference) in found.iter().zip(reference) {
            let same = found.target(task) == reference.target(task);
            labels.add(f64::from(u8::from(same)), 1);
            for (&found, &reference) in found.logits.iter().zip(&reference.logits) {
                let (found, reference) = (f64::from(found), f64::from(reference));
                difference.add((found - reference).abs(), 1);
                largest = largest.max((found - reference).abs());
                first.add(reference, 1);
                second.add(reference * reference, 1);
            }
        }
        Self {
            texts: found.len(),
            labels: (task != Task::Regression).then(|| labels.value()),
            mean: difference.value(),
            largest,
            deviation: (second.value() - first.value().powi(2)).max(0.0).sqrt(),
        }
    }

    /// The model of `files` in `arithmetic` against itself in `reference`, on the texts of `data`.
    pub fn on_file(
        files: &ModelFiles,
        device: tch::Device,
        [arithmetic, reference]: [Arithmetic; 2],
        data: &Path,
        columns: &Columns,
    ) -> Result<Self, CommandError> {
        let task = files.task()?;
        let records = read_records(data, columns, LabelUse::Ignored)?;
        let texts = || records.rows().iter().map(|r| (r.text.as_str(), r.text_pair.as_deref()));
        let answers = |arithmetic| classify(&files.load(device, arithmetic)?, texts());
        Ok(Self::between(task, &answers(arithmetic)?, &answers(reference)?))
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { texts, labels, mean, largest, deviation } = self;
        match labels {
            Some(labels) => {
                write!(f, "labels agree on {:.2} % of {texts} texts; logits", 100.0 * labels)
            }
            None => write!(f, "answers to {texts} texts"),
        }?;
        write!(
            f,
            " differ by {mean:.4} in the mean and {largest:.4} at most, of a standard deviation of \
             {deviation:.4}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_logits_are_compared_text_by_text() {
        let answer = |logits: [f32; 2]| Prediction { logits: logits.into(), truncated: false };
        let reference = [answer([1.0, -1.0]), answer([0.25, 0.0])];
        let found = [answer([1.5, -1.0]), answer([0.0, 0.25])];
        let agreement = Agreement::between(Task::SingleLabel, &found, &reference);
        assert_eq!(agreement.texts, 2);
        assert_eq!((agreement.labels, agreement.mean, agreement.largest), (Some(0.5), 0.25, 0.5));
        // Of 1, -1, 0.25 and 0: mean 0.0625, mean square 0.515625.
        assert!((agreement.deviation - (0.515_625f64 - 0.062_5f64.powi(2)).sqrt()).abs() < 1e-12);
    }
}
