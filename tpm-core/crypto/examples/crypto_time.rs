//! Prints how long the main cryptographic operations take, in microseconds: `cargo run --release -p tpm-crypto
//! --example crypto_time`.
//!
//! Each line is the median of several rounds and, where the time varies from key to key, the mean.

use core::hint::black_box;
use std::time::Instant;

use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc::Curve;
use tpm_crypto::hash::{self, HashAlg};
use tpm_crypto::hmac::hmac;
use tpm_crypto::kdf::kdfa;
use tpm_crypto::rsa::RsaPrivate;
use tpm_crypto::sym::{Cipher, Mode, SymAlg};

/// Runs `operation` `rounds` times and prints median and mean.
fn time(name: &str, rounds: usize, mut operation: impl FnMut()) {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            operation();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let mean = times.iter().sum::<f64>() / rounds as f64;
    println!("{name:<34} least {:>10.1}  median {:>10.1}  mean {mean:>10.1}", times[0], times[rounds / 2]);
}

fn rsa(rng: &mut Drbg) {
    let mut witnesses = Drbg::new(&[2; 32], b"", b"witnesses").expect("32 bytes");
    for (bits, rounds) in [(1024, 20), (2048, 30), (3072, 8), (4096, 4)] {
        time(&format!("RSA-{bits} generate"), rounds, || {
            black_box(RsaPrivate::generate(bits, 0, rng, &mut witnesses).expect("a key"));
        });
        let key = RsaPrivate::generate(bits, 0, rng, &mut witnesses).expect("a key");
        let (public, prime) = (key.public().clone(), key.prime());
        time(&format!("RSA-{bits} load from prime"), 51, || {
            black_box(RsaPrivate::new(&public, prime.as_slice()).expect("the key"));
        });
        let mut block = vec![1; public.size()];
        block[0] = 0;
        time(&format!("RSA-{bits} private"), 51, || key.raw(rng, black_box(&mut block)).expect("in range"));
        time(&format!("RSA-{bits} public"), 201, || public.raw(black_box(&mut block)).expect("in range"));
    }
}

fn ecc(rng: &mut Drbg) {
    for &curve in Curve::ALL {
        let name = format!("{curve:?}");
        let (d, public) = curve.generate(rng).expect("a key");
        time(&format!("{name} generate"), 101, || {
            black_box(curve.generate(rng).expect("a key"));
        });
        time(&format!("{name} multiply (ECDH)"), 101, || {
            black_box(curve.multiply(d.as_slice(), &public).expect("a point"));
        });
        let signature = curve.ecdsa_sign(d.as_slice(), &[1; 32], rng).expect("a signature");
        time(&format!("{name} sign"), 101, || {
            black_box(curve.ecdsa_sign(d.as_slice(), &[1; 32], rng).expect("a signature"));
        });
        time(&format!("{name} verify"), 101, || {
            curve.ecdsa_verify(&public, black_box(&[1; 32]), &signature).expect("it verifies");
        });
    }
}

fn symmetric(rng: &mut Drbg) {
    let data = vec![0xA5; 1024];
    for &alg in HashAlg::ALL {
        time(&format!("{alg:?} of 1 KiB"), 1001, || {
            black_box(hash::digest(alg, &[black_box(&data)]));
        });
    }
    time("HMAC-SHA256 of 256 B", 1001, || {
        black_box(hmac(HashAlg::Sha256, &[1; 32], &[&data[..256]]));
    });
    time("KDFa SHA256, 32 B", 1001, || {
        kdfa(HashAlg::Sha256, &[1; 32], b"STORAGE", &[], &[], black_box(&mut [0; 32]));
    });
    let mut out = vec![0; 1024];
    time("AES-128-CFB, key and 1 KiB", 1001, || {
        let cipher = Cipher::new(SymAlg::Aes, &[1; 16]).expect("16 bytes");
        cipher.encrypt(Mode::Cfb, &mut [0; 16], black_box(&mut out)).expect("one block of IV");
    });
    time("DRBG, 32 B", 1001, || rng.generate(black_box(&mut [0; 32]), &[]).expect("seeded"));
}

fn main() {
    let mut rng = Drbg::new(&[1; 32], b"", b"crypto_time").expect("32 bytes");
    symmetric(&mut rng);
    ecc(&mut rng);
    rsa(&mut rng);
}
