//! Options of swtpm's kind: words with commas between, of which some are `name=value`.

use anyhow::{Context, Result, bail, ensure};

/// Those that nobody has asked for yet.
pub(crate) struct Words<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> Words<'a> {
    pub(crate) fn of(text: &'a str) -> Result<Self> {
        let mut words: Vec<(&str, Option<&str>)> = Vec::new();
        for word in text.split(',') {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            ensure!(!words.iter().any(|(other, _)| *other == name), "{name} is said twice");
            words.push((name, value));
        }
        Ok(Self(words))
    }

    fn take(&mut self, name: &str) -> Option<Option<&'a str>> {
        let at = self.0.iter().position(|(word, _)| *word == name)?;
        Some(self.0.remove(at).1)
    }

    /// What is behind `name=`.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Some(value)) if !value.is_empty() => Ok(Some(value.to_owned())),
            Some(_) => bail!("{name} wants a value: {name}=…"),
        }
    }

    /// Whether `name` is there, which has no value.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(_)) => bail!("{name} has no value"),
        }
    }

    /// Permissions, in octal digits behind `mode=`.
    pub(crate) fn mode(&mut self) -> Result<Option<u32>> {
        let Some(text) = self.value("mode")? else { return Ok(None) };
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.with_context(|| format!("mode={text} are no permissions: three octal digits are")).map(Some)
    }

    /// Refuses what is left.
    pub(crate) fn all_known(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => bail!("{name} is not known here"),
        }
    }
}
