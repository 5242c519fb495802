//! Where a finished report goes.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::Failure;
use crate::hdr_log;
use crate::html;
use crate::report::Report;

/// The flags of every command that makes a report.
#[derive(Args, Debug, Default)]
pub struct OutputArguments {
    /// Write the report as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,

    /// Write the report as one HTML page with its charts; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub html: Option<PathBuf>,

    /// Write the histograms of each second and stage as an HDR interval log; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub hdr_log: Option<PathBuf>,
}

/// Files that have been made, and wait for the report.
pub struct Outputs {
    json: Option<Output>,
    html: Option<Output>,
    hdr_log: Option<Output>,
}

impl Outputs {
    /// Makes the files: before the load, so that a path that cannot be written costs no run.
    pub fn create(arguments: &OutputArguments) -> Result<Self, Failure> {
        let create = |path: &Option<PathBuf>| path.as_deref().map(Output::create).transpose();
        Ok(Self {
            json: create(&arguments.json)?,
            html: create(&arguments.html)?,
            hdr_log: create(&arguments.hdr_log)?,
        })
    }

    /// Writes the report to all of them.
    pub fn write(self, report: &Report) -> Result<(), Failure> {
        if let Some(json) = self.json {
            let mut bytes =
                serde_json::to_vec_pretty(report).map_err(|error| Failure::error(format!("the report: {error}")))?;
            bytes.push(b'\n');
            json.write(&bytes)?;
        }
        if let Some(html) = self.html {
            html.write(html::page(report).as_bytes())?;
        }
        self.hdr_log.map_or(Ok(()), |hdr_log| hdr_log.write(&hdr_log::write(report)))
    }
}

/// Writes one file, which may be one of those that were read; - is standard output.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Output::create(path)?.write(bytes)
}

enum Output {
    Standard,
    File(Box<Path>, File),
}

impl Output {
    fn create(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let file = File::create(path).map_err(|error| Failure::error(format!("making {}: {error}", path.display())))?;
        Ok(Self::File(path.into(), file))
    }

    fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        let (name, written) = match self {
            Self::Standard => ("standard output".to_owned(), io::stdout().lock().write_all(bytes)),
            Self::File(path, mut file) => (path.display().to_string(), file.write_all(bytes)),
        };
        written.map_err(|error| Failure::error(format!("writing the report to {name}: {error}")))
    }
}
