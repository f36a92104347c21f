//! Certificates that others have made.

use migration::chain::{AMD, DEVELOPMENT, Generation, verify};
use migration::{Refusal, Testimony};
use snp::report::Report;
use tpm_crypto::hash::{HashAlg, digest};
use zerocopy::FromZeros;

/// The software machine's secure processor, by tests/host/examples/psp-identity.rs.
const ARK: &[u8] = include_bytes!("../../machine/psp/ark.der");
const ASK: &[u8] = include_bytes!("../../machine/psp/ask.der");
const VCEK: &[u8] = include_bytes!("../../machine/psp/vcek.der");

fn testimony() -> Testimony {
    let mut report = Report::new_zeroed();
    (report.version, report.signature_algo) = (3.into(), 1.into());
    report.chip_id = *b"Quoin mock PSP: development only, the private key is public.    ";
    report.reported_tcb.0 = [4, 0, 0, 0, 0, 0, 24, 219];
    Testimony { report, vcek: VCEK.to_vec(), ask: ASK.to_vec(), ark: ARK.to_vec() }
}

#[test]
fn the_development_chain_is_good_up_to_the_reports_signature() {
    assert_eq!(verify(&testimony(), &[DEVELOPMENT]), Err(Refusal::ReportSignature));
    assert_eq!(verify(&testimony(), &AMD), Err(Refusal::Root), "it is none of AMD's");
}

#[test]
fn the_development_root_is_pinned() {
    assert_eq!(digest(HashAlg::Sha384, &[ARK]).as_slice(), DEVELOPMENT.sha384);
    assert_eq!(DEVELOPMENT.generation, Generation::Milan);
}

/// Of every certificate each bit, and each length: none is good, and nothing panics.
#[test]
fn a_certificate_of_which_a_bit_is_another_is_no_link() {
    for which in 0..3 {
        let good = testimony();
        let der = [&good.vcek, &good.ask, &good.ark][which].clone();
        for bit in 0..8 * der.len() {
            let mut der = der.clone();
            der[bit / 8] ^= 1 << (bit % 8);
            let outcome = verify(&with(which, der), &[DEVELOPMENT]);
            assert!(
                matches!(outcome, Err(Refusal::Certificate | Refusal::Root | Refusal::Chain)),
                "{which}, bit {bit}"
            );
        }
        for cut in 0..der.len() {
            assert_eq!(verify(&with(which, der[..cut].to_vec()), &[DEVELOPMENT]), Err(Refusal::Certificate));
        }
    }
}

/// Another VCEK, ASK or ARK.
fn with(which: usize, der: Vec<u8>) -> Testimony {
    let mut testimony = testimony();
    match which {
        0 => testimony.vcek = der,
        1 => testimony.ask = der,
        _ => testimony.ark = der,
    }
    testimony
}
