//! The contestants, each as a child process on loopback: hongbaod, and the control.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::host;
use crate::process::Running;

/// A server that listens.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) address: String,
    /// Where hongbaod is scraped; the control has nothing to scrape.
    pub(crate) metrics: Option<String>,
}

/// The control: this very program with another argument.
pub(crate) fn control() -> Server {
    let mut child = host::on_core(host::SERVER_CORE, &std::env::current_exe().expect("a path"))
        .arg("--serve-as-control")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut address = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut address).expect("an address");
    Server { running: Running(child), address: address.trim().to_string(), metrics: None }
}

/// hongbaod with these flags besides the addresses; `folder` takes its data and its log.
pub(crate) fn hongbaod(folder: &Path, flags: &[&str]) -> Server {
    fs::create_dir_all(folder).expect("a folder");
    let log = folder.join("log");
    let child = host::on_core(host::SERVER_CORE, Path::new(env!("CARGO_BIN_EXE_hongbaod")))
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("a log"))
        .spawn()
        .expect("hongbaod runs");
    let mut running = Running(child);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = fs::read_to_string(&log).expect("a log");
        let ready = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(ready) = ready.into_iter().find(|line| line["ready"] == true) {
            let field = |name: &str| ready[name].as_str().expect("an address").to_string();
            return Server { address: field("listen"), metrics: Some(field("metrics_listen")), running };
        }
        let ended = running.0.try_wait().expect("a child").is_some();
        assert!(!ended && Instant::now() < deadline, "hongbaod did not get ready:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ten million envelopes cost 160 MB: the benches take as many as they can issue.
pub(crate) fn seeds(folder: &Path, count: u64) {
    let status = Command::new(env!("CARGO_BIN_EXE_hongbaod"))
        .args(["seed", "generate", "--sponsors", "8", "--servers", "1", "--rng-seed", "1"])
        .args(["--count", &count.to_string(), "--total", &(count * 500).to_string()])
        .arg("--output")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("hongbaod runs");
    assert!(status.success(), "seed generate: {status}");
}

/// One scrape.
pub(crate) struct Scrape(String);

impl Scrape {
    pub(crate) fn take(server: &Server) -> Self {
        let address = server.metrics.as_ref().expect("hongbaod");
        let mut stream = TcpStream::connect(address).expect("the metrics endpoint");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("a scrape");
        Self(text)
    }

    /// Sum over all series of a metric whose labels contain `label`.
    pub(crate) fn sum(&self, metric: &str, label: &str) -> f64 {
        let series = self.0.lines().filter(|line| {
            line.strip_prefix(metric).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(label)
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}
