//! One thread of a running daemon, stopped as a defect would stop it: the others go on.

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// It goes on when this is dropped, on the thread that made it.
pub(crate) struct Frozen(Pid);

impl Frozen {
    /// Of our child, by the thread's name.
    pub(crate) fn thread(process: u32, name: &str) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten();
        let named = threads
            .map(|thread| thread.path())
            .find(|thread| std::fs::read_to_string(thread.join("comm")).is_ok_and(|found| found.trim() == name));
        let id = named.and_then(|path| path.file_name()?.to_str()?.parse().ok());
        let thread = Pid::from_raw(id.unwrap_or_else(|| panic!("no thread is called {name}")));
        ptrace::attach(thread).expect("it is our child's thread");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        Self(thread)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Of a daemon that has ended nothing is left to go on.
        let _ = ptrace::detach(self.0, None);
    }
}
