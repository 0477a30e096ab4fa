//! Text that an operator gives to users: addresses, fingerprint and the sign-in command.

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;

/// Addresses, fingerprint, and the exact `infra login` command for the first address.
pub(super) fn of(public_urls: &[Origin], pin: Pin) -> String {
    let text = identity(public_urls, pin);
    match login_line(public_urls, pin) {
        Some(login) => format!("{text}\n\nusers sign in with:\n  {login}"),
        None => text,
    }
}

/// Addresses and fingerprint.
pub(super) fn identity(public_urls: &[Origin], pin: Pin) -> String {
    let mut lines: Vec<String> =
        public_urls.iter().map(|origin| format!("  address      {origin}")).collect();
    lines.push(format!("  fingerprint  {pin}"));
    lines.join("\n")
}

/// The command for a user's first sign-in.
pub(super) fn login_line(public_urls: &[Origin], pin: Pin) -> Option<String> {
    let origin = public_urls.first()?.to_string();
    let server = origin.trim_start_matches("https://");
    Some(format!("infra login {server} --fingerprint {pin}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_command_has_first_address_and_full_fingerprint() {
        let pin = Pin::of_public_key(b"an authority");
        let public_urls = ["gate.test:8443", "10.0.0.1:8443"].map(|text| text.parse().expect("an origin"));
        let text = of(&public_urls, pin);
        assert!(text.contains(&format!("infra login gate.test:8443 --fingerprint {pin}")), "{text}");
        assert!(text.contains("https://10.0.0.1:8443"), "{text}");
    }
}
