//! The HTTP face for operators: `/metrics` for Prometheus, `/health` for probes that speak no gRPC.

use std::sync::Arc;

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

/// Answers until `stop` is cancelled. It is no part of serving students: its failure is only logged.
pub(super) async fn serve(listener: TcpListener, registry: Registry, stop: CancellationToken) {
    let registry = Arc::new(registry);
    let pages = Router::new()
        .route("/metrics", get(move || async move { page(&registry) }))
        .route("/health", get(|| async { "serving\n" }));
    let served = axum::serve(listener, pages).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(cause) = served.await {
        warn!(%cause, "metrics are no longer answered");
    }
}

fn page(registry: &Registry) -> Response {
    match metrics::render(registry) {
        Ok(page) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, cause.to_string()).into_response(),
    }
}
