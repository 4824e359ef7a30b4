//! What is compared: students by their flags, each under every seed, as many at a time as there are cores.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use student_trainer::{config::DEFAULT_TEXTS, labels::describe};

use crate::{
    common,
    data::{DataSet, Kind},
    roles::Role,
    teacher::Teacher,
};

/// One student's settings.
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    /// What the table says of it.
    pub(crate) says: &'static str,
    taught: bool,
    flags: &'static str,
    /// Texts made of each, where it is not the default.
    augment: Option<usize>,
}

/// Without a teacher, and with its soft labels: what the gain is measured between.
pub(crate) const ALONE: &str = "alone";
pub(crate) const DISTILLED: &str = "distilled";

const TNEWS: [Experiment; 4] = [
    Experiment {
        name: "original-alone",
        says: "the original's BiLSTM as the original trains it, alone",
        taught: false,
        flags: "--student bilstm --optimizer sgd --lr 0.05 --schedule constant --epochs 3 --loss cross-entropy",
        augment: None,
    },
    Experiment {
        name: "original-distilled",
        says: "the same with the original's loss, CE + 2 MSE",
        taught: true,
        flags: "--student bilstm --optimizer sgd --lr 0.05 --schedule constant --epochs 3 --loss ce-mse",
        augment: Some(0),
    },
    Experiment {
        name: ALONE,
        says: "the same BiLSTM as Lectern trains it by default, alone",
        taught: false,
        flags: "",
        augment: None,
    },
    Experiment {
        name: DISTILLED,
        says: "the same BiLSTM, distilled as Lectern does by default",
        taught: true,
        flags: "",
        augment: None,
    },
];

const SST2: [Experiment; 2] = [
    Experiment {
        name: ALONE,
        says: "the paper's BiLSTM, alone",
        taught: false,
        flags: "--student bilstm-paper",
        augment: None,
    },
    Experiment {
        name: DISTILLED,
        says: "the paper's BiLSTM, distilled by default, which augments",
        taught: true,
        flags: "--student bilstm-paper",
        augment: None,
    },
];

/// An experiment's finished runs, in the order of the seeds.
pub(crate) struct Runs {
    pub(crate) experiment: &'static Experiment,
    pub(crate) folders: Vec<PathBuf>,
}

/// One student to train.
struct Job {
    folder: PathBuf,
    seed: u32,
    experiment: &'static Experiment,
}

/// Trains all students of `data` that are `wanted`.
pub(crate) fn run(
    data: &DataSet,
    teacher: &Path,
    seeds: &[u32],
    wanted: impl Fn(&str) -> bool,
    resume: bool,
) -> Result<Vec<Runs>> {
    let all: &'static [Experiment] = match data.kind {
        Kind::Tnews => &TNEWS,
        Kind::Sst2 => &SST2,
    };
    let runs: Vec<Runs> = all
        .iter()
        .filter(|experiment| wanted(experiment.name))
        .map(|experiment| {
            let folder = data.folder().join("runs").join(experiment.name);
            let folders = seeds.iter().map(|seed| folder.join(format!("seed-{seed}"))).collect();
            Runs { experiment, folders }
        })
        .collect();
    let mut jobs = VecDeque::new();
    for runs in &runs {
        for (folder, &seed) in runs.folders.iter().zip(seeds) {
            if resume && folder.join("summary.json").exists() {
                continue;
            }
            if !resume && folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            let experiment = runs.experiment;
            jobs.push_back(Job { folder: folder.clone(), seed, experiment });
        }
    }
    let server = Teacher::start(teacher, &data.folder().join("rows"))?;
    if jobs.iter().any(|job| job.experiment.taught) {
        warm(data, &server, all)?;
    }
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..common::cores())
            .map(|_| {
                scope.spawn(|| {
                    while let Some(job) = next() {
                        job.train(data, &server.url)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker: thread::ScopedJoinHandle<'_, Result<()>>| {
            worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker died")))
        })
    })?;
    Ok(runs)
}

/// Fills the teacher's store with all that its students will ask, so that they do not share cores with a teacher that
/// computes.
fn warm(data: &DataSet, server: &Teacher, experiments: &[Experiment]) -> Result<()> {
    let card = describe(&server.url.parse()?, Duration::from_mins(2))?;
    let mask = card.mask_token.context("a teacher without a mask token")?;
    let mut files = vec![data.train.clone(), data.dev.clone(), data.test.clone()];
    let texts = experiments.iter().filter(|e| e.taught && e.augment != Some(0));
    let mut texts: Vec<Option<usize>> = texts.map(|e| e.augment).collect();
    texts.dedup();
    for texts in texts {
        let made = data.folder().join("made.jsonl");
        let mut command = Role::Student.command()?;
        command.arg("augment").arg("--data").arg(&data.train).arg("--output").arg(&made);
        command.args(["--augment-mask-token", &mask]);
        command.args(["--augment", &texts.unwrap_or(DEFAULT_TEXTS).to_string()]);
        if made.exists() {
            fs::remove_file(&made)?;
        }
        ensure!(command.status()?.success(), "{} could not be varied", data.train.display());
        files.push(made);
    }
    let mut command = Role::Student.command()?;
    command.args(["warm", "--teacher", &server.url, "--data"]).args(files);
    ensure!(command.status()?.success(), "the teacher could not be warmed");
    Ok(())
}

impl Job {
    fn train(&self, data: &DataSet, url: &str) -> Result<()> {
        let Self { folder, seed, experiment } = self;
        let parent = folder.parent().context("a run without a folder")?;
        fs::create_dir_all(parent)?;
        let log = parent.join(format!("seed-{seed}.log"));
        let mut command = Role::Student.command()?;
        command.args(["train", "--resume", "--threads", "1", "--seed", &seed.to_string()]);
        command.args(["--name", experiment.name]);
        for (flag, path) in [
            ("--train", &data.train),
            ("--dev", &data.dev),
            ("--test", &data.test),
            ("--output", folder),
        ] {
            command.arg(flag).arg(path);
        }
        if experiment.taught {
            command.args(["--teacher", url]);
        }
        command.args(experiment.flags.split_whitespace());
        if let (true, Some(texts)) = (experiment.taught, experiment.augment) {
            command.args(["--augment", &texts.to_string()]);
        }
        let file = File::create(&log)?;
        let status = command.stdout(file.try_clone()?).stderr(file).status()?;
        ensure!(status.success(), "{} failed: see {}", folder.display(), log.display());
        println!("{} {} seed {seed} done", data.kind.name(), experiment.name);
        Ok(())
    }
}
