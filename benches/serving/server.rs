//! A server as a process of its own: started, watched and stopped from here, served in its role.

use std::{
    io::{self, Read as _},
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use lectern::{commands::parse_device, models::Arithmetic, wire::Fingerprint};
use serde::{Deserialize, Serialize};
use student_trainer::labels::{TeacherUrl, describe};
use teacher_server::{
    environment,
    serve::{Listening, ServeConfig, runtime},
    store::StoreConfig,
};
use tokio_util::sync::CancellationToken;

use crate::dialogue::Dialogue;

/// What this program's first argument says when it is to be a server.
pub(crate) const ROLE: &str = "be-a-server";

/// How to serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) model: PathBuf,
    pub(crate) threads: usize,
    /// Where it computes, as `--device` names it.
    pub(crate) device: String,
    /// What it computes with, as `--dtype` names it.
    pub(crate) arithmetic: String,
    /// Budget of the memory tier.
    pub(crate) store_bytes: u64,
    /// Folder of the disk tier, if it has one.
    pub(crate) rows: Option<PathBuf>,
    /// Tokens of a forward pass; measured by the server if absent, as users have it.
    pub(crate) max_batch_tokens: Option<usize>,
    /// The one core it may use; any if absent.
    pub(crate) core: Option<usize>,
}

impl Task {
    /// Serves `model` with nothing stored.
    pub(crate) fn cold(model: PathBuf, threads: usize) -> Self {
        let arithmetic = Arithmetic::Float32.to_string();
        let device = "cpu".to_owned();
        let (rows, max_batch_tokens, core) = (None, None, None);
        Self { model, threads, device, arithmetic, store_bytes: 0, rows, max_batch_tokens, core }
    }
}

/// What a server did from start to stop.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Examples that went through the teacher.
    pub(crate) computed: u64,
    /// Share of the computed tokens that was padding.
    pub(crate) padding_share: f64,
}

/// A server that is serving.
#[derive(Debug)]
pub(crate) struct Server {
    process: Dialogue,
    url: TeacherUrl,
    fingerprint: Fingerprint,
}

impl Server {
    /// Starts a server and waits until its teacher is loaded.
    pub(crate) fn start(task: &Task) -> Result<Self> {
        let text = serde_json::to_string(task)?;
        let device = parse_device(&task.device).map_err(anyhow::Error::msg)?;
        // As the server's own program does.
        let environment = environment::missing(task.arithmetic.parse::<Arithmetic>()?.on(device));
        let mut process = Dialogue::with_myself(ROLE, &text, task.core, environment)?;
        let address: SocketAddr = process.hear()?;
        let url: TeacherUrl = format!("http://{address}").parse()?;
        let fingerprint = describe(&url, Duration::from_mins(2))?.fingerprint;
        Ok(Self { process, url, fingerprint })
    }

    pub(crate) fn url(&self) -> &TeacherUrl {
        &self.url
    }

    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops it and hears what it did.
    pub(crate) fn stop(self) -> Result<Done> {
        self.process.end()
    }
}

/// The role: serves until its input ends. Says its address, and at the end what it did.
#[expect(clippy::print_stdout, reason = "the role's answers")]
pub(crate) fn serve(task: &str) -> Result<()> {
    let task: Task = serde_json::from_str(task)?;
    let config = ServeConfig {
        threads: task.threads,
        devices: vec![parse_device(&task.device).map_err(anyhow::Error::msg)?],
        arithmetic: task.arithmetic.parse()?,
        max_batch_tokens: task.max_batch_tokens,
        store: StoreConfig {
            memory_bytes: task.store_bytes,
            folder: task.rows,
            ..StoreConfig::default()
        },
        drain: Duration::from_secs(1),
        ..ServeConfig::new(&task.model)
    };
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    thread::spawn(move || {
        let _end = io::stdin().read_to_end(&mut Vec::new());
        stop.cancel();
    });
    let totals = runtime()?.block_on(async {
        let listening = Listening::bind(config).await?;
        println!("{}", serde_json::to_string(&listening.address())?);
        listening.serve(stopped).await.context("serving")
    })?;
    let done = Done { computed: totals.computed, padding_share: totals.padding_share() };
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}
