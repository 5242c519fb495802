//! A disk of a test's own: ext4 on a loop device, whose sectors are memory that can be frozen between two of them.
//!
//! Freezing seals the memory against writes. From that instant the kernel's block layer gets EIO for every write, and the sectors are as
//! a power cut at that instant would leave them: what the file system above had not sent to the device is lost.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::geteuid;

use crate::daemon::output_of;

/// Mounted as long as this lives.
pub(crate) struct Disk {
    sectors: OwnedFd,
    device: String,
    mounted: PathBuf,
}

/// Why there can be no such disk here, where there cannot.
pub(crate) fn missing_for_a_disk() -> Option<&'static str> {
    let tool = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if !geteuid().is_root() {
        Some("not root")
    } else if !Path::new("/dev/loop-control").exists() {
        Some("no loop devices")
    } else if !tool("losetup") || !tool("mount") || Command::new("mkfs.ext4").arg("-V").output().is_err() {
        Some("no losetup, mount or mkfs.ext4")
    } else {
        None
    }
}

impl Disk {
    /// A new file system of this size at `place`.
    pub(crate) fn new(bytes: u64, place: &Path) -> Self {
        let sectors = memory();
        File::from(sectors.try_clone().expect("a descriptor")).set_len(bytes).expect("memory");
        let device = attach(&sectors);
        output_of(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-E", "lazy_itable_init=0", &device]));
        Self::mount(sectors, device, place)
    }

    fn mount(sectors: OwnedFd, device: String, place: &Path) -> Self {
        fs::create_dir_all(place).expect("a folder");
        output_of(Command::new("mount").arg(&device).arg(place));
        Self { sectors, device, mounted: place.to_owned() }
    }

    /// From now on every write to the device fails.
    pub(crate) fn freeze(&self) {
        fcntl(&self.sectors, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).expect("sealed");
    }

    /// The frozen sectors on a new device, mounted in the place of this one.
    pub(crate) fn thawed(self) -> Self {
        let copy = memory();
        let mut from = File::open(descriptor(&self.sectors)).expect("the sectors");
        io::copy(&mut from, &mut File::from(copy.try_clone().expect("a descriptor"))).expect("copied");
        let place = self.mounted.clone();
        drop(self);
        let device = attach(&copy);
        Self::mount(copy, device, &place)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may have left a daemon that still closes its files.
        let unmount = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
        let detach = Command::new("losetup").args(["--detach", &self.device]).status();
        if !std::thread::panicking() {
            assert!(unmount.is_ok_and(|status| status.success()), "{} is unmounted", self.mounted.display());
            assert!(detach.is_ok_and(|status| status.success()), "{} is detached", self.device);
        }
    }
}

fn memory() -> OwnedFd {
    memfd_create(c"hongbao-test-disk", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).expect("memory")
}

fn descriptor(sectors: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), sectors.as_raw_fd())
}

fn attach(sectors: &OwnedFd) -> String {
    let output = output_of(Command::new("losetup").args(["--find", "--show", &descriptor(sectors)]));
    String::from_utf8(output.stdout).expect("a name").trim().to_owned()
}
