use super::*;
use crate::mutator::{Random, wanted};

/// A stub with one section, and room for `room` more.
fn stub(room: usize) -> Vec<u8> {
    let (pe, table) = (0x40, 0x40 + 24 + 240);
    let headers = table + 40 * (1 + room);
    let mut bytes = vec![0; headers];
    let mut put = |at: usize, new: &[u8]| bytes[at..at + new.len()].copy_from_slice(new);
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(pe, b"PE\0\0\x64\xaa\x01\0");
    put(pe + 20, &240_u16.to_le_bytes());
    let optional = pe + 24;
    put(optional, &0x020b_u16.to_le_bytes());
    put(optional + 32, &0x200_u32.to_le_bytes());
    put(optional + 36, &0x200_u32.to_le_bytes());
    put(optional + 60, &u32::try_from(headers).unwrap().to_le_bytes());
    put(optional + 64, &[7; 4]);
    put(optional + 68, &[10]);
    put(optional + 108, &[16]);
    put(optional + 112 + 32, &[9; 8]);
    put(table, b".text\0\0\0");
    for (field, value) in [(8, 0x2001), (12, 0x1000), (16, 40), (20, headers)] {
        put(table + field, &u32::try_from(value).unwrap().to_le_bytes());
    }
    bytes.extend(b"#### LoaderInfo: systemd-stub 252 ####\0\0");
    bytes
}

/// The whole image, of kernels that are all `k` and initrds of their index.
fn assembled(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in &image.pieces {
        match piece {
            Piece::Bytes(some) => bytes.extend(some),
            Piece::Initrd(index, len) => {
                bytes.resize(bytes.len() + *len as usize, b'0' + u8::try_from(*index).unwrap());
            }
            Piece::Kernel(len) => bytes.resize(bytes.len() + *len as usize, b'k'),
            Piece::Shared(some) => bytes.extend(some.iter()),
        }
    }
    assert_eq!(bytes.len() as u64, image.len);
    bytes
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize
}

#[test]
fn an_image_holds_the_machines_words_and_its_files_in_sections() {
    let read = Stub::read(&stub(3), Processor::Arm64).unwrap();
    let image = read.image("quiet a=b", 1000, &[5, 4, 3]).unwrap();
    let bytes = assembled(&image);
    let table = 0x40 + 24 + 240;
    assert_eq!(bytes[0x46], 4);
    let mut end = 0x3001;
    for (index, (name, body)) in [
        (&b".cmdline"[..], b"quiet a=b".to_vec()),
        (b".linux", [b'k'; 1000].to_vec()),
        (b".initrd", b"00000\0\0\x001111222".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        let entry = table + 40 * (1 + index);
        assert!(bytes[entry..].starts_with(name), "{name:?}");
        let [len, address, file_len, at] = [8, 12, 16, 20].map(|at| number(&bytes, entry + at));
        assert_eq!(bytes[at..at + len], body, "{name:?}");
        assert_eq!((address % 4096, at % 512, file_len % 512), (0, 0, 0), "{name:?}");
        assert!(address >= end && at + file_len <= bytes.len(), "{name:?}");
        end = address + len;
    }
    let optional = 0x40 + 24;
    assert_eq!(number(&bytes, optional + 56), end.next_multiple_of(4096));
    assert_eq!(number(&bytes, optional + 64), 0, "its checksum would be wrong");
    assert_eq!(bytes[optional + 144..optional + 152], [0; 8], "so would its signature");
    assert_eq!(bytes.len() % 512, 0);
}

#[test]
fn a_kernel_needs_no_initrd() {
    let read = Stub::read(&stub(3), Processor::Arm64).unwrap();
    let image = read.image("", 512, &[]).unwrap();
    assert_eq!(assembled(&image)[0x46], 3);
    assert!(!image.pieces.contains(&Piece::Bytes(Vec::new())));
}

#[test]
fn what_is_no_stub_for_this_processor_is_refused_in_words() {
    let read = |bytes: Vec<u8>| Stub::read(&bytes, Processor::Arm64).map(drop);
    assert_eq!(read(stub(3)), Ok(()));
    assert_eq!(read(stub(2)), Err(Unfit::NoRoom));
    assert_eq!(read(b"#!ipxe\n".to_vec()), Err(Unfit::NotEfi));
    assert_eq!(read(stub(3)[..0x100].to_vec()), Err(Unfit::NotEfi));
    let whole = stub(3);
    let cut = whole[..whole.len() - 1].to_vec();
    assert_eq!(read(cut), Err(Unfit::NotEfi));
    let other = Stub::read(&whole, Processor::X64).map(drop).unwrap_err();
    assert_eq!(other.to_string(), "is for arm64, not for x86_64");
    let loader: Vec<u8> = stub(3).into_iter().map(|b| if b == b'#' { b'-' } else { b }).collect();
    assert_eq!(read(loader), Err(Unfit::NotAStub));
    let image = Stub::read(&stub(6), Processor::Arm64).unwrap().image("x", 1, &[]).unwrap();
    assert_eq!(read(assembled(&image)), Err(Unfit::Unified));
}

#[test]
fn more_than_pe_can_count_is_refused() {
    let read = Stub::read(&stub(3), Processor::Arm64).unwrap();
    for (kernel, initrds) in
        [(u64::MAX, &[][..]), (1 << 32, &[]), (1 << 31, &[1 << 31]), (1, &[u64::MAX, u64::MAX])]
    {
        assert_eq!(read.image("", kernel, initrds), Err(TooLarge), "{kernel} {initrds:?}");
    }
}

#[test]
fn a_kernel_is_known_by_its_head() {
    let kernel = stub(0);
    assert_eq!(Processor::Arm64.starts(&kernel), Ok(()));
    let other = Processor::X64.starts(&kernel).unwrap_err();
    assert_eq!(other.to_string(), "is for arm64, not for x86_64");
    let mut arm = kernel.clone();
    for machine_type in [0xc0, 0xc2, 0xc4] {
        arm[0x44..0x46].copy_from_slice(&[machine_type, 1]);
        assert_eq!(Processor::Arm.starts(&arm), Ok(()), "{machine_type:x}");
    }
    assert_eq!(Processor::Arm64.starts(b"\x1f\x8b\x08"), Err(NoKernel::Gzip));
    assert_eq!(Processor::Arm64.starts(b"\x7fELF"), Err(NoKernel::NotEfi));
    assert_eq!(Processor::Arm64.starts(&kernel[..0x44]), Err(NoKernel::NotEfi));
}

#[test]
fn no_bytes_make_it_panic() {
    let pieces: [&[u8]; 4] = [b"MZ", b"PE\0\0", &[0xff; 4], &[0; 40]];
    let (mut random, mut fit) = (Random(19), 0);
    for _ in 0..wanted() / 8 {
        let mut bytes = stub(3);
        random.mutate(&mut bytes, &pieces);
        let _ = Processor::Arm64.starts(&bytes);
        if let Ok(read) = Stub::read(&bytes, Processor::Arm64) {
            fit += 1;
            if let Ok(image) = read.image("quiet", 10, &[1, 2]) {
                assembled(&image);
            }
        }
    }
    assert!(fit > 100, "{fit}");
}
