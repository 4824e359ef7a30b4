//! The HTTP face for operators: `/metrics` for Prometheus, `/health` for probes that speak no gRPC. Both
//! are 503 until the teacher is loaded, `/health` also from the moment that the server stops.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::metrics;

/// Answers until `stop` is cancelled; `registry` is set when the teacher is loaded. It is no part of serving
/// students: its failure is only logged.
pub(super) async fn serve(
    listener: TcpListener,
    registry: Arc<OnceLock<Registry>>,
    draining: CancellationToken,
    stop: CancellationToken,
) {
    let loaded = Arc::clone(&registry);
    let pages = Router::new()
        .route("/metrics", get(move || async move { page(registry.get()) }))
        .route("/health", get(move || async move { health(loaded.get().is_some(), &draining) }));
    let served = axum::serve(listener, pages).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(cause) = served.await {
        warn!(%cause, "metrics are no longer answered");
    }
}

fn health(is_loaded: bool, draining: &CancellationToken) -> (StatusCode, &'static str) {
    match (is_loaded, draining.is_cancelled()) {
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "loading\n"),
        (true, false) => (StatusCode::OK, "serving\n"),
    }
}

fn page(registry: Option<&Registry>) -> Response {
    match registry.map(metrics::render) {
        Some(Ok(page)) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Some(Err(cause)) => (StatusCode::INTERNAL_SERVER_ERROR, cause.to_string()).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "loading\n").into_response(),
    }
}
