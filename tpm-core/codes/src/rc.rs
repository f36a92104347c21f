//! TPM_RC: response codes (Part 2, 6.6).

use crate::fault::Fault;
use crate::st;
use core::fmt;
use core::num::NonZeroU32;

/// Why a command ends without its response: a response code other than TPM_RC_SUCCESS (Part 2, 6.6), or a [`Fault`] of
/// the TPM, whose response code is `TPM_RC_FAILURE`. That code cannot be had without a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rc(Why);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Code(NonZeroU32),
    Fault(Fault),
}

/// A one-based position no greater than `MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nth<const MAX: u8>(u8);

impl<const MAX: u8> Nth<MAX> {
    /// The position `n`, which a declaration counts at compile time.
    pub const fn new(n: usize) -> Self {
        assert!(n >= 1 && n <= MAX as usize);
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX, which is a u8")]
        Self(n as u8)
    }

    /// The position of the element with the zero-based `index`, the last possible one if there are more.
    pub fn of_index(index: usize) -> Self {
        let n = index.saturating_add(1).min(MAX.into());
        Self(u8::try_from(n).unwrap_or(MAX))
    }
}

/// Where in a command a format-one error lies (Part 2, 6.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// A handle of the handle area.
    Handle(Nth<7>),
    /// A parameter.
    Param(Nth<15>),
    /// A session of the authorization area.
    Session(Nth<7>),
}

/// A format-one code which has no position yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fmt1(u8);

macro_rules! fmt1 { ($($(#[$m:meta])* $name:ident = $v:literal),* $(,)?) => { impl Fmt1 {
    $($(#[$m])* pub const $name: Self = Self($v);)*

    /// Its name, if it has one.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            $(Self::$name => Some(concat!("TPM_RC_", stringify!($name))),)*
            _ => None,
        }
    }
} } }
fmt1! {
    /// asymmetric algorithm not supported or not correct
    ASYMMETRIC = 0x01,
    /// inconsistent attributes
    ATTRIBUTES = 0x02,
    /// hash algorithm not supported or not appropriate
    HASH = 0x03,
    /// value is out of range or is not correct for the context
    VALUE = 0x04,
    /// hierarchy is not enabled or is not correct for the use
    HIERARCHY = 0x05,
    /// key size is not supported
    KEY_SIZE = 0x07,
    /// mask generation function not supported
    MGF = 0x08,
    /// mode of operation not supported
    MODE = 0x09,
    /// the type of the value is not appropriate for the use
    TYPE = 0x0a,
    /// the handle is not correct for the use
    HANDLE = 0x0b,
    /// unsupported key derivation function or function not appropriate for use
    KDF = 0x0c,
    /// value was out of allowed range
    RANGE = 0x0d,
    /// the authorization HMAC check failed and DA counter incremented
    AUTH_FAIL = 0x0e,
    /// invalid nonce size or nonce value mismatch
    NONCE = 0x0f,
    /// authorization requires assertion of PP
    PP = 0x10,
    /// unsupported or incompatible scheme
    SCHEME = 0x12,
    /// structure is the wrong size
    SIZE = 0x15,
    /// unsupported symmetric algorithm or key size, or not appropriate for instance
    SYMMETRIC = 0x16,
    /// incorrect structure tag
    TAG = 0x17,
    /// union selector is incorrect
    SELECTOR = 0x18,
    /// the TPM was unable to unmarshal a value because there were not enough octets in the input buffer
    INSUFFICIENT = 0x1a,
    /// the signature is not valid
    SIGNATURE = 0x1b,
    /// key fields are not compatible with the selected use
    KEY = 0x1c,
    /// a policy check failed
    POLICY_FAIL = 0x1d,
    /// integrity check failed
    INTEGRITY = 0x1f,
    /// invalid ticket
    TICKET = 0x20,
    /// reserved bits not set to zero as required
    RESERVED_BITS = 0x21,
    /// authorization failure without DA implications
    BAD_AUTH = 0x22,
    /// the policy has expired
    EXPIRED = 0x23,
    /// the commandCode in the policy is not the commandCode of the command
    POLICY_CC = 0x24,
    /// public and sensitive portions of an object are not cryptographically bound
    BINDING = 0x25,
    /// curve not supported
    CURVE = 0x26,
    /// point is not on the required curve
    ECC_POINT = 0x27,
    /// the parameter set is not supported (1.85)
    PARMS = 0x2a,
    /// external mu is not allowed (1.85)
    EXT_MU = 0x2b,
    /// the key signs in one shot only (1.85)
    ONE_SHOT_SIGNATURE = 0x2c,
    /// the key is not the one of the sequence (1.85)
    SIGN_CONTEXT_KEY = 0x2d,
    /// the command must come through a secure channel (1.84)
    CHANNEL = 0x30,
    /// the secure channel was not established with the required key (1.84)
    CHANNEL_KEY = 0x31,
}

impl Fmt1 {
    /// The code at a position.
    pub const fn at(self, at: At) -> Rc {
        let position = match at {
            At::Handle(n) => (n.0 as u32) << 8,
            At::Param(n) => 0x040 | (n.0 as u32) << 8,
            At::Session(n) => 0x800 | (n.0 as u32) << 8,
        };
        Rc::raw(0x080 | self.0 as u32 | position)
    }

    /// The number within format one.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The code without a position, where Part 3 gives none.
    pub const fn plain(self) -> Rc {
        Rc::raw(0x080 | self.0 as u32)
    }
}

macro_rules! rc { ($($(#[$m:meta])* $name:ident = $v:literal),* $(,)?) => {
    impl Rc {
        $($(#[$m])* pub const $name: Self = Self::raw($v);)*
    }

    /// The name of a code of format zero, if it has one.
    const fn name(code: u32) -> Option<&'static str> {
        match code {
            $($v => Some(concat!("TPM_RC_", stringify!($name))),)*
            FAILURE => Some("TPM_RC_FAILURE"),
            _ => None,
        }
    }
} }
rc! {
    /// bad tag in the header
    BAD_TAG = 0x01e,
    /// TPM not initialized by TPM2_Startup or already initialized
    INITIALIZE = 0x100,
    /// improper use of a sequence handle
    SEQUENCE = 0x103,
    /// the command is disabled
    DISABLED = 0x120,
    /// command failed because audit sequence required exclusivity
    EXCLUSIVE = 0x121,
    /// authorization handle is not correct for command
    AUTH_TYPE = 0x124,
    /// command requires an authorization session for handle and it is not present
    AUTH_MISSING = 0x125,
    /// policy failure in math operation or an invalid authPolicy value
    POLICY = 0x126,
    /// PCR check fail
    PCR = 0x127,
    /// PCR have changed since checked
    PCR_CHANGED = 0x128,
    /// too many contexts, or a context gap
    TOO_MANY_CONTEXTS = 0x12e,
    /// authValue or authPolicy is not available for selected entity
    AUTH_UNAVAILABLE = 0x12f,
    /// a _TPM_Init and Startup(CLEAR) is required before the TPM can resume operation
    REBOOT = 0x130,
    /// the protection algorithms are not reasonably balanced
    UNBALANCED = 0x131,
    /// command commandSize value is inconsistent with contents of the command buffer
    COMMAND_SIZE = 0x142,
    /// command code not supported
    COMMAND_CODE = 0x143,
    /// the value of authorizationSize is out of range or the number of octets in the Authorization Area is greater than
    /// required
    AUTHSIZE = 0x144,
    /// use of an authorization session with a context command or another command that cannot have an authorization
    /// session
    AUTH_CONTEXT = 0x145,
    /// NV offset+size is out of range
    NV_RANGE = 0x146,
    /// requested allocation size is larger than allowed
    NV_SIZE = 0x147,
    /// NV access locked
    NV_LOCKED = 0x148,
    /// NV access authorization fails in command actions
    NV_AUTHORIZATION = 0x149,
    /// an NV Index is used before being initialized or the state saved by TPM2_Shutdown(STATE) could not be restored
    NV_UNINITIALIZED = 0x14a,
    /// insufficient space for NV allocation
    NV_SPACE = 0x14b,
    /// NV Index or persistent object already defined
    NV_DEFINED = 0x14c,
    /// context in TPM2_ContextLoad is not valid
    BAD_CONTEXT = 0x150,
    /// cpHash value already set or not correct for use
    CPHASH = 0x151,
    /// handle for parent is not a valid parent
    PARENT = 0x152,
    /// some function needs testing
    NEEDS_TEST = 0x153,
    /// an internal function cannot process a request due to an unspecified problem
    NO_RESULT = 0x154,
    /// the sensitive area did not unmarshal correctly after decryption
    SENSITIVE = 0x155,
    /// the TPM is in read-only mode (1.83)
    READ_ONLY = 0x156,
    /// gap for context ID is too large
    CONTEXT_GAP = 0x901,
    /// out of memory for object contexts
    OBJECT_MEMORY = 0x902,
    /// out of memory for session contexts
    SESSION_MEMORY = 0x903,
    /// out of shared object/session memory
    MEMORY = 0x904,
    /// out of session handles
    SESSION_HANDLES = 0x905,
    /// out of object handles
    OBJECT_HANDLES = 0x906,
    /// bad locality
    LOCALITY = 0x907,
    /// the TPM has suspended operation on the command; forward progress was made and the command may be retried
    YIELDED = 0x908,
    /// the command was canceled
    CANCELED = 0x909,
    /// TPM is performing self-tests
    TESTING = 0x90a,
    /// the TPM is rate-limiting accesses to prevent wearout of NV
    NV_RATE = 0x920,
    /// authorizations for objects subject to DA protection are not allowed at this time because the TPM is in DA
    /// lockout mode
    LOCKOUT = 0x921,
    /// the TPM was not able to start the command
    RETRY = 0x922,
    /// the command may require writing of NV and NV is not current accessible
    NV_UNAVAILABLE = 0x923,
}

impl Rc {
    #[expect(clippy::panic, reason = "at compile time: every caller gives a constant that is not zero")]
    const fn raw(v: u32) -> Self {
        match NonZeroU32::new(v) {
            Some(v) => Self(Why::Code(v)),
            None => panic!(),
        }
    }

    /// TPM_RC_REFERENCE_H0 + index: the handle of this zero-based index references a transient object or session that
    /// is not loaded.
    pub fn reference_h(index: usize) -> Self {
        Self::indexed(0x910, index)
    }

    /// TPM_RC_REFERENCE_S0 + index: the session of this zero-based index is not loaded.
    pub fn reference_s(index: usize) -> Self {
        Self::indexed(0x918, index)
    }

    fn indexed(base: u32, index: usize) -> Self {
        Self(Why::Code(NonZeroU32::MIN.saturating_add(base - 1 + u32::try_from(index.min(6)).unwrap_or(6))))
    }

    /// The code at a position, if it is one of format one without a position.
    pub const fn at(self, at: At) -> Self {
        let v = self.get();
        let code = (v & 0x3f) as u8;
        if v & 0x80 != 0 && v & 0xf40 == 0 { Fmt1(code).at(at) } else { self }
    }

    /// That code in place of this one; a fault stays what it is.
    #[must_use]
    pub const fn instead(self, code: Self) -> Self {
        if self.fault().is_some() { self } else { code }
    }

    /// The value on the wire.
    pub const fn get(self) -> u32 {
        match self.0 {
            Why::Code(code) => code.get(),
            Why::Fault(_) => FAILURE,
        }
    }

    /// The response to a command that ends with this code: a header alone, with the tag of TPM 1.2 if a bad tag was the
    /// command's fault. For a platform that must answer without the TPM.
    ///
    /// ```
    /// use tpm_codes::rc::Rc;
    /// assert_eq!(Rc::COMMAND_SIZE.response(), [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x42]);
    /// ```
    pub const fn response(self) -> [u8; 10] {
        let code = self.get();
        let tag = if code == Self::BAD_TAG.get() { st::RSP_COMMAND } else { st::NO_SESSIONS };
        let ([tag_0, tag_1], [a, b, c, d]) = (tag.to_be_bytes(), code.to_be_bytes());
        [tag_0, tag_1, 0, 0, 0, 10, a, b, c, d]
    }

    /// `TPM_RC_FAILURE`, for this fault.
    pub const fn failure(fault: Fault) -> Self {
        Self(Why::Fault(fault))
    }

    /// The fault, if it is one.
    pub const fn fault(self) -> Option<Fault> {
        match self.0 {
            Why::Code(_) => None,
            Why::Fault(fault) => Some(fault),
        }
    }
}

/// TPM_RC_FAILURE: commands are not accepted because of a TPM failure.
pub const FAILURE: u32 = 0x101;

impl From<Fault> for Rc {
    fn from(fault: Fault) -> Self {
        Self::failure(fault)
    }
}

impl fmt::Display for Fmt1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("an unknown response code"))
    }
}

impl core::error::Error for Fmt1 {}

/// The responseCode of a response in words, for whoever reads one: its name, the position, and the number, as in
/// `TPM_RC_VALUE at parameter 1 (0x1c4)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words(pub u32);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(code) = *self;
        let (low, high) = (code & 0xff, code >> 8);
        match code {
            0 => f.write_str("TPM_RC_SUCCESS")?,
            0x910..=0x916 => write!(f, "TPM_RC_REFERENCE_H{}", low & 7)?,
            0x918..=0x91e => write!(f, "TPM_RC_REFERENCE_S{}", low & 7)?,
            _ if low & 0x80 == 0 => f.write_str(name(code).unwrap_or("an unknown response code"))?,
            _ => {
                Fmt1((low & 0x3f) as u8).fmt(f)?;
                match (low & 0x40 != 0, high) {
                    (true, n) => write!(f, " at parameter {n}")?,
                    (false, 0) => {}
                    (false, n @ 1..=7) => write!(f, " at handle {n}")?,
                    (false, n) => write!(f, " at session {}", n & 7)?,
                }
            }
        }
        write!(f, " ({code:#05x})")
    }
}

/// As [`Words`], and the fault, if it is one.
impl fmt::Display for Rc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Words(self.get()).fmt(f)?;
        if let Some(fault) = self.fault() { write!(f, ": {fault}") } else { Ok(()) }
    }
}

impl core::error::Error for Rc {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn positions_are_encoded_as_part_2_says() {
        assert_eq!(Fmt1::VALUE.at(At::Param(Nth::new(2))).get(), 0x2c4);
        assert_eq!(Fmt1::HANDLE.at(At::Handle(Nth::new(1))).get(), 0x18b);
        assert_eq!(Fmt1::AUTH_FAIL.at(At::Session(Nth::new(1))).get(), 0x98e);
        assert_eq!(Rc::reference_h(0).get(), 0x910);
        assert_eq!(Rc::reference_s(2).get(), 0x91a);
    }

    #[test]
    fn a_response_code_is_told_by_name_position_and_number() {
        for (code, words) in [
            (Fmt1::VALUE.at(At::Param(Nth::new(1))), "TPM_RC_VALUE at parameter 1 (0x1c4)"),
            (Fmt1::KEY.at(At::Handle(Nth::new(2))), "TPM_RC_KEY at handle 2 (0x29c)"),
            (Fmt1::BAD_AUTH.at(At::Session(Nth::new(3))), "TPM_RC_BAD_AUTH at session 3 (0xba2)"),
            (Fmt1::BINDING.plain(), "TPM_RC_BINDING (0x0a5)"),
            (Rc::NV_LOCKED, "TPM_RC_NV_LOCKED (0x148)"),
            (Rc::BAD_TAG, "TPM_RC_BAD_TAG (0x01e)"),
            (Rc::reference_h(1), "TPM_RC_REFERENCE_H1 (0x911)"),
            (Rc::reference_s(6), "TPM_RC_REFERENCE_S6 (0x91e)"),
            (Rc::failure(Fault::NoEntropy), "TPM_RC_FAILURE (0x101): there is no entropy"),
        ] {
            assert_eq!(code.to_string(), words);
        }
        assert_eq!(Words(0).to_string(), "TPM_RC_SUCCESS (0x000)");
        assert_eq!(Words(0x2d5).to_string(), "TPM_RC_SIZE at parameter 2 (0x2d5)");
        assert_eq!(Words(u32::MAX - 0x80).to_string(), "an unknown response code (0xffffff7f)");
    }
}
