//! Eight students train on the same sentences for three epochs, each in its own order and remembering
//! nothing itself: what that takes beside one student's first epoch and the training alone.

use std::{
    collections::HashSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use lectern::{
    data::epoch_batches,
    text::{Tokenizer, Tokens},
    wire::Fingerprint,
};
use serde_json::Value;
use student_trainer::labels::{Request, SoftLabels, TeacherUrl};

use crate::{
    Bench,
    common::median,
    headlines::Headlines,
    measures::{at_most, exactly, plain},
    models::BERT_BASE,
    server::{Server, Task},
    students::{label, next, requests, settings},
    trainee::Trainee,
};

const STUDENTS: usize = 8;
const EPOCHS: u64 = 3;
const SENTENCES: usize = 384;
const BATCH: usize = 32;
const CLASSES: usize = 5;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let n = bench.few(SENTENCES);
    let model = BERT_BASE.folder()?;
    let tokenizer = Tokenizer::from_folder(&model, 64)?;
    let server =
        Server::start(&Task { store_bytes: 64 << 20, ..Task::cold(model, bench.threads) })?;
    let mut headlines = Headlines::fresh();
    let mut distinct = HashSet::new();
    let (mut ratios, mut first, mut training, mut together) = (vec![], vec![], vec![], vec![]);
    for turn in 0..=bench.turns {
        let (one, all) = (headlines.take(n), headlines.take(n));
        distinct.extend(one.iter().chain(&all).cloned());
        let data = Arc::new(Data::new(&all, &tokenizer)?);
        let one_epoch = label(server.url(), server.fingerprint(), vec![one])?;
        let training_alone = train(&data, None)?;
        let teacher = (server.url().clone(), server.fingerprint().clone());
        let trained_together = train(&data, Some(&teacher))?;
        // The first turn warms up.
        if turn > 0 {
            let parts = one_epoch + training_alone;
            ratios.push(trained_together.as_secs_f64() / parts.as_secs_f64());
            first.push(one_epoch.as_secs_f64());
            training.push(training_alone.as_secs_f64());
            together.push(trained_together.as_secs_f64());
        }
    }
    let computed = server.stop()?.computed;
    println!("{STUDENTS} students, {EPOCHS} epochs of {n} sentences, {BERT_BASE}");
    println!("one student's first epoch {first:.1?} s, their training alone {training:.1?} s");
    println!(
        "together {together:.1?} s; {computed} forward passes of {} sentences",
        distinct.len()
    );
    let passes = computed as f64 / distinct.len() as f64;
    Ok(vec![
        at_most("epochs_cost_ratio", median(&ratios), "ratio", 1.1),
        exactly("forward_passes_per_distinct_sentence", passes, "passes", 1.0),
        plain("epochs_training_share", median(&training) / median(&together), "ratio"),
    ])
}

/// What all students train on.
struct Data {
    requests: Vec<Arc<Request>>,
    tokens: Arc<Vec<Tokens>>,
    lengths: Vec<usize>,
    words: usize,
}

impl Data {
    fn new(texts: &[String], tokenizer: &Tokenizer) -> Result<Self> {
        let tokens: Vec<Tokens> =
            texts.iter().map(|text| tokenizer.encode(text, None)).collect::<Result<_, _>>()?;
        Ok(Self {
            requests: requests(texts),
            lengths: tokens.iter().map(Tokens::len).collect(),
            tokens: Arc::new(tokens),
            words: tokenizer.vocabulary_size(),
        })
    }

    /// All batches of one student, epoch by epoch.
    fn batches(&self, student: u64) -> Vec<Vec<usize>> {
        (0..EPOCHS).flat_map(|epoch| epoch_batches(&self.lengths, BATCH, student, epoch)).collect()
    }
}

/// Trains all students at the same time; without a teacher, on rows that are in hand.
fn train(data: &Arc<Data>, teacher: Option<&(TeacherUrl, Fingerprint)>) -> Result<Duration> {
    let students = (0..STUDENTS as u64)
        .map(|_| Trainee::new(Arc::clone(&data.tokens), data.words, CLASSES))
        .collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    let threads: Vec<_> = students
        .into_iter()
        .zip(0..)
        .map(|(mut student, number)| {
            let (data, teacher) = (Arc::clone(data), teacher.cloned());
            thread::spawn(move || -> Result<()> {
                // Eight that train share the cores; libtorch counts threads per calling thread.
                tch::set_num_threads(1);
                let batches = data.batches(number);
                let Some((url, fingerprint)) = teacher else {
                    let row: Arc<[f32]> = [0.1; CLASSES].into();
                    return batches.iter().try_for_each(|batch| {
                        student.step(batch, &vec![Arc::clone(&row); batch.len()])
                    });
                };
                let asked: Vec<Vec<_>> = batches
                    .iter()
                    .map(|batch| batch.iter().map(|&i| Arc::clone(&data.requests[i])).collect())
                    .collect();
                let settings = settings(url, &format!("student {number}"));
                let mut labels = SoftLabels::start(settings, fingerprint, asked.into_iter())?;
                batches.iter().try_for_each(|batch| student.step(batch, &next(&mut labels)?))
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a student panicked"))??;
    }
    Ok(start.elapsed())
}
