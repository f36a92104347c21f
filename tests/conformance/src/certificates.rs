//! Certificates that `quoin-tpm provision` makes, as clients of others find them: OpenSSL, tpm2-tools, FAPI of
//! tpm2-tss.

use super::{Bench, Tested, Verdict, tested, tss};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::fetch::{ensure_packages, must};
use host::qemu::Folder;
use host::shell::NOT;
use std::path::PathBuf;
use std::process::Command;

/// Debian packages.
const PACKAGES: &[&str] = &["openssl", "tpm2-tools"];
/// How long a case may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A name, and a script that must end with 0 under `set -eu`, in a folder with `ca/ca.pem` and a server of a TPM that
/// this CA has provisioned. `$TPM2TOOLS_TCTI` names it; `index INDEX FILE` reads an NV Index, `not COMMAND` wants it
/// to fail.
const CASES: &[(&str, &str)] = &[
    (
        "openssl: every certificate's chain and fields",
        "for i in 1c00002 1c0000a 1c00012 1c00014 1c00016 1c00018 1c0001c 1c0001e 1c90100 1c90200; do
             index 0x$i $i.der; openssl x509 -inform DER -in $i.der -out $i.pem
             openssl verify -x509_strict -CAfile ca/ca.pem $i.pem
             openssl x509 -in $i.pem -noout -text > $i.text
             grep -q 'CA:FALSE' $i.text; grep -q 'Quoin development CA' $i.text; grep -q 'Authority Key Id' $i.text
             if tpm2_nvwrite -C o 0x$i -i $i.der; then exit 1; fi
         done
         for i in 1c00002 1c0000a 1c00012 1c00014 1c00016 1c00018 1c0001c 1c0001e; do
             for field in 2.23.133.2.1 2.23.133.2.2 2.23.133.2.3 id:51554F49 2.23.133.8.1; do
                 grep -q \"$field\" $i.text || openssl asn1parse -in $i.pem | grep -q \"$field\" ||
                     openssl x509 -in $i.pem -noout -text -certopt ext_parse | grep -q \"$field\"
             done
         done
         grep -q 'Key Encipherment' 1c00002.text; grep -q 'Key Agreement' 1c0000a.text
         grep -q 'Digital Signature' 1c90100.text; grep -q '2.23.133.11.1.3' 1c90100.text",
    ),
    (
        "tpm2-tools: tpm2_getekcertificate finds certificates of the keys that tpm2_createek makes",
        "tpm2_getekcertificate -o rsa.der -o ecc.der
         for pair in rsa:rsa2048 ecc:ecc256; do
             openssl x509 -inform DER -in ${pair%:*}.der -out ek.pem; openssl verify -CAfile ca/ca.pem ek.pem
             tpm2_createek -G ${pair#*:} -c ek.ctx -f pem -u ek.pub; tpm2_flushcontext -t
             openssl x509 -in ek.pem -noout -pubkey > expected; openssl pkey -pubin -in ek.pub -out made
             cmp expected made
         done",
    ),
    (
        "tpm2-tools: a credential for the certified key is activated, and IAK and IDevID are at their handles",
        "index 0x1c00002 ek.der; openssl x509 -inform DER -in ek.der -noout -pubkey > ek.pem
         tpm2_createek -G rsa2048 -c ek.ctx; tpm2_createak -C ek.ctx -c ak.ctx -u ak.pub -n ak.name; tpm2_flushcontext -t
         echo secret > plain; tpm2_makecredential -T none -G rsa -u ek.pem -s plain -n $(xxd -p -c 99 ak.name) -o blob
         tpm2_startauthsession --policy-session -S session; tpm2_policysecret -S session -c e
         tpm2_activatecredential -c ak.ctx -C ek.ctx -i blob -o again -P session:session; cmp plain again
         tpm2_flushcontext session; tpm2_flushcontext -t
         for pair in 1c90100:0x81020001 1c90200:0x81020000; do
             index 0x${pair%:*} device.der; openssl x509 -inform DER -in device.der -noout -pubkey > expected
             tpm2_readpublic -c ${pair#*:} -f pem -o public; openssl pkey -pubin -in public -out made; cmp expected made
         done",
    ),
];

/// `$QUOIN_TPM` is our program.
const OPERATOR: (&str, &str) = (
    "openssl: the CA of an operator, with a P-256, a P-384 and an RSA key",
    "for kind in 'EC -pkeyopt ec_paramgen_curve:P-256' 'EC -pkeyopt ec_paramgen_curve:P-384' RSA; do
         openssl genpkey -algorithm $kind -out key.pem
         openssl req -x509 -new -key key.pem -subj /CN=operator -days 30 -addext keyUsage=critical,keyCertSign -out own.pem
         $QUOIN_TPM provision --state own --key p256 --key rsa2048 --replace --ca-key key.pem --ca-certificate own.pem > said
         grep -q 'signed by CN=operator' said
         $QUOIN_TPM --daemon --port 0 --protocol swtpm --state own --pid pid > said
         export TPM2TOOLS_TCTI=$(sed -n 's/.*TPM2TOOLS_TCTI=//p' said)
         for i in 1c00002 1c0000a; do
             index 0x$i ek.der; openssl x509 -inform DER -in ek.der -out ek.pem
             openssl verify -x509_strict -CAfile own.pem ek.pem
         done
         kill $(cat pid); while test -e pid; do sleep 0.1; done
     done",
);

/// FAPI provisions with the certificate and the CA as root, and with another root it does not.
const FAPI: &[(&str, &str)] = &[
    ("fapi: provisions with its certificate, P-256", "fapi P_ECCP256SHA256 ca/ca.pem"),
    ("fapi: provisions with its certificate, RSA 2048", "fapi P_RSA2048SHA256 ca/ca.pem"),
    (
        "fapi: refuses the certificate of a CA that it does not trust",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout o.key -out o.pem -subj /CN=other
         not fapi P_ECCP256SHA256 o.pem",
    ),
];

/// What scripts call.
pub const FUNCTIONS: &str = "
    index() { tpm2_nvread -C $1 -o $2 $1; }
    fapi() {
        mkdir -p user system eventlog
        printf '{\"profile_name\":\"%s\",\"profile_dir\":\"%s\",\"user_dir\":\"%s/user\",\"system_dir\":\"%s/system\",
            \"tcti\":\"%s\",\"system_pcrs\":[],\"log_dir\":\"%s/eventlog\"}' \
            $1 $PROFILES $PWD $PWD $TPM2TOOLS_TCTI $PWD > fapi.json
        TSS2_FAPICONF=$PWD/fapi.json FAPI_TEST_ROOT_CERT=$2 FAPI_TEST_INT_CERT=ca/ca.pem \
            LD_LIBRARY_PATH=$FAPI_LIBRARIES tss2_provision
    }";

/// FAPI that takes other roots than those of the vendors it knows: a build of its own.
fn build_folder(bench: &Bench) -> Result<PathBuf> {
    Ok(bench.folder("certificates")?.join("fapi"))
}

/// Its libraries and its profiles.
pub(crate) fn fapi(bench: &Bench) -> Result<[PathBuf; 2]> {
    let installed = build_folder(bench)?.join("installed");
    Ok([installed.join("lib"), installed.join("etc/tpm2-tss/fapi-profiles")])
}

/// Installs the clients, and builds FAPI with `--enable-self-generated-certificate`.
pub fn prepare(bench: &Bench) -> Result<()> {
    ensure_packages(PACKAGES)?;
    let (folder, build) = (bench.folder("certificates")?, build_folder(bench)?);
    if folder.join("complete").exists() {
        return Ok(());
    }
    let source = tss::sources(bench).context("tpm2-tss, of which it builds FAPI")?;
    fs::create_dir_all(&build)?;
    let mut configure = Command::new(source.join("configure"));
    configure.current_dir(&build).arg(format!("--prefix={}", build.join("installed").display())).args([
        "--enable-self-generated-certificate",
        // Nobody links to it but as a library that is shared: half the work.
        "--disable-static",
        "--disable-doxygen-doc",
        "--with-udevrulesprefix=no",
    ]);
    must(&mut configure, &folder.join("configure.log"))?;
    for target in ["all", "install"] {
        let mut make = Command::new("nice");
        make.current_dir(&build).args(["make", "-j2", target]);
        must(&mut make, &folder.join(format!("make-{target}.log")))?;
    }
    Ok(fs::write(folder.join("complete"), "")?)
}

/// Runs each case with a TPM of its own, provisioned once.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let provisioned = Provisioned::new(bench)?;
    let [libraries, profiles] = fapi(bench)?;
    let fapi = [("FAPI_LIBRARIES", libraries), ("PROFILES", profiles)];
    let mut results = Vec::new();
    for (name, script) in CASES.iter().chain([&OPERATOR]).chain(FAPI).filter(|(name, _)| bench.wants(name)) {
        results.push(tested(name, provisioned.judge(bench, name, script, &fapi)?));
    }
    Ok(results)
}

/// The state of a TPM with certificates, and the CA's.
pub(crate) struct Provisioned(Folder);

impl Provisioned {
    /// A new one.
    pub(crate) fn new(bench: &Bench) -> Result<Self> {
        let place = Folder::new()?;
        bench.servers.provision(&place.path().join("tpm"), &place.path().join("ca"))?;
        Ok(Self(place))
    }

    /// Judges a script in a folder with `ca/ca.pem` and a copy of the TPM, which is started.
    pub(crate) fn judge(&self, bench: &Bench, name: &str, script: &str, more: &[(&str, PathBuf)]) -> Result<Verdict> {
        let folder = Folder::new()?;
        let from = ["tpm", "ca"].map(|name| self.0.path().join(name));
        let copied = Command::new("cp").arg("-r").args(from).arg(folder.path()).status()?;
        ensure!(copied.success(), "cannot copy the TPM");
        let server = bench.servers.start_with(&folder.path().join("tpm"))?;
        server.startup()?;
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("set -eu\n{NOT}{FUNCTIONS}\nset -x\n{script}")]).current_dir(folder.path());
        bash.env("TPM2TOOLS_TCTI", server.tcti()).env("TSS2_LOG", "all+ERROR");
        bash.env("QUOIN_TPM", bench.servers.program()).envs(more.iter().map(|(name, value)| (*name, value)));
        let verdict = bench.judge_script(name, &mut bash, TIMEOUT)?;
        bench.keep_trace(name, &server)?;
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::{CASES, FAPI, FUNCTIONS, OPERATOR};
    use host::shell::negates;
    use std::process::Command;

    #[test]
    fn every_script_is_a_script() {
        for (name, script) in CASES.iter().chain([&OPERATOR]).chain(FAPI) {
            let checked = Command::new("bash").args(["-n", "-c", &format!("{FUNCTIONS}\n{script}")]).status().unwrap();
            assert!(checked.success() && !negates(script), "{name}");
        }
    }
}
