//! The daemon's end of the admin socket: bounded in clients, bytes and time, and never waiting for any of them.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, getegid, geteuid};

use crate::admin::Reply;
use crate::exit::{Exit, Failure};
use crate::limits::{ADMIN_ANSWER_BYTES_MAX, ADMIN_CLIENTS_MAX, ADMIN_LINE_BYTES_MAX, ADMIN_PATIENCE_MS};

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) process: i32,
}

/// Names a client for as long as it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientId(u64);

struct Client {
    id: ClientId,
    stream: UnixStream,
    peer: Peer,
    read: Vec<u8>,
    unsent: Vec<u8>,
    /// A line of this client is being worked on: the next one waits.
    busy: bool,
    /// Nothing more is read from it; it is closed when everything is sent.
    leaving: bool,
    /// When it last said or took something.
    active_at: Duration,
}

/// Listens for operators.
pub struct AdminSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Which file it made: another daemon may have put its own there since.
    inode: (u64, u64),
    clients: Vec<Client>,
    next_id: u64,
}

impl AdminSocket {
    /// Listens at `path`, for the daemon's user and group alone. A socket that a dead daemon left behind is replaced; one of a living
    /// daemon, and a file that is none, is not.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        let named =
            |error: &io::Error| Failure::io(format_args!("listening on the admin socket {}", path.display()), error);
        clear_the_way(path)?;
        let listener = UnixListener::bind(path).map_err(|error| match error.kind() {
            // Longer than the 107 bytes that a socket's address has.
            ErrorKind::InvalidInput => Failure::new(
                Exit::Config,
                format!(
                    "the admin socket's path {} is too long: a socket's path has at most 107 bytes",
                    path.display()
                ),
            ),
            ErrorKind::NotFound => Failure::new(
                Exit::Config,
                format!(
                    "the folder of the admin socket {} does not exist: make it, or name another place",
                    path.display()
                ),
            ),
            _ => named(&error),
        })?;
        // Whoever was let in before this is still looked at for who they are.
        fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(|error| named(&error))?;
        listener.set_nonblocking(true).map_err(|error| named(&error))?;
        let made = fs::symlink_metadata(path).map_err(|error| named(&error))?;
        Ok(Self {
            path: path.to_owned(),
            listener,
            inode: (made.dev(), made.ino()),
            clients: Vec::with_capacity(ADMIN_CLIENTS_MAX),
            next_id: 0,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to wait for, beside the signals: newcomers, and clients who may speak.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let speaking = self.clients.iter().filter(|client| !client.busy && !client.leaving);
        std::iter::once(self.listener.as_fd()).chain(speaking.map(|client| client.stream.as_fd()))
    }

    /// The lines that have come, one a client at most. Each wants an [`answer`](Self::answer).
    pub(super) fn lines(&mut self, now: Duration) -> Vec<(ClientId, Peer, Vec<u8>)> {
        self.accept(now);
        let mut lines = Vec::new();
        self.clients.retain_mut(|client| {
            if !client.busy && !client.leaving && !client.receive(now) {
                return false;
            }
            if let Some(line) = client.take_line() {
                lines.push((client.id, client.peer, line));
            } else if client.read.len() > ADMIN_LINE_BYTES_MAX && !client.leaving {
                let said = format!("a line has at most {ADMIN_LINE_BYTES_MAX} bytes");
                client.say(&Reply::refused(&Failure::new(Exit::Usage, said)));
                client.leaving = true;
            }
            client.send(now) && !client.is_over(now)
        });
        lines
    }

    /// Answers a line. Where the client has gone, nobody hears it.
    pub(super) fn answer(&mut self, id: ClientId, reply: &Reply, now: Duration) {
        let Some(place) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = &mut self.clients[place];
        client.busy = false;
        client.active_at = now;
        client.say(reply);
        if !client.send(now) {
            self.clients.swap_remove(place);
        }
    }

    fn accept(&mut self, now: Duration) {
        // As many as there may be in one look, so that a flood of newcomers ends it.
        for _ in 0..ADMIN_CLIENTS_MAX {
            let Ok((stream, _)) = self.listener.accept() else { return };
            let Ok(peer) = credentials(&stream) else { continue };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.next_id += 1;
            let id = ClientId(self.next_id);
            let (read, unsent) = (Vec::new(), Vec::new());
            let mut client = Client { id, stream, peer, read, unsent, busy: false, leaving: false, active_at: now };
            if let Some(reply) = self.objection(&client) {
                tracing::warn!(
                    uid = peer.user,
                    gid = peer.group,
                    pid = peer.process,
                    "admin client refused: {}",
                    reply.message
                );
                client.say(&reply);
                client.send(now);
                continue;
            }
            self.clients.push(client);
        }
    }

    /// Why a newcomer is not let in. The file's mode keeps strangers out; what it was changed to is not trusted.
    fn objection(&self, client: &Client) -> Option<Reply> {
        if self.clients.len() >= ADMIN_CLIENTS_MAX {
            let said =
                format!("{ADMIN_CLIENTS_MAX} clients are connected already: end some, such as `ctl status --watch`");
            return Some(Reply::refused(&Failure::new(Exit::Unavailable, said)));
        }
        let Peer { user, group, .. } = client.peer;
        let own_group = getegid().as_raw();
        let may = user == Uid::from_raw(0).as_raw()
            || user == geteuid().as_raw()
            || group == own_group
            || hongbao_uring::peer_groups(&client.stream).is_ok_and(|groups| groups.contains(&own_group));
        if may {
            return None;
        }
        let said = format!("user {user} may not command this daemon: be root, its user, or in its group ({own_group})");
        Some(Reply::refused(&Failure::new(Exit::Permission, said)))
    }
}

/// The file goes with the daemon, where it is still its own.
impl Drop for AdminSocket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn clear_the_way(path: &Path) -> Result<(), Failure> {
    let taken = |why: &str| {
        Failure::new(Exit::Unavailable, format!("the admin socket {}: {why}; name another place", path.display()))
    };
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(taken("there is a file that is no socket"));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(taken("another daemon listens there"));
    }
    tracing::info!(path = %path.display(), "a daemon that was killed left its admin socket: replaced");
    fs::remove_file(path).map_err(|error| {
        Failure::io(format_args!("replacing the admin socket {} of a dead daemon", path.display()), &error)
    })
}

fn credentials(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = getsockopt(stream, PeerCredentials)?;
    Ok(Peer { user: credentials.uid(), group: credentials.gid(), process: credentials.pid() })
}

impl Client {
    /// Reads what is there. False where the client is gone.
    fn receive(&mut self, now: Duration) -> bool {
        let mut bytes = [0; ADMIN_LINE_BYTES_MAX + 1];
        // One read a look: what is more is read at the next, and a line that never ends is found by its length.
        if self.read.len() > ADMIN_LINE_BYTES_MAX {
            return true;
        }
        match self.stream.read(&mut bytes) {
            Ok(0) => self.leaving = true,
            Ok(length) => {
                self.read.extend_from_slice(&bytes[..length]);
                self.active_at = now;
            }
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
        // Who has shut down its sending side may still read its answers.
        !self.leaving || !self.read.is_empty() || !self.unsent.is_empty()
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        if self.busy {
            return None;
        }
        let end = self.read.iter().take(ADMIN_LINE_BYTES_MAX).position(|byte| *byte == b'\n')?;
        let rest = self.read.split_off(end + 1);
        self.busy = true;
        Some(std::mem::replace(&mut self.read, rest))
    }

    fn say(&mut self, reply: &Reply) {
        let line = serde_json::to_vec(reply).unwrap_or_default();
        if self.unsent.len() + line.len() < ADMIN_ANSWER_BYTES_MAX {
            self.unsent.extend_from_slice(&line);
            self.unsent.push(b'\n');
        } else {
            self.leaving = true;
        }
    }

    /// Sends what the socket takes. False where the client is gone.
    fn send(&mut self, now: Duration) -> bool {
        if self.unsent.is_empty() {
            return true;
        }
        match self.stream.write(&self.unsent) {
            Ok(length) => {
                self.unsent.drain(..length);
                self.active_at = now;
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn is_over(&self, now: Duration) -> bool {
        let silent = now.saturating_sub(self.active_at) > Duration::from_millis(ADMIN_PATIENCE_MS);
        let done = self.leaving && !self.busy && self.unsent.is_empty();
        done || (silent && !self.busy)
    }
}

#[cfg(test)]
mod tests;
