//! What the documents tell people to type can be typed: every command line of this project in them is held against the programs'.

use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "deploy/README.md",
    "deploy/RUNBOOK.md",
    "daemon/METRICS.md",
    "daemon/benches/README.md",
    "grafana/README.md",
];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(document: &str) -> String {
    fs::read_to_string(repository(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// The lines of fenced blocks, and the spans in backticks.
fn blocks_and_spans(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut prose, mut fenced) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            lines.push(line.to_owned());
        } else {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    (lines, prose.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect())
}

/// The words of the daemon's command line in a line of shell: what follows belongs to the shell.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start_matches(['$', '#', ' ']);
    let at = if line.starts_with("hongbaod ") { 0 } else { line.find(" hongbaod ").map(|space| space + 1)? };
    let words = line[at..].split_whitespace().take_while(|word| !["|", "&&", ">", "#", "&"].contains(word));
    let words: Vec<String> = words.map(|word| word.trim_matches('\'').to_owned()).collect();
    // `systemctl start hongbaod` and the like name the unit.
    let runs = hongbaod::cli::command().find_subcommand(words.get(1)?).is_some();
    (at == 0 || runs).then_some(words)
}

#[test]
fn every_command_line_in_a_block_is_understood_as_it_stands() {
    let mut count = 0;
    for document in DOCUMENTS {
        for line in blocks_and_spans(&read(document)).0 {
            let Some(words) = words(&line) else { continue };
            count += 1;
            if let Err(error) = hongbaod::cli::command().try_get_matches_from(&words) {
                assert!(!error.use_stderr(), "{document}: {line}\n{error}");
            }
        }
    }
    assert!(count > 8, "only {count} were found");
}

/// In a sentence a command may lack its arguments; what is there must be real.
#[test]
fn every_command_and_flag_in_a_sentence_is_real() {
    let mut count = 0;
    for document in DOCUMENTS {
        for span in blocks_and_spans(&read(document)).1.iter().filter(|span| span.starts_with("hongbaod ")) {
            let mut command = hongbaod::cli::command();
            let mut words = span.split_whitespace().skip(1).peekable();
            // Several at once, as in `seed verify|show`: each for itself is another test's.
            while let Some(word) =
                words.next_if(|word| !word.starts_with('-') && command.has_subcommands() && !word.contains('|'))
            {
                command =
                    command.find_subcommand(word).unwrap_or_else(|| panic!("{document}: `{span}`: {word}")).clone();
            }
            for flag in words.filter_map(|word| word.strip_prefix("--")) {
                let known = command.get_arguments().any(|argument| argument.get_long() == Some(flag));
                assert!(known || flag == "help", "{document}: `{span}`: --{flag}");
            }
            count += 1;
        }
    }
    assert!(count > 8, "only {count} were found");
}

/// A link within the repository leads somewhere.
#[test]
fn every_link_to_a_file_leads_to_one() {
    for document in DOCUMENTS.iter().chain(&["deploy/GLOSSARY.md", "loadgen/README.md", "protocol/SPEC.md"]) {
        let folder = repository(document);
        let folder = folder.parent().expect("a folder");
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                assert!(folder.join(path).exists(), "{document}: {link}");
            }
        }
    }
}
