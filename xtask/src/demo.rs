//! The whole path on real sentences: one teacher fine-tuned and served, three students trained
//! at the same time as three processes, two of them from it, everything scored in one table.

use std::{
    fmt::Display,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    assets::{self, Assets},
    job::{self, Job},
    libtorch, table, workspace,
};

/// How many sentences a demo has.
struct Sizes {
    train: usize,
    dev: usize,
    test: usize,
}

const FULL: Sizes = Sizes { train: usize::MAX, dev: usize::MAX, test: usize::MAX };
const QUICK: Sizes = Sizes { train: 1_600, dev: 500, test: 1_000 };

/// For a small encoder whose publisher trained the mean of its vectors.
const TEACHER: [&str; 8] =
    ["--pooling", "mean", "--epochs", "2", "--batch-size", "32", "--lr", "1e-4"];

/// Alone, a program has every core; together, the server and the students have one thread each,
/// for libtorch's threads spin while they wait and would take the cores from each other.
const ALONE: &str = "2";
const TOGETHER: &str = "1";
/// Speeds are stated for one core.
const SCORED: &str = "1";

/// Name of each student and what it has beside a teacher, if it has one: nothing for the recipe that is the default, which
/// makes two texts of each; the loss of the original, which makes none.
const STUDENTS: [(&str, Option<&[&str]>); 3] = [
    ("hard-labels", None),
    ("ce-mse", Some(&["--loss", "ce-mse", "--augment", "0"])),
    ("distilled", Some(&[])),
];

const START_LIMIT: Duration = Duration::from_mins(2);
const DRAIN_LIMIT: Duration = Duration::from_secs(40);

/// `target/demo/summary.json`.
#[derive(Serialize)]
struct Summary {
    teacher: Teacher,
    students: Vec<Student>,
}

#[derive(Serialize)]
struct Teacher {
    #[serde(flatten)]
    scores: Scores,
    folder: String,
}

#[derive(Serialize)]
struct Student {
    name: &'static str,
    #[serde(flatten)]
    scores: Scores,
    wait_share: Option<f64>,
    run: String,
}

/// What `evaluate --json` writes, as far as it is shown here.
#[derive(Serialize, Deserialize)]
struct Scores {
    accuracy: f64,
    macro_f1: f64,
    parameters: u64,
    sentences_per_second: f64,
    bytes: u64,
}

/// What a run folder's `summary.json` says of the training itself.
#[derive(Deserialize)]
struct Training {
    wait_share: Option<f64>,
}

/// The demo's folders and programs.
struct Demo {
    encoder: PathBuf,
    home: PathBuf,
    programs: PathBuf,
    /// Of the teacher; students have cores.
    device: String,
}

/// Runs the demo from set-up to table.
pub(crate) fn run(quick: bool, device: String) -> Result<()> {
    libtorch::ensure_any()?;
    let assets = assets::fetch()?;
    println!("building the programs");
    let programs = workspace::build_programs()?;
    let started = Instant::now();
    let demo = Demo::prepare(if quick { &QUICK } else { &FULL }, assets, programs, device)?;

    let (teacher, students) = (demo.finetune()?, demo.train_students()?);
    println!("scoring");
    let summary = demo.score(&teacher, &students)?;
    demo.write(&summary)?;
    println!("\n{}", summary.table());
    println!("took {:.0?} after set-up and build", started.elapsed());
    Ok(())
}

impl Demo {
    /// Empties `target/demo` and puts the data there.
    fn prepare(sizes: &Sizes, assets: Assets, programs: PathBuf, device: String) -> Result<Self> {
        let home = workspace::root().join("target/demo");
        if home.exists() {
            fs::remove_dir_all(&home)
                .with_context(|| format!("emptying {} of the last demo", home.display()))?;
        }
        for folder in ["data", "logs", "students"] {
            fs::create_dir_all(home.join(folder))?;
        }
        for (name, rows) in [("train", sizes.train), ("dev", sizes.dev), ("test", sizes.test)] {
            let name = format!("{name}.jsonl");
            let all = fs::read_to_string(assets.reviews.join(&name))?;
            let part: String = all.split_inclusive('\n').take(rows).collect();
            fs::write(home.join("data").join(name), part)?;
        }
        Ok(Self { encoder: assets.encoder, home, programs, device })
    }

    fn finetune(&self) -> Result<PathBuf> {
        println!("fine-tuning the teacher");
        let teacher = self.home.join("teacher");
        let mut finetune = self.program("teacher-server", "finetune");
        finetune.arg("--encoder").arg(&self.encoder).arg("--output").arg(&teacher);
        self.add_data(&mut finetune);
        finetune.args(TEACHER).args(["--threads", ALONE, "--device", &self.device]);
        job::finish(vec![self.start("finetune", finetune)?], None)?;
        Ok(teacher)
    }

    /// Serves the teacher, trains every student at the same time, and ends the server.
    fn train_students(&self) -> Result<Vec<PathBuf>> {
        let address_file = self.home.join("address");
        let mut serve = self.program("teacher-server", "serve");
        serve.arg("--model").arg(self.home.join("teacher"));
        serve.args(["--listen", "127.0.0.1:0", "--threads", TOGETHER, "--device", &self.device]);
        serve.arg("--address-file").arg(&address_file);
        serve.arg("--store").arg(self.home.join("rows"));
        let mut server = self.start("serve", serve)?;
        let address = server.wait_for_file(&address_file, START_LIMIT)?;
        let teacher = format!("http://{}", address.trim());
        println!("training three students at the same time, teacher at {teacher}");

        let mut jobs = Vec::new();
        for (name, taught) in STUDENTS {
            let mut train = self.program("student-trainer", "train");
            self.add_data(&mut train);
            train.arg("--output").arg(self.student(name)).args(["--threads", TOGETHER]);
            if let Some(flags) = taught {
                train.args(["--teacher", &teacher]).args(flags);
            }
            jobs.push(self.start(name, train)?);
        }
        job::finish(jobs, Some(&mut server))?;
        server.terminate(DRAIN_LIMIT)?;
        Ok(STUDENTS.map(|(name, _)| self.student(name)).into())
    }

    fn score(&self, teacher: &Path, students: &[PathBuf]) -> Result<Summary> {
        let scores = self.evaluate("teacher-server", "--model", teacher, &self.device)?;
        let teacher = Teacher { scores, folder: from_root(teacher) };
        let students = STUDENTS.iter().zip(students).map(|((name, taught), run)| {
            let scores = self.evaluate("student-trainer", "--run", run, "cpu")?;
            let Training { wait_share } = read(&run.join("summary.json"))?;
            let wait_share = taught.and(wait_share);
            Ok(Student { name, scores, wait_share, run: from_root(run) })
        });
        Ok(Summary { teacher, students: students.collect::<Result<_>>()? })
    }

    fn evaluate(&self, program: &str, flag: &str, model: &Path, device: &str) -> Result<Scores> {
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        let json = self.home.join(format!("{name}-scores.json"));
        let mut evaluate = self.program(program, "evaluate");
        evaluate.arg(flag).arg(model).arg("--data").arg(self.data("test"));
        evaluate.arg("--json").arg(&json).args(["--threads", SCORED, "--device", device]);
        job::finish(vec![self.start(&format!("{name}-evaluate"), evaluate)?], None)?;
        read(&json)
    }

    fn write(&self, summary: &Summary) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.home)?;
        serde_json::to_writer_pretty(&mut file, summary)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        let path = self.home.join("summary.json");
        file.persist(&path).with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }

    fn program(&self, name: &str, subcommand: &str) -> Command {
        let mut program = Command::new(self.programs.join(name));
        program.arg(subcommand).current_dir(workspace::root());
        program
    }

    fn start(&self, name: &str, command: Command) -> Result<Job> {
        Job::start(name, command, &self.home.join("logs"))
    }

    fn add_data(&self, command: &mut Command) {
        for (flag, name) in [("--train", "train"), ("--dev", "dev"), ("--test", "test")] {
            command.arg(flag).arg(self.data(name));
        }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.home.join(format!("data/{name}.jsonl"))
    }

    fn student(&self, name: &str) -> PathBuf {
        self.home.join("students").join(name)
    }
}

impl Summary {
    fn table(&self) -> String {
        let mut rows = vec![self.teacher.scores.row("teacher", "-")];
        for student in &self.students {
            let waited = student.wait_share.map(|share| format!("{:.1} %", 100.0 * share));
            rows.push(student.scores.row(student.name, waited.as_deref().unwrap_or("-")));
        }
        let header =
            ["model", "accuracy", "macro F1", "parameters", "sentences/s", "size", "waited"];
        table::render(header, &rows)
    }
}

impl Scores {
    fn row(&self, name: &str, waited: impl Display) -> [String; 7] {
        [
            name.into(),
            format!("{:.4}", self.accuracy),
            format!("{:.4}", self.macro_f1),
            table::grouped(self.parameters),
            format!("{:.0}", self.sentences_per_second),
            format!("{:.1} MB", self.bytes as f64 / 1e6),
            waited.to_string(),
        ]
    }
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} lacks something", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Scores {
        Scores {
            accuracy: 0.75,
            macro_f1: 0.5,
            parameters: 1_200_000,
            sentences_per_second: 99.6,
            bytes: 4_800_000,
        }
    }

    #[test]
    fn the_summary_has_the_promised_fields_in_order() {
        let student = Student {
            name: "distilled",
            scores: scores(),
            wait_share: Some(0.25),
            run: "r".into(),
        };
        let teacher = Teacher { scores: scores(), folder: "f".into() };
        let summary = Summary { teacher, students: vec![student] };
        let scores = r#""accuracy":0.75,"macro_f1":0.5,"parameters":1200000,"sentences_per_second":99.6,"bytes":4800000"#;
        let expected = format!(
            r#"{{"teacher":{{{scores},"folder":"f"}},"students":[{{"name":"distilled",{scores},"wait_share":0.25,"run":"r"}}]}}"#
        );
        assert_eq!(serde_json::to_string(&summary).unwrap(), expected);
        let last = summary.table().lines().last().map(str::to_owned);
        let cells = ["distilled", "0.7500", "0.5000", "1,200,000", "100", "4.8", "MB", "25.0", "%"];
        assert_eq!(last.unwrap().split_whitespace().collect::<Vec<_>>(), cells);
    }
}
