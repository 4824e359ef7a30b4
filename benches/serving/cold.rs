//! A server with nothing stored and eight students against PyTorch's own loop over length-sorted
//! batches: same weights, same headlines' lengths, same threads or GPU, alternately.

use std::fs;

use anyhow::Result;
use lectern::{commands::parse_device, models::Arithmetic};
use serde_json::Value;

use crate::{
    Bench,
    common::{folder, median, peak_flops_of},
    headlines::Headlines,
    machine::flops_per_headline,
    measures::{at_least, at_most, median_ratio, plain},
    models::BERT_BASE,
    peer::{Peer, PeerSpec},
    server::{Server, Task},
    students::{deal, label},
};

const STUDENTS: usize = 8;

/// What is compared on a kind of device.
struct Setting {
    /// Headlines of one turn.
    headlines: usize,
    /// Names of PyTorch's loops and what they compute with.
    loops: &'static [(&'static str, Arithmetic)],
    servers: &'static [Goal],
}

/// A server of one arithmetic, and how many times as fast as one of the loops it is to be.
struct Goal {
    metric: &'static str,
    arithmetic: Arithmetic,
    target: f64,
    of: &'static str,
}

impl Goal {
    const fn new(
        metric: &'static str,
        arithmetic: Arithmetic,
        target: f64,
        of: &'static str,
    ) -> Self {
        Self { metric, arithmetic, target, of }
    }
}

const ON_CPU: Setting = Setting {
    headlines: 768,
    loops: &[("pytorch_sorted", Arithmetic::Float32)],
    servers: &[
        Goal::new("cold", Arithmetic::Float32, 1.0, "pytorch_sorted"),
        Goal::new("cold_int8", Arithmetic::Int8, 2.3, "pytorch_sorted"),
    ],
};

const ON_GPU: Setting = Setting {
    headlines: 1 << 16,
    loops: &[
        ("pytorch_sorted", Arithmetic::Float32),
        ("pytorch_sorted_float16", Arithmetic::Float16),
    ],
    servers: &[
        Goal::new("cold", Arithmetic::Float32, 1.0, "pytorch_sorted"),
        Goal::new("cold_float16", Arithmetic::Float16, 1.0, "pytorch_sorted_float16"),
    ],
};

/// A server and what it reached.
struct Side {
    goal: &'static Goal,
    server: Server,
    rates: Vec<f64>,
    /// Headlines a second at the peak of matrix products.
    peaks: Vec<f64>,
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let device = parse_device(&bench.device).map_err(anyhow::Error::msg)?;
    let setting = if device.is_cuda() { &ON_GPU } else { &ON_CPU };
    let n = bench.few(setting.headlines);
    let model = BERT_BASE.folder()?;
    let mut headlines = Headlines::fresh();
    let file = folder().join("headlines.txt");
    fs::write(&file, headlines.take(n).join("\n"))?;

    // Nothing computes while another is measured: a server without work and a peer that was not asked
    // sleep.
    let loops = setting.loops.iter();
    let loops = loops.map(|(name, arithmetic)| PeerSpec::pytorch(name, &bench.device, *arithmetic));
    let mut peers = Vec::new();
    for spec in loops.collect::<Result<Vec<_>>>()?.iter().chain(&bench.peers) {
        let peer = Peer::start(spec, &model, &file, bench.threads)?;
        println!("{}: {}", peer.name, peer.description);
        peers.push((peer, Vec::new()));
    }
    let task = Task { device: bench.device.clone(), ..Task::cold(model, bench.threads) };
    let mut sides = Vec::new();
    for goal in setting.servers {
        let task = Task { arithmetic: goal.arithmetic.to_string(), ..task.clone() };
        let server = Server::start(&task)?;
        sides.push(Side { goal, server, rates: Vec::new(), peaks: Vec::new() });
    }

    for turn in 0..=bench.turns {
        for (peer, rates) in &mut peers {
            let rate = peer.turn(|| deal(&headlines.take(n), STUDENTS))?;
            // The first turn warms up.
            rates.extend((turn > 0).then_some(rate));
        }
        for side in &mut sides {
            let students = deal(&headlines.take(n), STUDENTS);
            let taken = label(side.server.url(), side.server.fingerprint(), students)?;
            side.rates.extend((turn > 0).then_some(n as f64 / taken.as_secs_f64()));
            // The machine's speed changes from minute to minute, so its peak takes part in the turns.
            let kind = side.goal.arithmetic.kind();
            let peak = || peak_flops_of(device, kind) / flops_per_headline(BERT_BASE);
            side.peaks.extend((turn > 0).then(peak));
        }
    }

    let mut measures = Vec::new();
    for (peer, rates) in &peers {
        println!("{} examples/s {rates:.1?}", peer.name);
        measures.push(plain(
            &format!("{}_examples_per_second", peer.name),
            median(rates),
            "examples/s",
        ));
    }
    for side in sides {
        let Side { goal: Goal { metric, target, of, .. }, server, rates, peaks } = side;
        println!("{metric} examples/s {rates:.1?}");
        for (peer, theirs) in &peers {
            let name = format!("{metric}_vs_{}", peer.name);
            let ratio = median_ratio(&rates, theirs);
            measures.push(if peer.name == *of {
                at_least(&name, ratio, "ratio", *target)
            } else {
                plain(&name, ratio, "ratio")
            });
        }
        let rate = median(&rates);
        measures.push(plain(&format!("{metric}_examples_per_second"), rate, "examples/s"));
        let share = median_ratio(&rates, &peaks);
        measures.push(plain(&format!("{metric}_share_of_peak"), share, "ratio"));
        let padding = server.stop()?.padding_share;
        measures.push(at_most(&format!("{metric}_padding_share"), padding, "ratio", 0.05));
    }
    Ok(measures)
}
