//! A TPM under test: deterministic platform, command builder, and `check()` after every command.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]
#![allow(dead_code, reason = "each test file uses its part")]

use client::command::{body, response_code};
use client::lasting::Lasting;
use client::platform::{CountedEntropy, ManualClock};
use client::session::{self, Auth, Outcome, Transport};
use client::{codes, command, password};
use core::sync::atomic::AtomicBool;
use std::collections::BTreeMap;
use tpm_core::cc;
use tpm_core::{Hooks, Locality, Provided, Tpm};

pub(crate) mod external;
pub(crate) mod keys;
pub(crate) mod nv;
pub(crate) mod record;
pub(crate) mod twin;

/// What the platform provides.
#[derive(Default)]
pub(crate) struct Contents(pub BTreeMap<u32, Vec<u8>>);

impl Provided for Contents {
    fn contents(&self, index: u32) -> Option<&[u8]> {
        self.0.get(&index).map(Vec::as_slice)
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
    /// Contents of the indices that the platform provides.
    pub provided: Contents,
    /// what the clock said to the TPM last
    pub last_ms: u64,
    recording: record::Recording,
    lasting: Lasting,
}

impl Transport for Fixture {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        self.raw(request)
    }

    fn outcome(&mut self, code: u32, handles: &[u32], area: &[u8], parameters: &[u8]) -> Outcome {
        self.with_area(code, handles, area, parameters)
    }
}

impl Fixture {
    /// A manufactured TPM before TPM2_Startup.
    pub(crate) fn unstarted() -> Self {
        let (mut entropy, mut clock) = (CountedEntropy::default(), ManualClock(0));
        let mut tpm = Box::new(Tpm::blank());
        tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock }).unwrap();
        Self {
            tpm,
            entropy,
            clock,
            locality: 0,
            mirrored: false,
            canceled: AtomicBool::new(false),
            provided: Contents::default(),
            last_ms: 0,
            recording: record::Recording::new(),
            lasting: Lasting::new(),
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
        let hooks = &mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let n = if self.provided.0.is_empty() {
            self.tpm.execute_unless(hooks, locality, request, &mut response, &self.canceled)
        } else {
            self.tpm.execute_with(hooks, &self.provided, locality, request, &mut response)
        };
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
        let rc = response_code(&response);
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

    /// A command with sessions, whose responses are checked. The outcome is the plain reply.
    pub(crate) fn exec(&mut self, code: u32, handles: &[u32], auths: Vec<Auth<'_>>, params: &[u8]) -> Outcome {
        self.exec_last(code, handles, auths, params, |_| ())
    }

    /// `exec`, with a last change to the command's octets on their way.
    pub(crate) fn exec_last(
        &mut self,
        code: u32,
        handles: &[u32],
        auths: Vec<Auth<'_>>,
        params: &[u8],
        on_the_way: impl FnOnce(&mut Vec<u8>),
    ) -> Outcome {
        session::execute(self, code, handles, auths, params, on_the_way)
    }
}
