//! Manual pages: the definitions, and the sections after the options in `--help`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Write as _;

use clap::Command;
use clap_mangen::Man;
use regex_lite::Regex;

use super::Files;

/// Date of the last text change. Readers warn about a page without a date.
const DATE: &str = "2026-11-26";

/// In the order of manuals: the heading in `--help`, and the heading on the page.
const SECTIONS: [(&str, &str); 4] = [
    ("Exit codes", "EXIT STATUS"),
    ("Environment", "ENVIRONMENT"),
    ("Files", "FILES"),
    ("Examples", "EXAMPLES"),
];

pub(super) fn pages(program: &Command, section: &str) -> Files {
    let mut program = program.clone().disable_help_subcommand(true);
    program.build();
    let mut pages = Files::new();
    add(&mut pages, &program, None, &sections(&program), section);
    pages
}

/// Adds the page of `command` and the pages of its subcommands.
fn add(
    pages: &mut Files,
    command: &Command,
    parent: Option<&Command>,
    of_program: &BTreeMap<String, String>,
    section: &str,
) {
    let mut page = main_sections(command, section);
    let own = sections(command);
    for (heading, title) in SECTIONS {
        // Commands without their own section inherit that of the program.
        if let Some(text) = own.get(heading).or_else(|| of_program.get(heading)) {
            let body = if heading == "Examples" { examples(text) } else { tagged(text) };
            let _ = write!(
                page,
                ".SH {}\n{body}",
                if title.contains(' ') { quoted(title) } else { title.to_owned() }
            );
        }
    }
    page.push_str(&see_also(command, parent, section));
    let name = format!("{}.{section}", page_name(command));
    pages.insert(name, in_bold(&page));
    for sub in command.get_subcommands() {
        add(pages, sub, Some(command), of_program, section);
    }
}

/// The sections from the name to the subcommands.
fn main_sections(command: &Command, section: &str) -> String {
    let source = format!("Infra {}", command.get_version().unwrap_or_default());
    let man = Man::new(command.clone())
        .title(page_name(command).to_uppercase())
        .section(section)
        .date(DATE)
        .source(source)
        .manual("Infra");
    let mut page = Vec::new();
    let rendered = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| page.write_all(synopsis(command).as_bytes()))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page));
    rendered.expect("memory can be written");
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).expect("memory can be written");
    }
    tidied(&String::from_utf8(page).expect("pages are text"))
}

/// Keeps the two preamble lines of each `clap_mangen` section once, and removes surplus breaks around possible
/// values.
fn tidied(page: &str) -> String {
    const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    let page = page.replace(PREAMBLE, "").replace("\n.br\n\n.br\n", "\n.sp\n").replace(" \n", "\n");
    format!("{PREAMBLE}{page}")
}

/// The usage lines of `--help`.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let calls: Vec<String> = usage
        .trim_start_matches("Usage:")
        .lines()
        .map(|call| call.trim().strip_prefix(name).unwrap_or_default())
        .map(|rest| format!("\\fB{}\\fR{}\n", escaped(name), escaped(rest)))
        .collect();
    format!(".SH SYNOPSIS\n{}", calls.join(".br\n"))
}

fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The text below each heading after the options.
pub(super) fn sections(command: &Command) -> BTreeMap<String, String> {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let mut sections = BTreeMap::new();
    let mut heading = String::new();
    for line in help.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|title| !title.starts_with(' ')) {
            title.clone_into(&mut heading);
        } else {
            let section: &mut String = sections.entry(heading.clone()).or_default();
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

/// Two spaces before a sentence, four before a command.
fn examples(text: &str) -> String {
    let mut roff = String::new();
    let mut is_typed = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let typed = line.strip_prefix("    ");
        if typed.is_some() != is_typed {
            roff.push_str(if is_typed { ".EE\n.RE\n" } else { ".RS 4\n.EX\n" });
            is_typed = !is_typed;
        }
        if let Some(typed) = typed {
            let _ = writeln!(roff, "{}", escaped(typed));
        } else {
            // A heading starts its own paragraph.
            let paragraph = if roff.is_empty() { "" } else { ".PP\n" };
            let _ = writeln!(roff, "{paragraph}{}", escaped(line.trim_start()));
        }
    }
    if is_typed {
        roff.push_str(".EE\n.RE\n");
    }
    roff
}

fn tagged(text: &str) -> String {
    let paragraph = |(name, meaning): &(String, String)| {
        format!(".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(meaning))
    };
    definitions(text).iter().map(paragraph).collect()
}

/// Names and their meanings. Lines with deeper indentation continue the meaning.
pub(super) fn definitions(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("  ")) {
        match (line.split_once(' '), found.last_mut()) {
            (Some((name, meaning)), _) if !name.is_empty() => {
                found.push((name.to_owned(), meaning.trim_start().to_owned()));
            }
            (_, Some((_, meaning))) => meaning.extend([" ", line.trim_start()]),
            (_, None) => {}
        }
    }
    found
}

fn see_also(command: &Command, parent: Option<&Command>, section: &str) -> String {
    let pages: Vec<String> = parent
        .into_iter()
        .chain(command.get_subcommands())
        .map(|other| format!(".BR {} ({section})", escaped(page_name(other))))
        .collect();
    if pages.is_empty() {
        String::new()
    } else {
        format!(".SH {}\n{}\n", quoted("SEE ALSO"), pages.join(" ,\n"))
    }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// Escapes text so that every output keeps hyphens as minus signs, which can be pasted, and straight quotes.
fn escaped(text: &str) -> String {
    let mut roff = String::new();
    for character in text.chars() {
        match character {
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            '\'' => roff.push_str("\\(aq"),
            '^' => roff.push_str("\\(ha"),
            '~' => roff.push_str("\\(ti"),
            other => roff.push(other),
        }
    }
    if roff.starts_with('.') { format!("\\&{roff}") } else { roff }
}

/// Shows text in backticks in bold, as manual pages do for typed text.
fn in_bold(page: &str) -> String {
    Regex::new("`([^`\n]+)`").expect("a sound pattern").replace_all(page, "\\fB$1\\fR").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_inherits_program_sections_its_help_lacks() {
        let program = Command::new("tool")
            .about("Does it")
            .after_long_help("Examples:\n  All:\n    tool do\n\nFiles:\n  ~/.tool  what it keeps\n\nExit codes:\n  0  done")
            .subcommand(
                Command::new("do").about("Do it").after_long_help("Examples:\n  Now, with `x`:\n    tool do 'a\\n' -x"),
            );
        let pages = pages(&program, "1");

        assert_eq!(pages.keys().collect::<Vec<_>>(), ["tool-do.1", "tool.1"]);
        let page = &pages["tool-do.1"];
        let end = page.split_once(".SH \"EXIT STATUS\"\n").expect("exit codes").1;
        assert_eq!(
            end,
            ".TP\n\\fB0\\fR\ndone\n.SH FILES\n.TP\n\\fB\\(ti/.tool\\fR\nwhat it keeps\n.SH EXAMPLES\nNow, with \
             \\fBx\\fR:\n.RS 4\n.EX\ntool do \\(aqa\\en\\(aq \\-x\n.EE\n.RE\n.SH \"SEE ALSO\"\n.BR tool (1)\n"
        );
        assert!(pages["tool.1"].ends_with(".BR tool\\-do (1)\n"));
    }
}
