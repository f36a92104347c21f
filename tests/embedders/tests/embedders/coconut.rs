//! COCONUT's kernel: a vTPM in a `static`, its protocol's calls, and a reboot.

use client::attributes::object as a;
use client::command::{Rest, response_code, take_2b};
use client::platform::CountedEntropy;
use client::session::Transport;
use client::template::{Template, creation};
use client::{cc, codes, command, password};
use embedders::coconut::shape::{
    SvsmReqError, SvsmResultCode, TcgTpmSimulatorInterface, TpmPlatformCommand, VtpmInterface, VtpmProtocolInterface,
};
use embedders::coconut::{BUFFER, Platform, QuoinTpm};
use std::sync::Mutex;
use tpm_core::Entropy;

/// The host's file, and the kernel's sources.
#[derive(Clone, Default)]
pub(crate) struct Kernel {
    entropy: Option<CountedEntropy>,
    pub(crate) file: Option<Vec<u8>>,
    pub(crate) full: bool,
}

impl Kernel {
    const NEW: Self = Self { entropy: None, file: None, full: false };
}

impl Platform for Kernel {
    fn random(&mut self, out: &mut [u8]) -> bool {
        self.entropy.get_or_insert_default().fill(out).is_ok()
    }

    fn now_ms(&mut self) -> u64 {
        0
    }

    fn load(&mut self) -> Option<Vec<u8>> {
        self.file.clone()
    }

    fn keep(&mut self, state: &[u8]) -> bool {
        if !self.full {
            self.file = Some(state.to_vec());
        }
        !self.full
    }
}

/// For what is shared with a test.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<Mutex<Kernel>>);

impl Platform for Shared {
    fn random(&mut self, out: &mut [u8]) -> bool {
        self.0.lock().unwrap().random(out)
    }

    fn now_ms(&mut self) -> u64 {
        0
    }

    fn load(&mut self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().load()
    }

    fn keep(&mut self, state: &[u8]) -> bool {
        self.0.lock().unwrap().keep(state)
    }
}

struct Guest<'a, P>(&'a QuoinTpm<P>);

impl<P: Platform> Transport for Guest<'_, P> {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        self.0.send_tpm_command(request, 0).unwrap()
    }
}

const STARTUP: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
/// The answer to a command that has no parameters.
const DONE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0];
const UNPOWERED: SvsmReqError = SvsmReqError::RequestError(SvsmResultCode::INVALID_REQUEST);

#[test]
fn the_kernels_static_vtpm_is_made_asked_and_reset() {
    static VTPM: Mutex<QuoinTpm<Kernel>> = Mutex::new(QuoinTpm::new(Kernel::NEW));
    let mut tpm = VTPM.lock().unwrap();
    assert!(!tpm.is_powered_on());
    assert_eq!(tpm.get_supported_commands(), [TpmPlatformCommand::SendCommand]);
    assert_eq!(tpm.send_tpm_command(&STARTUP, 0), Err(UNPOWERED));
    assert_eq!((tpm.signal_nvon(), tpm.signal_poweron(true)), (Err(UNPOWERED), Err(UNPOWERED)));
    tpm.init().unwrap();
    assert!(tpm.is_powered_on());
    assert_eq!((tpm.signal_nvon(), tpm.signal_poweron(false)), (Ok(()), Ok(())));
    assert_eq!(tpm.send_tpm_command(&STARTUP, 0), Ok(DONE.to_vec()));
    let again = tpm.send_tpm_command(&STARTUP, 0).unwrap();
    assert_eq!(response_code(&again), codes::INITIALIZE, "it was started");
    assert_eq!(tpm.signal_poweron(true), Ok(()));
    assert_eq!(tpm.send_tpm_command(&STARTUP, 0), Ok(DONE.to_vec()));
    let refused = Err(SvsmReqError::RequestError(SvsmResultCode::INVALID_PARAMETER));
    assert_eq!(tpm.send_tpm_command(&STARTUP, 5), refused, "there is no such locality");
    assert_eq!(tpm.send_tpm_command(&[0; BUFFER + 1], 0), refused);
    assert_eq!(response_code(&tpm.send_tpm_command(&[0; BUFFER], 0).unwrap()), codes::BAD_TAG);
}

/// The template L-1, as the client's command has it.
fn ek_template() -> Template {
    crate::helper::ek_template().with(a::FIXED)
}

#[test]
fn the_manifests_key_is_the_guests_before_any_command() {
    let kernel = Shared::default();
    let mut tpm = QuoinTpm::new(kernel.clone());
    assert_eq!(tpm.get_ekpub(), Err(UNPOWERED));
    tpm.init().unwrap();
    let ek = tpm.get_ekpub().unwrap();
    let mut guest = Guest(&tpm);
    guest.outcome(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    let create = creation(b"", b"", &ek_template());
    let reply = guest.outcome(cc::CREATE_PRIMARY, &[codes::ENDORSEMENT], &password(b""), &create).unwrap();
    assert_eq!(take_2b(&mut &reply[4..]), ek);
    guest.outcome(cc::CHANGE_EPS, &[codes::PLATFORM], &password(b""), &[]).unwrap();
    let new = tpm.get_ekpub().unwrap();
    assert_ne!(new, ek);
    // The same after the kernel has booted again.
    let mut later = QuoinTpm::new(kernel);
    later.init().unwrap();
    assert_eq!(later.get_ekpub(), Ok(new));
}

#[test]
fn a_file_that_cannot_be_read_is_no_new_vtpm_and_one_that_is_full_a_failure() {
    let kernel = Shared::default();
    let mut tpm = QuoinTpm::new(kernel.clone());
    tpm.init().unwrap();
    let good = kernel.0.lock().unwrap().file.clone().unwrap();
    kernel.0.lock().unwrap().file = Some([&good[..good.len() - 1], &[!good[good.len() - 1]]].concat());
    let mut other = QuoinTpm::new(kernel.clone());
    assert_eq!(other.init(), Err(SvsmReqError::RequestError(SvsmResultCode::INCOMPLETE)));
    assert!(!other.is_powered_on());
    kernel.0.lock().unwrap().full = true;
    let mut guest = Guest(&tpm);
    guest.outcome(cc::STARTUP, &[], &[], &[0, 0]).unwrap_err();
    let random = guest.transmit(&command(cc::GET_RANDOM, &[], &[], &[0, 8]));
    assert_eq!(Rest(&random[6..]).u32(), Some(codes::FAILURE));
}
