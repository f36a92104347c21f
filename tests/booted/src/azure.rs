//! A vTPM as Azure's: what guests of its confidential VMs do with it, by tpm2-tools, and what the verifier says.

pub mod client;
pub mod guest;

use super::tools::{self, Serve};
use super::{Totals, case};
use anyhow::{Result, ensure};
use host::boot;
use host::debian;
use host::devices::{self, FileDisk};
use host::psp::Identity;
use host::qemu::Folder;
use quoin_image::state::Wanted;
use quoin_verify::evidence::folder::Kind;
use quoin_verify::input::certificates::complete;
use quoin_verify::tcti::gather::{Request, gather};
use quoin_verify::tcti::open;
use quoin_verify::verdict::Verdict;
use quoin_verify::{Expectations, Step};

/// As those of [`tools`].
const CASES: &[(&str, &str)] = &[
    (
        "nvread: the attestation report, by the owner",
        "tpm2_nvread -C o 0x01400001 -o report; test $(stat -c %s report) = 2900; test \"$(head -c 4 report)\" = HCLA; od -An -tu4 -j4 -N4 report | grep -qw 2; grep -aq '\"kid\":\"HCLAkPub\"' report",
    ),
    (
        "nvread: the report is over SHA-256 of the claims",
        "size=$(od -An -tu4 -j1232 -N4 report | tr -d ' '); tail -c +1237 report | head -c $size | sha256sum | cut -c 1-64 > wanted; od -An -vtx1 -j112 -N32 report | tr -d ' \\n' > got; cmp -n 64 wanted got",
    ),
    (
        "nvdefine, nvwrite: user data are in the next report",
        "echo -n challenge > data; tpm2_nvdefine -C o 0x01400002 -s 64 -a 'ownerread|ownerwrite'; tpm2_nvwrite -C o 0x01400002 -i data; tpm2_nvread -C o 0x01400001 -o other; not cmp -s report other; grep -aq \"\\\"user-data\\\":\\\"$(od -An -vtx1 data | tr -d ' \\n')\" other",
    ),
    (
        "quote: by the attestation key, which the claims name",
        "tpm2_readpublic -c 0x81000003 -f pem -o ak.pem; tpm2_quote -c 0x81000003 -l sha256:0,1,23 -q 00ff -m quote.msg -s quote.sig -o quote.pcrs -g sha256; clean; tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f quote.pcrs -g sha256 -q 00ff",
    ),
    (
        "nvread: the attestation key's certificate",
        "tpm2_nvread -C o 0x01C101D0 -o ak.der; tpm2_nvread 0x1c00100 -C o -o issuer.der; openssl x509 -inform der -in issuer.der -out issuer.pem; openssl x509 -inform der -in ak.der -out ak.crt; openssl verify -CAfile issuer.pem ak.crt; openssl x509 -in ak.crt -noout -pubkey > got; cmp got ak.pem",
    ),
    ("clear, changeeps: the platform hierarchy is closed", "refused 185 tpm2_clear -c p; refused 185 tpm2_changeeps"),
    (
        "changeauth: a guest that owns the TPM has its user data in the report all the same",
        "echo -n answer > data; tpm2_nvwrite -C o 0x01400002 -i data; tpm2_changeauth -c o secret; tpm2_nvread -C o -P secret 0x01400001 -o owned; grep -aq \"\\\"user-data\\\":\\\"$(od -An -vtx1 data | tr -d ' \\n')\" owned; tpm2_changeauth -c o -p secret",
    ),
];

/// With a state that outlives the VM, in the first boot.
const FIRST: &[(&str, &str)] = &[(
    "a kept state: a key of the guest's at the attestation key's handle, an index, and an owner's password",
    "tpm2_readpublic -c 0x81000003 -n ak.1; printf lasting. > nv; tpm2_nvdefine 0x1500016 -s 8 -a 'authread|authwrite'; tpm2_nvwrite 0x1500016 -C 0x1500016 -i nv; tpm2_evictcontrol -C o -c 0x81000003; tpm2_createprimary -C o -G ecc -c own; tpm2_evictcontrol -C o -c own 0x81000003; tpm2_readpublic -c 0x81000003 -n own.1; not cmp -s ak.1 own.1; tpm2_changeauth -c o secret; tpm2_changeauth -c e secret; tpm2_flushcontext -t",
)];

/// In the next.
const NEXT: &[(&str, &str)] = &[(
    "a kept state: the boot's attestation key is in its place again, and the rest is as it was",
    "tpm2_readpublic -c 0x81000003 -n ak.2; cmp ak.1 ak.2; tpm2_nvread 0x1500016 -C 0x1500016 -s 8 -o nv.2; cmp nv nv.2; refused 9a2 tpm2_changeauth -c o; tpm2_nvread -C o -P secret 0x01400001 -o report; grep -aq '\"tpm-persisted\":true' report",
)];

/// Boots an image of the personality, and runs all cases.
pub fn run(serve: Serve) -> Result<Totals> {
    debian::ensure(&tools::PROGRAMS)?;
    let built = boot::build_azure()?;
    let mut qemu = boot::start(&built, "")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let folder = Folder::new()?;
    let expectations = built.expectations()?;
    let mut totals = serve(qemu.relay()?, &mut |tcti| {
        let mut totals = tools::run_all(tcti, folder.path(), CASES);
        totals += case("quoin-verify --tcti: report, claims, AK, quote", verified(tcti, &expectations));
        Ok(totals)
    })?;
    drop(qemu);
    totals += kept(serve)?;
    Ok(totals)
}

/// Two boots with one disk.
fn kept(serve: Serve) -> Result<Totals> {
    let built = boot::build_azure_kept(&devices::setting(Wanted::Required))?;
    let folder = Folder::new()?;
    let disk = folder.path().join("state.disk");
    FileDisk::prepare(&disk)?;
    let options = [devices::memory(), devices::disk(&disk)].concat();
    let mut totals = Totals::default();
    for cases in [FIRST, NEXT] {
        let mut qemu = boot::start_with(&built, devices::CONFIG, boot::MEMORY_MIB, &options)?;
        boot::wait_for_guest(&mut qemu, &built.image, false)?;
        totals += serve(qemu.relay()?, &mut |tcti| Ok(tools::run_all(tcti, folder.path(), cases)))?;
    }
    Ok(totals)
}

fn verified(tcti: &str, expectations: &Expectations) -> Result<()> {
    let mut evidence = gather(&mut *open(tcti)?, Request::default())?;
    ensure!(evidence.kind == Kind::Azure, "{:?}", evidence.kind);
    let Identity { ark, ask, vcek, .. } = Identity::development();
    complete(&mut evidence, &[vcek, ask, ark])?;
    let verdict = Verdict::of(&evidence, expectations);
    ensure!(verdict.status() == 0, "{:?}", verdict.failed());
    evidence.claims[100] ^= 1;
    let status = Verdict::of(&evidence, expectations).status();
    ensure!(status == Step::ReportData.status(), "with other claims the status is {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{CASES, FIRST, NEXT};

    #[test]
    fn every_script_is_a_script() {
        [CASES, FIRST, NEXT].into_iter().for_each(crate::tools::tests::are_scripts);
    }
}
