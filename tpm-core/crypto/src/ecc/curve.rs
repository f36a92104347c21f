//! The table of curves.

/// From one row per curve: the names and the sizes.
macro_rules! curves {
    ($($(#[$doc:meta])* $name:ident = $id:literal, bits $bits:literal;)*) => {
        /// An elliptic curve (TPMI_ECC_CURVE).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Curve {
            $($(#[$doc])* $name = $id,)*
        }

        impl Curve {
            /// Every curve, in the order of identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The curve with this TPM_ECC_CURVE, if it is one of ours.
            #[must_use]
            pub const fn from_id(id: u16) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The TPM_ECC_CURVE.
            #[must_use]
            pub const fn id(self) -> u16 {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// The bits of the field (TPMS_ALGORITHM_DETAIL_ECC.keySize).
            #[must_use]
            pub const fn bits(self) -> u16 {
                match self {
                    $(Self::$name => $bits,)*
                }
            }

            /// The bytes of a coordinate or scalar.
            #[must_use]
            pub const fn size(self) -> usize {
                match self {
                    $(Self::$name => usize::div_ceil($bits, 8),)*
                }
            }
        }
    };
}

curves! {
    /// NIST P-192.
    NistP192 = 0x0001, bits 192;
    /// NIST P-224.
    NistP224 = 0x0002, bits 224;
    /// NIST P-256.
    NistP256 = 0x0003, bits 256;
    /// NIST P-384.
    NistP384 = 0x0004, bits 384;
    /// NIST P-521.
    NistP521 = 0x0005, bits 521;
    /// BN P-256, a curve with a pairing, for ECDAA.
    BnP256 = 0x0010, bits 256;
    /// SM2 P-256.
    Sm2P256 = 0x0020, bits 256;
}
