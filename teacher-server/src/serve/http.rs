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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
    };

    use tokio::task::spawn_blocking;

    use super::*;

    /// The status and the body of `GET path`.
    async fn get(address: SocketAddr, path: &'static str) -> (u16, String) {
        let answer = spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let host = "Host: lectern\r\nConnection: close";
            write!(stream, "GET {path} HTTP/1.1\r\n{host}\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = answer.await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn pages_say_what_the_server_is_at_from_loading_to_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Arc::new(OnceLock::new());
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let pages = serve(listener, Arc::clone(&registry), draining.clone(), stop.clone());
        let pages = tokio::spawn(pages);
        assert_eq!(get(address, "/health").await, (503, "loading\n".to_owned()));
        assert_eq!(get(address, "/metrics").await, (503, "loading\n".to_owned()));

        registry.set(Registry::default()).unwrap();
        assert_eq!(get(address, "/health").await, (200, "serving\n".to_owned()));
        assert_eq!(get(address, "/metrics").await, (200, "# EOF\n".to_owned()));

        draining.cancel();
        assert_eq!(get(address, "/health").await, (503, "stopping\n".to_owned()));
        // What the server did is still worth reading.
        assert_eq!(get(address, "/metrics").await.0, 200);

        stop.cancel();
        pages.await.unwrap();
        assert!(TcpStream::connect(address).is_err());
    }
}
