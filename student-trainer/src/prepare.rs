//! Everything that can be found wrong before training starts: data, labels, teacher, tokenizer.

use anyhow::Context as _;
use lectern::{
    commands::{Usage, check_free, tokenise},
    data::{SplitFiles, Splits, Task},
    models::{Initial, StudentConfig},
    text::{Tokenizer, Tokens},
    wire::{RowFormat, TeacherCard},
};

use crate::{
    config::{Objective, TrainConfig},
    describe::encoding_name,
    labels::SoftLabels,
    source::Source,
    student::{Coverage, Plan, check_there, plan},
};

/// A run that has everything it needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) objective: Objective,
    pub(crate) card: Option<TeacherCard>,
    /// Targets in the teacher's order where there is a teacher, so that its rows need no reordering.
    pub(crate) data: Splits,
    pub(crate) train_tokens: Vec<Tokens>,
    /// Of `train_tokens`.
    pub(crate) lengths: Vec<usize>,
    /// The rows of all epochs in the order of training, where there is a teacher.
    pub(crate) soft: Option<SoftLabels>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) model: StudentConfig,
    /// What the student's weights start from.
    pub(crate) initial: Initial,
    /// Of pretrained word vectors, where there are any.
    pub(crate) coverage: Option<Coverage>,
}

/// Looks at the output folder, reads the files, asks the teacher for its card, builds the tokenizer,
/// then begins to fetch rows: the cheap and the likely mistakes first. Where the teacher says what the task is,
/// the files are read once it has.
pub(crate) fn prepare(config: &TrainConfig) -> anyhow::Result<Prepared> {
    check_free(&config.output)?;
    check_there(&config.student_settings)?;
    let read = |task| Splits::read(files(config, task));
    let open = || {
        let source = config.soft_labels.as_ref();
        source.map(|source| Source::open(source, config.teacher_patience)).transpose()
    };
    let (objective, mut data, source);
    if let Some(task) = config.task {
        (objective, data, source) = (config.objective(task)?, read(task)?, open()?);
    } else {
        files(config, Task::default()).check_there()?;
        source = open()?;
        let task = source.as_ref().map(|source| source.card().task).unwrap_or_default();
        (objective, data) = (config.objective(task)?, read(task)?);
    }
    let card = source.as_ref().map(|source| source.card().clone());
    if let Some(card) = &card {
        check_rows(config, objective.task, card)?;
        take_the_teachers_order(&mut data, card)?;
    }

    let plan = plan(config, &data.train)?;
    let train_tokens = tokenise(&plan.tokenizer, &data.train, config.max_length)?;
    let coverage = plan.coverage(&train_tokens);
    let lengths: Vec<usize> = train_tokens.iter().map(Tokens::len).collect();
    let soft = source.map(|source| source.start(config, &data.train, &lengths)).transpose()?;
    let Plan { tokenizer, model, initial, .. } = plan;
    Ok(Prepared {
        objective,
        card,
        data,
        train_tokens,
        lengths,
        soft,
        tokenizer,
        model,
        initial,
        coverage,
    })
}

fn files(config: &TrainConfig, task: Task) -> SplitFiles<'_> {
    SplitFiles {
        train: &config.train,
        dev: &config.dev,
        test: config.test.as_deref(),
        label_names: config.label_names.as_deref(),
        task,
        columns: &config.columns,
    }
}

/// Whether the teacher answers what is learnt, and writes rows the way they were asked for.
fn check_rows(config: &TrainConfig, task: Task, card: &TeacherCard) -> Result<(), Usage> {
    let (name, theirs, classes) = (&card.name, card.task, card.labels.len());
    let RowFormat { encoding, top_k, .. } = config.format;
    if theirs != task {
        return Err(Usage(format!(
            "--task {task}: teacher {name} was trained for a {theirs} task"
        )));
    }
    if !card.encodings.contains(&encoding) {
        let encoding = encoding_name(encoding);
        return Err(Usage(format!(
            "--encoding {encoding}: teacher {name}, of a {theirs} task, does not offer it"
        )));
    }
    if top_k >= classes {
        let few = format!("--top-k {top_k}: teacher {name} has only {classes} labels");
        return Err(Usage(few));
    }
    Ok(())
}

/// Matches the data's labels with the teacher's by name.
fn take_the_teachers_order(data: &mut Splits, card: &TeacherCard) -> anyhow::Result<()> {
    let theirs = card.label_set()?;
    let differ = format!(
        "the data has the labels {:?}, teacher {} has {:?}; where the data has ids, \
         --label-names FILE names them",
        data.labels.names(),
        card.name,
        theirs.names()
    );
    data.relabel(theirs).context(differ)
}
