//! What a caller has in a TPM, and finds again wherever that goes: an endorsement key, an index that counts, a
//! persistent key, a loaded object, PCRs, a session in use with its nonces, clock and counts.

use client::attributes::{nv, session as attr};
use client::cc;
use client::codes::{NULL, OWNER};
use client::command::{Rest, with_passwords};
use client::hash::Alg;
use client::session::{Auth, Kind, Session, Start, Transport, execute, name};
use client::sym::Sym;
use client::template::{creation, ecc_storage, sealed};
use client::tpm2b;

const INDEX: u32 = 0x0180_0001;
const PERSISTENT: u32 = 0x8100_0001;
/// TPMA_NV.
const COUNTER: u32 = nv::OWNERWRITE | nv::COUNTER | nv::OWNERREAD | nv::AUTH;
const SECRET: &[u8] = b"the secret";

/// What was there.
pub struct Belongings {
    session: Session,
    child: u32,
    pcr: Vec<u8>,
    names: [Vec<u8>; 2],
    count: u64,
    clock: (u64, [u8; 9]),
}

fn run(tpm: &mut impl Transport, code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[u8]) -> Vec<u8> {
    let response = tpm.transmit(&with_passwords(code, handles, passwords, parameters));
    assert_eq!(client::command::response_code(&response), 0, "command {code:#x}");
    client::command::body(code, &response, !passwords.is_empty())
}

fn pcr(tpm: &mut impl Transport) -> Vec<u8> {
    run(tpm, cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0xb, 3, 0, 4, 0])
}

fn counter(tpm: &mut impl Transport) -> u64 {
    let reply = run(tpm, cc::NV_READ, &[OWNER, INDEX], &[b""], &[0, 8, 0, 0]);
    u64::from_be_bytes(reply[2..10].try_into().expect("8 octets"))
}

/// TPMS_TIME_INFO: time₈, clock₈, resetCount₄, restartCount₄, safe₁.
fn clock(tpm: &mut impl Transport) -> (u64, [u8; 9]) {
    let reply = run(tpm, cc::READ_CLOCK, &[], &[], &[]);
    let number = u64::from_be_bytes(reply[8..16].try_into().expect("8 octets"));
    (number, reply[16..25].try_into().expect("9 octets"))
}

impl Belongings {
    /// Makes all of it in a TPM that has been started.
    ///
    /// # Panics
    /// If the TPM refuses a command.
    pub fn make(tpm: &mut impl Transport) -> Self {
        run(tpm, cc::SHUTDOWN, &[], &[], &[0, 0]);
        run(tpm, cc::PCR_EXTEND, &[10], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat());
        let public = [&INDEX.to_be_bytes()[..], &[0, 0xb], &COUNTER.to_be_bytes(), &[0, 0], &[0, 8]].concat();
        run(tpm, cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b"pw"), tpm2b(&public)].concat());
        for _ in 0..3 {
            run(tpm, cc::NV_INCREMENT, &[OWNER, INDEX], &[b""], &[]);
        }
        let primary = run(tpm, cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(b"", b"", &ecc_storage()));
        let parent = client::command::handle_of(&primary);
        run(tpm, cc::EVICT_CONTROL, &[OWNER, parent], &[b""], &PERSISTENT.to_be_bytes());
        let created = run(tpm, cc::CREATE, &[parent], &[b""], &creation(b"pw", SECRET, &sealed()));
        let mut rest = Rest(&created);
        let mut part = || tpm2b(rest.sized().expect("a part"));
        let child = [part(), part()].concat();
        let child = client::command::handle_of(&run(tpm, cc::LOAD, &[parent], &[b""], &child));
        let start =
            Start { kind: Kind::Hmac, sym: Sym::Aes128, alg: Alg::Sha256, bind: (NULL, &[]), ..Start::default() };
        let session = Session::start(tpm, &start);
        let (none, unread) = (Vec::new(), (0, [0; 9]));
        let mut all = Self { session, child, pcr: none.clone(), names: [none.clone(), none], count: 0, clock: unread };
        all.unseal(tpm);
        (all.pcr, all.names, all.count) = (pcr(tpm), all.names(tpm), counter(tpm));
        all.clock = clock(tpm);
        all
    }

    /// By the session, whose nonces roll.
    fn unseal(&mut self, tpm: &mut impl Transport) {
        let auths: Vec<Auth<'_>> = vec![self.session.auth(attr::ENCRYPT, b"pw").into()];
        assert_eq!(execute(tpm, cc::UNSEAL, &[self.child], auths, &[], |_| ()), Ok(tpm2b(SECRET)));
    }

    fn names(&self, tpm: &mut impl Transport) -> [Vec<u8>; 2] {
        [PERSISTENT, self.child].map(|handle| name(tpm, handle))
    }

    /// Finds all of it in a TPM whose clock went on for at most so many milliseconds.
    ///
    /// # Panics
    /// If anything is not as it was.
    pub fn find(&mut self, tpm: &mut impl Transport, most_ms: u64) {
        assert_eq!((pcr(tpm), counter(tpm), self.names(tpm)), (self.pcr.clone(), self.count, self.names.clone()));
        let ((before, counts), (after, counts_after)) = (self.clock, clock(tpm));
        assert_eq!(counts_after, counts, "resetCount, restartCount, safe");
        assert!((before..=before + most_ms).contains(&after), "clock {before}, and then {after}");
        self.clock.0 = after;
        self.unseal(tpm);
        run(tpm, cc::NV_INCREMENT, &[OWNER, INDEX], &[b""], &[]);
        self.count += 1;
        assert_eq!(counter(tpm), self.count);
    }

    /// Finds what outlives the loss of power, in a TPM that was started so often since then.
    ///
    /// # Panics
    /// If it is not there.
    pub fn find_later(&self, tpm: &mut impl Transport, starts: u32) {
        assert_eq!((counter(tpm), name(tpm, PERSISTENT)), (self.count, self.names[0].clone()));
        let resets = |counts: [u8; 9]| u32::from_be_bytes(*counts.first_chunk().expect("9 octets"));
        assert_eq!(resets(clock(tpm).1), resets(self.clock.1) + starts, "resetCount");
    }
}
