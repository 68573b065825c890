//! A release as an operator mirrors it: kernel, initramfs, disk image, a signature of
//! each, `version.txt`, and the keyring to trust. Built once, kept under
//! `target/lab-release/` by what it was built from.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::disk::{self, run};
use super::guest::kernel;
use super::guest::systems::{self, Family};
use super::{Failure, Scratch, target};

/// One at a time in this program: the second test finds what the first one built.
static BUILDING: Mutex<()> = Mutex::new(());

/// A finished release.
#[derive(Clone, Debug)]
pub struct Release {
    family: Family,
    folder: PathBuf,
}

impl Release {
    /// The release of this family, built unless it is there.
    pub fn of(family: Family) -> Result<Self, Failure> {
        let _turn = BUILDING.lock().unwrap();
        let folder = target().join("lab-release").join(key(family)?);
        if !folder.exists() {
            build(family, &folder)?;
        }
        Ok(Self { family, folder })
    }

    /// Whose it is.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its version.
    pub fn version(&self) -> &'static str {
        self.family.version()
    }

    /// A file's name, by what it ends in: `pxe.vmlinuz`, `image.bin.bz2`, …
    pub fn name(&self, end: &str) -> String {
        file_name(self.family, end)
    }

    /// Where a file is in the repository, as a URL path.
    pub fn path(&self, end: &str) -> String {
        format!("/coreos/{}/{}", self.version(), self.name(end))
    }

    /// The public keys to trust, armoured.
    pub fn keyring(&self) -> PathBuf {
        self.folder.join("keyring.asc")
    }

    /// Puts it into a repository, as `/coreos/VERSION/`.
    pub fn install(&self, repository: &Path) -> Result<(), Failure> {
        let folder = repository.join("coreos").join(self.version());
        fs::create_dir_all(&folder)?;
        for end in FILES {
            let name = self.name(end);
            place(&self.folder.join(&name), &folder.join(&name))?;
            let signature = format!("{name}.sig");
            place(&self.folder.join(&signature), &folder.join(&signature))?;
        }
        place(&self.folder.join("version.txt"), &folder.join("version.txt"))
    }

    /// Replaces the image's signature in a repository by one of somebody else's key.
    pub fn sign_wrongly(&self, repository: &Path) -> Result<(), Failure> {
        let signature = format!("{}.sig", self.name(IMAGE));
        let installed = repository.join("coreos").join(self.version()).join(signature);
        fs::remove_file(&installed)?;
        place(&self.folder.join("somebody-else.sig"), &installed)
    }
}

/// The disk image.
pub const IMAGE: &str = "image.bin.bz2";
/// The kernel that is booted over the network.
pub const KERNEL: &str = "pxe.vmlinuz";
/// Its initramfs.
pub const INITRD: &str = "pxe_image.cpio.gz";
const FILES: [&str; 3] = [KERNEL, INITRD, IMAGE];

fn file_name(family: Family, end: &str) -> String {
    format!("{}_production_{end}", family.name())
}

/// A hard link where that is possible: the files are large.
fn place(from: &Path, to: &Path) -> Result<(), Failure> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).map_err(|error| Failure::new(format!("{}: {error}", from.display())))?;
    }
    Ok(())
}

/// The folder's name: it changes with everything that goes into the release.
fn key(family: Family) -> Result<String, Failure> {
    let mut hasher = DefaultHasher::new();
    family.hash(&mut hasher);
    let kernel = kernel::image()?;
    kernel.hash(&mut hasher);
    fs::metadata(&kernel)?.len().hash(&mut hasher);
    for source in systems::sources() {
        // A script's text, or the path of a program, which a package update changes.
        source.hash(&mut hasher);
        if let Ok(program) = fs::metadata(source) {
            program.modified()?.hash(&mut hasher);
        }
    }
    let builders = [include_str!("disk.rs"), include_str!("release.rs")];
    let systems = [include_str!("guest/systems.rs"), include_str!("guest/kernel.rs")];
    (builders, systems).hash(&mut hasher);
    Ok(format!("{}-{:016x}", family.name(), hasher.finish()))
}

/// Builds into a folder beside, so that a half-made release is never taken for one.
fn build(family: Family, folder: &Path) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let work = scratch.path();
    let out = folder.with_extension(std::process::id().to_string());
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out)?;

    let keys = Keys::new(&work.join("keys"))?;
    let strangers = Keys::new(&work.join("strangers"))?;
    fs::write(out.join("keyring.asc"), keys.export(&["--armor"])?)?;

    let ours = |end: &str| out.join(file_name(family, end));
    fs::copy(kernel::image()?, ours(KERNEL))?;
    let in_ram = systems::in_ram(family, &keys.export(&[])?)?;
    compress("gzip", &["-6", "-n"], &in_ram, &work.join("initrd"), &ours(INITRD))?;

    let initrd = work.join("installed.gz");
    compress("gzip", &["-6", "-n"], &systems::installed()?, &work.join("installed"), &initrd)?;
    disk::build(work, &kernel::image()?, &initrd)?;
    let image = fs::read(work.join("disk.img"))?;
    compress("bzip2", &["-9"], &image, &work.join("image"), &ours(IMAGE))?;

    for end in FILES {
        let file = ours(end);
        keys.sign(&file, &out.join(format!("{}.sig", file_name(family, end))))?;
    }
    strangers.sign(&ours(IMAGE), &out.join("somebody-else.sig"))?;
    let word = family.name().to_uppercase();
    let version = family.version();
    fs::write(
        out.join("version.txt"),
        format!("{word}_VERSION={version}\n{word}_BUILD_ID=\"\"\n"),
    )?;
    for entry in fs::read_dir(&out)? {
        // The server that hands them out is nobody.
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o644))?;
    }
    if fs::rename(&out, folder).is_err() {
        // Another test program was faster.
        fs::remove_dir_all(&out)?;
    }
    Ok(())
}

fn compress(
    program: &str,
    options: &[&str],
    body: &[u8],
    plain: &Path,
    to: &Path,
) -> Result<(), Failure> {
    fs::write(plain, body)?;
    let output = fs::File::create(to)?;
    let status = Command::new(program)
        .args(options)
        .stdin(fs::File::open(plain)?)
        .stdout(output)
        .status()
        .map_err(|error| Failure::new(format!("{program}: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{program} failed"))) }
}

/// A signing key made for one release, as CoreOS has it: a primary key that certifies,
/// and a subkey that signs.
struct Keys {
    home: PathBuf,
}

impl Keys {
    fn new(home: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(home)?;
        fs::set_permissions(home, fs::Permissions::from_mode(0o700))?;
        let keys = Self { home: home.to_owned() };
        keys.gpg(&[
            "--quick-gen-key",
            "Lab images <images@lab.invalid>",
            "rsa2048",
            "cert",
            "never",
        ])?;
        let listed = keys.gpg(&["--list-keys", "--with-colons"])?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let fingerprint = listed
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .and_then(|line| line.split(':').nth(9))
            .ok_or_else(|| Failure::new("gpg made no key"))?;
        keys.gpg(&["--quick-add-key", fingerprint, "rsa2048", "sign", "never"])?;
        Ok(keys)
    }

    fn export(&self, options: &[&str]) -> Result<Vec<u8>, Failure> {
        self.gpg(&[options, &["--export"]].concat())
    }

    fn sign(&self, file: &Path, signature: &Path) -> Result<(), Failure> {
        let (file, signature) = (file.to_string_lossy(), signature.to_string_lossy());
        self.gpg(&["--output", &signature, "--detach-sign", &file]).map(drop)
    }

    fn gpg(&self, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let output = Command::new("gpg")
            .args(["--batch", "--quiet", "--passphrase", "", "--homedir"])
            .arg(&self.home)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::new(format!("gpg: {error}; run `tests/packages test`")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("gpg {arguments:?}: {said}")))
    }
}

impl Drop for Keys {
    /// gpg leaves an agent behind, which would outlive the tests.
    fn drop(&mut self) {
        let _ = run(&format!("gpgconf --homedir {} --kill gpg-agent", self.home.display()));
    }
}
