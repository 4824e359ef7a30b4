//! A server from start to stop: listen, load, warm up, report SERVING, drain, end.
//!
//! The way of an example: `service` takes the call, `stream` holds one student's credits, `admission`
//! looks the example up in the store or tokenises it, `engine` joins or queues it, `schedule` decides
//! whose examples share a forward pass, `compute` runs `model`, and `engine` answers everyone who waits.

mod admission;
mod answers;
mod compute;
mod config;
mod deadline;
mod engine;
mod http;
mod jobs;
mod measure;
mod metrics;
mod model;
mod offline;
mod packed;
mod schedule;
mod service;
mod stream;
mod students;
mod totals;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock, OnceLock},
    thread::{JoinHandle, available_parallelism},
    time::{Duration, Instant},
};

use lectern::{models::ModelError, wire::proto};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

pub use config::{ServeConfig, ServeError};
pub use engine::Verify;
pub use model::ModelSource;
pub use offline::Offline;
pub use schedule::{Share, TokensPerSecond};
pub use totals::Totals;

use compute::Compute;
use engine::{Engine, EngineParts};
use metrics::Measured;
use model::Model;
use schedule::Policy;
use service::TeacherService;

use crate::store::Store;

/// Cores that this process may use.
static CORES: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(2, usize::from));

/// What a server runs on: two threads that move messages, for the cores belong to the teacher, and as many
/// that tokenise and read the disk as there are cores. Tokio's 512 would give each student one, with a stack
/// and buffers.
pub fn runtime() -> io::Result<Runtime> {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads((*CORES).max(2)).enable_all().build()
}

/// Bound addresses, before the teacher is loaded: a port in use is found before any expensive work.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    http: Option<TcpListener>,
    config: ServeConfig,
}

impl Listening {
    /// Takes the addresses of `config`.
    pub async fn bind(config: ServeConfig) -> Result<Self, ServeError> {
        let listener = bind(&config.listen, "--listen").await?;
        let address = listener.local_addr().map_err(|cause| {
            ServeError::Thread(format!("the address of {}: {cause}", config.listen))
        })?;
        let http = match &config.http {
            Some(address) => Some(bind(address, "--http").await?),
            None => None,
        };
        Ok(Self { listener, address, http, config })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the server answers HTTP, if it does.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `stop` is cancelled or the teacher fails, and says what it did.
    ///
    /// While the teacher loads, health is NOT_SERVING and calls are UNAVAILABLE. On `stop` no more
    /// examples are accepted, those in flight are answered, and streams end with UNAVAILABLE; after
    /// the configured drain time the rest is dropped. Every row computed is in the store when this
    /// returns.
    pub async fn serve(self, stop: CancellationToken) -> Result<Totals, ServeError> {
        let Self { listener, address, http, config } = self;
        let (health, health_service) = tonic_health::server::health_reporter();
        announce(&health, ServingStatus::NotServing).await;
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
        let pages = Arc::new(OnceLock::new());
        let http_ended = CancellationToken::new();
        if let Some(listener) = http {
            let pages = Arc::clone(&pages);
            tokio::spawn(http::serve(listener, pages, draining.clone(), http_ended.clone()));
        }
        let _ends_http = http_ended.drop_guard();

        let loading = config.clone();
        let started = tokio::task::spawn_blocking(move || start(&loading))
            .await
            .map_err(|cause| ServeError::Thread(format!("loading the teacher: {cause}")))?;
        let Started { engine, compute, measured } = started?;
        let card = engine.card().clone();
        let _first = slot.set(Arc::clone(&engine));
        let _first = pages.set(metrics::registry(&engine, measured));
        announce(&health, ServingStatus::Serving).await;
        if let Some(path) = config.address_file {
            lectern::files::write_atomically(&path, address.to_string().as_bytes())
                .map_err(|source| ServeError::AddressFile { path, source })?;
        }
        info!(%address, teacher = card.name, fingerprint = card.fingerprint.short(), "listening");

        let serving = Instant::now();
        let cause = tokio::select! {
            () = stop.cancelled() => None,
            cause = engine.failed() => Some(cause),
            ended = &mut server => {
                ended.map_err(|cause| ServeError::Thread(cause.to_string()))??;
                None
            }
        };
        announce(&health, ServingStatus::NotServing).await;
        info!(drain = ?config.drain, "stopping: answering what is in flight");
        draining.cancel();
        if !server.is_finished() && tokio::time::timeout(config.drain, &mut server).await.is_err() {
            warn!("students did not take their answers in time; their streams are dropped");
            server.abort();
        }
        engine.stop();
        let closing = Arc::clone(&engine);
        let joined = tokio::task::spawn_blocking(move || {
            let whole = compute.into_iter().all(|thread| thread.join().is_ok());
            closing.store().flush();
            whole
        });
        if !matches!(joined.await, Ok(true)) && cause.is_none() {
            return Err(ServeError::Teacher("its thread ended with a panic".to_owned()));
        }
        let totals = engine.totals();
        say_goodbye(&totals, serving.elapsed(), measured);
        cause.map_or(Ok(totals), |cause| Err(ServeError::Teacher(cause)))
    }
}

/// Tells health how the service, and the server as a whole (the empty name), are.
///
/// The whole is announced as serving last: who waits for it may rely on the service.
async fn announce(health: &HealthReporter, status: ServingStatus) {
    for name in [proto::SERVICE_NAME, ""] {
        health.set_service_status(name, status).await;
    }
}

async fn bind(address: &str, flag: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen {
        address: address.to_owned(),
        flag,
        source,
    })
}

fn say_goodbye(totals: &Totals, served: Duration, measured: Measured) {
    info!(
        answered = totals.answered,
        computed = totals.computed,
        from_memory = totals.from_memory,
        from_disk = totals.from_disk,
        from_shared = totals.from_shared,
        joined = totals.joined,
        dropped = totals.dropped,
        verified = totals.verified,
        mismatched = totals.mismatched,
        examples_per_second = totals.answered as f64 / served.as_secs_f64().max(1e-9),
        "stopped"
    );
    info!(
        batches = totals.batches,
        padding_share = totals.padding_share(),
        tokenising = ?totals.tokenising,
        computing = ?totals.computing,
        encoding = ?totals.encoding,
        share_of_peak = totals.share_of_peak(measured.peak_flops),
        "computed"
    );
}

/// A teacher that is ready to compute.
struct Started {
    engine: Arc<Engine>,
    compute: Vec<JoinHandle<()>>,
    measured: Measured,
}

/// Loads the teacher onto every device, opens the store, warms every lane up, measures one, and starts all. These forward
/// passes also find a teacher that cannot compute before students come.
fn start(config: &ServeConfig) -> Result<Started, ServeError> {
    tch::set_num_threads(config.threads as i32);
    let load = |device: &tch::Device| Model::load(config, *device);
    let models = config.devices.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = models.first() else {
        return Err(ServeError::NoDevice);
    };
    let card = first.card(config.limits)?;
    info!(
        teacher = card.name,
        architecture = card.architecture,
        parameters = card.parameters,
        arithmetic = card.arithmetic,
        task = %card.task,
        labels = ?card.labels,
        threads = config.threads,
        devices = ?config.devices,
        "teacher loaded"
    );
    let store = Store::open(&config.store, &card)?;
    let reader = first.reader();
    let compute = models
        .into_iter()
        .flat_map(|model| model.lanes(config.threads))
        .map(Compute::start)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| ServeError::Thread(format!("cannot start a compute thread: {cause}")))?;
    let max_batch_tokens = match config.max_batch_tokens {
        None if config.pinned => Some(card.max_length),
        given => given,
    };
    let panicked = || ServeError::Teacher("its thread panicked".to_owned());
    let large = max_batch_tokens.map_or(measure::FEWEST, |given| given.min(measure::FEWEST));
    let warm = Compute::ask_all(&compute, move |model| measure::warm_up(model, large));
    warm.ok_or_else(panicked)?.into_iter().collect::<Result<(), _>>()?;
    let measured = compute.first().and_then(|first| {
        first.ask(move |model| {
            let max_batch_tokens =
                max_batch_tokens.map_or_else(|| measure::batch_tokens(model), Ok)?;
            Ok::<_, ModelError>(Measured { max_batch_tokens, peak_flops: model.peak_flops()? })
        })
    });
    let measured = measured.ok_or_else(panicked)??;
    let policy = Policy {
        max_batch_tokens: measured.max_batch_tokens,
        max_batch_examples: if config.pinned { 1 } else { usize::MAX },
        lanes: compute.len(),
        shares: config.shares.clone(),
    };
    let engine = Arc::new(Engine::new(EngineParts {
        reader,
        card,
        store,
        policy,
        verify: config.verify,
        max_queued: config.max_queued,
    }));
    let compute = compute.into_iter().map(|thread| thread.serve(Arc::clone(&engine))).collect();
    Ok(Started { engine, compute, measured })
}
