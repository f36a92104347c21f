//! `quoin-tpm setup`: a new TPM for a virtual machine, with the options of swtpm_setup as libvirt calls it.
//!
//! A link named swtpm_setup to the program is the same. What libvirt (qemu_tpm.c) and swtpm's manual page say of these
//! options is restated here; of what they print, libvirt reads the features.

use crate::engine::Engine;
use crate::provision::{AuthorityArgs, KeyPlace, Order};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::{env, fs};
use tpm_codes::AlgId;
use tpm_core::profile::{PCR_BANKS, PROFILE};
use tpm_ports::logging::{self, LevelFilter};

/// Make a TPM for a virtual machine, with swtpm_setup's options: libvirt calls it so, by a link of that name.
///
/// The folder is that of `quoin-tpm --state`. The CA, if none is named: /etc/quoin-tpm/ca.pem with its key in
/// ca-key.pem, or in a token whose PKCS #11 URI is the only line of ca-key.uri; or else a development CA in
/// quoin-tpm/development-ca below $XDG_CONFIG_HOME or ~/.config. Certificates are those of RSA, P-256 and P-384
/// endorsement keys, of the attestation key and of the device identity; all these keys become persistent. No platform
/// certificate is made.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the TPM; `dir://` may be in front of it.
    #[arg(long, alias = "tpmstate", value_name = "DIR", value_parser = folder, required_unless_present = "print_capabilities")]
    tpm_state: Option<PathBuf>,
    /// A TPM 2.0, which must be asked for: there is no other.
    #[arg(long)]
    tpm2: bool,
    /// Make endorsement keys persistent.
    #[arg(long)]
    createek: bool,
    /// Make their certificates, too.
    #[arg(long)]
    create_ek_cert: bool,
    /// Taken, but there is none: a warning says so.
    #[arg(long)]
    create_platform_cert: bool,
    /// Lock the NV Indices of certificates.
    #[arg(long)]
    lock_nvram: bool,
    /// If there is a TPM in the folder, leave it and end with status 0.
    #[arg(long, conflicts_with_all = ["overwrite", "reconfigure"])]
    not_overwrite: bool,
    /// If there is a TPM in the folder, put another in its place.
    #[arg(long, conflicts_with = "reconfigure")]
    overwrite: bool,
    /// Only allocate PCR banks, in the TPM that is there.
    #[arg(long)]
    reconfigure: bool,
    /// The common name in certificates of endorsement keys.
    #[arg(long, value_name = "NAME")]
    vmid: Option<String>,
    /// Where messages are written [default: standard error].
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
    /// PCR banks that are allocated, with commas between: sha1, sha256, sha384, sha512, sm3-256. `-` leaves them.
    #[arg(long, value_name = "BANKS", default_value = "sha256", value_parser = banks)]
    pcr_banks: Banks,
    /// Bits of the RSA endorsement key.
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = ["2048", "3072", "4096"])]
    rsa_keysize: String,
    /// Print what this program can do, as swtpm_setup does, and end.
    #[arg(long)]
    print_capabilities: bool,
    /// Taken and not read: it is about swtpm's programs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long, hide = true)]
    keyfile: Option<String>,
    #[arg(long, hide = true)]
    keyfile_fd: Option<String>,
    #[arg(long, hide = true)]
    pwdfile: Option<String>,
    #[arg(long, hide = true)]
    pwdfile_fd: Option<String>,
    #[arg(long, hide = true)]
    cipher: Option<String>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// None are those that there are.
#[derive(Debug, Clone)]
struct Banks(Option<Vec<AlgId>>);

fn folder(text: &str) -> Result<PathBuf> {
    ensure!(!text.starts_with("file://"), "a TPM is kept in a folder, not in a file");
    Ok(text.strip_prefix("dir://").unwrap_or(text).into())
}

fn banks(text: &str) -> Result<Banks> {
    const NAMES: [(&str, AlgId); 5] = [
        ("sha1", AlgId::SHA1),
        ("sha256", AlgId::SHA256),
        ("sha384", AlgId::SHA384),
        ("sha512", AlgId::SHA512),
        ("sm3-256", AlgId::SM3),
    ];
    if text == "-" {
        return Ok(Banks(None));
    }
    let bank = |name: &str| {
        let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, bank)| *bank);
        let bank = known.filter(|bank| bank.on().is_some() && PCR_BANKS.contains(bank));
        bank.with_context(|| format!("the profile {} has no PCR bank {name}", PROFILE.name))
    };
    Ok(Banks(Some(text.split(',').map(bank).collect::<Result<_>>()?)))
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.print_capabilities {
        println!("{}", capabilities());
        return Ok(());
    }
    logging::start(LevelFilter::Info, args.logfile.as_deref())?;
    let done = set_up(args);
    // libvirt names that file when this has failed.
    if let (Err(error), Some(_)) = (&done, &args.logfile) {
        log::error!("{error:#}");
    }
    done
}

/// What libvirt looks for. It may not name what is refused: cmdarg-pwdfile-fd, cmdarg-keyfile-fd; nor
/// cmdarg-create-config-files, since there are none.
fn capabilities() -> String {
    let sizes = PROFILE.rsa_key_bits.iter().filter(|bits| **bits >= 2048);
    let sizes: String = sizes.map(|bits| format!(", \"tpm2-rsa-keysize-{bits}\"")).collect();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{{ \"type\": \"swtpm_setup\", \"features\": [ \"tpm-2.0\", \"cmdarg-reconfigure-pcr-banks\"{sizes} ], \
         \"version\": \"{version}\" }}"
    )
}

fn set_up(args: &Args) -> Result<()> {
    ensure!(args.tpm2, "there is no TPM 1.2: say --tpm2");
    let keys = [&args.keyfile, &args.keyfile_fd, &args.pwdfile, &args.pwdfile_fd, &args.cipher];
    ensure!(
        keys.iter().all(|key| key.is_none()),
        "the state is not encrypted by this program: --keyfile, --pwdfile and --cipher are refused (leave \
         <encryption> out of the machine's <backend>, and keep the folder on an encrypted disk)"
    );
    let state = args.tpm_state.as_deref().context("which folder? (--tpm-state)")?;
    let is_there = Engine::is_in(state)?;
    let at = state.display();
    if args.reconfigure {
        ensure!(is_there, "there is no TPM in {at}");
        let engine = Engine::new(None, Some(state)).context("there is no TPM")?;
        return finish(engine, args, None);
    }
    if is_there && args.not_overwrite {
        log::info!("there is a TPM in {at}, and it stays");
        return Ok(());
    }
    ensure!(!is_there || args.overwrite, "there is a TPM in {at} already (--overwrite makes another)");
    let order = order(args)?;
    finish(Engine::replacing(state)?, args, order.as_ref())?;
    log::info!("a new TPM is made in {at}");
    if args.create_platform_cert {
        log::warn!("it has no platform certificate");
    }
    Ok(())
}

/// Does what is to be done in a TPM, and saves it.
fn finish(engine: Engine, args: &Args, order: Option<&Order>) -> Result<()> {
    let mut engine = engine.held();
    crate::start(&mut engine)?;
    let done = order.map_or(Ok(Vec::new()), |order| order.fulfil(&mut engine));
    let done = done.and_then(|lines| {
        if let Banks(Some(banks)) = &args.pcr_banks {
            crate::provision::allocate(&mut engine, banks)?;
        }
        Ok(lines)
    });
    done.context("nothing was changed")?.iter().for_each(|line| log::info!("{line}"));
    engine.commit()
}

/// Keys and certificates that are asked for. A platform certificate implies the keys, as for swtpm_setup.
fn order(args: &Args) -> Result<Option<Order>> {
    let rsa = format!("rsa{}", args.rsa_keysize);
    let mut names = vec![rsa.as_str(), "p256", "p384"];
    if args.create_ek_cert {
        names.extend(["iak", "idevid"]);
        let authority = args.authority.open_or(default_authority)?;
        let order = Order::certificates(&names, authority, args.authority.url(), args.lock_nvram)?;
        return Ok(Some(order.for_machine(args.vmid.as_deref())));
    }
    if args.createek || args.create_platform_cert { Order::keys(&names).map(Some) } else { Ok(None) }
}

/// The operator's in a folder, if one of its files is there.
fn operators(folder: &Path) -> Result<Option<AuthorityArgs>> {
    let [key, uri, certificate] = ["ca-key.pem", "ca-key.uri", "ca.pem"].map(|name| folder.join(name));
    let place = match (key.exists(), uri.exists()) {
        (true, true) => bail!("{} has two keys of a CA: ca-key.pem and ca-key.uri", folder.display()),
        (_, true) => {
            let text = fs::read_to_string(&uri).with_context(|| format!("cannot read {}", uri.display()))?;
            let place = text.trim().parse().with_context(|| format!("{} has no PKCS #11 URI", uri.display()))?;
            ensure!(matches!(place, KeyPlace::Token(_)), "{} has no PKCS #11 URI", uri.display());
            place
        }
        (true, false) => KeyPlace::File(key),
        (false, false) if certificate.exists() => KeyPlace::File(key),
        (false, false) => return Ok(None),
    };
    Ok(Some(AuthorityArgs::operator(place, certificate)))
}

/// The operator's, or one for development.
fn default_authority() -> Result<AuthorityArgs> {
    let own = Path::new("/etc/quoin-tpm");
    if let Some(authority) = operators(own)? {
        return Ok(authority);
    }
    let home = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    let Some(home) = home.filter(|home| home.is_absolute()) else {
        bail!("there is no CA in /etc/quoin-tpm, and no home for one: name it (--ca-key, --development-ca)");
    };
    let folder = home.join("quoin-tpm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(AuthorityArgs::development(folder.join("development-ca")))
}

#[cfg(test)]
mod tests {
    use super::operators;
    use std::fs;

    #[test]
    fn an_operators_ca_has_its_key_in_a_file_or_in_a_token_and_not_in_both() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let said = || format!("{:#}", operators(folder.path()).unwrap_err());
        assert!(operators(folder.path()).unwrap().is_none());
        fs::write(at("ca-key.uri"), "pkcs11:object=ca?pin-value=secret\n").unwrap();
        let found = format!("{:?}", operators(folder.path()).unwrap().unwrap());
        assert!(found.contains("Token(") && found.contains("ca.pem") && !found.contains("secret"), "{found}");
        for wrong in ["ca-key.pem", "pkcs11:token=ca", ""] {
            fs::write(at("ca-key.uri"), wrong).unwrap();
            assert!(said().contains("ca-key.uri has no PKCS #11 URI"), "{}", said());
        }
        fs::write(at("ca-key.pem"), "").unwrap();
        assert!(said().contains("two keys of a CA"), "{}", said());
        fs::remove_file(at("ca-key.uri")).unwrap();
        assert!(format!("{:?}", operators(folder.path()).unwrap()).contains("File("));
        // A certificate without a key is no reason to take another CA.
        fs::remove_file(at("ca-key.pem")).unwrap();
        fs::write(at("ca.pem"), "").unwrap();
        assert!(operators(folder.path()).unwrap().is_some());
    }
}
