//! `/metrics`, `/healthz` and the live page over HTTP/1.1, on the runtime of a thread that has other work: a stuck or hostile scraper is bounded in
//! bytes, in time and in number, one request a connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::page::{PAGE, POLICY};
use super::{Registry, collect};
use crate::limits;

/// The type that Prometheus's text form goes by.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
const SCRAPE_TIME: Duration = Duration::from_millis(limits::SCRAPE_TIME_MS);

/// Serves until `shutdown` is there. Runs on a tokio runtime with I/O and time.
pub async fn serve(listener: std::net::TcpListener, registry: Registry, shutdown: impl Future<Output = ()>) {
    let listener = match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the metrics endpoint cannot listen; the daemon goes on without it");
            return;
        }
    };
    let registry = Arc::new(registry);
    let mut shutdown = std::pin::pin!(shutdown);
    // Dropping the set at the end aborts what is still running.
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::<AbortHandle>::with_capacity(limits::SCRAPES_MAX);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    oldest_first.retain(|connection| !connection.is_finished());
                    if oldest_first.len() == limits::SCRAPES_MAX && let Some(oldest) = oldest_first.pop_front() {
                        oldest.abort();
                    }
                    oldest_first.push_back(connections.spawn(one_request(stream, Arc::clone(&registry))));
                }
                Err(error) => {
                    // No descriptor is free, as a rule: some time helps, and trying at once does not.
                    tracing::warn!(%error, "the metrics endpoint cannot accept");
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn one_request(stream: TcpStream, registry: Arc<Registry>) {
    let service = service_fn(move |request| {
        let registry = Arc::clone(&registry);
        async move { Ok::<_, Infallible>(answer(&request, &registry).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(limits::SCRAPE_HEAD_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(SCRAPE_TIME)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that breaks off, or takes too long, is its own loss.
    drop(timeout(SCRAPE_TIME, connection).await);
}

async fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN_TEXT, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => respond(StatusCode::OK, PROMETHEUS_TEXT, collect::scrape(registry)),
        "/healthz" => {
            let health = health(registry).await;
            let status = if health.status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let body = serde_json::to_string(&health).unwrap_or_default();
            respond(status, "application/json", body + "\n")
        }
        "/" => {
            let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned());
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            response
        }
        _ => respond(StatusCode::NOT_FOUND, PLAIN_TEXT, "not here: there are /, /metrics and /healthz\n".to_owned()),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What /healthz tells.
#[derive(Serialize)]
struct Health {
    /// "ok" where every SET turns, else "stalled".
    status: &'static str,
    sets: Vec<SetHealth>,
    /// The journal takes no records now: shakes are answered, nothing is won.
    journal_halted: bool,
}

#[derive(Serialize)]
struct SetHealth {
    set: usize,
    alive: bool,
    connections: u64,
}

/// Watches the SETs turn. Even an idle one enters its ring many times within [`limits::SET_STALLED_MS`], so that one which does not
/// is stuck in its own code. Busy ones are seen to be alive within the first look.
async fn health(registry: &Registry) -> Health {
    const LOOK: Duration = Duration::from_millis(20);
    let before: Vec<u64> = registry.sets.iter().map(|set| set.ring_enters.get()).collect();
    let is_alive = |set: usize| registry.sets[set].ring_enters.get() != before[set];
    for _ in 0..limits::SET_STALLED_MS / LOOK.as_millis() as u64 {
        if (0..before.len()).all(is_alive) {
            break;
        }
        sleep(LOOK).await;
    }
    let sets: Vec<SetHealth> = registry
        .sets
        .iter()
        .enumerate()
        .map(|(set, cells)| SetHealth { set, alive: is_alive(set), connections: cells.connections_open.get() })
        .collect();
    let status = if sets.iter().all(|set| set.alive) { "ok" } else { "stalled" };
    Health { status, sets, journal_halted: registry.ledger.halted.get() != 0 }
}

#[cfg(test)]
mod tests;
