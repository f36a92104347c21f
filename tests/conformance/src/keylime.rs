//! keylime's registrar and verifier, by the library that both are made of, beside what its agent would send of a TPM
//! that `quoin-tpm provision` has provisioned: EK certificate, AK's Name, quote.

use super::certificates::Provisioned;
use super::{Bench, Tested, tested};
use anyhow::Result;
use fs_err as fs;
use host::fetch::{ensure_packages, must};
use std::path::PathBuf;
use std::process::Command;

/// The release.
pub const VERSION: &str = "7.14.3";
/// What its library imports without saying so.
const REQUIREMENTS: [&str; 4] = ["cryptography", "pyasn1", "pyasn1-modules", "pyyaml"];
/// Asks it.
const JUDGES: &str = include_str!("keylime_judges.py");

/// A name, and a script as for the suite `certificates`. `keylime QUESTION FILES` asks keylime.
const CASES: &[(&str, &str)] = &[
    (
        "keylime: the EK's certificate is trusted by its CA's, RSA and ECC, and by no other",
        "mkdir store others; cp ca/ca.pem store/
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout o.key -out others/o.pem -subj /CN=other
         for i in 0x1c00002 0x1c0000a; do index $i ek.der; keylime ek ek.der store; not keylime ek ek.der others; done",
    ),
    (
        "keylime: IDevID and IAK are of a TPM, and trusted by their CA's certificate",
        "mkdir store; cp ca/ca.pem store/; index 0x1c90200 idevid.der; index 0x1c90100 iak.der
         keylime device idevid.der iak.der store; mkdir none; not keylime device idevid.der iak.der none",
    ),
    (
        "keylime: its challenge is activated by the AK beside the certified EK, RSA and ECC, and by no other AK",
        "head -c 32 /dev/urandom > secret
         for kind in rsa2048 ecc256; do
             tpm2_createek -G $kind -c ek.ctx -u ek.pub
             for ak in one other; do
                 tpm2_createak -C ek.ctx -c $ak.ctx -G rsa -g sha256 -s rsassa -u $ak.pub -n $ak.name; tpm2_flushcontext -t
             done
             keylime challenge ek.pub secret one.name blob
             for ak in one other; do
                 tpm2_startauthsession --policy-session -S session; tpm2_policysecret -S session -c e
                 tpm2_activatecredential -c $ak.ctx -C ek.ctx -i blob -o answer.$ak -P session:session && activated=yes ||
                     activated=no
                 tpm2_flushcontext session; tpm2_flushcontext -t
                 test $ak.$activated = one.yes -o $ak.$activated = other.no
             done
             cmp secret answer.one; rm -f answer.*
         done",
    ),
    (
        "keylime: a quote by an RSA and an ECC key; another nonce, other PCRs, another key are refused",
        "tpm2_createek -G rsa2048 -c ek.ctx -u ek.pub
         for kind in rsa:rsassa ecc:ecdsa; do
             tpm2_createak -C ek.ctx -c ak.ctx -G ${kind%:*} -g sha256 -s ${kind#*:} -f pem -u ${kind%:*}.pem -n ak.name
             tpm2_flushcontext -t
             quote() {
                 tpm2_quote -c ak.ctx -l sha256:0,10,16,23 -q $(printf '%s' nonce | xxd -p) -g sha256 -m $1.msg -s $1.sig \
                     -o $1.pcrs; tpm2_flushcontext -t
             }
             quote first; tpm2_pcrextend 16:sha256=$(sha256sum ak.name | cut -c 1-64); quote second
             keylime quote ${kind%:*}.pem nonce first.sig first.msg first.pcrs
             keylime quote ${kind%:*}.pem nonce second.sig second.msg second.pcrs
             not keylime quote ${kind%:*}.pem other first.sig first.msg first.pcrs
             not keylime quote ${kind%:*}.pem nonce first.sig first.msg second.pcrs
             not keylime quote ${kind%:*}.pem nonce first.sig second.msg second.pcrs
         done
         not keylime quote rsa.pem nonce second.sig second.msg second.pcrs",
    ),
];

fn python(bench: &Bench) -> Result<PathBuf> {
    Ok(bench.folder("keylime")?.join("venv/bin/python"))
}

/// Installs it into a folder of its own.
pub fn prepare(bench: &Bench) -> Result<()> {
    ensure_packages(&["openssl", "python3-venv", "tpm2-tools", "xxd"])?;
    let folder = bench.folder("keylime")?;
    fs::write(folder.join("judges.py"), JUDGES)?;
    if folder.join("complete").exists() {
        return Ok(());
    }
    must(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")), &folder.join("venv.log"))?;
    let mut pip = Command::new(python(bench)?);
    pip.args(["-m", "pip", "--disable-pip-version-check", "install"])
        .arg(format!("keylime=={VERSION}"))
        .args(REQUIREMENTS);
    must(&mut pip, &folder.join("install.log"))?;
    Ok(fs::write(folder.join("complete"), "")?)
}

/// Runs each case with a TPM of its own, provisioned once.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let provisioned = Provisioned::new(bench)?;
    let function = function(bench)?;
    let mut results = Vec::new();
    for (name, script) in CASES.iter().filter(|(name, _)| bench.wants(name)) {
        let script = format!("{function}\n{script}");
        results.push(tested(name, provisioned.judge(bench, name, &script, &[])?));
    }
    Ok(results)
}

/// What scripts call.
pub(crate) fn function(bench: &Bench) -> Result<String> {
    let (python, judges) = (python(bench)?, bench.folder("keylime")?.join("judges.py"));
    Ok(ask(&python.display().to_string(), &judges.display().to_string()))
}

/// Its own files are not the user's.
fn ask(python: &str, judges: &str) -> String {
    format!("keylime() {{ KEYLIME_DIR=$PWD/keylime KEYLIME_TEST=True '{python}' '{judges}' \"$@\"; }}")
}

#[cfg(test)]
mod tests {
    use super::{CASES, ask};
    use host::shell::negates;
    use std::process::Command;

    #[test]
    fn every_script_is_a_script() {
        for (name, script) in CASES {
            let script = format!("{}\n{script}", ask("python", "judges.py"));
            let checked = Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
            assert!(checked.success() && !negates(&script), "{name}");
        }
    }
}
