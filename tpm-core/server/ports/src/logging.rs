//! Where the server's messages go: to standard error, or to a file, with the time.

use anyhow::{Context, Result};
use env_logger::{Builder, Target};
use log::Level;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

pub use log::LevelFilter;

/// From now on messages of `level` and graver ones are written, at the end of `file` if there is one. Once in a
/// process.
pub fn start(level: LevelFilter, file: Option<&Path>) -> Result<()> {
    let mut builder = Builder::new();
    builder.filter_level(level);
    match file {
        None => builder.format(|out, message| writeln!(out, "{}: {}", word(message.level()), message.args())),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.with_context(|| format!("cannot write messages to {}", path.display()))?;
            builder.target(Target::Pipe(Box::new(file))).format(|out, message| {
                writeln!(out, "{} {}: {}", out.timestamp(), word(message.level()), message.args())
            })
        }
    };
    builder.try_init().context("messages go somewhere else already")
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}
