//! `quoin-tpm socket`: the TPM of one virtual machine, with the options of `swtpm socket` as libvirt calls it.
//!
//! A link named swtpm to the program has this subcommand under its usual name. What libvirt (qemu_tpm.c) and swtpm's
//! manual page say of these options is restated here. As swtpm does, the server ends at CMD_SHUTDOWN.

use crate::SIGNALS;
use crate::daemon::{self, PidFile};
use crate::engine::Engine;
use crate::words::Words;
use anyhow::{Context, Result, ensure};
use log::LevelFilter;
use rustix::fs::Mode;
use rustix::process::umask;
use std::path::{PathBuf, absolute};
use std::process::ExitCode;
use tpm_ports::{Ends, Ports, Settings, Stop, logging, serve_with};

/// Serve the TPM of one virtual machine, with options of `swtpm socket`: libvirt calls it so, by a link named swtpm.
///
/// QEMU's emulator backend connects to the socket that --ctrl names. The server ends when QEMU says so, with
/// --terminate also when QEMU is gone, and at SIGTERM, SIGINT and SIGHUP.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A TPM 2.0, which must be asked for: there is no other.
    #[arg(long)]
    tpm2: bool,
    /// swtpm's control channel: `type=unixio,path=PATH`, perhaps with `,mode=0600` (else 0770) and `,terminate`.
    #[arg(long, value_name = "WORDS", value_parser = control, required_unless_present = "print_capabilities")]
    ctrl: Option<Control>,
    /// The folder of the TPM: `dir=DIR` or `backend-uri=dir://DIR`. A new TPM is made if it is empty.
    #[arg(long, value_name = "WORDS", value_parser = state, required_unless_present = "print_capabilities")]
    tpmstate: Option<State>,
    /// End when the connection does over which QEMU has handed over its data channel.
    #[arg(short, long)]
    terminate: bool,
    /// Where messages are written: `file=FILE`, perhaps with `,level=N` (from 2 on: codes of commands) and `,truncate`
    /// [default: standard error].
    #[arg(long, value_name = "WORDS", value_parser = log_words)]
    log: Option<Log>,
    /// `file=FILE`: the process id is in it while the server runs.
    #[arg(long, value_name = "WORDS", value_parser = pid)]
    pid: Option<File>,
    /// Serve in the background: the program ends when QEMU can connect.
    #[arg(short, long)]
    daemon: bool,
    /// Print what this program can do, as swtpm does, and end.
    #[arg(long)]
    print_capabilities: bool,
    /// This is what --daemon has started.
    #[arg(long, hide = true)]
    detached: bool,
    #[arg(long, hide = true)]
    key: Option<String>,
    #[arg(long, hide = true)]
    migration_key: Option<String>,
}

#[derive(Debug, Clone)]
struct Control {
    path: PathBuf,
    mode: u32,
    terminate: bool,
}

#[derive(Debug, Clone)]
struct State(PathBuf);

#[derive(Debug, Clone)]
struct Log {
    file: PathBuf,
    level: LevelFilter,
    truncate: bool,
}

#[derive(Debug, Clone)]
struct File(PathBuf);

fn control(text: &str) -> Result<Control> {
    let mut words = Words::of(text)?;
    let kind = words.value("type")?.context("which type? (type=unixio,path=PATH)")?;
    ensure!(kind == "unixio", "{kind} is no type that is served here: only unixio (`quoin-tpm --port` has TCP)");
    let path = words.value("path")?.context("at which path? (path=PATH)")?;
    let (mode, terminate) = (words.mode()?.unwrap_or(0o770), words.flag("terminate")?);
    words.all_known()?;
    Ok(Control { path: path.into(), mode, terminate })
}

fn state(text: &str) -> Result<State> {
    let mut words = Words::of(text)?;
    let uri = words.value("backend-uri")?;
    let uri = uri.map(|uri| match uri.strip_prefix("dir://") {
        Some(path) => Ok(String::from(path)),
        None => Err(anyhow::anyhow!("a TPM is kept in a folder (dir://DIR), not in {uri}")),
    });
    let folder = uri.transpose()?.or(words.value("dir")?).context("in which folder? (dir=DIR)")?;
    if let Some(mode) = words.mode()? {
        ensure!(mode & 0o077 == 0, "others may not read a TPM's state: its file has the mode 0600");
    }
    words.all_known()?;
    Ok(State(folder.into()))
}

fn log_words(text: &str) -> Result<Log> {
    let mut words = Words::of(text)?;
    let file = words.value("file")?.context("into which file? (file=FILE)")?;
    let level = match words.value("level")?.map(|level| level.parse::<u32>()).transpose().context("level=N")? {
        Some(0) => LevelFilter::Error,
        None | Some(1) => LevelFilter::Info,
        Some(_) => LevelFilter::Debug,
    };
    let truncate = words.flag("truncate")?;
    words.all_known()?;
    Ok(Log { file: file.into(), level, truncate })
}

fn pid(text: &str) -> Result<File> {
    let mut words = Words::of(text)?;
    let file = words.value("file")?.context("into which file? (file=FILE)")?;
    words.all_known()?;
    Ok(File(file.into()))
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.print_capabilities {
        println!("{}", capabilities());
        return Ok(ExitCode::SUCCESS);
    }
    if args.daemon && !args.detached {
        return daemon::start();
    }
    // Files are nobody else's, and nobody can connect before the socket has its permissions.
    umask(Mode::from_raw_mode(0o077));
    let file = args.log.as_ref().map(|log| absolute(&log.file)).transpose()?;
    if let (Some(file), Some(Log { truncate: true, .. })) = (&file, &args.log) {
        std::fs::write(file, "").with_context(|| format!("cannot write messages to {}", file.display()))?;
    }
    logging::start(args.log.as_ref().map_or(LevelFilter::Info, |log| log.level), file.as_deref())?;
    let done = serve(args);
    // libvirt names that file when this has failed.
    if let (Err(error), Some(_)) = (&done, &file) {
        log::error!("{error:#}");
    }
    done.map(|()| ExitCode::SUCCESS)
}

/// It may not name what is refused: cmdarg-pwd-fd, cmdarg-migration.
fn capabilities() -> String {
    format!("{{ \"type\": \"swtpm\", \"features\": [ \"tpm-2.0\" ], \"version\": \"{}\" }}", env!("CARGO_PKG_VERSION"))
}

fn serve(args: &Args) -> Result<()> {
    ensure!(args.tpm2, "there is no TPM 1.2: say --tpm2");
    ensure!(
        args.key.is_none() && args.migration_key.is_none(),
        "the state is not encrypted by this program: --key and --migration-key are refused"
    );
    let control = args.ctrl.as_ref().context("where does QEMU connect? (--ctrl)")?;
    let State(folder) = args.tpmstate.as_ref().context("which folder? (--tpmstate)")?;
    // A daemon leaves the folder that it was started in.
    let [path, folder] = [absolute(&control.path)?, absolute(folder)?];
    let pid = args.pid.as_ref().map(|File(file)| absolute(file)).transpose()?;
    if args.detached {
        daemon::leave_the_terminal()?;
    }
    let stop = Stop::on(&SIGNALS)?;
    let engine = Engine::new(None, Some(&folder)).context("there is no TPM")?;
    let ports = Ports::control(&path, control.mode)?;
    let _pid_file = pid.as_deref().map(PidFile::create).transpose()?;
    if args.detached {
        let nothing = daemon::leave_the_folder()?;
        println!("swtpm's control channel is at {}, by process {}", path.display(), std::process::id());
        daemon::let_go(&nothing)?;
    }
    let ends = Ends { at_shutdown: true, with_machine: args.terminate || control.terminate };
    serve_with(ports, Box::new(engine), Settings { ends, ..Settings::default() }, &stop)
}

#[cfg(test)]
mod tests {
    use super::{control, log_words, pid, state};
    use log::LevelFilter;
    use std::path::Path;

    #[test]
    fn what_libvirt_says_is_understood() {
        let channel = control("type=unixio,path=/run/vm-swtpm.sock,mode=0600").unwrap();
        assert_eq!((&*channel.path, channel.mode, channel.terminate), (Path::new("/run/vm-swtpm.sock"), 0o600, false));
        assert!(control("type=unixio,path=a,terminate").unwrap().terminate);
        assert_eq!(state("dir=/var/lib/tpm2,mode=0600").unwrap().0, Path::new("/var/lib/tpm2"));
        assert_eq!(state("backend-uri=dir:///var/lib/tpm2").unwrap().0, Path::new("/var/lib/tpm2"));
        let log = log_words("file=/var/log/vm-swtpm.log,level=20").unwrap();
        assert_eq!(
            (&*log.file, log.level, log.truncate),
            (Path::new("/var/log/vm-swtpm.log"), LevelFilter::Debug, false)
        );
        assert_eq!(pid("file=a.pid").unwrap().0, Path::new("a.pid"));
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        fn why<T>(outcome: anyhow::Result<T>) -> String {
            format!("{:#}", outcome.err().unwrap())
        }
        for (said, reason) in [
            (why(control("type=tcp,port=2322")), "only unixio"),
            (why(control("path=a")), "which type?"),
            (why(control("type=unixio")), "at which path?"),
            (why(control("type=unixio,path=a,uid=0")), "uid"),
            (why(control("type=unixio,path=a,mode=0999")), "mode=0999"),
            (why(control("type=unixio,path=a,path=b")), "path is said twice"),
            (why(control("type=unixio,path=a,terminate=no")), "terminate"),
            (why(state("backend-uri=file:///a")), "in a folder"),
            (why(state("dir=a,mode=0644")), "others may not read"),
            (why(state("mode=0600")), "in which folder?"),
            (why(log_words("fd=3")), "into which file?"),
            (why(log_words("file=a,level=much")), "level=N"),
            (why(log_words("file=a,prefix=b")), "prefix"),
            (why(pid("fd=3")), "into which file?"),
        ] {
            assert!(said.contains(reason), "{said}: {reason}");
        }
    }
}
