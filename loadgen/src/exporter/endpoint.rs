//! `/metrics` over HTTP/1.1 on a thread of its own: one request at a time, each bounded in bytes and in time.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::limits::{SCRAPE_HEAD_BYTES, SCRAPE_TIME_MS};

/// Ends when it is dropped.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    pub(super) fn start(listener: TcpListener, metrics: PrometheusHandle) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(&listener, &metrics) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn serve(listener: &tokio::net::TcpListener, metrics: &PrometheusHandle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => one_request(stream, metrics).await,
            // The connections of the load have taken every descriptor, as a rule: trying at once would only burn the CPU that they need.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn one_request(stream: TcpStream, metrics: &PrometheusHandle) {
    let service = service_fn(|request| {
        let response = answer(&request, metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(SCRAPE_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that breaks off, or takes too long, is its own loss.
    drop(timeout(Duration::from_millis(SCRAPE_TIME_MS), connection).await);
}

fn answer(request: &Request<Incoming>, metrics: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, metrics.render()),
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "not here: there is /metrics\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
