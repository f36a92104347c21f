//! The measured settings that this firmware does something with.

use authority::Authorities;
use kernel::fatal::{Fatal, Reason};
use kernel::launch::{Setting, Settings};
use kernel::policy::Policy;
use kernel::state::StateSetting;
use migration::Terms;

/// Their kinds: any other ends the boot, since whoever has measured it counts on it.
const KINDS: [Setting; 4] = [Setting::Policy, Setting::Authorities, Setting::State, Setting::Successors];

/// What the settings ask for.
pub struct Obeyed<'a> {
    /// What the platform must be.
    pub policy: Option<Policy<'a>>,
    /// Who certifies the TPM's keys.
    pub authorities: Option<Authorities>,
    /// What is kept, and where programs at the host are found.
    pub state: Option<StateSetting<'a>>,
    /// Who may come before and after this firmware.
    pub terms: Option<Terms>,
}

impl<'a> Obeyed<'a> {
    /// Reads the settings' pages.
    ///
    /// # Errors
    /// `Settings`, with the value that is not in docs/boot.md.
    pub fn parse(pages: &'a [u8]) -> Result<Obeyed<'a>, Fatal> {
        let all = Settings::parse(pages).and_then(|all| all.only(&KINDS)).map_err(Fatal::because(Reason::Settings))?;
        let policy = all.get(Setting::Policy).map(Policy::parse).transpose();
        let state = all.get(Setting::State).map(StateSetting::parse).transpose();
        let authorities = all.get(Setting::Authorities).map(Authorities::parse).transpose();
        let terms = all.get(Setting::Successors).map(Terms::parse).transpose();
        Ok(Obeyed {
            policy: policy.map_err(Fatal::because(Reason::Settings))?,
            authorities: authorities
                .map_err(|why| Fatal::new(Reason::Settings, format_args!("the authorities: {why}")))?,
            state: state.map_err(Fatal::because(Reason::Settings))?,
            terms: terms.map_err(|why| Fatal::new(Reason::Settings, format_args!("the successors: {why}")))?,
        })
    }
}
