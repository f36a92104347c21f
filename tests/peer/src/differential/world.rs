//! What the caller knows of both TPMs: every value that they made up themselves is kept once for each.

use super::alg::{Alg, Sym};
use super::policy::Step;
use super::send::{Commands, Tally};
use super::wire::{Two, both};
use crate::Peer;

/// TPM_RH
pub mod rh {
    pub const OWNER: u32 = 0x4000_0001;
    pub const NULL: u32 = 0x4000_0007;
    pub const PW: u32 = 0x4000_0009;
    pub const LOCKOUT: u32 = 0x4000_000a;
    pub const ENDORSEMENT: u32 = 0x4000_000b;
    pub const PLATFORM: u32 = 0x4000_000c;
    pub const PLATFORM_NV: u32 = 0x4000_000d;
    /// the hierarchies with an authValue
    pub const AUTHORIZED: [u32; 4] = [OWNER, LOCKOUT, ENDORSEMENT, PLATFORM];
}

/// TPMA_OBJECT
pub mod attribute {
    pub const FIXED_TPM: u32 = 1 << 1;
    pub const ST_CLEAR: u32 = 1 << 2;
    pub const FIXED_PARENT: u32 = 1 << 4;
    pub const ORIGIN: u32 = 1 << 5;
    pub const USER: u32 = 1 << 6;
    pub const ADMIN_POLICY: u32 = 1 << 7;
    pub const NO_DA: u32 = 1 << 10;
    pub const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
    pub const RESTRICTED: u32 = 1 << 16;
    pub const DECRYPT: u32 = 1 << 17;
    pub const SIGN: u32 = 1 << 18;
    pub const X509_SIGN: u32 = 1 << 19;
}

/// An entity as a command's handle: with what goes into an authorization.
#[derive(Clone, Debug)]
pub struct Entity {
    pub handle: Two<u32>,
    pub name: Two<Vec<u8>>,
    pub auth: Vec<u8>,
    /// an index into the known policies
    pub policy: Option<usize>,
    /// only a policy authorizes it, as far as is known
    pub policy_only: bool,
    /// it has no sensitive area: libtpms 0.9.2 goes into failure mode if a session that encrypts should be authorized by it
    pub public_only: bool,
}

impl Entity {
    /// Something whose name is its handle.
    pub fn of(handle: u32) -> Self {
        Self::each(both(handle))
    }

    pub fn each(handle: Two<u32>) -> Self {
        let name = handle.map(|handle| handle.to_be_bytes().to_vec());
        Self { handle, name, auth: Vec::new(), policy: None, policy_only: false, public_only: false }
    }
}

/// A loaded or persistent object.
#[derive(Clone, Debug)]
pub struct Object {
    pub entity: Entity,
    /// TPMT_PUBLIC
    pub public: Two<Vec<u8>>,
    pub kind: u16,
    pub attributes: u32,
    pub hierarchy: u32,
    /// a sequence object, by its command
    pub sequence: Option<u32>,
    /// has a sensitive area
    pub private: bool,
    /// creationHash and creationTicket
    pub creation: Option<(Two<Vec<u8>>, Two<Vec<u8>>)>,
    /// its key is the same on both sides
    pub common: bool,
}

impl Object {
    pub const fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }

    pub const fn is_persistent(&self) -> bool {
        self.entity.handle[0] >> 24 == 0x81
    }

    /// A parent of other objects.
    pub const fn is_parent(&self) -> bool {
        self.has(attribute::RESTRICTED | attribute::DECRYPT) && self.private && self.sequence.is_none()
    }
}

/// A created object outside of the TPM.
#[derive(Clone, Debug)]
pub struct Blob {
    pub private: Two<Vec<u8>>,
    pub parent: Two<Vec<u8>>,
    /// what it will be
    pub object: Object,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    pub handle: Two<u32>,
    /// TPM_SE
    pub kind: u8,
    pub alg: Alg,
    pub sym: Sym,
    pub nonce: Two<Vec<u8>>,
    pub key: Two<Vec<u8>>,
    /// name and authValue of the entity that it is bound to
    pub bind: Option<(Two<Vec<u8>>, Vec<u8>)>,
    /// what has been asserted in it
    pub steps: Vec<Step>,
    /// its policyDigest is the same on both sides
    pub common: bool,
}

impl Session {
    pub const HMAC: u8 = 0;
    pub const POLICY: u8 = 1;
    pub const TRIAL: u8 = 3;
}

/// A policyDigest and how to come to it.
#[derive(Clone, Debug)]
pub struct Policy {
    pub alg: Alg,
    pub digest: Two<Vec<u8>>,
    pub steps: Vec<Step>,
}

/// An NV Index.
#[derive(Clone, Debug)]
pub struct Index {
    pub entity: Entity,
    pub attributes: u32,
    pub size: u16,
    /// its name may have changed
    pub stale: bool,
}

/// A saved context.
#[derive(Clone, Debug)]
pub enum Saved {
    Object(Box<Object>),
    Session(Box<Session>),
}

/// A signature and what it is of.
#[derive(Clone, Debug)]
pub struct Signature {
    pub key: Two<Vec<u8>>,
    pub digest: Vec<u8>,
    /// TPMT_SIGNATURE
    pub signature: Two<Vec<u8>>,
}

/// What TPM2_PolicyTicket takes: timeout, cpHashA, policyRef, authName and ticket.
type PolicyTicket = (Two<Vec<u8>>, Vec<u8>, Vec<u8>, Two<Vec<u8>>, Two<Vec<u8>>);

/// Both TPMs, and what the caller knows of them.
pub struct World {
    pub tpms: Two<Box<dyn Peer>>,
    pub rng: fastrand::Rng,
    pub tally: Tally,
    pub commands: Commands,
    /// the sequence is over
    pub stop: bool,
    /// what is loaded may be other than what is known
    pub lost: bool,
    /// TPM2_Clear was successful, perhaps where another command was meant
    pub cleared: bool,
    /// TPM2_Shutdown was successful since TPM2_Startup
    pub shut: bool,
    /// a damaged command may have defined or deleted another NV Index than is known
    pub unsure: bool,
    /// while a policy is being satisfied: no other is
    pub busy: bool,
    /// the sequence uses elliptic curves, which take most of the time
    pub ecc: bool,
    /// the sequence uses private RSA keys
    pub rsa: bool,
    pub presence: bool,
    pub objects: Vec<Object>,
    pub blobs: Vec<Blob>,
    pub sessions: Vec<Session>,
    pub saved: Vec<(Two<Vec<u8>>, Saved)>,
    pub policies: Vec<Policy>,
    pub indices: Vec<Index>,
    pub signatures: Vec<Signature>,
    /// authValues of the hierarchies
    pub auths: [(u32, Vec<u8>, Option<usize>); 4],
    /// digests of TPM2_Hash with their tickets
    pub hashed: Vec<(Alg, Vec<u8>, Two<Vec<u8>>)>,
    /// timeout, cpHashA, policyRef, name and ticket of policies
    pub tickets: Vec<PolicyTicket>,
    pub locality: u8,
    /// what Clock was last set to
    pub clock: u64,
}

impl World {
    pub fn new(tpms: Two<Box<dyn Peer>>) -> Self {
        Self {
            tpms,
            rng: fastrand::Rng::with_seed(0),
            tally: Tally::default(),
            commands: Commands::default(),
            stop: false,
            lost: false,
            cleared: false,
            shut: false,
            unsure: false,
            busy: false,
            ecc: false,
            rsa: false,
            presence: false,
            objects: vec![],
            blobs: vec![],
            sessions: vec![],
            saved: vec![],
            policies: vec![],
            indices: vec![],
            signatures: vec![],
            auths: rh::AUTHORIZED.map(|handle| (handle, vec![], None)),
            hashed: vec![],
            tickets: vec![],
            locality: 0,
            clock: 0,
        }
    }

    /// Two new TPMs of which nothing is known.
    pub fn renew(&mut self) {
        self.tpms.iter_mut().for_each(|tpm| {
            tpm.manufacture();
            tpm.set_physical_presence(false);
        });
        (self.lost, self.cleared, self.unsure, self.shut) = (false, false, false, false);
        (self.stop, self.busy, self.presence) = (false, false, false);
        self.objects.clear();
        self.blobs.clear();
        self.sessions.clear();
        self.saved.clear();
        self.policies.clear();
        self.indices.clear();
        self.signatures.clear();
        self.hashed.clear();
        self.clock = 0;
        self.tickets.clear();
        self.auths = rh::AUTHORIZED.map(|handle| (handle, vec![], None));
        self.tally.common = self.commands.common();
        self.tally.begin();
    }

    /// Happens once in `n` times.
    pub fn once_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    /// One of them.
    pub fn one_of<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(0..from.len())].clone()
    }

    /// So many random octets; the last is not zero.
    pub fn octets(&mut self, n: usize) -> Vec<u8> {
        let mut octets = vec![0; n];
        self.rng.fill(&mut octets);
        if let Some(last) = octets.last_mut() {
            *last |= 1;
        }
        octets
    }

    /// An authValue: often the empty one.
    pub fn auth_value(&mut self) -> Vec<u8> {
        let n = self.one_of(&[0, 0, 0, 4, 8, 20, 32]);
        self.octets(n)
    }

    /// A hierarchy or another permanent entity.
    pub fn permanent(&self, handle: u32) -> Entity {
        let mut entity = Entity::of(handle);
        if let Some((_, auth, policy)) = self.auths.iter().find(|(known, ..)| *known == handle) {
            entity.auth.clone_from(auth);
            entity.policy = *policy;
        }
        entity
    }

    /// A hierarchy that authorizes: often the owner's or the platform's.
    pub fn hierarchy(&mut self) -> Entity {
        let handle = self.one_of(&[rh::OWNER, rh::OWNER, rh::PLATFORM, rh::PLATFORM, rh::ENDORSEMENT, rh::NULL]);
        self.permanent(handle)
    }

    /// A PCR.
    pub fn pcr(&mut self) -> Entity {
        let n = if self.once_in(40) { self.rng.u32(0..30) } else { self.one_of(&[0, 7, 10, 16, 16, 20, 22, 23, 23]) };
        Entity::of(n)
    }

    /// A loaded object that fits; once in a while any one.
    pub fn object(&mut self, fits: impl Fn(&Object) -> bool) -> Option<Object> {
        let any = self.once_in(50);
        let found: Vec<_> = self.objects.iter().filter(|o| any || fits(o)).cloned().collect();
        (!found.is_empty()).then(|| self.one_of(&found))
    }

    /// A key that signs, or TPM_RH_NULL.
    pub fn signer(&mut self) -> Entity {
        if self.once_in(5) {
            return Entity::of(rh::NULL);
        }
        self.object(|o| o.has(attribute::SIGN) && o.private && o.kind != 0x25 && o.sequence.is_none())
            .map_or_else(|| Entity::of(rh::NULL), |o| o.entity)
    }

    /// An NV Index that fits, with its name.
    pub fn index(&mut self, fits: impl Fn(&Index) -> bool) -> Option<Index> {
        let any = self.once_in(30);
        let found: Vec<_> = self.indices.iter().filter(|i| any || fits(i)).cloned().collect();
        if found.is_empty() {
            return None;
        }
        let index = self.one_of(&found);
        if index.stale { self.refresh(&index) } else { Some(index) }
    }

    /// The name of an NV Index as the TPMs say it now.
    pub fn refresh(&mut self, index: &Index) -> Option<Index> {
        super::generate::nv::read_public(self, index)
    }

    /// Notes that an Index may have changed its name.
    pub fn touched(&mut self, handle: u32) {
        self.indices.iter_mut().filter(|i| i.entity.handle[0] == handle).for_each(|i| i.stale = true);
    }

    /// A session by its handle.
    pub fn session(&self, handle: Two<u32>) -> Option<&Session> {
        self.sessions.iter().find(|s| s.handle == handle)
    }

    /// The same, to change it.
    pub fn session_mut(&mut self, handle: Two<u32>) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|s| s.handle == handle)
    }

    /// What the loss of power takes.
    pub fn forget_volatile(&mut self) {
        self.objects.retain(Object::is_persistent);
        self.sessions.clear();
    }
}
