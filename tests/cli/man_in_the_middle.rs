//! An attacker between a user and a trusted server learns nothing: not one byte of application data.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::impostor::{Disguise, Impostor};
use infra_harness::program::{Call, RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_shared::token_text::SessionToken;

#[test]
fn impostor_receives_no_data_in_any_disguise() {
    for disguise in Disguise::ALL {
        let authority = Authority::new();
        let token = SessionToken::mint();
        let fingerprint = authority.pin().to_string();
        let authority_file = authority.file();
        let trusts: [(&str, &std::ffi::OsStr); 2] =
            [("INFRA_FINGERPRINT", fingerprint.as_ref()), ("INFRA_CA_FILE", authority_file.as_os_str())];
        for (name, trust) in trusts {
            // With the CA file at hand, a chain may omit the CA.
            if name == "INFRA_CA_FILE" && disguise == Disguise::LeafAlone {
                continue;
            }
            for arguments in [&["login"][..], &["status"], &["token", "--min-left", "1m"], &["logout"]] {
                let impostor = Impostor::start(disguise, &authority);
                let user = User::new();
                let browser = RecordingBrowser::recording();
                let call = user
                    .infra(arguments)
                    .env("INFRA_SERVER", impostor.origin())
                    .env(name, trust)
                    .browser(&browser);
                let is_login = arguments == ["login"];
                if disguise == Disguise::HonestAtFirst && !is_login {
                    // These commands send one request only.
                    continue;
                }
                refused(if is_login { call } else { call.env("INFRA_TOKEN", token.expose()) }, disguise);
                assert!(impostor.connections() > 0, "{disguise:?} {arguments:?}: it was never asked");
                assert_eq!(impostor.received(), 0, "{disguise:?} {arguments:?}: it was sent something");
                assert_ne!(
                    impostor.in_the_clear().first(),
                    Some(&b'G'),
                    "{disguise:?}: plain HTTP was spoken"
                );
                assert!(browser.opened().is_empty(), "{disguise:?}: a browser was opened");
                let secret = token.expose().as_bytes();
                assert!(!impostor.in_the_clear().windows(secret.len()).any(|window| window == secret));
            }
        }
    }
}

#[test]
fn honest_server_receives_data() {
    let authority = Authority::new();
    let impostor = Impostor::start(Disguise::HonestAtFirst, &authority);
    let user = User::new();
    let call = user.infra(["status"]).env("INFRA_SERVER", impostor.origin());
    let call = call.env("INFRA_TOKEN", SessionToken::mint().expose()).env("INFRA_CA_FILE", authority.file());
    // The response is not a session, but the connection is trusted.
    let ran = call.run();
    assert_ne!(ran.code, Some(5), "{ran}");
}

#[track_caller]
fn refused(call: Call<'_>, disguise: Disguise) {
    let ran = call.run();
    assert_eq!(ran.code, Some(5), "{disguise:?}\n{ran}");
}

/// An old middlebox: it reads one packet, resets the connection unless that is a complete ClientHello, and
/// forwards everything else.
fn middlebox(listener: &TcpListener, target: u16) {
    const PACKET: usize = 1380;
    for client in listener.incoming() {
        let Ok(mut client) = client else { continue };
        std::thread::spawn(move || {
            let mut first = [0; PACKET];
            let read = client.read(&mut first).unwrap_or_default();
            let length =
                first.iter().skip(3).take(2).fold(0, |length, byte| length * 256 + usize::from(*byte));
            // Closing a socket with unread data makes the system reset the connection.
            if length + 5 > read {
                return;
            }
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (Ok(mut back), Ok(mut from)) = (client.try_clone(), server.try_clone()) else { return };
            if server.write_all(first.get(..read).unwrap_or_default()).is_ok() {
                std::thread::spawn(move || std::io::copy(&mut from, &mut back));
                let _ = std::io::copy(&mut client, &mut server);
            }
        });
    }
}

#[test]
fn middlebox_that_resets_large_handshakes_is_named_and_avoided() {
    let (provider, alice) = (Provider::start(), User::new());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("https://{}", listener.local_addr().expect("an address"));
    let daemon =
        Daemon::start_with(&provider, |configuration| configuration.public_urls.push(origin.clone()));
    let target = daemon.port();
    std::thread::spawn(move || middlebox(&listener, target));
    let fingerprint = daemon.fingerprint();
    let login = || alice.infra(["login", &origin, "--fingerprint", &fingerprint, "--no-keyring"]);
    login().run().expect(4).stderr_contains(&[
        "closed during the TLS handshake",
        "middlebox",
        "INFRA_KEY_EXCHANGE=classical",
    ]);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login().env("INFRA_KEY_EXCHANGE", "classical").browser(&browser).run().expect(0);
}
