//! The peer: dnsmasq (proxy-DHCP and TFTP) and nginx, configured by hand as a
//! competent administrator would for the same job. It is the reference every
//! boot case can also run against, and the other side of the benchmark.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::Process;
use super::site::{Profile, Site};
use super::{BOX, BOX_INTERFACE, Failure, Lab};

/// Debian's iPXE package, whose files the peer hands out where they lie.
const FIRMWARE: &str = "/usr/lib/ipxe";

/// dnsmasq and nginx at work.
pub struct Peer {
    dnsmasq: Process,
    nginx: Process,
    folder: PathBuf,
}

impl Peer {
    /// Writes the configuration of both and starts them.
    pub fn start(lab: &Lab, site: &Site, repository: &Path) -> Result<Self, Failure> {
        let folder = lab.scratch().join("peer");
        fs::create_dir_all(folder.join("tftp"))?;
        for program in ["undionly.kpxe", "snponly.efi"] {
            fs::copy(Path::new(FIRMWARE).join(program), folder.join("tftp").join(program))
                .map_err(|error| Failure::new(format!("{FIRMWARE}/{program}: {error}")))?;
        }
        write_scripts(site, repository)?;
        fs::write(folder.join("dnsmasq.conf"), dnsmasq_conf(site, &folder))?;
        fs::write(folder.join("nginx.conf"), nginx_conf(&folder, repository))?;
        let (dnsmasq, nginx) = run(lab, &folder)?;
        Ok(Self { dnsmasq, nginx, folder })
    }

    /// SIGKILL to both.
    pub fn kill(&mut self) {
        self.dnsmasq.kill();
        self.nginx.kill();
    }

    /// Starts both again.
    pub fn restart(&mut self, lab: &Lab) -> Result<(), Failure> {
        self.kill();
        (self.dnsmasq, self.nginx) = run(lab, &self.folder)?;
        Ok(())
    }
}

fn run(lab: &Lab, folder: &Path) -> Result<(Process, Process), Failure> {
    let limit = Duration::from_secs(10);
    let mut command = lab.server().command("dnsmasq");
    command
        .arg("--keep-in-foreground")
        .arg(format!("--conf-file={}", folder.join("dnsmasq.conf").display()));
    let log = lab.evidence().join("server.log");
    let dnsmasq = Process::spawn("dnsmasq", command, &log)?;

    let mut command = lab.server().command("nginx");
    // -e: Debian's build would otherwise open /var/log/nginx/error.log first.
    command.args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
    let mut nginx = Process::spawn("nginx", command, &log)?;

    dnsmasq.wait_for("TFTP root is", limit)?;
    // nginx says nothing when it is ready; its listening socket (port 80, state 0A) does.
    for _ in 0..500 {
        if nginx.has_ended()? {
            break;
        }
        let sockets = lab.server().run("cat /proc/net/tcp")?;
        if sockets.lines().any(|line| line.contains(":0050 00000000:0000 0A")) {
            return Ok((dnsmasq, nginx));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::new(format!(
        "nginx does not listen on port 80; it said:\n{}",
        nginx.transcript().tail(20)
    )))
}

/// `boot.ipxe` for everybody, or one script per machine that it chains to.
fn write_scripts(site: &Site, repository: &Path) -> Result<(), Failure> {
    let mut boot = "#!ipxe\nchain mac-${mac:hexhyp}.ipxe\n".to_owned();
    for group in &site.groups {
        let profile = site.profiles.iter().find(|profile| profile.name == group.profile);
        let profile = profile.ok_or_else(|| Failure::new("a group names no profile"))?;
        match &group.mac {
            None => boot = script(profile),
            Some(mac) => {
                let name = format!("mac-{}.ipxe", mac.replace(':', "-"));
                fs::write(repository.join(name), script(profile))?;
            }
        }
    }
    fs::write(repository.join("boot.ipxe"), boot)?;
    Ok(())
}

fn script(profile: &Profile) -> String {
    let args = profile.args.join(" ");
    let args =
        args.replace("{{ mac }}", "${mac}").replace("{{ base_url }}", &format!("http://{BOX}"));
    let (kernel, initrd) = (&profile.kernel, &profile.initrd);
    let name = initrd.rsplit('/').next().unwrap_or_default();
    format!(
        "#!ipxe\n\
         :kernel\n\
         kernel {kernel} initrd={name} {args} || goto wait_kernel\n\
         :initrd\n\
         initrd {initrd} || goto wait_initrd\n\
         boot\n\
         :wait_kernel\n\
         imgfree\n\
         sleep 1\n\
         goto kernel\n\
         :wait_initrd\n\
         sleep 1\n\
         goto initrd\n"
    )
}

fn dnsmasq_conf(site: &Site, folder: &Path) -> String {
    let mut conf = format!(
        "port=0\ninterface={BOX_INTERFACE}\nbind-dynamic\nuser=root\ngroup=\npid-file=\n\
         dhcp-leasefile={}\n\
         log-facility=-\nlog-dhcp\n\
         dhcp-range=10.77.0.0,proxy,255.255.255.0\n\
         enable-tftp\ntftp-root={}\n\
         dhcp-match=set:ipxe,175\n",
        // Even a proxy without leases opens this file, in /var/lib/misc unless told.
        folder.join("leases").display(),
        folder.join("tftp").display()
    );
    for (tag, architecture, file) in [
        ("!ipxe", "x86PC", "undionly.kpxe"),
        ("!ipxe", "X86-64_EFI", "snponly.efi"),
        ("!ipxe", "BC_EFI", "snponly.efi"),
        ("ipxe", "x86PC", "http://10.77.0.2/boot.ipxe"),
        ("ipxe", "X86-64_EFI", "http://10.77.0.2/boot.ipxe"),
        ("ipxe", "BC_EFI", "http://10.77.0.2/boot.ipxe"),
    ] {
        let _ = writeln!(conf, "pxe-service=tag:{tag},{architecture},\"boot\",{file}");
    }
    if site.groups.iter().all(|group| group.mac.is_some()) {
        for mac in site.groups.iter().filter_map(|group| group.mac.as_ref()) {
            let _ = writeln!(conf, "dhcp-mac=set:known,{mac}");
        }
        conf.push_str("dhcp-ignore=tag:!known\n");
    }
    conf
}

fn nginx_conf(folder: &Path, repository: &Path) -> String {
    let folder = folder.display();
    let mut conf = format!(
        "user root;\ndaemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
         events {{}}\nhttp {{\n  access_log /dev/stdout;\n  sendfile on;\n  tcp_nopush on;\n"
    );
    for temporary in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(conf, "  {temporary}_temp_path {folder}/{temporary};");
    }
    let _ = writeln!(conf, "  server {{ listen 80; root {}; }}\n}}", repository.display());
    conf
}
