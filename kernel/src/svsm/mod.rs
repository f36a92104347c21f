//! The services that a guest can call: one table, a handler per protocol (SVSM specification 1.01).
//!
//! Every handler has one signature: the call's number and the guest's registers in, a result code out; registers that
//! the call answers in are changed in place. A handler copies guest memory in once, decides on the copy, and holds the
//! guest's lock from the check to the last access. Nothing that a guest sends is fatal.
//!
//! Processors call at once. Three locks: the TPM, the PSP, the guest. Of the first two, whoever finds one taken answers
//! BUSY; the guest's is waited for, and whoever holds it waits for none of these (docs/decisions.md, "Locks"). A
//! processor that is started is waited for without a lock.

pub mod apic;
pub mod attestation;
pub mod core_protocol;
pub mod deposit;
pub mod processors;
pub mod request;
pub mod vcpus;
pub mod vtpm;
pub mod x2apic;

use alloc::vec::Vec;

use snp::svsm::{CallId, ResultCode, protocol};

use crate::attest;
use crate::interrupts::Interrupts;
use crate::mm::Pages;
use crate::state::Kept;
use crate::sync::Mutex;
use vcpus::Guest;

/// The registers of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Protocol and call; result.
    pub rax: u64,
    /// First argument.
    pub rcx: u64,
    /// Second argument.
    pub rdx: u64,
    /// Third argument.
    pub r8: u64,
    /// Fourth argument.
    pub r9: u64,
}

/// Somebody else is at work on what is needed: nothing has been done, and the call can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// The TPM behind the vTPM protocol, and its identity behind the attestation protocol.
pub trait Tpm {
    /// Executes one command and returns the length of the response, which is always well formed. Neither is longer than
    /// `response`: so much, the TPM tells its caller, a command and a response can have.
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize;

    /// The one place for a command and a response that come and go in a list of pages: too long for a processor's
    /// stack.
    fn buffers(&mut self) -> &mut vtpm::Buffers;

    /// As [`Tpm::execute`], with the first `command` bytes of the one of [`Tpm::buffers`], and the first `response`
    /// bytes of the other. Neither number is more than [`vtpm::BUFFER`].
    fn execute_in_buffers(&mut self, command: usize, response: usize) -> usize;

    /// The public area of the RSA-2048 endorsement key that the TPM has now. It is made when it is asked for first, and
    /// when TPM2_ChangeEPS has changed the seed since: that takes a search for primes. `None`: there is none, which
    /// does not happen.
    fn endorsement_key(&mut self) -> Option<attest::EndorsementKey>;

    /// The public areas (TPMT_PUBLIC) of all keys that it can be known by: the RSA-2048 endorsement key is the first.
    /// They are made as that one is.
    fn keys(&mut self) -> Option<Vec<Vec<u8>>> {
        Some([self.endorsement_key()?.to_vec()].into())
    }

    /// What is attested of its state, if that is kept.
    fn kept(&self) -> Option<Kept> {
        None
    }

    /// Called when VMPL0 runs and the guest has called for nothing.
    fn idle(&mut self, reports: &Mutex<dyn attest::Reports + '_>) {
        let _ = reports;
    }

    /// Called before [`Tpm::execute`] with the same command: makes ready what it is about to read, if that takes a
    /// report.
    ///
    /// # Errors
    /// [`Busy`]: the command is not to be executed now.
    fn prepare(&mut self, command: &[u8], reports: &Mutex<dyn attest::Reports + '_>) -> Result<(), Busy> {
        let _ = (command, reports);
        Ok(())
    }

    /// The same before [`Tpm::execute_in_buffers`], for the first `command` bytes of the buffer.
    ///
    /// # Errors
    /// As [`Tpm::prepare`].
    fn prepare_in_buffers(&mut self, command: usize, reports: &Mutex<dyn attest::Reports + '_>) -> Result<(), Busy> {
        let command = self.buffers().command.get(..command).unwrap_or_default().to_vec();
        self.prepare(&command, reports)
    }
}

/// What the handlers on one processor work with.
pub struct Machine<'a> {
    /// The processor.
    pub apic_id: u32,
    /// Guest-physical memory, by the processor's own way to it.
    pub pages: &'a mut dyn Pages,
    /// Who owns it, and the vCPUs.
    pub guest: &'a Mutex<Guest>,
    /// The TPM.
    pub tpm: &'a Mutex<dyn Tpm + 'a>,
    /// How the host can interrupt, which can be attested.
    pub interrupts: Interrupts,
    /// What the platform does not meet of the firmware's policy ([`crate::policy::manifest`]), which can be attested.
    /// `None`: there is no policy.
    pub weaknesses: Option<&'a [u8]>,
    /// Where reports come from.
    pub reports: &'a Mutex<dyn attest::Reports + 'a>,
    /// What interrupts come by.
    pub wires: &'a mut dyn apic::Wires,
}

type Handler = fn(&mut Machine<'_>, u32, &mut Registers) -> Result<(), ResultCode>;

struct Protocol {
    number: u32,
    min_version: u32,
    max_version: u32,
    handler: Handler,
}

/// The one table: what QUERY_PROTOCOL answers from, and what [`serve`] goes by.
const PROTOCOLS: [Protocol; 4] = [
    Protocol { number: protocol::CORE, min_version: 1, max_version: 1, handler: core_protocol::handle },
    Protocol { number: protocol::ATTESTATION, min_version: 1, max_version: 1, handler: attestation::handle },
    Protocol { number: protocol::VTPM, min_version: 1, max_version: 1, handler: vtpm::handle },
    Protocol { number: protocol::APIC, min_version: 1, max_version: 1, handler: apic::handle },
];

fn find(number: u32) -> Option<&'static Protocol> {
    PROTOCOLS.iter().find(|protocol| protocol.number == number)
}

/// Serves the call that the registers name.
///
/// - `UNSUPPORTED_PROTOCOL`: not in the table
/// - `UNSUPPORTED_CALL`: not one of the protocol's
pub fn serve(machine: &mut Machine<'_>, registers: &mut Registers) {
    let id = CallId::from_rax(registers.rax);
    let outcome = match find(id.protocol) {
        Some(protocol) => (protocol.handler)(machine, id.call, registers),
        None => Err(ResultCode::UNSUPPORTED_PROTOCOL),
    };
    registers.rax = outcome.err().unwrap_or(ResultCode::SUCCESS).rax();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{GIVEN, OTHER_VMSA, PROCESSORS, SHARED_PAGE, Scene, forbidden_gpas};
    use snp::vmsa::Vmsa;
    use std::vec::Vec;
    use zerocopy::IntoBytes;

    /// 20,000 cases at least: the calls' address fields with the bytes that each names, and at which of them the
    /// handlers' tests try every forbidden address.
    #[test]
    fn the_tables_of_forbidden_addresses_are_long_enough() {
        let core = [8, 4096, 4096, 4096, 4096, 4096];
        let attestation = [0x40, 0x58, 64, 4096, 4096, 0x4000];
        let vtpm = [4096, 0x90, 4096, 4096, 4096];
        let fields = core.into_iter().chain(attestation).chain(vtpm);
        let cases: usize = fields.map(|len| forbidden_gpas(len).len()).sum();
        assert!(cases >= 20_000, "{cases} cases");
    }

    #[test]
    fn unknown_protocols_and_calls_are_told_apart() {
        let mut scene = Scene::new();
        for protocol in [3_u64, 4, 5, 0xffff_ffff] {
            assert_eq!(scene.call(protocol << 32, [0; 4]).rax, 0x8000_0001);
        }
        for (protocol, calls) in [
            (0_u64, [7_u64, 8, 9, 0x8000_0000, 0xffff_ffff]),
            (1, [2, 3, 4, 7, 0xffff_ffff]),
            (2, [2, 3, 8, 0x8000_0000, 0xffff_ffff]),
        ] {
            for call in calls {
                let after = scene.call(protocol << 32 | call, [1, 2, 3, 4]);
                assert_eq!(after, Registers { rax: 0x8000_0002, rcx: 1, rdx: 2, r8: 3, r9: 4 });
            }
        }
    }

    const LIST: u64 = GIVEN + 0x5000;
    const PAGE: u64 = GIVEN + 0x9000;
    const BUFFER: u64 = GIVEN + 0xa800;
    const OPERATION: u64 = GIVEN + 0x1_0000;

    fn attestation() -> Vec<u8> {
        let buffer = |gpa: u64, size: u64| gpa.to_le_bytes().into_iter().chain(size.to_le_bytes());
        buffer(OPERATION + 0x1000, 4096)
            .chain(buffer(OPERATION + 0x2000, 64))
            .chain(buffer(OPERATION + 0x3000, 4096))
            .chain(buffer(OPERATION + 0x4000, 4096))
            .collect()
    }

    /// A call, what it finds in memory, the pages that it reaches, and the code for a page that is gone.
    type Taken = (u64, [u64; 2], Vec<(u64, Vec<u8>)>, Vec<u64>, u64);

    fn calls() -> Vec<Taken> {
        let mut vmsa = Vmsa::real_mode(crate::mm::GUEST_VMPL, 1, 0xffff_fff0);
        vmsa.set_runnable(true);
        let list = |entry: u64| [[1, 0, 0, 0, 0, 0, 0, 0], entry.to_le_bytes()].concat();
        let command = [&[8, 0, 0, 0, 0, 12, 0, 0, 0][..], &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8]].concat();
        let mailbox = [BUFFER - 0x800, BUFFER + 0x800];
        // A command that needs both pages.
        let head = [[8, 0, 0, 0, 0, 0, 0, 0], [8, 0x10, 0, 0, 2, 0, 0, 0]].concat();
        let pages = [&head[..], &PAGE.to_le_bytes(), &OPERATION.to_le_bytes(), &[0; 0x70]].concat();
        let operation = (0..5).map(|page| OPERATION + page * 0x1000).collect();
        vec![
            (0, [PAGE, 0], vec![], vec![PAGE], 0x8000_0003),
            (1, [LIST, 0], vec![(LIST, list(PAGE))], vec![LIST, PAGE], 0x8000_0003),
            (1, [LIST, 0], vec![(LIST, list(SHARED_PAGE | 4))], vec![LIST, SHARED_PAGE], 0x8000_0003),
            (2, [PAGE, BUFFER & !0xfff], vec![(PAGE, vmsa.as_bytes().to_vec())], vec![PAGE], 0x8000_0003),
            (3, [OTHER_VMSA, 0], vec![], vec![OTHER_VMSA], 0x8000_0003),
            (4, [LIST, 0], vec![(LIST, list(PAGE))], vec![LIST, PAGE], 0x8000_0003),
            (5, [LIST, 0], vec![], vec![LIST], 0x8000_0003),
            (1 << 32, [OPERATION, 0], vec![(OPERATION, attestation())], operation, 0x8000_0005),
            (2 << 32 | 1, [BUFFER, 0], vec![(BUFFER, command)], mailbox.to_vec(), 0x8000_0005),
            (2 << 32 | 0x8000_0001, [LIST, 0], vec![(LIST, pages)], vec![LIST, PAGE, OPERATION], 0x8000_0005),
        ]
    }

    /// The host takes each page that a call reaches, before each of the call's accesses to it: the call is refused with
    /// the documented code, and the next one is served. A page is never the guest's in the map and validated without
    /// having been zeroed.
    #[test]
    fn a_page_that_the_host_takes_at_any_access_is_a_refusal() {
        let (mut refused, mut served) = (0, 0);
        for (rax, [rcx, rdx], memory, pages, code) in calls() {
            for page in pages {
                for accesses in 0..12 {
                    let mut scene = Scene::new();
                    memory.iter().for_each(|(gpa, bytes)| scene.machine.place(*gpa, bytes));
                    scene.machine.taken = Some((page, accesses));
                    match scene.call(rax, [rcx, rdx, PROCESSORS[1].into(), 0]).rax {
                        0 => served += 1,
                        other => {
                            assert_eq!(other, code, "call {rax:#x}, page {page:#x}, after {accesses} accesses");
                            refused += 1;
                        }
                    }
                    assert_eq!(scene.call(2 << 32, [0; 4]).rax, 0, "the next call");
                }
            }
        }
        assert!(refused >= 30 && served >= 30, "{refused} refused, {served} served");
    }

    /// Half of the mailbox is gone when the response is written: the command has been executed, and the first half of
    /// the response is there.
    #[test]
    fn a_response_is_written_up_to_the_page_that_is_gone() {
        let mut scene = Scene::new();
        let at = BUFFER + 0x7fa;
        scene.machine.place(at, &[8, 0, 0, 0, 0, 12, 0, 0, 0, 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8]);
        scene.machine.taken = Some((BUFFER + 0x800, 1));
        assert_eq!(scene.call(2 << 32 | 1, [at, 0, 0, 0]).rax, 0x8000_0005);
        assert_eq!(scene.tpm().calls, 1);
        assert_eq!(scene.machine.bytes(at, 6), [14, 0, 0, 0, 0x80, 1]);
        assert_eq!(scene.machine.bytes(at + 6, 4), [0, 0, 0, 0x80], "the command's bytes");
    }
}
