//! Bash, which takes `host:port` for three words: it splits a line at colons and equals signs, and replaces only what
//! stands after the last one.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap::Command;
use clap_complete::env::{self, EnvCompleter};

/// As the completer of `clap_complete`, with a script that puts the words together again.
pub(super) struct Bash;

/// `COMP_WORDS` without the spaces between them is not the line: where two of them adjoin in `COMP_LINE` they are one.
/// Works in bash 3.2, which macOS has.
const SCRIPT: &str = r#"_infra_complete() {
    local IFS=$'\013' rest=$COMP_LINE word words=() count=0 index=0 i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # What is after the cursor is not part of the word that is being typed.
        if ((i == COMP_CWORD)); then
            if [[ $word == [:=]* ]]; then word=${word:0:1}$2; else word=$2; fi
        fi
        if ((i > 0)) && [[ $rest == [!\ $'\t']* && ($word == [:=]* || ${words[count - 1]} == *[:=]) ]]; then
            words[count - 1]+=$word
        else
            words[count]=$word
            count=$((count + 1))
        fi
        rest=${rest#*"${COMP_WORDS[i]}"}
    done
    index=$((count - 1))
    COMPREPLY=($(_CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX="$index" VARIABLE=bash COMPLETER -- "${words[@]}" 2>/dev/null)) ||
        COMPREPLY=()
    # Only what stands after the last colon or equals sign is replaced.
    local before=${words[index]%"${words[index]##*[:=]}"}
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} != */ ]]; then
        COMPREPLY[0]+=' '
    fi
}
complete -o nospace -o bashdefault -F _infra_complete BIN
"#;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        env::Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        env::Bash.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> Result<(), Error> {
        let text = SCRIPT.replace("VARIABLE", variable).replace("COMPLETER", completer).replace("BIN", bin);
        script.write_all(text.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn Write,
    ) -> Result<(), Error> {
        env::Bash.write_complete(command, words, folder, answer)
    }
}
