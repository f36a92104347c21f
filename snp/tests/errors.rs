//! Every error can be printed, and handed to `Box<dyn Error>`.

use snp::cpuid::CpuidError;
use snp::ghcb::GhcbError;
use snp::message::MessageError;
use snp::message::certificates::BadTable;
use snp::rmp::{Inaccessible, RmpError};
use snp::svsm::ResultCode;
use snp::vc::VcError;
use snp::vmsa::VmsaError;

fn said(error: impl core::error::Error) -> String {
    error.to_string()
}

#[test]
fn every_error_says_what_is_wrong() {
    assert_eq!(said(CpuidError::Count(70)), "70 entries");
    assert_eq!(
        said(GhcbError::Version { min: 3, max: 4 }),
        "the host speaks versions 3 to 4 of the protocol, and not 2"
    );
    assert_eq!(said(BadTable), "the certificate table is not well formed");
    assert_eq!(said(MessageError::Status(0x16)), "the PSP has refused with status 0x16");
    assert_eq!(said(Inaccessible), "the host has taken the memory");
    assert_eq!(said(RmpError::Unknown(9)), "an unknown code: 9");
    assert_eq!(said(ResultCode::BUSY), "result code 0x80000007");
    assert_eq!(said(VcError::Instruction), "an unknown instruction");
    assert_eq!(said(VmsaError::Vmpl(1)), "it is for VMPL1");
}
