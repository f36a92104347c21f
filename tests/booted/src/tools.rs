//! Debian's tpm2-tools against a TPM that listens at a local port.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use core::net::Ipv4Addr;
use core::time::Duration;
use host::boot::{self, Built};
use host::debian;
use host::qemu::{Folder, Qemu};
use host::relay::SerialRelay;
use host::shell::NOT;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;

/// The program by which the package is known, and the package.
pub const PROGRAM: debian::Wanted = ("tpm2_getcap", "tpm2-tools");

/// All that the cases call.
pub const PROGRAMS: [debian::Wanted; 3] = [PROGRAM, ("openssl", "openssl"), ("cmp", "diffutils")];

/// The cases: a name, and a script that must end with 0. They run in this order, in one folder, against one TPM, under
/// `set -eu`; `not` runs a command that must fail, `refused` one that must fail with the TPM's response code that its
/// first argument is. Without a resource manager the tools leave their objects and sessions in the TPM; `clean` flushes
/// them.
const CASES: &[(&str, &str)] = &[
    ("startup", "tpm2_startup -c"),
    (
        "getcap: every group",
        "for group in algorithms commands pcrs properties-fixed properties-variable ecc-curves handles-transient handles-persistent handles-permanent handles-pcr handles-nv-index handles-loaded-session handles-saved-session; do tpm2_getcap $group > getcap.$group; done",
    ),
    (
        "getcap: what the TPM is said to do",
        "grep -q 'TPM2_CC_Quote' getcap.commands; grep -q sha256 getcap.algorithms; grep -q sha384 getcap.pcrs; grep -q NIST_P256 getcap.ecc-curves; grep -q TPM2_PT_MANUFACTURER getcap.properties-fixed",
    ),
    (
        "getrandom: as many bytes as asked for, other ones each time",
        "tpm2_getrandom 32 -o random.1; tpm2_getrandom 32 -o random.2; test $(stat -c %s random.1) = 32; not cmp -s random.1 random.2",
    ),
    ("selftest", "tpm2_selftest -f; tpm2_gettestresult"),
    (
        "pcrread: every bank",
        "tpm2_pcrread sha1:0,1,23+sha256:0,1,23+sha384:0,1,23+sha512:0,1,23 > pcrs.text; test $(grep -c 0x pcrs.text) = 12",
    ),
    (
        "pcrextend: what SHA-256 gives",
        "tpm2_pcrread sha256:23 -o before; data=$(head -c 32 random.1 | od -An -vtx1 | tr -d ' \\n'); tpm2_pcrextend 23:sha256=$data; tpm2_pcrread sha256:23 -o after; cat before random.1 | sha256sum | cut -c 1-64 > wanted; od -An -vtx1 after | tr -d ' \\n' > got; cmp -n 64 wanted got",
    ),
    ("pcrreset", "tpm2_pcrreset 23; tpm2_pcrread sha256:23 -o after; cmp after before"),
    (
        "pcrevent: a digest for each bank",
        "tpm2_pcrevent 16 random.1 > event; grep -q $(sha256sum random.1 | cut -c 1-64) event; grep -q $(sha384sum random.1 | cut -c 1-96) event",
    ),
    ("hash", "tpm2_hash -g sha256 --hex random.1 > got; test \"$(cat got)\" = $(sha256sum random.1 | cut -c 1-64)"),
    (
        "createek, RSA and ECC",
        "tpm2_createek -G ecc -c ek.ecc -u ek.ecc.pub; clean; tpm2_createek -G rsa -c ek.ctx -u ek.pub; tpm2_flushcontext -t",
    ),
    (
        "readpublic: the EK's template",
        "tpm2_readpublic -c ek.ctx > public; grep -q 837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa public; clean",
    ),
    ("createak", "tpm2_createak -C ek.ctx -c ak.ctx -G rsa -g sha256 -s rsassa -u ak.pem -f pem -n ak.name; clean"),
    (
        "createak: ECC",
        "tpm2_createak -C ek.ctx -c ak.ecc -G ecc -g sha256 -s ecdsa -u ak.ecc.pem -f pem -n ak.ecc.name; clean",
    ),
    (
        "activatecredential: the secret comes back",
        "tpm2_makecredential -T none -u ek.pub -s random.1 -n $(od -An -vtx1 ak.name | tr -d ' \\n') -o credential; tpm2_startauthsession --policy-session -S session; tpm2_policysecret -S session -c e; tpm2_activatecredential -c ak.ctx -C ek.ctx -i credential -o secret -P session:session; cmp secret random.1; clean",
    ),
    (
        "activatecredential: refused for another key",
        "tpm2_startauthsession --policy-session -S session; tpm2_policysecret -S session -c e; refused 1df tpm2_activatecredential -c ak.ecc -C ek.ctx -i credential -o secret -P session:session; clean",
    ),
    (
        "activatecredential: refused without PolicySecret",
        "tpm2_startauthsession --policy-session -S session; refused a9d tpm2_activatecredential -c ak.ctx -C ek.ctx -i credential -o secret -P session:session; clean",
    ),
    (
        "quote, checkquote",
        "tpm2_quote -c ak.ctx -l sha256:0,1,2,16,23 -q 0123456789abcdef -m quote.msg -s quote.sig -o quote.pcrs -g sha256; clean; tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f quote.pcrs -g sha256 -q 0123456789abcdef",
    ),
    (
        "quote, checkquote: ECC",
        "tpm2_quote -c ak.ecc -l sha256:0,1,2 -q 00 -m ecc.msg -s ecc.sig -o ecc.pcrs -g sha256; clean; tpm2_checkquote -u ak.ecc.pem -m ecc.msg -s ecc.sig -f ecc.pcrs -g sha256 -q 00",
    ),
    (
        "checkquote: another nonce, another quote, other PCRs",
        "test -s quote.sig; test -s ecc.msg; not tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f quote.pcrs -g sha256 -q 00; not tpm2_checkquote -u ak.pem -m ecc.msg -s quote.sig -g sha256 -q 0123456789abcdef; not tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f ecc.pcrs -g sha256 -q 0123456789abcdef",
    ),
    (
        "certify",
        "tpm2_createprimary -C o -G ecc -c primary > primary.text; tpm2_certify -c primary -C ak.ctx -g sha256 -o certify.msg -s certify.sig; clean; test -s certify.msg; test -s certify.sig",
    ),
    (
        "sign, verifysignature",
        "tpm2_create -C primary -G ecc -u sign.pub -r sign.priv; tpm2_load -C primary -u sign.pub -r sign.priv -c sign.ctx; tpm2_sign -c sign.ctx -g sha256 -o signature random.1; tpm2_verifysignature -c sign.ctx -g sha256 -m random.1 -s signature; refused 2db tpm2_verifysignature -c sign.ctx -g sha256 -m random.2 -s signature; clean",
    ),
    (
        "sign: OpenSSL agrees",
        "tpm2_load -C primary -u sign.pub -r sign.priv -c sign.ctx; tpm2_readpublic -c sign.ctx -f pem -o sign.pem; tpm2_sign -c sign.ctx -g sha256 -f plain -o signature.plain random.1; clean; openssl dgst -sha256 -verify sign.pem -signature signature.plain random.1",
    ),
    (
        "hmac",
        "tpm2_create -C primary -G hmac -u hmac.pub -r hmac.priv; tpm2_load -C primary -u hmac.pub -r hmac.priv -c hmac.ctx; tpm2_hmac -c hmac.ctx --hex random.1 > got; test $(wc -c < got) = 64; clean",
    ),
    (
        "rsaencrypt, rsadecrypt",
        "tpm2_create -C primary -G rsa2048 -u rsa.pub -r rsa.priv; tpm2_load -C primary -u rsa.pub -r rsa.priv -c rsa.ctx; tpm2_rsaencrypt -c rsa.ctx -s oaep -o cipher random.1; tpm2_rsadecrypt -c rsa.ctx -s oaep -o plain cipher; cmp plain random.1; clean",
    ),
    (
        "create, load, unseal with a PCR policy",
        "tpm2_createpolicy --policy-pcr -l sha256:16,23 -L policy; clean; tpm2_create -C primary -L policy -i random.2 -u seal.pub -r seal.priv; tpm2_load -C primary -u seal.pub -r seal.priv -c seal.ctx; tpm2_unseal -c seal.ctx -p pcr:sha256:16,23 -o unsealed; cmp unsealed random.2; clean",
    ),
    (
        "unseal: refused after the PCR changed",
        "tpm2_pcrextend 23:sha256=0000000000000000000000000000000000000000000000000000000000000001; refused 99d tpm2_unseal -c seal.ctx -p pcr:sha256:16,23; clean",
    ),
    ("unseal: refused without the policy", "refused 12f tpm2_unseal -c seal.ctx; clean"),
    (
        "unseal: works again after the reset",
        "tpm2_pcrreset 23; tpm2_unseal -c seal.ctx -p pcr:sha256:16,23 -o unsealed; cmp unsealed random.2; clean",
    ),
    (
        "seal with a password, through an encrypting session",
        "tpm2_startauthsession --hmac-session -c primary -S session; tpm2_create -C primary -p 'correct horse' -i random.2 -u word.pub -r word.priv; tpm2_load -C primary -u word.pub -r word.priv -c word.ctx; tpm2_sessionconfig session --enable-encrypt; tpm2_unseal -c word.ctx -p 'session:session+correct horse' -o unsealed; cmp unsealed random.2; clean",
    ),
    ("seal with a password: refused with another", "refused 98e tpm2_unseal -c word.ctx -p battery; clean"),
    (
        "evictcontrol: a persistent key",
        "tpm2_evictcontrol -C o -c primary 0x81000001; tpm2_getcap handles-persistent | grep -qi 0x81000001; tpm2_readpublic -c 0x81000001 > public; tpm2_evictcontrol -C o -c 0x81000001; tpm2_getcap handles-persistent > persistent; not grep -qi 0x81000001 persistent; clean",
    ),
    (
        "nvdefine, nvwrite, nvread",
        "tpm2_nvdefine 0x1500016 -C o -s 32 -a 'ownerread|ownerwrite|authread|authwrite' -p index; tpm2_nvwrite 0x1500016 -C 0x1500016 -P index -i random.1; tpm2_nvread 0x1500016 -C o -s 32 -o read; cmp read random.1",
    ),
    ("nvread: refused with another password", "refused 98e tpm2_nvread 0x1500016 -C 0x1500016 -P other -s 32"),
    (
        "nvreadpublic, nvundefine",
        "tpm2_nvreadpublic 0x1500016 > public; grep -q 'size: 32' public; tpm2_nvundefine 0x1500016 -C o; refused 18b tpm2_nvreadpublic 0x1500016",
    ),
    (
        "nvincrement, nvextend",
        "tpm2_nvdefine 0x1500017 -C o -a 'ownerread|ownerwrite|nt=counter'; tpm2_nvincrement 0x1500017 -C o; tpm2_nvread 0x1500017 -C o -o count.1; tpm2_nvincrement 0x1500017 -C o; tpm2_nvread 0x1500017 -C o -o count.2; not cmp -s count.1 count.2; tpm2_nvundefine 0x1500017 -C o; tpm2_nvdefine 0x1500018 -C o -g sha256 -a 'ownerread|ownerwrite|nt=extend'; tpm2_nvextend 0x1500018 -C o -i random.1; tpm2_nvread 0x1500018 -C o -o read; (head -c 32 /dev/zero; cat random.1) | sha256sum | cut -c 1-64 > wanted; od -An -vtx1 read | tr -d ' \\n' > got; cmp -n 64 wanted got; tpm2_nvundefine 0x1500018 -C o",
    ),
    (
        "policyor, policycommandcode, policyauthvalue, policypassword",
        "tpm2_startauthsession -S trial; tpm2_policycommandcode -S trial -L cc TPM2_CC_Unseal; tpm2_flushcontext trial; tpm2_startauthsession -S trial; tpm2_policyauthvalue -S trial -L av; tpm2_flushcontext trial; tpm2_startauthsession -S trial; tpm2_policyor -S trial -L or sha256:cc,av; tpm2_flushcontext trial; tpm2_create -C primary -L or -i random.2 -u or.pub -r or.priv; tpm2_load -C primary -u or.pub -r or.priv -c or.ctx; tpm2_startauthsession --policy-session -S session; tpm2_policycommandcode -S session TPM2_CC_Unseal; tpm2_policyor -S session sha256:cc,av; tpm2_unseal -c or.ctx -p session:session -o unsealed; cmp unsealed random.2; clean",
    ),
    (
        "getekcertificate: RSA and ECC, which OpenSSL verifies by the certificate of their issuer",
        "tpm2_getekcertificate -o ek.der -o ek.ecc.der; tpm2_nvread 0x1c00100 -C o -o issuer.der; openssl x509 -inform der -in issuer.der -out issuer.pem; for which in ek ek.ecc; do openssl x509 -inform der -in $which.der -out $which.crt; openssl verify -CAfile issuer.pem $which.crt; done",
    ),
    (
        "getekcertificate: of the keys that createek makes",
        "tpm2_createek -G ecc -c ek.ecc -u ek.ecc.pem -f pem; clean; tpm2_createek -G rsa -c ek.ctx -u ek.pem -f pem; clean; for which in ek ek.ecc; do openssl x509 -in $which.crt -noout -pubkey > got; cmp got $which.pem; done",
    ),
    (
        "nvread: certificates of the high range, P-256, P-521 and RSA 3072, of the keys that their templates make",
        "high() { tpm2_nvread $1 -C o -o high.der; openssl x509 -inform der -in high.der -out high.crt; openssl verify -CAfile issuer.pem high.crt; openssl x509 -in high.crt -noout -pubkey > got; echo $4 | base64 -d > policy.b; tpm2_createprimary -C e -g sha$3 -G $2 -a 'fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|userwithauth|restricted|decrypt' -L policy.b -c high.ctx -f pem -o high.pem; clean; cmp got high.pem; }; high 0x1c00014 ecc256:null:aes128cfb 256 yj0KmaK5OQb3ozQkFO/Ps6OF1EzR/UWQidGbUHHAt6A=; high 0x1c00018 ecc521:null:aes256cfb 512 uCIcpp6FUKSRTeP6pqGMByzAEggHOpKNXWbVnveeSaQpxBprJpVx1X7bJfvbGDhCVgi0E81hal9ttbYHGvmb6g==; high 0x1c0001c rsa3072:null:aes256cfb 384 sm59KNEaULxT2IK89f06GgdBSLs107TkyxwK2b3kGcrLR7oJaZZGFQ+fwADz+A4S",
    ),
    (
        "nvread: the AK's certificate, of the key that its template makes",
        "tpm2_createprimary -C e -g sha256 -G ecc256:ecdsa-sha256:null -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign' -c ak.p256 -f pem -o ak.p256.pem; clean; tpm2_nvread 0x1c10002 -C o -o ak.der; openssl x509 -inform der -in ak.der -out ak.crt; openssl verify -CAfile issuer.pem ak.crt; openssl x509 -in ak.crt -noout -pubkey > got; cmp got ak.p256.pem",
    ),
    ("shutdown", "tpm2_shutdown -c"),
];

/// What every script begins with. Each tool flushes the objects that it leaves: three slots are soon full.
const PRELUDE: &str = "set -eu
clean() { command tpm2_flushcontext -t; command tpm2_flushcontext -l; command tpm2_flushcontext -s; }
for tool in activatecredential certify create createak createek createprimary evictcontrol hmac load quote readpublic rsadecrypt rsaencrypt sign \
    startauthsession unseal verifysignature; do
    eval \"tpm2_$tool() { local status=0; command tpm2_$tool \\\"\\$@\\\" || status=\\$?; command tpm2_flushcontext -t; return \\$status; }\"
done
refused() {
    code=$1
    shift
    if \"$@\" > refused.out 2>&1; then echo \"not refused: $*\"; return 1; fi
    grep -q \"ErrorCode (0x00000$code)\" refused.out || { cat refused.out; return 1; }
}
";

/// Serves a TPM at a local port as long as cases run, which are told where (`TPM2TOOLS_TCTI`).
pub type Serve = fn(SerialRelay<UnixStream>, &mut dyn FnMut(&str) -> Result<Totals>) -> Result<Totals>;

/// Boots, has the firmware's TPM served, and runs all cases.
pub fn run(built: &Built, serve: Serve) -> Result<Totals> {
    debian::ensure(&PROGRAMS)?;
    let mut qemu = boot::start(built, "")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let folder = Folder::new()?;
    serve(qemu.relay()?, &mut |tcti| {
        let port = tcti.rsplit('=').next().context("no port")?.parse()?;
        let mut totals = run_all(tcti, folder.path(), CASES);
        totals += case("the largest keys: a signature that the mailbox cannot hold is refused", largest_keys(port));
        totals += case(
            "commands that the mailbox cannot hold, or that lie about their size, are refused",
            refused_sizes(port),
        );
        totals += case("without a client nothing uses a processor", idle(&qemu));
        Ok(totals)
    })
}

/// Runs these cases in a folder.
pub(crate) fn run_all(tcti: &str, folder: &Path, cases: &[(&str, &str)]) -> Totals {
    let mut totals = Totals::default();
    for (name, script) in cases {
        totals += case(name, run_one(tcti, folder, script));
    }
    totals
}

/// The payload waits for its serial port's interrupt, the machine for the payload's.
fn idle(qemu: &Qemu) -> Result<()> {
    const WATCHED: Duration = Duration::from_secs(2);
    let before = qemu.cpu_time()?;
    thread::sleep(WATCHED);
    let used = qemu.cpu_time()?.saturating_sub(before);
    ensure!(used < WATCHED / 10, "QEMU has used {used:?} of a processor in {WATCHED:?}");
    Ok(())
}

/// A Hash-ML-DSA-87 key needs most of the firmware's stack, and its signature does not fit into the mailbox:
/// TPM_RC_COMMAND_SIZE, and the TPM goes on.
fn largest_keys(port: u16) -> Result<()> {
    const PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    const TEMPLATE: [u8; 16] = [0, 0xa2, 0, 0xb, 0, 4, 4, 0x72, 0, 0, 0, 3, 0, 0xb, 0, 0];
    let (owner, create_primary, sign_digest) = (0x4000_0001u32, 0x131u32, 0x1a6u32);
    let sensitive = [0, 4, 0, 0, 0, 0, 0, 16];
    let create = [&owner.to_be_bytes()[..], &PASSWORD, &sensitive, &TEMPLATE, &[0; 6]].concat();
    let created = send(port, create_primary, &create)?;
    ensure!(created.get(6..10) == Some(&[0; 4]), "TPM2_CreatePrimary: {created:02x?}");
    let key = created.get(10..14).context("a response without handle")?;
    let digest = [&[0, 0, 0, 32][..], &[7; 32]].concat();
    let sign = [key, &PASSWORD, &digest, &[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]].concat();
    let signed = send(port, sign_digest, &sign)?;
    ensure!(signed.get(6..10) == Some(&[0, 0, 1, 0x42]), "TPM2_SignDigest: {:02x?}", signed.get(..10));
    let again = send(port, create_primary, &create)?;
    ensure!(again.get(6..10) == Some(&[0; 4]), "afterwards: {again:02x?}");
    Ok(())
}

/// TPM_RC_COMMAND_SIZE on one connection, which goes on.
fn refused_sizes(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut say = |size: u32, length: usize, code: u16| -> Result<()> {
        let mut command = [&[0x80, 1][..], &size.to_be_bytes(), &[0, 0, 1, 0x7b, 0, 8]].concat();
        command.resize(length, 0);
        stream.write_all(&command)?;
        let mut response = [0; 10];
        stream.read_exact(&mut response)?;
        ensure!(response[8..] == code.to_be_bytes(), "{length} octets that say {size}: {response:02x?}");
        let rest = u32::from_be_bytes(response[2..6].try_into()?) - 10;
        stream.read_exact(&mut vec![0; rest.try_into()?]).context("the rest of the response")
    };
    for size in [4088, 4096, 8192, 8193] {
        say(size, size.try_into()?, 0x142)?;
    }
    say(9, 10, 0x142)?;
    say(12, 12, 0)
}

/// One command with sessions, and its response.
fn send(port: u16, code: u32, body: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let size = u32::try_from(10 + body.len())?;
    stream.write_all(&[&[0x80, 2][..], &size.to_be_bytes(), &code.to_be_bytes(), body].concat())?;
    let mut response = vec![0; 10];
    stream.read_exact(&mut response)?;
    let size: [u8; 4] = response[2..6].try_into()?;
    response.resize(u32::from_be_bytes(size).try_into()?, 0);
    stream.read_exact(&mut response[10..])?;
    Ok(response)
}

fn run_one(tcti: &str, folder: &Path, script: &str) -> Result<()> {
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("{PRELUDE}{NOT}{script}")).current_dir(folder);
    let output = command.env("TPM2TOOLS_TCTI", tcti).env("TSS2_LOG", "all+ERROR").output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{}\n{script}\n{}", output.status, String::from_utf8_lossy(&said));
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{CASES, PRELUDE};
    use host::shell::negates;
    use std::process::Command;

    pub(crate) fn are_scripts(cases: &[(&str, &str)]) {
        for (name, script) in cases {
            let checked = Command::new("bash").args(["-n", "-c", &format!("{PRELUDE}{script}")]).status().unwrap();
            assert!(checked.success() && !negates(script), "{name}");
        }
    }

    #[test]
    fn every_script_is_a_script() {
        are_scripts(CASES);
    }

    /// What the issue asks of the tools.
    #[test]
    fn every_tool_that_is_promised_is_used() {
        let tools = [
            "getcap",
            "getrandom",
            "pcrread",
            "pcrextend",
            "createek",
            "createak",
            "activatecredential",
            "quote",
            "checkquote",
            "create",
            "load",
            "unseal",
            "nvdefine",
            "nvwrite",
            "nvread",
            "readpublic",
        ];
        for tool in tools {
            let call = format!("tpm2_{tool} ");
            assert!(CASES.iter().any(|(_, script)| script.contains(&call)), "{tool}");
        }
    }
}
