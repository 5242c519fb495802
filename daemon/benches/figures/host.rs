//! How the host is set up while it is measured on, for both contestants alike.
//!
//! The server has one core and the load generator the other, so that the scheduler's choice of neighbours is not what is compared.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Where the server runs, all its threads included.
pub(crate) const SERVER_CORE: usize = 0;
/// Where the load generator runs.
pub(crate) const LOAD_CORE: usize = 1;

/// A command that is to run on this core.
pub(crate) fn on_core(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// The settings of receive flow steering on loopback, with the values that turn it on for two cores.
const STEERING: [(&str, &str); 3] = [
    ("/proc/sys/net/core/rps_sock_flow_entries", "65536"),
    ("/sys/class/net/lo/queues/rx-0/rps_flow_cnt", "65536"),
    ("/sys/class/net/lo/queues/rx-0/rps_cpus", "3"),
];

/// Receive flow steering, turned on until this is dropped: the kernel handles what arrives on the core of the one who reads it, as two
/// machines would. Without it loopback does the receiver's work in the sender's time.
pub(crate) struct Steering([String; 3]);

impl Steering {
    /// `None` where this is not permitted.
    pub(crate) fn turn_on() -> Option<Self> {
        let before = STEERING.map(|(path, _)| fs::read_to_string(path).unwrap_or_default().trim().to_string());
        let steering = Self(before);
        STEERING.iter().all(|(path, value)| fs::write(path, value).is_ok()).then_some(steering)
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        for ((path, _), before) in STEERING.iter().zip(&self.0) {
            if fs::write(path, before).is_err() {
                eprintln!("{path} could not be set back to {before}");
            }
        }
    }
}

/// The kernel's object caches that a connection's memory comes from, as `preflight` tells them.
const CACHES: [&str; 10] = [
    "TCP",
    "sock_inode_cache",
    "filp",
    "dentry",
    "lsm_inode_cache",
    "lsm_file_cache",
    "io_kiocb",
    "kmalloc-512",
    "kmalloc-96",
    "kmalloc-32",
];

/// Bytes of the objects in use in these caches; `None` where this user may not read them.
pub(crate) fn slab_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/slabinfo").ok()?;
    let bytes = text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next().filter(|name| CACHES.contains(name));
        let (objects, _, object_bytes) = (fields.next()?, fields.next()?, fields.next()?);
        name.and(Some(objects.parse::<u64>().ok()? * object_bytes.parse::<u64>().ok()?))
    });
    Some(bytes.sum())
}
