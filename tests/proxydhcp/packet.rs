//! DHCP messages of clients, written field by field.

/// A message of a client, from its header on.
#[derive(Clone)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    padded: usize,
}

impl Packet {
    /// A message of this type (option 53), as EDK2 and Intel's ROM begin it: broadcast wanted.
    pub(crate) fn new(kind: u8, mac: [u8; 6]) -> Self {
        let mut bytes = vec![0; 236];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[4..8].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
        bytes[10] = 0x80;
        bytes[28..34].copy_from_slice(&mac);
        bytes.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
        Self { bytes, padded: 0 }
    }

    pub(crate) fn discover(mac: [u8; 6]) -> Self {
        Self::new(1, mac)
    }

    pub(crate) fn request(mac: [u8; 6]) -> Self {
        Self::new(3, mac).flags(0)
    }

    /// Bytes of the header.
    fn header(mut self, at: usize, value: &[u8]) -> Self {
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self
    }

    pub(crate) fn hops(self, hops: u8) -> Self {
        self.header(3, &[hops])
    }

    pub(crate) fn secs(self, secs: u16) -> Self {
        self.header(8, &secs.to_be_bytes())
    }

    pub(crate) fn flags(self, flags: u16) -> Self {
        self.header(10, &flags.to_be_bytes())
    }

    pub(crate) fn ciaddr(self, address: [u8; 4]) -> Self {
        self.header(12, &address)
    }

    pub(crate) fn giaddr(self, address: [u8; 4]) -> Self {
        self.header(24, &address)
    }

    pub(crate) fn option(mut self, code: u8, data: &[u8]) -> Self {
        self.bytes.extend([code, data.len() as u8]);
        self.bytes.extend(data);
        self
    }

    /// Option 60.
    pub(crate) fn class(self, class: &str) -> Self {
        self.option(60, class.as_bytes())
    }

    /// Options 93 and 94.
    pub(crate) fn arch(self, arch: u16) -> Self {
        self.option(93, &arch.to_be_bytes()).option(94, &[1, 2, 1])
    }

    /// Option 97.
    pub(crate) fn guid(self, guid: [u8; 16]) -> Self {
        self.option(97, &[&[0][..], &guid].concat())
    }

    /// The length of the whole.
    pub(crate) fn padded(mut self, length: usize) -> Self {
        self.padded = length;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.push(255);
        bytes.resize(bytes.len().max(self.padded), 0);
        bytes
    }
}
