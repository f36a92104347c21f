//! The TPM engine behind two local TCP ports, and at Unix sockets for QEMU: the program `quoin-tpm`.
//!
//! Its state lives as long as the process, or with `--state` in a folder; with `--state-root` a process has many TPMs.
//! Commands may come at any locality; a client's reset is a `_TPM_Init`.
//!
//! | module | is |
//! |---|---|
//! | `daemon` | the program in the background, and its process id in a file |
//! | `engine` | the TPM, as the server sees it |
//! | `folder` | where its state is kept |
//! | `hooks` | entropy and time |
//! | `ioctl` | a message to a server's control channel, with the options of swtpm_ioctl |
//! | `provision` | certificates, as a TPM's manufacturer makes them |
//! | `setup` | the same for a virtual machine, with the options of swtpm_setup |
//! | `socket` | the TPM of one virtual machine, with the options of `swtpm socket` |
//! | `trace` | what was said, as text and for Wireshark |
//! | `words` | options of swtpm's kind |

#![forbid(unsafe_code)]

mod daemon;
mod engine;
mod folder;
mod hooks;
mod ioctl;
mod provision;
mod setup;
mod socket;
mod trace;
mod words;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use core::time::Duration;
use daemon::PidFile;
use engine::Engine;
use log::LevelFilter;
pub use provision::{AuthorityArgs, certify};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::env::args_os;
use std::ffi::{OsStr, OsString};
use std::io::{Write, stdout};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use tpm_core::profile::PROFILE;
use tpm_ports::{Backend, Limits, Many, Options, Ports, Record, Settings, Startup, Stop, logging, serve_with};
use trace::Trace;

/// What ends the server in order.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// The program's version and what its engine can do.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| format!("{} (profile {})", env!("CARGO_PKG_VERSION"), PROFILE.name));
    &VERSION
}

const EXAMPLES: &str = "Clients of tpm2-tss, while the program runs:

  export TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=2321
  tpm2_getrandom --hex 8

QEMU:

  quoin-tpm --daemon --state tpm --unix tpm.socket --port 0
  qemu-system-x86_64 ... -chardev socket,id=tpm,path=tpm.socket.ctrl \\
    -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0

Many TPMs, one for each folder:

  mkdir -p tpms/vm1 tpms/vm2
  quoin-tpm --daemon --state-root tpms --unix sockets
  tpm2_startup -T swtpm:path=sockets/vm1 -c
  qemu-system-x86_64 ... -chardev socket,id=tpm,path=sockets/vm2.ctrl ...

libvirt's emulator backend, by links in its PATH before swtpm's programs:

  for name in swtpm swtpm_setup swtpm_ioctl; do ln -s /usr/bin/quoin-tpm $name; done

SIGTERM, SIGINT and SIGHUP end the server in order, between two commands.";

/// A TPM 2.0 in software, for clients of tpm2-tss and its kin, and for QEMU.
///
/// Two local TCP ports and, with --unix, two Unix sockets take what clients of swtpm and of the TCG simulator say.
/// Anyone who reaches them owns the TPM: it is for development, tests and virtual machines, and protects nothing from
/// its own computer.
#[derive(Debug, Parser)]
#[command(name = "quoin-tpm", version = version(), after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    options: Options,
    /// The profile that the engine must have been built with.
    #[arg(long, value_name = "NAME", default_value = PROFILE.name, hide = true)]
    profile: String,
    /// This is what --daemon has started.
    #[arg(long, hide = true)]
    detached: bool,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
enum Task {
    Provision(Box<provision::Args>),
    Setup(Box<setup::Args>),
    Socket(Box<socket::Args>),
    Ioctl(ioctl::Args),
}

/// The arguments of this process. A link to the program is a subcommand if its name is that of one of swtpm's programs:
/// `setup` for swtpm_setup, `ioctl` for swtpm_ioctl. `socket` is called so by a link named swtpm, too.
pub fn arguments() -> Args {
    let mut words: Vec<OsString> = args_os().collect();
    let name = words.first().and_then(|program| Path::new(program).file_name()).unwrap_or_default();
    if let Some((_, task)) = LINKS.iter().find(|(link, _)| name == OsStr::new(link)) {
        words.insert(1, OsString::from(task));
    }
    Args::parse_from(words)
}

/// Names of links, and the subcommands that they are.
const LINKS: [(&str, &str); 2] = [("swtpm_setup", "setup"), ("swtpm_ioctl", "ioctl")];

/// Serves a TPM as `args` say until a signal or a client ends it; with `--daemon` until its daemon serves.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { task, mut options, profile, detached } = args;
    if let Some(task) = task {
        return task.run();
    }
    ensure!(
        profile == PROFILE.name,
        "this engine was built with the profile {}, not {profile}: QUOIN_PROFILE selects it when it is built",
        PROFILE.name
    );
    if options.state_root.is_some() {
        give_memory_back()?;
    }
    if options.daemon && !detached {
        return daemon::start();
    }
    if detached {
        daemon::leave_the_terminal()?;
        options.make_paths_absolute()?;
    }
    logging::start(options.log_level, options.log_file.as_deref())?;
    serve(&options, detached)?;
    Ok(ExitCode::SUCCESS)
}

/// Has the C library give the memory of each TPM that goes back to the system, which it only does where it is told so
/// before the program starts (mallopt(3)): it would keep it for the next TPM. So the program starts once more.
fn give_memory_back() -> Result<()> {
    const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
    if std::env::var_os(THRESHOLD).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().context("the program does not know its own file")?;
    let mut again = Command::new(program);
    Err(again.args(args_os().skip(1)).env(THRESHOLD, "131072").exec()).context("the program cannot start once more")
}

impl Task {
    fn run(&self) -> Result<ExitCode> {
        match self {
            Self::Provision(args) => {
                logging::start(LevelFilter::Info, None)?;
                provision::run(args)?;
            }
            Self::Setup(args) => setup::run(args)?,
            Self::Socket(args) => return socket::run(args),
            Self::Ioctl(args) => ioctl::run(args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn serve(options: &Options, detached: bool) -> Result<()> {
    match (&options.state_root, &options.unix) {
        (Some(root), Some(sockets)) => serve_many(options, root, sockets, detached),
        _ => serve_one(options, detached),
    }
}

/// Serves the TPMs in a folder, each at the socket of its name.
fn serve_many(options: &Options, root: &Path, sockets: &Path, detached: bool) -> Result<()> {
    let stop = Stop::on(&SIGNALS)?;
    let limits = Limits { most: options.most, idle: Duration::from_secs(options.idle) };
    let load = |folder: &Path| -> Result<Box<dyn Backend>> {
        let engine = Engine::new(None, Some(folder))?;
        let mut engine = if options.no_shutdown { engine.without_shutdown() } else { engine };
        if options.startup() == Startup::Clear {
            start(&mut engine)?;
        }
        Ok(Box::new(engine))
    };
    let many = Many::new(root, sockets, limits, &load)?;
    let _pid_file = options.pid.as_deref().map(PidFile::create).transpose()?;
    let said = format!("{} TPMs of {} are served", many.count(), root.display());
    announce([&said, "a folder made there is another"], &format!("swtpm:path={}/NAME", sockets.display()), detached)?;
    tell_systemd(NotifyState::Ready);
    let outcome = many.serve(&stop);
    tell_systemd(NotifyState::Stopping);
    outcome
}

fn serve_one(options: &Options, detached: bool) -> Result<()> {
    let ports = Ports::reserve(options.port, options.unix.as_deref())?;
    let trace = options.trace.as_deref().map(Trace::create).transpose()?;
    let trace = trace.map(|trace| Box::new(trace) as Box<dyn Record>);
    let stop = Stop::on(&SIGNALS)?;
    let engine = Engine::new(options.seed.as_deref(), options.state.as_deref()).context("there is no TPM")?;
    let mut engine = if options.no_shutdown { engine.without_shutdown() } else { engine };
    let started = match options.startup() {
        Startup::Clear => start(&mut engine)?,
        Startup::Off => "its clients send TPM2_Startup (--startup clear: it is sent before they connect)",
    };
    let ports = ports.listen()?;
    let _pid_file = options.pid.as_deref().map(PidFile::create).transpose()?;
    announce(["The engine's TPM is served", started], &ports.tcti()?, detached)?;
    tell_systemd(NotifyState::Ready);
    let outcome = serve_with(
        ports,
        Box::new(engine),
        Settings { trace, dialect: options.protocol, ..Settings::default() },
        &stop,
    );
    tell_systemd(NotifyState::Stopping);
    outcome
}

/// Says that clients can connect. The process that has started a daemon reads that, and ends.
fn announce([what, more]: [&str; 2], tcti: &str, detached: bool) -> Result<()> {
    let until = if detached {
        format!("by process {} until SIGTERM", std::process::id())
    } else {
        String::from("until Ctrl-C")
    };
    let nothing = detached.then(daemon::leave_the_folder).transpose()?;
    let mut out = stdout().lock();
    let said = writeln!(out, "{what} {until}; {more}. Its clients need:\n\n  export TPM2TOOLS_TCTI={tcti}\n");
    let said = said.and_then(|()| out.flush());
    if let Some(nothing) = nothing {
        said.context("the process that has started the daemon is gone")?;
        daemon::let_go(&nothing)?;
    }
    Ok(())
}

/// Nothing where it was not systemd that has started us.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("systemd cannot be told about the server: {error}");
    }
}

/// TPM2_Startup(CLEAR), and what is said of it.
fn start(engine: &mut Engine) -> Result<&'static str> {
    const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    let response = engine.execute(0, &STARTUP)?;
    ensure!(response.get(6..10) == Some(&[0; 4]), "TPM2_Startup is refused: {response:02x?}");
    Ok("TPM2_Startup(CLEAR) was sent (--startup off: its clients send it, as they do after a reset)")
}
