//! The page on which the developer chooses a user.

/// Renders the page for the pending request `request`, which consists of letters and digits.
pub(super) fn html(request: &str) -> String {
    format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Sign in - development</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}
button{{font:inherit;display:block;width:100%;margin:.6rem 0;padding:.6rem 1rem;text-align:left}}</style></head>
<body><h1>Who are you?</h1><p><strong>For development only:</strong> this provider believes you.</p>
<form method="post" action="/sign-in"><input type="hidden" name="request" value="{request}">
<button name="user" value="alice">Alice, of engineering</button>
<button name="user" value="bob">Bob, of support</button>
<button name="cancel" value="1">Cancel</button></form></body></html>
"#
    )
}
