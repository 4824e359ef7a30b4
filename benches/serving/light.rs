//! A light student beside one that floods: how much longer its batches take. At worst it may wait for
//! the forward pass that is under way when it asks, so the bound is twice its own time plus one pass.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use lectern::{
    models::{Arithmetic, Classifier as _, Teacher},
    text::Tokens,
};
use serde_json::Value;
use student_trainer::labels::TeacherUrl;
use tokio::{runtime::Runtime, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Bench,
    client::{Client, Texts},
    common::median,
    headlines::Headlines,
    measures::{at_most, percentile, plain},
    models::MINI,
    server::{Server, Task},
};

/// Headlines of one request of the light student, and its pause between an answer and the next.
const REQUEST: usize = 16;
/// What servers choose on machines of a few cores; stated here, for the bound needs the time of a pass.
const BATCH_TOKENS: usize = 512;
const PAUSE: Duration = Duration::from_millis(20);
/// Requests in a turn of each kind.
const REQUESTS: usize = 40;
/// Examples in a message of the one that floods.
const FLOOD: usize = 64;
/// How long the flood may rise before it is measured, and what was dropped after it may run off.
const RISE: Duration = Duration::from_secs(1);
/// Characters of a text that fills a forward pass without a token of padding: 32 with its special two.
const FULL_LENGTH: usize = 30;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let model = MINI.folder()?;
    let max_batch_tokens = Some(BATCH_TOKENS);
    let task = Task { max_batch_tokens, ..Task::cold(model.clone(), bench.threads) };
    let server = Server::start(&task)?;
    let requests = bench.few(REQUESTS);
    let mut headlines = Headlines::fresh();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut alone, mut flooded) = (Vec::new(), Vec::new());
    // The first turn warms up.
    for turn in 0..=bench.turns {
        let texts = Arc::new(Texts::new(headlines.take(2 * requests * REQUEST)));
        let mut light = runtime.block_on(Client::open(server.url(), "light", texts))?;
        let quiet = latencies(&runtime, &mut light, requests)?;
        let flood = Flood::start(server.url(), headlines.take(16 * 1024));
        thread::sleep(RISE);
        let busy = latencies(&runtime, &mut light, requests)?;
        flood.stop()?;
        thread::sleep(RISE);
        if turn > 0 {
            alone.extend(quiet);
            flooded.extend(busy);
        }
    }
    let padding = server.stop()?.padding_share;
    let teacher = Teacher::load_for_serving(&model, tch::Device::Cpu, Arithmetic::Float32)?;
    let one_pass = full_pass(&teacher, BATCH_TOKENS)?;

    let (p99_alone, p99_flooded) = (percentile(&alone, 0.99), percentile(&flooded, 0.99));
    let (p50_alone, p50_flooded) = (percentile(&alone, 0.5), percentile(&flooded, 0.5));
    println!("{MINI}, {} requests of {REQUEST} headlines a side", alone.len());
    println!("alone:   median {:.0} ms, p99 {:.0} ms", 1e3 * p50_alone, 1e3 * p99_alone);
    println!("flooded: median {:.0} ms, p99 {:.0} ms", 1e3 * p50_flooded, 1e3 * p99_flooded);
    println!(
        "one pass of {} tokens: {:.0} ms; p99 flooded / alone {:.2}; padding {:.1} %",
        BATCH_TOKENS,
        1e3 * one_pass,
        p99_flooded / p99_alone,
        100.0 * padding,
    );
    let bound = 2.0 * p99_alone + one_pass;
    Ok(vec![
        at_most("light_student_p99_ratio", p99_flooded / bound, "of the bound", 1.0),
        plain("light_student_p99_flooded_vs_alone", p99_flooded / p99_alone, "ratio"),
        plain("light_student_p50_flooded_vs_alone", p50_flooded / p50_alone, "ratio"),
    ])
}

/// Seconds from question to last answer of each request.
fn latencies(runtime: &Runtime, light: &mut Client, requests: usize) -> Result<Vec<f64>> {
    runtime.block_on(async {
        let mut taken = Vec::with_capacity(requests);
        for _ in 0..requests {
            let start = Instant::now();
            light.ask_in_turn(1, REQUEST).await?;
            taken.push(start.elapsed().as_secs_f64());
            sleep(PAUSE).await;
        }
        Ok(taken)
    })
}

/// A student on a thread of its own that has its credits in flight all the time.
struct Flood {
    stop: CancellationToken,
    thread: JoinHandle<Result<()>>,
}

impl Flood {
    fn start(url: &TeacherUrl, texts: Vec<String>) -> Self {
        let (url, stop) = (url.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let flood = async {
                let mut client = Client::open(&url, "flood", Arc::new(Texts::new(texts))).await?;
                loop {
                    client.fill(FLOOD).await?;
                    client.rows().await?;
                }
            };
            match runtime.block_on(stopped.run_until_cancelled_owned(flood)) {
                Some(ended) => ended,
                None => Ok(()),
            }
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.thread.join().map_err(|_| anyhow!("the flood panicked"))?
    }
}

/// Seconds of a forward pass that fills `tokens`, the server being idle.
fn full_pass(teacher: &Teacher, tokens: usize) -> Result<f64> {
    let text = Headlines::seeded(1).take(1000).concat();
    let characters: Vec<char> = text.chars().collect();
    let batch: Vec<Tokens> = characters
        .chunks_exact(FULL_LENGTH)
        .take(tokens / (FULL_LENGTH + 2))
        .map(|text| teacher.tokenizer().encode(&String::from_iter(text), None))
        .collect::<Result<_, _>>()?;
    let batch: Vec<&Tokens> = batch.iter().collect();
    let mut taken = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        teacher.predict(&batch)?;
        taken.push(start.elapsed().as_secs_f64());
    }
    Ok(median(&taken))
}
