//! What a teacher's server gives and costs: the model's speed against PyTorch's own loop, epochs and
//! students that share rows, stored rows, a light student beside a greedy one, memory, and bytes.
//!
//! Each section starts a server of its own, as a process of its own: this program again, in another
//! role. `cargo xtask bench serving` makes the Python environment of the peer and passes its
//! interpreter in `LECTERN_BENCH_PYTHON`.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/headlines.rs"]
mod headlines;
#[path = "../common/lengths.rs"]
mod lengths;
#[path = "../common/sections.rs"]
mod sections;
#[path = "../common/status.rs"]
mod status;

mod client;
mod cold;
mod costs;
mod counting;
mod dialogue;
mod epochs;
mod in_process;
mod light;
mod machine;
mod measures;
mod memory;
mod models;
mod overhead;
mod peer;
mod process;
mod server;
mod stored;
mod stored_client;
mod students;
mod trainee;
mod wire_bytes;

use std::env;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use mimalloc::MiMalloc;
use serde_json::Value;

use peer::PeerSpec;
use sections::Sections;

/// As the server's own program has it.
#[global_allocator]
static HEAP: MiMalloc = MiMalloc;

/// Measures the server; writes `target/bench/serving.json`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sections: Sections<Section>,
    /// Measure the cold server against another too; may be given several times.
    ///
    /// COMMAND is run as `COMMAND MODEL_FOLDER HEADLINES_FILE THREADS`, prints one line of JSON with a
    /// key `ready` once it is loaded, and for each line of input labels all headlines once and prints
    /// `{"examples": N, "seconds": S}`. `grpc://HOST:PORT` is a running server that speaks Lectern's
    /// contract and has the model in target/bench/models.
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<PeerSpec>,
    /// Where `cold` computes: `cpu` or `cuda:N`. All other sections are about the server around the model and
    /// stay on the CPU
    #[arg(long, default_value = "cpu")]
    device: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Nothing stored, against PyTorch and every --peer
    Cold,
    /// gRPC against the same teacher called in process
    InProcess,
    /// What the server does around forward passes
    Overhead,
    /// Eight students, three epochs, the same data
    Epochs,
    /// Rows already stored, one core a side
    Stored,
    /// A light student beside one that floods
    Light,
    /// 64 students of which 32 never read
    Memory,
    /// Bytes of answer
    Wire,
}

/// How much to measure, and with what.
struct Bench {
    threads: usize,
    /// Turns of each side, taken alternately, after one that warms up.
    turns: usize,
    quick: bool,
    peers: Vec<PeerSpec>,
    /// Where `cold` computes.
    device: String,
}

fn main() -> Result<()> {
    let words: Vec<String> = env::args().collect();
    if let [_, role, task] = words.as_slice() {
        match role.as_str() {
            server::ROLE => return server::serve(task),
            stored_client::ROLE => return stored_client::serve(task),
            _ => {}
        }
    }
    let args = Args::parse();
    let threads = common::cores();
    tch::set_num_threads(threads as i32);
    machine::print(threads, common::peak_flops());
    let turns = if args.sections.quick { 1 } else { 5 };
    let quick = args.sections.quick;
    let bench = Bench { threads, turns, quick, peers: args.peer, device: args.device };
    let measures = args.sections.run(|section| section.run(&bench))?;
    common::write("serving", &measures)
}

impl Section {
    fn run(self, bench: &Bench) -> Result<Vec<Value>> {
        match self {
            Self::Cold => cold::run(bench),
            Self::InProcess => in_process::run(bench),
            Self::Overhead => overhead::run(bench),
            Self::Epochs => epochs::run(bench),
            Self::Stored => stored::run(bench),
            Self::Light => light::run(bench),
            Self::Memory => memory::run(bench),
            Self::Wire => wire_bytes::run(bench),
        }
    }
}

impl Bench {
    /// `full`, or a few in a quick run.
    fn few(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(6) } else { full }
    }
}
