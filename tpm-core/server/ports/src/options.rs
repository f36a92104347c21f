//! What a server's command line says.

use crate::dialect::Dialect;
use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use log::LevelFilter;
use std::path::{PathBuf, absolute};

/// Options of a server that has a TPM of its own.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The local TCP port that takes commands; the port after it is the platform's. 0 takes two that are free.
    #[arg(long, value_name = "N", default_value_t = 2321)]
    pub port: u16,
    /// A Unix socket that takes commands, too; swtpm's control channel is at PATH.ctrl, for tpm2-tss and for QEMU's
    /// `-tpmdev emulator`. With --state-root it is the folder of such sockets.
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Whose protocol the TCP ports speak. If not given, the first message of each connection tells; what both have at
    /// the platform port is the simulator's if its client has just connected to the command port, else that of those
    /// who gave the last command there, at first swtpm's.
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<Dialect>,
    /// Whether TPM2_Startup(CLEAR) is sent before clients connect: `off` where one sends it, as firmware does in a VM.
    /// [default: clear, or off with --unix]
    #[arg(long, value_name = "HOW")]
    pub startup: Option<Startup>,
    /// Keep the TPM in this folder, secrets included: what a command has changed is on the disk before its response. A
    /// new TPM is made in a folder that is not there or empty; one that has lost its state, or whose state is damaged,
    /// is refused.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Serve many TPMs: each folder in DIR is one, as --state has it, and its name is that of its Unix socket, in the
    /// folder that --unix names. A folder that is made there is a new TPM, one that is removed ends its TPM. Names have
    /// up to 64 letters, digits, `-`, `_` and `.`.
    #[arg(long, value_name = "DIR", requires = "unix")]
    #[arg(conflicts_with_all = ["state", "seed", "trace", "port", "protocol"])]
    pub state_root: Option<PathBuf>,
    /// How many TPMs --state-root serves.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "state_root")]
    pub most: usize,
    /// After so many seconds without a client a TPM of --state-root rests: of its memory its state stays, and its clock
    /// stands still until the next client.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "state_root")]
    pub idle: u64,
    /// Do not send TPM2_Shutdown for a system that did not, when the platform ends in order: the server's end, and
    /// INIT, STOP and SHUTDOWN of swtpm's control channel. Each use of a protected authorization before such an end
    /// then costs a try.
    #[arg(long)]
    pub no_shutdown: bool,
    /// Take all random numbers from this seed, and let the clock go by steps: a run can be repeated. Keeps no secret.
    #[arg(long, value_name = "TEXT")]
    pub seed: Option<String>,
    /// Write what is said as text to FILE, and to FILE.pcap for Wireshark. Whatever goes to the TPM and comes from it
    /// is in them, passwords, keys that are imported and data that are unsealed, in the clear where a client sends them
    /// so: only you may read them (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Serve in the background: the program ends when clients can connect, with status 0, or when the server has
    /// failed. What the server says later goes to --log-file alone.
    #[arg(long)]
    pub daemon: bool,
    /// Write the process id to FILE when clients can connect, and remove it at the end. `file=FILE` is the same, for
    /// those who are used to swtpm.
    #[arg(long, value_name = "FILE", value_parser = swtpms_file)]
    pub pid: Option<PathBuf>,
    /// What is said besides: off, error, warn, info (a TPM that is made), debug (clients, codes of commands and
    /// responses; never their contents).
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level())]
    pub log_level: LevelFilter,
    /// Where that is written, at the end of what is there, with the time [default: standard error].
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// What is sent before clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Startup {
    /// `TPM2_Startup(CLEAR)`.
    Clear,
    /// Nothing.
    Off,
}

impl Options {
    /// What was asked for, or what suits the client: QEMU needs a Unix socket, and a guest's firmware starts its TPM.
    pub fn startup(&self) -> Startup {
        self.startup.unwrap_or(if self.unix.is_some() { Startup::Off } else { Startup::Clear })
    }

    /// Makes paths what they are here, wherever the process goes.
    pub fn make_paths_absolute(&mut self) -> Result<()> {
        let Self { unix, state, state_root, trace, pid, log_file, .. } = self;
        for path in [unix, state, state_root, trace, pid, log_file].into_iter().flatten() {
            *path = absolute(&*path).with_context(|| format!("no path: {}", path.display()))?;
        }
        Ok(())
    }
}

fn level() -> impl TypedValueParser<Value = LevelFilter> {
    let parse = |name: String| name.parse::<LevelFilter>();
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug"]).try_map(parse)
}

/// A file's name, or that after `file=`.
fn swtpms_file(name: &str) -> Result<PathBuf, &'static str> {
    if name.starts_with("fd=") {
        return Err("a number of a file descriptor is not taken: name a file");
    }
    match name.strip_prefix("file=").unwrap_or(name) {
        "" => Err("no name"),
        name => Ok(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::swtpms_file;

    #[test]
    fn a_file_for_the_process_id_is_named_as_for_swtpm_or_plainly() {
        for name in ["/run/tpm.pid", "file=/run/tpm.pid"] {
            assert_eq!(swtpms_file(name).unwrap(), std::path::Path::new("/run/tpm.pid"));
        }
        for none in ["", "file=", "fd=3"] {
            swtpms_file(none).unwrap_err();
        }
    }
}
