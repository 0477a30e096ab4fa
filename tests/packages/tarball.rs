//! The tarball on a minimal Debian: the manual steps of its part of the page.

use super::fresh_root::Isolation;
use super::page::{Page, check_links};

#[test]
fn tarball_installs_per_page_and_keeps_existing_root_key() {
    let name = "tarball::tarball_installs_per_page_and_keeps_existing_root_key";
    let Isolation::Inside(root) = Isolation::enter(name) else { return };
    let page = Page::read();
    root.make_tarball();
    let blocks = page.blocks("From the tarball");
    let [programs, daemon] = blocks.as_slice() else { panic!("another installation: {blocks:?}") };
    // An operator types the second block in the folder where the first one ends.
    let folder = programs.lines().find(|line| line.starts_with("cd ")).expect("it goes into the folder");
    let daemon = format!("{folder}\n{daemon}");
    root.run("test ! -e /usr/local/share/man/man8").expect(0);
    root.run(programs).expect(0);
    root.run("infra --version && infrad --version").expect(0);
    root.run("test -s /usr/local/share/man/man1/infra.1 && test -s /usr/local/share/man/man8/infrad.8")
        .expect(0);

    root.run(&daemon).expect(0);
    let key = "sha256sum /etc/infra/root.key";
    let before = root.run(key).expect(0).stdout;
    root.run("test \"$(stat -c '%U %a %s' /etc/infra/root.key)\" = 'root 400 32'").expect(0);
    let line = daemon.lines().find(|line| line.contains("/dev/urandom")).expect("a line makes the key");
    for shell in ["sh", "bash"] {
        // On a second run, dash exits with 2 and bash with 1.
        root.write("root/again", &format!("{line}\n"));
        root.run(&format!("! {shell} again")).expect(0);
        assert_eq!(root.run(key).expect(0).stdout, before, "{shell}: the key was written over");
    }
    let units = "/etc/systemd/system/infrad.service /etc/systemd/system/infrad.socket";
    let ran = root.run(&format!("systemd-analyze verify --man=no {units}")).expect(0);
    assert_eq!(ran.stderr, "", "{ran}");
    root.run("grep -qx 'ExecStart=/usr/local/bin/infrad serve' /etc/systemd/system/infrad.service").expect(0);

    let pages = root.path(&format!("root/{}/share/doc/docs", folder.trim_start_matches("cd ")));
    let links = check_links(&pages, |_| true);
    assert!(links > 100, "{links}");

    // The example configuration is where the page says.
    assert!(page.text("From the tarball").contains("the example is `share/doc/infrad.yaml` here"));
    root.write("root/client-secret", "a-client-secret");
    for block in page.blocks("Configuration") {
        let block = block.replace("/usr/share/doc/infrad/examples/infrad.yaml", "share/doc/infrad.yaml");
        let block = block.replace("client-secret >/etc", "/root/client-secret >/etc");
        root.run(&format!("{folder}\n{}", block.replace("-u client-secret", "-u /root/client-secret")))
            .expect(0);
    }
}
