//! Settings, as the packer sees them: what an operator wants of the firmware, in measured pages behind the launch
//! parameters (`kernel::launch::Settings`, docs/boot.md).

use anyhow::{Result, ensure};

/// Pages that settings have.
pub const PAGES: usize = 8;
/// Octets of a page.
const PAGE: usize = 4096;

/// What a setting is about, by the kind of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Setting {
    /// What the firmware demands of its platform.
    Policy = 1,
    /// The operator's authorities for certificates.
    Authorities = 2,
    /// What is kept on a disk, and how.
    State = 3,
    /// Who may take the TPM over.
    Successors = 4,
}

/// Settings: entries, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<u8>);

impl Settings {
    /// Adds an entry.
    #[must_use]
    pub fn with(self, setting: Setting, octets: &[u8]) -> Self {
        self.with_kind(setting as u16, octets)
    }

    /// Adds an entry of a kind that need not exist: for tests of what refuses it.
    #[must_use]
    pub fn with_kind(mut self, kind: u16, octets: &[u8]) -> Self {
        self.0.extend(kind.to_le_bytes());
        self.0.extend([0, 0]);
        self.0.extend(u32::try_from(octets.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.0.extend(octets);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self
    }

    /// The pages; those without contents are empty. Behind the entries there is room for the end, an entry of zeros.
    pub fn pages(&self) -> Result<[Vec<u8>; PAGES]> {
        let most = PAGES * PAGE - 8;
        ensure!(self.0.len() <= most, "the settings have {} octets: at most {most} fit", self.0.len());
        let mut chunks = self.0.chunks(PAGE);
        Ok(core::array::from_fn(|_| {
            let mut page = chunks.next().unwrap_or_default().to_vec();
            page.resize(if page.is_empty() { 0 } else { PAGE }, 0);
            page
        }))
    }
}

/// The octets of [`Setting::Authorities`]: certificates of an operator's authorities in DER, whether the guest is
/// started without a certificate of theirs, and how many seconds one is waited for.
#[must_use]
pub fn authorities(certificates: &[Vec<u8>], preferred: bool, wait_s: u16) -> Vec<u8> {
    [&[1 + u8::from(preferred), 0][..], &wait_s.to_le_bytes(), &certificates.concat()].concat()
}

#[cfg(test)]
mod tests {
    use super::{PAGE, PAGES, Setting, Settings};

    #[test]
    fn without_settings_no_page_has_contents() {
        assert!(Settings::default().pages().unwrap().iter().all(Vec::is_empty));
    }

    #[test]
    fn an_entry_is_kind_size_octets_and_zeros() {
        let settings = Settings::default().with(Setting::State, b"ninebytes").with(Setting::Policy, b"");
        let pages = settings.pages().unwrap();
        assert_eq!(pages[0][..8], [3, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(&pages[0][8..24], b"ninebytes\0\0\0\0\0\0\0");
        assert_eq!(pages[0][24..32], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert!(pages[0].len() == PAGE && pages[0][32..].iter().all(|octet| *octet == 0));
        assert!(pages[1..].iter().all(Vec::is_empty));
    }

    #[test]
    fn an_entry_goes_on_in_the_next_page() {
        let pages = Settings::default().with(Setting::Policy, &[7; PAGE]).pages().unwrap();
        assert_eq!((&pages[0][8..], &pages[1][..8]), (&[7; PAGE - 8][..], &[7; 8][..]));
        assert!(pages[1].len() == PAGE && pages[1][8..].iter().all(|octet| *octet == 0));
    }

    /// With the end, which is 8 octets of zeros.
    #[test]
    fn what_does_not_fit_is_refused() {
        let settings = |octets: usize| Settings::default().with(Setting::Policy, &vec![1; octets]);
        assert!(settings(PAGES * PAGE - 16).pages().is_ok());
        let error = settings(PAGES * PAGE - 15).pages().unwrap_err().to_string();
        assert!(error.contains("at most 32760 fit"), "{error}");
    }
}
