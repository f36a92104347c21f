//! What az-snp-vtpm, unpatched, does with a guest's vTPM and with what it gets: its calls of the attester and of the
//! verifier. Argument: a folder with `vcek.pem` and `chain.pem` (ASK, ARK), in the place of Azure's metadata service.

use az_snp_vtpm::certs::{Vcek, build_cert_chain};
use az_snp_vtpm::hcl::HclReport;
use az_snp_vtpm::report::{AttestationReport, Validateable};
use az_snp_vtpm::{is_snp_cvm, vtpm};
use openssl::bn::BigNum;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use std::error::Error;
use std::fs::read_to_string;
use std::path::Path;

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let certificates = |name: &str| read_to_string(Path::new(&folder).join(name));
    let vcek = Vcek::from_pem(&certificates("vcek.pem")?)?;
    let chain = build_cert_chain(&certificates("chain.pem")?)?;

    ensure(is_snp_cvm()?, "is_snp_cvm: no")?;
    verified(vtpm::get_report()?, &vcek, &chain, None)?;
    println!("get_report");
    for data in [&b"first"[..], b"another challenge", &[7; 64]] {
        verified(vtpm::get_report_with_report_data(data)?, &vcek, &chain, Some(data))?;
    }
    println!("get_report_with_report_data");

    let report = vtpm::get_report()?;
    let key = vtpm::get_ak_pub()?;
    let claimed = HclReport::new(report.clone())?.ak_pub()?;
    let jsonwebkey::Key::RSA { public, .. } = *claimed.key else {
        return Err("the AK of the claims is no RSA key".into());
    };
    let rsa = key.modulus().to_vec();
    ensure(public.n.to_vec() == rsa, "the AK is not the claims'")?;
    println!("get_ak_pub");

    let key = PKey::from_rsa(Rsa::from_public_components(BigNum::from_slice(&rsa)?, BigNum::from_u32(65537)?)?)?;
    vtpm::extend_pcr(16, &[9; 32])?;
    let quote = vtpm::get_quote(b"a nonce")?;
    quote.verify(&key, b"a nonce")?;
    ensure(quote.verify(&key, b"another").is_err(), "a quote for another nonce is taken")?;
    ensure(quote.pcrs_sha256().count() == 24, "not all PCRs")?;
    println!("get_quote, extend_pcr");

    let mut other = report;
    other[32 + 0x90] ^= 1;
    ensure(verified(other.clone(), &vcek, &chain, None).is_err(), "another measurement is taken")?;
    other[32 + 0x90] ^= 1;
    other[1300] ^= 1;
    ensure(verified(other, &vcek, &chain, None).is_err(), "other claims are taken")?;
    println!("refusals");
    Ok(())
}

fn verified(report: Vec<u8>, vcek: &Vcek, chain: &az_snp_vtpm::certs::AmdChain, data: Option<&[u8]>) -> Done<()> {
    let hcl = HclReport::new(report)?;
    let (claims, hash) = (String::from_utf8(hcl.var_data().to_vec())?, hcl.var_data_sha256());
    let snp: AttestationReport = hcl.try_into()?;
    chain.validate()?;
    vcek.validate(chain)?;
    snp.validate(vcek)?;
    ensure(hash == snp.report_data[..32], "REPORT_DATA is not of the claims")?;
    let hex: String = data.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure(claims.to_lowercase().contains(&format!("\"user-data\":\"{hex}")), "the claims lack the user data")
}

fn ensure(is: bool, what: &'static str) -> Done<()> {
    if is { Ok(()) } else { Err(what.into()) }
}
