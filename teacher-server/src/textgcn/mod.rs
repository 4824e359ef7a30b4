//! textGCN (Yao, Mao, Luo 2019, arXiv 1809.05679): a teacher for a fixed set of documents. From files to a
//! folder with the logits of every document in them.
//!
//! `corpus` finds documents and words, `graph` the weighted edges between them, `model` computes, `train`
//! fits it to the labelled documents.

mod corpus;
mod graph;
mod model;
#[cfg(test)]
mod tests;
mod train;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use lectern::{
    commands::{check_free, claim_folder, judge, write_report},
    data::{Columns, Example, LabelSet, LabelUse, Target, Task, read_records},
    models::{Arithmetic, TextGcn, TextGcnAnswers, TextGcnConfig as Description},
};
use serde_json::json;
use tch::Device;
use tracing::{info, warn};

use corpus::{Corpus, Documents};
use graph::Graph;
use model::Gcn;
pub use train::TrainingConfig;

/// Everything that building a textGCN depends on.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "each field is the flag of the same name, documented in the help text"
)]
pub struct TextGcnConfig {
    pub train: PathBuf,
    pub unlabelled: Vec<PathBuf>,
    pub dev: Option<PathBuf>,
    pub test: Option<PathBuf>,
    pub output: PathBuf,
    pub label_names: Option<PathBuf>,
    pub columns: Columns,
    pub min_count: usize,
    pub window: usize,
    pub training: TrainingConfig,
    pub threads: usize,
    pub device: Device,
}

/// Builds the graph of all texts, trains on the labels of the training file, writes the folder and prints
/// the reports of dev and test.
pub fn text_gcn(config: &TextGcnConfig) -> anyhow::Result<()> {
    tch::set_num_threads(config.threads as i32);
    check_free(&config.output)?;
    let labelled =
        |path: &Path| read_records(path, &config.columns, LabelUse::Required(Task::SingleLabel));
    let train = labelled(&config.train)?;
    let labels = match &config.label_names {
        Some(path) => LabelSet::from_file(path, Task::SingleLabel)?,
        None => train.label_set()?,
    };
    let train = train.resolve(&labels)?;
    let mut judged: Vec<(&str, Vec<Example>)> = Vec::new();
    for (name, path) in [("dev", &config.dev), ("test", &config.test)] {
        if let Some(path) = path {
            judged.push((name, labelled(path)?.resolve(&labels)?));
        }
    }
    let mut documents = Documents::default();
    for example in &train {
        let label = match example.target {
            Some(Target::Label(label)) => Some(label),
            _ => None,
        };
        documents.add(&example.text, example.text_pair.as_deref(), label);
    }
    let known = documents.len();
    for (name, examples) in &judged {
        let seen = |e: &&Example| documents.has_label(&e.text, e.text_pair.as_deref());
        let seen = examples.iter().filter(seen).count();
        if seen > 0 {
            warn!(texts = seen, of = *name, "are training texts too: their labels were seen");
        }
    }
    for example in judged.iter().flat_map(|(_, examples)| examples) {
        documents.add(&example.text, example.text_pair.as_deref(), None);
    }
    for path in &config.unlabelled {
        for record in read_records(path, &config.columns, LabelUse::Ignored)?.rows() {
            documents.add(&record.text, record.text_pair.as_deref(), None);
        }
    }

    let corpus = Corpus::new(&documents, config.min_count)?;
    let graph = Graph::new(&corpus, config.window)?;
    info!(
        documents = documents.len(),
        labelled = known,
        words = corpus.vocabulary.len(),
        edges = graph.edges.len(),
        longest = corpus.longest(),
        "graph built"
    );
    tch::manual_seed(config.training.seed);
    let gcn = Gcn::new(&graph, config.training.hidden, labels.len(), config.device)?;
    claim_folder(&config.output)?;
    let trained = train::train(&gcn, documents.labels(), &config.training)?;

    let TrainingConfig { hidden, dropout, lr, epochs, patience, validation, seed } =
        config.training;
    let description = Description {
        documents: documents.len(),
        words: corpus.vocabulary.len(),
        edges: graph.edges.len(),
        hidden: hidden as usize,
        parameters: gcn.parameter_count(),
        longest: corpus.longest(),
        training: json!({
            "min_count": config.min_count,
            "window": config.window,
            "dropout": dropout,
            "lr": lr,
            "epochs": epochs,
            "patience": patience,
            "validation": validation,
            "seed": seed,
            "best_epoch": trained.epoch,
            "validation_loss": trained.loss,
        }),
    };
    let answers =
        TextGcnAnswers { contents: documents.contents().to_vec(), logits: trained.logits };
    TextGcn::save(&config.output, &description, &labels, &corpus.vocabulary, &answers)?;

    // What is on disk is what is judged.
    let teacher = TextGcn::load(&config.output, config.device, Arithmetic::Auto)?;
    let mut out = io::stdout().lock();
    for (name, examples) in &judged {
        let evaluation = judge(&teacher, examples)?;
        write_report(&config.output, name, &evaluation.report)
            .with_context(|| format!("cannot write the {name} report"))?;
        writeln!(out, "{name}\n{}", evaluation.report)?;
    }
    Ok(())
}
