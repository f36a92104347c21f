//! What an image's boot will show, before any boot: launch digest, events, and the PCRs that follow from them.

use crate::digest::{self, Launch, hex};
use crate::evidence::boot_log::{self, OfImage};
use crate::evidence::event_log::initial_pcrs;
use anyhow::Result;
use serde_json::{Value, json};

/// What is known of a PCR of the SHA-256 bank when the guest starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pcr {
    /// Its value.
    Known([u8; 32]),
    /// Its value until a firmware that the image starts measures what it starts.
    SoFar([u8; 32]),
    /// It has an event whose digest the file does not say; which.
    Unknown(String),
}

/// What a boot will show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// The launch.
    pub launch: Launch,
    /// The events of the boot.
    pub events: OfImage,
}

impl Prediction {
    /// Of an IGVM file.
    pub fn of(file: &[u8]) -> Result<Self> {
        Ok(Self { launch: digest::measure(file)?, events: boot_log::expected(file)? })
    }

    /// PCR 0 to 23.
    pub fn pcrs(&self) -> Vec<Pcr> {
        (0..).zip(initial_pcrs()).map(|(number, initial)| self.pcr(number, initial)).collect()
    }

    fn pcr(&self, number: u32, initial: [u8; 32]) -> Pcr {
        let mut of_pcr = self.events.events.iter().filter(|event| event.pcr == number).peekable();
        let has_events = of_pcr.peek().is_some();
        if let Some(event) = of_pcr.find(|event| event.digests.is_empty()) {
            return Pcr::Unknown(event.name.clone());
        }
        let value = if has_events { self.events.predicted(number) } else { Ok(initial) };
        match value {
            // Firmware measures into these (PC Client Platform Firmware Profile, 3.3.4).
            Ok(value) if self.events.others_follow && number < 16 => Pcr::SoFar(value),
            Ok(value) => Pcr::Known(value),
            Err(why) => Pcr::Unknown(why.to_string()),
        }
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> Value {
        let pcr = |pcr: &Pcr| match pcr {
            Pcr::Known(value) => json!({ "state": "known", "sha256": hex(value) }),
            Pcr::SoFar(value) => json!({ "state": "so-far", "sha256": hex(value) }),
            Pcr::Unknown(event) => json!({ "state": "unknown", "event": event }),
        };
        let events = self.events.events.iter().map(|event| {
            let sha256 = event.digests.get(&crate::evidence::wire::alg::SHA256).map(|digest| hex(digest));
            json!({ "pcr": event.pcr, "type": event.kind, "name": event.name, "sha256": sha256 })
        });
        json!({
            "launch-digest": hex(&self.launch.digest),
            "policy": self.launch.policy,
            "processors": self.launch.processors,
            "events": events.collect::<Vec<_>>(),
            "others-follow": self.events.others_follow,
            "pcrs": self.pcrs().iter().map(pcr).collect::<Vec<_>>(),
        })
    }

    /// Lines for a reader: a head and a text each.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![
            (String::from("launch digest"), hex(&self.launch.digest)),
            (String::from("guest policy"), format!("{:#x}", self.launch.policy)),
            (String::from("processors"), self.launch.processors.to_string()),
        ];
        for event in &self.events.events {
            lines.push((format!("event, PCR {}", event.pcr), event.name.clone()));
        }
        for (number, pcr) in self.pcrs().into_iter().enumerate() {
            let text = match pcr {
                Pcr::Known(value) => hex(&value),
                Pcr::SoFar(value) => format!("{}, then what the image's firmware measures", hex(&value)),
                Pcr::Unknown(event) => format!("not known from the file: {event}"),
            };
            lines.push((format!("PCR {number}"), text));
        }
        lines
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Pcr, Prediction};
    use crate::digest;
    use crate::evidence::boot_log::{Expected, OfImage, extended};
    use crate::testing::{Header, igvm};
    use std::collections::BTreeMap;

    fn event(pcr: u32, digest: Option<[u8; 32]>) -> Expected {
        let digests: BTreeMap<u16, Vec<u8>> = digest.iter().map(|digest| (0xB, digest.to_vec())).collect();
        Expected { pcr, kind: 13, digests, data: None, name: format!("event of PCR {pcr}") }
    }

    pub(crate) fn prediction(others_follow: bool) -> Prediction {
        let launch = digest::measure(&igvm(&[Header::Vmsa])).unwrap();
        let events = vec![event(0, None), event(8, Some([1; 32])), event(8, Some([2; 32]))];
        Prediction { launch, events: OfImage { events, others_follow } }
    }

    #[test]
    fn pcrs_follow_from_the_files_events() {
        let pcrs = prediction(false).pcrs();
        assert_eq!(pcrs[0], Pcr::Unknown("event of PCR 0".into()));
        assert_eq!(pcrs[8], Pcr::Known(extended(&extended(&[0; 32], &[1; 32]), &[2; 32])));
        assert_eq!((&pcrs[9], &pcrs[17]), (&Pcr::Known([0; 32]), &Pcr::Known([0xFF; 32])));
        let so_far = prediction(true).pcrs();
        assert!(matches!(so_far[8], Pcr::SoFar(_)) && matches!(so_far[23], Pcr::Known(_)));
    }

    #[test]
    fn words_and_json_say_the_same() {
        let prediction = prediction(false);
        let json = prediction.to_json();
        let lines = prediction.lines();
        assert_eq!(json["launch-digest"], lines[0].1);
        assert_eq!(
            (json["pcrs"][0]["state"].as_str(), json["pcrs"][8]["state"].as_str()),
            (Some("unknown"), Some("known"))
        );
        assert_eq!(lines.len(), 3 + 3 + 24);
        assert!(lines[6].1.contains("not known from the file"), "{lines:?}");
    }

    #[test]
    fn what_is_no_image_has_no_prediction() {
        assert!(Prediction::of(b"no image").is_err());
        assert!(Prediction::of(&igvm(&[Header::Vmsa])).unwrap().events.events.is_empty());
    }
}
