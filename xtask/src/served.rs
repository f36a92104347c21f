//! The firmware's TPM at local ports: for users of the verb `run`, and for suites.

use anyhow::{Result, anyhow, bail};
use booted::Totals;
use host::boot;
use host::child::{self, Ending};
use host::qemu::Qemu;
use host::relay::{Relay, SerialRelay};
use std::os::unix::net::UnixStream;
use std::thread;
use tpm_codes::rc::Rc;
use tpm_ports::{Backend, BufferSizes, Ports, Record, Reserved, Settings, Stop};

/// A firmware's TPM, behind the payload at VMPL2. Its vTPM protocol knows locality 0 alone, and its power is the
/// machine's.
#[derive(Debug)]
pub struct Firmware<R>(pub R);

/// Octets of a command that a page of the vTPM protocol carries, behind its head (docs/boot.md).
const MAX_FIRMWARE_COMMAND: u32 = 4087;

impl<R: Relay + Send> Backend for Firmware<R> {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        if locality != 0 {
            return Ok(Rc::LOCALITY.response().into());
        }
        if command.len() > MAX_FIRMWARE_COMMAND as usize {
            return Ok(Rc::COMMAND_SIZE.response().into());
        }
        self.0.tpm(command)
    }

    fn buffer_sizes(&self) -> BufferSizes {
        BufferSizes { now: MAX_FIRMWARE_COMMAND, least: MAX_FIRMWARE_COMMAND, most: MAX_FIRMWARE_COMMAND }
    }

    fn can_power_off(&self) -> bool {
        false
    }
}

/// Takes the ports, so that one that is taken is said at once.
pub fn reserve(port: u16) -> Result<Reserved> {
    Ports::reserve(port, None)
}

/// Serves the firmware's TPM until Ctrl-C. It fails when the machine ends.
pub fn until_a_signal(
    ports: Reserved,
    relay: impl Relay + Send + 'static,
    mut qemu: Qemu,
    ending: Ending,
) -> Result<()> {
    let stop = Stop::on(&child::SIGNALS)?;
    ending.hand_over();
    let ports = ports.listen()?;
    println!(
        "\nThe firmware's TPM is served until Ctrl-C; TPM2_Startup was sent. Its clients need:\n\n  export TPM2TOOLS_TCTI={}\n",
        ports.tcti()?
    );
    let ended = stop.clone();
    let watch = move || {
        if qemu.has_ended()? && !ended.is_set() {
            bail!("{}", boot::last_words(&mut qemu));
        }
        Ok(())
    };
    let settings = Settings { watch: Some(Box::new(watch)), ..Settings::default() };
    tpm_ports::serve_with(ports, Box::new(Firmware(relay)), settings, &stop)
}

/// Serves it as long as `cases` run, which hear where.
pub fn while_cases_run(
    relay: SerialRelay<UnixStream>,
    cases: &mut dyn FnMut(&str) -> Result<Totals>,
) -> Result<Totals> {
    while_used(relay, None, cases)
}

/// The same, and `trace` hears what is said.
pub fn traced(
    relay: SerialRelay<UnixStream>,
    trace: Box<dyn Record>,
    cases: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    while_used(relay, Some(trace), cases)
}

fn while_used<T>(
    relay: SerialRelay<UnixStream>,
    trace: Option<Box<dyn Record>>,
    cases: &mut dyn FnMut(&str) -> Result<T>,
) -> Result<T> {
    let (ports, stop) = (Ports::reserve(0, None)?.listen()?, Stop::default());
    let tcti = ports.tcti()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let settings = Settings { trace, ..Settings::default() };
            tpm_ports::serve_with(ports, Box::new(Firmware(relay)), settings, &stop)
        });
        let done = cases(&tcti);
        stop.set();
        server.join().map_err(|_| anyhow!("the server has panicked"))??;
        done
    })
}

#[cfg(test)]
mod tests {
    use super::Firmware;
    use host::relay::{AttestCall, Attestation, Relay, SvsmRegisters, Work};
    use tpm_ports::Backend;

    /// A relay that was asked for nothing but commands, none too long for its page.
    struct Page;

    impl Relay for Page {
        fn tpm(&mut self, command: &[u8]) -> anyhow::Result<Vec<u8>> {
            anyhow::ensure!(command.len() <= 4087, "the payload finds it too long");
            Ok(b"ok".to_vec())
        }

        fn tpm_by_pages(&mut self, _command: &[u8]) -> anyhow::Result<Vec<u8>> {
            unreachable!()
        }

        fn attest(&mut self, _call: AttestCall, _version: u32, _nonce: &[u8]) -> anyhow::Result<Attestation> {
            unreachable!()
        }

        fn selftest(&mut self) -> anyhow::Result<String> {
            unreachable!()
        }

        fn two_vcpus(&mut self, _work: Work, _count: u32) -> anyhow::Result<String> {
            unreachable!()
        }

        fn guest_message(&mut self, _message: &[u8]) -> anyhow::Result<(u64, Vec<u8>)> {
            unreachable!()
        }

        fn register_states(&mut self, _what: &host::relay::RegisterStates) -> anyhow::Result<String> {
            unreachable!()
        }

        fn apic(&mut self) -> anyhow::Result<String> {
            unreachable!()
        }

        fn last_selftest(&mut self) -> anyhow::Result<String> {
            unreachable!()
        }

        fn svsm(&mut self, _registers: SvsmRegisters) -> anyhow::Result<(SvsmRegisters, u8)> {
            unreachable!()
        }

        fn write(&mut self, _gpa: u64, _bytes: &[u8]) -> anyhow::Result<()> {
            unreachable!()
        }

        fn read(&mut self, _gpa: u64, _length: u32) -> anyhow::Result<Vec<u8>> {
            unreachable!()
        }
    }

    /// Section 3, row 3: the connection was closed.
    #[test]
    fn a_command_that_the_firmwares_page_cannot_hold_is_a_response_code() {
        let mut firmware = Firmware(Page);
        assert_eq!(firmware.execute(0, &[0; 4087]).unwrap(), b"ok");
        for size in [4088, 8192] {
            assert_eq!(firmware.execute(0, &vec![0; size]).unwrap(), [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x42]);
        }
    }
}
