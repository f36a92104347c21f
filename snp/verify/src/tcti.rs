//! A running TPM over its TCTI, by the names that tpm2-tss gives them: evidence that nobody has gathered before.
//!
//! | named | is |
//! |---|---|
//! | `swtpm:host=…,port=…`, `swtpm:path=…` | swtpm's socket: TPM bytes alone; else 127.0.0.1 and 2321 |
//! | `mssim:host=…,port=…` | the TCG simulator's command port, likewise |
//! | `device:/dev/tpmrm0` | a device of Linux; that one where nothing is said |
//! | `cmd:…` | a program that takes commands and gives responses, such as `ssh guest tpm2_send` |
//!
//! | module | is |
//! |---|---|
//! | [`client`] | the commands |
//! | [`mod@gather`] | what is asked, and what comes of it |

pub mod client;
pub mod gather;

use crate::evidence::wire::Reader;
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// No response is longer, in bytes.
const MAX_RESPONSE: usize = 8192;
/// Bytes before the parameters of a response.
const HEADER: usize = 10;
/// An RSA key takes its time.
const PATIENCE: Duration = Duration::from_secs(300);
/// The simulator's command that sends a TPM's command.
const SEND_COMMAND: u32 = 8;

/// What takes a command to a TPM and brings its response.
pub trait Transport {
    /// Sends a command, and gives the response, whose header may be wrong.
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>>;
}

/// The TPM of that name.
pub fn open(tcti: &str) -> Result<Box<dyn Transport>> {
    let (name, conf) = tcti.split_once(':').unwrap_or((tcti, ""));
    open_as(name, conf).with_context(|| format!("TPM at {tcti}"))
}

/// Where Linux has the log of the boot and IMA's list, and systemd its own log, if the name is of a device.
pub fn logs(tcti: &str) -> [Option<PathBuf>; 3] {
    const SYSTEMDS: &str = "/run/log/systemd/tpm2-measure.log";
    const SECURITY: &str = "/sys/kernel/security";
    let device = match tcti.split_once(':').unwrap_or((tcti, "")) {
        ("device", "") => Some("/dev/tpmrm0"),
        ("device", path) => Some(path),
        _ => None,
    };
    let number = device.and_then(|path| path.strip_prefix("/dev/tpm")).map(|rest| rest.trim_start_matches("rm"));
    let number = number.filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
    [
        number.map(|number| format!("{SECURITY}/tpm{number}/binary_bios_measurements").into()),
        number.map(|_| format!("{SECURITY}/ima/binary_runtime_measurements").into()),
        number.map(|_| SYSTEMDS.into()),
    ]
}

fn open_as(name: &str, conf: &str) -> Result<Box<dyn Transport>> {
    Ok(match name {
        "swtpm" => match Address::parse(conf)? {
            Address::Path(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(Bare(stream))
            }
            Address::Port(host, port) => Box::new(Bare(connect(&host, port)?)),
        },
        "mssim" => match Address::parse(conf)? {
            Address::Path(_) => bail!("the simulator has no path"),
            Address::Port(host, port) => Box::new(Simulator(connect(&host, port)?)),
        },
        "device" => {
            let path = if conf.is_empty() { "/dev/tpmrm0" } else { conf };
            Box::new(Device(OpenOptions::new().read(true).write(true).open(path)?))
        }
        "cmd" => Box::new(Program::start(conf)?),
        other => bail!("{other:?} is none of swtpm, mssim, device and cmd"),
    })
}

/// Where a socket is.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Port(String, u16),
    Path(String),
}

impl Address {
    /// `key=value`, separated by commas.
    fn parse(conf: &str) -> Result<Self> {
        let (mut host, mut port) = (String::from("127.0.0.1"), 2321);
        for pair in conf.split(',').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("host", value)) => value.clone_into(&mut host),
                Some(("port", value)) => port = value.parse().context("a port is a number")?,
                Some(("path", value)) => return Ok(Self::Path(value.to_owned())),
                _ => bail!("{pair:?} is none of host=, port= and path="),
            }
        }
        Ok(Self::Port(host, port))
    }
}

fn connect(host: &str, port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A stream of a TPM's bytes.
struct Bare<S>(S);

impl<S: Read + Write> Transport for Bare<S> {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.0.write_all(command)?;
        self.0.flush()?;
        response(&mut self.0)
    }
}

/// A response, as long as its header says.
fn response(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut response = vec![0; HEADER];
    stream.read_exact(&mut response).context("the TPM gives no response")?;
    let size = Reader::new(response.get(2..).unwrap_or_default()).u32()? as usize;
    ensure!((HEADER..=MAX_RESPONSE).contains(&size), "a response of {size} bytes");
    response.resize(size, 0);
    let body = response.get_mut(HEADER..).unwrap_or_default();
    stream.read_exact(body).context("a response ends early")?;
    Ok(response)
}

/// The simulator's protocol: a command with its length before it, and a response with a zero behind it.
struct Simulator<S>(S);

impl<S: Read + Write> Transport for Simulator<S> {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        const LOCALITY: u8 = 0;
        let size = u32::try_from(command.len())?;
        let head = [&SEND_COMMAND.to_be_bytes()[..], &[LOCALITY], &size.to_be_bytes()].concat();
        self.0.write_all(&[&head, command].concat())?;
        let mut number = [0; 4];
        self.0.read_exact(&mut number).context("the simulator gives no response")?;
        let size = u32::from_be_bytes(number) as usize;
        ensure!(size <= MAX_RESPONSE, "a response of {size} bytes");
        let mut response = vec![0; size];
        self.0.read_exact(&mut response)?;
        self.0.read_exact(&mut number)?;
        Ok(response)
    }
}

/// A device gives a response in one piece.
struct Device(File);

impl Transport for Device {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut response = vec![0; MAX_RESPONSE];
        let length = self.0.read(&mut response)?;
        response.truncate(length);
        Ok(response)
    }
}

/// A program, which ends with us.
struct Program {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Program {
    fn start(line: &str) -> Result<Self> {
        ensure!(!line.is_empty(), "cmd: wants a command line");
        let mut child =
            Command::new("sh").args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("sh")?;
        let (stdin, stdout) = (child.stdin.take().context("no input")?, child.stdout.take().context("no output")?);
        Ok(Self { child, stdin, stdout })
    }
}

impl Transport for Program {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.stdin.write_all(command)?;
        self.stdin.flush()?;
        response(&mut self.stdout)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Bare, Simulator, Transport, logs, open};
    use std::io::{Cursor, Read, Result, Write};

    /// What the other side says, and what was said to it.
    struct Scripted(Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Scripted {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Scripted {
        fn write(&mut self, buffer: &[u8]) -> Result<usize> {
            self.1.write(buffer)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    const RESPONSE: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 8];

    fn scripted(says: &[u8]) -> Scripted {
        Scripted(Cursor::new(says.to_vec()), Vec::new())
    }

    #[test]
    fn a_response_is_as_long_as_it_says() {
        let mut bare = Bare(scripted(&[RESPONSE, RESPONSE].concat()));
        for _ in 0..2 {
            assert_eq!(bare.exchange(&[1, 2]).unwrap(), RESPONSE);
        }
        assert_eq!(bare.0.1, [1, 2, 1, 2]);
        for wrong in [&RESPONSE[..9], &RESPONSE[..11], &[0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0], &[0xFF; 12]] {
            assert!(Bare(scripted(wrong)).exchange(&[]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_simulators_framing_is_put_round_commands_and_taken_off_responses() {
        let framed = [&[0, 0, 0, 12][..], &RESPONSE, &[0; 4]].concat();
        let mut simulator = Simulator(scripted(&framed));
        assert_eq!(simulator.exchange(&[9, 9]).unwrap(), RESPONSE);
        assert_eq!(simulator.0.1, [0, 0, 0, 8, 0, 0, 0, 0, 2, 9, 9]);
        for wrong in [&framed[..3], &framed[..12], &framed[..18], &[0xFF; 4]] {
            assert!(Simulator(scripted(wrong)).exchange(&[]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn names_are_those_of_tpm2_tss() {
        assert_eq!(Address::parse("").unwrap(), Address::Port("127.0.0.1".into(), 2321));
        assert_eq!(Address::parse("host=[::1],port=7").unwrap(), Address::Port("[::1]".into(), 7));
        assert_eq!(Address::parse("path=/run/tpm").unwrap(), Address::Path("/run/tpm".into()));
        assert!(Address::parse("port=many").is_err() && Address::parse("socket").is_err());
        for (name, says) in [
            ("tabrmd", "none of swtpm, mssim, device and cmd"),
            ("device:/no/such", "TPM at device:/no/such"),
            ("mssim:path=/a", "no path"),
            ("swtpm:path=/no/such", "TPM at swtpm"),
            ("swtpm:port=0", "TPM at swtpm:port=0"),
            ("cmd:", "a command line"),
        ] {
            let said = format!("{:#}", open(name).map(drop).unwrap_err());
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn a_device_has_the_kernels_logs() {
        let [boot, ima, userspace] = logs("device:/dev/tpmrm3").map(|path| path.unwrap().display().to_string());
        assert_eq!(boot, "/sys/kernel/security/tpm3/binary_bios_measurements");
        assert_eq!(ima, "/sys/kernel/security/ima/binary_runtime_measurements");
        assert_eq!(userspace, "/run/log/systemd/tpm2-measure.log");
        assert!(logs("device")[0].is_some() && logs("device:/tmp/x")[0].is_none() && logs("swtpm:port=1")[1].is_none());
    }

    #[test]
    fn a_program_is_asked_over_its_input_and_output() {
        let mut program = open("cmd:printf '\\200\\001\\0\\0\\0\\012\\0\\0\\0\\0'; cat > /dev/null").unwrap();
        assert_eq!(program.exchange(&[1]).unwrap(), [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]);
        let mut silent = open("cmd:true").unwrap();
        assert!(silent.exchange(&[1; 70_000]).is_err());
    }
}
