//! The documentation is true: links resolve, commands work, and every block is either tested or listed with a
//! reason.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use infra_cli::arguments::Arguments;
use infra_harness::daemon::{Configuration, Daemon, ProviderEntry};
use infra_harness::documents::{
    Block, Page, Prose, Treatment, Walk, calls, pages, repository, unknown_name, unused_entries,
};
use infra_harness::generated;
use infra_harness::login;
use infra_harness::peers;
use infra_harness::ports::Ports;
use infra_harness::program::{Ran, RecordingBrowser, Running, User};
use infra_harness::provider::{Person, Provider};
use infra_harness::services::{self, CREDENTIAL, credential_in};
use infra_shared::token_text::SessionToken;
use serde_json::Value;

/// The pages that the tests below follow block by block.
const FOLLOWED: [&str; 13] = [
    "README.md",
    "docs/api.md",
    "docs/audit.md",
    "docs/https.md",
    "docs/moving.md",
    "docs/okta.md",
    "docs/protect-a-service.md",
    "docs/runbooks.md",
    "docs/scripts.md",
    "docs/services.md",
    "docs/sessions.md",
    "docs/tools.md",
    "docs/tutorial.md",
];

/// The pages from which every other page is linked.
const INDEXES: [&str; 2] = ["README.md", "docs/README.md"];

/// Pages for readers who learn or follow steps. A reference may have more tables and passives.
const GUIDES: [&str; 37] = [
    "CONTRIBUTING.md",
    "README.md",
    "docs/README.md",
    "docs/compared.md",
    "docs/completions.md",
    "docs/how-infra-works.md",
    "docs/https.md",
    "docs/install.md",
    "docs/jwt.md",
    "docs/keys.md",
    "docs/kubernetes.md",
    "docs/kubernetes-install.md",
    "docs/known-issues.md",
    "docs/login.md",
    "docs/macos.md",
    "docs/managed-kubernetes.md",
    "docs/moving.md",
    "docs/okta.md",
    "docs/production-checklist.md",
    "docs/protect-a-service.md",
    "docs/providers.md",
    "docs/proxies.md",
    "docs/releasing.md",
    "docs/revalidation.md",
    "docs/runbooks.md",
    "docs/scripts.md",
    "docs/secrets.md",
    "docs/services.md",
    "docs/sessions.md",
    "docs/tools.md",
    "docs/tutorial.md",
    "docs/upgrading.md",
    "docs/validate-a-token.md",
    "docs/windows.md",
    "docs/workloads.md",
    "docs/workstation.md",
    "docs/wsl.md",
];

#[test]
fn guides_stay_within_the_limits_of_prose() {
    for page in GUIDES {
        let prose = Prose::of(&Page::read(page));
        for (figure, found, is_within) in [
            ("negations per 100 words", prose.negations, prose.negations <= 1.2),
            ("relative clauses per 100 words", prose.relatives, prose.relatives <= 1.5),
            ("\"you\" per 100 words", prose.you, prose.you >= 2.0),
            ("passives per 100 sentences", prose.passives, prose.passives <= 25.0),
            ("percent of words in tables", prose.words_in_tables, prose.words_in_tables <= 20.0),
        ] {
            assert!(is_within, "{page}: {found:.2} {figure}");
        }
    }
}

#[test]
fn references_stay_within_the_limits_of_prose() {
    for page in pages().into_iter().filter(|page| !GUIDES.contains(&page.path.as_str())) {
        let prose = Prose::of(&page);
        assert!(prose.negations <= 2.0 && prose.relatives <= 2.0, "{}: {prose:?}", page.path);
    }
}

#[test]
fn links_resolve_and_every_page_is_reachable() {
    let pages = pages();
    let page_at = |path: &Path| pages.iter().find(|page| repository().join(&page.path) == path);
    let mut linked = BTreeSet::new();
    for page in &pages {
        let folder = repository().join(&page.path);
        let folder = folder.parent().expect("a folder");
        for link in page.links() {
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { repository().join(&page.path) } else { folder.join(path) };
            let target =
                target.canonicalize().unwrap_or_else(|error| panic!("{}: {link}: {error}", page.path));
            if let Some(anchor) = anchor {
                let text = Page { path: link.clone(), text: fs::read_to_string(&target).expect("a page") };
                assert!(text.anchors().contains(anchor), "{}: {link} has {:?}", page.path, text.anchors());
            }
            if INDEXES.contains(&page.path.as_str()) {
                linked.extend(page_at(&target).map(|page| page.path.clone()));
            }
        }
    }
    let all: BTreeSet<String> =
        pages.iter().map(|page| page.path.clone()).filter(|path| path != "README.md").collect();
    assert_eq!(
        all.difference(&linked).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "neither README.md nor docs/README.md links them"
    );
}

/// The convention of llmstxt.org: a title, a summary, and a line for each page.
#[test]
fn llms_txt_lists_every_page_of_the_navigation() {
    let navigation = Page::read("docs/site/mkdocs.yml").text;
    let (_, navigation) = navigation.split_once("\nnav:\n").expect("a navigation");
    let paths = navigation.lines().filter_map(|line| line.rsplit(' ').next());
    let expected: BTreeSet<PathBuf> = paths
        .filter(|path| Path::new(path).extension().is_some_and(|it| it == "md"))
        .map(|path| repository().join(path))
        .collect();
    let list = Page::read("docs/llms.txt");
    let links = list.links().into_iter();
    let listed: BTreeSet<PathBuf> =
        links.map(|link| repository().join("docs").join(link).canonicalize().expect("a page")).collect();
    assert_eq!(listed, expected);
    assert!(expected.len() > 40, "{expected:?}");
    assert!(list.text.starts_with("# Infra\n\n> "), "{}", list.text);
    for line in list.text.lines().filter(|line| line.starts_with("- ")) {
        assert!(line.starts_with("- [") && line.contains("): "), "{line}");
    }
}

#[test]
fn every_block_is_run_or_listed_with_a_reason() {
    let pages = pages();
    assert_eq!(unused_entries(&pages), Vec::<String>::new(), "these are not there any more");
    for block in pages.iter().flat_map(Page::blocks) {
        if block.treatment() == Treatment::Typed {
            assert!(
                FOLLOWED.contains(&block.page.as_str()),
                "{}: nobody follows this\n{}",
                block.page,
                block.text
            );
        }
    }
    // Every followed page has its own test.
    let tests = fs::read_to_string(repository().join("tests/cli/pages.rs")).expect("this file");
    for page in FOLLOWED {
        assert!(tests.contains(&format!("typed(\"{page}\")")), "{page} is not followed");
        assert!(typed(page).next().is_some(), "{page}: nothing is typed there");
    }
}

#[test]
fn every_infra_call_parses() {
    let (mut typed, mut named) = (0, 0);
    let program = Arguments::command();
    for page in pages() {
        for block in page.blocks().into_iter().filter(Block::is_typed) {
            let script = block.typed().replace("sha256:…", &format!("sha256:{}", "0".repeat(64)));
            // A program that a tool runs with an operation.
            let script = script.replace("\"$@\"", "get");
            for call in calls(&script).into_iter().filter(|call| call.program == "infra") {
                Arguments::try_parse_from(&call.words)
                    .unwrap_or_else(|error| panic!("{}: {:?}: {error}", page.path, call.words));
                typed += 1;
            }
        }
        for code in page.inline_code().into_iter().filter(|code| code.starts_with("infra ")) {
            for call in calls(&code) {
                assert_eq!(unknown_name(&program, &call.words), None, "{}: `{code}`", page.path);
                named += 1;
            }
        }
    }
    assert!(typed > 20 && named > 60, "{typed} are typed, {named} are named");
}

#[test]
fn scripts_page_has_the_variables_of_the_help() {
    let mut program = Arguments::command();
    program.build();
    let help = program.get_after_long_help().expect("a help").to_string();
    let (_, help) = help.split_once("Environment:\n").expect("a part on the environment");
    let of_help: BTreeSet<String> = help
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    let rows = Page::read("docs/scripts.md").rows();
    let of_page: BTreeSet<String> = rows
        .iter()
        .filter(|(heading, row)| heading == "Variables" && row[0].starts_with('`'))
        .map(|(_, row)| row[0].trim_matches('`').to_owned())
        .collect();
    assert_eq!(of_page, of_help);
}

#[test]
fn quoted_messages_on_troubleshooting_page_exist() {
    let sources: Vec<String> =
        ["cli/src", "daemon/src", "shared/src"].iter().flat_map(|folder| sources(folder)).collect();
    let rows = Page::read("docs/troubleshooting.md").rows();
    let quoted: Vec<&str> = rows.iter().flat_map(|(_, row)| row[0].split('`').skip(1).step_by(2)).collect();
    let is_said = |message: &&&str| sources.iter().any(|source| source.contains(&without_values(message)));
    let invented: Vec<&&str> = quoted.iter().filter(|message| !is_said(message)).collect();
    assert_eq!(invented, Vec::<&&str>::new(), "nobody says this");
    assert!(quoted.len() > 60, "{}", quoted.len());
}

#[test]
fn files_named_on_pages_exist() {
    const FOLDERS: [&str; 6] = ["cli/", "daemon/", "shared/", "tests/", "deploy/", "docs/"];
    let mut named = 0;
    for page in pages() {
        for code in page.inline_code() {
            let path = code.split(':').next().unwrap_or_default();
            let is_path = FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains([' ', '*']);
            if is_path && !path.contains("NAME") {
                assert!(repository().join(path).exists(), "{}: `{code}`", page.path);
                named += 1;
            }
        }
    }
    assert!(named > 200, "{named}");
}

#[test]
fn readme_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    setup.follow("README.md", typed("README.md"));
}

/// The request snippet of the pages stops without a session, with and without `set -e`.
#[test]
fn script_sends_no_request_without_a_token() {
    let signed_out = User::new();
    let folder = infra_harness::program::built("infra").parent().expect("a folder").display().to_string();
    for (page, service) in [("README.md", "reports"), ("docs/scripts.md", "grafana")] {
        let snippet = format!("token=$(infra token --audience {service}) ");
        let block = typed(page).find(|block| block.text.contains(&snippet)).expect("the snippet");
        let sends = block.typed().replace("curl", "tee sent");
        for options in ["", "set -euo pipefail\n"] {
            let mut shell = std::process::Command::new("bash");
            shell.args(["-c", &format!("{options}{sends}")]).env_clear().current_dir(signed_out.home());
            shell.env("HOME", signed_out.home()).env("INFRA_SERVER", "infra.example.com");
            shell.env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"));
            let ran = shell.output().expect("a shell");
            assert_eq!(ran.status.code(), Some(3), "{page} {options}: {ran:?}");
            assert!(!signed_out.home().join("sent").exists(), "{page} {options}: a request without a token");
        }
    }
    // A page that sets a proxy also names the exceptions.
    for page in pages().into_iter().filter(|page| page.text.contains("HTTPS_PROXY")) {
        assert!(page.text.contains("NO_PROXY"), "{}: HTTPS_PROXY without NO_PROXY", page.path);
    }
    // No page puts a token or credential into arguments, or sends the output of a failed command.
    for page in pages() {
        for block in page.blocks().into_iter().filter(|block| block.text.contains("curl")) {
            for bad in [
                "curl --user",
                "curl -u ",
                "--user \"",
                "\"$(infra token",
                "--data-urlencode \"token=",
                "Bearer $(",
            ] {
                assert!(!block.text.contains(bad), "{}: {bad}\n{}", page.path, block.text);
            }
        }
    }
}

#[test]
fn scripts_page_works_as_written() {
    if peers::find_program("jq").is_none() {
        return;
    }
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    login::succeed(&User::new(), &setup.daemon, &provider);
    let token = login::token(&alice);
    setup.walk.private_file("/run/secrets/infra-token", &token);
    let ran = setup.follow("docs/scripts.md", typed("docs/scripts.md"));
    let said: String = ran.iter().map(|ran| ran.stdout.as_str()).collect();
    assert!(said.contains("sub-alice") && said.contains("reported with infra_aud_"), "{said}");
}

#[test]
fn tools_page_works_as_written() {
    if peers::find_program("git").is_none() {
        return;
    }
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    let services =
        "{name: git, allow: everyone}, {name: registry, allow: everyone}, {name: cache, allow: everyone}";
    setup.daemon.change(|configuration| {
        configuration.more = configuration.more.replace("services: [", &format!("services: [{services}, "));
    });
    setup.daemon.restart();
    let ran = setup.follow("docs/tools.md", typed("docs/tools.md"));
    let printed: Vec<&str> =
        ran.iter().map(|ran| ran.stdout.as_str()).filter(|text| text.contains("infra_aud_")).collect();
    // A form of the answer without what differs each time.
    let form = |text: &str| {
        let value =
            regex_lite::Regex::new("infra_aud_[A-Za-z0-9.]+|[0-9][0-9TZ:-]+").expect("a sound pattern");
        value.replace_all(text.trim_end(), "*").into_owned()
    };
    let shown: Vec<String> = typed("docs/tools.md")
        .filter(|block| block.language == "console")
        .map(|block| block.text.replace(&as_typed(&block), ""))
        .map(|answer| form(&answer))
        .collect();
    assert_eq!(printed.into_iter().map(form).collect::<Vec<_>>(), shown);
    assert_eq!(shown.len(), 4);
    let kept = fs::read_to_string(alice.home().join(".gitconfig")).expect("the file of git");
    assert!(kept.contains("helper = \n") && kept.contains("--host git.example.com"), "{kept}");
}

/// The lines of a dialogue that are typed, with the prompt.
fn as_typed(block: &Block) -> String {
    format!("$ {}", block.typed())
}

#[test]
fn services_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    let token = alice.infra(["token", "--audience", "grafana"]).run().expect(0).stdout;
    setup.walk.set("CREDENTIAL", CREDENTIAL);
    setup.walk.set("TOKEN", token.trim_end());
    let ran = setup.follow("docs/services.md", typed("docs/services.md"));
    let introspected = ran.last().expect("the last is the dialogue").json();
    let shown = shown_answer("docs/services.md", "/v1/introspect");
    assert_eq!(names(&introspected), names(&shown), "{introspected}");
}

#[test]
fn protect_a_service_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    let ran = setup.follow("docs/protect-a-service.md", typed("docs/protect-a-service.md"));
    assert!(ran.iter().any(|ran| ran.stdout.starts_with("infra_aud_")), "{ran:?}");
}

#[test]
fn tutorial_works_as_written() {
    let Some(python) = peers::find_program("python3") else { return };
    let (home, ports) = (tempfile::tempdir().expect("a home"), Ports::reserve(1));
    let port = ports.all().first().expect("one was reserved").to_string();
    let service = format!("127.0.0.1:{port}");
    let mut script = "trap 'kill $(jobs -p)' EXIT\n".to_owned();
    for block in typed("docs/tutorial.md") {
        let mut commands = block.typed().replace("127.0.0.1:8080", &service);
        // The reader signs in one way, the test both ways.
        commands = commands.replace("infra login --no-browser", "infra login --force --no-browser");
        if commands.contains("hello.py") {
            // In a terminal of its own.
            commands = commands.replace("python3", &format!("PORT={port} {}", python.display()));
            commands = format!("{} &\n{}", commands.trim_end(), until(&format!("curl --silent {service}")));
        } else if block.text.contains("no valid token") && commands.contains("printf") {
            // The service follows within a second.
            script += &until(&format!("{} | grep 'no valid token'", commands.trim_end()));
        }
        script += &commands;
    }
    let mut dev = std::process::Command::new(infra_harness::program::built("infrad"));
    dev.args(["dev", "--", "bash", "-e", "-u", "-o", "pipefail", "-c", script.as_str()])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("TZ", "UTC")
        .current_dir(repository());
    let browser = RecordingBrowser::signing_in("alice", &[]);
    browser.prepare(&mut dev);
    let ran = Running::start(dev, script, None, Duration::from_mins(4)).wait().expect(0);

    let said: BTreeSet<String> =
        format!("{}\n{}", ran.stdout, ran.stderr).lines().map(without_numbers).collect();
    let shown = typed("docs/tutorial.md").flat_map(|block| {
        let typed = block.typed();
        let is_shown = |line: &&str| !typed.contains(line.trim_start_matches("$ "));
        block.text.lines().filter(is_shown).map(str::to_owned).collect::<Vec<_>>()
    });
    let mut compared = 0;
    // Times and tokens differ.
    for line in shown.filter(|line| !line.contains("UTC") && !line.starts_with("infra_aud_")) {
        assert!(said.contains(&without_numbers(&line)), "{line}\n{ran}");
        compared += 1;
    }
    assert!(compared > 8, "{compared}");
}

/// nginx and the service run beside the reader's terminal.
#[test]
fn nginx_in_front_of_infrad_dev_works_as_written() {
    let programs = ["nginx", "openssl", "python3"].map(peers::find_program);
    if programs.iter().any(Option::is_none) {
        return;
    }
    let (home, ports) = (tempfile::tempdir().expect("a home"), Ports::reserve(2));
    let [proxy, service] = [0, 1].map(|at| ports.all().get(at).expect("two were reserved").to_string());
    let page = Page::read("docs/protect-a-service.md");
    let blocks: Vec<Block> =
        page.blocks().into_iter().filter(|block| block.text.contains("target/try")).collect();
    assert_eq!(blocks.len(), 4, "the configuration, nginx, the service, a call");
    let mut script = vec!["trap 'kill $(jobs -p)' EXIT\ninfra login\n".to_owned()];
    for block in blocks {
        let here = block.typed().replace("$PWD/target/try", "$HOME/try").replace("target/try", "$HOME/try");
        let commands = here.replace("8443", &proxy).replace("8080", &service);
        script.push(commands.trim_end().to_owned());
        script.push(match commands.trim_end().lines().last().unwrap_or_default() {
            last if last.starts_with("nginx") => {
                format!(" &\n{}", until(&format!("curl --silent --insecure https://127.0.0.1:{proxy}")))
            }
            last if last.starts_with("python3") => {
                format!(" &\n{}", until(&format!("curl --silent http://127.0.0.1:{service}")))
            }
            "END" => format!("\nsed -i 's/127.0.0.1:8080/127.0.0.1:{service}/' $HOME/try/reports.conf\n"),
            _ => "\n".to_owned(),
        });
    }
    let code = "curl --silent --insecure --output /dev/null --write-out 'without a token: %{http_code}'";
    script.push(format!("{code} https://127.0.0.1:{proxy}\n"));
    let script = script.concat();
    let mut dev = std::process::Command::new(infra_harness::program::built("infrad"));
    dev.args(["dev", "--", "bash", "-e", "-u", "-o", "pipefail", "-c", script.as_str()])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin")
        .current_dir(repository());
    let browser = RecordingBrowser::signing_in("alice", &[]);
    browser.prepare(&mut dev);
    let ran = Running::start(dev, script, None, Duration::from_mins(4)).wait().expect(0);
    assert!(ran.stdout.to_lowercase().matches("x-infra-").count() >= 5, "{ran}");
    assert!(ran.stdout.contains("without a token: 401"), "{ran}");
}

/// A line of a script that repeats a command until it succeeds.
fn until(command: &str) -> String {
    format!("for attempt in $(seq 900); do ! {{ {command}; }} >/dev/null 2>&1 || break; sleep 0.1; done\n")
}

fn without_numbers(line: &str) -> String {
    regex_lite::Regex::new("[0-9]+").expect("a sound pattern").replace_all(line, "0").into_owned()
}

#[test]
fn picture_of_terminal_matches_the_recording() {
    let Some(python) = peers::find_program("python3") else { return };
    let folder = repository().join("docs/images");
    let ran = std::process::Command::new(python).arg(folder.join("terminal")).output().expect("a program");
    assert!(ran.status.success(), "{ran:?}");
    generated::compare_file("docs/images/terminal.svg", &String::from_utf8(ran.stdout).expect("text"));
}

#[test]
fn api_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    setup.walk.replace("infra_…", &login::token(&alice));
    let ran = setup.follow("docs/api.md", typed("docs/api.md"));
    let answer = ran.last().expect("one dialogue").json();
    let shown = shown_answer("docs/api.md", "/v1/session");
    assert_eq!(names(&answer), names(&shown), "{answer}");
    for member in ["session", "user"] {
        assert_eq!(names(&answer[member]), names(&shown[member]), "{answer}");
    }
}

#[test]
fn sessions_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    let [of_bob, of_carol] = ["bob", "carol"].map(|name| {
        provider.person(Person::SignsIn(name.to_owned()));
        login::over_http(&setup.daemon, &provider)
    });
    let of_alice = login::token(&alice);
    let id = SessionToken::parse(&of_bob).expect("a token").id().to_string();
    setup.walk.replace("f3Kd9sQ1Zx", &id);
    let lines = typed("docs/sessions.md").next().expect("what operators type").typed();
    // Each line except the first revokes a session, in this order.
    let sessions = [of_bob, of_alice, of_carol];
    for (line, ended) in lines.lines().zip(0..) {
        setup.walk.follow(line, &mut setup.daemon);
        let status = |token: &String| setup.daemon.api().get_as("/v1/session?use=false", token).status;
        let found: Vec<bool> = sessions.iter().map(|token| status(token) == 401).collect();
        assert_eq!(found, [0, 1, 2].map(|index| index < ended), "{line}");
    }
    assert_eq!((lines.lines().count(), typed("docs/sessions.md").count()), (4, 1));
}

#[test]
fn runbooks_work_as_written() {
    let (provider, alice, laptop) = (Provider::start(), User::new(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    login::succeed(&laptop, &setup.daemon, &provider);
    let [of_bob, leaked, other] = ["bob", "carol", "dave"].map(|name| {
        provider.person(Person::SignsIn(name.to_owned()));
        login::over_http(&setup.daemon, &provider)
    });
    let of_laptop = login::token(&laptop);
    let for_grafana = services::token(&setup.daemon.api(), &other, "grafana");
    setup.walk.set("TOKEN", &for_grafana);
    for (example, token) in [("iIM94WC49N", &of_laptop), ("f3Kd9sQ1Zx", &leaked)] {
        let id = SessionToken::parse(token).expect("a token").id().to_string();
        setup.walk.replace(example, &id);
    }
    let directory = setup.daemon.directory().to_owned();
    fs::create_dir(directory.join("backups")).expect("a folder");
    let epoch = setup.daemon.root_key().with_file_name("infrad.rollback-guard");
    let places = [
        ("bob@example.com", "bob@example.test".to_owned()),
        ("/var/log/infrad/audit.jsonl", directory.join("audit.jsonl").display().to_string()),
        ("/var/backups/infrad", directory.join("backups").display().to_string()),
        ("/var/lib/infrad-rollback-guard/infrad.rollback-guard", epoch.display().to_string()),
        ("/var/lib/infrad", setup.daemon.data_dir().display().to_string()),
        ("/etc/infra/root.key", setup.daemon.root_key().display().to_string()),
    ];
    for (example, own) in &places {
        setup.walk.replace(example, own);
    }
    provider.person(Person::SignsIn("alice".to_owned()));
    let pin = setup.daemon.pin();
    let mut ended = 0;
    for block in typed("docs/runbooks.md") {
        setup.walk.follow(&block.typed(), &mut setup.daemon);
        // Each of these revokes its session, and no later one.
        let sessions =
            [("A user leaves", &of_bob), ("A laptop is lost", &of_laptop), ("A token leaked", &leaked)];
        if let Some(index) = sessions.iter().position(|(heading, _)| *heading == block.heading) {
            ended = index + 1;
            let status = |token: &String| setup.daemon.api().get_as("/v1/session?use=false", token).status;
            let found = sessions.map(|(_, token)| status(token) == 401);
            assert_eq!(found, [0, 1, 2].map(|index| index < ended), "{}", block.text);
        }
    }
    assert_eq!(ended, 3);
    assert_ne!(setup.daemon.pin(), pin, "no new store was started");
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn audit_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    fs::copy(setup.daemon.directory().join("audit.jsonl"), alice.home().join("audit.jsonl")).expect("a copy");
    let ran = setup.follow("docs/audit.md", typed("docs/audit.md"));
    assert!(!ran.is_empty());
}

#[test]
fn https_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    fs::remove_file(alice.home().join("ca.pem")).expect("the page prints it");
    setup.follow("docs/https.md", typed("docs/https.md"));
    assert!(alice.home().join("ca.pem").exists());
}

#[test]
fn okta_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    let secret = setup.walk.private_file("/etc/infra/okta-client-secret", "from before");
    fs::remove_file(&secret).expect("a file");
    setup.follow("docs/okta.md", typed("docs/okta.md"));
    let made = fs::metadata(&secret).expect("a file");
    assert_eq!((made.len(), made.mode() & 0o777), (0, 0o600), "nothing was pasted");
}

#[test]
fn moving_page_works_as_written() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut setup = Setup::new(&provider, &alice);
    let (pin, mut left_behind) = (setup.daemon.pin(), None);
    let directory = setup.daemon.directory().to_owned();
    let other_name = setup.daemon.origin().replace("https://127.0.0.1", "localhost");
    setup.walk.replace("infra.new.example.com", &other_name);
    for (example, folder) in [("/var/backups/infrad", "backups"), ("/var/lib/infrad-copied", "copied")] {
        let folder = directory.join(folder);
        fs::create_dir(&folder).expect("a folder");
        setup.walk.replace(example, &folder.display().to_string());
    }
    for block in typed("docs/moving.md") {
        let data_dir = setup.daemon.data_dir().display().to_string();
        match block.heading.as_str() {
            // The operator has already written the configuration on the page.
            "Another name, or another port" => setup.daemon.change(|configuration| {
                let new = format!("https://{other_name}");
                if !configuration.public_urls.contains(&new) {
                    configuration.public_urls.push(new);
                }
            }),
            "On the new host" => {
                // Keep only the address of the old host.
                setup.daemon.change(|configuration| on_new_host(configuration, &directory));
            }
            "Another place on the same host" => setup.daemon.change(|configuration| {
                configuration.data_dir = directory.join("copied/data");
            }),
            _ => {}
        }
        let session = setup.daemon.is_running().then(|| login::over_http(&setup.daemon, &provider));
        let daemon = &mut setup.daemon;
        let typed = block.typed().replace("-a /var/lib/infrad ", &format!("-a {data_dir} "));
        setup.walk.follow(&typed, daemon);
        let heading = &block.heading;
        assert_eq!(daemon.pin(), pin, "users would be asked for another fingerprint: {heading}");
        match session {
            // Sessions survive every step that keeps the daemon running.
            Some(session) if daemon.is_running() => {
                assert_eq!(daemon.api().get_as("/v1/session", &session).status, 200, "{heading}");
            }
            Some(session) => left_behind = Some(session),
            None => {
                let session = left_behind.take().expect("the old host was stopped before");
                assert_eq!(daemon.api().get_as("/v1/session", &session).status, 401, "{heading}");
            }
        }
    }
    alice.infra(["login"]).browser(&setup.browser()).run().expect(0);
}

/// The new host has its own root key, and uses the old key, copied along, to open the backup.
fn on_new_host(configuration: &mut Configuration, directory: &Path) {
    let old = configuration.root_key.display().to_string();
    let new = directory.join("new-host");
    fs::create_dir_all(new.join("key")).expect("a folder");
    configuration.data_dir = new.join("data");
    configuration.root_keys = Some(format!("[{{kind: native, config: {{path: {old}}}}}]"));
}

/// A daemon with everything that the pages assume, and a signed-in Alice.
struct Setup<'a> {
    daemon: Daemon,
    walk: Walk<'a>,
    provider: &'a Provider,
}

impl<'a> Setup<'a> {
    fn new(provider: &'a Provider, alice: &'a User) -> Self {
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(provider)], |_| {});
        let (credential, directory) =
            (credential_in(daemon.directory()), daemon.directory().display().to_string());
        daemon.change(|configuration| {
            configuration.more = format!(
                "services: [{{name: grafana, audience: https://grafana.example.com, credentials: ['{credential}'], allow: \
                 everyone}}, {{name: reports, audience: https://reports.example.com, allow: everyone}}]\naudit: {{file: {directory}/audit.jsonl}}\n"
            );
        });
        daemon.start_again();
        login::succeed(alice, &daemon, provider);
        let certificate = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
        fs::write(alice.home().join("ca.pem"), certificate).expect("a file");
        let mut walk = Walk::new(alice, provider);
        walk.install("report", "#!/bin/sh\necho reported with ${INFRA_AUDIENCE_TOKEN:-$TOKEN}\n");
        walk.install("deploy", "#!/bin/sh\n");
        walk.replace("https://service.example.com", &format!("{}/v1/session", daemon.origin()));
        walk.replace("@- https://grafana.example.com", &format!("@- {}/v1/verify/grafana", daemon.origin()));
        walk.replace("@- https://reports.example.com", &format!("@- {}/v1/verify/reports", daemon.origin()));
        walk.replace("alice@example.com", "alice@example.test");
        Self { daemon, walk, provider }
    }

    fn follow(&mut self, path: &str, blocks: impl Iterator<Item = Block>) -> Vec<Ran> {
        assert!(FOLLOWED.contains(&path), "{path}");
        let ran: Vec<Ran> =
            blocks.flat_map(|block| self.walk.follow(&block.typed(), &mut self.daemon)).collect();
        assert!(!ran.is_empty(), "{path}");
        ran
    }

    fn browser(&self) -> RecordingBrowser {
        RecordingBrowser::signing_in("alice", &[self.provider.authority_file()])
    }
}

/// The commands of a page, block by block.
fn typed(path: &str) -> impl Iterator<Item = Block> {
    Page::read(path).blocks().into_iter().filter(|block| block.treatment() == Treatment::Typed)
}

/// The response to `route` in a console block of a page.
fn shown_answer(path: &str, route: &str) -> Value {
    let block = typed(path)
        .find(|block| block.language == "console" && block.text.contains(route))
        .expect("a dialogue");
    let (_, answer) = block.text.split_once('{').expect("an answer");
    serde_json::from_str(&format!("{{{answer}")).expect("JSON")
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// The text of every source file in a folder, with string literals as printed.
fn sources(folder: &str) -> Vec<String> {
    let (mut folders, mut texts) = (vec![repository().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let goes_on = regex_lite::Regex::new(r"\\\n\s*").expect("a sound pattern");
                let value = regex_lite::Regex::new(r"\{[^{}\n]*\}").expect("a sound pattern");
                let text = goes_on
                    .replace_all(&text, "")
                    .replace("\\\"", "\"")
                    .replace("{{", "(")
                    .replace("}}", ")");
                texts.push(value.replace_all(&text, "*").into_owned());
            }
        }
    }
    texts
}

/// A message of a page, with a star for each placeholder in capitals.
fn without_values(message: &str) -> String {
    // Whole words, so that `INFRA_SERVER` stays.
    let value = r"\b(SERVER|PROVIDER|SERVICE|ADDRESS|FILE|FOLDER|KEY|NAME|WHAT)\b";
    regex_lite::Regex::new(value).expect("a sound pattern").replace_all(message, "*").into_owned()
}
