//! What az-snp-vtpm, unpatched, does with a guest's vTPM and with what it gets: its calls of the attester and of the
//! verifier. Arguments: a folder with `vcek.pem` and `chain.pem` (ASK, ARK), in the place of Azure's metadata service;
//! one of the calls, or else all of them.

use az_snp_vtpm::certs::{AmdChain, Vcek, build_cert_chain};
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

/// The certificates.
struct Judge {
    vcek: Vcek,
    chain: AmdChain,
}

type Call = fn(&Judge) -> Done<()>;

const CALLS: [(&str, Call); 6] = [
    ("is_snp_cvm", |_| ensure(is_snp_cvm()?, "no")),
    ("get_report", |judge| judge.verified(vtpm::get_report()?, None)),
    ("get_report_with_report_data", with_data),
    ("get_ak_pub", |_| claimed_key().map(drop)),
    ("get_quote, extend_pcr", quote),
    ("refusals", refusals),
];

fn main() -> Done<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let asked = arguments.next();
    let certificates = |name: &str| read_to_string(Path::new(&folder).join(name));
    let vcek = Vcek::from_pem(&certificates("vcek.pem")?)?;
    let judge = Judge { vcek, chain: build_cert_chain(&certificates("chain.pem")?)? };
    let mut done = 0;
    for (name, call) in CALLS.iter().filter(|(name, _)| asked.as_deref().is_none_or(|asked| asked == *name)) {
        call(&judge).map_err(|why| format!("{name}: {why}"))?;
        println!("{name}");
        done += 1;
    }
    ensure(done > 0, "there is no such call")
}

fn with_data(judge: &Judge) -> Done<()> {
    for data in [&b"first"[..], b"another challenge", &[7; 64]] {
        judge.verified(vtpm::get_report_with_report_data(data)?, Some(data))?;
    }
    Ok(())
}

/// The AK's modulus, which is that of the claims.
fn claimed_key() -> Done<Vec<u8>> {
    let key = vtpm::get_ak_pub()?;
    let claimed = HclReport::new(vtpm::get_report()?)?.ak_pub()?;
    let jsonwebkey::Key::RSA { public, .. } = *claimed.key else {
        return Err("the AK of the claims is no RSA key".into());
    };
    let rsa = key.modulus().to_vec();
    ensure(public.n.to_vec() == rsa, "the AK is not the claims'")?;
    Ok(rsa)
}

fn quote(_: &Judge) -> Done<()> {
    let rsa = claimed_key()?;
    let key = PKey::from_rsa(Rsa::from_public_components(BigNum::from_slice(&rsa)?, BigNum::from_u32(65537)?)?)?;
    vtpm::extend_pcr(16, &[9; 32])?;
    let quote = vtpm::get_quote(b"a nonce")?;
    quote.verify(&key, b"a nonce")?;
    ensure(quote.verify(&key, b"another").is_err(), "a quote for another nonce is taken")?;
    ensure(quote.pcrs_sha256().count() == 24, "not all PCRs")
}

fn refusals(judge: &Judge) -> Done<()> {
    let mut other = vtpm::get_report()?;
    other[32 + 0x90] ^= 1;
    ensure(judge.verified(other.clone(), None).is_err(), "another measurement is taken")?;
    other[32 + 0x90] ^= 1;
    other[1300] ^= 1;
    ensure(judge.verified(other, None).is_err(), "other claims are taken")
}

impl Judge {
    fn verified(&self, report: Vec<u8>, data: Option<&[u8]>) -> Done<()> {
        let hcl = HclReport::new(report)?;
        let (claims, hash) = (String::from_utf8(hcl.var_data().to_vec())?, hcl.var_data_sha256());
        let snp: AttestationReport = hcl.try_into()?;
        self.chain.validate()?;
        self.vcek.validate(&self.chain)?;
        snp.validate(&self.vcek)?;
        ensure(hash == snp.report_data[..32], "REPORT_DATA is not of the claims")?;
        let hex: String = data.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
        ensure(claims.to_lowercase().contains(&format!("\"user-data\":\"{hex}")), "the claims lack the user data")
    }
}

fn ensure(is: bool, what: &'static str) -> Done<()> {
    if is { Ok(()) } else { Err(what.into()) }
}
