//! Azure's runtime claims: JSON, whose SHA-256 is in REPORT_DATA, and which names AK and EK as JSON Web Keys
//! (RFC 7517).

use super::template;
use super::wire::{Key, Public};
use crate::policy::hex_bytes;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// 65537, the exponent of TPMs' RSA keys.
const EXPONENT: &str = "AQAB";

/// The claims, as far as they are used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    keys: Vec<WebKey>,
    #[serde(rename = "user-data", default)]
    user_data: String,
    /// What the paravisor says of the virtual machine's configuration.
    #[serde(rename = "vm-configuration", default)]
    pub configuration: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct WebKey {
    kid: String,
    kty: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    n: String,
}

impl Claims {
    /// Reads claims; what is not known is not read.
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).context("the claims")
    }

    /// What the guest has put into index 0x01400002, and zeros behind it: 64 bytes.
    pub fn user_data(&self) -> Result<Vec<u8>> {
        let mut data = hex_bytes(&self.user_data).context("the claims' user data")?;
        ensure!(data.len() <= 64, "the claims' user data have {} bytes", data.len());
        data.resize(64, 0);
        Ok(data)
    }

    /// The endorsement key `HCLEkPub`, by the template that Azure's firmware has.
    pub fn ek(&self) -> Result<Public> {
        Ok(Public { key: self.rsa("HCLEkPub")?, ..template::ek_rsa_2048() })
    }

    /// The attestation key `HCLAkPub`, likewise.
    pub fn ak(&self) -> Result<Public> {
        Ok(Public { key: self.rsa("HCLAkPub")?, ..template::ak_rsa_2048() })
    }

    fn rsa(&self, name: &str) -> Result<Key> {
        let mut named = self.keys.iter().filter(|key| key.kid == name);
        let key = named.next().with_context(|| format!("the claims have no key {name}"))?;
        ensure!(named.next().is_none(), "the claims have two keys {name}");
        ensure!(key.kty == "RSA" && key.e == EXPONENT, "{name} is not an RSA key with exponent 65537");
        let modulus = URL_SAFE_NO_PAD.decode(&key.n).with_context(|| format!("{name}: its modulus"))?;
        ensure!(modulus.len() == 256, "{name} has {} bits, not 2048", 8 * modulus.len());
        Ok(Key::Rsa { bits: 2048, modulus })
    }
}

#[cfg(test)]
mod tests {
    use super::Claims;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn claims(keys: &[(&str, &str, usize)]) -> String {
        let key = |(kid, e, size): &(&str, &str, usize)| {
            let n = URL_SAFE_NO_PAD.encode(vec![0xC5; *size]);
            format!(r#"{{"kid":"{kid}","key_ops":["sign"],"kty":"RSA","e":"{e}","n":"{n}"}}"#)
        };
        let keys: Vec<String> = keys.iter().map(key).collect();
        format!(r#"{{"keys":[{}],"vm-configuration":{{"secure-boot":true}},"user-data":"0A0b"}}"#, keys.join(","))
    }

    #[test]
    fn keys_and_user_data_are_read() {
        let json = claims(&[("HCLAkPub", "AQAB", 256), ("HCLEkPub", "AQAB", 256)]);
        let claims = Claims::parse(json.as_bytes()).unwrap();
        assert_eq!(claims.ak().unwrap().attributes, 0x0005_0472);
        assert_eq!(claims.ek().unwrap().attributes, 0x0003_00B2);
        assert_eq!(claims.user_data().unwrap()[..3], [0x0A, 0x0B, 0]);
    }

    #[test]
    fn a_key_that_is_missing_or_twice_there_or_no_rsa_2048_key_is_refused() {
        let ak = |keys: &[(&str, &str, usize)]| Claims::parse(claims(keys).as_bytes()).unwrap().ak().is_ok();
        let good = ("HCLAkPub", "AQAB", 256);
        assert!(ak(&[good]));
        assert!(!ak(&[]) && !ak(&[good, good]) && !ak(&[("HCLAkPub", "Aw", 256)]) && !ak(&[("HCLAkPub", "AQAB", 384)]));
        assert!(Claims::parse(b"{").is_err());
    }
}
