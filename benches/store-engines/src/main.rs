//! Which embedded database suits the label store's disk tier: redb or fjall, at the same durability.
//!
//! `cargo run --release --manifest-path benches/store-engines/Cargo.toml [FOLDER]`; FOLDER must lie on
//! the disk to be measured, and takes about 5 GB. Needs Linux, for `/proc`.

mod engines;

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use engines::{Engine, Fjall, Redb, Row};

/// Rows in one commit of the compute thread, and keys in one read of a stream.
const COMMIT_ROWS: u64 = 256;
const READ_ROWS: u64 = 64;
const GROUP: Duration = Duration::from_millis(50);
/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Classes, and rows stored: 1,000,000 are asked for, but of the wide ones only as many as fit a disk.
const SHAPES: [(usize, u64); 2] = [(5, 1_000_000), (1000, 200_000)];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // The process that is killed.
        ["write", engine, path, classes] => {
            let (path, classes) = (Path::new(path), classes.parse()?);
            match *engine {
                Redb::<false>::NAME => write_for_ever::<Redb<false>>(path, classes),
                Redb::<true>::NAME => write_for_ever::<Redb<true>>(path, classes),
                Fjall::NAME => write_for_ever::<Fjall>(path, classes),
                other => bail!("no engine is called {other}"),
            }
        }
        [] => measure_all(&env::temp_dir()),
        [folder] => measure_all(Path::new(folder)),
        _ => bail!("give at most the folder to measure in"),
    }
}

fn measure_all(folder: &Path) -> Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    println!(
        "| classes | engine | fill, group commit | CPU | written | commits of {COMMIT_ROWS} | reads of \
         {READ_ROWS} | misses | on disk | open | open after kill -9 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (classes, rows) in SHAPES {
        measure::<Redb<false>>(folder.path(), classes, rows)?;
        measure::<Redb<true>>(folder.path(), classes, rows)?;
        measure::<Fjall>(folder.path(), classes, rows)?;
    }
    Ok(())
}

/// One line of the table.
fn measure<E: Engine>(folder: &Path, classes: usize, rows: u64) -> Result<()> {
    let path = &folder.join(E::NAME.replace([',', ' '], "_"));
    let engine = E::open(path)?;

    let (start, cpu, written) = (Instant::now(), cpu_seconds()?, written_bytes()?);
    let mut next = 0;
    while next < rows {
        engine.group_commit(GROUP, &mut || batch(&mut next, classes))?;
    }
    let rows = next;
    let fill = rows as f64 / start.elapsed().as_secs_f64();
    let cpu = (cpu_seconds()? - cpu) / rows as f64 * 1e6;
    let written = (written_bytes()? - written) / rows;

    let (start, first) = (Instant::now(), next);
    while start.elapsed() < MEASURED {
        engine.group_commit(Duration::ZERO, &mut || batch(&mut next, classes))?;
    }
    let commits = (next - first) as f64 / start.elapsed().as_secs_f64();
    drop(engine);
    let on_disk = bytes_in(path)? / next;

    let start = Instant::now();
    let engine = E::open(path)?;
    ensure!(engine.get(&[key(0)])?[0].is_some(), "row 0 is gone");
    let open = start.elapsed();
    read(&engine, 0..next, classes, true)?;
    let reads = read(&engine, 0..next, classes, true)?;
    let misses = read(&engine, next..2 * next, classes, false)?;
    drop(engine);

    let mut writer = Command::new(env::current_exe()?)
        .args(["write", E::NAME])
        .arg(path)
        .arg(classes.to_string())
        .stdout(Stdio::null())
        .spawn()?;
    thread::sleep(Duration::from_secs(2));
    writer.kill()?;
    writer.wait()?;
    let start = Instant::now();
    let engine = E::open(path)?;
    ensure!(engine.get(&[key(0)])?[0].is_some(), "row 0 is gone");
    let open_killed = start.elapsed();
    drop(engine);

    println!(
        "| {classes} | {} | {fill:.0} rows/s | {cpu:.1} µs/row | {written} B/row | {commits:.0} rows/s | \
         {reads:.0} rows/s | {misses:.0} rows/s | {on_disk} B/row | {open:.1?} | {open_killed:.1?} |",
        E::NAME
    );
    if path.is_dir() {
        fs::remove_dir_all(path)?
    } else {
        fs::remove_file(path)?
    }
    Ok(())
}

fn write_for_ever<E: Engine>(path: &Path, classes: usize) -> Result<()> {
    let engine = E::open(path)?;
    let mut next = 1 << 40;
    loop {
        engine.group_commit(GROUP, &mut || batch(&mut next, classes))?;
    }
}

/// Rows read in a second of this thread's time on a core, at random in `range`, where all must be there,
/// or all be missing.
fn read<E: Engine>(
    engine: &E,
    range: std::ops::Range<u64>,
    classes: usize,
    there: bool,
) -> Result<f64> {
    let (start, on_core) = (Instant::now(), seconds_on_core()?);
    let (mut read, mut seed) = (0u64, 0);
    while start.elapsed() < MEASURED {
        let keys: Vec<_> = (0..READ_ROWS)
            .map(|_| {
                seed += 1;
                key(range.start + scramble(seed) % (range.end - range.start))
            })
            .collect();
        for value in engine.get(&keys)? {
            ensure!(
                value.is_some() == there,
                "a row is missing, or there without having been written"
            );
            ensure!(value.is_none_or(|value| value.len() == record_bytes(classes)));
        }
        read += READ_ROWS;
    }
    Ok(read as f64 / (seconds_on_core()? - on_core))
}

fn batch(next: &mut u64, classes: usize) -> Vec<Row> {
    let rows = *next..*next + COMMIT_ROWS;
    *next = rows.end;
    rows.map(|i| (key(i), value(i, classes))).collect()
}

fn key(i: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scramble(2 * i).to_le_bytes());
    key[8..].copy_from_slice(&scramble(2 * i + 1).to_le_bytes());
    key
}

/// Logits with a header and a checksum.
const fn record_bytes(classes: usize) -> usize {
    10 + 4 * classes
}

fn value(i: u64, classes: usize) -> Vec<u8> {
    let words = 0..record_bytes(classes).div_ceil(8) as u64;
    let mut value: Vec<u8> = words.flat_map(|j| scramble(i ^ (j << 40)).to_le_bytes()).collect();
    value.truncate(record_bytes(classes));
    value
}

/// A number without pattern for each number: the finaliser of SplitMix64 (Steele et al. 2014).
fn scramble(i: u64) -> u64 {
    let mut z = i.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Of all threads of this process.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Fields 14 and 15 of proc(5), counted behind the name in parentheses, in ticks of 10 ms.
    let fields = stat.rsplit(')').next().context("/proc/self/stat names no process")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// Of this thread, without the time it waited for a core.
fn seconds_on_core() -> Result<f64> {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = statistics.split_whitespace().next().context("schedstat is empty")?;
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}

/// That this process has caused to be written to the disk.
fn written_bytes() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("/proc/self/io has no write_bytes")?.parse()?)
}

fn bytes_in(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    if metadata.is_file() {
        // Blocks, not length: holes cost nothing.
        return Ok(metadata.blocks() * 512);
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += bytes_in(&entry?.path())?;
    }
    Ok(bytes)
}
