//! Small IGVM files for the tests of the launch digest.

/// A variable header of an IGVM file.
#[derive(Clone, Copy)]
pub(crate) enum Header<'a> {
    /// Page data: GPA, data type, flags, contents.
    Page { gpa: u64, kind: u16, flags: u32, data: Option<&'a [u8; 4096]> },
    /// Required memory.
    Required { gpa: u64, bytes: u32 },
    /// Parameter area 0.
    Area { bytes: u64 },
    /// Parameter area 0 goes there.
    Insert { gpa: u64 },
    /// [`Header::VMSA`] for vCPU 0, where KVM measures it.
    Vmsa,
    /// The same elsewhere.
    VmsaAt(u64),
    /// The same for another vCPU.
    VmsaOf(u32),
}

impl Header<'_> {
    /// CR0 (0x158) is 0x31, SEV_FEATURES (0x3b0) is 1, RIP (0x178) 0x1000.
    pub(crate) const VMSA: [u8; 4096] = {
        let mut vmsa = [0; 4096];
        (vmsa[0x158], vmsa[0x179], vmsa[0x3B0]) = (0x31, 0x10, 1);
        vmsa
    };

    /// Type, body, and contents whose offset in the file goes to byte 12 of the body.
    fn parts(&self) -> (u32, Vec<u8>, Option<&[u8]>) {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let at = |gpa: &u64, rest: &[u32]| [gpa.to_le_bytes().to_vec(), words(rest)].concat();
        match self {
            Self::Page { gpa, kind, flags, data } => {
                let data = data.map(|data| data.as_slice());
                (0x302, at(gpa, &[1, 0, *flags, u32::from(*kind)]), data)
            }
            Self::Required { gpa, bytes } => (0x305, at(gpa, &[1, *bytes, 0, 0]), None),
            Self::Area { bytes } => (0x301, at(bytes, &[0, 0]), None),
            Self::Insert { gpa } => (0x303, at(gpa, &[1, 0]), None),
            Self::Vmsa => Self::VmsaAt(0xFFFF_FFFF_F000).parts(),
            Self::VmsaOf(vcpu) => (0x304, at(&0xFFFF_FFFF_F000, &[1, 0, *vcpu]), Some(&Self::VMSA)),
            Self::VmsaAt(gpa) => (0x304, at(gpa, &[1, 0, 0]), Some(&Self::VMSA)),
        }
    }
}

/// An IGVM file (format version 1) for SEV-SNP with policy 0x30000 and these directives, by hand.
pub(crate) fn igvm(directives: &[Header<'_>]) -> Vec<u8> {
    let mut headers = Vec::new();
    let mut data = Vec::new();
    let platform = [1_u32.to_le_bytes(), [2, 2, 1, 0], [0; 4], [0; 4]].concat();
    let policy = [0x3_0000_u32, 0, 1, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut all = vec![(1, platform, None), (0x101, policy, None)];
    all.extend(directives.iter().map(Header::parts));
    let size: usize = all.iter().map(|(_, body, _)| 8 + body.len().next_multiple_of(8)).sum();
    for (kind, mut body, contents) in all {
        if let Some(contents) = contents {
            let offset = u32::try_from(24 + size + data.len()).unwrap();
            body[12..16].copy_from_slice(&offset.to_le_bytes());
            data.extend_from_slice(contents);
        }
        headers.extend([kind, u32::try_from(body.len()).unwrap()].into_iter().flat_map(u32::to_le_bytes));
        body.resize(body.len().next_multiple_of(8), 0);
        headers.extend(body);
    }
    let total = 24 + headers.len() + data.len();
    let words = [1, 24, u32::try_from(headers.len()).unwrap(), u32::try_from(total).unwrap(), 0];
    let mut file = b"IGVM".to_vec();
    file.extend(words.into_iter().flat_map(u32::to_le_bytes));
    file.extend(headers);
    let sum = crc32(&file);
    file[20..24].copy_from_slice(&sum.to_le_bytes());
    file.extend(data);
    file
}

/// CRC-32 as of IEEE 802.3, over the fixed header with a checksum of zero and the variable headers.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
