//! Images that know of each other, and machines that boot them, each with a relay to the firmware.

use anyhow::{Context, Result, bail, ensure};
use client::session::Transport;
use core::time::Duration;
use host::boot::{self, Built};
use host::collect::{VTPM_GUID, random};
use host::devices::{self, Programs};
use host::psp::Identity;
use host::qemu::{Event, Qemu, Settings as Machines, Source, Turns};
use host::relay::{AttestCall, Relay, SerialRelay};
use migration::chain::{self, DEVELOPMENT};
use migration::{Grant, Terms, Testimony};
use quoin_image::settings::{Setting, Settings};
use quoin_image::state::{Place, State, Wanted};
use quoin_verify::chip::{ARK_GUID, ASK_GUID, VCEK_GUID, certificate};
use sha2::{Digest, Sha512};
use snp::report::{REPORT_SIZE, Report};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;
use tpm_crypto::ecc::{Curve, Scalar};

/// How long a firmware may take for a line.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who owns the state of all these images.
pub(super) struct Owner {
    secret: Scalar,
    public: [u8; 96],
}

impl Owner {
    /// With a key that is the same in every run: so are the images.
    pub(super) fn new() -> Result<Self> {
        let (secret, point) = Curve::NistP384.generate(&mut moves::Seeded::new("owner")).context("no key")?;
        let both = [point.x().as_slice(), point.y().as_slice()].concat();
        Ok(Self { secret, public: both.try_into().ok().context("no point of P-384")? })
    }

    /// Its word that `to` may follow `from`, for any TPM and epoch.
    pub(super) fn grant(&self, from: &Built, to: &Built) -> Result<Vec<u8>> {
        let [from, to] = [from, to].map(|built| built.image.launch.digest);
        let grant = Grant { identity: [0; 32], from, to, until: u64::MAX, signature: [0; 96] };
        let signed = grant.sign(self.secret.as_slice(), &mut moves::Seeded::new("grant"));
        Ok(signed.context("no signature")?.octets().to_vec())
    }
}

/// The images.
pub(super) struct Images {
    /// Whose the state is.
    pub(super) owner: Owner,
    /// The one that makes the TPM. It names the owner.
    pub(super) old: Built,
    /// The next one: it names the old one as its predecessor, makes no TPM, and follows itself on another chip.
    pub(super) new: Built,
}

impl Images {
    /// Builds them.
    pub(super) fn build() -> Result<Self> {
        let owner = Owner::new()?;
        let old = image("moving-old.igvm", true, &old_terms(&owner))?;
        let new = image("moving-new.igvm", true, &new_terms(&owner, &old))?;
        Ok(Self { owner, old, new })
    }

    /// With vTPMs as Azure's.
    pub(super) fn build_azure() -> Result<Self> {
        let owner = Owner::new()?;
        let image = |name: &str, terms: &Terms| {
            boot::build_azure_with_settings(name, settings(Settings::default(), &state(true), terms)?)
        };
        let old = image("moving-azure-old.igvm", &old_terms(&owner))?;
        let new = image("moving-azure-new.igvm", &new_terms(&owner, &old))?;
        Ok(Self { owner, old, new })
    }

    /// The same with anchors.
    pub(super) fn build_with(name: &str, state: &State) -> Result<Self> {
        let owner = Owner::new()?;
        let old = image_of(&format!("moving-{name}-old.igvm"), state, &old_terms(&owner))?;
        let new = image_of(&format!("moving-{name}-new.igvm"), state, &new_terms(&owner, &old))?;
        Ok(Self { owner, old, new })
    }
}

/// What the old image says.
pub(super) fn old_terms(owner: &Owner) -> Terms {
    Terms { development_root: true, owner: Some(owner.public), ..Terms::default() }
}

/// What the new one says.
pub(super) fn new_terms(owner: &Owner, old: &Built) -> Terms {
    Terms { receives: true, itself: true, predecessors: vec![old.image.launch.digest], ..old_terms(owner) }
}

/// An image with a console, and a disk or none.
pub(super) fn image(name: &str, kept: bool, terms: &Terms) -> Result<Built> {
    image_of(name, &state(kept), terms)
}

/// The setting of its state.
pub(super) fn state(kept: bool) -> State {
    State { disk: kept.then_some((Wanted::Required, Place::Pci(devices::DISK, 0))), ..devices::console() }
}

fn image_of(name: &str, state: &State, terms: &Terms) -> Result<Built> {
    boot::build_with_settings(name, settings(Settings::default(), state, terms)?)
}

/// What such an image is set to.
pub(super) fn settings(others: Settings, state: &State, terms: &Terms) -> Result<Settings> {
    let terms = terms.octets().context("these terms have no octets")?;
    Ok(others.with(Setting::State, &state.octets()).with(Setting::Successors, &terms))
}

/// A firmware that runs.
pub(super) struct Machine {
    /// The machine.
    pub(super) qemu: Qemu,
    /// The programs' end of its console.
    pub(super) programs: Programs,
    /// The payload, once it has greeted.
    pub(super) relay: Option<SerialRelay<UnixStream>>,
    said: Vec<String>,
}

impl Machine {
    /// Starts an image on a chip; `config` are further lines of the machine's configuration.
    pub(super) fn start(built: &Built, chip: &Identity, disk: Option<&Path>, config: &str) -> Result<Self> {
        Self::start_by(Programs::new()?, built, chip, disk, config)
    }

    /// The same with this end of its console.
    pub(super) fn start_by(
        programs: Programs,
        built: &Built,
        chip: &Identity,
        disk: Option<&Path>,
        config: &str,
    ) -> Result<Self> {
        let mut options = [devices::memory(), programs.options()].concat();
        options.extend(disk.map_or_else(Vec::new, devices::disk));
        let qemu = Qemu::start(&Machines {
            machine: &built.machine,
            image: &built.image.bytes,
            psp: &chip.fw_cfg_bundle(),
            config: &format!("{}\n{config}", devices::CONFIG),
            memory_mib: boot::MEMORY_MIB,
            processors: 1,
            turns: Turns::InOneThread,
            options: &options,
        })?;
        Ok(Self { qemu, programs, relay: None, said: Vec::new() })
    }

    /// Until the firmware says this; the whole line.
    pub(super) fn wait_for(&mut self, words: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Some(Event { source, line, .. }) = self.qemu.next_event(Duration::from_millis(100)) else {
                ensure!(!self.qemu.has_ended()?, "{}", boot::last_words(&mut self.qemu));
                continue;
            };
            self.said.push(line.clone());
            if source == Source::Firmware && line.contains(words) {
                return Ok(line);
            }
            if line.starts_with("quoin: fatal") || line.starts_with("machine: STOP") {
                bail!("before `{words}`: {line}\n{}", boot::last_words(&mut self.qemu));
            }
        }
        bail!("the firmware does not say `{words}`:\n{}", self.qemu.last_lines())
    }

    /// Whether the firmware has said this so far.
    pub(super) fn has_said(&mut self, words: &str) -> bool {
        while let Some(event) = self.qemu.next_event(Duration::from_millis(50)) {
            self.said.push(event.line);
        }
        self.said.iter().any(|line| line.contains(words))
    }

    /// Waits for the payload.
    pub(super) fn payload(&mut self) -> Result<&mut SerialRelay<UnixStream>> {
        if self.relay.is_none() {
            self.wait_for("quoin: guest")?;
            self.relay = Some(self.qemu.relay()?);
        }
        self.relay.as_mut().context("no payload")
    }

    /// The same, with a TPM that has been started.
    pub(super) fn started(built: &Built, chip: &Identity, disk: Option<&Path>, config: &str) -> Result<Self> {
        let mut machine = Self::start(built, chip, disk, config)?;
        machine.start_tpm()?;
        Ok(machine)
    }

    /// Starts the TPM.
    pub(super) fn start_tpm(&mut self) -> Result<()> {
        let code = self.code(STARTUP)?;
        ensure!(code == SUCCESS, "TPM2_Startup: {code:#x}");
        Ok(())
    }

    /// The boot ends with this code.
    pub(super) fn ends(&mut self, code: u8) -> Result<String> {
        match self.wait_for("quoin: guest") {
            Ok(_) => bail!("the guest has started"),
            Err(why) => {
                let said = format!("{why:#}");
                ensure!(said.contains(&format!("(code {code})")), "{said}");
                Ok(said)
            }
        }
    }

    /// The response code of a command.
    pub(super) fn code(&mut self, command: &[u8]) -> Result<u32> {
        Ok(client::command::response_code(&self.payload()?.tpm(command)?))
    }
}

/// TPM2_Startup(CLEAR).
pub(super) const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
/// TPM2_GetRandom of one octet.
pub(super) const GET_RANDOM: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 1];
/// Response codes.
pub(super) const SUCCESS: u32 = 0;
/// TPM_RC_FAILURE: what one says that has moved.
pub(super) const FAILURE: u32 = 0x101;

/// What is attested of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attested {
    /// The keys, as the manifest lists them.
    pub(super) keys: Vec<u8>,
    /// The TPM's identity.
    pub(super) identity: [u8; 32],
    /// The epoch of its state.
    pub(super) epoch: u64,
    /// Flags of the state.
    pub(super) flags: u32,
    /// Where it came from.
    pub(super) origin: [u8; 32],
}

/// A manifest of version 2, by a report of this image on this chip that verifies up to the development root.
pub(super) fn attested(machine: &mut Machine, built: &Built, chip: &Identity) -> Result<Attested> {
    let nonce = random::<64>()?;
    let answer = machine.payload()?.attest(AttestCall::Single(VTPM_GUID), 2, &nonce)?;
    ensure!(answer.rax == 0, "no manifest of version 2: {:#x}", answer.rax);
    let octets: [u8; REPORT_SIZE] = answer.report[..].try_into().context("no report")?;
    let report = Report::parse(&octets).context("no report")?;
    let der = |guid| certificate(&answer.certificates, guid).map(<[u8]>::to_vec);
    let testimony = Testimony { report, vcek: der(VCEK_GUID)?, ask: der(ASK_GUID)?, ark: der(ARK_GUID)? };
    chain::verify(&testimony, &[DEVELOPMENT]).context("the report does not verify")?;
    let data: [u8; 64] = Sha512::digest([&nonce[..], &answer.manifest].concat()).into();
    ensure!(report.report_data == data, "the report is not over the manifest");
    ensure!(report.measurement == built.image.launch.digest, "the report is of another image");
    ensure!(report.chip_id == chip.chip_id && report.vmpl.get() == 0, "the report is of another chip, or VMPL");
    let (keys, kept) = answer.manifest.split_last_chunk::<140>().context("a manifest that is too short")?;
    Ok(Attested {
        keys: keys.to_vec(),
        identity: kept[..32].try_into()?,
        epoch: u64::from_be_bytes(kept[32..40].try_into()?),
        flags: u32::from_be_bytes(kept[104..108].try_into()?),
        origin: kept[108..].try_into()?,
    })
}

/// A TPM, as the client's sessions want it.
pub(super) struct Client<'a>(pub &'a mut SerialRelay<UnixStream>);

impl Transport for Client<'_> {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        self.0.tpm(request).unwrap_or_default()
    }
}
