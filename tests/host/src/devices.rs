//! The firmware's own devices in QEMU: the disk with its state, and the console by which it talks to programs at the
//! host (docs/boot.md, "Devices of VMPL0").
//!
//! QEMU's devices reach memory by the addresses that the firmware names, so QEMU has memory where the firmware is, and
//! the machine is told to use that.

use anyhow::{Context, Result, anyhow};
use core::time::Duration;
use fs_err as fs;
use fs_err::os::unix::fs::FileExt;
use quoin_image::state::{Place, State, Wanted};
use relay::{Frames, Message, frame};
use sealed::layout::MIN_SECTORS;
use sealed::{BlockDevice, SECTOR};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::qemu::Folder;

/// PCI devices of bus 0 that are the firmware's: the disk, and the console.
pub const DISK: u8 = 0x1E;
/// See [`DISK`].
pub const CONSOLE: u8 = 0x1D;

/// Lines of the machine's configuration: the firmware's memory is QEMU's, and the guest does not find the devices.
pub const CONFIG: &str = "dma=yes\nhidden=0x1e\nhidden=0x1d";

/// The same for a host that hides nothing.
pub const SHOWN: &str = "dma=yes";

/// The setting of a state on this disk. The console is not looked for.
#[must_use]
pub const fn setting(wanted: Wanted) -> State {
    let disk = Some((wanted, Place::Pci(DISK, 0)));
    State { disk, console: None, share: false, recovery: None, anchors: Vec::new() }
}

/// Where the machine has disk and console over MMIO, by [`MMIO_CONFIG`]; the setting says so.
pub const MMIO: [u64; 2] = [0xFEB0_0000, 0xFEB0_0200];

/// Lines of the machine's configuration for [`MMIO`].
pub const MMIO_CONFIG: &str = "dma=yes\nhidden=0x1e\nhidden=0x1d\nmmio=0xfeb00000-0x1e\nmmio=0xfeb00200-0x1d";

/// The setting of a console alone.
#[must_use]
pub const fn console() -> State {
    let console = Some(Place::Pci(CONSOLE, 0));
    State { disk: None, console, share: false, recovery: None, anchors: Vec::new() }
}

/// QEMU's options for memory where the firmware is.
#[must_use]
pub fn memory() -> Vec<String> {
    let device = "pc-dimm,memdev=firmware,addr=0x8000000000";
    let object = "memory-backend-ram,id=firmware,size=32M";
    ["-m", "slots=1,maxmem=514G", "-object", object, "-device", device].map(String::from).into()
}

/// QEMU's options for the disk.
#[must_use]
pub fn disk(path: &Path) -> Vec<String> {
    let path = path.display().to_string().replace(',', ",,");
    let drive = format!("if=none,id=state,format=raw,cache=writeback,file={path}");
    disk_of("-drive", &drive)
}

/// The same for a disk by another option of QEMU's, which names it `state`.
#[must_use]
pub fn disk_of(option: &str, backend: &str) -> Vec<String> {
    let device = format!("virtio-blk-pci,drive=state,addr={DISK:#x}.0,disable-legacy=on,iommu_platform=on");
    [option, backend, "-device", &device].map(String::from).into()
}

/// QEMU's options for the firmware's console, at a socket on which somebody listens.
#[must_use]
pub fn console_at(socket: &Path) -> Vec<String> {
    console_by(&format!("socket,id=programs,path={}", socket.display()))
}

/// The same where QEMU tries once a second to connect, also when that has ended. (From QEMU 9.2 on the option is
/// `reconnect-ms`, and this one is to go.)
#[must_use]
pub fn lasting_console_at(socket: &Path) -> Vec<String> {
    console_by(&format!("socket,id=programs,path={},reconnect=1", socket.display()))
}

fn console_by(programs: &str) -> Vec<String> {
    let bus = format!(
        "virtio-serial-pci,id=firmware-bus,addr={CONSOLE:#x}.0,max_ports=1,disable-legacy=on,iommu_platform=on"
    );
    let console = "virtconsole,bus=firmware-bus.0,chardev=programs";
    ["-chardev", programs, "-device", &bus, "-device", console].map(String::from).into()
}

/// The programs' end of the firmware's console.
#[derive(Debug)]
pub struct Programs {
    folder: Folder,
    console: Vec<String>,
    messages: Receiver<Message>,
    writer: Sender<Vec<u8>>,
}

impl Programs {
    /// Waits for QEMU, in a thread.
    pub fn new() -> Result<Self> {
        Self::behind(|_| None)
    }

    /// The same behind another program, which has answers of its own to some messages; the others come here.
    pub fn behind(mut program: impl FnMut(&Message) -> Option<Vec<Vec<u8>>> + Send + 'static) -> Result<Self> {
        let folder = Folder::new()?;
        let path = folder.path().join("programs");
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let (sender, messages) = channel();
        let (writer, frames) = channel::<Vec<u8>>();
        let answers = writer.clone();
        let mut pass = move |message: Message| -> Result<()> {
            let Some(all) = program(&message) else { return sender.send(message).context("nobody receives") };
            for answer in all {
                answers.send(frame(message.service, message.number, &answer)?).context("the machine has ended")?;
            }
            Ok(())
        };
        thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else { return };
            let Ok(mut out) = stream.try_clone() else { return };
            thread::spawn(move || {
                for frame in frames {
                    if out.write_all(&frame).is_err() {
                        break;
                    }
                }
            });
            read(stream, &mut pass);
        });
        Ok(Self { console: console_at(&path), folder, messages, writer })
    }

    /// Those of a console that leads elsewhere, by these options: nothing comes here.
    pub fn elsewhere(console: Vec<String>) -> Result<Self> {
        Ok(Self { console, folder: Folder::new()?, messages: channel().1, writer: channel().0 })
    }

    /// QEMU's options for the console.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        self.console.clone()
    }

    /// The same for the third serial port, by which the firmware asks for certificates.
    #[must_use]
    pub fn serial(&self) -> Vec<String> {
        let socket = format!("socket,id=programs,path={}", self.folder.path().join("programs").display());
        ["-chardev", &socket, "-serial", "chardev:programs"].map(String::from).into()
    }

    /// Sends a program's message to the firmware.
    pub fn send(&self, service: u16, number: u16, message: &[u8]) -> Result<()> {
        self.writer.send(frame(service, number, message)?).context("the machine has ended")
    }

    /// The way to the firmware for octets as they are, before the frames that are sent later.
    #[must_use]
    pub fn octets(&self) -> Sender<Vec<u8>> {
        self.writer.clone()
    }

    /// Sends the first octets of a message's frame.
    pub fn send_part(&self, service: u16, number: u16, message: &[u8], octets: usize) -> Result<()> {
        let mut frame = frame(service, number, message)?;
        frame.truncate(octets);
        self.writer.send(frame).context("the machine has ended")
    }

    /// The firmware's next message to a program, if there is one in time.
    #[must_use]
    pub fn receive(&self, timeout: Duration) -> Option<Message> {
        self.messages.recv_timeout(timeout).ok()
    }

    /// Has `answer` give what is sent back for each message, in a thread, as long as the machine runs.
    pub fn answer(self, mut answer: impl FnMut(&Message) -> Vec<Vec<u8>> + Send + 'static) {
        thread::spawn(move || {
            while let Ok(message) = self.messages.recv() {
                for octets in answer(&message) {
                    if self.send(message.service, message.number, &octets).is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Passes the frames of a stream on, until it ends. What is none is lost.
fn read(mut stream: impl Read, pass: &mut dyn FnMut(Message) -> Result<()>) {
    let (mut frames, mut octets) = (Frames::default(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut octets) {
        let mut rest = &octets[..count];
        while !rest.is_empty() {
            let (used, frame) = frames.take(rest);
            rest = &rest[used..];
            if let Some(Ok(message)) = frame
                && pass(message).is_err()
            {
                return;
            }
        }
    }
}

/// A disk that is a file.
#[derive(Debug)]
pub struct FileDisk(fs::File);

impl FileDisk {
    /// One that is there.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(fs::File::options().read(true).write(true).open(path)?))
    }

    /// A new one, prepared for a state, unless there is one. Whether it was prepared.
    pub fn prepare_new(path: &Path) -> Result<bool> {
        let is_new = !path.try_exists()?;
        if is_new {
            Self::prepare(path)?;
        }
        Ok(is_new)
    }

    /// A new one, prepared for a state.
    pub fn prepare(path: &Path) -> Result<()> {
        let file = fs::File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(MIN_SECTORS * SECTOR as u64)?;
        sealed::disk::prepare(Self(file)).map_err(|why| anyhow!("{} is not prepared: {why}", path.display()))
    }
}

impl BlockDevice for FileDisk {
    type Error = std::io::Error;

    fn sectors(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len() / SECTOR as u64)
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(out, first * SECTOR as u64)
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> std::io::Result<()> {
        self.0.write_all_at(octets, first * SECTOR as u64)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::{Programs, disk, memory};
    use core::time::Duration;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    #[test]
    fn programs_and_firmware_hear_each_other() {
        let programs = Programs::new().unwrap();
        let mut firmware = UnixStream::connect(programs.folder.path().join("programs")).unwrap();
        let sent = relay::frame(2, 1, b"a question").unwrap();
        // In two pieces, the second with the next frame's beginning.
        firmware.write_all(&sent[..5]).unwrap();
        firmware.write_all(&[&sent[5..], &sent[..3]].concat()).unwrap();
        let heard = programs.receive(Duration::from_secs(10)).unwrap();
        assert_eq!((heard.service, heard.number, &heard.octets[..]), (2, 1, &b"a question"[..]));
        programs.send(2, 1, b"an answer").unwrap();
        let mut answer = relay::frame(2, 1, b"an answer").unwrap();
        let wanted = answer.clone();
        answer.fill(7);
        firmware.read_exact(&mut answer).unwrap();
        assert_eq!(answer, wanted);
        firmware.write_all(&sent[3..]).unwrap();
        programs.answer(|message| [message.octets.clone(), b"again".to_vec()].into());
        let wanted = [sent, relay::frame(2, 1, b"again").unwrap()].concat();
        let mut answers = vec![0; wanted.len()];
        firmware.read_exact(&mut answers).unwrap();
        assert_eq!(answers, wanted);
    }

    #[test]
    fn a_comma_in_the_disks_path_is_no_option() {
        assert!(disk(Path::new("/a,b"))[1].ends_with("file=/a,,b"));
        assert!(memory()[5].contains("0x8000000000"));
    }
}
