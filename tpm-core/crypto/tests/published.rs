//! Vectors of NIST and of the standards, as the published packages of other crates carry them: CAVP's multi-block
//! messages for AES-CFB128 (`cfb-mode`), CAVP's and SP 800-38B's CMACs (`cmac`), the NESSIE blocks of AES (`aes`), the
//! known answers for SHA-1, SHA-2, SHA-3 and SM3 (crates of these names), RFC 4231 for HMAC (`hmac`). Every vector is
//! used. HMAC_DRBG's of CAVP, and those for KDFa and KDFe, are in tpm-core/crypto/src/tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use tpm_crypto::cmac::Cmac;
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::hmac::hmac;
use tpm_crypto::sym::{Cipher, Mode, SymAlg};

/// What cargo says of all packages of the workspace.
fn metadata() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The vectors in a file of a package (its name and version as far as that tells the format), of `N` fields each.
fn vectors<const N: usize>(package: &str, file: &str) -> Vec<[Vec<u8>; N]> {
    static METADATA: LazyLock<String> = LazyLock::new(metadata);
    let folders = METADATA.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split_once("/Cargo.toml\""));
    let is_it = |folder: &&str| folder.rsplit('/').next().is_some_and(|name| name.starts_with(&format!("{package}.")));
    let folder = folders.map(|(folder, _)| folder).filter(is_it).map(PathBuf::from);
    let path = folder.map(|folder| folder.join("tests/data").join(file)).find(|path| path.is_file()).expect(file);
    let octets = std::fs::read(path).unwrap();
    let blobs = blobby::parse_into_vec(&octets).unwrap();
    assert_eq!(blobs.len() % N, 0);
    blobs.chunks(N).map(|vector| core::array::from_fn(|i| vector[i].to_vec())).collect()
}

#[test]
fn aes_cfb_multi_block_messages_of_cavp() {
    for (file, size) in [("aes128.blb", 16), ("aes192.blb", 24), ("aes256.blb", 32)] {
        let vectors = vectors::<4>("cfb-mode-0.9", file);
        assert_eq!(vectors.len(), 20, "of one to ten blocks, for each direction");
        for [key, iv, plain, encrypted] in vectors {
            assert_eq!(key.len(), size);
            let cipher = Cipher::new(SymAlg::Aes, &key).unwrap();
            let mut data = plain.clone();
            cipher.encrypt(Mode::Cfb, &mut iv.clone(), &mut data).unwrap();
            assert_eq!(data, encrypted);
            cipher.decrypt(Mode::Cfb, &mut iv.clone(), &mut data).unwrap();
            assert_eq!(data, plain);
        }
    }
}

#[test]
fn aes_blocks_of_nessie() {
    let mut count = 0;
    for file in ["aes128.blb", "aes192.blb", "aes256.blb"] {
        for [key, plain, encrypted] in vectors::<3>("aes-0.9", file) {
            let cipher = Cipher::new(SymAlg::Aes, &key).unwrap();
            let mut data = plain.clone();
            cipher.encrypt(Mode::Ecb, &mut [], &mut data).unwrap();
            assert_eq!(data, encrypted);
            cipher.decrypt(Mode::Ecb, &mut [], &mut data).unwrap();
            assert_eq!(data, plain);
            count += 1;
        }
    }
    assert!(count > 1000, "{count}");
}

/// A tag that CAVP cuts is the beginning of the whole one.
#[test]
fn cmacs_of_cavp_and_sp_800_38b() {
    let mut count = 0;
    for size in [128, 192, 256] {
        for source in ["cavp", "nist"] {
            for [key, message, tag] in vectors::<3>("cmac-0.8", &format!("cmac_aes{size}_{source}.blb")) {
                let whole = Cmac::new(SymAlg::Aes, &key).unwrap().chain(&message).finish();
                assert!(!tag.is_empty() && whole.starts_with(&tag));
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn known_answers_for_hashes() {
    let files = [
        ("sha1-0.11", "sha1_kat.blb", HashAlg::Sha1, 2),
        ("sha2-0.11", "sha256_kat.blb", HashAlg::Sha256, 2),
        ("sha2-0.11", "sha384_kat.blb", HashAlg::Sha384, 2),
        ("sha2-0.11", "sha512_kat.blb", HashAlg::Sha512, 2),
        ("sha3-0.12", "sha3_256_kat.blb", HashAlg::Sha3_256, 255),
        ("sha3-0.12", "sha3_384_kat.blb", HashAlg::Sha3_384, 255),
        ("sha3-0.12", "sha3_512_kat.blb", HashAlg::Sha3_512, 255),
        ("sm3-0.5", "sm3_kat.blb", HashAlg::Sm3, 2),
    ];
    for (package, file, alg, least) in files {
        let vectors = vectors::<2>(package, file);
        assert!(vectors.len() >= least, "{file}: {}", vectors.len());
        for [message, expected] in vectors {
            assert_eq!(digest(alg, &[&message]).as_slice(), expected, "{file}, {} octets", message.len());
        }
    }
}

#[test]
fn hmacs_of_rfc_4231() {
    for (file, alg) in [("256", HashAlg::Sha256), ("384", HashAlg::Sha384), ("512", HashAlg::Sha512)] {
        let vectors = vectors::<3>("hmac-0.13", &format!("hmac_sha{file}_rfc4231.blb"));
        assert!(vectors.len() >= 6);
        for [key, message, tag] in vectors {
            // Test case 5 is cut to 128 bits.
            assert!(tag.len() >= 16 && hmac(alg, &key, &[&message]).as_slice().starts_with(&tag));
        }
    }
}
