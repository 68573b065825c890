//! Embeds the boot programs that `firmware/fetch` put into `firmware/`.

use std::{
    env,
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

const PROGRAMS: [&str; 2] = ["undionly.kpxe", "snponly.efi"];

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let folder = Path::new(&root).join("firmware");
    println!("cargo::rerun-if-changed=firmware");

    let mut table = String::from("static EMBEDDED: &[(&str, u64, &[u8])] = &[\n");
    for program in PROGRAMS {
        let file = folder.join(program);
        if !file.is_file() {
            println!(
                "cargo::warning=firmware/{program} is not there: run `firmware/fetch` and build again, \
                 or name a folder that has it in [firmware] dir"
            );
            continue;
        }
        let path = file.to_str().expect("the checkout's path is UTF-8");
        let mut hasher = DefaultHasher::new();
        fs::read(&file).expect("the boot program can be read").hash(&mut hasher);
        let hash = hasher.finish();
        writeln!(table, "    ({program:?}, {hash}, include_bytes!({path:?})),")
            .expect("writing to a string");
    }
    table.push_str("];\n");

    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("firmware.rs"), table).expect("OUT_DIR can be written");
}
