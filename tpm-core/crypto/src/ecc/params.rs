//! The constants of each curve (SP 800-186; GB/T 32918.5; ISO/IEC 15946-5 for BN), as TPM2_ECC_Parameters gives them.

use super::curve::Curve;
use crate::hex::hex;

/// The constants of a curve: y² = x³ + a·x + b over the integers modulo p, and a base point of prime order n. The
/// cofactor is 1 for every curve here. All are big-endian and of the curve's size.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// The field's prime.
    pub p: &'static [u8],
    /// a
    pub a: &'static [u8],
    /// b
    pub b: &'static [u8],
    /// The x coordinate of the base point.
    pub gx: &'static [u8],
    /// The y coordinate of the base point.
    pub gy: &'static [u8],
    /// The order of the base point.
    pub n: &'static [u8],
    /// The cofactor.
    pub h: &'static [u8],
}

impl Curve {
    /// The constants.
    #[must_use]
    pub const fn parameters(self) -> &'static Parameters {
        match self {
            Self::NistP192 => &NIST_P192,
            Self::NistP224 => &NIST_P224,
            Self::NistP256 => &NIST_P256,
            Self::NistP384 => &NIST_P384,
            Self::NistP521 => &NIST_P521,
            Self::BnP256 => &BN_P256,
            Self::Sm2P256 => &SM2_P256,
        }
    }
}

const NIST_P192: Parameters = Parameters {
    p: &hex::<24>(b"fffffffffffffffffffffffffffffffeffffffffffffffff"),
    a: &hex::<24>(b"fffffffffffffffffffffffffffffffefffffffffffffffc"),
    b: &hex::<24>(b"64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1"),
    gx: &hex::<24>(b"188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012"),
    gy: &hex::<24>(b"07192b95ffc8da78631011ed6b24cdd573f977a11e794811"),
    n: &hex::<24>(b"ffffffffffffffffffffffff99def836146bc9b1b4d22831"),
    h: &[1],
};

const NIST_P224: Parameters = Parameters {
    p: &hex::<28>(b"ffffffffffffffffffffffffffffffff000000000000000000000001"),
    a: &hex::<28>(b"fffffffffffffffffffffffffffffffefffffffffffffffffffffffe"),
    b: &hex::<28>(b"b4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4"),
    gx: &hex::<28>(b"b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21"),
    gy: &hex::<28>(b"bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34"),
    n: &hex::<28>(b"ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d"),
    h: &[1],
};

const NIST_P256: Parameters = Parameters {
    p: &hex::<32>(b"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
    a: &hex::<32>(b"ffffffff00000001000000000000000000000000fffffffffffffffffffffffc"),
    b: &hex::<32>(b"5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
    gx: &hex::<32>(b"6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
    gy: &hex::<32>(b"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
    n: &hex::<32>(b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    h: &[1],
};

const NIST_P384: Parameters = Parameters {
    p: &hex::<48>(
        b"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff000000000000\
          0000ffffffff",
    ),
    a: &hex::<48>(
        b"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff000000000000\
          0000fffffffc",
    ),
    b: &hex::<48>(
        b"b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85\
          c8edd3ec2aef",
    ),
    gx: &hex::<48>(
        b"aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a54\
          5e3872760ab7",
    ),
    gy: &hex::<48>(
        b"3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a43\
          1d7c90ea0e5f",
    ),
    n: &hex::<48>(
        b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec\
          196accc52973",
    ),
    h: &[1],
};

const NIST_P521: Parameters = Parameters {
    p: &hex::<66>(
        b"01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
          ffffffffffffffffffffffffffffffffffffffffffffffff",
    ),
    a: &hex::<66>(
        b"01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
          fffffffffffffffffffffffffffffffffffffffffffffffc",
    ),
    b: &hex::<66>(
        b"0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b\
          1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
    ),
    gx: &hex::<66>(
        b"00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928\
          fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
    ),
    gy: &hex::<66>(
        b"011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640\
          c550b9013fad0761353c7086a272c24088be94769fd16650",
    ),
    n: &hex::<66>(
        b"01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b\
          7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    ),
    h: &[1],
};

const BN_P256: Parameters = Parameters {
    p: &hex::<32>(b"fffffffffffcf0cd46e5f25eee71a49f0cdc65fb12980a82d3292ddbaed33013"),
    a: &hex::<32>(b"0000000000000000000000000000000000000000000000000000000000000000"),
    b: &hex::<32>(b"0000000000000000000000000000000000000000000000000000000000000003"),
    gx: &hex::<32>(b"0000000000000000000000000000000000000000000000000000000000000001"),
    gy: &hex::<32>(b"0000000000000000000000000000000000000000000000000000000000000002"),
    n: &hex::<32>(b"fffffffffffcf0cd46e5f25eee71a49e0cdc65fb1299921af62d536cd10b500d"),
    h: &[1],
};

const SM2_P256: Parameters = Parameters {
    p: &hex::<32>(b"fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff"),
    a: &hex::<32>(b"fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc"),
    b: &hex::<32>(b"28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93"),
    gx: &hex::<32>(b"32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"),
    gy: &hex::<32>(b"bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0"),
    n: &hex::<32>(b"fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123"),
    h: &[1],
};
