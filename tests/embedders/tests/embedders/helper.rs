//! What OpenHCL's helper does with an engine, as far as tests want it: callbacks that note what they are given, the
//! device's two pages, and commands by their names.

use client::attributes::nv;
use client::attributes::object as a;
use client::codes::{ENDORSEMENT, OWNER, PLATFORM};
use client::command::{handle_of, take_2b};
use client::names::alg;
use client::platform::CountedEntropy;
use client::session::{Outcome, Transport};
use client::template::{AES_128_CFB, NONE, Template, creation};
use client::{cc, password, tpm2b};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use embedders::openhcl::shape::{DynResult, InitKind, PlatformCallbacks, TpmEngine};
use embedders::openhcl::{PAGE, QuoinPlatform};
use std::sync::{Arc, Mutex};
use tpm_core::Entropy;

/// Where the attestation key is.
pub(crate) const AK: u32 = 0x8100_0003;
/// Where Windows and Linux put an endorsement key; the paravisor puts none there.
pub(crate) const EK: u32 = 0x8101_0001;
/// Where guests have their storage root key.
pub(crate) const SRK: u32 = 0x8100_0001;
/// Where a secret that the host has for the guest is put.
pub(crate) const GUEST_SECRET: u32 = 0x8100_0004;
/// The attestation report.
pub(crate) const REPORT: u32 = 0x0140_0001;
/// What the guest wants to be in it.
pub(crate) const USER_DATA: u32 = 0x0140_0002;
/// The attestation key's certificate.
pub(crate) const AK_CERT: u32 = 0x01c1_01d0;

pub(crate) const MISSING: u32 = 0x18b;
pub(crate) const UNWRITTEN: u32 = 0x14a;

/// Octets of the NV blobs of tests.
pub(crate) const NV_SIZE: usize = 64 * 1024;

/// The platform of one machine, whose store outlives its engines.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    pub(crate) blob: Arc<Mutex<Vec<u8>>>,
    pub(crate) commits: Arc<AtomicU64>,
    pub(crate) now_ms: Arc<AtomicU64>,
    pub(crate) full: Arc<AtomicBool>,
    pub(crate) dry: Arc<AtomicBool>,
}

struct Callbacks {
    machine: Machine,
    entropy: CountedEntropy,
}

impl PlatformCallbacks for Callbacks {
    fn commit_nv_state(&mut self, state: &[u8]) -> DynResult<()> {
        if self.machine.full.load(Ordering::Relaxed) {
            return Err("the store is full".into());
        }
        *self.machine.blob.lock().unwrap() = state.to_vec();
        self.machine.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Never more than 7 octets at a time.
    fn get_crypt_random(&mut self, buf: &mut [u8]) -> DynResult<usize> {
        if self.machine.dry.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let count = buf.len().min(7);
        self.entropy.fill(&mut buf[..count])?;
        Ok(count)
    }

    fn monotonic_timer(&mut self) -> Duration {
        Duration::from_millis(self.now_ms())
    }

    fn get_unique_value(&self) -> &'static [u8] {
        b"a test"
    }
}

impl Callbacks {
    fn now_ms(&self) -> u64 {
        self.machine.now_ms.load(Ordering::Relaxed)
    }
}

impl Machine {
    /// Different machines have other entropy.
    pub(crate) fn callbacks(&self) -> Box<dyn PlatformCallbacks + Send> {
        static MACHINES: AtomicU64 = AtomicU64::new(0);
        let count = MACHINES.fetch_add(1 << 32, Ordering::Relaxed);
        Box::new(Callbacks { machine: self.clone(), entropy: CountedEntropy { count, dry: false } })
    }

    /// A new TPM.
    pub(crate) fn new_engine(&self) -> QuoinPlatform {
        QuoinPlatform::initialize(self.callbacks(), InitKind::ColdInitWithSize(NV_SIZE)).unwrap()
    }

    /// The TPM of what was kept last.
    pub(crate) fn new_engine_of_blob(&self) -> QuoinPlatform {
        QuoinPlatform::initialize(self.callbacks(), InitKind::from(&*self.blob())).unwrap()
    }

    pub(crate) fn blob(&self) -> Vec<u8> {
        self.blob.lock().unwrap().clone()
    }
}

/// An engine and the device's pages; nothing of the engine but the trait is used.
pub(crate) struct Helper<E> {
    pub(crate) engine: E,
    command: [u8; PAGE],
    response: [u8; PAGE],
}

impl<E: TpmEngine> Transport for Helper<E> {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        // As the device has it: the whole page, whatever was in it before.
        self.command[..request.len()].copy_from_slice(request);
        self.engine.execute_command(&mut self.command, &mut self.response).unwrap();
        let size = u32::from_be_bytes(self.response[2..6].try_into().unwrap());
        self.response[..usize::try_from(size).unwrap()].to_vec()
    }
}

impl Helper<QuoinPlatform> {
    /// A new TPM after TPM2_Startup and TPM2_SelfTest.
    pub(crate) fn new() -> (Self, Machine) {
        let machine = Machine::default();
        let mut helper = Self::of(machine.new_engine());
        helper.start();
        (helper, machine)
    }

    /// _TPM_Init and what follows it.
    pub(crate) fn restart(&mut self) {
        self.engine.reset(None).unwrap();
        self.start();
    }
}

impl<E: TpmEngine> Helper<E> {
    pub(crate) fn of(engine: E) -> Self {
        Self { engine, command: [0; PAGE], response: [0; PAGE] }
    }

    /// A command with an empty password for each of its first handles.
    pub(crate) fn with(&mut self, code: u32, handles: &[u32], auths: &[&[u8]], parameters: &[u8]) -> Outcome {
        let area: Vec<u8> = auths.iter().flat_map(|value| password(value)).collect();
        self.outcome(code, handles, &area, parameters)
    }

    pub(crate) fn start(&mut self) {
        assert_eq!(self.with(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
        assert_eq!(self.with(cc::SELF_TEST, &[], &[], &[1]), Ok(vec![]));
    }

    /// TPMT_PUBLIC of a loaded or persistent object.
    pub(crate) fn public(&mut self, handle: u32) -> Result<Vec<u8>, u32> {
        Ok(take_2b(&mut &*self.with(cc::READ_PUBLIC, &[handle], &[], &[])?).to_vec())
    }

    /// TPM2_CreatePrimary; the handle.
    pub(crate) fn primary(&mut self, hierarchy: u32, template: &Template) -> u32 {
        handle_of(&self.with(cc::CREATE_PRIMARY, &[hierarchy], &[b""], &creation(b"", b"", template)).unwrap())
    }

    pub(crate) fn evict(&mut self, object: u32, persistent: u32) -> Outcome {
        self.with(cc::EVICT_CONTROL, &[OWNER, object], &[b""], &persistent.to_be_bytes())
    }

    pub(crate) fn flush(&mut self, handle: u32) {
        self.with(cc::FLUSH_CONTEXT, &[], &[], &handle.to_be_bytes()).unwrap();
    }

    /// A primary key that is kept at a persistent handle; its public area.
    pub(crate) fn keep(&mut self, hierarchy: u32, template: &Template, at: u32) -> Vec<u8> {
        let key = self.primary(hierarchy, template);
        self.evict(key, at).unwrap();
        self.flush(key);
        self.public(at).unwrap()
    }

    /// The attestation key, as the paravisor makes it before its guest starts.
    pub(crate) fn make_ak(&mut self) -> Vec<u8> {
        if self.public(AK).is_ok() {
            self.evict(AK, AK).unwrap();
        }
        self.keep(ENDORSEMENT, &ak_template(), AK)
    }

    /// The endorsement key's public area; nothing stays.
    pub(crate) fn ek(&mut self) -> Vec<u8> {
        let key = self.primary(ENDORSEMENT, &ek_template());
        let public = self.public(key).unwrap();
        self.flush(key);
        public
    }

    /// TPM2_ChangeEPS and TPM2_ChangePPS.
    pub(crate) fn refresh_seeds(&mut self) {
        self.with(cc::CHANGE_EPS, &[PLATFORM], &[b""], &[]).unwrap();
        self.with(cc::CHANGE_PPS, &[PLATFORM], &[b""], &[]).unwrap();
    }

    pub(crate) fn define(&mut self, by: u32, index: u32, attributes: u32, auth: &[u8], size: u16) -> Outcome {
        let public = [
            &index.to_be_bytes()[..],
            &alg::SHA256.to_be_bytes(),
            &attributes.to_be_bytes(),
            &tpm2b(b""),
            &size.to_be_bytes(),
        ];
        self.with(cc::NV_DEFINE_SPACE, &[by], &[b""], &[tpm2b(auth), tpm2b(&public.concat())].concat())
    }

    /// Attributes and size of an index.
    pub(crate) fn index(&mut self, index: u32) -> Result<(u32, u16), u32> {
        let reply = self.with(cc::NV_READ_PUBLIC, &[index], &[], &[])?;
        let public = take_2b(&mut &*reply).to_vec();
        let attributes = u32::from_be_bytes(public[6..10].try_into().unwrap());
        Ok((attributes, u16::from_be_bytes(public[12..14].try_into().unwrap())))
    }

    /// All of an index, in pieces of 1,024 octets, and zeros behind the data.
    pub(crate) fn write(&mut self, by: u32, index: u32, auth: &[u8], data: &[u8]) -> Result<(), u32> {
        let (_, size) = self.index(index)?;
        let mut all = data.to_vec();
        all.resize(size.into(), 0);
        for (n, piece) in (0u16..).zip(all.chunks(1024)) {
            let parameters = [&tpm2b(piece)[..], &(1024 * n).to_be_bytes()].concat();
            self.with(cc::NV_WRITE, &[by, index], &[auth], &parameters)?;
        }
        Ok(())
    }

    /// All of an index, by the owner's authorization.
    pub(crate) fn read(&mut self, index: u32) -> Result<Vec<u8>, u32> {
        let (_, size) = self.index(index)?;
        let mut all = Vec::new();
        for at in (0..size).step_by(1024) {
            let count = (size - at).min(1024);
            let parameters = [count.to_be_bytes(), at.to_be_bytes()].concat();
            let reply = self.with(cc::NV_READ, &[OWNER, index], &[b""], &parameters)?;
            all.extend(take_2b(&mut &*reply));
        }
        Ok(all)
    }

    /// The two indices of the attestation, as the platform defines them.
    pub(crate) fn define_platforms(&mut self, auth: &[u8]) {
        for (index, size) in [(REPORT, 2900), (AK_CERT, 4096)] {
            self.define(PLATFORM, index, PLATFORMS, auth, size).unwrap();
        }
    }
}

/// TPMA_NV of the platform's indices: 0x42060004.
pub(crate) const PLATFORMS: u32 = nv::AUTHWRITE | nv::OWNERREAD | nv::AUTHREAD | nv::NO_DA | nv::PLATFORMCREATE;

fn rsa(attributes: u32, policy: &[u8], parms: &[&[u8]]) -> Template {
    Template {
        object_type: alg::RSA,
        name_alg: alg::SHA256,
        attributes,
        policy: policy.to_vec(),
        parms: [&parms.concat()[..], &[8, 0, 0, 0, 0, 0]].concat(),
        unique: tpm2b(&[0; 256]),
    }
}

/// RSA-2048, restricted, signs by RSASSA with SHA-256.
pub(crate) fn ak_template() -> Template {
    let template = rsa(a::MADE_HERE | a::USER | a::NO_DA | a::RESTRICTED | a::SIGN, b"", &[NONE, &[0, 0x14, 0, 0xb]]);
    assert_eq!(template.attributes, 0x0005_0472);
    template
}

/// The template L-1 of the TCG's profile for endorsement keys.
pub(crate) fn ek_template() -> Template {
    let policy = client::policy::PolicyDigest::new(client::hash::Alg::Sha256).update(
        cc::POLICY_SECRET,
        &ENDORSEMENT.to_be_bytes(),
        b"",
    );
    let template =
        rsa(a::MADE_HERE | a::ADMIN_POLICY | a::RESTRICTED | a::DECRYPT, &policy.digest, &[AES_128_CFB, NONE]);
    assert_eq!(template.attributes, 0x0003_00b2);
    template
}
