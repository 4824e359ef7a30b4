//! Memory with 64 students, each with its credits in flight, of which 32 never read an answer: half of
//! those ask for rows that are there at once, so that answers pile up, half for work that is queued.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    Bench,
    client::{Client, Texts},
    headlines::Headlines,
    measures::{at_most, plain},
    models::BERT_BASE,
    process::Resident,
    server::{Server, Task},
};

const READERS: usize = 32;
const DEAF_TO_STORED: usize = 16;
const DEAF_TO_COMPUTED: usize = 16;
/// Small, so that a store that is not full yet hides nothing.
const STORE_BYTES: u64 = 1 << 20;
/// Rows stored before the students come.
const STORED: usize = 256;
const BATCH: usize = 64;
const MIB: f64 = (1 << 20) as f64;
/// How often, and for how many times, memory is looked at.
const PERIOD: Duration = Duration::from_millis(500);
const LOOKS: usize = 30;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let model = BERT_BASE.folder()?;
    let weights = fs::metadata(model.join("model.safetensors"))?.len();
    let server =
        Server::start(&Task { store_bytes: STORE_BYTES, ..Task::cold(model, bench.threads) })?;
    let mut headlines = Headlines::fresh();
    let stored = Arc::new(Texts::new(headlines.take(STORED)));
    let mut distinct = |n: usize| Arc::new(Texts::new(headlines.take(n)));

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let looks = runtime.block_on(async {
        let mut first = Client::open(server.url(), "first", Arc::clone(&stored)).await?;
        first.ask_in_turn(STORED / BATCH, BATCH).await?;
        println!("before the students: {}", above(Resident::of(server.id())?, weights));

        let mut deaf = Vec::new();
        for i in 0..DEAF_TO_STORED + DEAF_TO_COMPUTED {
            let texts =
                if i < DEAF_TO_STORED { Arc::clone(&stored) } else { distinct(first.credits) };
            let mut student = Client::open(server.url(), &format!("deaf {i}"), texts).await?;
            student.fill(BATCH).await?;
            deaf.push(student);
        }
        let mut readers = Vec::new();
        for i in 0..READERS {
            let texts = distinct(2 * first.credits);
            let mut student = Client::open(server.url(), &format!("reader {i}"), texts).await?;
            student.fill(BATCH).await?;
            readers.push(tokio::spawn(async move {
                while student.rows().await.is_ok() && student.fill(BATCH).await.is_ok() {}
            }));
        }
        let mut looks = Vec::new();
        for _ in 0..bench.few(LOOKS) {
            sleep(PERIOD).await;
            looks.push(Resident::of(server.id())?);
        }
        readers.iter().for_each(tokio::task::JoinHandle::abort);
        anyhow::Ok(looks)
    })?;
    drop(runtime);
    server.stop()?;

    let most =
        looks.iter().copied().max_by_key(|look| look.all).context("memory was not looked at")?;
    let half = looks.len() / 2;
    let mean = |part: &[Resident]| {
        part.iter().map(|look| look.all as f64).sum::<f64>() / part.len() as f64
    };
    let growth = (mean(&looks[half..]) - mean(&looks[..half])) / MIB;
    println!("with 64 students: {}", above(most, weights));
    println!(
        "from the first half of {:?} to the second: {growth:+.1} MiB",
        PERIOD * looks.len() as u32
    );
    let over = (most.all as f64 - weights as f64 - STORE_BYTES as f64) / MIB;
    Ok(vec![
        at_most("rss_over_weights_mib", over, "MiB", 200.0),
        plain("rss_growth_mib", growth, "MiB"),
    ])
}

fn above(resident: Resident, weights: u64) -> String {
    let [all, files, weights] = [resident.all, resident.files, weights].map(|n| n as f64 / MIB);
    format!(
        "{all:.0} MiB resident, {:.0} over {weights:.0} of weights; {files:.0} are pages of files",
        all - weights
    )
}
