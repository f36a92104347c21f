//! The services that a guest can call: one table, a handler per protocol (SVSM specification 1.01).
//!
//! Every handler has one signature: the call's number and the guest's registers in, a result code out; registers that the call answers
//! in are changed in place. A handler copies guest memory in once, decides on the copy, and holds the ownership map from the check
//! to the last access. Nothing that a guest sends is fatal.

pub mod attestation;
pub mod core_protocol;
pub mod request;
pub mod vtpm;

use snp::svsm::{CallId, ResultCode, protocol};

use crate::attest;
use crate::mm::Pages;
use crate::mm::ownership::Ownership;

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

/// The TPM behind the vTPM protocol.
pub trait Tpm {
    /// Executes one command and returns the length of the response, which is always well formed.
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize;
}

/// The vCPU that calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// GPA of its register state.
    pub vmsa: u64,
    /// GPA of its calling area.
    pub calling_area: u64,
    /// Its SEV_FEATURES.
    pub sev_features: u64,
}

/// What the handlers work with.
pub struct Machine<'a> {
    /// Guest-physical memory.
    pub pages: &'a mut dyn Pages,
    /// Who owns it.
    pub map: &'a mut Ownership,
    /// The calling vCPU.
    pub vcpu: &'a mut Vcpu,
    /// The TPM.
    pub tpm: &'a mut dyn Tpm,
    /// What can be attested.
    pub services: &'a attest::Services,
    /// Where reports come from.
    pub reports: &'a mut dyn attest::Reports,
}

type Handler = fn(&mut Machine<'_>, u32, &mut Registers) -> Result<(), ResultCode>;

struct Protocol {
    number: u32,
    min_version: u32,
    max_version: u32,
    handler: Handler,
}

/// The one table: what QUERY_PROTOCOL answers from, and what [`serve`] goes by.
const PROTOCOLS: [Protocol; 3] = [
    Protocol { number: protocol::CORE, min_version: 1, max_version: 1, handler: core_protocol::handle },
    Protocol { number: protocol::ATTESTATION, min_version: 1, max_version: 1, handler: attestation::handle },
    Protocol { number: protocol::VTPM, min_version: 1, max_version: 1, handler: vtpm::handle },
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
    use crate::testing::{Scene, forbidden_gpas};

    /// GU-01 asks for 20,000 cases: the calls' address fields with the bytes that each names, and at which of them the handlers' tests try
    /// every forbidden address.
    #[test]
    fn the_tables_of_forbidden_addresses_are_long_enough() {
        let core = [8, 4096, 4096, 4096, 4096, 4096];
        let attestation = [0x40, 0x58, 64, 4096, 4096, 0x4000];
        let vtpm = [4096];
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
            (0_u64, [4_u64, 5, 7, 8, 0xffff_ffff]),
            (1, [2, 3, 4, 7, 0xffff_ffff]),
            (2, [2, 3, 8, 0x8000_0000, 0xffff_ffff]),
        ] {
            for call in calls {
                let after = scene.call(protocol << 32 | call, [1, 2, 3, 4]);
                assert_eq!(after, Registers { rax: 0x8000_0002, rcx: 1, rdx: 2, r8: 3, r9: 4 });
            }
        }
    }
}
