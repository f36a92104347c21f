//! Values that a policy writes in hexadecimal.

use anyhow::{Context, Result, ensure};
use core::fmt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

/// `N` bytes, written as `2 * N` hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Hex<N> {
    /// Reads the digits, of which upper and lower case are the same.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = bytes(text)?;
        let found = bytes.len();
        let array = bytes.try_into().ok().with_context(|| format!("{} digits, not {}", 2 * found, 2 * N))?;
        Ok(Self(array))
    }
}

/// Bytes from hexadecimal digits.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>> {
    ensure!(
        text.bytes().all(|digit| digit.is_ascii_hexdigit()) && text.len().is_multiple_of(2),
        "not a value in hexadecimal digits, two a byte"
    );
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Ok(u8::from_str_radix(core::str::from_utf8(pair)?, 16)?)).collect()
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::digest::hex(&self.0))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl<const N: usize> JsonSchema for Hex<N> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Hex{N}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^[0-9a-fA-F]{{{}}}$", 2 * N) })
    }
}
