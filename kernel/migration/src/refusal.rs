//! Why something is refused.

/// From one row for each: the names, their numbers on the wire, and their words.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $words:literal;)*) => {
        /// Why a side does not go on. The numbers are those of the message [`crate::message::Kind::Refused`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Refusal {
            $($(#[$doc])* #[doc = $words] $name = $code,)*
        }

        impl Refusal {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        impl core::fmt::Display for Refusal {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$name => $words,)* })
            }
        }
    };
}

refusals! {
    Shape = 1, "a message has not the shape of its kind";
    Version = 2, "a message is of another version of the protocol";
    Unexpected = 3, "a message comes when none of its kind is expected";
    Key = 4, "the ephemeral key is no point of P-384";
    Reflection = 5, "the ephemeral key of the other side is our own";
    Seal = 6, "a sealed message is not authentic, or not the next one";
    Certificate = 10, "a certificate cannot be read";
    Root = 11, "the root is none that is accepted";
    Chain = 12, "a certificate is not signed by the one above it";
    Chip = 13, "the VCEK's certificate is of another chip than the report";
    Levels = 14, "the VCEK's certificate is of another TCB than the report";
    Signer = 15, "the report is not signed by a VCEK";
    ReportVersion = 16, "the report's version or its algorithm is unknown";
    ReportSignature = 17, "the report's signature does not verify";
    ReportData = 18, "the report is not over this channel";
    Vmpl = 19, "the report is not of VMPL 0";
    Policy = 20, "the guest policy's bit 17 is not one";
    Debug = 21, "the guest policy allows debugging";
    MigrationAgent = 22, "the guest policy allows a migration agent";
    Weaker = 23, "the destination's guest policy is weaker than the source's";
    TcbOrder = 24, "the reported TCB is above the committed or the current one";
    Tcb = 25, "the reported TCB is below the floor";
    Successor = 30, "the measurement is no successor, neither by the list nor by the owner's word";
    Predecessor = 31, "the measurement is no predecessor, neither by the list nor by the owner's word";
    GrantSignature = 32, "the owner has not signed the grant";
    GrantMeasurement = 33, "the grant is for other measurements";
    GrantIdentity = 34, "the grant is for another TPM";
    GrantExpired = 35, "the TPM is beyond the last epoch of the grant";
    NoTerms = 40, "this firmware is not to migrate: no setting says who may come before or after it";
    NotKept = 41, "the source's state is kept on a disk, and the destination would not keep it";
    Occupied = 42, "the destination has the state of another TPM";
    Older = 43, "the state is older than the one that the destination has of this TPM";
    Epoch = 44, "there are no more epochs";
    Room = 45, "there is no room for it";
    Length = 46, "there is more of the state than was said, or less";
    Digest = 47, "the destination has kept another state";
    State = 48, "the destination cannot take the state";
    Receipt = 49, "this is not the receipt for the state that is here";
    NoReport = 50, "the secure processor gives no report";
    Entropy = 51, "there is no entropy";
    Disk = 52, "what is to be durable cannot be written";
    GivenUp = 53, "it was given up";
    Anchors = 54, "the destination's anchors do not answer, or not for this TPM";
}

impl core::error::Error for Refusal {}

impl Refusal {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The refusal with this number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.code() == code)
    }
}

impl From<tpm_crypto::Error> for Refusal {
    /// Of operations on keys of our own: only their source of random numbers can fail.
    fn from(_: tpm_crypto::Error) -> Self {
        Self::Entropy
    }
}
