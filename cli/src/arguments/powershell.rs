//! The examples of the help for PowerShell.

/// Examples for a Unix shell, and what does the same in PowerShell 5.1 and later. The first that fits counts.
const EXAMPLES: [(&str, &str); 15] = [
    (
        "    token=$(infra token --audience grafana) &&
      printf 'Authorization: Bearer %s\\n' \"$token\" |
      curl --max-time 60 --fail -H @- https://grafana.example.com",
        "    $token = infra token --audience grafana
    if ($LASTEXITCODE -eq 0) {
      Invoke-RestMethod https://grafana.example.com -TimeoutSec 60 `
        -Headers @{ Authorization = \"Bearer $token\" }
    }",
    ),
    (
        "    token=$(infra token) &&
      printf 'Authorization: Bearer %s\\n' \"$token\" |
      curl --max-time 60 --fail -H @- https://service.example.com",
        "    $token = infra token
    if ($LASTEXITCODE -eq 0) {
      Invoke-RestMethod https://service.example.com -TimeoutSec 60 `
        -Headers @{ Authorization = \"Bearer $token\" }
    }",
    ),
    (
        "infra status --quiet && infra token --min-left 30m >/dev/null && ./deploy",
        "infra token --min-left 30m > $null; if ($LASTEXITCODE -eq 0) { .\\deploy.ps1 }",
    ),
    ("infra status --quiet || infra login", "infra status --quiet; if ($LASTEXITCODE -eq 3) { infra login }"),
    (
        "infra status --offline --json | jq .session.secondsLeft",
        "(infra status --offline --json | ConvertFrom-Json).session.secondsLeft",
    ),
    (
        "-- sh -c 'test -n \"$INFRA_AUDIENCE_TOKEN\"'",
        "-- cmd /c 'if not defined INFRA_AUDIENCE_TOKEN exit 1'",
    ),
    ("-- printenv TOKEN", "-- cmd /c 'set TOKEN'"),
    (
        "infra doctor --json | jq '.checks[] | select(.status == \"failed\")'",
        "(infra doctor --json | ConvertFrom-Json).checks | Where-Object status -eq failed",
    ),
    (
        "    printf '#!/bin/sh\\nexec infra helper docker %s \"$@\"\\n' \\
      '--server infra.example.com --audience registry --host registry.example.com' \\
      >~/bin/docker-credential-infra
    chmod 755 ~/bin/docker-credential-infra",
        "    '@infra helper docker {0} %*' -f `
      '--server infra.example.com --audience registry --host registry.example.com' |
      Set-Content ~\\bin\\docker-credential-infra.cmd",
    ),
    ("the program `docker-credential-infra`", "`docker-credential-infra.cmd` in your PATH"),
    (
        "    printf '#!/bin/sh\\nexec infra helper bazel %s \"$@\"\\n' \\
      '--server infra.example.com --audience cache --host cache.example.com' \\
      >~/bin/bazel-credential-infra
    chmod 755 ~/bin/bazel-credential-infra",
        "    '@infra helper bazel {0} %*' -f `
      '--server infra.example.com --audience cache --host cache.example.com' |
      Set-Content ~\\bin\\bazel-credential-infra.cmd",
    ),
    ("| bazel-credential-infra get", "| ~\\bin\\bazel-credential-infra.cmd get"),
    // Set up by a shell, also on Windows: PowerShell leaves out the empty argument.
    ("  Let git get", "  In Git Bash, let git get"),
    ("  Set it up for a git server.", "  In Git Bash, set it up for a git server."),
    ("  See what git gets", "  In Git Bash, see what git gets"),
];
const CONTINUED: (&str, &str) = (" \\\n", " `\n");

/// Help with its examples for PowerShell. Git comes with a Unix shell, so its examples stay.
pub(super) fn translate(help: &str) -> String {
    let help =
        EXAMPLES.iter().fold(help.to_owned(), |help, (unix, powershell)| help.replace(unix, powershell));
    if help.contains("In Git Bash") { help } else { help.replace(CONTINUED.0, CONTINUED.1) }
}

#[cfg(test)]
mod tests {
    use super::super::help;
    use super::*;

    const TEXTS: [&str; 18] = [
        help::PROGRAM,
        help::LOGIN,
        help::LOGOUT,
        help::STATUS,
        help::TOKEN,
        help::EXEC,
        help::KUBERNETES,
        help::KUBERNETES_CONFIGURE,
        help::KUBERNETES_TOKEN,
        help::HELPER,
        help::HELPER_GIT,
        help::HELPER_DOCKER,
        help::HELPER_BAZEL,
        help::SESSIONS,
        help::SESSIONS_REVOKE,
        help::USE,
        help::TRUST,
        help::DOCTOR,
    ];

    #[test]
    fn each_translated_example_is_in_the_help() {
        for (unix, _) in EXAMPLES.iter().chain([&CONTINUED]) {
            assert!(TEXTS.iter().any(|text| text.contains(unix)), "{unix}");
        }
    }

    #[test]
    fn translated_examples_follow_the_grammar_of_powershell() {
        let mut parser = tree_sitter::Parser::new();
        parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).expect("the grammar");
        let mut is_valid = |text: &str| !parser.parse(text, None).expect("a tree").root_node().has_error();
        for text in TEXTS.map(translate) {
            if text.contains("In Git Bash") {
                continue;
            }
            let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
            let examples: String = lines.flat_map(|line| [line, "\n"]).collect();
            assert!(is_valid(&examples), "{examples}");
            for word in [" && ", " || ", "$(", "jq ", "printf ", "chmod ", "/dev/null", " \\\n"] {
                assert!(!examples.contains(word), "{word}: {examples}");
            }
        }
        assert!(!is_valid("infra login --fingerprint \\\n  (sha256"));
    }
}
