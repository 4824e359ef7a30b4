//! `cargo xtask bench NAME`: runs one benchmark of the root package, and shows what it measured.

use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{libtorch, python, table, workspace};

/// The peers that benches start: PyTorch, and the BERT that runs on it.
const PYTORCH: [&str; 3] = ["torch==2.13.0", "numpy==2.3.5", "transformers==5.23.0"];

/// Which Python the benches use; where it is set already, it is taken as it is.
const PYTHON: &str = "LECTERN_BENCH_PYTHON";

/// One line of `target/bench/NAME.json`.
#[derive(Deserialize)]
struct Measure {
    metric: String,
    value: f64,
    unit: String,
    target: Option<f64>,
    met: Option<bool>,
}

/// Runs the benchmark `name` with `args`.
pub(crate) fn run(name: &str, args: &[String]) -> Result<()> {
    libtorch::ensure_any()?;
    // The whole workspace, so that libraries are built with the features that programs build them with.
    let mut bench = workspace::cargo(["bench", "--workspace", "--bench", name, "--"]);
    bench.args(args);
    if env::var_os(PYTHON).is_none() {
        bench.env(PYTHON, python::environment("pytorch", &PYTORCH)?);
    }
    let path = workspace::root().join("target/bench").join(name).with_added_extension("json");
    // Yesterday's numbers must not pass for today's.
    if path.exists() {
        fs::remove_file(&path)?;
    }
    ensure!(bench.status()?.success(), "the benchmark {name} failed: see above");
    let text = fs::read(&path)
        .with_context(|| format!("the benchmark {name} wrote no {}", path.display()))?;
    let measures: Vec<Measure> = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a list of measures", path.display()))?;
    let rows: Vec<_> = measures.iter().map(Measure::row).collect();
    println!("\n{}", table::render(["metric", "value", "unit", "target", "met"], &rows));
    Ok(())
}

impl Measure {
    fn row(&self) -> [String; 5] {
        let (target, met) = match (self.target, self.met) {
            (None, None) => ("-".into(), "-"),
            (target, met) => (
                target.map_or("-".into(), |target| target.to_string()),
                if met == Some(true) { "yes" } else { "no" },
            ),
        };
        let value = format!("{:.3}", self.value);
        [self.metric.clone(), value, self.unit.clone(), target, met.into()]
    }
}
