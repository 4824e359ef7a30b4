//! `student-trainer predict` as it is used, a process from a file to a file: its speed with one thread and with every
//! core, that both write the same bytes, and that memory does not grow with the input.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    common::{measure, median},
    headlines::{ALPHABET, Headlines},
    roles::Role,
    status::Status,
    student::run_folder,
};

/// Headlines of a turn, and how many times as many memory is looked at with too.
const HEADLINES: usize = 60_000;
const TIMES: usize = 4;
/// Of each number of threads, taken alternately.
const TURNS: usize = 3;
/// How often a process is looked at. Memory's high-water mark is the kernel's own, so nothing between is missed but what
/// happens after the last look.
const PERIOD: Duration = Duration::from_millis(5);
const MIB: f64 = (1 << 20) as f64;

/// One process from start to end.
struct Run {
    rows_per_second: f64,
    /// Most memory in RAM, bytes.
    peak: u64,
}

pub(crate) fn run(cores: usize, quick: bool) -> Result<Vec<Value>> {
    let (n, turns) = if quick { (HEADLINES / 20, 1) } else { (HEADLINES, TURNS) };
    let (student, files) = (run_folder(ALPHABET)?, tempfile::tempdir()?);
    let [short, long, alone, together] = ["short.txt", "long.txt", "alone.jsonl", "together.jsonl"]
        .map(|name| files.path().join(name));
    let mut headlines = Headlines::seeded(1);
    write_lines(&short, &headlines.take(n))?;
    write_lines(&long, &headlines.take(TIMES * n))?;
    let predict = |input: &Path, rows, output: &Path, threads| {
        predict(student.path(), input, output, threads)
            .map(|(seconds, peak)| Run { rows_per_second: rows as f64 / seconds, peak })
    };

    let (mut one, mut all) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        one.push(predict(&short, n, &alone, 1)?);
        all.push(predict(&short, n, &together, cores)?);
        ensure!(
            fs::read(&alone)? == fs::read(&together)?,
            "{cores} threads answered otherwise than one"
        );
    }
    let more = predict(&long, TIMES * n, &together, cores)?;
    let rates = |runs: &[Run]| runs.iter().map(|run| run.rows_per_second).collect::<Vec<_>>();
    let (one_rates, all_rates) = (rates(&one), rates(&all));
    println!(
        "{n} headlines, rows/s: 1 thread {one_rates:.0?}, {cores} threads {all_rates:.0?}; the same bytes"
    );
    println!("{} headlines, rows/s: {cores} threads {:.0}", TIMES * n, more.rows_per_second);
    let least = all.iter().map(|run| run.peak).min().context("nothing was run")?;
    let [least, most] = [least, more.peak].map(|bytes| bytes as f64 / MIB);
    println!("most memory: {least:.0} MiB, of {TIMES} times as many headlines {most:.0} MiB");
    let ratios: Vec<f64> = all_rates.iter().zip(&one_rates).map(|(all, one)| all / one).collect();
    Ok(vec![
        measure("predict_rows_per_second", median(&all_rates), "rows/s", None),
        measure("predict_rows_per_second_1_thread", median(&one_rates), "rows/s", None),
        measure("predict_threads_ratio", median(&ratios), "ratio", None),
        measure("predict_rss_mib", least, "MiB", None),
        measure("predict_rss_growth_mib", most - least, "MiB", None),
    ])
}

fn write_lines(path: &Path, lines: &[String]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}

/// Seconds from the start of the process to its end, loading included, and the most memory that it had.
fn predict(run: &Path, input: &Path, output: &Path, threads: usize) -> Result<(f64, u64)> {
    let mut command = Role::Student.command()?;
    command.arg("predict").arg("--run").arg(run).arg("--plain").arg(input);
    command.args(["--threads", &threads.to_string()]).env("RUST_LOG", "warn");
    command.stdout(File::create(output)?);
    let start = Instant::now();
    let mut process = command.spawn().context("cannot start the student trainer")?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        // A process that has just ended has no memory any more.
        if let Ok(bytes) = Status::of(process.id()).and_then(|status| status.bytes("VmHWM")) {
            peak = peak.max(bytes);
        }
        thread::sleep(PERIOD);
    };
    let seconds = start.elapsed().as_secs_f64();
    ensure!(status.success(), "predict failed: {status}");
    Ok((seconds, peak))
}
