//! What benches share: medians, the machine's peak, and the file of measures.

use std::{fs, path::PathBuf, time::Instant};

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

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
    peak_flops_of(Device::Cpu, Kind::Float)
}

/// The same elsewhere, or of other numbers.
pub(crate) fn peak_flops_of(device: Device, kind: Kind) -> f64 {
    // Milliseconds of work on either.
    let side = if device.is_cuda() { 8192 } else { 1024 };
    let a = Tensor::rand([side, side], (Kind::Float, device)).to_kind(kind);
    let rates: Vec<f64> = (0..8)
        .map(|_| {
            let start = Instant::now();
            // Reading a value waits for a GPU to finish.
            let _last = a.matmul(&a).double_value(&[side - 1, side - 1]);
            2.0 * (side as f64).powi(3) / start.elapsed().as_secs_f64()
        })
        .collect();
    median(&rates)
}
