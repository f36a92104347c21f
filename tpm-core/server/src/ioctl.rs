//! `quoin-tpm ioctl`: a message to a server's control channel, with options of swtpm_ioctl.
//!
//! A link named swtpm_ioctl to the program is the same. libvirt calls it to end a server (`--unix PATH -s`).

use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// How long an answer may take: a command may have to come to its end before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Say something at the control channel of a server, with options of swtpm_ioctl, by a link of that name.
#[derive(Debug, clap::Args)]
#[group(id = "channel")]
pub(crate) struct Args {
    /// The Unix socket of the control channel.
    #[arg(long, value_name = "PATH", required_unless_present = "tcp", conflicts_with = "tcp")]
    unix: Option<PathBuf>,
    /// Its TCP port on this computer, perhaps with its name before it: `HOST:PORT`.
    #[arg(long, value_name = "PORT")]
    tcp: Option<String>,
    #[command(flatten)]
    message: Message,
}

/// What is said.
#[derive(Debug, clap::Args)]
#[group(id = "message", required = true, multiple = false)]
struct Message {
    /// Print what the server can do.
    #[arg(short)]
    c: bool,
    /// Switch the TPM on (CMD_INIT).
    #[arg(short)]
    i: bool,
    /// Switch it off (CMD_STOP).
    #[arg(long)]
    stop: bool,
    /// End it (CMD_SHUTDOWN): a server of `socket` ends then, another one switches the TPM off.
    #[arg(short)]
    s: bool,
    /// Print whether there was a dynamic launch.
    #[arg(short)]
    e: bool,
    /// Set the locality of commands.
    #[arg(short, value_name = "LOCALITY")]
    l: Option<u8>,
    /// Cancel the command that is executed.
    #[arg(short = 'C')]
    cancel: bool,
}

/// A connection of either kind.
trait Channel: Read + Write {}
impl<T: Read + Write> Channel for T {}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut channel = connect(args)?;
    let Message { c, i, stop, s, e, l, cancel } = &args.message;
    if *c {
        let words = say(&mut *channel, &[0, 0, 0, 1], 2)?;
        println!("ptm capability is 0x{:08x}{:08x}", words[0], words[1]);
        return Ok(());
    }
    if *e {
        let words = say(&mut *channel, &[0, 0, 0, 4], 2)?;
        succeeded("GET_TPMESTABLISHED", words[0])?;
        println!("tpmEstablished is {}", words[1] >> 24);
        return Ok(());
    }
    let (name, message) = match (i, stop, s, l, cancel) {
        (true, ..) => ("INIT", vec![0, 0, 0, 2, 0, 0, 0, 0]),
        (_, true, ..) => ("STOP", vec![0, 0, 0, 14]),
        (_, _, true, ..) => ("SHUTDOWN", vec![0, 0, 0, 3]),
        (.., Some(locality), _) => ("SET_LOCALITY", vec![0, 0, 0, 5, *locality]),
        (.., true) => ("CANCEL_TPM_CMD", vec![0, 0, 0, 9]),
        _ => bail!("what shall be said?"),
    };
    succeeded(name, say(&mut *channel, &message, 1)?[0])
}

fn connect(args: &Args) -> Result<Box<dyn Channel>> {
    if let Some(path) = &args.unix {
        let stream = UnixStream::connect(path).with_context(|| format!("nobody serves {}", path.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        return Ok(Box::new(stream));
    }
    let port = args.tcp.as_deref().context("at which channel? (--unix, --tcp)")?;
    let port = port.strip_prefix(':').unwrap_or(port);
    let place = if port.contains(':') { port.to_owned() } else { format!("127.0.0.1:{port}") };
    let stream = TcpStream::connect(&place).with_context(|| format!("nobody serves {place}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Box::new(stream))
}

/// Sends a message, and gives so many words of its answer.
fn say(channel: &mut dyn Channel, message: &[u8], words: usize) -> Result<Vec<u32>> {
    channel.write_all(message).context("the server does not listen")?;
    let mut answer = vec![0; 4 * words];
    channel.read_exact(&mut answer).context("the server does not answer")?;
    Ok(answer.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect())
}

fn succeeded(name: &str, result: u32) -> Result<()> {
    ensure!(result == 0, "the server refuses {name}: result {result:#x}");
    Ok(())
}
