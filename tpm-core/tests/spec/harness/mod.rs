//! A TPM under test: deterministic platform, command builder, and `check()` after every command.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]
#![allow(dead_code, reason = "each test file uses its part")]

use core::sync::atomic::AtomicBool;
use sha2::{Digest, Sha256};
use tpm_core::cc;
use tpm_core::{Clock, Entropy, EntropyFailure, Hooks, Locality, Tpm};

pub(crate) mod codes;
pub(crate) mod external;
pub(crate) mod keys;
pub(crate) mod lasting;
pub(crate) mod names;
pub(crate) mod nv;
pub(crate) mod record;
pub(crate) mod session;
pub(crate) mod twin;

/// Entropy from a counter: the same in every run.
pub(crate) struct CountedEntropy {
    pub count: u64,
    /// The source fails from now on.
    pub dry: bool,
}

impl Entropy for CountedEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        if self.dry {
            return Err(EntropyFailure);
        }
        for chunk in out.chunks_mut(32) {
            self.count += 1;
            let block = Sha256::digest(self.count.to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

/// A clock that the test moves.
pub(crate) struct ManualClock(pub u64);

impl Clock for ManualClock {
    fn now_ms(&mut self) -> u64 {
        self.0
    }
}

pub(crate) struct Fixture {
    pub tpm: Box<Tpm>,
    pub entropy: CountedEntropy,
    pub clock: ManualClock,
    pub locality: u8,
    /// Before every command and power cycle the state is exported and imported, and the copy does the same.
    pub mirrored: bool,
    /// The platform cancels every command.
    pub canceled: AtomicBool,
    /// what the clock said to the TPM last
    pub last_ms: u64,
    recording: record::Recording,
    lasting: lasting::Lasting,
}

/// The outcome of a command: the response's body behind the header, or the response code.
pub(crate) type Outcome = Result<Vec<u8>, u32>;

impl Fixture {
    /// A manufactured TPM before TPM2_Startup.
    pub(crate) fn unstarted() -> Self {
        let (mut entropy, mut clock) = (CountedEntropy { count: 0, dry: false }, ManualClock(0));
        let mut tpm = Box::new(Tpm::blank());
        tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock }).unwrap();
        Self {
            tpm,
            entropy,
            clock,
            locality: 0,
            mirrored: false,
            canceled: AtomicBool::new(false),
            last_ms: 0,
            recording: record::Recording::new(),
            lasting: lasting::Lasting::new(),
        }
    }

    /// A TPM after TPM2_Startup(CLEAR).
    pub(crate) fn new() -> Self {
        let mut f = Self::unstarted();
        assert_eq!(f.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
        f
    }

    /// _TPM_Init.
    pub(crate) fn power_cycle(&mut self) {
        let twin = self.mirrored.then(|| twin::Twin::powered_off(self));
        self.recording.init(self.clock.0);
        self.tpm.init(&mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock });
        self.last_ms = self.clock.0;
        if let Some(twin) = twin {
            twin.compare_init(self);
        }
    }

    /// The platform ends in order.
    pub(crate) fn shut_down(&mut self) {
        self.tpm.shut_down(&mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock });
        self.last_ms = self.clock.0;
    }

    /// TPM2_Shutdown with this TPM_SU, _TPM_Init, TPM2_Startup with that one.
    pub(crate) fn restart(&mut self, shutdown: Option<u8>, startup: u8) {
        if let Some(su) = shutdown {
            assert_eq!(self.run(cc::SHUTDOWN, &[], &[], &[0, su]), Ok(vec![]));
        }
        self.power_cycle();
        assert_eq!(self.run(cc::STARTUP, &[], &[], &[0, startup]), Ok(vec![]));
    }

    /// Failure mode: the DRBG is due for fresh entropy, of which there is none.
    pub(crate) fn fail(&mut self) {
        self.entropy.dry = true;
        while self.run(cc::GET_RANDOM, &[], &[], &[0, 1]).is_ok() {}
        assert_eq!(self.run(cc::GET_RANDOM, &[], &[], &[0, 1]), Err(codes::FAILURE));
    }

    /// Sends raw octets; the whole response.
    pub(crate) fn raw(&mut self, request: &[u8]) -> Vec<u8> {
        let twin = self.mirrored.then(|| twin::Twin::running(self));
        self.recording.command(self.clock.0, self.locality, request);
        let mut response = vec![0xa5; tpm_core::profile::MAX_RESPONSE_SIZE];
        let locality = Locality::new(self.locality).unwrap();
        let n = self.tpm.execute_unless(
            &mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock },
            locality,
            request,
            &mut response,
            &self.canceled,
        );
        assert!(response[n..].iter().all(|b| *b == 0xa5) || n >= 10, "nothing is written beyond the response");
        response.truncate(n);
        assert_eq!(u32::from_be_bytes(response[2..6].try_into().unwrap()) as usize, n, "responseSize");
        self.last_ms = self.clock.0;
        self.recording.answer(request, &response);
        self.tpm.check().unwrap();
        self.lasting.look(&self.tpm);
        if let Some(twin) = twin {
            twin.compare(self, request, &response);
        }
        response
    }

    /// A command; `auths` are password authorizations (may be empty passwords). The body is what follows the header,
    /// with parameterSize and response sessions removed if there were sessions; a response handle stays in front.
    pub(crate) fn with(&mut self, code: u32, handles: &[u32], auths: &[&[u8]], params: &[u8]) -> Outcome {
        let mut area = Vec::new();
        for auth in auths {
            area.extend(password(auth));
        }
        self.with_area(code, handles, &area, params)
    }

    /// A command with a marshalled authorization area (empty: no sessions).
    pub(crate) fn with_area(&mut self, code: u32, handles: &[u32], area: &[u8], params: &[u8]) -> Outcome {
        self.recording.parameters(code, params);
        let response = self.raw(&command(code, handles, area, params));
        let rc = u32::from_be_bytes(response[6..10].try_into().unwrap());
        if rc != 0 {
            assert_eq!(response.len(), 10);
            return Err(rc);
        }
        Ok(body(code, &response, !area.is_empty()))
    }

    /// A command without authorizations.
    pub(crate) fn run(&mut self, code: u32, handles: &[u32], auths: &[&[u8]], params: &[u8]) -> Outcome {
        self.with(code, handles, auths, params)
    }
}

/// Marshals a command.
pub(crate) fn command(code: u32, handles: &[u32], area: &[u8], params: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    handles.iter().for_each(|h| body.extend(h.to_be_bytes()));
    if !area.is_empty() {
        body.extend((area.len() as u32).to_be_bytes());
        body.extend(area);
    }
    body.extend(params);
    let tag: u16 = if area.is_empty() { 0x8001 } else { 0x8002 };
    [&tag.to_be_bytes()[..], &(10 + body.len() as u32).to_be_bytes(), &code.to_be_bytes(), &body].concat()
}

/// Commands whose response starts with a handle.
const REPLY_HANDLE: [u32; 12] = [
    cc::CREATE_PRIMARY,
    cc::LOAD,
    cc::CONTEXT_LOAD,
    cc::LOAD_EXTERNAL,
    cc::START_AUTH_SESSION,
    cc::HASH_SEQUENCE_START,
    cc::MAC_START,
    cc::CREATE_LOADED,
    cc::VERIFY_SEQUENCE_START,
    cc::SIGN_SEQUENCE_START,
    0,
    0,
];

/// A response with sessions: handle, parameters, authorization area.
pub(crate) fn split(code: u32, response: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut rest = &response[10..];
    let handle = if REPLY_HANDLE.contains(&code) { rest.split_off(..4).unwrap().to_vec() } else { vec![] };
    let n = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
    (handle, rest[4..4 + n].to_vec(), rest[4 + n..].to_vec())
}

fn body(code: u32, response: &[u8], sessions: bool) -> Vec<u8> {
    let mut rest = &response[10..];
    let mut out = Vec::new();
    if REPLY_HANDLE.contains(&code) {
        out.extend(&rest[..4]);
        rest = &rest[4..];
    }
    if sessions {
        let n = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        rest = &rest[4..4 + n];
    }
    out.extend(rest);
    out
}

/// A password authorization.
pub(crate) fn password(auth: &[u8]) -> Vec<u8> {
    [&0x4000_0009u32.to_be_bytes()[..], &[0, 0, 1], &(auth.len() as u16).to_be_bytes(), auth].concat()
}

/// A TPM2B.
pub(crate) fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}
