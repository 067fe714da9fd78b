//! Whole command lines that need no agent.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no test panics while writing")).into_owned()
    }
}

fn of(line: &[&str]) -> (u8, String, String) {
    let (out, err) = (Sink::default(), Sink::default());
    let mut print = Print::new(Box::new(out.clone()), Box::new(err.clone()));
    let arguments: Vec<String> = line.iter().map(|text| (*text).to_owned()).collect();
    // A port nobody listens on, should a line call an agent after all.
    let code = run(&arguments, &|name| (name == "MUSTER_HTTP_ADDR").then(|| "127.0.0.1:1".to_owned()), &mut print);
    (code, out.text(), err.text())
}

fn check_error(line: &[&str], code: u8, start: &str) {
    let (got, out, err) = of(line);
    assert_eq!((got, out.as_str()), (code, ""), "{line:?}");
    assert!(err.starts_with(start), "{line:?}: {err}");
}

#[test]
fn unknown_commands_exit_127_with_the_list() {
    check_error(&[], 127, "Usage: muster [--version]");
    check_error(&["nonsense"], 127, "Usage: muster [--version]");
    check_error(&["kv"], 1, "Usage: muster kv <subcommand>");
    check_error(&["kv", "bogus"], 1, "Usage: muster kv <subcommand>");
}

#[test]
fn help_is_data_and_no_error() {
    for line in [&["--help"][..], &["kv", "-h"], &["kv", "get", "--help"], &["agent", "-help"]] {
        let (code, out, err) = of(line);
        assert!(code == 0 && out.starts_with("Usage: muster") && err.is_empty(), "{line:?}: {out}{err}");
    }
}

#[test]
fn versions_are_told_in_both_ways() {
    let (code, out, _) = of(&["version"]);
    assert!(code == 0 && out.starts_with(&format!("Muster v{}\nProtocol 2 ", keygen::VERSION)), "{out}");
    assert_eq!(of(&["-version"]).1, out);
    assert!(of(&["version", "-format=json"]).1.contains("\"Version\": "));
}

#[test]
fn keys_are_long_and_new_each_time() {
    let (_, first, _) = of(&["keygen"]);
    assert_eq!(first.trim().len(), 44);
    assert_ne!(first, of(&["keygen"]).1);
}

#[test]
fn wrong_use_is_told_before_anybody_is_called() {
    check_error(&["members", "-bogus"], 1, "flag provided but not defined: -bogus\nUsage:\n");
    check_error(&["kv", "get"], 1, "Error! Missing KEY argument\n");
    check_error(&["kv", "get", "a", "b"], 1, "Too many arguments (expected 1, got 2)\n");
    check_error(&["kv", "put"], 1, "Error! Missing KEY argument\n");
    check_error(&["kv", "put", "a", "b", "c"], 1, "Error! Too many arguments (expected 1 or 2, got 3)\n");
    check_error(&["kv", "put", "-acquire", "a"], 1, "Error! Missing -session (required with -acquire and -release)\n");
    check_error(&["kv", "put", "-cas", "a", "b"], 1, "Must specify -modify-index with -cas!\n");
    check_error(&["kv", "put", "a", "@nofile"], 1, "Error! Failed to read file: open nofile: no such file or directory\n");
    check_error(&["kv", "delete"], 1, "Error! Missing KEY argument\n");
    check_error(&["kv", "import", "bad"], 1, "Cannot unmarshal data: invalid character 'b' looking for beginning of value\n");
    check_error(&["services", "register"], 1, "Service registration requires at least one argument or flags.\n");
    check_error(&["services", "deregister"], 1, "Service deregistration requires at least one argument or -id.\n");
    check_error(&["maint", "-enable", "-disable"], 1, "Only one of -enable or -disable may be provided\n");
    check_error(&["maint", "-service=x"], 1, "Service requires either -enable or -disable\n");
    check_error(&["join"], 1, "At least one address to join must be specified.\n\nUsage: muster join");
    check_error(&["force-leave"], 1, "A single node name must be specified to force leave.\n\nUsage: muster force-leave");
    check_error(&["leave", "extra"], 1, "Error found unexpected args: [extra]\n");
    check_error(&["validate"], 1, "Must specify at least one config file or directory\n");
    check_error(&["validate", "-config-format=foo", "x"], 1, "-config-format must be either 'hcl' or 'json'\n");
}

#[test]
fn an_agent_that_is_not_there_is_told_in_one_line() {
    check_error(&["kv", "get", "x"], 1, "Error querying Consul agent: Get \"http://127.0.0.1:1/v1/kv/x\": dial tcp 127.0.0.1:1: connect: ");
    check_error(&["info"], 1, "Error querying agent: Get \"http://127.0.0.1:1/v1/agent/self\": dial tcp 127.0.0.1:1: connect: ");
    let (code, _, err) = of(&["members"]);
    assert!(code == 1 && err.ends_with("connect: connection refused\n"), "{err}");
}

#[test]
fn configurations_are_validated_without_an_agent() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a.hcl");
    let name = path.display().to_string();
    fs::write(&path, "data_dir = \"/x\" bind_addr = \"127.0.0.1\" server = true bootstrap = true").expect("a file in it");
    let warning = "bootstrap = true: do not enable unless necessary\n";
    let (code, out, err) = of(&["validate", &name]);
    assert_eq!((code, out.as_str()), (0, "Configuration is valid!\n"));
    assert!(err.contains(warning), "{err}");
    assert_eq!(of(&["validate", "-quiet", &name]).1, "");
    fs::write(&path, "foo = 1").expect("the file again");
    let expected = format!("Config validation failed: failed to parse {name}: 1 error occurred:\n\t* invalid config key foo\n\n\n");
    assert_eq!(of(&["validate", &name]), (1, String::new(), expected));
    check_error(
        &["validate", "nonexist"],
        1,
        "Config validation failed: config: Open failed on nonexist. open nonexist: no such file or directory\n",
    );
}

#[test]
fn keyring_takes_exactly_one_action() {
    check_error(&["keyring"], 1, "Usage: muster keyring [options]");
    check_error(&["keyring", "-list", "-use=a"], 1, "Only a single action is allowed");
    check_error(&["keyring", "-list", "-relay-factor=6"], 1, "Error parsing relay factor: Relay factor must be in range: [0, 5]");
    check_error(&["keyring", "-use=a", "-local-only"], 1, "Error validating local-only: local-only can only be set for list requests");
    let (code, out, err) = of(&["keyring", "-list"]);
    assert_eq!((code, out.as_str()), (1, "==> Gathering installed encryption keys...\n"));
    assert!(err.starts_with("error: "), "{err}");
}
