//! `monitor SOCKET`: what a virtual machine monitor does about its guest's TPM, in a process of its own. Serves the
//! accesses that come over a socket (tests/machine/src/remote.rs), until the machine is gone; then says what it served.

use core::error::Error;
use core::time::Duration;
use embedders::openhcl::QuoinPlatform;
use embedders::openhcl::shape::{DynResult, InitKind, PlatformCallbacks};
use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Instant;
use tpm_crb::{BASE, Config, CrbDevice, NoMemory, registers};

/// Octets of a thread's stack: nothing here is optimised.
const STACK: usize = 8 << 20;

struct Process {
    random: File,
    started: Instant,
}

impl PlatformCallbacks for Process {
    /// The machine has no disk: its TPM is gone with it.
    fn commit_nv_state(&mut self, _: &[u8]) -> DynResult<()> {
        Ok(())
    }

    fn get_crypt_random(&mut self, buf: &mut [u8]) -> DynResult<usize> {
        Ok(self.random.read(buf)?)
    }

    fn monotonic_timer(&mut self) -> Duration {
        self.started.elapsed()
    }

    fn get_unique_value(&self) -> &'static [u8] {
        b"monitor"
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("monitor SOCKET")?;
    let listener = UnixListener::bind(path)?;
    println!("listening");
    let (socket, _) = listener.accept()?;
    let server =
        thread::Builder::new().stack_size(STACK).spawn(move || serve(socket).map_err(|error| error.to_string()))?;
    let served = server.join().map_err(|_| "the server panicked")??;
    println!("{} reads, {} writes, {} commands", served.reads, served.writes, served.commands);
    Ok(())
}

#[derive(Default)]
struct Served {
    reads: u64,
    writes: u64,
    commands: u64,
}

fn serve(mut socket: impl Read + Write) -> Result<Served, Box<dyn Error>> {
    let platform = Process { random: File::open("/dev/urandom")?, started: Instant::now() };
    let mut engine = QuoinPlatform::initialize(Box::new(platform), InitKind::ColdInit)?;
    let mut device = Box::new(CrbDevice::new(Config::default())?);
    let mut served = Served::default();
    let mut access = [0; 12];
    loop {
        match socket.read_exact(&mut access) {
            // The machine has ended, or was.
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return Ok(served);
            }
            outcome => outcome?,
        }
        let [write, size, low, high, value @ ..] = access;
        let (size, offset) = (usize::from(size), u16::from_le_bytes([low, high]));
        let address = BASE + u64::from(offset);
        if write == 0 {
            served.reads += 1;
            let mut octets = vec![0; size];
            device.read(address, &mut octets);
            socket.write_all(&octets)?;
        } else {
            let data = value.get(..size).ok_or("a write of more than 8 octets")?;
            served.writes += 1;
            served.commands += u64::from(offset == registers::CTRL_START && data.first() == Some(&1));
            let _ = device.write(&mut engine, &mut NoMemory, address, data);
        }
    }
}
