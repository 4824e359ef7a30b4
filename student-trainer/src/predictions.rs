//! What a run's student said of each example of a set, kept so that runs can be compared later without their models, data
//! or teacher. Knows the file and what follows from it; not how runs are compared.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, ensure};
use lectern::{
    data::{Example, LabelSet, Target, Task},
    files::write_atomically_with,
    metrics::{Report, agreement, expected_calibration_error},
    models::{Prediction, sigmoid, softmax},
    wire::ContentHash,
};
use serde::{Deserialize, Serialize};

/// The file of a set, `dev` or `test`, in the run folder.
pub(crate) fn file_name(set: &str) -> String {
    format!("{set}_predictions.jsonl")
}

/// A target by name, so that runs which number the same labels differently can be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Label(String),
    Labels(Vec<String>),
    Value(f32),
}

impl Answer {
    fn of(target: &Target, labels: &LabelSet) -> Self {
        let name = |class: &usize| labels.names()[*class].clone();
        match target {
            Target::Label(class) => Self::Label(name(class)),
            Target::Labels(classes) => Self::Labels(classes.iter().map(name).collect()),
            Target::Value(value) => Self::Value(*value),
        }
    }

    fn to_target(&self, labels: &LabelSet) -> anyhow::Result<Target> {
        let class = |name: &String| {
            labels.index_of(name).with_context(|| format!("{name:?} is no label of this run"))
        };
        Ok(match (labels.task(), self) {
            (Task::SingleLabel, Self::Label(name)) => Target::Label(class(name)?),
            (Task::MultiLabel, Self::Labels(names)) => {
                let mut classes = names.iter().map(class).collect::<Result<Vec<_>, _>>()?;
                classes.sort_unstable();
                Target::Labels(classes)
            }
            (Task::Regression, Self::Value(value)) => Target::Value(*value),
            (task, answer) => anyhow::bail!("{answer:?} is no target of a {task} task"),
        })
    }
}

/// One line of the file: an example in the order of the data file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The example's [`ContentHash`] in hexadecimal digits.
    pub(crate) content: String,
    pub(crate) target: Answer,
    pub(crate) prediction: Answer,
    /// `[C]` raw logits of the student, in the order of `labels.json`.
    pub(crate) logits: Vec<f32>,
    /// `[C]` raw logits of the teacher, where the run had one that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) teacher: Option<Vec<f32>>,
}

/// The lines of labelled `examples`; a teacher's rows, where there are any, stand in the examples' order.
pub(crate) fn lines(
    labels: &LabelSet,
    examples: &[Example],
    predictions: &[Prediction],
    teacher: &[Option<Vec<f32>>],
) -> Vec<Line> {
    let teacher = teacher.iter().cloned().chain(std::iter::repeat(None));
    let line = |((example, prediction), teacher): ((&Example, &Prediction), _)| {
        let target = example.target.as_ref()?;
        Some(Line {
            content: ContentHash::new(&example.text, example.text_pair.as_deref()).to_string(),
            target: Answer::of(target, labels),
            prediction: Answer::of(&prediction.target(labels.task()), labels),
            logits: prediction.logits.clone(),
            teacher,
        })
    };
    examples.iter().zip(predictions).zip(teacher).filter_map(line).collect()
}

/// Writes them, whole or not at all.
pub(crate) fn write(folder: &Path, set: &str, lines: &[Line]) -> anyhow::Result<()> {
    let path = folder.join(file_name(set));
    write_atomically_with(&path, |out| {
        lines.iter().try_for_each(|line| {
            serde_json::to_writer(&mut *out, line)?;
            out.write_all(b"\n")
        })
    })
    .with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a file back; a line that does not fit the run's labels is an error that names it.
pub(crate) fn read(
    folder: &Path,
    set: &str,
    labels: &LabelSet,
) -> anyhow::Result<(Vec<Line>, Vec<Judged>)> {
    let path = folder.join(file_name(set));
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut lines, mut judged) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(BufReader::new(file).lines()) {
        let at = || format!("{}:{number}", path.display());
        let line: Line = serde_json::from_str(&text.with_context(at)?).with_context(at)?;
        judged.push(Judged::new(&line, labels).with_context(at)?);
        lines.push(line);
    }
    ensure!(!lines.is_empty(), "{} has no lines", path.display());
    Ok((lines, judged))
}

/// A line with its names understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) truth: Target,
    pub(crate) predicted: Target,
    logits: Vec<f32>,
    taught: Option<Target>,
}

impl Judged {
    pub(crate) fn new(line: &Line, labels: &LabelSet) -> anyhow::Result<Self> {
        let outputs = |logits: &[f32]| {
            let (found, wanted) = (logits.len(), labels.len());
            ensure!(found == wanted, "{found} logits where the run has {wanted} labels");
            Ok(Prediction { logits: logits.to_vec(), truncated: false })
        };
        let taught = line.teacher.as_deref().map(outputs).transpose()?;
        Ok(Self {
            truth: line.target.to_target(labels)?,
            predicted: line.prediction.to_target(labels)?,
            logits: outputs(&line.logits)?.logits,
            taught: taught.map(|row| row.target(labels.task())),
        })
    }

    /// The probability that the student gives to each thing it decided, and whether it was right.
    fn decisions(&self) -> Vec<(f64, bool)> {
        match (&self.predicted, &self.truth) {
            (Target::Label(class), Target::Label(truth)) => {
                vec![(softmax(&self.logits)[*class], class == truth)]
            }
            (Target::Labels(predicted), Target::Labels(truth)) => {
                let decided = |(class, p): (usize, f64)| {
                    let applies = predicted.contains(&class);
                    (if applies { p } else { 1.0 - p }, applies == truth.contains(&class))
                };
                sigmoid(&self.logits).into_iter().enumerate().map(decided).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The task's report of these.
pub(crate) fn report(labels: &LabelSet, judged: &[Judged]) -> Report {
    let pairs: Vec<_> = judged.iter().map(|j| (&j.truth, j.predicted.clone())).collect();
    Report::new(labels, &pairs)
}

/// What a report does not say; what is not defined is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct BesidesReport {
    /// [`agreement`] with the teacher, of the examples that it answered.
    pub(crate) agreement_with_teacher: Option<f64>,
    /// [`agreement`] of the teacher with the truth, of the examples that it answered: its accuracy, in a regression its
    /// Pearson correlation.
    pub(crate) teacher_score: Option<f64>,
    /// [`expected_calibration_error`]; in a multi-label task over the labels' decisions, in a regression none.
    pub(crate) ece: Option<f64>,
}

impl BesidesReport {
    pub(crate) fn of(judged: &[Judged]) -> Self {
        let taught = judged.iter().filter_map(|j| Some((&j.predicted, j.taught.as_ref()?)));
        let right = judged.iter().filter_map(|j| Some((&j.truth, j.taught.as_ref()?)));
        let defined = |value: f64| (!value.is_nan()).then_some(value);
        Self {
            agreement_with_teacher: defined(agreement(taught)),
            teacher_score: defined(agreement(right)),
            ece: defined(expected_calibration_error(judged.iter().flat_map(Judged::decisions))),
        }
    }

    /// By name, as the summary has them.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("agreement_with_teacher", self.agreement_with_teacher),
            ("teacher_score", self.teacher_score),
            ("ece", self.ece),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(task: Task, names: &[&str]) -> LabelSet {
        LabelSet::of_task(task, names.iter().map(ToString::to_string).collect()).unwrap()
    }

    fn example(text: &str, target: Target) -> Example {
        Example { text: text.to_owned(), text_pair: None, target: Some(target) }
    }

    fn predicted(logits: &[f32]) -> Prediction {
        Prediction { logits: logits.to_vec(), truncated: false }
    }

    #[test]
    fn what_is_written_reads_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        for (labels, target, logits) in [
            (labels(Task::SingleLabel, &["a", "b"]), Target::Label(1), vec![0.1, 16_777_217.0]),
            (labels(Task::MultiLabel, &["a", "b"]), Target::Labels(vec![0, 1]), vec![1e-40, -3.0]),
            (labels(Task::MultiLabel, &["a", "b"]), Target::Labels(vec![]), vec![0.3, 2.0]),
            (labels(Task::Regression, &["score"]), Target::Value(0.1), vec![1.0 / 3.0]),
        ] {
            let (examples, answers) = ([example("一", target.clone())], [predicted(&logits)]);
            let written = lines(&labels, &examples, &answers, &[Some(logits.clone())]);
            write(folder.path(), "dev", &written).unwrap();
            let (read, judged) = read(folder.path(), "dev", &labels).unwrap();
            assert_eq!(read, written);
            assert_eq!((&judged[0].truth, &judged[0].logits), (&target, &logits));
        }
        let text = std::fs::read_to_string(folder.path().join("dev_predictions.jsonl")).unwrap();
        assert!(text.contains("\"target\":0.1,") && text.contains("[0.33333334]"), "{text}");
    }

    #[test]
    fn agreement_and_calibration_follow_from_the_logits() {
        let labels = labels(Task::SingleLabel, &["a", "b"]);
        let examples = [0, 1, 0].map(|class| example("x", Target::Label(class)));
        // Probabilities 3/4 and 1/4 of what is decided.
        let sure = [3f32.ln(), 0.0];
        let answers = [predicted(&sure), predicted(&sure), predicted(&[0.0, 3f32.ln()])];
        let teacher = [Some(vec![1.0, 0.0]), Some(vec![0.0, 1.0]), None];
        let lines = lines(&labels, &examples, &answers, &teacher);
        let judged: Vec<_> = lines.iter().map(|l| Judged::new(l, &labels).unwrap()).collect();
        let besides = BesidesReport::of(&judged);
        // One of the two that the teacher answered; confidence 3/4 where 1 of 3 is right.
        assert_eq!(besides.agreement_with_teacher, Some(0.5));
        assert_eq!(besides.teacher_score, Some(1.0));
        assert!((besides.ece.unwrap() - (0.75 - 1.0 / 3.0)).abs() < 1e-6, "{besides:?}");
    }

    #[test]
    fn each_label_of_several_is_a_decision_and_a_number_is_none() {
        let many = labels(Task::MultiLabel, &["a", "b"]);
        let line = lines(
            &many,
            &[example("x", Target::Labels(vec![0]))],
            &[predicted(&[3f32.ln(), 3f32.ln()])],
            &[],
        );
        // Both were said with 3/4, one was right.
        let besides = BesidesReport::of(&[Judged::new(&line[0], &many).unwrap()]);
        assert!((besides.ece.unwrap() - 0.25).abs() < 1e-6);
        assert_eq!(besides.agreement_with_teacher, None);

        let number = labels(Task::Regression, &["score"]);
        let line = lines(&number, &[example("x", Target::Value(1.0))], &[predicted(&[2.0])], &[]);
        let judged = Judged::new(&line[0], &number).unwrap();
        assert_eq!(BesidesReport::of(&[judged]).iter().count(), 0);
    }

    #[test]
    fn a_line_that_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let labels = labels(Task::SingleLabel, &["a", "b"]);
        let path = folder.path().join("dev_predictions.jsonl");
        let good = r#"{"content":"00","target":"a","prediction":"b","logits":[0.0,1.0]}"#;
        for (bad, said) in [
            (r#"{"content":"00"}"#, "missing field"),
            (&good.replace("\"b\"", "\"c\"") as &str, "\"c\" is no label of this run"),
            (&good.replace(",1.0", ""), "1 logits where the run has 2 labels"),
            (&good.replace("\"b\"", "0.5"), "no target of a single-label task"),
        ] {
            std::fs::write(&path, format!("{good}\n{bad}\n")).unwrap();
            let error = format!("{:#}", read(folder.path(), "dev", &labels).unwrap_err());
            assert!(error.contains("dev_predictions.jsonl:2: ") && error.contains(said), "{error}");
        }
    }
}
