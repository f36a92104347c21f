//! What the caller knows of both TPMs: every value that they made up themselves is kept once for each.

use super::command::Commands;
use super::explained::Maker;
use super::policy::Step;
use super::tally::Tally;
use super::wire::{Two, both};
use crate::Peer;
use client::area::Known;
use client::attributes::object;
use client::hash::Alg;
use client::session::Kind;
use client::sym::Sym;

/// TPM_RH
pub(crate) mod rh {
    pub(crate) use client::codes::{ENDORSEMENT, LOCKOUT_HIERARCHY as LOCKOUT, NULL, OWNER, PLATFORM, PLATFORM_NV, PW};
    /// the hierarchies with an authValue
    pub(crate) const AUTHORIZED: [u32; 4] = [OWNER, LOCKOUT, ENDORSEMENT, PLATFORM];
}

/// An entity as a command's handle: with what goes into an authorization.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) handle: Two<u32>,
    pub(crate) name: Two<Vec<u8>>,
    pub(crate) auth: Vec<u8>,
    /// an index into the known policies
    pub(crate) policy: Option<usize>,
    /// only a policy authorizes it, as far as is known
    pub(crate) policy_only: bool,
    /// it has no sensitive area: libtpms 0.9.2 goes into failure mode if a session that encrypts should be authorized
    /// by it
    pub(crate) public_only: bool,
}

impl Entity {
    /// Something whose name is its handle.
    pub(crate) fn of(handle: u32) -> Self {
        Self::each(both(handle))
    }

    pub(crate) fn each(handle: Two<u32>) -> Self {
        let name = handle.map(|handle| handle.to_be_bytes().to_vec());
        Self { handle, name, auth: Vec::new(), policy: None, policy_only: false, public_only: false }
    }
}

/// creationHash and creationTicket.
type Creation = (Two<Vec<u8>>, Two<Vec<u8>>);

/// A loaded or persistent object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) entity: Entity,
    /// TPMT_PUBLIC
    pub(crate) public: Two<Vec<u8>>,
    pub(crate) kind: u16,
    pub(crate) attributes: u32,
    pub(crate) hierarchy: u32,
    /// a sequence object, by its command
    pub(crate) sequence: Option<u32>,
    /// has a sensitive area
    pub(crate) private: bool,
    /// creationHash and creationTicket
    pub(crate) creation: Option<Creation>,
    /// its key is the same on both sides
    pub(crate) common: bool,
    /// of this object's Names, the other side's public area on each side
    pub(crate) of: Option<Two<Vec<u8>>>,
}

impl Object {
    pub(crate) const fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }

    pub(crate) const fn is_persistent(&self) -> bool {
        self.entity.handle[0] >> 24 == 0x81
    }

    /// The public area as the TPMs have made it. What they say of the key's origin counts: damage may have changed the
    /// template.
    pub(crate) fn is_made(&mut self, public: Two<Vec<u8>>) {
        let attributes = public[0].get(4..8).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
        self.common &= attributes & object::ORIGIN == 0;
        self.public = public;
    }

    /// A parent of other objects.
    pub(crate) const fn is_parent(&self) -> bool {
        self.has(object::RESTRICTED | object::DECRYPT) && self.private && self.sequence.is_none()
    }
}

/// A created object outside of the TPM.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) private: Two<Vec<u8>>,
    pub(crate) parent: Two<Vec<u8>>,
    /// what it will be
    pub(crate) object: Object,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) handle: Two<u32>,
    /// TPM_SE
    pub(crate) kind: u8,
    pub(crate) alg: Alg,
    pub(crate) sym: Sym,
    pub(crate) nonce: Two<Vec<u8>>,
    pub(crate) key: Two<Vec<u8>>,
    /// name and authValue of the entity that it is bound to
    pub(crate) bind: Option<(Two<Vec<u8>>, Vec<u8>)>,
    /// what has been asserted in it
    pub(crate) steps: Vec<Step>,
    /// its policyDigest is the same on both sides
    pub(crate) common: bool,
}

impl Session {
    pub(crate) const HMAC: u8 = Kind::Hmac as u8;
    pub(crate) const POLICY: u8 = Kind::Policy as u8;
    pub(crate) const TRIAL: u8 = Kind::Trial as u8;

    /// As one side knows it.
    pub(crate) fn known(&self, side: usize) -> Known<'_> {
        let (key, nonce_tpm) = (&self.key[side], &self.nonce[side]);
        Known { handle: self.handle[side], alg: self.alg, sym: self.sym, key, nonce_tpm }
    }
}

/// A policyDigest and how to come to it.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) alg: Alg,
    pub(crate) digest: Two<Vec<u8>>,
    pub(crate) steps: Vec<Step>,
}

/// An NV Index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) entity: Entity,
    pub(crate) attributes: u32,
    pub(crate) size: u16,
    /// its name may have changed
    pub(crate) stale: bool,
    /// its contents are the same on both sides
    pub(crate) common: bool,
}

/// A saved context.
#[derive(Clone, Debug)]
pub(crate) enum Saved {
    Object(Box<Object>),
    Session(Box<Session>),
}

/// A signature and what it is of.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) key: Two<Vec<u8>>,
    pub(crate) digest: Vec<u8>,
    /// TPMT_SIGNATURE
    pub(crate) signature: Two<Vec<u8>>,
}

/// What TPM2_PolicyTicket takes: timeout, cpHashA, policyRef, authName and ticket.
pub(crate) type PolicyTicket = (Two<Vec<u8>>, Vec<u8>, Vec<u8>, Two<Vec<u8>>, Two<Vec<u8>>);

/// What sequences are about.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum Subject {
    /// whatever both TPMs have
    #[default]
    All,
    /// ML-KEM, ML-DSA and the commands of version 185, with what they need
    Lattices,
}

impl Subject {
    /// As the command line has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Lattices => "lattices",
        }
    }
}

/// Both TPMs, and what the caller knows of them.
pub(crate) struct World {
    pub(crate) tpms: Two<Box<dyn Peer>>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) tally: Tally,
    pub(crate) commands: Commands,
    /// whose the other TPM is
    pub(crate) maker: Maker,
    pub(crate) subject: Subject,
    /// what a platform does can be done to both
    pub(crate) platform: bool,
    /// the sequence is over
    pub(crate) stop: bool,
    /// what is loaded may be other than what is known
    pub(crate) lost: bool,
    /// whether so few failed tries are allowed, or so little time to forget them, that libtpms may not have counted a
    /// loss of power
    pub(crate) few_tries: bool,
    /// whether it was so at any time since the last TPM2_Startup after an orderly shutdown
    pub(crate) few_tries_since: bool,
    /// since TPM2_Startup the other TPM has noted the use of a protected authValue by a command that we have refused
    pub(crate) used_there: bool,
    /// TPM2_Clear was successful, perhaps where another command was meant
    pub(crate) cleared: bool,
    /// TPM2_Shutdown was successful since TPM2_Startup
    pub(crate) shut: bool,
    /// a damaged command may have defined or deleted another NV Index than is known
    pub(crate) unsure: bool,
    /// while a policy is being satisfied: no other is
    pub(crate) busy: bool,
    /// the sequence uses elliptic curves, which take most of the time
    pub(crate) ecc: bool,
    /// the sequence uses private RSA keys
    pub(crate) rsa: bool,
    pub(crate) presence: bool,
    pub(crate) objects: Vec<Object>,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) saved: Vec<(Two<Vec<u8>>, Saved)>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) indices: Vec<Index>,
    pub(crate) signatures: Vec<Signature>,
    /// authValues of the hierarchies
    pub(crate) auths: [(u32, Vec<u8>, Option<usize>); 4],
    /// digests of TPM2_Hash with their tickets
    pub(crate) hashed: Vec<(Alg, Vec<u8>, Two<Vec<u8>>)>,
    /// timeout, cpHashA, policyRef, name and ticket of policies
    pub(crate) tickets: Vec<PolicyTicket>,
    pub(crate) locality: u8,
    /// what Clock was last set to
    pub(crate) clock: u64,
}

impl World {
    pub(crate) fn new(tpms: Two<Box<dyn Peer>>) -> Self {
        Self {
            tpms,
            rng: fastrand::Rng::with_seed(0),
            tally: Tally::default(),
            commands: Commands::default(),
            maker: Maker::default(),
            subject: Subject::default(),
            platform: true,
            stop: false,
            lost: false,
            few_tries: false,
            few_tries_since: false,
            used_there: false,
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
    pub(crate) fn renew(&mut self) {
        self.tpms.iter_mut().for_each(|tpm| {
            tpm.manufacture();
            tpm.set_physical_presence(false);
        });
        (self.lost, self.cleared, self.unsure, self.shut) = (false, false, false, false);
        (self.few_tries, self.few_tries_since, self.used_there) = (false, false, false);
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
    pub(crate) fn once_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    /// One of them.
    pub(crate) fn one_of<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(0..from.len())].clone()
    }

    /// So many random octets; the last is not zero.
    pub(crate) fn octets(&mut self, n: usize) -> Vec<u8> {
        let mut octets = vec![0; n];
        self.rng.fill(&mut octets);
        if let Some(last) = octets.last_mut() {
            *last |= 1;
        }
        octets
    }

    /// An authValue: often the empty one.
    pub(crate) fn auth_value(&mut self) -> Vec<u8> {
        let n = self.one_of(&[0, 0, 0, 4, 8, 20, 32]);
        self.octets(n)
    }

    /// A hierarchy or another permanent entity.
    pub(crate) fn permanent(&self, handle: u32) -> Entity {
        let mut entity = Entity::of(handle);
        if let Some((_, auth, policy)) = self.auths.iter().find(|(known, ..)| *known == handle) {
            entity.auth.clone_from(auth);
            entity.policy = *policy;
        }
        entity
    }

    /// A hierarchy that authorizes: often the owner's or the platform's.
    pub(crate) fn hierarchy(&mut self) -> Entity {
        let handle = self.one_of(&[rh::OWNER, rh::OWNER, rh::PLATFORM, rh::PLATFORM, rh::ENDORSEMENT, rh::NULL]);
        self.permanent(handle)
    }

    /// A PCR.
    pub(crate) fn pcr(&mut self) -> Entity {
        let n = if self.once_in(40) { self.rng.u32(0..30) } else { self.one_of(&[0, 7, 10, 16, 16, 20, 22, 23, 23]) };
        Entity::of(n)
    }

    /// A loaded object that fits; once in a while any one.
    pub(crate) fn object(&mut self, fits: impl Fn(&Object) -> bool) -> Option<Object> {
        let any = self.once_in(50);
        let found: Vec<_> = self.objects.iter().filter(|o| any || fits(o)).cloned().collect();
        (!found.is_empty()).then(|| self.one_of(&found))
    }

    /// A key that signs, or TPM_RH_NULL.
    pub(crate) fn signer(&mut self) -> Entity {
        if self.once_in(5) {
            return Entity::of(rh::NULL);
        }
        self.object(|o| o.has(object::SIGN) && o.private && o.kind != 0x25 && o.sequence.is_none())
            .map_or_else(|| Entity::of(rh::NULL), |o| o.entity)
    }

    /// An NV Index that fits, with its name.
    pub(crate) fn index(&mut self, fits: impl Fn(&Index) -> bool) -> Option<Index> {
        let any = self.once_in(30);
        let found: Vec<_> = self.indices.iter().filter(|i| any || fits(i)).cloned().collect();
        if found.is_empty() {
            return None;
        }
        let index = self.one_of(&found);
        if index.stale { self.refresh(&index) } else { Some(index) }
    }

    /// The name of an NV Index as the TPMs say it now.
    pub(crate) fn refresh(&mut self, index: &Index) -> Option<Index> {
        super::generate::nv::read_public(self, index)
    }

    /// Notes that an Index may have changed its name.
    pub(crate) fn touched(&mut self, handle: u32) {
        self.indices.iter_mut().filter(|i| i.entity.handle[0] == handle).for_each(|i| i.stale = true);
    }

    /// A session by its handle.
    pub(crate) fn session(&self, handle: Two<u32>) -> Option<&Session> {
        self.sessions.iter().find(|s| s.handle == handle)
    }

    /// The same, to change it.
    pub(crate) fn session_mut(&mut self, handle: Two<u32>) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|s| s.handle == handle)
    }

    /// What the loss of power takes.
    pub(crate) fn forget_volatile(&mut self) {
        self.objects.retain(Object::is_persistent);
        self.sessions.clear();
    }
}
