//! The command line: flags become configurations here and nowhere deeper.

mod compare;
mod sweep;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::ensure;
use clap::{Args, Parser, Subcommand};
use lectern::{
    augmentation::Augmentation,
    commands::{
        ComputeOptions, EvaluateOptions, PredictOptions, Usage, Workers, evaluate_model,
        predict_with,
    },
    data::Columns,
    models::{BEST_WEIGHTS, Student},
};

use self::{compare::CompareArgs, sweep::SweepArgs};
use crate::{
    augment::{AugmentConfig, write_augmented},
    config::{AugmentFlags, LabelSource, TrainOptions},
    describe::CardLines,
    labels::TeacherUrl,
    seeds::train_seeds,
    source::Source,
    train::train,
    warm::{WarmConfig, warm},
};

/// Trains students on hard labels and a teacher's logits, judges them, and labels text with them.
#[derive(Debug, Parser)]
#[command(name = "student-trainer", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train one student and leave a run folder
    Train(Box<TrainArgs>),
    /// Fill a teacher's store with the rows of some files, so that runs after it never wait
    ///
    /// Each distinct text is asked for once. Prints one line of JSON with the counts. The exit code is 1 if
    /// the teacher refused any of them, for a run's --on-missing would then have to say what to do.
    Warm(WarmArgs),
    /// Write the texts that `train --augment` makes of a training file, as JSON Lines with the line each was made of
    ///
    /// To look at them, or to have a teacher label them beforehand with `warm`. Prints one line of JSON with the counts.
    Augment(AugmentArgs),
    /// Print what a teacher says of itself: labels, fingerprint, architecture, limits
    Describe(DescribeArgs),
    /// Print the classification report of a trained student on labelled examples
    Evaluate(EvaluateArgs),
    /// Label JSON Lines or plain lines of text, of any length and in constant memory
    ///
    /// Answers stand in the order of the input. Each thread has a model of its own.
    Predict(PredictArgs),
    /// Put finished runs side by side: scores, size, speed, and whether they differ by more than chance
    ///
    /// Prints Markdown tables: the scores of each run, agreement with its teacher, calibration (expected calibration error in 15
    /// bins, Guo et al. 2017), size and speed; the F1 of each label; and how far each run is from the baseline. That
    /// difference is of accuracy (of exact match in a multi-label task, of mean squared error in a regression) and has three
    /// tests: a paired bootstrap over the examples with 10,000 resamples (Berg-Kirkpatrick et al. 2012), McNemar's exact test
    /// (1947) of two single runs, and Welch's t-test over the seeds of two groups of runs. All runs must have been judged on
    /// the same examples; what their texts and targets are decides, not where they stand.
    Compare(CompareArgs),
    /// Do the runs that a file describes, as processes, some at a time, and compare them
    ///
    /// FILE.toml has `output`, the folder that run folders are made in; `parallel`, how many runs go on at a time [default:
    /// 1]; and options of `train` by the names of their flags: those of every run in [base], lists of values in [grid], of
    /// which every combination is a run, and further runs in [[runs]], each with what it has beside or instead of [base],
    /// optionally a `name`, and `without`, a list of options of [base] that it does not have, such as `teacher`. Runs that are
    /// finished are not done again, runs that were begun go on from their checkpoint. Runs with a `seed` of their own lie
    /// in one folder and are compared as one. The exit code is 1 if any failed.
    Sweep(SweepArgs),
}

#[derive(Debug, Args)]
struct TrainArgs {
    /// Settings as TOML, with the names of the flags as keys; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: TrainOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

#[derive(Debug, Args)]
struct WarmArgs {
    /// Address of the teacher server
    #[arg(long, value_name = "http://HOST:PORT")]
    teacher: TeacherUrl,
    /// Texts: .json, .jsonl, .csv, .tsv or .parquet; labels are not needed
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Each line of the files is a text
    #[arg(long, conflicts_with_all = ["text_column", "text_pair_column"])]
    plain: bool,
    /// Column or key of the text [default: text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column or key of the second text of a pair [default: `text_pair`, which may be absent]
    #[arg(long, value_name = "NAME")]
    text_pair_column: Option<String>,
    /// Name of the experiment, as the teacher's log shows it
    #[arg(long, default_value = "warm")]
    name: String,
    /// How long to wait for a teacher that is away, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    teacher_patience: u64,
}

#[derive(Debug, Args)]
struct AugmentArgs {
    /// Texts: .json, .jsonl, .csv, .tsv or .parquet, or .txt with a text a line; labels are not needed
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where to write to
    #[arg(long, value_name = "FILE.jsonl")]
    output: PathBuf,
    /// Column or key of the text [default: text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column or key of the second text of a pair [default: `text_pair`, which may be absent]
    #[arg(long, value_name = "NAME")]
    text_pair_column: Option<String>,
    #[command(flatten)]
    flags: AugmentFlags,
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// Address of the teacher server
    #[arg(long, value_name = "http://HOST:PORT")]
    teacher: Option<String>,
    /// Exported soft labels, which name their teacher
    #[arg(long, value_name = "FILE.parquet")]
    labels: Option<PathBuf>,
    /// As JSON, as a run folder keeps it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct EvaluateArgs {
    /// Run folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    options: EvaluateOptions,
}

#[derive(Debug, Args)]
struct PredictArgs {
    /// Run folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    options: PredictOptions,
}

impl WarmArgs {
    fn into_config(self) -> WarmConfig {
        WarmConfig {
            teacher: self.teacher,
            data: self.data,
            plain: self.plain,
            columns: Columns {
                text: self.text_column,
                text_pair: self.text_pair_column,
                label: None,
            },
            name: self.name,
            patience: Duration::from_secs(self.teacher_patience),
        }
    }
}

impl AugmentArgs {
    fn into_config(mut self) -> Result<AugmentConfig, Usage> {
        let (data, output) = (&self.data, &self.output);
        if output.extension().is_none_or(|ending| ending != "jsonl") || output == data {
            return Err(Usage(format!(
                "--output {}: must be another file than --data, and its name end in .jsonl",
                output.display()
            )));
        }
        let default = Augmentation::default().samples;
        let augmentation = self.flags.resolve(default)?;
        Ok(AugmentConfig {
            augmentation: augmentation
                .ok_or_else(|| Usage("--augment 0: must be at least 1".to_owned()))?,
            data: self.data,
            columns: Columns {
                text: self.text_column,
                text_pair: self.text_pair_column,
                label: None,
            },
            output: self.output,
        })
    }
}

impl Cli {
    /// Does what the command line asks.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(args) => {
                args.compute.set_threads();
                let config = args.options.over_file(args.config.as_deref())?.resolve()?;
                let device = args.compute.device;
                let summary = if config.seeds.is_empty() {
                    train(&config, device)?
                } else {
                    train_seeds(&config, device)?
                };
                writeln!(io::stdout(), "{:#}", summary.0)?;
            }
            Command::Warm(args) => {
                let summary = warm(&args.into_config())?;
                writeln!(io::stdout(), "{}", summary.to_json())?;
                let (refused, distinct) = (summary.refused(), summary.distinct);
                ensure!(
                    refused == 0,
                    "the teacher refused {refused} of {distinct} examples; leave them out, or let \
                     --on-missing of a run say what becomes of them"
                );
            }
            Command::Augment(args) => {
                writeln!(io::stdout(), "{}", write_augmented(&args.into_config()?)?)?;
            }
            Command::Describe(args) => {
                let source =
                    LabelSource::from_flags(args.teacher.as_deref(), args.labels.as_deref())?
                        .ok_or_else(|| Usage("--teacher or --labels is missing".to_owned()))?;
                let source = Source::open(&source, Duration::ZERO)?;
                let card = source.card();
                if args.json {
                    writeln!(io::stdout(), "{:#}", serde_json::to_value(card)?)?;
                } else {
                    write!(io::stdout(), "{}", CardLines(card))?;
                }
            }
            Command::Evaluate(args) => {
                let (run, device) = (args.run, args.options.compute.device);
                let bytes = run.join(BEST_WEIGHTS).metadata().map_or(0, |file| file.len());
                let task = Student::task(&run)?;
                evaluate_model(&args.options, bytes, task, || Student::load(&run, device))?;
            }
            Command::Predict(args) => {
                let (run, device) = (args.run, args.options.compute.device);
                let load = move || Student::load(&run, device);
                predict_with(&args.options, Workers::EachItsModel, load)?;
            }
            Command::Compare(args) => args.execute()?,
            Command::Sweep(args) => args.execute()?,
        }
        Ok(())
    }
}
