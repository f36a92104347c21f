//! Attestation protocol (protocol 1): a report of VMPL0 whose REPORT_DATA is SHA-512 of the guest's nonce and a
//! manifest of services.

use alloc::vec::Vec;

use snp::message::MessageError;
use snp::report::REPORT_SIZE;
use snp::svsm::ResultCode;
use snp::svsm::attestation::{AttestAnswer, AttestServices, AttestSingleService, NONCE_SIZE, call, report_data};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{Machine, Registers};
use crate::attest::{Attested, Certificates, Keys, ReportError};
use crate::guest::{Claim, Refused};
use crate::mm::{Owners, Pages};

pub(super) fn handle(machine: &mut Machine<'_>, call: u32, registers: &mut Registers) -> Result<(), ResultCode> {
    match call {
        call::SERVICES => {
            let operation: AttestServices = read_structure(machine, registers.rcx)?;
            operation.check()?;
            attest(machine, &operation, Some(Attested::All), registers)
        }
        call::SINGLE_SERVICE => {
            let operation: AttestSingleService = read_structure(machine, registers.rcx)?;
            operation.check()?;
            let service = Attested::single(operation.service, operation.manifest_version.get());
            attest(machine, &operation.common, service, registers)
        }
        _ => Err(ResultCode::UNSUPPORTED_CALL),
    }
}

const fn refused(_: Refused) -> ResultCode {
    ResultCode::INVALID_PARAMETER
}

fn read_structure<T: FromBytes + FromZeros + IntoBytes>(machine: &mut Machine<'_>, gpa: u64) -> Result<T, ResultCode> {
    let mut structure = T::new_zeroed();
    let claim = Claim::new(gpa, size_of::<T>() as u64);
    let guest = machine.guest.lock();
    let checked = claim.check_in_one_page(&guest.map).map_err(refused)?;
    checked.read(machine.pages, structure.as_mut_bytes()).map_err(refused)?;
    Ok(structure)
}

/// All of both calls that is alike. The first of all calls makes the keys that it names, and so does the first behind a
/// TPM2_ChangeEPS: it takes as long as TPM2_CreatePrimary of an RSA-2048 key, or of two and three of ECC.
///
/// - `INVALID_PARAMETER`: an operation or nonce that is not in one page of the guest's; a reserved field that is not
///   zero; a service or manifest version that does not exist; a buffer that is too small (then the registers say what
///   is needed), or not all the guest's memory; a page of any of these that is inaccessible: report, manifest and
///   certificates are written in this order, up to that page
/// - `BUSY`: the TPM works for another vCPU; the host was busy all the time, or another vCPU is being given a report
/// - `0x80001000`: no report from the PSP, one that says something else than the first of this boot, or no endorsement
///   key
fn attest(
    machine: &mut Machine<'_>,
    operation: &AttestServices,
    attested: Option<Attested>,
    registers: &mut Registers,
) -> Result<(), ResultCode> {
    let nonce = read_nonce(machine.pages, &machine.guest.lock().map, operation)?;
    let attested = attested.ok_or(ResultCode::INVALID_PARAMETER)?;
    let keys = match attested.keys() {
        Keys::None => Some(Vec::new()),
        Keys::Endorsement => {
            machine.tpm.try_lock().ok_or(ResultCode::BUSY)?.endorsement_key().map(|key| [key.to_vec()].into())
        }
        Keys::All => machine.tpm.try_lock().ok_or(ResultCode::BUSY)?.keys(),
    };
    if attested == Attested::Weaknesses && machine.weaknesses.is_none() {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    let kept = match attested {
        Attested::VtpmState | Attested::All => machine.tpm.try_lock().ok_or(ResultCode::BUSY)?.kept(),
        _ => None,
    };
    if attested == Attested::VtpmState && kept.is_none() {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    let manifest =
        keys.and_then(|keys| attested.manifest(&keys, machine.interrupts, machine.weaknesses, kept.as_ref()));
    let manifest = manifest.ok_or(ResultCode::REPORT_FAILED)?;
    let mut answer = AttestAnswer { report: length(REPORT_SIZE)?, manifest: length(manifest.len())?, certificates: 0 };
    fits(&answer, operation, registers)?;
    Buffers::check(&machine.guest.lock().map, operation)?;
    let mut certificates = Certificates::new();
    let wanted = (operation.certificates_size != 0).then_some(&mut certificates);
    let data = report_data(&nonce, &manifest);
    let mut reports = machine.reports.try_lock().ok_or(ResultCode::BUSY)?;
    let report = reports.report(&data, wanted).map_err(no_report)?;
    drop(reports);
    answer.certificates = length(certificates.bytes().len())?;
    fits(&answer, operation, registers)?;
    let guest = machine.guest.lock();
    let buffers = Buffers::check(&guest.map, operation)?;
    buffers.write(machine.pages, report.as_bytes(), &manifest, certificates.bytes()).map_err(refused)
}

/// A host that is busy may be asked again: the request stays sealed, and the same bytes go out.
const fn no_report(error: ReportError) -> ResultCode {
    match error {
        ReportError::Message(MessageError::Busy) => ResultCode::BUSY,
        ReportError::Message(_) | ReportError::NoHost | ReportError::Differs(_) => ResultCode::REPORT_FAILED,
    }
}

fn length(bytes: usize) -> Result<u32, ResultCode> {
    u32::try_from(bytes).map_err(|_| ResultCode::INVALID_REQUEST)
}

/// The operation has been checked: its nonce is of the one size.
fn read_nonce(
    pages: &mut dyn Pages,
    map: &dyn Owners,
    operation: &AttestServices,
) -> Result<[u8; NONCE_SIZE], ResultCode> {
    let mut nonce = [0; NONCE_SIZE];
    let claim = Claim::new(operation.nonce_gpa.get(), NONCE_SIZE as u64).check_in_one_page(map).map_err(refused)?;
    claim.read(pages, &mut nonce).map_err(refused)?;
    Ok(nonce)
}

/// The sizes go to the registers whether they fit or not: that is how the guest learns them.
fn fits(answer: &AttestAnswer, operation: &AttestServices, registers: &mut Registers) -> Result<(), ResultCode> {
    registers.rcx = answer.manifest.into();
    registers.rdx = answer.certificates.into();
    registers.r8 = answer.report.into();
    match answer.fits(operation) {
        ResultCode::SUCCESS => Ok(()),
        code => Err(code),
    }
}

/// The guest's three buffers, each checked in full length before anything is asked of the PSP, and again before it is
/// written: another vCPU may have given a page away.
struct Buffers<'a> {
    report: crate::guest::Checked<'a>,
    manifest: crate::guest::Checked<'a>,
    certificates: Option<crate::guest::Checked<'a>>,
}

impl<'a> Buffers<'a> {
    fn check(map: &'a dyn Owners, operation: &AttestServices) -> Result<Buffers<'a>, ResultCode> {
        let buffer = |gpa: u64, size: u32| Claim::new(gpa, size.into()).check_aligned(map).map_err(refused);
        let certificates = match operation.certificates_size.get() {
            0 => None,
            size => Some(buffer(operation.certificates_gpa.get(), size)?),
        };
        Ok(Buffers {
            report: buffer(operation.report_gpa.get(), operation.report_size.get())?,
            manifest: buffer(operation.manifest_gpa.get(), operation.manifest_size.get())?,
            certificates,
        })
    }

    fn write(&self, pages: &mut dyn Pages, report: &[u8], manifest: &[u8], certificates: &[u8]) -> Result<(), Refused> {
        self.report.write(pages, report)?;
        self.manifest.write(pages, manifest)?;
        match &self.certificates {
            Some(buffer) => buffer.write(pages, certificates),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::testing::{AK, EK, GIVEN, GIVEN_END, Scene, forbidden_gpas};
    use snp::guid::Guid;
    use snp::svsm::attestation::VTPM_SERVICE;
    use std::vec;

    const SERVICES: u64 = 1 << 32;
    const SINGLE: u64 = 1 << 32 | 1;
    const INVALID_PARAMETER: u64 = 0x8000_0005;
    const NONCE: u64 = GIVEN + 0x100;
    const REPORT: u64 = GIVEN + 0x1000;
    const MANIFEST: u64 = GIVEN + 0x2000;
    const CERTIFICATES: u64 = GIVEN + 0x4000;

    fn operation() -> AttestSingleService {
        let mut operation = AttestSingleService::new_zeroed();
        operation.common.report_gpa = REPORT.into();
        operation.common.report_size = 4096.into();
        operation.common.nonce_gpa = NONCE.into();
        operation.common.nonce_size = 64.into();
        operation.common.manifest_gpa = MANIFEST.into();
        operation.common.manifest_size = 4096.into();
        operation.common.certificates_gpa = CERTIFICATES.into();
        operation.common.certificates_size = 0x4000.into();
        operation.service = VTPM_SERVICE;
        operation
    }

    fn call(scene: &mut Scene, rax: u64, operation: &AttestSingleService) -> Registers {
        scene.machine.place(GIVEN, operation.as_bytes());
        scene.machine.place(NONCE, &[0x5a; 64]);
        scene.call(rax, [GIVEN, 0x77, 0x77, 0x77])
    }

    #[test]
    fn the_report_binds_nonce_and_manifest() {
        let mut scene = Scene::new();
        let after = call(&mut scene, SINGLE, &operation());
        let certificates = scene.reports().certificates.len() as u64;
        assert_eq!(after, Registers { rax: 0, rcx: EK.len() as u64, rdx: certificates, r8: 0x4a0, r9: 0x77 });
        assert_eq!(scene.machine.bytes(MANIFEST, EK.len()), EK);
        assert_eq!(scene.machine.bytes(CERTIFICATES, certificates as usize), scene.reports().certificates);
        let report = scene.machine.bytes(REPORT, 0x4a0);
        assert_eq!(report[0x50..0x90], report_data(&[0x5a; 64], EK));
    }

    /// The manifest binds what the TPM has at the call, and a call that is refused anyway makes no key.
    #[test]
    fn each_call_asks_the_tpm_for_its_key_and_a_refused_one_does_not() {
        let mut scene = Scene::new();
        for calls in 1..=3 {
            assert_eq!(call(&mut scene, SINGLE, &operation()).rax, 0);
            assert_eq!(scene.tpm().asked, calls);
        }
        let mut no_service = operation();
        no_service.service = Guid::ZERO;
        let mut no_nonce = operation();
        no_nonce.common.nonce_gpa = 0.into();
        for refused in [no_service, no_nonce] {
            assert_eq!(call(&mut scene, SINGLE, &refused).rax, INVALID_PARAMETER);
            assert_eq!(scene.tpm().asked, 3);
        }
    }

    #[test]
    fn without_a_key_there_is_no_report() {
        let mut scene = Scene::new();
        scene.tpm().has_no_key = true;
        for rax in [SERVICES, SINGLE] {
            assert_eq!(call(&mut scene, rax, &operation()).rax, 0x8000_1000);
        }
        assert_eq!((scene.reports().asked, scene.machine.bytes(REPORT, 4096)), (0, vec![0; 4096]));
    }

    /// The key may be in the making: a second caller is told to come back, and finds it.
    #[test]
    fn while_the_tpm_works_for_another_the_answer_is_busy() {
        let mut scene = Scene::new();
        scene.machine.place(GIVEN, operation().as_bytes());
        scene.machine.place(NONCE, &[0x5a; 64]);
        let tpm = std::sync::Arc::new(spin::Mutex::new(crate::testing::FakeTpm::default()));
        let working = tpm.lock();
        let mut parts = scene.parts();
        parts.tpm = &*tpm;
        let asked = Registers { rax: SINGLE, rcx: GIVEN, ..Default::default() };
        let mut registers = asked;
        crate::svsm::serve(&mut parts, &mut registers);
        assert_eq!(registers, Registers { rax: 0x8000_0007, ..asked });
        drop(working);
        registers.rax = SINGLE;
        crate::svsm::serve(&mut parts, &mut registers);
        assert_eq!((registers.rax, tpm.lock().asked), (0, 1));
    }

    #[test]
    fn all_services_have_a_manifest_of_their_own_form() {
        let mut scene = Scene::new();
        let mut without = operation();
        without.common.certificates_size = 0.into();
        without.common.certificates_gpa = u64::MAX.into();
        let after = call(&mut scene, SERVICES, &without);
        let len = 96 + EK.len() + 8 + 12 + EK.len() + AK.len();
        assert_eq!((after.rax, after.rcx, after.rdx), (0, len as u64, 0));
        let manifest = scene.machine.bytes(MANIFEST, len);
        assert_eq!((&manifest[96..96 + EK.len()], &manifest[96 + EK.len()..][..8]), (EK, &[0; 8][..]));
        assert_eq!(scene.machine.bytes(REPORT, 0x90)[0x50..], report_data(&[0x5a; 64], &manifest));
    }

    #[test]
    fn the_manifest_of_version_1_names_all_keys_and_is_bound_as_the_other() {
        let (mut scene, mut keys) = (Scene::new(), operation());
        keys.manifest_version = 1.into();
        let after = call(&mut scene, SINGLE, &keys);
        let sized = |key: &[u8]| [&u16::try_from(key.len()).unwrap().to_be_bytes(), key].concat();
        let wanted = [&[0, 0, 0, 1, 0, 0, 0, 2][..], &sized(EK), &sized(AK)].concat();
        assert_eq!((after.rax, after.rcx), (0, wanted.len() as u64));
        assert_eq!(scene.machine.bytes(MANIFEST, wanted.len()), wanted);
        assert_eq!(scene.machine.bytes(REPORT, 0x90)[0x50..], report_data(&[0x5a; 64], &wanted));
        assert_eq!(scene.tpm().asked, 1);
    }

    #[test]
    fn buffers_that_are_too_small_are_told_the_size() {
        let shrink: [fn(&mut AttestSingleService); 5] = [
            |op| op.common.report_size = 0x49f.into(),
            |op| op.common.report_size = 0.into(),
            |op| op.common.manifest_size = 1.into(),
            |op| op.common.manifest_size = 0.into(),
            |op| op.common.certificates_size = 1.into(),
        ];
        for change in shrink {
            let (mut scene, mut small) = (Scene::new(), operation());
            change(&mut small);
            let after = call(&mut scene, SINGLE, &small);
            assert_eq!((after.rax, after.rcx, after.r8), (INVALID_PARAMETER, EK.len() as u64, 0x4a0));
            assert_eq!(scene.machine.bytes(REPORT, 0x1000), [0; 0x1000]);
            if small.common.certificates_size == 1 {
                assert_eq!(after.rdx, scene.reports().certificates.len() as u64);
            }
        }
    }

    #[test]
    fn reserved_fields_services_and_versions_that_do_not_exist_are_refused() {
        let wrong: [fn(&mut AttestSingleService); 11] = [
            |op| op.common.reserved_0c = 1.into(),
            |op| op.common.reserved_1a[5] = 1,
            |op| op.common.reserved_2c = 1.into(),
            |op| op.common.reserved_3c = 1.into(),
            |op| op.reserved_54 = 1.into(),
            |op| op.service = Guid::ZERO,
            |op| op.manifest_version = 2.into(),
            |op| op.common.nonce_size = 0.into(),
            |op| op.common.nonce_size = 63.into(),
            |op| op.common.nonce_size = 65.into(),
            |op| op.common.nonce_size = u16::MAX.into(),
        ];
        for change in wrong {
            let (mut scene, mut bad) = (Scene::new(), operation());
            change(&mut bad);
            assert_eq!(call(&mut scene, SINGLE, &bad).rax, INVALID_PARAMETER);
            assert_eq!(scene.reports().asked, 0);
        }
    }

    /// Each address field at every edge.
    #[test]
    fn every_address_that_is_not_the_guests_is_refused_before_the_psp_is_asked() {
        type Field = fn(&mut AttestSingleService, u64);
        let fields: [(u64, Field); 4] = [
            (4096, |op, gpa| op.common.report_gpa = gpa.into()),
            (64, |op, gpa| op.common.nonce_gpa = gpa.into()),
            (4096, |op, gpa| op.common.manifest_gpa = gpa.into()),
            (0x4000, |op, gpa| op.common.certificates_gpa = gpa.into()),
        ];
        for (len, set) in fields {
            for gpa in forbidden_gpas(len) {
                let (mut scene, mut bad) = (Scene::new(), operation());
                set(&mut bad, gpa);
                assert_eq!(call(&mut scene, SINGLE, &bad).rax, INVALID_PARAMETER, "gpa {gpa:#x}");
                assert_eq!(scene.reports().asked, 0);
            }
        }
        for (rax, len) in [(SERVICES, 0x40), (SINGLE, 0x58)] {
            for gpa in forbidden_gpas(len) {
                let mut scene = Scene::new();
                let after = scene.call(rax, [gpa, 0, 0, 0]).rax;
                assert_eq!(after, INVALID_PARAMETER, "gpa {gpa:#x}");
            }
        }
    }

    #[test]
    fn sizes_that_reach_beyond_the_guests_memory_are_refused() {
        let grow: [fn(&mut AttestSingleService); 3] = [
            |op| op.common.report_size = u32::MAX.into(),
            |op| op.common.manifest_size = u32::MAX.into(),
            |op| op.common.certificates_size = u32::MAX.into(),
        ];
        for change in grow {
            let (mut scene, mut bad) = (Scene::new(), operation());
            change(&mut bad);
            assert_eq!(call(&mut scene, SINGLE, &bad).rax, INVALID_PARAMETER);
            assert_eq!(scene.reports().asked, 0);
        }
    }

    #[test]
    fn misaligned_buffers_and_structures_across_pages_are_refused() {
        let misplaced: [fn(&mut AttestSingleService); 4] = [
            |op| op.common.report_gpa = (REPORT + 8).into(),
            |op| op.common.manifest_gpa = (MANIFEST + 2048).into(),
            |op| op.common.certificates_gpa = (CERTIFICATES + 1).into(),
            |op| op.common.nonce_gpa = (GIVEN + 4096 - 63).into(),
        ];
        for change in misplaced {
            let (mut scene, mut bad) = (Scene::new(), operation());
            change(&mut bad);
            assert_eq!(call(&mut scene, SINGLE, &bad).rax, INVALID_PARAMETER);
        }
        let mut scene = Scene::new();
        let crossing = GIVEN + 4096 - 0x57;
        scene.machine.place(crossing, operation().as_bytes());
        assert_eq!(scene.call(SINGLE, [crossing, 0, 0, 0]).rax, INVALID_PARAMETER);
        assert!(crossing < GIVEN_END);
    }

    #[test]
    fn without_a_report_there_is_the_protocols_own_code() {
        let causes = [
            (MessageError::Burned, 0x8000_1000),
            (MessageError::Status(0x16), 0x8000_1000),
            (MessageError::Busy, 0x8000_0007),
        ];
        for (cause, code) in causes {
            let mut scene = Scene::new();
            scene.reports().broken = Some(ReportError::Message(cause));
            assert_eq!(call(&mut scene, SINGLE, &operation()).rax, code);
            assert_eq!(scene.machine.bytes(REPORT, 4096), [0; 4096]);
        }
    }
}
