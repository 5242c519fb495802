//! Who is at the other end of a Unix socket, as far as `nix` does not tell.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, gid_t, socklen_t};

/// Groups that a user may be in and still be told of: more than people are in, and one page.
const GROUPS_MAX: usize = 1024;

/// The supplementary groups that the peer had when it connected (`SO_PEERGROUPS`). One in more than 1,024 groups is an error.
pub fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<gid_t>> {
    let mut groups: Vec<gid_t> = vec![0; GROUPS_MAX];
    let mut bytes = size_of_val(groups.as_slice()) as socklen_t;
    // SAFETY: `groups` is writable for `bytes` bytes, which is its exact size; `bytes` is a `socklen_t` of this frame. The kernel writes at
    // most `bytes` bytes of whole gids, says ERANGE where they are more, and keeps neither address after the call.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    Errno::result(outcome)?;
    groups.truncate(bytes as usize / size_of::<gid_t>());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn our_own_groups_are_those_of_our_peer() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut ours: Vec<gid_t> = nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let mut theirs = peer_groups(&one).unwrap();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(theirs, ours);
    }

    #[test]
    fn what_is_no_unix_socket_has_no_groups() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(peer_groups(&socket).is_err());
    }
}
