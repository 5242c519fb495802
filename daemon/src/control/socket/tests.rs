use std::io::{BufRead, BufReader};
use std::time::Instant;

use tempfile::TempDir;

use super::*;

const NOW: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_millis(1001 + ADMIN_PATIENCE_MS);

fn socket() -> (TempDir, PathBuf, AdminSocket) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("admin.sock");
    let socket = AdminSocket::bind(&path).expect("binds");
    (folder, path, socket)
}

fn client(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream
}

/// Looks until so many lines have come.
fn lines(socket: &mut AdminSocket, wanted: usize) -> Vec<(ClientId, Vec<u8>)> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut lines = Vec::new();
    while lines.len() < wanted {
        lines.extend(socket.lines(NOW).into_iter().map(|(id, _, line)| (id, line)));
        assert!(Instant::now() < deadline, "{} of {wanted} lines", lines.len());
    }
    lines
}

#[test]
fn only_its_user_and_group_reach_the_file_and_it_goes_with_the_daemon() {
    let (_folder, path, socket) = socket();
    let mode = fs::symlink_metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn what_a_killed_daemon_left_is_replaced_and_nothing_else_is() {
    let (_folder, path, first) = socket();
    assert!(AdminSocket::bind(&path).err().expect("taken").message.contains("another daemon"));
    // As after a kill: nobody listens, and the file stays.
    let kept = path.with_extension("kept");
    fs::hard_link(&path, &kept).expect("own folder");
    drop(first);
    fs::rename(&kept, &path).expect("own folder");
    let second = AdminSocket::bind(&path).expect("nobody listens there");
    drop(client(&path));
    // The file is another's now, and stays.
    fs::remove_file(&path).expect("own folder");
    fs::write(&path, "a file").expect("own folder");
    drop(second);
    assert!(AdminSocket::bind(&path).err().expect("no socket").message.contains("no socket"));
    assert!(path.exists());
}

#[test]
fn a_path_that_cannot_be_is_told_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let long = folder.path().join("x".repeat(120));
    assert!(AdminSocket::bind(&long).err().expect("too long").message.contains("107"));
    let nowhere = folder.path().join("nowhere").join("admin.sock");
    assert!(AdminSocket::bind(&nowhere).err().expect("no folder").message.contains("does not exist"));
}

#[test]
fn lines_cut_anywhere_are_whole_and_wait_for_the_answer_before() {
    let (_folder, path, mut socket) = socket();
    let mut stream = client(&path);
    stream.write_all(b"{\"a\"").expect("sent");
    assert!(socket.lines(NOW).is_empty());
    stream.write_all(b":1}\nsecond\n").expect("sent");
    let first = lines(&mut socket, 1).remove(0);
    assert_eq!(first.1, b"{\"a\":1}\n");
    assert!(socket.lines(NOW).is_empty(), "one at a time");
    socket.answer(first.0, &Reply::done("one"), NOW);
    assert_eq!(lines(&mut socket, 1)[0].1, b"second\n");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("answered");
    assert_eq!(answer, "{\"ok\":true,\"message\":\"one\"}\n");
}

#[test]
fn a_line_without_end_is_cut_off_and_told() {
    let (_folder, path, mut socket) = socket();
    let mut stream = client(&path);
    stream.write_all(&vec![b'x'; 3 * ADMIN_LINE_BYTES_MAX]).expect("sent");
    let deadline = Instant::now() + Duration::from_secs(30);
    while socket.clients.len() != 1 || !socket.clients[0].leaving {
        assert!(socket.lines(NOW).is_empty());
        assert!(Instant::now() < deadline && socket.clients.len() < 2);
        if socket.next_id > 0 && socket.clients.is_empty() {
            break;
        }
    }
    socket.lines(NOW);
    assert!(socket.clients.is_empty(), "told and closed");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("told");
    assert!(answer.contains("at most 4096 bytes"), "{answer}");
}

#[test]
fn who_says_nothing_or_reads_nothing_is_closed_and_makes_room() {
    let (_folder, path, mut socket) = socket();
    let _silent: Vec<UnixStream> = (0..ADMIN_CLIENTS_MAX).map(|_| client(&path)).collect();
    assert!(socket.lines(NOW).is_empty());
    assert_eq!(socket.clients.len(), ADMIN_CLIENTS_MAX);
    let mut told = String::new();
    let late = client(&path);
    assert!(socket.lines(NOW).is_empty());
    BufReader::new(late).read_line(&mut told).expect("told");
    assert!(told.contains("connected already"), "{told}");
    assert!(socket.lines(LATER).is_empty());
    assert!(socket.clients.is_empty());
}
