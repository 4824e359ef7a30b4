//! The whole path on real sentences: one teacher fine-tuned and served, three students trained
//! from it at the same time as three processes, everything scored in one table.

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

/// What a demo trains on, and how. The flags are the programs' own.
struct Settings {
    train: usize,
    dev: usize,
    test: usize,
    teacher: &'static str,
    student: &'static str,
}

const FULL: Settings = Settings {
    train: usize::MAX,
    dev: usize::MAX,
    test: usize::MAX,
    teacher: "--epochs 2 --batch-size 32 --lr 1e-4",
    student: "--epochs 5 --batch-size 32 --lr 1e-3 --schedule constant",
};

const QUICK: Settings = Settings {
    train: 1_600,
    dev: 500,
    test: 1_000,
    teacher: "--epochs 2 --batch-size 32 --lr 1e-4",
    student: "--epochs 4 --batch-size 32 --lr 1e-3 --schedule constant",
};

/// Alone, a program has every core; together, the server and the students have one thread each,
/// for libtorch's threads spin while they wait and would take the cores from each other.
const ALONE: &str = "2";
const TOGETHER: &str = "1";
/// Speeds are stated for one core.
const SCORED: &str = "1";

/// Name and loss of each student; without a loss it learns from hard labels and has no teacher.
const STUDENTS: [(&str, Option<&str>); 3] =
    [("hard-labels", None), ("ce-mse", Some("ce-mse")), ("mse", Some("mse"))];

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
    settings: &'static Settings,
    encoder: PathBuf,
    home: PathBuf,
    programs: PathBuf,
}

/// Runs the demo from set-up to table.
pub(crate) fn run(quick: bool) -> Result<()> {
    libtorch::ensure_any()?;
    let assets = assets::fetch()?;
    println!("building the programs");
    let programs = workspace::build_programs()?;
    let started = Instant::now();
    let settings = if quick { &QUICK } else { &FULL };
    let demo = Demo::prepare(settings, assets, programs)?;

    let (teacher, students) = (demo.finetune()?, demo.train_students()?);
    println!("scoring on one core");
    let summary = demo.score(&teacher, &students)?;
    demo.write(&summary)?;
    println!("\n{}", summary.table());
    println!("took {:.0?} after set-up and build", started.elapsed());
    Ok(())
}

impl Demo {
    /// Empties `target/demo` and puts the data there.
    fn prepare(settings: &'static Settings, assets: Assets, programs: PathBuf) -> Result<Self> {
        let home = workspace::root().join("target/demo");
        if home.exists() {
            fs::remove_dir_all(&home)
                .with_context(|| format!("emptying {} of the last demo", home.display()))?;
        }
        for folder in ["data", "logs", "students"] {
            fs::create_dir_all(home.join(folder))?;
        }
        for (name, rows) in
            [("train", settings.train), ("dev", settings.dev), ("test", settings.test)]
        {
            let name = format!("{name}.jsonl");
            let all = fs::read_to_string(assets.reviews.join(&name))?;
            let part: String = all.split_inclusive('\n').take(rows).collect();
            fs::write(home.join("data").join(name), part)?;
        }
        Ok(Self { settings, encoder: assets.encoder, home, programs })
    }

    fn finetune(&self) -> Result<PathBuf> {
        println!("fine-tuning the teacher");
        let teacher = self.home.join("teacher");
        let mut finetune = self.program("teacher-server", "finetune");
        finetune.arg("--encoder").arg(&self.encoder).arg("--output").arg(&teacher);
        self.add_data(&mut finetune);
        finetune.args(["--pooling", "mean", "--threads", ALONE]);
        finetune.args(self.settings.teacher.split(' '));
        job::finish(vec![self.start("finetune", finetune)?], None)?;
        Ok(teacher)
    }

    /// Serves the teacher, trains every student at the same time, and ends the server.
    fn train_students(&self) -> Result<Vec<PathBuf>> {
        let address_file = self.home.join("address");
        let mut serve = self.program("teacher-server", "serve");
        serve.arg("--model").arg(self.home.join("teacher"));
        serve.args(["--listen", "127.0.0.1:0", "--threads", TOGETHER]);
        serve.arg("--address-file").arg(&address_file);
        serve.arg("--store").arg(self.home.join("rows"));
        let mut server = self.start("serve", serve)?;
        let address = server.wait_for_file(&address_file, START_LIMIT)?;
        let teacher = format!("http://{}", address.trim());
        println!("training three students at the same time, teacher at {teacher}");

        let mut jobs = Vec::new();
        for (name, loss) in STUDENTS {
            let mut train = self.program("student-trainer", "train");
            self.add_data(&mut train);
            train.arg("--tokenizer").arg(self.encoder.join("tokenizer.json"));
            train.arg("--output").arg(self.student(name)).args(["--student", "bilstm"]);
            match loss {
                Some(loss) => train.args(["--loss", loss, "--teacher", &teacher, "--augment", "0"]),
                None => train.args(["--loss", "cross-entropy"]),
            };
            train.args(["--seed", "1", "--threads", TOGETHER]);
            train.args(self.settings.student.split(' '));
            jobs.push(self.start(name, train)?);
        }
        job::finish(jobs, Some(&mut server))?;
        server.terminate(DRAIN_LIMIT)?;
        Ok(STUDENTS.map(|(name, _)| self.student(name)).into())
    }

    fn score(&self, teacher: &Path, students: &[PathBuf]) -> Result<Summary> {
        let scores = self.evaluate("teacher-server", "--model", teacher)?;
        let teacher = Teacher { scores, folder: from_root(teacher) };
        let students = STUDENTS.iter().zip(students).map(|((name, _), run)| {
            let scores = self.evaluate("student-trainer", "--run", run)?;
            let Training { wait_share } = read(&run.join("summary.json"))?;
            Ok(Student { name, scores, wait_share, run: from_root(run) })
        });
        Ok(Summary { teacher, students: students.collect::<Result<_>>()? })
    }

    fn evaluate(&self, program: &str, flag: &str, model: &Path) -> Result<Scores> {
        let name = model.file_name().unwrap_or_default().to_string_lossy();
        let json = self.home.join(format!("{name}-scores.json"));
        let mut evaluate = self.program(program, "evaluate");
        evaluate.arg(flag).arg(model).arg("--data").arg(self.data("test"));
        evaluate.arg("--json").arg(&json).args(["--threads", SCORED]);
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
        let student =
            Student { name: "mse", scores: scores(), wait_share: Some(0.25), run: "r".into() };
        let teacher = Teacher { scores: scores(), folder: "f".into() };
        let summary = Summary { teacher, students: vec![student] };
        let scores = r#""accuracy":0.75,"macro_f1":0.5,"parameters":1200000,"sentences_per_second":99.6,"bytes":4800000"#;
        let expected = format!(
            r#"{{"teacher":{{{scores},"folder":"f"}},"students":[{{"name":"mse",{scores},"wait_share":0.25,"run":"r"}}]}}"#
        );
        assert_eq!(serde_json::to_string(&summary).unwrap(), expected);
        let last = summary.table().lines().last().map(str::to_owned);
        let cells = ["mse", "0.7500", "0.5000", "1,200,000", "100", "4.8", "MB", "25.0", "%"];
        assert_eq!(last.unwrap().split_whitespace().collect::<Vec<_>>(), cells);
    }
}
