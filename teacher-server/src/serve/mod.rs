//! A server from start to stop: listen, load, warm up, report SERVING, drain, end.
//!
//! The way of an example: `admission` checks and tokenises it, `engine` finds its row or queues it,
//! `queue` decides which examples share a forward pass, `compute` runs it.

mod admission;
mod compute;
mod engine;
mod queue;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::Duration,
};

use lectern::{
    models::{Classifier as _, ModelError, Teacher},
    wire::{Encoding, Limits, TeacherCard, proto},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::ServingStatus;
use tracing::{info, warn};

use admission::TeacherService;
use engine::Engine;
pub use engine::Totals;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Folder of the teacher.
    pub model: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: String,
    /// Where the teacher computes.
    pub device: tch::Device,
    /// Threads of one forward pass.
    pub threads: usize,
    /// Tokens in one forward pass, padding included.
    pub max_batch_tokens: usize,
    /// Bytes of rows to keep in memory.
    pub store_bytes: u64,
    /// What one stream may do.
    pub limits: Limits,
    /// How long a shut-down waits for students to take their answers.
    pub drain: Duration,
    /// A file that gets the address as `HOST:PORT` once the server is SERVING.
    pub address_file: Option<PathBuf>,
}

/// Why a server did not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address}: {source}; choose another with --listen, port 0 takes a free one"
    )]
    Listen {
        /// As given.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The folder is no teacher.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The teacher failed while it served.
    #[error("the teacher failed: {0}")]
    Teacher(String),
    /// The file for the address cannot be written.
    #[error("cannot write the address to {path}: {source}")]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The gRPC server ended on its own.
    #[error("the server ended: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A thread or task that cannot be started or did not end as it should.
    #[error("{0}")]
    Thread(String),
}

/// A bound address, before the teacher is loaded: a port in use is found before any expensive work.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    config: ServeConfig,
}

impl Listening {
    /// Takes the address of `config`.
    pub async fn bind(config: ServeConfig) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { address: config.listen.clone(), source };
        let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, config })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled or the teacher fails, and says what it did.
    ///
    /// While the teacher loads, health is NOT_SERVING and calls are UNAVAILABLE. On `stop` no more
    /// examples are accepted, those in flight are answered, and streams end with UNAVAILABLE; after
    /// the configured drain time the rest is dropped.
    pub async fn serve(self, stop: CancellationToken) -> Result<Totals, ServeError> {
        let Self { listener, address, config } = self;
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in ["", proto::SERVICE_NAME] {
            health.set_service_status(name, ServingStatus::NotServing).await;
        }
        let slot = Arc::new(OnceLock::new());
        let draining = CancellationToken::new();
        let service = TeacherService::new(Arc::clone(&slot), config.limits, draining.clone());
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|cause| ServeError::Thread(cause.to_string()))?;
        // One stalled upload may hold its stream's window but not the connection's. Keep-alive finds
        // peers that vanished without a word; their credits would be held for ever.
        let server = Server::builder()
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .max_concurrent_streams(256)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .add_service(health_service)
            .add_service(reflection)
            .add_service(service.into_server())
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                draining.clone().cancelled_owned(),
            );
        let mut server = tokio::spawn(server);

        let loading = config.clone();
        let engine = tokio::task::spawn_blocking(move || start_engine(&loading))
            .await
            .map_err(|cause| ServeError::Thread(format!("loading the teacher: {cause}")))?;
        let (engine, compute) = engine?;
        let card = engine.card().clone();
        let _first = slot.set(Arc::clone(&engine));
        for name in ["", proto::SERVICE_NAME] {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
        if let Some(path) = config.address_file {
            lectern::files::write_atomically(&path, address.to_string().as_bytes())
                .map_err(|source| ServeError::AddressFile { path, source })?;
        }
        info!(%address, teacher = card.name, fingerprint = card.fingerprint.short(), "listening");

        let cause = tokio::select! {
            () = stop.cancelled() => None,
            cause = engine.failed() => Some(cause),
            ended = &mut server => {
                ended.map_err(|cause| ServeError::Thread(cause.to_string()))??;
                None
            }
        };
        for name in ["", proto::SERVICE_NAME] {
            health.set_service_status(name, ServingStatus::NotServing).await;
        }
        info!(drain = ?config.drain, "stopping: answering what is in flight");
        draining.cancel();
        if !server.is_finished() && tokio::time::timeout(config.drain, &mut server).await.is_err() {
            warn!("students did not take their answers in time; their streams are dropped");
            server.abort();
        }
        engine.stop();
        let joined = tokio::task::spawn_blocking(move || compute.join()).await;
        if !matches!(joined, Ok(Ok(()))) && cause.is_none() {
            return Err(ServeError::Teacher("its thread ended with a panic".to_owned()));
        }
        let totals = engine.totals();
        info!(
            answered = totals.answered,
            computed = totals.computed,
            from_memory = totals.from_memory,
            joined = totals.joined,
            batches = totals.batches,
            padding_share = totals.padding_share(),
            "stopped"
        );
        cause.map_or(Ok(totals), |cause| Err(ServeError::Teacher(cause)))
    }
}

/// Loads the teacher, warms it up and hands it to its compute thread.
fn start_engine(config: &ServeConfig) -> Result<(Arc<Engine>, JoinHandle<()>), ServeError> {
    tch::set_num_threads(config.threads as i32);
    let teacher = Teacher::load(&config.model, config.device)?;
    let card = TeacherCard {
        fingerprint: teacher.fingerprint()?,
        name: teacher.name(),
        labels: teacher.labels().names().to_vec(),
        architecture: teacher.architecture(),
        parameters: teacher.parameters().count() as u64,
        max_length: teacher.settings().max_length,
        arithmetic: "float32".to_owned(),
        limits: config.limits,
        encodings: Encoding::ALL.to_vec(),
        members: 1,
    };
    info!(
        teacher = card.name,
        architecture = card.architecture,
        parameters = card.parameters,
        labels = ?card.labels,
        threads = config.threads,
        device = ?config.device,
        "teacher loaded"
    );
    let tokenizer = teacher.tokenizer().clone();
    let engine =
        Arc::new(Engine::new(card, tokenizer, config.store_bytes, config.max_batch_tokens));
    let compute =
        compute::start(teacher, Arc::clone(&engine), config.threads).map_err(|cause| {
            ServeError::Thread(format!("cannot start the compute thread: {cause}"))
        })??;
    Ok((engine, compute))
}
