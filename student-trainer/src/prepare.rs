//! Everything that can be found wrong before training starts: data, labels, teacher, tokenizer.

use anyhow::Context as _;
use lectern::{
    augmentation::Augmentation,
    commands::{Usage, check_output, tokenise},
    data::{Example, SplitFiles, Splits, Task},
    models::{Initial, StudentConfig},
    text::{Tokenizer, Tokens},
    wire::{RowFormat, TeacherCard},
};

use crate::{
    config::{Objective, TrainConfig},
    describe::encoding_name,
    order::Order,
    run_folder::SUMMARY,
    student::{Coverage, Plan, check_there, plan},
    teachers::{self, Ready},
    transfer::{add_transfer, read_texts},
};

/// A run that has everything it needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) objective: Objective,
    /// Of all teachers.
    pub(crate) cards: Vec<TeacherCard>,
    /// Targets in the first teacher's order where there is a teacher, so that its rows need no reordering.
    pub(crate) data: Splits,
    /// Of `data.train`.
    pub(crate) order: Order,
    /// Of `data.train`.
    pub(crate) train_tokens: Vec<Tokens>,
    /// Where rows come from, where there is a teacher; until they are asked for.
    pub(crate) teachers: Option<Ready>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) model: StudentConfig,
    /// What the student's weights start from.
    pub(crate) initial: Initial,
    /// Of pretrained word vectors, where there are any.
    pub(crate) coverage: Option<Coverage>,
}

/// Looks at the output folder, reads the files, asks the teacher for its card, builds the tokenizer: the
/// cheap and the likely mistakes first. Where the teacher says what the task is,
/// the files are read once it has.
pub(crate) fn prepare(config: &TrainConfig) -> anyhow::Result<Prepared> {
    check_output(&config.output, config.resume, "run", SUMMARY)?;
    check_there(&config.student_settings)?;
    let texts = read_texts(config)?;
    let read = |task| Splits::read(files(config, task));
    let (objective, mut data, sources, cards);
    if let Some(task) = config.task {
        config.objective(task, &[])?;
        data = read(task)?;
        (sources, cards) = teachers::open(config)?;
        objective = config.objective(task, &cards)?;
    } else {
        files(config, Task::default()).check_there()?;
        (sources, cards) = teachers::open(config)?;
        let task = cards.first().map(|card| card.task).unwrap_or_default();
        objective = config.objective(task, &cards)?;
        data = read(task)?;
    }
    for card in &cards {
        check_rows(config, objective.task, card)?;
    }
    if let Some(first) = cards.first() {
        take_the_teachers_order(&mut data, first)?;
    }

    let augmentation = objective.augmentation.as_ref();
    let counts = add_transfer(config, augmentation, &mut data.train, texts)?;
    let found: Vec<&Example> = counts.found(&data.train).collect();
    let plan = plan(config, &found, augmentation.and_then(Augmentation::hiding))?;
    let read = plan.mask.read(&data.train, counts);
    let train_tokens = tokenise(&plan.tokenizer, read, config.max_length)?;
    let coverage = plan.coverage(&train_tokens);
    let lengths: Vec<usize> = train_tokens.iter().map(Tokens::len).collect();
    let teachers = teachers::check(sources, config, &data.train)?;
    let order = Order::new(config, lengths, counts);
    let Plan { tokenizer, model, initial, .. } = plan;
    Ok(Prepared {
        objective,
        cards,
        data,
        order,
        train_tokens,
        teachers,
        tokenizer,
        model,
        initial,
        coverage,
    })
}

pub(crate) fn files(config: &TrainConfig, task: Task) -> SplitFiles<'_> {
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
