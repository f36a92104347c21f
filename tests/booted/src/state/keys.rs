//! Who has not the key of a state: another measurement, a debug policy, a TCB that is not committed, another chip, and
//! the guest with its own key to the secure processor. Each also where the disk's head says that it is its own.

use super::inside::{self, Octets};
use super::{ended, start, started};
use crate::{Totals, case};
use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use host::boot::Built;
use host::build;
use host::image::Image;
use host::psp::Identity;
use host::relay::Relay;
use igvm::{IgvmFile, IgvmInitializationHeader, IgvmRevision};
use quoin_image::elf::Elf;
use sealed::keys::{FIELDS, chip_request};
use sealed::{Mismatch, Refusal, Writer};
use sha2::{Digest, Sha256};
use snp::Page;
use snp::message::key::{KeyRequest, RootKey};
use snp::message::{Channel, Exit, MessageError, Transport};
use snp::rmp::Vmpl;
use snp::secrets::Secrets;
use std::path::{Path, PathBuf};

/// POLICY's bit by which the host may read and change the guest.
const DEBUG: u64 = 1 << 19;
/// INVALID_PARAM of the SNP firmware ABI.
const INVALID_PARAM: u32 = 0x16;
/// Where the heads are, and where a head has what was seen of its writer (docs/persistence.md, "Head").
const HEADS: [usize; 2] = [2048 * 512, 4096 * 512];
const MEASUREMENT: usize = 0x58;
const POLICY: usize = 0x88;
const TCB: usize = 0x90;
const DIGEST: usize = 0x1e0;

/// On copies of a disk with a state of `built`; `other` is an image of another measurement.
pub(super) fn run(built: &Built, other: &Built, disk: &Path, folder: &Path) -> Result<Totals> {
    let mut totals = Totals::default();
    let ours = Identity::development();
    let debug = with_policy(built, built.image.launch.policy | DEBUG)?;
    ensure!(debug.image.launch.digest == built.image.launch.digest, "the policy is in the launch digest");
    let mut older = Identity::development();
    older.tcb.snp -= 1;
    let mut chip = Identity::development();
    chip.vcek_scalar[47] ^= 1;
    let policy = debug.image.launch.policy.to_le_bytes();
    let tcb = older.tcb.to_bytes();
    for (name, built, psp, says, at, forged) in [
        ("another measurement", other, &ours, "launch measurement", MEASUREMENT, &other.image.launch.digest[..]),
        ("a policy with debugging", &debug, &ours, "another guest policy", POLICY, &policy),
        ("a TCB that is not committed", built, &older, "has not committed", TCB, &tcb),
    ] {
        let refused = |disk: PathBuf, says| ended(start(built, Some(&disk), psp)?, built, 25, says);
        let seen = copy(disk, folder, |_| {}).and_then(|disk| refused(disk, says));
        totals += case(&format!("{name}: the boot ends, and says so"), seen);
        let lie = copy(disk, folder, |octets| HEADS.iter().for_each(|head| forge(&mut octets[*head..], at, forged)));
        let told = lie.and_then(|disk| refused(disk, "no key here opens it"));
        totals += case(&format!("{name}, and a head that says that it is its own: no key opens it"), told);
    }
    let refused = ended(start(built, Some(disk), &chip)?, built, 25, "no key here opens it");
    totals += case("another chip: no key opens it", refused);
    let ours = (inside::writer(built), ours);
    let theirs = [
        ("measurement", inside::writer(other), Identity::development()),
        ("policy", inside::writer(&debug), Identity::development()),
        ("TCB", Writer { tcb: u64::from_le_bytes(tcb), ..inside::writer(built) }, older),
        ("chip", inside::writer(built), chip),
    ];
    totals += case("nor do their keys, if they do not look at the head", by_their_keys(disk, &ours, &theirs));
    totals += case("VMPL2 with VMPCK2 has another key, and none of VMPL0's", by_the_guest(built, disk, folder));
    Ok(totals)
}

/// A firmware that passes over what it sees has still the key that the secure processor gives it. That the firmware's
/// own is made so is what the one that opens shows.
fn by_their_keys(disk: &Path, (writer, psp): &(Writer, Identity), theirs: &[(&str, Writer, Identity)]) -> Result<()> {
    let mut octets = Octets(fs::read(disk)?);
    opens(&mut octets, writer, inside::chip_key(psp, 0, writer), true)?;
    for (name, other, psp) in theirs {
        let key = inside::chip_key(psp, 0, other);
        opens(&mut octets, writer, key, false).with_context(|| format!("another {name}"))?;
    }
    Ok(())
}

/// Another disk with what `change` makes of its octets.
fn copy(disk: &Path, folder: &Path, change: impl FnOnce(&mut [u8])) -> Result<PathBuf> {
    let (path, mut octets) = (folder.join("keys.disk"), fs::read(disk)?);
    change(&mut octets);
    fs::write(&path, octets)?;
    Ok(path)
}

/// Changes what a head says of its writer, and makes its digest fit.
fn forge(head: &mut [u8], at: usize, octets: &[u8]) {
    head[at..at + octets.len()].copy_from_slice(octets);
    let digest = Sha256::digest(&head[..DIGEST]);
    head[DIGEST..DIGEST + 32].copy_from_slice(&digest);
}

/// The same image, to be launched under another policy.
fn with_policy(built: &Built, policy: u64) -> Result<Built> {
    let file = IgvmFile::new_from_binary(&built.image.bytes, None).context("the image is no IGVM file")?;
    let mut headers = file.initializations().to_vec();
    for header in &mut headers {
        if let IgvmInitializationHeader::GuestPolicy { policy: known, .. } = header {
            *known = policy;
        }
    }
    let (platforms, directives) = (file.platforms().to_vec(), file.directives().to_vec());
    let mut bytes = Vec::new();
    IgvmFile::new(IgvmRevision::V1, platforms, headers, directives)?.serialize(&mut bytes)?;
    let path = built.path.with_extension("debug.igvm");
    fs::write(&path, &bytes)?;
    Ok(Built { machine: built.machine.clone(), image: Image::new(bytes)?, path })
}

/// The guest's way to the secure processor: what is encrypted here goes through its pages.
struct Guest<'a>(&'a mut dyn Relay);

impl Transport for Guest<'_> {
    fn exchange(&mut self, request: &[u8], _certificates: bool, answer: &mut Page) -> Exit {
        match self.0.guest_message(request) {
            Ok((0, page)) if page.len() == answer.len() => {
                answer.copy_from_slice(&page);
                Exit::Completed
            }
            _ => Exit::Failed,
        }
    }
}

/// The guest finds VMPCK2 in its secrets page, and asks with it for all that the firmware asks for.
fn by_the_guest(built: &Built, disk: &Path, folder: &Path) -> Result<()> {
    let disk = copy(disk, folder, |_| {})?;
    let (_qemu, mut relay) = started(built, Some(&disk))?;
    let gpa = Elf::read(&build::build(build::IMAGE_AND_MACHINE)?.guest())?.page("__secrets_page")?;
    let page = relay.read(gpa, 4096)?;
    let mut page: Page = page.try_into().ok().context("a part of a page")?;
    let secrets = Secrets::from_page(&mut page);
    for vmpl in [Vmpl::Vmpl0, Vmpl::Vmpl1] {
        ensure!(secrets.take_vmpck(vmpl).is_none(), "the guest has VMPCK{}", vmpl.number());
    }
    let mut channel = Channel::new(secrets.take_vmpck(Vmpl::Vmpl2).context("the guest has no VMPCK2")?, 0);
    let writer = inside::writer(built);
    let mut ask = |vmpl: Vmpl| {
        let tcb_version = chip_request(writer.tcb).tcb_version;
        let request = KeyRequest { tcb_version, ..KeyRequest::new(RootKey::Vcek, FIELDS, vmpl) };
        channel.derived_key(&mut Guest(&mut relay), &request)
    };
    for vmpl in [Vmpl::Vmpl0, Vmpl::Vmpl1] {
        match ask(vmpl) {
            Err(MessageError::Status(INVALID_PARAM)) => {}
            Err(why) => bail!("a key of VMPL{} is refused by {why}", vmpl.number()),
            Ok(_) => bail!("the guest has got a key of VMPL{}", vmpl.number()),
        }
    }
    let psp = Identity::development();
    let mut octets = Octets(fs::read(&disk)?);
    for (vmpl, number) in [(Vmpl::Vmpl2, 2), (Vmpl::Vmpl3, 3)] {
        let key = *ask(vmpl)?.as_bytes();
        ensure!(key == inside::chip_key(&psp, number, &writer), "the key of VMPL{number} is made of something else");
        opens(&mut octets, &writer, key, false).with_context(|| format!("the key of VMPL{number}"))?;
    }
    // So the disk is one that opens, and that key is what it lacks.
    opens(&mut octets, &writer, inside::chip_key(&psp, 0, &writer), true).context("the key of VMPL0")
}

fn opens(octets: &mut Octets, writer: &Writer, key: [u8; 32], expected: bool) -> Result<()> {
    match (inside::open(octets, writer, key), expected) {
        (Ok(record), true) if record.state.is_some() => Ok(()),
        (Err(Refusal::NotOurs(Mismatch::Key)), false) => Ok(()),
        (Err(why), _) => bail!("{why}"),
        (Ok(_), _) => bail!("it opens the state"),
    }
}

#[cfg(test)]
mod tests {
    use super::{DIGEST, POLICY, forge};
    use sha2::{Digest, Sha256};

    #[test]
    fn a_forged_head_has_a_digest_that_fits() {
        let mut head = [0; 512];
        forge(&mut head, POLICY, &[5; 8]);
        assert_eq!(head[POLICY..POLICY + 8], [5; 8]);
        assert_eq!(head[DIGEST..], Sha256::digest(&head[..DIGEST])[..]);
    }
}
