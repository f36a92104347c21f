//! SNP guest request, plain and extended, as the hypervisor handles it; and the lies that it may tell.

use super::message::{Envelope, Message, open, seal};
use crate::bits::us;
use crate::config::{Config, Lies};
use crate::ghcb::{Answer, Malformed, Refused, field};
use crate::log::log;
use crate::machine::Machine;
use crate::phys::{self, PAGE};
use crate::rules::Rule;

/// vmm_err: the certificate buffer is too small.
const TOO_SMALL: u64 = 1 << 32;
/// vmm_err: busy, try again.
const BUSY: u64 = 2 << 32;
/// fw_err: INVALID_PARAM.
const INVALID_PARAM: u64 = 0x16;

/// What the hypervisor does with a request.
enum Way {
    /// Hands it to the secure processor.
    Ask,
    /// Answers by itself.
    Answer(Answer),
    /// Repeats the answer page of last time.
    Repeat,
}

impl Machine {
    /// A guest request. `data`: GPA and pages of the buffer for certificates, for the extended form.
    pub(crate) fn guest_request(
        &mut self,
        request: u64,
        response: u64,
        data: Option<(u64, u64)>,
    ) -> Result<Answer, Refused> {
        let page =
            |gpa: u64| self.memory.shared(gpa).filter(|_| gpa.is_multiple_of(PAGE)).ok_or(Malformed::InvalidInput);
        let (from, to) = (page(request)?, page(response)?);
        if from == to {
            return Err(Malformed::InvalidInput.into());
        }
        let mut message = [0; 4096];
        phys::read(from, &mut message);
        self.watch_iv(request, &message);
        self.psp.requests += 1;
        match self.way(data)? {
            Way::Answer(answer) => return Ok(answer),
            Way::Repeat => {
                if let Some(last) = &self.psp.last_answer {
                    phys::write(to, last);
                }
                return Ok(Answer::default());
            }
            Way::Ask => {}
        }
        match self.psp.guest_message(&message, &self.config) {
            Ok(answer) => {
                phys::write(to, &answer);
                Ok(Answer::default())
            }
            Err(firmware) => Ok(Answer::info2(firmware)),
        }
    }

    /// Remembers the IV: the host has seen the message, whatever it does with it.
    fn watch_iv(&mut self, gpa: u64, message: &[u8; 4096]) {
        let Some(envelope) = Envelope::read(message) else {
            return;
        };
        if !self.psp.ivs.remember(envelope, envelope.seen(message)) {
            let (vmpck, sequence) = (envelope.vmpck, envelope.sequence);
            self.stop(Rule::IvReused, gpa, format_args!("VMPCK{vmpck}, sequence number {sequence}"));
        }
    }

    fn way(&self, data: Option<(u64, u64)>) -> Result<Way, Refused> {
        let lies = &self.config.lies;
        let number = self.psp.requests;
        if lies.busy.is_some_and(|times| number <= times) {
            return Ok(Way::Answer(Answer::info2(BUSY)));
        }
        if let Some((buffer, pages)) = data {
            let needed = self.psp.certificate_pages();
            let claimed = match lies.cert_truncated {
                Some(0) => Some(pages + 1),
                Some(claimed) => Some(claimed),
                None => (needed > pages).then_some(needed),
            };
            if let Some(claimed) = claimed {
                return Ok(Way::Answer(Answer { info2: TOO_SMALL, ..Answer::registers([(field::RBX, claimed)]) }));
            }
            for index in 0..needed {
                let to = self.memory.shared(buffer + index * PAGE).filter(|_| buffer.is_multiple_of(PAGE));
                self.psp.copy_certificates(index, to.ok_or(Malformed::InvalidInput)?);
            }
        }
        if lies.no_answer == Some(number) {
            return Ok(Way::Answer(Answer::default()));
        }
        Ok(if lies.stale_answer == Some(number) { Way::Repeat } else { Way::Ask })
    }
}

impl super::Psp {
    /// A message in, an answer page out, or the firmware's error.
    fn guest_message(&mut self, page: &[u8; 4096], config: &Config) -> Result<[u8; 4096], u64> {
        let refuse = |why: &str| {
            log!("psp: guest message refused: {why}");
            Err(INVALID_PARAM)
        };
        let Some(envelope) = Envelope::read(page) else {
            return refuse("header");
        };
        let key = self.vmpck[envelope.vmpck];
        if Some(envelope.sequence) != self.sequence[envelope.vmpck].checked_add(1) {
            return refuse("sequence number");
        }
        let Some(request) = open(&key, page, envelope) else {
            return refuse("authentication tag");
        };
        let Some(mut answer) = self.respond(&request, config) else {
            return refuse("type, version, or no identity");
        };
        self.sequence[envelope.vmpck] = answer.sequence;
        if config.lies.wrong_seq == Some(self.requests) {
            answer.sequence += 2;
        }
        Ok(self.sealed(&key, &answer, &config.lies))
    }

    fn sealed(&mut self, key: &[u8; 32], answer: &Message, lies: &Lies) -> [u8; 4096] {
        let mut page = seal(key, answer);
        self.last_answer = Some(page);
        if let Some(bit) = lies.bit_flip {
            let bit = us(bit) % (8 * page.len());
            page[bit / 8] ^= 1 << (bit % 8);
        }
        page
    }
}
