//! Blocks of `docs/kubernetes.md`, with the examples replaced by the addresses and files of a test.

const TEXT: &str = include_str!("../../../../docs/kubernetes.md");

/// The API server's own audience in the document.
pub const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";
/// The group that the documented services allow, and that the documented `RoleBinding` names.
pub const GROUP: &str = "engineering";

/// The daemon's `services`.
pub fn services(credential: &str) -> String {
    replaced(&block("services:"), &[("file:/etc/infra/prod-credential", credential)])
}

/// The webhook file.
pub fn webhook(daemon: &str, authority: &str, credential: &str) -> String {
    replaced(
        &block("apiVersion: v1\nkind: Config"),
        &[
            ("https://infra.example.com", daemon),
            ("/etc/kubernetes/infra-ca.pem", authority),
            ("the text of /etc/infra/prod-credential", credential),
        ],
    )
}

/// The `RoleBinding`, in the namespace `web`.
pub fn role_binding() -> String {
    block("apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding")
}

/// The code block that starts with this text.
fn block(beginning: &str) -> String {
    let blocks = TEXT.split("\n```").skip(1).step_by(2);
    let texts = blocks.filter_map(|block| block.split_once('\n')).map(|(_, text)| text);
    let mut found = texts.filter(|text| text.starts_with(beginning));
    let text = found.next().unwrap_or_else(|| panic!("docs/kubernetes.md has no block {beginning}"));
    format!("{text}\n")
}

fn replaced(text: &str, examples: &[(&str, &str)]) -> String {
    examples.iter().fold(text.to_owned(), |text, (example, own)| {
        assert!(text.contains(example), "docs/kubernetes.md has no {example}\n{text}");
        text.replace(example, own)
    })
}
