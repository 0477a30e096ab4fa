//! Finds the calls of `infra` and `infrad` in a script, as far as possible without running it.

/// One call, with its words as the program gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `infra` or `infrad`.
    pub program: String,
    /// The words, starting with the program's name.
    pub words: Vec<String>,
}

/// Words that may precede a command.
const BEFORE: [&str; 9] = ["if", "then", "else", "while", "until", "do", "!", "sudo", "exec"];

/// Returns the calls in `script`, including those within `$(…)`.
pub fn calls(script: &str) -> Vec<Call> {
    let mut found = Vec::new();
    let script = take_substitutions(&script.replace("\\\n", " "), &mut found);
    for line in script.lines() {
        found.extend(commands(line).into_iter().filter_map(call));
    }
    found
}

/// Returns a command or option in a call that the program does not have. Ignores values.
pub fn unknown_name(program: &clap::Command, words: &[String]) -> Option<String> {
    let mut program = program.clone();
    program.build();
    let (mut command, mut is_option_value) = (&program, false);
    for word in words.iter().skip(1).take_while(|word| *word != "--") {
        if let Some(option) = word.strip_prefix("--") {
            let name = option.split('=').next().unwrap_or_default();
            let Some(found) = command.get_arguments().find(|argument| argument.get_long() == Some(name))
            else {
                return Some(format!("`{word}` of `{}`", command.get_name()));
            };
            is_option_value = found.get_action().takes_values() && !option.contains('=');
        } else if !std::mem::take(&mut is_option_value) && !word.starts_with('-') {
            match command.find_subcommand(word) {
                Some(found) => command = found,
                None if command.has_subcommands() && command.get_positionals().next().is_none() => {
                    return Some(format!("`{word}` after `{}`", command.get_name()));
                }
                None => {}
            }
        }
    }
    None
}

/// Collects the calls within `$(…)` and `<(…)`, and replaces each with a placeholder word.
fn take_substitutions(script: &str, found: &mut Vec<Call>) -> String {
    let mut left = String::new();
    let mut rest = script;
    while let Some(start) = [rest.find("$("), rest.find("<(")].into_iter().flatten().min() {
        let (before, inside) = (&rest[..start], &rest[start + 2..]);
        let mut depth = 1_u32;
        let end = inside.char_indices().find_map(|(index, character)| {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(index)
        });
        let end = end.unwrap_or_else(|| panic!("a substitution does not end: {script}"));
        found.extend(calls(&inside[..end]));
        left.extend([before, "SUBSTITUTED"]);
        rest = &inside[end + 1..];
    }
    left.push_str(rest);
    left
}

/// Splits a line into commands, and each command into words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut word, mut quote, mut is_word) = (vec![Vec::new()], String::new(), None, false);
    let mut is_target = false;
    let end_word =
        |commands: &mut Vec<Vec<String>>, word: &mut String, is_word: &mut bool, is_target: &mut bool| {
            if std::mem::take(is_word) && !std::mem::take(is_target) {
                commands.last_mut().expect("one at least").push(std::mem::take(word));
            }
            word.clear();
        };
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => word.push(character),
            (None, '\'' | '"') => (quote, is_word) = (Some(character), true),
            (None, '#') if !is_word => break,
            (None, ' ') => end_word(&mut commands, &mut word, &mut is_word, &mut is_target),
            (None, '>' | '<') => {
                // A preceding number is the file descriptor of a redirection.
                if word.chars().all(|digit| digit.is_ascii_digit()) {
                    word.clear();
                    is_word = false;
                }
                end_word(&mut commands, &mut word, &mut is_word, &mut is_target);
                is_target = true;
            }
            (None, '&') if is_target => (is_word, word) = (true, word + "&"),
            (None, '|' | '&' | ';' | '(' | ')') => {
                end_word(&mut commands, &mut word, &mut is_word, &mut is_target);
                commands.push(Vec::new());
            }
            (None, _) => {
                word.push(character);
                is_word = true;
            }
        }
    }
    end_word(&mut commands, &mut word, &mut is_word, &mut is_target);
    commands
}

/// Returns the call in a command, without any prefix.
fn call(mut words: Vec<String>) -> Option<Call> {
    // These programs run the command after the dashes, as another user or elsewhere.
    let runs_another = ["runuser", "kubectl", "systemd-run"]
        .iter()
        .any(|runner| words.first().is_some_and(|first| first == runner));
    if runs_another {
        let dashes = words.iter().position(|word| word == "--");
        let dashes = dashes.or_else(|| words.iter().position(|word| word.ends_with("infrad")))?;
        words.drain(..dashes + usize::from(words[dashes] == "--"));
    }
    let is_before = |word: &String| {
        let is_assignment = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        });
        is_assignment || BEFORE.contains(&word.as_str())
    };
    let start = words.iter().position(|word| !is_before(word))?;
    words.drain(..start);
    let program = words.first()?.rsplit('/').next().unwrap_or_default().to_owned();
    ["infra", "infrad"].contains(&program.as_str()).then(|| {
        words[0].clone_from(&program);
        // The remaining words form their own command.
        if words.get(1).is_some_and(|word| word == "as-service") && words.len() > 2 {
            words.remove(1);
        }
        Call { program, words }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(script: &str) -> Vec<String> {
        calls(script).into_iter().map(|call| call.words.join(" ")).collect()
    }

    #[test]
    fn calls_are_found_wherever_a_shell_runs_them() {
        for (script, expected) in [
            ("infra login a \\\n  --force # as a.b\n", vec!["infra login a --force"]),
            ("printf '%s' \"$(infra token)\" | curl @-", vec!["infra token"]),
            ("if ! infra status --quiet; then infra login; fi", vec!["infra status --quiet", "infra login"]),
            ("runuser -u infrad -- infrad status", vec!["infrad status"]),
            ("infrad as-service ca print >ca.pem", vec!["infrad ca print"]),
            ("kubectl exec x -- /usr/bin/infrad check --live", vec!["infrad check --live"]),
            ("A=1 INFRA_SERVER=b infra token 2>/dev/null >t || exit", vec!["infra token"]),
            ("infrad ca print >ca.pem 2>&1 && echo infra done", vec!["infrad ca print"]),
            (
                "echo infra; infra exec --audience 'a b' -- sh -c 'infra x'",
                vec!["infra exec --audience a b -- sh -c infra x"],
            ),
            ("target/debug/infrad dev", vec!["infrad dev"]),
            ("apt install ./infra_0.deb infra", vec![]),
        ] {
            assert_eq!(found(script), expected, "{script}");
        }
    }
}
