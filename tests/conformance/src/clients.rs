//! Round trips of Debian's tpm2-tools, tpm2-openssl, tpm2-pkcs11 and clevis.

use super::{Bench, Tested, Verdict, tested};
use anyhow::Result;
use core::time::Duration;
use host::fetch::ensure_packages;
use host::qemu::Folder;
use host::shell::NOT;
use std::process::Command;

/// Debian packages.
const PACKAGES: &[&str] = &[
    "clevis",
    "clevis-tpm2",
    "jose",
    "libtpm2-pkcs11-1",
    "libtpm2-pkcs11-tools",
    "opensc",
    "openssl",
    "tpm2-openssl",
    "tpm2-tools",
];
/// How long a case may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A name, and a script that must end with 0 under `set -eu`, in a folder of its own with a fresh TPM that is started.
/// `$TPM2TOOLS_TCTI` names it; `not COMMAND` wants it to fail.
const CASES: &[(&str, &str)] = &[
    (
        "clevis: encrypt, decrypt",
        "echo secret > plain; clevis encrypt tpm2 '{}' < plain > cipher; clevis decrypt < cipher > again; cmp plain again",
    ),
    (
        "clevis: bound to a PCR, refused after it changed",
        "echo secret > plain; clevis encrypt tpm2 '{\"pcr_bank\":\"sha256\",\"pcr_ids\":\"16\"}' < plain > cipher
         clevis decrypt < cipher > again; cmp plain again
         tpm2_pcrextend 16:sha256=$(sha256sum plain | cut -c 1-64); not clevis decrypt < cipher",
    ),
    (
        "openssl: an RSA key that signs and decrypts",
        "o() { openssl \"$@\" -provider tpm2 -provider default -propquery '?provider=tpm2'; }
         echo hello > data
         o genpkey -algorithm RSA -pkeyopt bits:2048 -out key.pem; o pkey -in key.pem -pubout -out public.pem
         o pkeyutl -sign -inkey key.pem -rawin -digest sha256 -in data -out signature
         openssl dgst -sha256 -verify public.pem -signature signature data
         openssl pkeyutl -encrypt -pubin -inkey public.pem -in data -out cipher
         o pkeyutl -decrypt -inkey key.pem -in cipher -out again; cmp data again",
    ),
    (
        "openssl: an EC key that signs and agrees",
        "o() { openssl \"$@\" -provider tpm2 -provider default -propquery '?provider=tpm2'; }
         echo hello > data
         o genpkey -algorithm EC -pkeyopt group:P-256 -out key.pem; o pkey -in key.pem -pubout -out public.pem
         o pkeyutl -sign -inkey key.pem -rawin -digest sha256 -in data -out signature
         openssl pkeyutl -verify -pubin -inkey public.pem -rawin -digest sha256 -in data -sigfile signature
         openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem
         openssl pkey -in other.pem -pubout -out other.public
         o pkeyutl -derive -inkey key.pem -peerkey other.public -out ours
         openssl pkeyutl -derive -inkey other.pem -peerkey public.pem -out theirs; cmp ours theirs",
    ),
    (
        "openssl: random numbers",
        "openssl rand -provider tpm2 -propquery '?provider=tpm2' -hex 32 > a; test $(wc -c < a) = 65",
    ),
    (
        "openssl: a self-signed certificate",
        "openssl req -provider tpm2 -provider default -propquery '?provider=tpm2' -x509 -newkey rsa:2048 -keyout key.pem -noenc -subj /CN=test -out c.pem
         openssl verify -CAfile c.pem c.pem",
    ),
    (
        "pkcs11: a token, keys, signatures, a wrong PIN",
        "export TPM2_PKCS11_STORE=$PWD/store TPM2_PKCS11_TCTI=$TPM2TOOLS_TCTI; mkdir store
         mkdir bin; for tool in create createprimary evictcontrol import load readpublic unseal; do
             printf '#!/bin/sh\\n/usr/bin/tpm2_%s \"$@\"; status=$?; /usr/bin/tpm2_flushcontext -t; exit $status\\n' $tool > bin/tpm2_$tool
         done; chmod +x bin/*; PATH=$PWD/bin:$PATH
         module=$(dpkg -L libtpm2-pkcs11-1 | grep -m 1 'libtpm2_pkcs11.so')
         tpm2_ptool init --path store; tpm2_ptool addtoken --pid 1 --label token --userpin 1234 --sopin 5678 --path store
         tpm2_ptool addkey --algorithm ecc256 --label token --userpin 1234 --key-label ec --id ec --path store
         tpm2_ptool addkey --algorithm rsa2048 --label token --userpin 1234 --key-label rsa --id rsa --path store
         p() { pkcs11-tool --module $module --token-label token --login --pin 1234 \"$@\"; }
         echo hello > data; openssl dgst -sha256 -binary data > digest
         (printf '\\060\\061\\060\\015\\006\\011\\140\\206\\110\\001\\145\\003\\004\\002\\001\\005\\000\\004\\040'; cat digest) > info
         p --sign --mechanism RSA-PKCS --id 727361 --input-file info --output-file rsa.signature
         p --read-object --type pubkey --id 727361 --output-file rsa.der
         openssl dgst -sha256 -verify rsa.der -keyform DER -signature rsa.signature data
         p --sign --mechanism ECDSA --signature-format openssl --id 6563 --input-file digest --output-file ec.signature
         p --read-object --type pubkey --id 6563 --output-file ec.der
         openssl pkeyutl -verify -pubin -keyform DER -inkey ec.der -in digest -sigfile ec.signature
         not pkcs11-tool --module $module --token-label token --login --pin 9999 --list-objects",
    ),
];

/// Installs the clients.
pub fn prepare(_: &Bench) -> Result<()> {
    ensure_packages(PACKAGES)
}

/// Runs each case with a fresh TPM.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let mut results = Vec::new();
    for (name, script) in CASES.iter().filter(|(name, _)| bench.wants(name)) {
        let verdict = one(bench, name, script)?;
        results.push(tested(name, verdict));
    }
    Ok(results)
}

fn one(bench: &Bench, name: &str, script: &str) -> Result<Verdict> {
    let (server, folder) = (bench.servers.start()?, Folder::new()?);
    server.startup()?;
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("set -eu\n{NOT}set -x\n{script}")]).current_dir(folder.path());
    // No resource manager is between: what a tool leaves in the TPM, the next one finds there. tpm2-openssl and clevis
    // clean up; for tpm2_ptool the tools are wrapped.
    bash.env("TPM2TOOLS_TCTI", server.tcti()).env("TPM2OPENSSL_TCTI", server.tcti()).env("TSS2_LOG", "all+ERROR");
    let verdict = bench.judge_script(name, &mut bash, TIMEOUT)?;
    bench.keep_trace(name, &server)?;
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::CASES;
    use std::process::Command;

    #[test]
    fn every_script_is_a_script() {
        for (name, script) in CASES {
            let checked = Command::new("bash").args(["-n", "-c", script]).status().unwrap();
            assert!(checked.success() && !host::shell::negates(script), "{name}");
        }
    }
}
