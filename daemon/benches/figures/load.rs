//! The load generator as a child process, and its report.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::host;

/// One run of `hongbao-loadgen run`.
pub(crate) struct Load {
    pub(crate) target: String,
    pub(crate) connections: u32,
    /// Extra flags: the schedule, the rate, the caps of the audit.
    pub(crate) flags: Vec<String>,
    pub(crate) duration_s: u32,
    pub(crate) warm_up_s: u32,
}

impl Load {
    /// The child, running. Its report comes on standard output.
    pub(crate) fn start(&self) -> std::process::Child {
        host::on_core(host::LOAD_CORE, &beside("hongbao-loadgen"))
            .arg("run")
            .args(["--target", &self.target])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.duration_s)])
            .args(["--warm-up", &format!("{}s", self.warm_up_s)])
            .args(["--json", "-"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hongbao-loadgen was built (make bench does it)")
    }
}

/// The report of a run that has ended.
pub(crate) fn report(child: std::process::Child) -> Value {
    let output = child.wait_with_output().expect("a child");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("the load generator gave no report ({error}):\n{}", String::from_utf8_lossy(&output.stderr))
    })
}

/// A program built beside the daemon.
pub(crate) fn beside(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_hongbaod")).with_file_name(name)
}
