//! What benches share: medians, the machine's peak, and the file of measures.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

/// The middle value; of an even number of values the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// One measure; `target` is a lower bound.
pub(crate) fn measure(metric: &str, value: f64, unit: &str, target: Option<f64>) -> Value {
    json!({
        "metric": metric,
        "value": value,
        "unit": unit,
        "target": target,
        "met": target.map(|target| value >= target),
    })
}

/// `target/bench`, where measures and what benches make for themselves lie.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}

/// Writes `target/bench/NAME.json`.
pub(crate) fn write(name: &str, measures: &[Value]) -> anyhow::Result<()> {
    fs::create_dir_all(folder())?;
    let path = folder().join(name).with_added_extension("json");
    lectern::files::write_atomically(&path, format!("{:#}\n", json!(measures)).as_bytes())?;
    Ok(())
}

/// Number of cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Floating-point operations a second of a large float32 matrix product, the roof of every model here.
pub(crate) fn peak_flops() -> f64 {
    let a = tch::Tensor::rand([1024, 1024], (tch::Kind::Float, tch::Device::Cpu));
    let rates: Vec<f64> = (0..8)
        .map(|_| {
            let start = std::time::Instant::now();
            let _product = a.matmul(&a);
            2.0 * 1024f64.powi(3) / start.elapsed().as_secs_f64()
        })
        .collect();
    median(&rates)
}
