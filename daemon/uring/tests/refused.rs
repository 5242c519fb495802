//! What is said when io_uring is not to be had, with the kernel really refusing.

use std::thread;

use hongbao_uring::{Errno, RingError, RingOptions, probe};
use nix::libc;

/// Lets this thread, and no other, meet `errno` at `io_uring_setup`.
fn refuse_with(errno: Errno) {
    let statement =
        |code: u32, jump_true, jump_false, k| libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k };
    let mut program = [
        // The system call's number is the first word of what a filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs().expect("always allowed");
    // SAFETY: the kernel copies the program, which is alive during the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(set, 0, "{}", Errno::last());
}

fn message_when_refused_with(errno: Errno) -> String {
    thread::spawn(move || {
        refuse_with(errno);
        let unavailable = probe().expect_err("refused");
        assert_eq!(unavailable.errno, Some(errno));
        assert_eq!(unavailable.setting.seccomp.as_deref(), Some("2"), "the filter of this thread is seen");
        let ring = RingOptions::connecting(4).open().err();
        assert!(matches!(ring, Some(RingError::Unavailable(_))), "a ring says the same");
        unavailable.to_string()
    })
    .join()
    .expect("the thread ends")
}

#[test]
fn a_seccomp_filter_that_refuses_is_named_with_what_to_change() {
    let message = message_when_refused_with(Errno::EPERM);
    for part in ["io_uring_setup failed: EPERM", "kernel.io_uring_disabled", "Seccomp 2", "Docker"] {
        assert!(message.contains(part), "{part:?} in {message}");
    }
}

#[test]
fn a_seccomp_filter_that_pretends_there_is_no_io_uring_is_suspected() {
    let message = message_when_refused_with(Errno::ENOSYS);
    assert!(message.contains("seccomp profile hides io_uring"), "{message}");
}

#[test]
fn where_io_uring_works_its_support_is_one_line() {
    let line = probe().expect("io_uring works here").to_string();
    assert!(line.starts_with("io_uring on kernel ") && line.contains("descriptors") && !line.contains('\n'), "{line}");
}

#[test]
fn more_connections_than_a_table_holds_are_refused_with_the_limit() {
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    for connections in [0, hongbao_uring::options::CONNECTIONS_MAX + 1] {
        let error = RingOptions::connecting(connections).open().err();
        assert!(matches!(error, Some(RingError::Connections { .. })));
    }
    if soft < u64::from(hongbao_uring::options::CONNECTIONS_MAX) {
        let options = RingOptions::connecting(soft as u32 + 1);
        let options = RingOptions { descriptors: hongbao_uring::Descriptors::Direct, ..options };
        let error = options.open().err().expect("beyond the limit").to_string();
        assert!(error.contains("LimitNOFILE"), "{error}");
    }
}
