//! What the server does around forward passes: eight students, nothing stored, and a model that costs next to
//! nothing. No device makes a server faster than this.

use anyhow::Result;
use serde_json::Value;

use crate::{
    Bench,
    common::median,
    headlines::Headlines,
    measures::plain,
    models::TINY,
    process::CpuTime,
    server::{Server, Task},
    students::{deal, label},
};

const STUDENTS: usize = 8;
/// In one turn.
const HEADLINES: usize = 1 << 16;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let n = bench.few(HEADLINES);
    let server = Server::start(&Task::cold(TINY.folder()?, bench.threads))?;
    let mut headlines = Headlines::fresh();
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for turn in 0..=bench.turns {
        let students = deal(&headlines.take(n), STUDENTS);
        let before = CpuTime::of(server.id())?;
        let taken = label(server.url(), server.fingerprint(), students)?;
        let used = CpuTime::of(server.id())? - before;
        // The first turn warms up.
        if turn > 0 {
            rates.push(n as f64 / taken.as_secs_f64());
            costs.push(1e6 * (used.user + used.system) / n as f64);
        }
    }
    println!("{TINY}, {n} headlines a turn");
    println!("examples/s {rates:.0?}, microseconds of a core each {costs:.1?}");
    server.stop()?;
    Ok(vec![
        plain("overhead_examples_per_second", median(&rates), "examples/s"),
        plain("overhead_microseconds_per_example", median(&costs), "us"),
    ])
}
