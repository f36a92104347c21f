//! Octets of two commands that are built side by side, and of two responses that are read so.

/// A value for our TPM and one for libtpms.
pub(crate) type Two<T> = [T; 2];

/// Octets of a command, and from where on the two sides no longer have the same layout.
#[derive(Clone, Default, Debug)]
pub(crate) struct Bytes(pub(crate) Two<Vec<u8>>, Option<usize>);

impl Bytes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw(mut self, octets: &[u8]) -> Self {
        self.0.iter_mut().for_each(|side| side.extend_from_slice(octets));
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// A TPM2B.
    pub(crate) fn sized(self, octets: &[u8]) -> Self {
        self.u16(short(octets.len())).raw(octets)
    }

    /// How many octets from the front have the same meaning on both sides.
    pub(crate) fn aligned(&self) -> usize {
        self.1.unwrap_or(self.0[0].len())
    }

    fn note_lengths(&mut self, octets: &Two<Vec<u8>>) {
        if octets[0].len() != octets[1].len() {
            self.1 = self.1.or(Some(self.0[0].len()));
        }
    }

    /// What differs by side.
    pub(crate) fn each(mut self, octets: &Two<Vec<u8>>) -> Self {
        self.note_lengths(octets);
        self.0.iter_mut().zip(octets).for_each(|(to, from)| to.extend_from_slice(from));
        self
    }

    /// A TPM2B that differs by side.
    pub(crate) fn each_sized(mut self, octets: &Two<Vec<u8>>) -> Self {
        self.note_lengths(octets);
        for (to, from) in self.0.iter_mut().zip(octets) {
            to.extend_from_slice(&short(from.len()).to_be_bytes());
            to.extend_from_slice(from);
        }
        self
    }

    /// The same on both sides.
    pub(crate) fn is_common(&self) -> bool {
        self.0[0] == self.0[1]
    }
}

/// A length as UINT16.
pub(crate) fn short(length: usize) -> u16 {
    u16::try_from(length).expect("short")
}

/// Both sides of one thing.
pub(crate) fn both<T: Clone>(value: T) -> Two<T> {
    [value.clone(), value]
}

/// Reads what two responses have; what is not there reads as nothing, since a mutated command may have an answer of
/// another shape.
#[derive(Clone, Default, Debug)]
pub(crate) struct Reply {
    pub(crate) handle: Two<u32>,
    rest: Two<Vec<u8>>,
    at: Two<usize>,
}

impl Reply {
    pub(crate) fn new(handle: Two<u32>, rest: Two<Vec<u8>>) -> Self {
        Self { handle, rest, at: [0, 0] }
    }

    fn take(&mut self, side: usize, n: usize) -> Vec<u8> {
        let rest = &self.rest[side][self.at[side].min(self.rest[side].len())..];
        let taken = rest[..n.min(rest.len())].to_vec();
        self.at[side] += n;
        taken
    }

    /// So many octets.
    pub(crate) fn octets(&mut self, n: usize) -> Two<Vec<u8>> {
        [self.take(0, n), self.take(1, n)]
    }

    /// A TPM2B.
    pub(crate) fn sized(&mut self) -> Two<Vec<u8>> {
        [0, 1].map(|side| {
            let size = self.take(side, 2);
            let size = size.try_into().map_or(0, u16::from_be_bytes);
            self.take(side, size.into())
        })
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> Two<Vec<u8>> {
        [0, 1].map(|side| self.take(side, usize::MAX >> 1))
    }
}
