//! A CA whose key is in a token: SoftHSM's, by PKCS #11, with certificates that OpenSSL verifies.

use super::{Bench, Tested, Verdict, tested};
use anyhow::{Result, ensure};
use core::time::Duration;
use host::fetch::ensure_packages;
use host::qemu::Folder;
use host::shell::NOT;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian packages.
const PACKAGES: &[&str] =
    &["opensc", "openssl", "p11-kit", "p11-kit-modules", "python3-pykcs11", "softhsm2", "tpm2-tools", "xxd"];
/// SoftHSM's module.
const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
/// How long a case may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A name, and a script that must end with 0 under `set -eu`, in a folder with a token `ca` that has keys and CA
/// certificates of the names `p256`, `p384`, `rsa` (files NAME.pem), and no private key outside of it.
const CASES: &[(&str, &str)] = &[
    (
        "a P-256, a P-384 and an RSA key sign; OpenSSL verifies; no two PINs are asked for",
        "for kind in p256 p384 rsa; do
             provision --state tpm --key p256 --key rsa2048 --key iak --replace --ca-key \"$(uri $kind)\" --ca-certificate $kind.pem
             verified $kind.pem tpm 1c00002 1c0000a 1c90100
         done",
    ),
    (
        "a key that was made in the token signs as an intermediate CA, found by CKA_ID",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout root.key -out root.pem -subj /CN=root \\
             -addext keyUsage=critical,keyCertSign
         pkcs11 --keypairgen --key-type EC:secp384r1 --label made --id 77 --usage-sign
         point=$(sed -n 's/.*EC_POINT: *0461//p' out)
         echo \"3076301006072a8648ce3d020106052b81040022036200$point\" | xxd -r -p > made.der
         openssl pkey -pubin -inform DER -in made.der -pubout -out made.pub
         openssl req -new -key root.key -subj /CN=made -out made.csr
         printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign\\nsubjectKeyIdentifier=hash\\n' > extensions
         printf 'authorityKeyIdentifier=keyid\\n' >> extensions
         openssl x509 -req -in made.csr -force_pubkey made.pub -CA root.pem -CAkey root.key -days 9 -extfile extensions -out made.pem
         provision --state tpm --key p384 --ca-certificate made.pem \\
             --ca-key \"pkcs11:token=ca;id=%77?module-path=$MODULE&pin-source=file:$PWD/pin\"
         verified root.pem tpm 1c00016",
    ),
    (
        "setup signs with it, by option and by ca-key.uri's words; the PIN is in no message",
        "$QUOIN_TPM setup --tpm2 --tpm-state tpm --createek --create-ek-cert --vmid vm:1 --logfile log \\
             --ca-key \"$(uri p384)\" --ca-certificate p384.pem
         verified p384.pem tpm 1c00002 1c00016 1c90200; grep -q 'EK RSA 2048' log; not grep -q 7654 log",
    ),
    (
        "pin-value does as pin-source; a token without module-path is found by p11-kit",
        "value=$(echo \"$(uri p256)\" | sed 's/pin-source=[^&]*/pin-value=7654/')
         provision --state tpm --key p256 --ca-key \"$value\" --ca-certificate p256.pem
         mkdir -p $HOME/.config/pkcs11/modules; echo \"module: $MODULE\" > $HOME/.config/pkcs11/modules/token.module
         proxy=$(echo \"$value\" | sed 's/module-path=[^&]*&//')
         provision --state tpm --key p256 --replace --ca-key \"$proxy\" --ca-certificate p256.pem
         verified p256.pem tpm 1c0000a",
    ),
    (
        "what is not there is refused by name: module, token, key, PIN's file, certificate",
        "refused 'no PKCS #11 module /none' \"pkcs11:object=p256?module-path=/none&pin-value=7654\"
         refused 'PKCS #11 module /etc/passwd' \"pkcs11:object=p256?module-path=/etc/passwd&pin-value=7654\"
         refused 'no such token' \"pkcs11:token=other;object=p256?module-path=$MODULE&pin-value=7654\"
         refused 'no such token' \"pkcs11:token=ca;serial=0;object=p256?module-path=$MODULE&pin-value=7654\"
         refused 'no such private key' \"pkcs11:token=ca;object=other?module-path=$MODULE&pin-value=7654\"
         refused 'no such private key' \"pkcs11:token=ca;object=p256;id=%02?module-path=$MODULE&pin-value=7654\"
         refused 'PIN cannot be read' \"pkcs11:token=ca;object=p256?module-path=$MODULE&pin-source=/none\"
         refused 'no certificate of a CA' \"$(uri p256)\" pin",
    ),
    (
        "a wrong PIN, no PIN, and a token that is locked by wrong ones are refused by name",
        "refused 'the token wants a PIN' \"pkcs11:token=ca;object=p256?module-path=$MODULE\"
         refused 'the PIN is wrong' \"pkcs11:token=ca;object=p256?module-path=$MODULE&pin-value=4567\"
         not grep -q 4567 said",
    ),
    (
        "a key that does not sign, another's key, another kind's, and two of one name are refused by name",
        "decrypts
         refused 'not for signing' \"pkcs11:token=ca;object=decrypts?module-path=$MODULE&pin-value=7654\" rsa.pem
         pkcs11 --keypairgen --key-type EC:prime256v1 --label other --id 22 --usage-sign
         refused \"is another's\" \"pkcs11:token=ca;object=other?module-path=$MODULE&pin-value=7654\" p256.pem
         refused \"is another's\" \"$(uri rsa)\" p256.pem; refused \"is another's\" \"$(uri p256)\" p384.pem
         pkcs11 --keypairgen --key-type EC:prime256v1 --label other --id 23 --usage-sign
         refused '2 private keys' \"pkcs11:token=ca;object=other?module-path=$MODULE&pin-value=7654\" p256.pem
         softhsm2-util --init-token --free --label ca --pin 7654 --so-pin 7654 > out
         refused '2 tokens' \"pkcs11:token=ca;object=p256?module-path=$MODULE&pin-value=7654\"",
    ),
    (
        "the CA's certificate is judged before the token is asked: no CA, expired",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout k -subj /CN=none -out none.pem \\
             -addext basicConstraints=critical,CA:FALSE
         refused 'CA:FALSE' \"pkcs11:object=a?module-path=/none\" none.pem",
    ),
];

/// What scripts call.
const FUNCTIONS: &str = "
    pkcs11() { pkcs11-tool --module $MODULE --token-label ca --login --pin 7654 \"$@\" > out 2>&1; }
    uri() { echo \"pkcs11:token=ca;object=$1;type=private?module-path=$MODULE&pin-source=$PWD/pin\"; }
    provision() { $QUOIN_TPM provision \"$@\" > said; cat said; }
    # Neither a TPM nor a folder for one is made, and the reason is said.
    refused() {
        if $QUOIN_TPM provision --state none --key p256 --ca-key \"$2\" --ca-certificate ${3:-p256.pem} > said 2>&1; then
            return 1
        fi
        cat said; grep -q -F \"$1\" said; test ! -e none
    }
    # Certificates in NV Indices, of a CA.
    verified() {
        $QUOIN_TPM --daemon --port 0 --protocol swtpm --state $2 --pid server.pid > said
        export TPM2TOOLS_TCTI=$(sed -n 's/.*TPM2TOOLS_TCTI=//p' said)
        root=$1; shift 2
        for index in \"$@\"; do
            tpm2_nvread -C 0x$index -o certificate.der 0x$index
            openssl x509 -inform DER -in certificate.der -out certificate.pem
            chain=; if test -e made.pem; then chain='-untrusted made.pem'; fi
            openssl verify -x509_strict -CAfile $root $chain certificate.pem
        done
        kill $(cat server.pid); while test -e server.pid; do sleep 0.1; done
    }
    # A key that may decrypt, and not sign: opensc makes none.
    decrypts() {
        /usr/bin/python3 -c 'import os, PyKCS11 as p
library = p.PyKCS11Lib(); library.load(os.environ[\"MODULE\"])
slot = [s for s in library.getSlotList(tokenPresent=True) if library.getTokenInfo(s).label.strip() == \"ca\"][0]
session = library.openSession(slot, p.CKF_RW_SESSION); session.login(\"7654\")
both = [(p.CKA_TOKEN, True), (p.CKA_LABEL, \"decrypts\")]
session.generateKeyPair(both + [(p.CKA_MODULUS_BITS, 2048), (p.CKA_PUBLIC_EXPONENT, (1, 0, 1))],
    both + [(p.CKA_PRIVATE, True), (p.CKA_DECRYPT, True), (p.CKA_SIGN, False)])'
    }
    token() {
        export SOFTHSM2_CONF=$PWD/softhsm2.conf HOME=$PWD/home; mkdir tokens home
        echo \"directories.tokendir = $PWD/tokens\" > softhsm2.conf
        softhsm2-util --init-token --free --label ca --pin 7654 --so-pin 7654 > out
        printf '7654\\n' > pin; chmod 600 pin; id=10
        for kind in 'p256 EC -pkeyopt ec_paramgen_curve:P-256' 'p384 EC -pkeyopt ec_paramgen_curve:P-384' 'rsa RSA'; do
            name=${kind%% *}; id=$((id + 1)); openssl genpkey -algorithm ${kind#* } -out key 2> out
            openssl req -x509 -new -key key -subj /CN=$name -days 9 -addext keyUsage=critical,keyCertSign -out $name.pem
            softhsm2-util --import key --token ca --label $name --id $id --pin 7654 > out; rm key
        done
    }";

/// Installs the token and the clients.
pub fn prepare(_: &Bench) -> Result<()> {
    ensure_packages(PACKAGES)?;
    module().map(|_| ())
}

fn module() -> Result<PathBuf> {
    let found = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
    ensure!(found.is_some(), "softhsm2 is installed, but its module is in none of {}", MODULES.join(", "));
    Ok(found.unwrap_or_default())
}

/// Runs each case with a token of its own.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let module = module()?;
    let mut results = Vec::new();
    for (name, script) in CASES.iter().filter(|(name, _)| bench.wants(name)) {
        results.push(tested(name, one(bench, &module, name, script)?));
    }
    Ok(results)
}

fn one(bench: &Bench, module: &Path, name: &str, script: &str) -> Result<Verdict> {
    let folder = Folder::new()?;
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("set -eu\n{NOT}{FUNCTIONS}\nset -x\ntoken\n{script}")]).current_dir(folder.path());
    bash.env("QUOIN_TPM", bench.servers.program()).env("MODULE", module).env("TSS2_LOG", "all+ERROR");
    bash.env_remove("XDG_CONFIG_HOME");
    bench.judge_script(name, &mut bash, TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::{CASES, FUNCTIONS};
    use host::shell::negates;
    use std::process::Command;

    #[test]
    fn every_script_is_a_script() {
        for (name, script) in CASES {
            let checked = Command::new("bash").args(["-n", "-c", &format!("{FUNCTIONS}\n{script}")]).status().unwrap();
            assert!(checked.success() && !negates(script), "{name}");
        }
    }
}
