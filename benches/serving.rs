//! Throughput of a teacher over gRPC against the same teacher called in process, all work done once and
//! nothing stored: 1 and 3 students sending unsorted headlines, against a loop over length-sorted
//! batches of 64 that were tokenised beforehand. Same model, same threads, alternately, in one process.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
mod common;

use std::{
    error::Error,
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{cores, headline_lengths, measure, median, peak_flops, scramble, write};
use lectern::{
    data::LabelSet,
    models::{Classifier as _, Pooling, Teacher, TeacherSettings, write_weights},
    text::Tokens,
    wire::Fingerprint,
};
use serde_json::json;
use student_trainer::labels::{Request, SoftLabels, StreamSettings, describe};
use tch::{Device, Kind, Tensor};
use teacher_server::{
    serve::{Listening, ServeConfig, Totals},
    store::StoreConfig,
};
use tokio_util::sync::CancellationToken;

const LAYERS: i64 = 6;
const HIDDEN: i64 = 384;
const INNER: i64 = 4 * HIDDEN;
/// Characters that texts are made of, one token each.
const ALPHABET: u32 = 2000;
const VOCABULARY: i64 = ALPHABET as i64 + 5;
const BATCH: usize = 64;
/// Headlines in one turn, and turns of each side, taken alternately.
const HEADLINES: usize = 1536;
const TURNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = cores();
    tch::set_num_threads(threads as i32);
    let peak = peak_flops();
    println!("{threads} threads, matrix-product peak {:.0} GFLOP/s", peak / 1e9);
    println!("random BERT, {LAYERS} layers x {HIDDEN}; {HEADLINES} headlines a turn");

    let folder = tempfile::tempdir()?;
    make_teacher(folder.path())?;
    let teacher = Teacher::load(folder.path(), Device::Cpu)?;
    let server = Server::start(folder.path(), threads)?;

    let (mut alone, mut one, mut three) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..=TURNS as u64 {
        // Distinct contents in every turn, so that nothing could be known even with a store.
        let texts = |part| headlines(HEADLINES, 4 * turn + part);
        let rates = (
            in_process(&teacher, &texts(0))?,
            served(&server, vec![texts(1)])?,
            served(&server, texts(2).chunks(HEADLINES / 3).map(<[String]>::to_vec).collect())?,
        );
        if turn > 0 {
            alone.push(rates.0);
            one.push(rates.1);
            three.push(rates.2);
        }
    }
    println!("examples/s: in process {alone:.0?}, 1 student {one:.0?}, 3 students {three:.0?}");
    let totals = server.stop()?;
    println!("padding {:.1} % of {} tokens", 100.0 * totals.padding_share(), totals.padded_tokens);
    let ratio =
        |served: &[f64]| median(&served.iter().zip(&alone).map(|(s, a)| s / a).collect::<Vec<_>>());
    let (one_ratio, three_ratio) = (ratio(&one), ratio(&three));
    write(
        "serving",
        &[
            measure("grpc_vs_in_process", one_ratio.min(three_ratio), "ratio", Some(0.95)),
            measure("grpc_vs_in_process_1_student", one_ratio, "ratio", Some(0.95)),
            measure("grpc_vs_in_process_3_students", three_ratio, "ratio", Some(0.95)),
            measure("in_process_examples_per_second", median(&alone), "examples/s", None),
            measure("in_process_share_of_peak", median(&alone) * flops() / peak, "ratio", None),
            measure("padding_share", totals.padding_share(), "ratio", None),
        ],
    )
}

/// Operations of one average headline, counting matrix products alone: 2 for each weight and token, and
/// attention's two products.
fn flops() -> f64 {
    let lengths = headline_lengths(HEADLINES);
    let per_headline: f64 = lengths
        .iter()
        .map(|&n| {
            let n = (n + 2) as f64;
            let weights = (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER) as f64;
            LAYERS as f64 * (2.0 * n * weights + 4.0 * n * n * HIDDEN as f64)
        })
        .sum();
    per_headline / lengths.len() as f64
}

/// Texts of headline lengths, none equal to another of any seed.
fn headlines(n: usize, seed: u64) -> Vec<String> {
    let letter = |i: u64| char::from_u32(0x4E00 + (scramble(i) % u64::from(ALPHABET)) as u32);
    headline_lengths(n)
        .iter()
        .enumerate()
        .map(|(i, &length)| {
            let start = (seed << 40) | ((i as u64) << 8);
            (0..length as u64).filter_map(|t| letter(start + t)).collect()
        })
        .collect()
}

/// A random BERT classifier of 5 classes with a vocabulary of single characters.
fn make_teacher(folder: &Path) -> Result<(), Box<dyn Error>> {
    let characters = (0..ALPHABET).filter_map(|i| char::from_u32(0x4E00 + i)).map(String::from);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let vocabulary: Vec<String> = special.into_iter().chain(characters).collect();
    fs::write(folder.join("vocab.txt"), vocabulary.join("\n"))?;
    let config = json!({
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 12, "intermediate_size": INNER, "vocab_size": VOCABULARY,
        "max_position_embeddings": 128, "type_vocab_size": 2,
    });
    fs::write(folder.join("config.json"), config.to_string())?;

    tch::manual_seed(1);
    let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.02;
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (table, rows) in [("word", VOCABULARY), ("position", 128), ("token_type", 2)] {
        tensors.push((format!("embeddings.{table}_embeddings.weight"), random(&[rows, HIDDEN])));
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for i in 0..LAYERS {
        let layer = format!("encoder.layer.{i}");
        for (part, output, input) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ] {
            tensors.push((format!("{layer}.{part}.weight"), random(&[output, input])));
            tensors.push((format!("{layer}.{part}.bias"), random(&[output])));
        }
        norms.push(format!("{layer}.attention.output.LayerNorm"));
        norms.push(format!("{layer}.output.LayerNorm"));
    }
    for norm in norms {
        tensors.push((format!("{norm}.weight"), random(&[HIDDEN]) + 1.0));
        tensors.push((format!("{norm}.bias"), random(&[HIDDEN])));
    }
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    write_weights(&folder.join("model.safetensors"), named)?;
    let labels = LabelSet::new(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec())?;
    let settings = TeacherSettings { pooling: Pooling::Mean, max_length: 64 };
    Teacher::from_encoder(folder, labels, settings, Device::Cpu)?.save(folder)?;
    Ok(())
}

/// Examples a second of the loop that the server is compared with; tokenising is not counted.
fn in_process(teacher: &Teacher, texts: &[String]) -> Result<f64, Box<dyn Error>> {
    let mut tokens: Vec<Tokens> = texts
        .iter()
        .map(|text| teacher.tokenizer().encode(text, None))
        .collect::<Result<_, _>>()?;
    tokens.sort_by_key(Tokens::len);
    let start = Instant::now();
    for batch in tokens.chunks(BATCH) {
        teacher.predict(&batch.iter().collect::<Vec<_>>())?;
    }
    Ok(texts.len() as f64 / start.elapsed().as_secs_f64())
}

/// Examples a second over gRPC, one student for each list of texts, tokenising and all.
fn served(server: &Server, students: Vec<Vec<String>>) -> Result<f64, Box<dyn Error>> {
    let total: usize = students.iter().map(Vec::len).sum();
    let start = Instant::now();
    let threads: Vec<_> = students
        .into_iter()
        .enumerate()
        .map(|(i, texts)| {
            let settings = StreamSettings {
                memory_bytes: 0,
                ..StreamSettings::new(server.url.parse()?, format!("student {i}"))
            };
            let fingerprint = server.fingerprint.clone();
            Ok(thread::spawn(move || {
                let batches: Vec<Vec<_>> = texts
                    .chunks(BATCH)
                    .map(|batch| {
                        batch
                            .iter()
                            .map(|text| Arc::new(Request::new(text.clone(), None)))
                            .collect()
                    })
                    .collect();
                let count = batches.len();
                let mut labels = SoftLabels::start(settings, fingerprint, batches.into_iter())?;
                (0..count).try_for_each(|_| labels.next_batch().map(drop))
            }))
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    for student in threads {
        student.join().map_err(|_| "a student panicked")??;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

/// A server in this process, on a port of its own.
struct Server {
    url: String,
    fingerprint: Fingerprint,
    stop: CancellationToken,
    ended: thread::JoinHandle<Result<Totals, String>>,
}

impl Server {
    fn start(model: &Path, threads: usize) -> Result<Self, Box<dyn Error>> {
        let config = ServeConfig {
            threads,
            store: StoreConfig::default(),
            drain: Duration::from_secs(5),
            ..ServeConfig::new(model)
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listening = runtime.block_on(Listening::bind(config))?;
        let url = format!("http://{}", listening.address());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let ended = thread::spawn(move || {
            runtime.block_on(listening.serve(stopped)).map_err(|cause| cause.to_string())
        });
        let fingerprint = describe(&url.parse()?, Duration::from_mins(1))?.fingerprint;
        Ok(Self { url, fingerprint, stop, ended })
    }

    fn stop(self) -> Result<Totals, Box<dyn Error>> {
        self.stop.cancel();
        Ok(self.ended.join().map_err(|_| "the server panicked")??)
    }
}
