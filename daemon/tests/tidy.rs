//! The rules of the house that a program can check, over the whole workspace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Every file of the workspace with this ending, with its text; build output and fuzz output left out.
fn files(ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !["target", "artifacts", "corpus"].contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.push((path.strip_prefix(root()).expect("within").to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

/// The lines of code, comments taken out (no string of ours holds `//` followed by code that matters here).
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

#[test]
fn unsafe_code_lives_in_the_ring_layer_alone_and_is_argued() {
    let mut wrong = Vec::new();
    for (path, text) in files(".rs") {
        let fenced = path.starts_with("daemon/uring");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code(&text) {
            let opens = line.contains("unsafe {") || line.contains("unsafe impl");
            if !fenced && (opens || line.contains("unsafe fn")) && !path.ends_with("tests/tidy.rs") {
                wrong.push(format!("{}:{number}: unsafe outside daemon/uring", path.display()));
            }
            let argued = lines[number.saturating_sub(16)..number].iter().any(|line| line.contains("SAFETY"));
            if fenced && opens && !argued {
                wrong.push(format!("{}:{number}: unsafe without a SAFETY comment", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_threads_know_nothing_of_each_other() {
    let threads = ["set", "feeder", "ledger", "control"];
    let mut wrong = Vec::new();
    for (path, text) in files(".rs") {
        let Some(own) = threads.iter().find(|thread| path.starts_with(format!("daemon/src/{thread}"))) else {
            continue;
        };
        for (number, line) in code(&text) {
            for other in threads.iter().chain(&["launch", "cli", "config"]).filter(|other| *other != own) {
                if line.contains(&format!("crate::{other}::")) || line.contains(&format!("crate::{other};")) {
                    wrong.push(format!("{}:{number}: {own} uses {other}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only launch and cli see several parts:\n{}", wrong.join("\n"));
}

#[test]
fn the_protocol_has_no_clock_no_socket_no_file() {
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path.starts_with("protocol/src")) {
        for (number, line) in code(&text) {
            for banned in ["std::net", "std::fs", "std::time", "std::io", "std::thread"] {
                assert!(!line.contains(banned), "{}:{number}: {banned}", path.display());
            }
        }
    }
}

#[test]
fn a_set_never_logs_and_never_locks() {
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path.starts_with("daemon/src/set")) {
        for (number, line) in code(&text) {
            for banned in ["tracing::", "println!", "Mutex", "RwLock", "Condvar", "fetch_add", "compare_exchange"] {
                assert!(!line.contains(banned), "{}:{number}: {banned}", path.display());
            }
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("todo", "!("), concat!("#[ign", "ore")];
    for (path, text) in files(".rs").into_iter().chain(files(".md")).chain(files(".sh")) {
        for (number, line) in text.lines().enumerate() {
            for mark in marks {
                assert!(!line.contains(mark), "{}:{}: {mark}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn no_file_and_no_function_has_outgrown_its_reader() {
    let mut wrong = Vec::new();
    for (path, text) in files(".rs") {
        let lines = text.lines().count();
        if lines > 700 {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words = line.trim_start();
            let starts =
                ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "async fn ", "pub async fn ", "unsafe fn "];
            if open.is_none() && starts.iter().any(|start| words.starts_with(start)) && line.ends_with('{') {
                open = Some((number, indent, words.to_string()));
            }
            if let Some((start, depth, name)) = &open
                && number > *start
                && words == "}"
                && indent == *depth
            {
                if number - start > 100 {
                    wrong.push(format!("{}:{}: {} lines: {name}", path.display(), start + 1, number - start));
                }
                open = None;
            }
        }
    }
    assert!(wrong.is_empty(), "split these at a real seam:\n{}", wrong.join("\n"));
}

/// A flag named in the documents exists: `--flag` in README, ARCHITECTURE and the guides is looked for in the sources of the
/// command lines (or belongs to a tool that is named here).
#[test]
fn the_documents_name_real_flags() {
    let sources: String =
        files(".rs").into_iter().filter(|(path, _)| !path.ends_with("tidy.rs")).map(|(_, text)| text).collect();
    let foreign =
        ["--release", "--locked", "--bench", "--help", "--workspace", "--all-targets", "--version", "--offline"];
    let mut unknown = BTreeMap::new();
    for name in ["README.md", "ARCHITECTURE.md", "deploy/README.md", "daemon/benches/README.md", "loadgen/README.md"] {
        let Ok(text) = fs::read_to_string(root().join(name)) else { continue };
        for (at, _) in text.match_indices("--") {
            let flag: String = text[at..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let before = text[..at].chars().next_back();
            if flag.len() < 4 || flag.starts_with("---") || !matches!(before, Some(' ' | '`' | '\n' | '|')) {
                continue;
            }
            let field = flag.trim_start_matches('-').replace('-', "_");
            let known = sources.contains(&field) || sources.contains(&format!("\"{}\"", flag.trim_start_matches('-')));
            if !known && !foreign.contains(&flag.as_str()) {
                unknown.insert(flag, name);
            }
        }
    }
    assert!(unknown.is_empty(), "flags that no program has: {unknown:?}");
}

/// A promise of ARCHITECTURE is held by tests that exist.
#[test]
fn the_promises_name_real_tests() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let section = text.split("\n## ").find(|section| section.starts_with("Promises")).expect("the promises are there");
    let sources: String = files(".rs").into_iter().map(|(_, text)| text).collect();
    let tests: Vec<_> = section.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() > 2).collect();
    assert!(tests.len() > 10, "{tests:?}");
    for name in tests {
        assert!(sources.contains(&format!("fn {name}(")), "ARCHITECTURE.md names a test that is not there: {name}");
    }
}
