//! A TPM at two local TCP ports, and at two Unix sockets, for any client of tpm2-tss and its kin, and for QEMU's
//! `-tpmdev emulator`.
//!
//! One port takes commands, the next one what a platform does. Two protocols are in use for each, and a client of
//! either is served at the same ports, since what it says first tells them apart: that of the TCG simulator (`mssim`)
//! and that of swtpm (`swtpm`, whose data port is TPM bytes alone). All who reach the ports are equals. What a guest
//! says comes over a data channel that QEMU hands over, where nothing is found out.
//!
//! | module | is |
//! |---|---|
//! | `command` | what comes at the command port |
//! | [`Options`] | what a server's command line says |
//! | `platform` | what comes at the platform port, and whose it is |
//! | `control` | swtpm's control channel, at the platform port or the Unix socket of its own |
//! | `guests` | who is connected, and how many may be |
//! | `machine` | what all connections share: the TPM, its power |
//! | `ports` | where clients come |
//! | `turns` | whose turn it is at the TPM |
//! | `wire` | sockets |

mod command;
mod control;
mod guests;
mod machine;
mod options;
mod platform;
mod ports;
mod turns;
mod wire;

pub use machine::Dialect;
pub use options::{Options, Startup};
pub use ports::{Ports, Reserved};

use anyhow::{Context, Result, bail};
use command::Framing;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use guests::Guests;
use machine::Machine;
use std::sync::Arc;
use std::thread;
use wire::{Channel, Socket};

/// How often the server looks whether it shall end. A client never waits for it.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of stack for a connection: a TPM that is made of a state passes over it a few times before it has its place.
const STACK: usize = 16 << 20;

/// A part of the state, as swtpm's control channel divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateBlob {
    /// What survives the loss of power.
    Permanent,
    /// What does not.
    Volatile,
    /// What `TPM2_Shutdown` has saved.
    Saved,
}

/// Octets of a command or response: what the way to the TPM carries, and from where to where that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    /// The longest.
    pub now: u32,
    /// The least that `now` can be.
    pub least: u32,
    /// The most.
    pub most: u32,
}

/// What stands behind the ports. What a backend cannot do it says by false, and the client hears of it.
pub trait Backend: Send {
    /// Executes one TPM command at `locality` and gives the response. An error ends the client's connection.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>>;
    /// How long commands and responses may be; what is longer the TPM refuses by itself.
    fn buffer_sizes(&self) -> BufferSizes;
    /// Sets how long they may be from now on, within what is possible.
    fn set_buffer_size(&mut self, _octets: u32) {}
    /// What cancels a command that is being executed; one that nobody looks at if it cannot be.
    fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::default()
    }
    /// Whether it can be without power: a client may switch that off and on then.
    fn can_power_off(&self) -> bool {
        true
    }
    /// Power off and on again (`_TPM_Init`). If that is refused all is as before.
    fn reset(&mut self) -> bool {
        false
    }
    /// The platform ends in order, and the power goes: the TPM may do what `TPM2_Shutdown` does, where the system did
    /// not.
    fn shut_down(&mut self) {}
    /// `_TPM_Hash_Start`.
    fn hash_start(&mut self) -> bool {
        false
    }
    /// `_TPM_Hash_Data`.
    fn hash_data(&mut self, _data: &[u8]) -> bool {
        false
    }
    /// `_TPM_Hash_End`.
    fn hash_end(&mut self) -> bool {
        false
    }
    /// Asserts physical presence, or no more.
    fn set_physical_presence(&mut self, _asserted: bool) -> bool {
        false
    }
    /// Enters failure mode.
    fn fail(&mut self) -> bool {
        false
    }
    /// Whether the authenticated countdown timer of this handle has signaled.
    fn act_signaled(&mut self, _act: u32) -> bool {
        false
    }
    /// TPM_ACCESS's `tpmEstablishment`: whether there was a dynamic launch since it was reset.
    fn established(&mut self) -> bool {
        false
    }
    /// Resets `tpmEstablishment`.
    fn reset_established(&mut self) -> bool {
        true
    }
    /// Whether [`Backend::state`] and [`Backend::set_state`] work.
    fn has_state(&self) -> bool {
        false
    }
    /// A part of the state.
    fn state(&mut self, _blob: StateBlob) -> Result<Vec<u8>> {
        bail!("this TPM does not export its state")
    }
    /// Replaces a part of the state; a reset follows.
    fn set_state(&mut self, _blob: StateBlob, _bytes: &[u8]) -> Result<()> {
        bail!("this TPM does not import a state")
    }
}

/// Whether the server shall end; cloned, it can be set from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that these signals set.
    pub fn on(signals: &[i32]) -> Result<Self> {
        let stop = Self::default();
        for &signal in signals {
            signal_hook::flag::register(signal, Arc::clone(&stop.0)).context("cannot listen for signals")?;
        }
        Ok(stop)
    }

    /// Ends the server.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What takes note of all that is said.
pub trait Record: Send + fmt::Debug {
    /// Records a command and its response.
    fn record(&mut self, locality: u8, command: &[u8], response: &[u8]) -> Result<()>;
}

/// How to serve.
#[derive(Default)]
pub struct Settings {
    /// Records what is said.
    pub trace: Option<Box<dyn Record>>,
    /// Whose protocol the platform port speaks, where that shall not be found out.
    pub dialect: Option<Dialect>,
    /// Looked at often: why the server has to end, if it has.
    pub watch: Option<Box<dyn FnMut() -> Result<()>>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("trace", &self.trace).field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

/// Serves `backend` until `stop` is set. Connections come and go; commands are executed one at a time.
pub fn serve(ports: Ports, backend: Box<dyn Backend>, stop: &Stop) -> Result<()> {
    serve_with(ports, backend, Settings::default(), stop)
}

/// Serves `backend` as `settings` say until `stop` is set, or its watch fails.
pub fn serve_with(ports: Ports, backend: Box<dyn Backend>, settings: Settings, stop: &Stop) -> Result<()> {
    let Settings { trace, dialect, mut watch } = settings;
    let machine = Arc::new(Machine::new(backend, trace, dialect, stop.clone()));
    let guests = Guests::new();
    let mut serve_on = || -> Result<()> {
        while !stop.is_set() {
            if let Some(watch) = &mut watch {
                watch()?;
            }
            if !ports.wait(STOP_INTERVAL)? {
                continue;
            }
            // The platform's connections last: tcti-mssim's to the command port is open when it asks for power.
            while let Some((socket, door)) = ports.accept()? {
                connected(socket, door, &machine, &guests);
            }
        }
        Ok(())
    };
    let outcome = serve_on();
    // Nothing is cut off in the midst of a command.
    machine.end();
    outcome
}

/// What a connection is for.
#[derive(Debug, Clone, Copy)]
enum Door {
    /// Commands, over TCP.
    Command,
    /// Commands, over the Unix socket.
    Unix,
    /// Commands, over a connection that QEMU has handed over.
    Data,
    Platform,
}

/// Serves a client in a thread of its own; what ends its connection is logged.
fn connected(socket: Socket, door: Door, machine: &Arc<Machine>, guests: &Guests) {
    let Some(guest) = guests.welcome(socket) else {
        eprintln!("a client is turned away: {} others are connected, and none of them idle", guests.most());
        return;
    };
    let (machine, guests) = (Arc::clone(machine), guests.clone());
    // From here on, not when its thread begins: the platform's client may come next, and whose it is depends on this.
    let client = machine.enter(matches!(door, Door::Command));
    let serve = move || {
        let outcome = match door {
            Door::Command => command::serve(&guest, Framing::at_port(machine.settled()), client, &machine),
            Door::Unix => command::serve(&guest, Framing::Plain, client, &machine),
            Door::Data => command::serve(&guest, Framing::Data, client, &machine),
            Door::Platform => {
                let adopt = |descriptor| match wire::socket_from(descriptor) {
                    Ok(socket) => connected(socket, Door::Data, &machine, &guests),
                    Err(error) => eprintln!("a client's data channel is refused: {error:#}"),
                };
                platform::serve(Channel::new(&guest), &machine, &adopt)
            }
        };
        machine.leave(client);
        if let Err(error) = outcome {
            eprintln!("a client's connection has ended: {error:#}");
        }
    };
    if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(serve) {
        eprintln!("a client is turned away: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::machine::tests::{Log, Seen, recorder};
    use super::{Ports, Settings, Stop, serve, serve_with};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::{IoSlice, Read, Write};
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::thread;
    use std::time::Instant;

    const COMMAND: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08";

    /// Where a server is.
    struct At<'a> {
        port: u16,
        path: &'a Path,
    }

    impl At<'_> {
        fn command(&self) -> TcpStream {
            TcpStream::connect(("127.0.0.1", self.port)).unwrap()
        }

        fn platform(&self) -> TcpStream {
            TcpStream::connect(("127.0.0.1", self.port + 1)).unwrap()
        }
    }

    /// A server at ports that are free, and at a Unix socket; what it was asked to do is given back.
    fn served(client: impl FnOnce(&At<'_>)) -> Vec<Seen> {
        served_at(0, client)
    }

    fn served_at(port: u16, client: impl FnOnce(&At<'_>)) -> Vec<Seen> {
        let (folder, log, stop) = (tempfile::tempdir().unwrap(), Log::default(), Stop::default());
        let path = folder.path().join("tpm");
        let ports = Ports::reserve(port, Some(&path)).unwrap().listen().unwrap();
        let at = At { port: ports.port(), path: &path };
        thread::scope(|scope| {
            let backend = recorder(&log);
            let server = scope.spawn(|| serve(ports, backend, &stop));
            let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| client(&at)));
            stop.set();
            server.join().unwrap().unwrap();
            outcome.unwrap();
        });
        assert!(!path.exists());
        assert!(log.take_shut_downs() > 0, "with the server the platform ends in order");
        log.take()
    }

    fn say(stream: &mut (impl Read + Write), said: &[u8], heard: &[u8]) {
        stream.write_all(said).unwrap();
        let mut answer = vec![0; heard.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, heard);
    }

    #[test]
    fn a_malformed_frame_ends_its_own_connection() {
        let seen = served(|at| {
            let mut other = at.command();
            for (mut stream, bad) in
                [(at.command(), b"GET / HTTP/1.1\r\n".as_slice()), (at.platform(), b"\xFF\xFF\xFF\xFF")]
            {
                stream.write_all(bad).unwrap();
                let mut rest = Vec::new();
                // An end, or a reset where bytes were left unread.
                let _ = stream.read_to_end(&mut rest);
                assert!(rest.is_empty());
                say(&mut other, COMMAND, b"ok");
            }
        });
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn many_clients_after_one_another_wait_for_none() {
        served(|at| {
            let started = Instant::now();
            for _ in 0..200 {
                let mut stream = at.command();
                say(&mut stream, COMMAND, b"ok");
            }
            // A server that looks every 100 ms for clients takes 20 s.
            assert!(started.elapsed().as_secs() < 10);
        });
    }

    #[test]
    fn a_port_can_be_taken_again_at_once() {
        let mut port = 0;
        for _ in 0..3 {
            served_at(port, |at| {
                say(&mut at.command(), COMMAND, b"ok");
                port = at.port;
            });
        }
    }

    #[test]
    fn whoever_is_silent_or_stops_midway_keeps_nobody_waiting() {
        let seen = served(|at| {
            let idle: Vec<_> = (0..50).map(|_| (at.command(), at.platform())).collect();
            let halves = [
                (at.command(), &COMMAND[..4]),
                (at.command(), &COMMAND[..11]),
                (at.command(), b"\0\0\0\x08\0\0\0\0\x0C\x80"),
                (at.platform(), b"\0\0"),
                (at.platform(), b"\0\0\0\x05"),
            ];
            let begun = halves.map(|(mut stream, half)| {
                stream.write_all(half).unwrap();
                stream
            });
            let mut unix = UnixStream::connect(at.path).unwrap();
            for _ in 0..3 {
                say(&mut at.command(), COMMAND, b"ok");
                say(&mut unix, COMMAND, b"ok");
            }
            drop(begun);
            say(&mut at.command(), COMMAND, b"ok");
            drop(idle);
        });
        assert_eq!(seen, vec![Seen::Execute(0, COMMAND.to_vec()); 7]);
    }

    #[test]
    fn a_client_that_leaves_before_its_answer_ends_its_own_connection() {
        let seen = served(|at| {
            for _ in 0..20 {
                let mut stream = at.command();
                stream.write_all(COMMAND).unwrap();
                drop(stream);
            }
            say(&mut at.command(), COMMAND, b"ok");
        });
        // Whether the server has heard a client that has gone is the system's affair.
        assert!((1..=21).contains(&seen.len()));
    }

    #[test]
    fn the_simulators_power_is_lost_and_comes_back_for_clients_that_stay() {
        let seen = served(|at| {
            let mut command = at.command();
            let mut platform = at.platform();
            let message = [b"\0\0\0\x08\0\0\0\0\x0C", COMMAND].concat();
            say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
            // NV off and on, power off twice, on twice, in an order of no client.
            for number in [12, 2, 11, 2] {
                say(&mut platform, &[0, 0, 0, number], &[0; 4]);
            }
            say(&mut command, &message, &[0; 8]);
            for number in [1, 11, 1, 4, 10] {
                say(&mut platform, &[0, 0, 0, number], &[0; 4]);
            }
            say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
            // The end of one session is not that of another.
            platform.write_all(&[0, 0, 0, 20]).unwrap();
            assert_eq!(platform.read(&mut [0]).unwrap(), 0);
            say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
        });
        let executed = Seen::Execute(0, COMMAND.to_vec());
        assert_eq!(seen, [executed.clone(), Seen::Reset, Seen::PhysicalPresence(false), executed.clone(), executed]);
    }

    #[test]
    fn tcti_mssim_opens_both_connections() {
        let seen = served(|at| {
            let mut command = at.command();
            let mut platform = at.platform();
            say(&mut platform, b"\0\0\0\x01", &[0; 4]);
            say(&mut platform, b"\0\0\0\x0B", &[0; 4]);
            say(&mut command, &[b"\0\0\0\x08\0\0\0\0\x0C", COMMAND].concat(), b"\0\0\0\x02ok\0\0\0\0");
        });
        assert_eq!(seen, [Seen::Execute(0, COMMAND.to_vec())]);
    }

    /// CMD_SET_DATAFD.
    fn hand_over(control: &mut UnixStream) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let descriptors = [theirs.as_fd()];
        let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&*control, &[IoSlice::new(b"\0\0\0\x10")], &mut ancillary, SendFlags::empty()).unwrap();
        say(control, b"", &[0; 4]);
        ours
    }

    #[test]
    fn qemu_sends_its_data_channel_over_the_control_channel() {
        let seen = served(|at| {
            let mut control = UnixStream::connect(format!("{}.ctrl", at.path.display())).unwrap();
            let mut ours = hand_over(&mut control);
            say(&mut control, b"\0\0\0\x02\0\0\0\0", &[0; 4]);
            say(&mut control, b"\0\0\0\x05\x03", &[0; 4]);
            say(&mut ours, COMMAND, b"ok");
        });
        assert_eq!(seen, [Seen::Reset, Seen::Execute(3, COMMAND.to_vec())]);
    }

    /// Section 3, row 1: a guest's CRB.
    #[test]
    fn what_a_guest_writes_into_its_buffer_is_no_message_to_the_server() {
        let seen = served(|at| {
            let mut control = UnixStream::connect(format!("{}.ctrl", at.path.display())).unwrap();
            let mut guest = hand_over(&mut control);
            say(&mut control, b"\0\0\0\x02\0\0\0\0", &[0; 4]);
            for forged in [
                &b"\0\0\0\x05"[..],
                b"\0\0\0\x06\0\0\0\x04evil",
                b"\0\0\0\x07",
                b"\0\0\0\x08\x04\0\0\0\x0C\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08",
                b"\0\0\0\x15",
            ] {
                say(&mut guest, forged, b"ok");
            }
            say(&mut guest, COMMAND, b"ok");
        });
        assert!(seen[1..].iter().all(|seen| matches!(seen, Seen::Execute(0, _))), "{seen:?}");
        assert_eq!(seen.len(), 7);
    }

    #[test]
    fn an_init_that_comes_in_pieces_is_one() {
        let seen = served(|at| {
            let mut control = at.platform();
            control.write_all(b"\0\0\0\x02").unwrap();
            thread::sleep(core::time::Duration::from_millis(100));
            say(&mut control, b"\0\0\0\0", &[0; 4]);
            let mut command = at.command();
            say(&mut command, COMMAND, b"ok");
            // swtpm_ioctl --tcp 127.0.0.1:PORT -c, while someone is at the command port.
            let mut ioctl = at.platform();
            say(&mut ioctl, b"\0\0\0\x01", &[0, 0, 0, 0, 0, 1, 0x7f, 0xbf]);
        });
        assert_eq!(seen, [Seen::Reset, Seen::Execute(0, COMMAND.to_vec())]);
    }

    /// Section 3, row 9: `cargo xtask run` went on for ever when QEMU had died.
    #[test]
    fn the_server_ends_when_what_it_serves_has() {
        let ports = Ports::reserve(0, None).unwrap().listen().unwrap();
        let port = ports.port();
        let mut looks = 0;
        let watch = move || {
            looks += 1;
            if looks > 2 { anyhow::bail!("the machine has ended") } else { Ok(()) }
        };
        let settings = Settings { watch: Some(Box::new(watch)), ..Settings::default() };
        let outcome = serve_with(ports, recorder(&Log::default()), settings, &Stop::default());
        assert_eq!(outcome.unwrap_err().to_string(), "the machine has ended");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
