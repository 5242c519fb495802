//! Why io_uring cannot be used here, in words that say what to change.

use std::fmt;
use std::fs;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// io_uring, or something that this crate needs of it, is not to be had. `Display` says why and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What was tried: `io_uring_setup`, or the name of a feature.
    pub tried: &'static str,
    /// What the kernel answered; `None` where it knows the call but lacks the feature.
    pub errno: Option<Errno>,
    /// The machine's settings that bear on it, read when it failed.
    pub setting: Setting,
}

impl Unavailable {
    /// The kernel refused.
    pub(crate) fn refused(tried: &'static str, errno: Errno) -> Self {
        Self { tried, errno: Some(errno), setting: Setting::read() }
    }

    /// The kernel is too old for something.
    pub(crate) fn missing(tried: &'static str) -> Self {
        Self { tried, errno: None, setting: Setting::read() }
    }

    fn advice(&self) -> &'static str {
        match self.errno {
            None => "This kernel lacks it: use Linux 6.1 or later.",
            Some(Errno::EPERM | Errno::EACCES) => {
                "Set kernel.io_uring_disabled to 0 (or to 1, and run in the group kernel.io_uring_group), or allow io_uring_setup, \
                 io_uring_enter and io_uring_register in the seccomp profile: Docker's and containerd's default profiles deny \
                 them; systemd's @system-service allows them."
            }
            Some(Errno::ENOSYS) => {
                "Either a seccomp profile hides io_uring (allow io_uring_setup, io_uring_enter and io_uring_register), or this \
                 kernel has none (gVisor, or built without CONFIG_IO_URING): use Linux 6.1 or later."
            }
            Some(Errno::ENOMEM) => {
                "The memory lock limit is used up, even by the smallest rings: raise it (LimitMEMLOCK=infinity in the systemd \
                 unit, `ulimit -l unlimited` in a shell), or run fewer rings."
            }
            Some(Errno::EMFILE | Errno::ENFILE) => {
                "The file limit is used up: raise it (LimitNOFILE= in the systemd unit, `ulimit -n` in a shell)."
            }
            Some(Errno::EINVAL) => "This kernel does not know it: use Linux 6.1 or later.",
            Some(_) => "See the error's meaning in the manual page of that call.",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "io_uring: {} failed: {errno}", self.tried)?,
            None => write!(f, "io_uring: {} is missing", self.tried)?,
        }
        write!(f, " ({}). {}", self.setting, self.advice())
    }
}

impl std::error::Error for Unavailable {}

/// The machine's settings that decide whether io_uring works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Release of the running kernel.
    pub kernel: String,
    /// `kernel.io_uring_disabled`: 0 allowed, 1 for a group only, 2 for nobody; `None` where the kernel has no such switch.
    pub disabled: Option<String>,
    /// The `Seccomp` line of this thread's `/proc/thread-self/status`: 0 none, 1 strict, 2 a filter.
    pub seccomp: Option<String>,
    /// `RLIMIT_MEMLOCK`, soft, bytes.
    pub memory_lock_bytes: u64,
    /// `RLIMIT_NOFILE`, soft.
    pub open_files: u64,
}

impl Setting {
    /// Reads them now.
    pub fn read() -> Self {
        let trimmed = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let seccomp =
            status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(|value| value.trim().to_owned());
        let limit = |resource| getrlimit(resource).map_or(0, |(soft, _)| soft);
        Self {
            kernel: trimmed("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
            disabled: trimmed("/proc/sys/kernel/io_uring_disabled"),
            seccomp,
            memory_lock_bytes: limit(Resource::RLIMIT_MEMLOCK),
            open_files: limit(Resource::RLIMIT_NOFILE),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kernel {}, kernel.io_uring_disabled {}, Seccomp {}, memory lock limit {}, file limit {}",
            self.kernel,
            self.disabled.as_deref().unwrap_or("absent"),
            self.seccomp.as_deref().unwrap_or("unknown"),
            match self.memory_lock_bytes {
                nix::libc::RLIM_INFINITY => "unlimited".to_owned(),
                bytes => format!("{} KiB", bytes / 1024),
            },
            self.open_files,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_settings_and_what_to_change() {
        let cases = [
            (Errno::EPERM, "kernel.io_uring_disabled to 0"),
            (Errno::ENOSYS, "seccomp"),
            (Errno::ENOMEM, "LimitMEMLOCK"),
            (Errno::EMFILE, "LimitNOFILE"),
        ];
        for (errno, advice) in cases {
            let message = Unavailable::refused("io_uring_setup", errno).to_string();
            assert!(message.contains(advice), "{message}");
            for fact in ["kernel ", "kernel.io_uring_disabled ", "Seccomp ", "memory lock limit ", "file limit "] {
                assert!(message.contains(fact), "{fact} in {message}");
            }
        }
    }
}
