//! Starts the software SEV-SNP machine in QEMU, and listens to it.
//!
//! Three unix sockets in a folder of our own: the firmware's console (COM1), the guest's relay (COM2), the machine's
//! log (debug console). We listen and QEMU connects, so that no byte is lost and nothing has to be tried again.

use crate::child::{self, Heir};
use crate::relay::SerialRelay;
use anyhow::{Context, Result, bail};
use core::time::Duration;
use fs_err as fs;
use fs_err::os::unix::fs::FileExt;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind, Read};

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// The program, and the Debian package that it comes from.
pub const PROGRAM: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");

/// The CPU that is emulated: it has SVM and, in its name, the model that the launch shows.
pub const CPU_MODEL: &str = "EPYC-Milan";

/// How several processors take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// One after the other, in one thread of QEMU's: steadier, and as fast on few cores.
    InOneThread,
    /// Each in a thread of its own: at any moment something else may be done.
    AtOnce,
}

/// How long QEMU may take to connect to our sockets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the payload may take to greet, and to answer: RSA keys are made at the speed of an emulated CPU.
const RELAY_TIMEOUT: Duration = Duration::from_secs(600);

/// What the machine is given (docs/boot.md, "What the machine takes from QEMU").
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The machine's ELF file.
    pub machine: &'a Path,
    /// The IGVM file's bytes.
    pub image: &'a [u8],
    /// The mock PSP's identity: [`crate::psp::Identity::fw_cfg_bundle`].
    pub psp: &'a [u8],
    /// `key=value` lines: what a VMPL violation does, and how the host shall lie. May be empty.
    pub config: &'a str,
    /// MiB of RAM, the machine's own included; docs/boot.md says 512.
    pub memory_mib: u32,
    /// Processors of the machine, 1 to 8.
    pub processors: u32,
    /// How they take turns.
    pub turns: Turns,
    /// Further options of QEMU.
    pub options: &'a [String],
}

/// Who said a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The machine, on the debug console.
    Machine,
    /// The firmware, on COM1.
    Firmware,
}

/// A line, and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Time since QEMU was started.
    pub elapsed: Duration,
    /// Who said it.
    pub source: Source,
    /// What was said, without the line end.
    pub line: String,
}

/// How the machine ended: the exit statuses that docs/boot.md gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// An orderly end.
    Orderly,
    /// A rule of SEV-SNP was broken; the log says which.
    RuleBroken,
    /// The IGVM file or the PSP's identity cannot be launched.
    BadLaunch,
    /// The firmware or the guest asked for termination.
    Terminated,
    /// A fault of the machine's own.
    MachineFault,
    /// QEMU itself ended, with this status or by a signal.
    Qemu(Option<i32>),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(1) => Self::Orderly,
            Some(3) => Self::RuleBroken,
            Some(5) => Self::BadLaunch,
            Some(7) => Self::Terminated,
            Some(9) => Self::MachineFault,
            code => Self::Qemu(code),
        }
    }
}

/// A running machine. Dropping it ends QEMU.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    started: Instant,
    events: Receiver<Event>,
    recent: Recent,
    relay: Option<UnixStream>,
    /// What QEMU itself says.
    messages: fs::File,
    /// Gone when the machine runs: QEMU has read and connected all that is in it.
    folder: Option<(Folder, Heir)>,
}

impl Qemu {
    /// Starts the machine.
    pub fn start(settings: &Settings<'_>) -> Result<Self> {
        let folder = Folder::new()?;
        let heir = Heir::of(&folder.0);
        let listeners = [folder.listen("console")?, folder.listen("relay")?, folder.listen("log")?];
        for (name, bytes) in [("igvm", settings.image), ("psp", settings.psp), ("config", settings.config.as_bytes())] {
            fs::write(folder.0.join(name), bytes).context("cannot write to the temporary folder")?;
        }
        let messages = fs::File::options().read(true).write(true).create_new(true).open(folder.0.join("messages"))?;
        let mut child = child::command(PROGRAM.0)
            .args(arguments(settings, &folder.0))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(messages.try_clone()?.into_file())
            .spawn()
            .with_context(|| format!("cannot start {}: install it with `apt-get install {}`", PROGRAM.0, PROGRAM.1))?;
        let started = Instant::now();
        let [console, relay, log] = match accept_all(&listeners, &mut child) {
            Ok(streams) => streams,
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                bail!("{error:#}; QEMU says:\n{}", text(&messages));
            }
        };
        relay.set_read_timeout(Some(RELAY_TIMEOUT))?;
        let (sender, events) = channel();
        listen_for_lines(console, Source::Firmware, started, sender.clone());
        listen_for_lines(log, Source::Machine, started, sender);
        Ok(Self {
            child,
            started,
            events,
            recent: Recent::default(),
            relay: Some(relay),
            messages,
            folder: Some((folder, heir)),
        })
    }

    /// The next line of the firmware or the machine; `None` when there was none in time, or when there will be none any
    /// more ([`Self::has_ended`] tells).
    pub fn next_event(&mut self, timeout: Duration) -> Option<Event> {
        let event = self.events.recv_timeout(timeout).ok()?;
        self.folder = None;
        self.recent.push(&event.line);
        Some(event)
    }

    /// Whether the machine has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the payload at VMPL2 and gives the relay to it; it can be taken once.
    pub fn relay(&mut self) -> Result<SerialRelay<UnixStream>> {
        let stream = self.relay.take().context("the relay was taken already")?;
        SerialRelay::connect(stream)
    }

    /// The guest's serial port (COM2), when no payload of ours is behind it; it can be taken once.
    pub fn guest_serial(&mut self) -> Result<UnixStream> {
        self.relay.take().context("the guest's serial port was taken already")
    }

    /// Waits for the machine's end and says how it ended; QEMU is ended when that takes longer than `timeout`, which is
    /// an error.
    pub fn wait(&mut self, timeout: Duration) -> Result<End> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.kill()?;
        bail!("the machine did not end within {} seconds", timeout.as_secs())
    }

    /// Takes the machine's power away, now.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The last lines that were said, as one text, whether somebody has asked for them or not: what goes beside an
    /// error.
    pub fn last_lines(&mut self) -> String {
        self.hear_out();
        self.recent.text()
    }

    /// Why the machine does not launch the image; empty if it has not said so.
    pub fn launch_refusal(&mut self) -> String {
        self.last_line(&["BAD LAUNCH "]).strip_prefix("BAD LAUNCH ").unwrap_or_default().to_owned()
    }

    /// The machine's last line that begins with one of these, without `machine: `; empty if there is none.
    pub fn last_line(&mut self, starts: &[&str]) -> String {
        self.hear_out();
        let is_one = |line: &&str| starts.iter().any(|start| line.starts_with(start));
        self.recent.machine().find(is_one).unwrap_or_default().to_owned()
    }

    /// Takes what is still to be heard, and no more than that of a machine that goes on talking.
    fn hear_out(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && self.next_event(Duration::from_millis(300)).is_some() {}
    }

    /// CPU time that QEMU has used so far, that of the kernel for it included.
    pub fn cpu_time(&self) -> Result<Duration> {
        let (own, kernel) = self.cpu_times()?;
        Ok(own + kernel)
    }

    /// CPU time that QEMU itself has used so far, and that of the kernel for it: where it touches memory for the first
    /// time, above all (proc_pid_stat(5): fields 14 and 15, in clock ticks).
    pub fn cpu_times(&self) -> Result<(Duration, Duration)> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is a name in brackets, which may have blanks in it.
        let (_, fields) = stat.rsplit_once(')').context("the kernel's word about QEMU cannot be read")?;
        let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
        let mut time =
            || ticks.next().map(|ticks| Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()));
        time().zip(time()).context("the kernel's word about QEMU has no times")
    }

    /// The number of QEMU's process, which is its own as long as this is there.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time since QEMU was started.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What QEMU itself has complained about.
    pub fn messages(&self) -> String {
        text(&self.messages)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn arguments(settings: &Settings<'_>, folder: &Path) -> Vec<OsString> {
    let path = |name: &str| folder.join(name).into_os_string().into_string().unwrap_or_default();
    // One 32-bit CPU feature set for all QEMU versions: 48 address bits put the C-bit at 47; svm is what the machine is
    // made of.
    let cpu = format!("{CPU_MODEL},phys-bits=48,svm=on");
    let accelerator = match (settings.processors, settings.turns) {
        (1, _) => "tcg",
        (_, Turns::InOneThread) => "tcg,thread=single",
        (_, Turns::AtOnce) => "tcg,thread=multi",
    };
    let (memory, processors) = (format!("{}M", settings.memory_mib), settings.processors.to_string());
    let mut arguments: Vec<OsString> =
        ["-machine", "q35", "-accel", accelerator, "-cpu", &cpu].map(OsString::from).into();
    arguments.extend(["-m", &memory, "-smp", &processors, "-nodefaults", "-no-user-config"].map(OsString::from));
    arguments.extend(["-display", "none", "-monitor", "none", "-no-reboot", "-kernel"].map(OsString::from));
    arguments.push(settings.machine.as_os_str().to_owned());
    for name in ["igvm", "psp", "config"] {
        arguments.extend([OsString::from("-fw_cfg"), format!("name=opt/org.quoin/{name},file={}", path(name)).into()]);
    }
    for name in ["console", "relay", "log"] {
        arguments.extend([OsString::from("-chardev"), format!("socket,id={name},path={}", path(name)).into()]);
    }
    arguments.extend(["-serial", "chardev:console", "-serial", "chardev:relay"].map(OsString::from));
    arguments.extend(["-device", "isa-debugcon,iobase=0xe9,chardev=log"].map(OsString::from));
    arguments.extend(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"].map(OsString::from));
    arguments.extend(settings.options.iter().map(OsString::from));
    arguments
}

fn accept_all(listeners: &[UnixListener; 3], child: &mut Child) -> Result<[UnixStream; 3]> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut accept = |listener: &UnixListener| loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            return Ok(stream);
        }
        if let Some(status) = child.try_wait()? {
            bail!("QEMU did not start ({status})");
        }
        if Instant::now() > deadline {
            bail!("QEMU did not connect to its serial ports");
        }
        thread::sleep(Duration::from_millis(5));
    };
    Ok([accept(&listeners[0])?, accept(&listeners[1])?, accept(&listeners[2])?])
}

/// Sends every line of `stream`, until it ends or nobody wants them any more.
fn listen_for_lines(stream: impl Read + Send + 'static, source: Source, started: Instant, sender: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(Event { elapsed: started.elapsed(), source, line }).is_err() {
                break;
            }
        }
    });
}

/// The last lines that were said.
#[derive(Debug, Default)]
struct Recent(VecDeque<String>);

impl Recent {
    const MANY: usize = 12;

    fn push(&mut self, line: &str) {
        if self.0.len() == Self::MANY {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    fn text(&self) -> String {
        Vec::from_iter(self.0.iter().map(String::as_str)).join("\n")
    }

    /// The machine's lines, the newest first, without `machine: `.
    fn machine(&self) -> impl Iterator<Item = &str> {
        self.0.iter().rev().filter_map(|line| line.strip_prefix("machine: "))
    }
}

/// A temporary folder that goes when its owner does.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    pub fn new() -> Result<Self> {
        use core::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("quoin-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    child::keep_clean(&path);
                    return Ok(Self(path));
                }
                // Of a run that was killed, or of a container that shares the folder and not the process numbers.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot create {}", path.display())),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn listen(&self, name: &str) -> Result<UnixListener> {
        let path = self.0.join(name);
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// All that is in a file.
fn text(file: &fs::File) -> String {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        child::forget(&self.0);
    }
}

/// What comes from a serial port, as it comes; the end of the channel is that of the port.
pub(crate) fn listen(mut serial: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = serial.read(&mut bytes) {
            if sender.send(bytes[..len].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::{Folder, Recent, Source, listen_for_lines};
    use std::io::Cursor;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    #[test]
    fn lines_come_without_their_ends_and_with_what_is_not_text_replaced() {
        let (sender, events) = channel();
        listen_for_lines(
            Cursor::new(b"quoin: vmpl0 entered\r\nnot \xFF text\nunfinished"),
            Source::Firmware,
            Instant::now(),
            sender,
        );
        let lines: Vec<String> = events.iter().map(|event| event.line).collect();
        assert_eq!(lines, ["quoin: vmpl0 entered", "not \u{FFFD} text", "unfinished"]);
    }

    #[test]
    fn the_last_twelve_lines_are_kept_also_those_that_were_asked_for() {
        let mut recent = Recent::default();
        (0..20).for_each(|number| recent.push(&format!("line {number}")));
        assert!(recent.text().starts_with("line 8\n") && recent.text().ends_with("\nline 19"), "{}", recent.text());
        ["machine: one", "machine: two", "other"].iter().for_each(|line| recent.push(line));
        assert_eq!(recent.machine().collect::<Vec<_>>(), ["two", "one"]);
    }

    #[test]
    fn folders_differ_and_go() {
        let (first, second) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(first.0, second.0);
        let path = first.0.clone();
        drop(first);
        assert!(!path.exists());
    }
}
