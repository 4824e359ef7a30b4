//! The flags of `serve`, and the process around a server: runtime, signals.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use lectern::{
    commands::{DEVICE_VARIABLE, ThreadOptions, Usage, parse_device},
    wire::Limits,
};
use tch::Device;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::model::ModelOptions;
use crate::{
    environment,
    serve::{Listening, ServeConfig, Share, TokensPerSecond, Verify, runtime},
    store::StoreConfig,
};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    model: ModelOptions,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    listen: String,
    /// Answer HTTP there: /metrics for Prometheus, /health
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// `cpu`, `cuda:N`, or several GPUs as `cuda:0,cuda:1`: a copy of the model on each
    #[arg(
        long = "device", env = DEVICE_VARIABLE, default_value = "cpu", value_name = "DEVICE,..",
        value_delimiter = ',', value_parser = parse_device
    )]
    devices: Vec<Device>,
    #[command(flatten)]
    threads: ThreadOptions,
    /// Tokens in one forward pass, padding included: more than the device needs only delays answers
    /// [default: measured at start-up]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_batch_tokens: Option<u32>,
    /// Where rows outlive the server: a folder, redis://HOST:PORT/DB to share them between servers, or
    /// both by giving the flag twice; `none` keeps them in memory alone
    /// [default: `$XDG_CACHE_HOME/lectern/rows` or `~/.cache/lectern/rows`]
    #[arg(long = "store", value_name = "DIR|URL|none")]
    stores: Vec<String>,
    /// Memory for rows in front of the store, in MiB; 0 for none
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    store_memory_mb: u32,
    /// Disk for rows in --store DIR, those of other teachers included, in MiB; at this size no more are
    /// written, and none removed: `store gc` does that [default: no limit]
    #[arg(long, value_name = "MIB")]
    store_disk_mb: Option<u32>,
    /// Compute one in N of the rows read from --store again when no student waits, and compare; 0 for
    /// none
    #[arg(long, default_value_t = 1000, value_name = "N")]
    verify_one_in: u64,
    /// Largest difference of a logit at which a stored row still agrees with the recomputed one
    /// [default: 0.001, with reduced arithmetic 0.1]
    #[arg(long, value_name = "DIFFERENCE")]
    verify_tolerance: Option<f32>,
    /// Share of an experiment in the teacher's time, beside the others' 1 each; may be repeated
    #[arg(long = "weight", value_name = "EXPERIMENT=WEIGHT", value_parser = named_number)]
    shares: Vec<(String, f64)>,
    /// Tokens that an experiment may have computed in a second, stored rows aside; may be repeated
    #[arg(long = "quota", value_name = "EXPERIMENT=TOKENS", value_parser = named_number)]
    quotas: Vec<(String, f64)>,
    /// Examples that one stream may have in flight
    #[arg(long, default_value_t = Limits::default().credits as u32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    credits: u32,
    /// Examples in the queue, of all students, from which streams wait and unary calls are refused;
    /// each takes about half a KiB
    #[arg(long, default_value_t = 131_072, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_queued: u32,
    /// How long a shut-down waits for students to take their answers, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    drain_seconds: u32,
    /// Write HOST:PORT to this file once the teacher is serving
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

/// `NAME=NUMBER`, the number positive. The name may hold `=` too.
fn named_number(text: &str) -> Result<(String, f64), String> {
    let (name, number) = text.rsplit_once('=').ok_or("expected NAME=NUMBER")?;
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((name.to_owned(), number)),
        _ => Err(format!("{number:?} is not a positive number")),
    }
}

impl ServeArgs {
    pub(super) fn into_config(self) -> anyhow::Result<ServeConfig> {
        let tolerance = self.model.tolerance(&self.devices);
        let store = self.store()?;
        Ok(ServeConfig {
            // May ask the hub, and so comes after all that a flag alone can have wrong.
            models: self.model.sources()?,
            shares: self.shares(),
            store,
            verify: Verify {
                one_in: self.verify_one_in,
                tolerance: self.verify_tolerance.unwrap_or(tolerance),
            },
            listen: self.listen,
            http: self.http,
            devices: self.devices,
            threads: self.threads.threads(),
            arithmetic: self.model.dtype,
            pinned: self.model.pinned,
            max_batch_tokens: self.max_batch_tokens.map(|n| n as usize),
            max_queued: self.max_queued as usize,
            limits: Limits { credits: self.credits as usize, ..Limits::default() },
            drain: Duration::from_secs(self.drain_seconds.into()),
            address_file: self.address_file,
        })
    }

    fn store(&self) -> Result<StoreConfig, Usage> {
        let bytes = |mebibytes: u32| u64::from(mebibytes) << 20;
        let store = StoreConfig::from_flags(&self.stores, bytes(self.store_memory_mb))
            .map_err(|cause| Usage(format!("--store {cause}")))?;
        let folder_bytes = self.store_disk_mb.map(bytes);
        if folder_bytes.is_some() && store.folder.is_none() {
            let message = "--store-disk-mb limits a folder, and --store names none; leave it out";
            return Err(Usage(message.to_owned()));
        }
        Ok(StoreConfig { folder_bytes, ..store })
    }

    fn shares(&self) -> HashMap<String, Share> {
        let mut shares: HashMap<String, Share> = HashMap::new();
        for (name, weight) in &self.shares {
            shares.entry(name.clone()).or_default().weight = *weight;
        }
        for (name, tokens) in &self.quotas {
            shares.entry(name.clone()).or_default().quota = Some(TokensPerSecond(*tokens));
        }
        shares
    }
}

/// Serves until SIGTERM or Ctrl-C.
pub(super) fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = args.into_config()?;
    let device = config.devices.first().copied().unwrap_or(Device::Cpu);
    if let Err(cause) = environment::enter(config.arithmetic.on(device)) {
        warn!(%cause, "cannot start again with limits on memory: going on without");
    }
    runtime().context("cannot start the runtime")?.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate()).context("cannot await SIGTERM")?;
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            stopped.cancel();
        });
        Listening::bind(config).await?.serve(stop).await?;
        Ok(())
    })
}
