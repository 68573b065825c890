//! A text that a machine would be given, of every kind: `fuzz/run` runs it.
//! Seeds: `tests/fixtures/check/` and the files of `etc/examples/`.
#![no_main]

use bootbox::check::{Kind, Target, faults};

const KINDS: [Kind; 5] = [Kind::CloudConfig, Kind::Ignition, Kind::Ipxe, Kind::Script, Kind::Text];

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    for kind in KINDS {
        for target in
            [Target::CoreOs("1122.2.0".to_owned()), Target::Flatcar(None), Target::Unknown]
        {
            for fault in faults(kind, text, &target) {
                assert!(fault.line >= 1 && !fault.text.is_empty());
            }
        }
    }
});
