//! The state of the TPM as octets, taken and restored between two commands. Version 2, frozen:
//!
//! > "QUOINTPM" ‖ version₂ ‖ version of the derivation of primary keys₁ ‖ form₁ ‖ length of all₄ ‖ sections ‖ SHA-256
//! > of all before it
//!
//! A section is tag₂ ‖ length₄ ‖ contents; each form has its sections in the order of [`StateForm::sections`]. The
//! contents are the fields of the structures in order, in the encoding of Part 2. What is not exactly that is refused.
//! The digest finds damage, not malice: a platform encrypts and authenticates the state that it keeps, since all
//! secrets are in it.
//!
//! The first section is the name of the profile of which the TPM is: under another one it would gain or lose
//! algorithms, and keys that are too weak for the one would be good for the other. Version 1 has not this section, and
//! a TPM of it is taken to be of the profile that reads it.
//!
//! The DRBG is not in it, as no two TPMs may give the same random numbers: it is made anew from the platform's entropy.
//! Nor is the platform's time: the TPM's goes on from where it was.

use crate::crypto::hash::{HashAlg, digest};
use crate::crypto::primary;
use crate::data::act::Acts;
use crate::data::lasting::Timed;
use crate::data::platform::Hooks;
use crate::data::state::{Dictionary, Orderly, PersistentView, Ram};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::life::number_of;
use crate::profile::{
    MAX_CONTEXT_SIZE, MAX_LOADED_OBJECTS, MAX_LOADED_SESSIONS, MAX_NV_INDICES, MAX_PERSISTENT_OBJECTS, NV_MEMORY_SIZE,
    PROFILE,
};
use crate::rc::Fmt1;
use crate::wire::{Marshal, Public, Reader, Restore, Sensitive, Unmarshal, Writer};
use core::fmt;
use zeroize::Zeroize;

const MAGIC: &[u8; 8] = b"QUOINTPM";
const VERSION: u16 = 2;
/// The version without the name of the profile.
const WITHOUT_PROFILE: u16 = 1;
const LENGTH_AT: usize = 12;
const HEADER: usize = 16;
const DIGEST: usize = 32;

/// Octets of the largest stored object.
const MAX_OBJECT: usize = Public::MAX + 2 + Sensitive::MAX + 2 + 66 + 4 + 1;

/// The room that any state fits into.
pub const MAX_STATE_SIZE: usize = NV_MEMORY_SIZE
    + 256 * MAX_NV_INDICES
    + (MAX_OBJECT + 8) * (MAX_PERSISTENT_OBJECTS + MAX_LOADED_OBJECTS)
    + MAX_CONTEXT_SIZE * MAX_LOADED_SESSIONS
    + 32 * 1024;

/// How much of the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateForm {
    /// Everything: the TPM that is made of it goes on.
    Whole,
    /// What survives the loss of power: the TPM that is made of it is as after _TPM_Init.
    PoweredOff,
}

/// Why a state is not given or taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateError {
    /// It needs this many octets.
    Room(usize),
    /// It does not begin as a state does.
    NotAState,
    /// The version of the state, of the derivation of primary keys, or the form is unknown.
    Version,
    /// It is shorter or longer than it says.
    Length,
    /// Its digest is not that of what is in it.
    Digest,
    /// Something in it cannot be in a state.
    Contents,
    /// It is that of a TPM of another profile than the one of this build.
    Profile {
        /// of the state
        state: ProfileName,
        /// of this build
        build: &'static str,
    },
    /// Its parts do not go together.
    Inconsistent(Fault),
    /// There is no entropy for a new DRBG.
    Entropy,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(octets) => write!(f, "it needs {octets} octets"),
            Self::NotAState => f.write_str("it does not begin as a state does"),
            Self::Version => f.write_str("its version is unknown"),
            Self::Length => f.write_str("it has not the length that it says"),
            Self::Digest => f.write_str("it is damaged: its digest is another"),
            Self::Contents => f.write_str("something is in it that cannot be in a state"),
            Self::Profile { state, build } => {
                write!(f, "it is that of a TPM of the profile {state}, and this TPM is of the profile {build}")
            }
            Self::Inconsistent(what) => write!(f, "its parts do not go together: {what}"),
            Self::Entropy => f.write_str("there is no entropy"),
        }
    }
}

impl core::error::Error for StateError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Inconsistent(fault) => Some(fault),
            _ => None,
        }
    }
}

/// The name of a profile, in a state of a build that may know others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProfileName {
    octets: [u8; Self::MAX],
    length: u8,
}

impl ProfileName {
    const MAX: usize = 32;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.octets.get(..self.length.into()).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A TPM2B of letters, digits and hyphens.
impl Unmarshal<'_> for ProfileName {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let length = r.get::<u16>()?;
        let name = r.take(length.into())?;
        let mut octets = [0; Self::MAX];
        octets.get_mut(..name.len()).ok_or(Fmt1::SIZE)?.copy_from_slice(name);
        let possible = name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
        if possible {
            Ok(Self { octets, length: u8::try_from(length).map_err(|_| Fmt1::SIZE)? })
        } else {
            Err(Fmt1::VALUE)
        }
    }
}

/// Which state a TPM is in, for the platform that keeps it: see [`Tpm::generation`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation {
    /// the TPM whose counts these are
    tpm: u64,
    persistent: u64,
    /// after TPM2_Shutdown
    shutdown_clock_ms: Option<u64>,
    /// after TPM2_Shutdown(STATE)
    saved: Option<Saved>,
}

/// What counts beside persistent state while TPM2_Shutdown(STATE) does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Saved {
    reset: u64,
    clear: u64,
    sessions: u64,
    acts: Acts,
}

impl From<Fmt1> for StateError {
    fn from(_: Fmt1) -> Self {
        Self::Contents
    }
}

/// A part of the state.
#[derive(Clone, Copy)]
enum Section {
    /// The name of the profile
    Profile,
    Persistent,
    Reset,
    Clear,
    Ram,
    /// What _TPM_Init leaves of RAM: saved sessions and signals of ACT
    Remains,
}

impl StateForm {
    const fn sections(self) -> [(u16, Section); 5] {
        let last = match self {
            Self::Whole => (4, Section::Ram),
            Self::PoweredOff => (5, Section::Remains),
        };
        [(6, Section::Profile), (1, Section::Persistent), (2, Section::Reset), (3, Section::Clear), last]
    }

    const fn number(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::PoweredOff => 1,
        }
    }

    const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Whole),
            1 => Some(Self::PoweredOff),
            _ => None,
        }
    }
}

impl Tpm {
    /// Writes the state to the front of `out`; its length. The TPM stays as it is.
    ///
    /// # Errors
    /// [`StateError::Room`] if it does not fit; [`MAX_STATE_SIZE`] octets always suffice. `out` is then of no use, but
    /// may hold secrets.
    pub fn export(&self, form: StateForm, out: &mut [u8]) -> Result<usize, StateError> {
        let mut w = Writer::new(out);
        w.put(MAGIC);
        VERSION.marshal(&mut w);
        w.put(&[primary::VERSION, form.number()]);
        w.put(&[0; 4]);
        for (tag, section) in form.sections() {
            tag.marshal(&mut w);
            let at = w.len();
            w.put(&[0; 4]);
            self.marshal_section(section, &mut w);
            let length = u32::try_from(w.len().saturating_sub(at).saturating_sub(4)).unwrap_or(u32::MAX);
            w.patch(at, &length.to_be_bytes());
        }
        let length = w.len().saturating_add(DIGEST);
        w.patch(LENGTH_AT, &u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        let digest = digest(HashAlg::Sha256, &[w.written(0)]);
        w.put(digest.as_slice());
        if w.fits() { Ok(length) } else { Err(StateError::Room(length)) }
    }

    /// Makes a TPM here of a state; what the commands know of it is not looked at.
    pub(crate) fn restore(&mut self, state: &[u8], hooks: &mut Hooks<'_>) -> Result<(), StateError> {
        let (version, form, contents) = open(state)?;
        self.make(hooks).map_err(|_| StateError::Entropy)?;
        self.number = number_of(&[&self.number.to_be_bytes(), contents]);
        let mut r = Reader::new(contents);
        let first = usize::from(version == WITHOUT_PROFILE);
        for (tag, section) in form.sections().into_iter().skip(first) {
            if r.get::<u16>()? != tag {
                return Err(StateError::Contents);
            }
            let length = usize::try_from(r.get::<u32>()?).map_err(|_| StateError::Contents)?;
            let mut contents = Reader::new(r.take(length)?);
            self.restore_section(section, &mut contents, hooks)?;
            if !contents.is_empty() {
                return Err(StateError::Contents);
            }
        }
        if !r.is_empty() {
            return Err(StateError::Contents);
        }
        self.check().and_then(|()| self.check_stored()).map_err(StateError::Inconsistent)
    }

    /// Which state this is of all that the TPM has had: while this is the same, [`Tpm::lasting_digest`] is the same. It
    /// costs nothing, and may change though nothing did: a value was written that was there before.
    #[must_use]
    pub fn generation(&self) -> Generation {
        let orderly = self.persistent.orderly;
        Generation {
            tpm: self.number,
            persistent: self.persistent.changes(),
            shutdown_clock_ms: (orderly != Orderly::No).then_some(self.ram.shutdown_clock_ms),
            saved: (orderly == Orderly::State).then(|| Saved {
                reset: self.reset.changes(),
                clear: self.clear.changes(),
                sessions: self.ram.sessions.changes(),
                acts: self.acts_after_init(),
            }),
        }
    }

    /// SHA-256 of what must be written down before a response is given, lest the loss of power undo what the response
    /// says. `room` is overwritten; it has room for [`MAX_STATE_SIZE`] octets.
    ///
    /// After TPM2_Shutdown(STATE) that is all that the next start may find. Otherwise it is what survives TPM Reset,
    /// since that will come: without what only TPM Resume and TPM Restart preserve. Times are those of TPM2_Shutdown,
    /// and else as they are recorded, every [`crate::profile::CLOCK_UPDATE_MS`].
    ///
    /// # Errors
    /// [`StateError::Room`] if it does not fit.
    pub fn lasting_digest(&self, room: &mut [u8]) -> Result<[u8; DIGEST], StateError> {
        let mut w = Writer::new(room);
        let recorded_clock = self.persistent.records();
        let dictionary = Dictionary { healing_ms: 0, lockout_healing_ms: 0, ..self.persistent.dictionary };
        PersistentView { clock_ms: &recorded_clock, dictionary: &dictionary, ..self.persistent.view() }.marshal(&mut w);
        if self.persistent.orderly != Orderly::No {
            // The times as TPM2_Shutdown found them.
            self.ram.shutdown_clock_ms.marshal(&mut w);
        }
        if self.persistent.orderly == Orderly::State {
            for section in [Section::Reset, Section::Clear, Section::Remains] {
                self.marshal_section(section, &mut w);
            }
        }
        let length = w.len();
        if !w.fits() {
            return Err(StateError::Room(length));
        }
        let written = w.written(0);
        let digest = digest(HashAlg::Sha256, &[written]);
        written.zeroize();
        digest.as_slice().try_into().map_err(|_| StateError::Digest)
    }

    fn marshal_section(&self, section: Section, w: &mut Writer<'_>) {
        match section {
            Section::Profile => w.sized(|w| w.put(PROFILE.name.as_bytes())),
            Section::Persistent => self.persistent.view().marshal(w),
            Section::Reset => self.reset.view().marshal(w),
            Section::Clear => self.clear.view().marshal(w),
            Section::Ram => self.ram.marshal(w),
            Section::Remains => {
                self.ram.sessions.marshal(w, true);
                self.acts_after_init().marshal(w);
            }
        }
    }

    fn restore_section(
        &mut self,
        section: Section,
        r: &mut Reader<'_>,
        hooks: &mut Hooks<'_>,
    ) -> Result<(), StateError> {
        match section {
            Section::Profile => check_profile(r.get()?)?,
            Section::Persistent => self.persistent.change().restore(r)?,
            Section::Reset => self.reset.change().restore(r)?,
            Section::Clear => self.clear.change().restore(r)?,
            Section::Ram => self.ram.restore(r)?,
            Section::Remains => {
                // PCR begin as they are allocated.
                self.init(hooks);
                Restore::restore(&mut self.ram.sessions, r)?;
                self.ram.acts.restore(r)?;
            }
        }
        Ok(())
    }
}

fn check_profile(state: ProfileName) -> Result<(), StateError> {
    if state.as_str() == PROFILE.name { Ok(()) } else { Err(StateError::Profile { state, build: PROFILE.name }) }
}

/// The version of a state, its form, and its sections.
fn open(state: &[u8]) -> Result<(u16, StateForm, &[u8]), StateError> {
    let mut r = Reader::new(state);
    if !r.take(MAGIC.len()).is_ok_and(|magic| magic == MAGIC) {
        return Err(StateError::NotAState);
    }
    let (version, derivation, form): (u16, u8, u8) = (r.get()?, r.get()?, r.get()?);
    let form = StateForm::from_number(form).ok_or(StateError::Version)?;
    if !matches!(version, WITHOUT_PROFILE | VERSION) || derivation != primary::VERSION {
        return Err(StateError::Version);
    }
    let length = usize::try_from(r.get::<u32>()?).map_err(|_| StateError::Length)?;
    let (body, recorded) = state.split_last_chunk::<DIGEST>().ok_or(StateError::Length)?;
    let sections = body.get(HEADER..).ok_or(StateError::Length)?;
    if length != state.len() {
        return Err(StateError::Length);
    }
    if digest(HashAlg::Sha256, &[body]).as_slice() == recorded {
        Ok((version, form, sections))
    } else {
        Err(StateError::Digest)
    }
}

// Whether the TPM is in failure mode stands apart from why: older states record it for self-tests only. From such a
// state, it is the platform's fault.
macro_rules! ram { ([$($a:ident),*], fault, [$($b:ident),*], number of fault, [$($c:ident),*]) => {
    impl Marshal for Ram {
        fn marshal(&self, w: &mut Writer<'_>) {
            let Self { platform_now_ms: _, shutdown_clock_ms: _, buffer_size: _, omits_later_properties: _, sessions, fault, $($a,)* $($b,)* $($c),* } = self;
            sessions.marshal(w, false);
            $($a.marshal(w);)*
            fault.is_some().marshal(w);
            $($b.marshal(w);)*
            fault.marshal(w);
            $($c.marshal(w);)*
        }
    }
    impl Restore for Ram {
        fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
            Restore::restore(&mut self.sessions, r)?;
            $(self.$a.restore(r)?;)*
            let failed: bool = r.get()?;
            $(self.$b.restore(r)?;)*
            let fault: Option<Fault> = r.get()?;
            self.fault = match (failed, fault) {
                (false, None) => None,
                (false, Some(_)) => return Err(Fmt1::VALUE),
                (true, fault) => fault.or(Some(Fault::Platform)),
            };
            $(self.$c.restore(r)?;)*
            Ok(())
        }
    }
} }
ram! {
    [started],
    fault,
    [time_ms, time_epoch, clock_rate, clock_safe, acts, exclusive_audit, orderly_startup, pcrs_reallocated, self_test],
    number of fault,
    [physical_presence, objects, pcrs, root, hash_sequence]
}

impl Marshal for Orderly {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.put(&[match self {
            Self::No => 0,
            Self::Clear => 1,
            Self::State => 2,
        }]);
    }
}

impl Unmarshal<'_> for Orderly {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<u8>()? {
            0 => Ok(Self::No),
            1 => Ok(Self::Clear),
            2 => Ok(Self::State),
            _ => Err(Fmt1::VALUE),
        }
    }
}

impl Marshal for Acts {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
    }
}

impl Restore for Acts {
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
        self.0.restore(r)
    }
}
