//! Who is asking: the addresses and numbers a machine is known by.
//!
//! Values from the wire and from an operator become one canonical form here, so that nothing above
//! compares text. Never decides what a machine gets.

mod labels;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{firmware::Platform, unified::Processor};
pub use labels::Labels;

/// A machine, as far as the packet or query at hand tells.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Machine {
    /// Hardware address of the network card that boots.
    pub mac: Mac,
    /// SMBIOS system UUID, absent where the firmware sends none or a dummy.
    pub uuid: Option<Uuid>,
    /// What kind of firmware it has, absent where that is not told.
    pub platform: Option<Platform>,
    /// What iPXE tells by name, `serial` and `product` among it; absent until iPXE has asked, and
    /// then all that there will be.
    pub labels: Option<Labels>,
}

impl Machine {
    /// A machine that speaks DHCP: more will be told.
    pub fn heard(mac: Mac, uuid: Option<Uuid>, platform: Option<Platform>) -> Self {
        Self { mac, uuid, platform, labels: None }
    }

    /// A machine of which iPXE has told all. Where no UUID is among it, VMware's serial has it.
    pub fn told(mac: Mac, uuid: Option<Uuid>, labels: BTreeMap<String, String>) -> Self {
        let platform = labels.get("platform").and_then(|name| Platform::from_ipxe(name));
        let uuid = uuid.or_else(|| Uuid::from_vmware_serial(labels.get("serial")?));
        Self { mac, uuid, platform, labels: Some(labels.into()) }
    }

    /// The machine by what one request tells of it: one that tells nothing has not told all.
    pub fn of_request(mac: Mac, uuid: Option<Uuid>, labels: &BTreeMap<String, String>) -> Self {
        match labels.is_empty() {
            true => Self::heard(mac, uuid, None),
            false => Self::told(mac, uuid, labels.clone()),
        }
    }

    /// Whether iPXE has told of it, and not its firmware alone.
    pub fn tells_by_ipxe(&self) -> bool {
        let firmwares = ["arch", "platform"];
        let mut told = self.labels.iter().flat_map(Labels::iter);
        told.any(|(name, _)| !firmwares.contains(&name))
    }

    /// Whether this is its UUID, in either byte order.
    pub fn has_uuid(&self, uuid: Uuid) -> bool {
        self.uuid.is_some_and(|own| own.is_same_machine(&uuid))
    }

    /// The same, of which UEFI on this processor has told all that it ever will. What iPXE has told
    /// at another time still holds.
    pub fn told_by_uefi(self, processor: Processor) -> Self {
        let mut labels = self.labels.unwrap_or_default();
        labels.insert("arch".to_owned(), processor.to_string());
        labels.insert("platform".to_owned(), "efi".to_owned());
        Self { platform: Some(Platform::Uefi), labels: Some(labels), ..self }
    }
}

/// An Ethernet hardware address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// Wraps the six octets as they stand on the wire; `None` for a group or all-zero address,
    /// which no machine can own.
    pub fn new(octets: [u8; 6]) -> Option<Self> {
        let group = octets[0] & 1 == 1;
        (!group && octets != [0; 6]).then_some(Self(octets))
    }

    /// The octets as they stand on the wire.
    pub fn octets(&self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = NotAMac;

    /// Reads `52:54:00:12:34:56`, `52-54-00-12-34-56` (iPXE's `hexhyp`), `5254.0012.3456` (as
    /// switches print it) or twelve bare digits.
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let (separator, digits) = match (text.len(), text.as_bytes()) {
            (12, _) => (None, 12),
            (14, _) => (Some('.'), 4),
            (17, [_, _, b':', ..]) => (Some(':'), 2),
            (17, [_, _, b'-', ..]) => (Some('-'), 2),
            _ => return Err(NotAMac),
        };
        let parts: Vec<&str> = match separator {
            None => vec![text],
            Some(separator) => text.split(separator).collect(),
        };
        if parts.iter().any(|part| part.len() != digits) {
            return Err(NotAMac);
        }
        let digits = parts.concat();
        let octets: [u8; 6] = unhex(&digits).ok_or(NotAMac)?;
        Self::new(octets).ok_or(NotAMac)
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = NotAMac;

    fn try_from(text: String) -> Result<Self, NotAMac> {
        text.parse()
    }
}

/// The text is not the hardware address of one machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAMac;

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not a hardware address; write it like \"52:54:00:12:34:56\"")
    }
}

impl std::error::Error for NotAMac {}

/// An SMBIOS system UUID, in the order `dmidecode` and iPXE print it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Reads the sixteen octets of DHCP option 97, whose first three fields are little-endian
    /// (SMBIOS 2.6; seen from EDK2 and iPXE). `None` for all zeros and all ones, which QEMU and
    /// bare boards send for "not set".
    pub fn from_wire(wire: [u8; 16]) -> Option<Self> {
        Self::new(swapped(wire))
    }

    /// Reads VMware's serial, `VMware-56 4d a6 d2 17 06 63 43-dc 2d 01 23 45 67 89 ab`: the UUID in
    /// the order vSphere shows.
    pub fn from_vmware_serial(serial: &str) -> Option<Self> {
        let digits = serial.strip_prefix("VMware-")?.replace([' ', '-'], "");
        Self::new(unhex(&digits)?)
    }

    /// Whether both are one machine's: hypervisors and firmware disagree about the byte order of
    /// the first three fields (VMware changed it with hardware version 13).
    pub fn is_same_machine(&self, other: &Self) -> bool {
        self == other || swapped(self.0) == other.0
    }

    /// The same for both byte orders, to look a machine up by.
    pub fn in_one_order(&self) -> Self {
        Self(self.0.min(swapped(self.0)))
    }

    /// Whether it is one that names no machine: what board makers leave in firmware for many boards
    /// (defaults, one octet all over, a service tag that was never set), or what ASRock makes of the
    /// network card.
    pub fn is_shared(&self) -> bool {
        let is_filled = self.0.iter().all(|octet| *octet == self.0[0]);
        let is_a_mac = self.0[6..] == [0; 10];
        let is_known = SHARED.iter().any(|shared| self.is_same_machine(&Self(*shared)));
        is_known || is_filled || is_a_mac || self.is_dell_without_tag()
    }

    /// Whether it is Dell's, made of a service tag that nobody has set.
    fn is_dell_without_tag(&self) -> bool {
        const TAG: [usize; 7] = [5, 6, 9, 10, 13, 14, 15];
        let is_blank = |at: usize| matches!(self.0[at] & 0x7f, 0 | b' ');
        self.0.starts_with(b"LLED") && TAG.into_iter().all(is_blank)
            || self.0.starts_with(b"DELL") && [4, 7, 9, 10, 13, 14, 15].into_iter().all(is_blank)
    }

    fn new(octets: [u8; 16]) -> Option<Self> {
        (octets != [0; 16] && octets != [0xff; 16]).then_some(Self(octets))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let groups: Vec<&str> = text.split('-').collect();
        if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
            return Err(NotAUuid);
        }
        let octets = unhex(&groups.concat()).ok_or(NotAUuid)?;
        Self::new(octets).ok_or(NotAUuid)
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> Self {
        uuid.to_string()
    }
}

impl TryFrom<String> for Uuid {
    type Error = NotAUuid;

    fn try_from(text: String) -> Result<Self, NotAUuid> {
        text.parse()
    }
}

/// UUIDs that name no machine: those that are known to be left everywhere, and the operator's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SharedUuids(HashSet<Uuid>);

impl SharedUuids {
    /// These, in either byte order, beside the known ones.
    pub fn new(more: impl IntoIterator<Item = Uuid>) -> Self {
        Self(more.into_iter().map(|uuid| uuid.in_one_order()).collect())
    }

    /// Whether this names no machine.
    pub fn contains(&self, uuid: &Uuid) -> bool {
        uuid.is_shared() || self.0.contains(&uuid.in_one_order())
    }
}

/// The text is not a UUID that one machine can own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAUuid;

impl fmt::Display for NotAUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "is not a machine's UUID; write it like \"564da6d2-1706-6343-dc2d-0123456789ab\"",
        )
    }
}

impl std::error::Error for NotAUuid {}

/// What an operator calls a machine by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// Its hardware address.
    Mac(Mac),
    /// Its UUID.
    Uuid(Uuid),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        let uuid = || text.parse().map(Self::Uuid);
        text.parse().map(Self::Mac).or_else(|_| uuid()).map_err(|_| NotASubject)
    }
}

impl From<Mac> for Subject {
    fn from(mac: Mac) -> Self {
        Self::Mac(mac)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl TryFrom<String> for Subject {
    type Error = NotASubject;

    fn try_from(text: String) -> Result<Self, NotASubject> {
        text.parse()
    }
}

/// The text names no machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotASubject;

impl fmt::Display for NotASubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "is neither a hardware address like 52:54:00:12:34:56 nor a UUID like \
             564da6d2-1706-6343-dc2d-0123456789ab",
        )
    }
}

impl std::error::Error for NotASubject {}

/// Left by board makers in many machines, in the order in which they are printed.
const SHARED: [[u8; 16]; 14] = [
    // 03000200-0400-0500-0006-000700080009: AMI's default, on boards of many makers.
    [3, 0, 2, 0, 4, 0, 5, 0, 0, 6, 0, 7, 0, 8, 0, 9],
    // 12345678-1234-5678-90ab-cddeefaabbcc: Insyde's default, seen at MSI and ECS.
    0x1234_5678_1234_5678_90ab_cdde_efaa_bbcc_u128.to_be_bytes(),
    0x1234_5678_1234_5678_1234_5678_1234_5678_u128.to_be_bytes(),
    // Counted up, and down in fields.
    0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes(),
    0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128.to_be_bytes(),
    0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes(),
    0x0709_0201_0103_0301_0807_0605_0403_0201_u128.to_be_bytes(),
    0x1111_1111_2222_3333_4444_5555_5555_5555_u128.to_be_bytes(),
    // 8a95d198-7f46-11e5-bf8b-08002704d48e: boards with an LX2160A.
    0x8a95_d198_7f46_11e5_bf8b_0800_2704_d48e_u128.to_be_bytes(),
    // Seen on machines of several makers by those who take stock of many.
    0x890e_2d14_cacd_45d1_ae66_bc80_e8bf_eb0f_u128.to_be_bytes(),
    0x8e27_5844_178f_44a8_aceb_a7d7_e517_8c63_u128.to_be_bytes(),
    0xdc69_8397_fa54_4cf2_82c8_b1b5_307a_6a7f_u128.to_be_bytes(),
    0xffff_ff00_ffff_ffff_ffff_ffff_ffff_ffff_u128.to_be_bytes(),
    0x4c4c_4544_0000_1010_8010_c4c0_4f31_3233_u128.to_be_bytes(),
];

/// The other byte order of the first three fields.
fn swapped(octets: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = octets;
    let mut swapped = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    swapped[8..].copy_from_slice(&rest);
    swapped
}

fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *octet = u8::try_from(high << 4 | low).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ipxe_told_before_still_holds_when_firmware_alone_tells() {
        let mac = "52:54:00:12:34:56".parse().unwrap();
        let heard = Machine::heard(mac, None, None).told_by_uefi(Processor::Arm64);
        assert_eq!(heard.platform, Some(Platform::Uefi));
        assert!(!heard.tells_by_ipxe());
        let labels = [("serial", "7"), ("arch", "i386")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let told = Machine::told(mac, None, labels.into()).told_by_uefi(Processor::Arm64);
        assert!(told.tells_by_ipxe());
        let labels = told.labels.unwrap();
        assert_eq!((labels.get("serial"), labels.get("arch")), (Some("7"), Some("arm64")));
    }

    #[test]
    fn every_spelling_of_a_mac_is_the_same_machine() {
        let plain: Mac = "525400a1b2c3".parse().unwrap();
        for spelling in [
            "52:54:00:a1:b2:c3",
            "52-54-00-A1-B2-C3",
            "52:54:00:A1:b2:C3",
            "525400A1B2C3",
            "5254.00a1.B2c3",
        ] {
            assert_eq!(spelling.parse(), Ok(plain));
        }
        assert_eq!(plain.to_string(), "52:54:00:a1:b2:c3");
    }

    #[test]
    fn what_no_machine_can_own_is_no_mac() {
        for wrong in [
            "",
            "52:54:00:a1:b2",
            "52:54-00:a1:b2:c3",
            "52:54:00:a1:b2:zz",
            "+2:54:00:a1:b2:c3",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "éé:54:00:a1:b2:c",
            "525400a1b2c",
            "5254:00a1b2c3:::",
            "52.54.00.a1.b2",
            "5254.00a1.b2c",
            "525400.a1b2c3.",
        ] {
            assert_eq!(wrong.parse::<Mac>(), Err(NotAMac), "{wrong}");
        }
    }

    #[test]
    fn option_97_is_printed_as_ipxe_prints_it() {
        let wire = [0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 1, 2, 3, 4, 5, 6];
        let uuid = Uuid::from_wire(wire).unwrap();
        assert_eq!(uuid.to_string(), "11223344-5566-7788-99aa-010203040506");
        assert_eq!(uuid.to_string().to_uppercase().parse(), Ok(uuid));
    }

    #[test]
    fn either_byte_order_is_the_same_machine() {
        let vsphere: Uuid = "564da6d2-1706-6343-dc2d-0123456789ab".parse().unwrap();
        let smbios: Uuid = "d2a64d56-0617-4363-dc2d-0123456789ab".parse().unwrap();
        assert!(vsphere.is_same_machine(&smbios) && smbios.is_same_machine(&vsphere));
        let serial = "VMware-56 4d a6 d2 17 06 63 43-dc 2d 01 23 45 67 89 ab";
        assert_eq!(Uuid::from_vmware_serial(serial), Some(vsphere));
        let other = "564da6d2-1706-6343-dc2d-0123456789ac".parse().unwrap();
        assert!(!vsphere.is_same_machine(&other));
        for wrong in ["56 4d", "VMware-56 4d", "VMware-42", "", "VMware-"] {
            assert_eq!(Uuid::from_vmware_serial(wrong), None);
        }
    }

    #[test]
    fn a_vmware_serial_stands_in_for_a_missing_uuid() {
        let mac = "52:54:00:00:00:01".parse().unwrap();
        let serial = "VMware-56 4d a6 d2 17 06 63 43-dc 2d 01 23 45 67 89 ab";
        let labels = BTreeMap::from([("serial".to_owned(), serial.to_owned())]);
        let machine = Machine::told(mac, None, labels.clone());
        assert_eq!(machine.uuid, Uuid::from_vmware_serial(serial));
        let told: Uuid = "11223344-5566-7788-99aa-010203040506".parse().unwrap();
        assert_eq!(Machine::told(mac, Some(told), labels).uuid, Some(told));
    }

    #[test]
    fn a_uuid_that_board_makers_leave_everywhere_names_no_machine() {
        for (text, is_shared) in [
            ("00020003-0004-0005-0006-000700080009", true),
            ("03000200-0400-0500-0006-000700080009", true),
            ("fefefefe-fefe-fefe-fefe-fefefefefefe", true),
            ("12345678-1234-5678-90ab-cddeefaabbcc", true),
            ("78563412-3412-7856-90ab-cddeefaabbcc", true),
            ("8a95d198-7f46-11e5-bf8b-08002704d48e", true),
            ("4c4c4544-0000-2010-8020-80c04f202020", true),
            ("44454c4c-0000-1020-8020-80c04f202020", true),
            ("4c4c4544-0000-0000-8000-80c04f000000", true),
            ("01234567-89ab-cdef-0123-456789abcdef", true),
            ("4c4c4544-0051-3410-8051-b5c04f375931", false),
            ("00259001-0203-0000-0000-000000000000", true),
            ("00259001-0203-0000-0000-000000000001", false),
            ("564da6d2-1706-6343-dc2d-0123456789ab", false),
        ] {
            assert_eq!(text.parse::<Uuid>().unwrap().is_shared(), is_shared, "{text}");
        }
    }

    #[test]
    fn a_uuid_that_an_operator_lists_is_shared_in_either_byte_order() {
        let [vsphere, smbios, other] = [
            "564da6d2-1706-6343-dc2d-0123456789ab",
            "d2a64d56-0617-4363-dc2d-0123456789ab",
            "564da6d2-1706-6343-dc2d-0123456789ac",
        ]
        .map(|text| text.parse::<Uuid>().unwrap());
        let shared = SharedUuids::new([vsphere]);
        assert!(shared.contains(&vsphere) && shared.contains(&smbios));
        assert!(!shared.contains(&other));
        assert!(shared.contains(&"00020003-0004-0005-0006-000700080009".parse().unwrap()));
    }

    #[test]
    fn an_unset_uuid_is_nobody() {
        assert_eq!(Uuid::from_wire([0; 16]), None);
        assert_eq!("ffffffff-ffff-ffff-ffff-ffffffffffff".parse::<Uuid>(), Err(NotAUuid));
        assert_eq!("11223344-5566-7788-99aa01020304-0506".parse::<Uuid>(), Err(NotAUuid));
    }
}
