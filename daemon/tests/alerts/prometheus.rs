//! A real Prometheus that scrapes the daemons of one test, with the shipped rules hastened: intervals of half a second instead of five.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{PATIENCE, until};

pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

pub(crate) fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

impl Prometheus {
    /// Scrapes these, each under the name of its instance.
    pub(crate) fn start(targets: &[(&str, SocketAddr)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for rules in ["rules.yml", "alerts.yml"] {
            let text = fs::read_to_string(shipped("deploy/prometheus").join(rules)).expect("the rules");
            fs::write(folder.path().join(rules), hastened(&text)).expect("a folder of our own");
        }
        let mut config = "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n\
             rule_files: [rules.yml, alerts.yml]\nscrape_configs:\n  - job_name: hongbao\n    static_configs:\n"
            .to_owned();
        for (name, address) in targets {
            writeln!(config, "      - {{targets: ['{address}'], labels: {{instance: {name}}}}}").expect("a string");
        }
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).expect("a folder of our own");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).expect("a folder of our own"))
            .spawn()
            .expect("prometheus must be installed: apt-get install prometheus (make test does it)");
        let prometheus = Self { child, address, folder };
        until("Prometheus", || prometheus.get("/-/ready").filter(|answer| answer.starts_with("HTTP/1.0 200")));
        prometheus
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The labels and values that a query gives now.
    pub(crate) fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String = query.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02X}").expect("a string");
            text
        });
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).expect("Prometheus answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["status"], "success", "{query}: {body} {}", self.log());
        body["data"]["result"].as_array().expect("a list").clone()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The same rules for a scrape every half second: every range is five seconds, and nothing is waited for.
fn hastened(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines().filter(|line| !line.trim_start().starts_with("for: ")) {
        let mut parts = line.split('[');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (_, rest) = part.split_once(']').expect("a range ends");
            write!(text, "[5s]{rest}").expect("a string");
        }
        text.push('\n');
    }
    text
}
