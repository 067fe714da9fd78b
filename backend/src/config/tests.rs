//! What configurations become, and what is said about those that cannot be.

use shared::go::Duration;

use super::*;

const GOOD: &str = "data_dir = \"/tmp/x\"\nbind_addr = \"127.0.0.1\"\n";

fn machine() -> Machine {
    let one = |name: &str, address: &str| Interface {
        name: name.to_owned(),
        address: address.parse().expect("an address"),
        prefix: 24,
        up: true,
    };
    Machine { hostname: "host-1".to_owned(), interfaces: vec![one("lo", "127.0.0.1"), one("eth0", "10.0.0.7")] }
}

fn load(name: &str, text: &str) -> Result<Config, String> {
    let format = if name.ends_with(".json") { Format::Json } else { Format::Hcl };
    let source = Source { name: name.to_owned(), text: text.to_owned(), format };
    build(&Invocation { machine: machine(), ..Invocation::default() }, &[source]).map_err(|error| error.0)
}

fn good(text: &str) -> Config {
    load("x.hcl", &format!("{GOOD}{text}")).expect(text)
}

fn check_error(text: &str, expected: &str) {
    assert_eq!(load("x.hcl", &format!("{GOOD}{text}")).map(|_| ()), Err(expected.to_owned()), "{text}");
}

fn check_warnings(text: &str, expected: &[&str]) {
    assert_eq!(good(text).warnings, expected, "{text}");
}

#[test]
fn every_rule_has_its_message() {
    check_error("datacenter = \"bad dc\"", "datacenter cannot be \"bad dc\". Please use only [a-z0-9-_]");
    check_error("bootstrap = true", "'bootstrap = true' requires 'server = true'");
    check_error("bootstrap_expect = 3", "'bootstrap_expect > 0' requires 'server = true'");
    check_error(
        "server = true bootstrap = true bootstrap_expect = 3",
        "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
    );
    check_error("encrypt = \"!!\"", "encrypt has invalid key: illegal base64 data at input byte 0");
    check_error("encrypt = \"aGVsbG8=\"", "encrypt has invalid key: key size must be 16, 24 or 32 bytes");
    check_error("performance { raft_multiplier = 11 }", "performance.raft_multiplier cannot be 11. Must be between 1 and 10");
    check_error("performance { raft_multiplier = 0 }", "performance.raft_multiplier cannot be 0. Must be between 1 and 10");
    check_error("ports { dns = 8500 }", "HTTP address 127.0.0.1:8500 already configured for DNS");
    check_error("advertise_addr = \"0.0.0.0\"", "Advertise address cannot be 0.0.0.0, :: or [::]");
    check_error(
        "ui = true ui_dir = \"/x\"",
        "Both the ui and ui-dir flags were specified, please provide only one.\nIf trying to use your own web UI resources, use the \
         ui-dir flag.\nThe web UI is included in the binary so use ui to enable it",
    );
    check_error("ui_content_path = \"a b\"", "ui-content-path can only contain alphanumeric, -, _, or /. received: /a b/");
    check_error("ui_config { content_path = \"/v1/\" }", "ui-content-path cannot have 'v[0-9]'. received: /v1/");
    check_error("auto_encrypt { allow_tls = true }", "auto_encrypt.allow_tls can only be used on a server.");
    check_error("autopilot { max_trailing_logs = -1 }", "autopilot.max_trailing_logs cannot be -1. Must be greater than or equal to zero");
    check_error("dns_config { udp_answer_limit = -1 }", "dns_config.udp_answer_limit cannot be -1. Must be greater than or equal to zero");
    check_error("dns_config { a_record_limit = -1 }", "dns_config.a_record_limit cannot be -1. Must be greater than or equal to zero");
    check_error(
        "node_meta { consul-x = \"1\" }",
        "node_meta invalid: Couldn't load metadata pair ('consul-x', '1'): Key prefix 'consul-' is reserved for internal use",
    );
    check_error(
        "check_output_max_size = 0",
        "check_output_max_size must be positive, to discard check output use the discard_check_output flag",
    );
    check_error(
        "bind_addr = \"1.2.3.4 5.6.7.8\"",
        "bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.",
    );
}

#[test]
fn dev_mode_has_a_dashboard_unless_told_otherwise() {
    let dev = Invocation { dev: true, machine: machine(), ..Invocation::default() };
    let shown = |text: &str| {
        let source = Source { name: "x.hcl".to_owned(), text: text.to_owned(), format: Format::Hcl };
        build(&dev, &[source]).map(|config| config.ui.enabled).expect("valid")
    };
    assert!(shown("") && shown("ui_config { enabled = true } ui = false"));
    assert!(!shown("ui = false") && !shown("ui_config { enabled = false }"));
}

#[test]
fn without_a_data_dir_only_dev_mode_starts() {
    assert_eq!(load("x.hcl", "bind_addr = \"127.0.0.1\"").map(|_| ()), Err("data_dir cannot be empty".to_owned()));
    assert_eq!(load("x.json", "").map(|_| ()), Err("data_dir cannot be empty".to_owned()));
    let dev = Invocation { dev: true, machine: machine(), ..Invocation::default() };
    assert_eq!(build(&dev, &[]).map(|config| config.data_dir), Ok(None));
}

#[test]
fn single_values_that_mean_nothing_are_listed() {
    check_error("ports { http = 99999 }", "1 error occurred:\n\t* ports.http: invalid port: 99999\n\n");
    check_error(
        "check_update_interval = \"5x\"",
        "1 error occurred:\n\t* check_update_interval: invalid duration: \"5x\": time: unknown unit \"x\" in duration \"5x\"\n\n",
    );
    check_error(
        "performance { leave_drain_time = \"5\" } ports { dns = -2 }",
        "2 errors occurred:\n\t* ports.dns: invalid port: -2\n\t* performance.leave_drain_time: invalid duration: \"5\": time: missing unit \
         in duration \"5\"\n\n",
    );
    check_error(
        "dns_config { service_ttl { web = \"x\" } }",
        "1 error occurred:\n\t* dns_config.service_ttl[\"web\"]: invalid duration: \"x\": time: invalid duration \"x\"\n\n",
    );
    check_error("client_addr = \"foo\"", "1 error occurred:\n\t* client_addr: invalid ip address: foo\n\n");
}

#[test]
fn wrong_types_and_unknown_keys_name_the_file() {
    let types = |what: &str| format!("failed to parse x.hcl: 1 error(s) decoding:\n\n* {what}");
    check_error("foo = 1", "failed to parse x.hcl: 1 error occurred:\n\t* invalid config key foo\n\n");
    check_error("foo = 1 bar = 2", "failed to parse x.hcl: 2 errors occurred:\n\t* invalid config key bar\n\t* invalid config key foo\n\n");
    check_error(
        "service { name = \"x\" check { foo = 1 } }",
        "failed to parse x.hcl: 1 error occurred:\n\t* invalid config key service.check.foo\n\n",
    );
    check_error("limits { rpc_rate = \"x\" }", &types("'limits.rpc_rate' expected type 'float64', got unconvertible type 'string'"));
    check_error("ports { http = \"x\" }", &types("'ports.http' expected type 'int', got unconvertible type 'string'"));
    check_error("server = \"yes\"", &types("'server' expected type 'bool', got unconvertible type 'string'"));
    check_error("data_dir = 3", &types("'data_dir' expected type 'string', got unconvertible type 'int'"));
    check_error(
        "service { name = \"x\" meta { a = 1 } }",
        &types("'service.meta[a]' expected type 'string', got unconvertible type 'int'"),
    );
    check_error(
        "services = [{ name = \"x\" port = \"y\" }]",
        &types("'services[0].port' expected type 'int', got unconvertible type 'string'"),
    );
    check_error("recursors = \"1.1.1.1\"", &types("'recursors': source data must be an array or slice, got string"));
    check_error("service { name = \"x\" } service { name = \"y\" }", &types("'service' expected a map, got 'slice'"));
    check_error("ports = [1]", &types("'ports' expected a map, got 'int'"));
    assert_eq!(
        load("x.json", "{\"data_dir\": 3}").map(|_| ()),
        Err("failed to parse x.json: 1 error(s) decoding:\n\n* 'data_dir' expected type 'string', got unconvertible type 'float64'"
            .to_owned())
    );
}

#[test]
fn syntax_errors_name_the_file() {
    let parse = |name: &str, text: &str| load(name, text).map(|_| ()).expect_err(text);
    assert_eq!(parse("v.json", "{,}"), "failed to parse v.json: invalid character ',' looking for beginning of object key string");
    assert_eq!(parse("v.txt", "a"), "failed to parse v.txt: At 1:3: key 'a' expected start of object ('{') or assignment ('=')");
}

#[test]
fn several_broken_rules_are_told_at_once() {
    check_error(
        "datacenter = \"a b\" performance { raft_multiplier = 11 }",
        "2 errors occurred:\n\t* performance.raft_multiplier cannot be 11. Must be between 1 and 10\n\t* datacenter cannot be \"a b\". Please \
         use only [a-z0-9-_]\n\n",
    );
}

#[test]
fn what_only_fails_at_run_time_elsewhere_fails_here() {
    for text in [
        "acl { default_policy = \"maybe\" }",
        "log_level = \"loud\"",
        "watches = [{ type = \"bogus\", args = [\"x\"] }]",
        "watches = [{ type = \"nodes\" }]",
        "raft_protocol = 9",
        "reconnect_timeout = \"1h\"",
        "services { id = \"a\" name = \"x\" } services { id = \"a\" name = \"y\" }",
        "service { port = 1 }",
        "check { name = \"x\" }",
        "node_id = \"abc\"",
        "node_name = \"host\" segment = \"x\"",
        "http_config { allow_write_http_from = [\"1.2.3\"] }",
    ] {
        assert!(load("x.hcl", &format!("{GOOD}{text}")).is_err(), "{text}");
    }
}

#[test]
fn doubtful_settings_are_warned_about() {
    let table = "https://www.consul.io/docs/internals/consensus.html#deployment-table";
    check_warnings("", &[]);
    check_warnings("server = true bootstrap = true", &["bootstrap = true: do not enable unless necessary"]);
    check_warnings(
        "server = true bootstrap_expect = 1",
        &["BootstrapExpect is set to 1; this is the same as Bootstrap mode.", "bootstrap = true: do not enable unless necessary"],
    );
    check_warnings(
        "server = true bootstrap_expect = 2",
        &[
            &format!("bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. See {table}"),
            "bootstrap_expect > 0: expecting 2 servers",
        ],
    );
    check_warnings("server = true bootstrap_expect = 3", &["bootstrap_expect > 0: expecting 3 servers"]);
    check_warnings(
        "node_name = \"a b\"",
        &["Node name \"a b\" will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and \
           dashes."],
    );
    check_warnings("telemetry { prefix_filter = [\"foo\"] }", &["Filter rule must begin with either '+' or '-': \"foo\""]);
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = good("");
    assert!(!config.server && !config.bootstrap && config.leave_on_terminate && !config.skip_leave_on_interrupt && !config.ui.enabled);
    assert_eq!((config.datacenter.as_str(), config.primary_datacenter.as_str()), ("dc1", "dc1"));
    assert_eq!(config.node_name, "host-1");
    assert_eq!(config.dns.domain, "consul.");
    assert_eq!(config.addresses.http, [Listen::Tcp("127.0.0.1:8500".parse().expect("an address"))]);
    assert_eq!(config.addresses.https, []);
    assert_eq!(config.addresses.server, "127.0.0.1:8300".parse().expect("an address"));
    assert_eq!(config.performance.raft_multiplier, 5);
    assert_eq!(config.performance.leave_drain_time, Duration::from_secs(5));
    assert_eq!(config.gossip_wan.probe_interval, Duration::from_secs(5));
    assert_eq!(config.max_query_time, Duration::from_secs(600));
    assert_eq!((config.raft.trailing_logs, config.raft.snapshot_threshold), (10_000, 16_384));
    assert_eq!(config.log_level, "info");
    assert_eq!(config.unused, Vec::<String>::new());
}

#[test]
fn dev_mode_sets_its_own_defaults_below_everything_else() {
    let mut invocation = Invocation { dev: true, machine: machine(), ..Invocation::default() };
    let config = build(&invocation, &[]).expect("dev mode needs nothing");
    assert!(config.server && config.bootstrap && config.ui.enabled && config.skip_leave_on_interrupt);
    assert_eq!(config.bind_addr.to_string(), "127.0.0.1");
    assert_eq!((config.log_level.as_str(), config.performance.raft_multiplier), ("debug", 1));
    assert_eq!(config.gossip_lan.probe_timeout, Duration::from_millis(100));
    assert_eq!(config.ports.grpc, Some(8502));
    assert!(config.warnings.is_empty() && config.unused.is_empty(), "{:?} {:?}", config.warnings, config.unused);
    invocation.flags.insert("log_level".to_owned(), "warn".into());
    assert_eq!(build(&invocation, &[]).map(|config| config.log_level).as_deref(), Ok("warn"));
}

#[test]
fn later_sources_win_lists_append_and_maps_merge() {
    let source = |text: &str| Source { name: "x.hcl".to_owned(), text: text.to_owned(), format: Format::Hcl };
    let sources = [
        source("data_dir = \"/a\" bind_addr = \"127.0.0.1\" ports { http = 1 dns = 2 } node_meta { a = \"1\" } service { name = \"a\" }"),
        source(
            "data_dir = \"/b\" ports { http = 3 } node_meta { b = \"2\" } services = [{ name = \"b\" }] check { name = \"c\" ttl = \"1s\" }",
        ),
    ];
    let mut invocation = Invocation { machine: machine(), ..Invocation::default() };
    invocation.flags.insert("data_dir".to_owned(), "/c".into());
    invocation.snippets = vec!["datacenter = \"EAST\"".to_owned()];
    let config = build(&invocation, &sources).expect("they fit together");
    assert_eq!(config.data_dir, Some("/c".into()));
    assert_eq!((config.ports.http, config.ports.dns), (Some(3), Some(2)));
    assert_eq!(config.node_meta.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.checks.len(), 1);
    assert_eq!(config.datacenter, "east");
    invocation.snippets = vec!["foo = 1".to_owned()];
    let error = build(&invocation, &sources).expect_err("an unknown key");
    assert_eq!(error.0, "failed to parse flags-0.hcl: 1 error occurred:\n\t* invalid config key foo\n\n");
}

#[test]
fn keys_of_later_features_are_accepted_and_named() {
    let config =
        good("acl { enabled = true tokens { agent = \"x\" } } retry_join_wan = [\"a\"] verify_incoming = true peering { enabled = true }");
    assert_eq!(config.unused, ["acl.enabled", "acl.tokens.agent", "peering", "retry_join_wan", "verify_incoming"]);
}

#[test]
fn how_to_find_the_others_is_read() {
    let cluster = good(
        "retry_join = [\"a\", \"b:1\"] retry_interval = \"1s\" retry_max = 3 start_join = [\"c\"] rejoin_after_leave = true \
         encrypt_verify_incoming = false serf_lan_allowed_cidrs = [\"10.0.0.0/8\"] non_voting_server = true",
    )
    .cluster;
    assert_eq!((cluster.retry_join, cluster.start_join), (vec!["a".to_owned(), "b:1".to_owned()], vec!["c".to_owned()]));
    assert_eq!((cluster.retry_interval.as_std(), cluster.retry_max), (std::time::Duration::from_secs(1), 3));
    assert!(cluster.rejoin_after_leave && cluster.read_replica && !cluster.encrypt_verify_incoming && cluster.encrypt_verify_outgoing);
    assert_eq!(cluster.serf_lan_allowed_cidrs, ["10.0.0.0/8"]);
    let one = |problem: &str| format!("1 error occurred:\n\t* {problem}\n\n");
    check_error("serf_lan_allowed_cidrs = [\"x\"]", &one("serf_lan_allowed_cidrs: invalid CIDR address: x"));
    check_error("server_rejoin_age_max = \"1h\"", "server_rejoin_age_max cannot be less than 6h0m0s");
    let cloud = "retry_join = [\"provider=aws tag_key=x\"]";
    let problem = "retry_join: \"provider=aws tag_key=x\": finding servers through a cloud provider is not supported, name their addresses";
    check_error(cloud, problem);
}

#[test]
fn limits_are_read_and_an_unknown_mode_is_refused() {
    let limits = good("").limits;
    assert!(limits.rpc_rate < 0.0 && limits.rpc_max_burst == 1000 && limits.rpc_max_conns_per_client == 100);
    assert_eq!(limits.request_limits.mode, "disabled");
    let limits =
        good("limits { rpc_rate = 2.5 rpc_max_burst = 7 request_limits { mode = \"enforcing\" read_rate = 3 write_rate = 0.5 } }").limits;
    assert_eq!((limits.rpc_rate, limits.rpc_max_burst), (2.5, 7));
    assert_eq!(limits.request_limits, settings::RequestLimits { mode: "enforcing".to_owned(), read_rate: 3.0, write_rate: 0.5 });
    check_error(
        "limits { request_limits { mode = \"loud\" } }",
        "limits.request_limits.mode: invalid mode \"loud\". Must be disabled, permissive or enforcing",
    );
}

#[test]
fn definitions_are_read_in_every_form() {
    let config = good(
        "service { id = \"web-1\" name = \"web\" port = 80 tags = [\"a\", \"b\"] meta { team = \"x\" }\n\
         weights { passing = 3 } tagged_addresses { lan { address = \"10.0.0.1\" port = 81 } }\n\
         check { http = \"http://x/\" interval = \"10s\" header { X-A = [\"1\"] } tls_skip_verify = true }\n\
         checks = [{ tcp = \"x:1\" Interval = \"5s\" DeregisterCriticalServiceAfter = \"1m\" }] }",
    );
    let service = &config.services[0];
    assert_eq!((service.id.as_str(), service.name.as_str(), service.port), ("web-1", "web", 80));
    assert_eq!(service.tags, ["a", "b"]);
    assert_eq!(service.weights.map(|weights| (weights.passing, weights.warning)), Some((3, 1)));
    assert_eq!(service.tagged_addresses["lan"].port, 81);
    let check = service.check.as_ref().expect("its check");
    assert_eq!((check.http.as_str(), check.interval, check.tls_skip_verify), ("http://x/", Duration::from_secs(10), true));
    assert_eq!(check.header["X-A"], ["1"]);
    assert_eq!(service.checks[0].deregister_critical_service_after, Duration::from_secs(60));
    let same = "{\"data_dir\": \"/x\", \"bind_addr\": \"127.0.0.1\", \"service\": {\"Name\": \"web\", \"Check\": {\"TTL\": \"5s\", \
                \"ScriptArgs\": [\"a\"]}}, \"checks\": [{\"id\": \"m\", \"args\": [\"x\"], \"interval\": \"1s\"}]}";
    let config = load("x.json", same).expect("JSON definitions");
    assert_eq!(config.services[0].check.as_ref().map(|check| (check.ttl, check.args.len())), Some((Duration::from_secs(5), 1)));
    assert_eq!(config.checks[0].id, "m");
}

#[test]
fn the_advertise_address_comes_from_the_machine() {
    let config = load("x.hcl", "data_dir = \"/x\"").expect("one private address");
    assert_eq!((config.bind_addr.to_string(), config.advertise_addr.to_string()), ("0.0.0.0".to_owned(), "10.0.0.7".to_owned()));
    let source = Source { name: "x.hcl".to_owned(), text: "data_dir = \"/x\"".to_owned(), format: Format::Hcl };
    let mut machine = machine();
    machine.interfaces.push(Interface { name: "eth1".to_owned(), address: [10, 9, 9, 9].into(), prefix: 8, up: true });
    let two = build(&Invocation { machine, ..Invocation::default() }, std::slice::from_ref(&source)).expect_err("two to choose from");
    assert_eq!(two.0, "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.");
    let none = Machine { hostname: "h".to_owned(), interfaces: Vec::new() };
    let none = build(&Invocation { machine: none, ..Invocation::default() }, &[source]).expect_err("none to choose");
    assert_eq!(none.0, "No private IPv4 address found");
    let template = good("advertise_addr = \"{{ GetPrivateIP }}\" client_addr = \"{{ GetInterfaceIP \\\"lo\\\" }} 127.0.0.2\"");
    assert_eq!(template.advertise_addr.to_string(), "10.0.0.7");
    assert_eq!(template.addresses.dns.len(), 2);
}

#[test]
fn listeners_follow_ports_and_addresses() {
    let config = good("ports { http = -1 dns = 0 https = 8501 serf_wan = -1 } addresses { https = \"127.0.0.3 unix:///run/m.sock\" }");
    assert!(config.addresses.http.is_empty() && config.addresses.dns.is_empty() && config.addresses.serf_wan.is_none());
    assert_eq!(config.addresses.https.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.3:8501", "unix:///run/m.sock"]);
}

#[test]
fn service_ttls_take_the_most_exact_rule() {
    let config = good("dns_config { service_ttl { web = \"1s\" \"web-*\" = \"2s\" \"w*\" = \"3s\" \"*\" = \"4s\" } }");
    for (name, seconds) in [("web", 1), ("WEB-1", 2), ("work", 3), ("db", 4)] {
        assert_eq!(config.dns.service_ttl.of(name), Some(Duration::from_secs(seconds)), "{name}");
    }
    assert_eq!(good("").dns.service_ttl.of("web"), None);
}

#[test]
fn secrets_are_never_shown() {
    let key = "MDEyMzQ1Njc4OWFiY2RlZg==";
    let config = good(&format!("encrypt = \"{key}\""));
    assert_eq!(config.encrypt.0, key);
    let json = serde_json::to_value(&config).expect("it serializes");
    assert_eq!(json["encrypt"], "hidden");
    assert!(!json.to_string().contains(key));
}

proptest::proptest! {
    #[test]
    fn any_text_becomes_a_configuration_or_a_reason(text in "[a-z_{}\\[\\]=\",0-9. \n]{0,60}") {
        let _ = load("x.hcl", &text);
        let _ = load("x.json", &text);
    }
}
