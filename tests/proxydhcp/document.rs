//! docs/firmware.md says what the code's tables say. `UPDATE=1` writes its tables anew.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

use bootbox::{
    firmware::{ARCHITECTURES, Firmware, Means, Unidentified},
    proxydhcp::Reason,
};

const FIRMWARE: &str = "| firmware | in `[boot.programs]` |";
const IGNORED: &str = "| option 93 | what it is | why |";

#[test]
fn the_document_has_the_codes_own_tables() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/firmware.md");
    let mut document = fs::read_to_string(&file).expect("the document can be read");
    for (head, rows) in [(FIRMWARE, firmware()), (IGNORED, ignored())] {
        let written = rows_below(&document, head);
        if env::var_os("UPDATE").is_some() {
            let (start, end) = written;
            document.replace_range(start..end, &rows);
        } else {
            assert_eq!(&document[written.0..written.1], rows, "UPDATE=1 writes it anew");
        }
    }
    if env::var_os("UPDATE").is_some() {
        fs::write(&file, document).expect("the document can be written");
    }
}

/// Where the rows stand that follow this head and the line below it.
fn rows_below(document: &str, head: &str) -> (usize, usize) {
    let head = document.find(head).expect("the table is there");
    let lines = document[head..].split_inclusive('\n');
    let start: usize = lines.clone().take(2).map(str::len).sum();
    let length: usize = lines.skip(2).take_while(|line| line.starts_with('|')).map(str::len).sum();
    (head + start, head + start + length)
}

fn firmware() -> String {
    let mut rows = String::new();
    for firmware in Firmware::ALL {
        let numbers = |means: Means| {
            let of = ARCHITECTURES.iter().filter(|row| row.firmware == Ok(firmware));
            let numbers: Vec<String> =
                of.filter(|row| row.means == means).map(|row| row.number.to_string()).collect();
            numbers.join(", ")
        };
        let quoted: Vec<String> =
            firmware.usual_programs().iter().map(|name| format!("`{name}`")).collect();
        let programs =
            if quoted.is_empty() { "only what is named".to_owned() } else { quoted.join(", ") };
        let (pxe, http) = (numbers(Means::Pxe), numbers(Means::Http));
        let (word, met) = (firmware.word(), met_as(firmware));
        let _ = writeln!(rows, "| {firmware} | `{word}` | {pxe} | {http} | {programs} | {met} |");
    }
    rows
}

/// By which names it was met in the field.
fn met_as(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => {
            "Intel Boot Agent (AMI boards, HP, Hyper-V generation 1, VirtualBox); iPXE in \
             QEMU's cards"
        }
        Firmware::Efi64 => "EDK2 (OVMF, boards of AMD and ASRock); some x64 firmware says 9",
        Firmware::EfiArm64 => "EDK2 in QEMU; U-Boot that looks for UEFI programs",
        Firmware::EfiRiscv64 => "U-Boot, as `0001b` in option 60",
        Firmware::Efi32 | Firmware::EfiArm32 | Firmware::EfiLoong64 | Firmware::EfiRiscv32 => {
            "not yet"
        }
        Firmware::RaspberryPi => {
            "boot ROM and EEPROM of the Raspberry Pi 3 and 4, which say 0 and are known by \
             their address or GUID"
        }
        Firmware::UbootArm32 => "not yet",
        Firmware::UbootArm64 => "U-Boot that looks for pxelinux.cfg",
    }
}

fn ignored() -> String {
    let mut rows = String::new();
    for row in &ARCHITECTURES {
        if let Err(why) = row.firmware {
            let _ = writeln!(rows, "| {} | {} | {why} |", row.number, row.name);
        }
    }
    rows
}

#[test]
fn the_document_explains_every_reason_to_leave_a_machine_that_wants_to_boot() {
    let document = include_str!("../../docs/firmware.md");
    let table = document.split("## What the log says").nth(1).expect("the table is there");
    let table = table.split("\n## ").next().unwrap_or_default();
    let explained: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let foreign = ARCHITECTURES.iter().find(|row| row.firmware.is_err()).expect("there are some");
    let reasons = [
        Reason::Held(String::new()),
        Reason::Installed(String::new()),
        Reason::LeftToHttp,
        Reason::NoBootProgram(Firmware::Bios),
        Reason::NoGroup,
        Reason::NotAllowed,
        Reason::NotByTftp(String::new()),
        Reason::NotRecorded(String::new()),
        Reason::Relayed,
        Reason::TellsNoMore,
        Reason::Unidentified(Unidentified::Foreign(foreign)),
        Reason::Unidentified(Unidentified::NoArchitecture),
        Reason::Unidentified(Unidentified::Unregistered(99)),
    ];
    assert_eq!(explained, reasons.iter().map(Reason::label).collect());
}
