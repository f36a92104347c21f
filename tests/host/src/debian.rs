//! Programs that come from Debian or Ubuntu packages: found, installed where we may, or named.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where the keys of Debian's archive are.
pub const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How packages come to this system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installer {
    /// By apt-get, as root.
    Root,
    /// By apt-get, through a sudo that asks nothing.
    Sudo,
    /// By apt-get, which somebody else must call.
    Other,
    /// There is no apt-get.
    None,
}

/// A program and the package that it comes from.
pub type Wanted = (&'static str, &'static str);

/// Makes sure that all programs are there; installs what is missing through apt-get, as root or through a sudo that
/// asks nothing.
pub fn ensure(wanted: &[Wanted]) -> Result<()> {
    let mut missing: Vec<&str> =
        wanted.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    install_packages(&missing)?;
    match wanted.iter().find(|(program, _)| find(program).is_none()) {
        Some((program, package)) => {
            bail!("{package} is installed, but there is no {program} in PATH")
        }
        None => Ok(()),
    }
}

/// Makes sure that a library is where the dynamic linker looks for it; installs its package if not, as [`ensure`] does.
pub fn ensure_library(file: &str, package: &str) -> Result<()> {
    if has_library(file) {
        return Ok(());
    }
    install_packages(&[package])?;
    if has_library(file) { Ok(()) } else { bail!("{package} is installed, but there is no {file} in /usr/lib") }
}

fn has_library(file: &str) -> bool {
    let triple = format!("{}-linux-gnu", env::consts::ARCH);
    ["/usr/lib", "/usr/local/lib", "/lib", "/usr/lib64"]
        .iter()
        .map(PathBuf::from)
        .any(|folder| folder.join(file).exists() || folder.join(&triple).join(file).exists())
}

/// Installs packages through apt-get, or says what to install where we may not.
pub fn install_packages(packages: &[&str]) -> Result<()> {
    let named = packages.join(" ");
    let manual = format!("install what is missing with: sudo apt-get install --no-install-recommends {named}");
    let Some(prefix) = privilege() else { bail!("{manual}") };
    eprintln!("installing {named} (apt-get)");
    if install(&prefix, packages).is_err() {
        // The package lists may be old, or absent as in a fresh container.
        apt_get(&prefix, &["update"]).context(manual.clone())?;
        install(&prefix, packages).context(manual.clone())?;
    }
    Ok(())
}

/// The program's file, if it is in PATH, or where Debian puts what only root needs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Looks for the way that packages come by.
pub fn installer() -> Installer {
    if find("apt-get").is_none() {
        return Installer::None;
    }
    if rustix::process::geteuid().is_root() {
        return Installer::Root;
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if sudo.is_ok_and(|status| status.success()) { Installer::Sudo } else { Installer::Other }
}

/// What to put before apt-get: nothing for root, sudo where it asks for no password.
fn privilege() -> Option<Vec<&'static str>> {
    match installer() {
        Installer::Root => Some(Vec::new()),
        Installer::Sudo => Some(vec!["sudo", "-n"]),
        Installer::Other | Installer::None => None,
    }
}

fn install(prefix: &[&str], packages: &[&str]) -> Result<()> {
    apt_get(prefix, &[["install", "-y", "--no-install-recommends"].as_slice(), packages].concat())
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Result<()> {
    // Another apt-get may be at work, and a mirror may be slow: neither is a reason to give up at once.
    let patient = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];
    let words =
        [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"], patient.as_slice(), arguments].concat();
    let output =
        Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output().context("cannot start apt-get")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("apt-get {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

#[cfg(test)]
mod tests {
    use super::{ensure, find, has_library};

    #[test]
    fn what_is_there_needs_no_installation() {
        assert!(find("sh").is_some());
        ensure(&[("sh", "dash")]).unwrap();
    }

    #[test]
    fn libraries_are_found_where_debian_puts_them() {
        assert!(has_library("libc.so.6"));
        assert!(!has_library("no-library-of-this-name.so"));
    }

    #[test]
    fn what_no_package_has_is_not_found() {
        assert!(find("no-program-of-this-name").is_none());
    }
}
