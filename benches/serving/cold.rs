//! A server with nothing stored and eight students against PyTorch's own loop over length-sorted
//! batches: same weights, same headlines' lengths, same threads, alternately.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use crate::{
    Bench,
    common::{folder, median, peak_flops},
    headlines::Headlines,
    machine::flops_per_headline,
    measures::{at_least, at_most, median_ratio, plain},
    models::BERT_BASE,
    peer::{Peer, PeerSpec},
    server::{Server, Task},
    students::{deal, label},
};

const STUDENTS: usize = 8;
/// In one turn.
const HEADLINES: usize = 768;

/// A server of one arithmetic and what it reached.
struct Side {
    metric: &'static str,
    target: f64,
    server: Server,
    rates: Vec<f64>,
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let n = bench.few(HEADLINES);
    let model = BERT_BASE.folder()?;
    let mut headlines = Headlines::fresh();
    let file = folder().join("headlines.txt");
    fs::write(&file, headlines.take(n).join("\n"))?;

    // Nothing computes while another is measured: a server without work and a peer that was not asked
    // sleep.
    let mut peers = Vec::new();
    for spec in [PeerSpec::pytorch()?].iter().chain(&bench.peers) {
        let peer = Peer::start(spec, &model, &file, bench.threads)?;
        println!("{}: {}", peer.name, peer.description);
        peers.push((peer, Vec::new()));
    }
    let task = Task::cold(model, bench.threads);
    let mut sides = Vec::new();
    for (metric, target, arithmetic) in [("cold", 1.0, "float32"), ("cold_int8", 2.3, "int8")] {
        let task = Task { arithmetic: arithmetic.to_owned(), ..task.clone() };
        sides.push(Side { metric, target, server: Server::start(&task)?, rates: Vec::new() });
    }

    let mut peaks = Vec::new();
    for turn in 0..=bench.turns {
        // The machine's speed changes from minute to minute, so its peak takes part in the turns.
        peaks.extend((turn > 0).then(|| peak_flops() / flops_per_headline(BERT_BASE)));
        for (peer, rates) in &mut peers {
            let rate = peer.turn(|| deal(&headlines.take(n), STUDENTS))?;
            // The first turn warms up.
            rates.extend((turn > 0).then_some(rate));
        }
        for side in &mut sides {
            let students = deal(&headlines.take(n), STUDENTS);
            let taken = label(side.server.url(), side.server.fingerprint(), students)?;
            side.rates.extend((turn > 0).then_some(n as f64 / taken.as_secs_f64()));
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
        let Side { metric, target, server, rates } = side;
        println!("{metric} examples/s {rates:.1?}");
        for (peer, theirs) in &peers {
            let name = format!("{metric}_vs_{}", peer.name);
            let ratio = median_ratio(&rates, theirs);
            let is_goal = peer.name == "pytorch_sorted";
            measures.push(if is_goal {
                at_least(&name, ratio, "ratio", target)
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
