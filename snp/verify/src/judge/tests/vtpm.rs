//! The firmware's TPM, with a twin for its PSP: certificates as it makes them.

use super::twin::Twin;
use kernel::attest::{Certificates, ReportError, Reports};
use kernel::hooks::Platform;
use kernel::svsm::Tpm;
use kernel::sync::Mutex;
use snp::report::Report;
use tpm_core::{Clock, Entropy, EntropyFailure};
use zerocopy::FromBytes;

/// NV Indices of certificates: of the RSA-2048 EK, of the P-256 and the P-384 EK, of the P-256 AK, of their issuer.
pub(crate) const RSA_EK: u32 = 0x01C0_0002;
pub(crate) const P256_EK: u32 = 0x01C0_000A;
pub(crate) const P384_EK: u32 = 0x01C0_0016;
pub(crate) const P256_AK: u32 = 0x01C1_0002;
pub(crate) const ISSUER: u32 = 0x01C0_0100;

struct Counted(u8);

impl Entropy for Counted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        out.iter_mut().for_each(|byte| {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        });
        Ok(())
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now_ms(&mut self) -> u64 {
        0
    }
}

struct Psp<'a>(&'a Twin);

impl Reports for Psp<'_> {
    fn report(&mut self, data: &[u8; 64], wanted: Option<&mut Certificates>) -> Result<Report, ReportError> {
        if let Some(certificates) = wanted {
            let table = self.0.identity.certificate_table();
            certificates.fill(|out| out[..table.len()].copy_from_slice(&table));
        }
        Ok(Report::read_from_bytes(&self.0.signed(data)).unwrap())
    }
}

/// Does `work` with a TPM that has booted with these random numbers, whose PSP is `twin`: it is asked by commands, and
/// gives responses.
pub(crate) fn with<R>(twin: &Twin, boot: u8, work: impl FnOnce(&mut dyn FnMut(&[u8]) -> Vec<u8>) -> R) -> R {
    let mut tpm = Platform::manufacture(Counted(boot), Stopped, |_| {}).ok().unwrap();
    let reports = Mutex::new(Psp(twin));
    let mut ask = |command: &[u8]| {
        tpm.prepare(command, &reports).unwrap();
        let mut response = vec![0; 4096];
        let length = tpm.execute(command, &mut response);
        response.truncate(length);
        response
    };
    assert_eq!(ask(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0])[6..], [0; 4]);
    work(&mut ask)
}

/// What is in an index of it.
pub(crate) fn index(twin: &Twin, boot: u8, index: u32) -> Vec<u8> {
    with(twin, boot, |ask| {
        read(index, &mut |command| {
            let response = ask(command);
            assert_eq!(response[6..10], [0; 4], "{command:02x?}");
            response[10..].to_vec()
        })
    })
}

fn read(index: u32, run: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let handle = index.to_be_bytes();
    let public = run(&[[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69].as_slice(), &handle].concat());
    let length = usize::from(u16::from_be_bytes([public[0], public[1]]));
    let size = u16::from_be_bytes([public[length], public[length + 1]]);
    let session = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    let mut contents = Vec::new();
    while contents.len() < usize::from(size) {
        let offset = u16::try_from(contents.len()).unwrap();
        let part = (size - offset).min(1024);
        let head = [0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e];
        let command =
            [head.as_slice(), &handle, &handle, &session, &part.to_be_bytes(), &offset.to_be_bytes()].concat();
        contents.extend(&run(&command)[6..6 + usize::from(part)]);
    }
    contents
}
