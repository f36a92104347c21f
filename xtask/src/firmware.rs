//! The firmware's TPM, as one that can be served at local ports.

use crate::relay::Relay;
use anyhow::Result;
use tpm_ports::{Backend, BufferSizes};

/// A firmware's TPM, behind the payload at VMPL2. Its vTPM protocol knows locality 0 alone, and its power is the
/// machine's.
#[derive(Debug)]
pub struct Firmware<R>(pub R);

/// Octets of a command that a page of the vTPM protocol carries, behind its head (docs/boot.md).
const MAX_FIRMWARE_COMMAND: u32 = 4087;

impl<R: Relay + Send> Backend for Firmware<R> {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        // What a TPM says to a command that its locality may not give, and to one beyond its buffer: without sessions.
        const TPM_RC_LOCALITY: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 9, 7];
        const TPM_RC_COMMAND_SIZE: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x42];
        if locality != 0 {
            return Ok(TPM_RC_LOCALITY.to_vec());
        }
        if command.len() > MAX_FIRMWARE_COMMAND as usize {
            return Ok(TPM_RC_COMMAND_SIZE.to_vec());
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

#[cfg(test)]
mod tests {
    use super::Firmware;
    use crate::relay::{AttestCall, Attestation, Relay, SvsmRegisters};
    use tpm_ports::Backend;

    /// A relay that was asked for nothing but commands, none too long for its page.
    struct Page;

    impl Relay for Page {
        fn tpm(&mut self, command: &[u8]) -> anyhow::Result<Vec<u8>> {
            anyhow::ensure!(command.len() <= 4087, "the payload finds it too long");
            Ok(b"ok".to_vec())
        }

        fn attest(&mut self, _call: AttestCall, _version: u32, _nonce: &[u8]) -> anyhow::Result<Attestation> {
            unreachable!()
        }

        fn selftest(&mut self) -> anyhow::Result<String> {
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
