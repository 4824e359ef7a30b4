//! What the numbers were measured on, and the roof that no model passes.

use std::fs;

use crate::{
    lengths::headline_lengths,
    models::{BERT_BASE, Size},
};

/// Instruction sets that decide how fast a matrix product is.
const FLAGS: [&str; 9] = [
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
];

/// Prints machine, threads and roofline. `peak` is in FLOP/s.
pub(crate) fn print(threads: usize, peak: f64) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value)
    };
    let flags: Vec<_> = field("flags").split(' ').filter(|flag| FLAGS.contains(flag)).collect();
    println!(
        "machine: {}, {} cores, {}",
        field("model name"),
        crate::common::cores(),
        flags.join(" ")
    );
    println!("threads of one forward pass: {threads}");
    println!("roofline: matrix-product peak {:.0} GFLOP/s in float32", peak / 1e9);
    let flops = flops_per_headline(BERT_BASE);
    println!(
        "roofline: {BERT_BASE} needs {:.2} GFLOP a headline, so at peak {:.1} headlines/s",
        flops / 1e9,
        peak / flops
    );
}

/// Operations of one average headline, counting matrix products alone: 2 for each weight and token, and
/// attention's two products.
pub(crate) fn flops_per_headline(size: Size) -> f64 {
    let (hidden, inner) = (size.hidden as f64, size.inner() as f64);
    let lengths = headline_lengths(1536);
    let per_headline: f64 = lengths
        .iter()
        .map(|&n| {
            let n = (n + 2) as f64;
            let weights = 4.0 * hidden * hidden + 2.0 * hidden * inner;
            size.layers as f64 * (2.0 * n * weights + 4.0 * n * n * hidden)
        })
        .sum();
    per_headline / lengths.len() as f64
}
