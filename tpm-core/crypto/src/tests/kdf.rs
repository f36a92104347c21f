//! KDFa, KDFe and KDF2: answers computed with Python's hmac and hashlib; the first of KDF2 is that of CAVP for ANSI
//! X9.63.

use hex_literal::hex;

use crate::hash::HashAlg;
use crate::kdf::{kdf2, kdfa, kdfe};
use crate::sym::xor_obfuscate;

const KEY: [u8; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
const U: &[u8] = b"context u";
const V: &[u8] = b"v";

#[test]
fn kdfa_fills_a_hundred_bytes() {
    let expected = [
        hex!(
            "d25efe480bed87a86d2a752d28ca6712109103acffbce925d5e6a56114a8ba813452f3fa3a93004f2194"
            "425382bdc360e5c296ae87a4d4a46d7ba29d2597650170fd55c5aafcf6e9db3850a6f4d591bc61bd794b"
            "df4fafb9e38b42fce5f87a6cfc392f0f"
        ),
        hex!(
            "3d5f394d39d73d02ebbb3c18546bc4a5757e346a5b9568090f75073db38870d9a772642567bcb35c53c8"
            "afb07f0376008befbe0ff58d25f4114c2680931287945e0c4302069e27796d32075d1d501df31b727b13"
            "3a3a313dce1d9b973388eabb64e60784"
        ),
        hex!(
            "d94349ee0c72e6f1584fbeb2e645a25fe771d46384cc10e42c01fbad2d13383e4bf39df8e83bc7544aac"
            "37aa3614af06d9656d855a3dcf5aaf6ca2438604dbd0a96b2779ab949838483e367ae1893d861ed1f06c"
            "4b1a7a8a434fbf89081d715247d81d7f"
        ),
        hex!(
            "3b65f848a3d2c0f2e2a4e1ad0b26acaba3c223d1edace14341189a9285d137d39864df7b048eef26c102"
            "91a2a21d0b8bcb41b6128f34008801bd4cd8570c99d4c97cb8b2d2edef98efbf5915c9fb96f428906053"
            "647ec02927c1ae785382235468abd8d1"
        ),
    ];
    for (&alg, expected) in HashAlg::ALL.iter().zip(expected) {
        let mut out = [0; 100];
        kdfa(alg, &KEY, b"STORAGE", U, V, &mut out);
        assert_eq!(out, expected, "{alg:?}");
    }
}

#[test]
fn kdfe_fills_65_bytes() {
    let expected = [
        hex!(
            "cc52110ad4fbd90085cbab5a16fbdeb22c6eecab8dee489cbbc44120b96ef70bcb0398b2c0886e5ace9b"
            "4c914ed2dfc92a85ead71299615939a6e336040b73c605"
        ),
        hex!(
            "8411752c171fba6a855371ae10a053eae39b37a4a9daae10c3ed2e39cad1d363b4824137b14820f1c1f4"
            "12a64000b2207674989438d8b5c6425e5589228993e099"
        ),
        hex!(
            "580bfd1b549df30307de0e47532c2e6d2cb3cc962e11f1a98e8693fadfbd95558cac6c28f4c4195c01ee"
            "1268decde55c696676c479cfaf6874fa0276061d8bce71"
        ),
        hex!(
            "ed15aeb2aaf965ff446320e0c24d2a9b337b99a3162b2dc4ea64b9c9f8a7967f5809a9b72048c95ccffa"
            "835f2ec0a732ee67e0b0c808a778a4d2cee9fa5d97be7c"
        ),
    ];
    for (&alg, expected) in HashAlg::ALL.iter().zip(expected) {
        let mut out = [0; 65];
        kdfe(alg, &KEY, b"DUPLICATE", U, V, &mut out);
        assert_eq!(out, expected, "{alg:?}");
    }
}

#[test]
fn xor_obfuscation_is_kdfa_with_the_label_xor_and_undoes_itself() {
    let plain: [u8; 100] = core::array::from_fn(|i| u8::try_from(i).unwrap());
    let mut data = plain;
    xor_obfuscate(HashAlg::Sha256, &KEY, U, V, &mut data);
    let expected = hex!(
        "e84d0b8463c14df5b351e5568f6e0b60f2d6ccca60627c63dcb1134aabc795dace6c436e0697d3913a58"
        "5b3a233d47ee031b8d7e5f7d2ddb495aa9fa942d707d384dffecc0b718ecb4d6dbfc14c2a3825ae61d7f"
        "3e497d6e8477b4a9a0b95ab99663d2ae"
    );
    assert_eq!(data, expected);
    xor_obfuscate(HashAlg::Sha256, &KEY, U, V, &mut data);
    assert_eq!(data, plain);
}

#[test]
fn kdf2_has_the_answer_of_x9_63_and_takes_information_after_the_counter() {
    let z = hex!("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08");
    let mut out = [0; 16];
    kdf2(HashAlg::Sha256, &z, b"", &mut out);
    assert_eq!(out, hex!("443024c3dae66b95e6f5670601558f71"));
    let mut out = [0; 40];
    kdf2(HashAlg::Sha256, &z, &[1, 2], &mut out);
    assert_eq!(out, hex!("41a59aa03d4dbaa136e9cd2f4a610530a04cb61b68a99e2f977189dfc31ab9474adad2a40e4deaaa"));
    let mut out = [0; 50];
    kdf2(HashAlg::Sm3, &z, b"", &mut out);
    let expected =
        hex!("be40a2cb8911a8146f7542bdd3834d9b986b68da2aa299ca7c151a4476a83dd20e85651fc9ea8de5135b881a37da8b4a6c5c");
    assert_eq!(out, expected);
}
