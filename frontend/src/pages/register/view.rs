//! The register form and the JSON it stands for, both ways, with what is wrong in either.
//!
//! Pure. What the form does not show (weights, proxy, tagged addresses, ...) is carried along untouched.
//! Contract: HTTP API, agent service registration; health checks, definitions.

use std::{collections::BTreeMap, mem::take};

use shared::{
    agent::ServiceRegistration,
    check::{CheckDefinition, SERVICE_MAINTENANCE_PREFIX},
    decode, go, name,
    service::{Connect, Service, Weights},
};

/// The kinds of check the form can build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP request.
    #[default]
    Http,
    /// TCP connection.
    Tcp,
    /// The service reports by itself.
    Ttl,
    /// gRPC health protocol.
    Grpc,
    /// UDP datagram.
    Udp,
    /// A program on the node.
    Script,
    /// Anything else: kept as it is, edited as JSON.
    Other,
}

impl Kind {
    /// What the builder offers.
    pub(crate) const OFFERED: [Self; 6] = [Self::Http, Self::Tcp, Self::Ttl, Self::Grpc, Self::Udp, Self::Script];

    /// Name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tcp => "TCP",
            Self::Ttl => "TTL",
            Self::Grpc => "gRPC",
            Self::Udp => "UDP",
            Self::Script => "Script",
            Self::Other => "Other",
        }
    }

    /// Label, example and help of its main field.
    pub(crate) fn target(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Http => ("URL", "http://10.0.0.7:8080/health", "Passing on any 2xx, warning on 429, else critical."),
            Self::Tcp => ("Host and port", "10.0.0.7:8080", "Passing when the connection opens."),
            Self::Ttl => ("Time to live", "30s", "Critical when the service does not report in time."),
            Self::Grpc => ("Host, port and service", "10.0.0.7:9090/payments", "Asks the standard gRPC health service."),
            Self::Udp => ("Host and port", "10.0.0.7:514", "Critical when the port is reported closed."),
            Self::Script => {
                ("Program and arguments", "/opt/checks/queue.sh -w 1000", "Exit code 0 passes, 1 warns, anything else is critical.")
            }
            Self::Other => ("", "", "The form cannot show this check. Edit it as JSON."),
        }
    }
}

/// One check as text fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CheckForm {
    /// What it does.
    pub(crate) kind: Kind,
    /// Name for people.
    pub(crate) name: String,
    /// URL, address, time to live or program.
    pub(crate) target: String,
    /// Time between runs.
    pub(crate) interval: String,
    /// Longest run.
    pub(crate) timeout: String,
    /// Deregister the service after being critical for so long.
    pub(crate) deregister_after: String,
    /// Everything else.
    pub(crate) rest: CheckDefinition,
}

impl CheckForm {
    /// A check as the builder starts it.
    pub(crate) fn new(kind: Kind) -> Self {
        let (interval, timeout) = if kind == Kind::Ttl { ("", "") } else { ("10s", "3s") };
        Self { kind, interval: interval.to_owned(), timeout: timeout.to_owned(), ..Self::default() }
    }

    /// The same check as another kind: the timing is kept where it makes sense.
    pub(crate) fn to_kind(&self, kind: Kind) -> Self {
        let fresh = Self::new(kind);
        let keep = |old: &String, new: String| if kind == Kind::Ttl || old.is_empty() { new } else { old.clone() };
        Self {
            kind,
            name: self.name.clone(),
            target: String::new(),
            interval: keep(&self.interval, fresh.interval),
            timeout: keep(&self.timeout, fresh.timeout),
            deregister_after: self.deregister_after.clone(),
            rest: CheckDefinition { id: self.rest.id.clone(), notes: self.rest.notes.clone(), ..CheckDefinition::default() },
        }
    }
}

/// The whole form as text fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Form {
    /// Service name.
    pub(crate) name: String,
    /// Instance id; empty means the name.
    pub(crate) id: String,
    /// Address; empty means the node's.
    pub(crate) address: String,
    /// Port; empty means none.
    pub(crate) port: String,
    /// Tags, separated by commas.
    pub(crate) tags: String,
    /// `key=value`, one a line.
    pub(crate) meta: String,
    /// Checks.
    pub(crate) checks: Vec<CheckForm>,
    /// Everything else.
    pub(crate) rest: ServiceRegistration,
}

/// Something wrong with one field, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `name`, `port`, `meta`, `check.0.target`, ...
    pub(crate) field: String,
    /// What to do about it.
    pub(crate) text: String,
}

/// What stands in a registration, as a form.
pub(crate) fn form(registration: &ServiceRegistration) -> Form {
    let mut rest = registration.clone();
    let checks = take(&mut rest.check).into_iter().chain(take(&mut rest.checks)).map(check_form).collect();
    let port = take(&mut rest.port);
    Form {
        name: take(&mut rest.name),
        id: take(&mut rest.id),
        address: take(&mut rest.address),
        port: if port == 0 { String::new() } else { port.to_string() },
        tags: take(&mut rest.tags).join(", "),
        meta: take(&mut rest.meta).iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("\n"),
        checks,
        rest,
    }
}

fn check_form(mut rest: CheckDefinition) -> CheckForm {
    let duration = |d: go::Duration| if d.is_zero() { String::new() } else { d.to_string() };
    let (kind, target) = if !rest.http.is_empty() {
        (Kind::Http, take(&mut rest.http))
    } else if !rest.tcp.is_empty() {
        (Kind::Tcp, take(&mut rest.tcp))
    } else if !rest.grpc.is_empty() {
        (Kind::Grpc, take(&mut rest.grpc))
    } else if !rest.udp.is_empty() {
        (Kind::Udp, take(&mut rest.udp))
    } else if !rest.args.is_empty() && rest.docker_container_id.is_empty() {
        (Kind::Script, join_words(&take(&mut rest.args)))
    } else if !rest.ttl.is_zero() {
        (Kind::Ttl, duration(take(&mut rest.ttl)))
    } else {
        (Kind::Other, String::new())
    };
    CheckForm {
        kind,
        name: take(&mut rest.name),
        target,
        interval: duration(take(&mut rest.interval)),
        timeout: duration(take(&mut rest.timeout)),
        deregister_after: duration(take(&mut rest.deregister_critical_service_after)),
        rest,
    }
}

/// What a form stands for, and everything that is wrong with it. Fields that do not parse are left out of the
/// registration, so it is never wrong by guessing.
pub(crate) fn registration(form: &Form) -> (ServiceRegistration, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut wrong = |field: &str, text: &str| problems.push(Problem { field: field.to_owned(), text: text.to_owned() });
    let name = form.name.trim();
    if name.is_empty() {
        wrong("name", "Give the service a name.");
    }
    let port = match (form.port.trim(), form.port.trim().parse::<u16>()) {
        ("", _) => 0,
        (_, Ok(port)) if port > 0 => i64::from(port),
        _ => {
            wrong("port", "Use a port from 1 to 65535.");
            0
        }
    };
    if form.address.trim().contains(char::is_whitespace) || form.address.contains("://") {
        wrong("address", "Use an IP address or a host name, without http:// and without spaces.");
    }
    let mut meta = BTreeMap::new();
    for line in form.meta.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if is_meta_key(key) => {
                if value.len() > 512 {
                    wrong("meta", &format!("The value of {key} is longer than 512 bytes."));
                }
                meta.insert(key.to_owned(), value.to_owned());
            }
            Some((key, _)) => wrong("meta", &format!("\"{key}\" is not a metadata key: use letters, digits, - and _.")),
            None => wrong("meta", &format!("Write \"{line}\" as key=value.")),
        }
    }
    if meta.len() > 64 {
        wrong("meta", "A service holds at most 64 metadata keys.");
    }
    let mut checks: Vec<CheckDefinition> = Vec::new();
    for (at, check) in form.checks.iter().enumerate() {
        let (definition, found) = check_definition(check);
        checks.push(definition);
        problems.extend(found.into_iter().map(|(field, text)| Problem { field: format!("check.{at}.{field}"), text }));
    }
    // One check stands in `Check`, more in `Checks`: what people write by hand.
    let check = if checks.len() == 1 { checks.pop() } else { None };
    let registration = ServiceRegistration {
        name: name.to_owned(),
        id: form.id.trim().to_owned(),
        address: form.address.trim().to_owned(),
        port,
        tags: form.tags.split([',', '\n']).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect(),
        meta,
        check,
        checks,
        ..form.rest.clone()
    };
    (registration, problems)
}

type Found = Vec<(&'static str, String)>;

fn duration(found: &mut Found, field: &'static str, text: &str, needed: Option<&str>) -> go::Duration {
    match (text.trim(), needed) {
        ("", None) => {}
        ("", Some(why)) => found.push((field, why.to_owned())),
        (text, _) => match text.parse::<go::Duration>() {
            Ok(d) if d.0 > 0 => return d,
            _ => found.push((field, format!("\"{text}\" is not a duration: write 10s, 1m30s or 500ms."))),
        },
    }
    go::Duration::default()
}

fn check_definition(form: &CheckForm) -> (CheckDefinition, Found) {
    let mut found = Vec::new();
    let runs = !matches!(form.kind, Kind::Ttl | Kind::Other);
    let mut out = CheckDefinition {
        name: form.name.trim().to_owned(),
        interval: duration(&mut found, "interval", &form.interval, runs.then_some("Say how often it runs.")),
        timeout: duration(&mut found, "timeout", &form.timeout, None),
        deregister_critical_service_after: duration(&mut found, "deregister_after", &form.deregister_after, None),
        ..form.rest.clone()
    };
    let target = form.target.trim().to_owned();
    match form.kind {
        Kind::Ttl => out.ttl = duration(&mut found, "target", &target, Some("Say how long a report stays valid.")),
        Kind::Http => {
            if !(target.starts_with("http://") || target.starts_with("https://")) || target.len() < 9 {
                found.push(("target", "Write the whole URL, with http:// or https://.".to_owned()));
            }
            out.http = target;
        }
        Kind::Tcp | Kind::Udp | Kind::Grpc => {
            let address = if form.kind == Kind::Grpc { target.split('/').next().unwrap_or_default() } else { &target };
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|p| p == 0) {
                found.push(("target", "Write host:port, such as 10.0.0.7:8080.".to_owned()));
            }
            *match form.kind {
                Kind::Tcp => &mut out.tcp,
                Kind::Udp => &mut out.udp,
                _ => &mut out.grpc,
            } = target;
        }
        Kind::Script => {
            out.args = split_words(&target);
            if out.args.is_empty() {
                found.push(("target", "Say which program to run.".to_owned()));
            }
        }
        Kind::Other => {}
    }
    (out, found)
}

fn is_meta_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 128 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Words of a command line; double or single quotes hold spaces together.
fn split_words(text: &str) -> Vec<String> {
    let (mut out, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') => (quote, any) = (Some(c), true),
            (Some(q), _) if q == c => quote = None,
            (None, _) if c.is_whitespace() => {
                if any {
                    out.push(take(&mut word));
                    any = false;
                }
            }
            _ => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        out.push(word);
    }
    out
}

fn join_words(words: &[String]) -> String {
    let quoted = |word: &String| {
        let mark = if word.contains('"') { '\'' } else { '"' };
        let plain = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        if plain { word.clone() } else { format!("{mark}{word}{mark}") }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A registration as people read it.
pub(crate) fn json(registration: &ServiceRegistration) -> String {
    shared::endpoint::pretty(registration)
}

/// Reads the JSON side.
///
/// # Errors
/// What is wrong and on which line, from 1.
pub(crate) fn parse(text: &str) -> Result<ServiceRegistration, (usize, String)> {
    // With the keys in any case, as the agent reads it.
    decode::read_loosely(text.as_bytes()).map_err(|fault| (fault.line, format!("expected {}", fault.wanted)))
}

/// What DNS will say about the name: a warning, not a fault.
pub(crate) fn name_warning(name: &str) -> Option<&'static str> {
    (!name.trim().is_empty() && !name::is_dns_label(name.trim()))
        .then_some("DNS cannot carry this name: use letters, digits and dashes, at most 63.")
}

/// What else is known under this name or id, as (node, id): said before registering.
pub(crate) fn clash(form: &Form, node: &str, instances: &[(String, String)]) -> Option<String> {
    let id = if form.id.trim().is_empty() { form.name.trim() } else { form.id.trim() };
    if instances.iter().any(|(n, i)| n == node && i == id) {
        return Some(format!("{id} is registered on {node} already: this replaces it."));
    }
    match instances.len() {
        0 => None,
        1 => Some(format!("{} has one instance already: this adds a second.", form.name.trim())),
        n => Some(format!("{} has {n} instances already: this adds one.", form.name.trim())),
    }
}

/// A registration that would make an instance what it is now; its checks come from their owner.
pub(crate) fn of_instance(service: &Service, checks: &[CheckDefinition]) -> ServiceRegistration {
    let mut checks: Vec<CheckDefinition> = checks.iter().filter(|c| !c.id.starts_with(SERVICE_MAINTENANCE_PREFIX)).cloned().collect();
    checks.iter_mut().for_each(|c| c.service_id.clear());
    let check = if checks.len() == 1 { checks.pop() } else { None };
    ServiceRegistration {
        kind: service.kind.clone(),
        id: service.id.clone(),
        name: service.name.clone(),
        tags: service.tags.clone(),
        port: service.port,
        address: service.address.clone(),
        tagged_addresses: service.tagged_addresses.clone(),
        meta: service.meta.clone(),
        weights: (service.weights != Weights::default()).then_some(service.weights),
        enable_tag_override: service.enable_tag_override,
        proxy: (!service.kind.is_empty()).then(|| service.proxy.clone()),
        connect: (service.connect != Connect::default()).then(|| service.connect.clone()),
        check,
        checks,
        ..ServiceRegistration::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(form: &Form) -> Vec<String> {
        registration(form).1.into_iter().map(|p| p.field).collect()
    }

    fn named(check: CheckForm) -> Form {
        Form { name: "web".to_owned(), checks: vec![check], ..Form::default() }
    }

    #[test]
    fn a_registration_survives_the_way_through_the_form() {
        let texts = [
            r#"{"Name":"web"}"#,
            r#"{"ID":"web-1","Name":"web","Tags":["a","b c"],"Port":80,"Address":"10.0.0.1","Meta":{"k":"v"},"Check":{"Name":"h","HTTP":"http://x/","Interval":"10s","Timeout":"3s","Header":{"A":["b"]}}}"#,
            r#"{"Name":"web","Weights":{"Passing":3,"Warning":1},"EnableTagOverride":true,"Checks":[{"TCP":"a:1","Interval":"1m30s"},{"TTL":"30s","Notes":"n"}]}"#,
            r#"{"Name":"web","Check":{"Args":["/bin/x","a b","c\"d"],"Interval":"1s"}}"#,
            r#"{"Name":"web","Check":{"AliasService":"db"}}"#,
            r#"{"Name":"web","Check":{"GRPC":"a:1/s","GRPCUseTLS":true,"Interval":"5s","DeregisterCriticalServiceAfter":"1h0m0s"}}"#,
        ];
        for text in texts {
            let before = parse(text).expect("valid");
            let (after, problems) = registration(&form(&before));
            assert_eq!((&after, problems), (&before, Vec::new()), "{text}");
            assert_eq!(parse(&json(&after)).expect("valid"), before);
        }
    }

    #[test]
    fn every_field_says_what_is_wrong_with_it() {
        let web = Form { name: "web".to_owned(), ..Form::default() };
        let check = |form: Form, expected: &[&str]| assert_eq!(problems(&form), expected, "{form:?}");
        check(web.clone(), &[]);
        check(Form::default(), &["name"]);
        for port in ["84430", "0", "-1", "http"] {
            check(Form { port: port.to_owned(), ..web.clone() }, &["port"]);
        }
        check(Form { address: "http://a".to_owned(), ..web.clone() }, &["address"]);
        check(Form { meta: "a=1\nb c=2\nd".to_owned(), ..web.clone() }, &["meta", "meta"]);
        let of = |kind, target: &str| CheckForm { target: target.to_owned(), ..CheckForm::new(kind) };
        check(named(of(Kind::Http, "example.com")), &["check.0.target"]);
        check(named(of(Kind::Http, "https://example.com")), &[]);
        check(named(of(Kind::Tcp, "example.com")), &["check.0.target"]);
        check(named(of(Kind::Tcp, ":80")), &["check.0.target"]);
        check(named(of(Kind::Tcp, "[::1]:80")), &[]);
        check(named(of(Kind::Grpc, "a:1/svc")), &[]);
        check(named(of(Kind::Ttl, "")), &["check.0.target"]);
        check(named(of(Kind::Ttl, "30s")), &[]);
        check(named(of(Kind::Script, " ")), &["check.0.target"]);
        check(named(CheckForm { interval: String::new(), ..of(Kind::Tcp, "a:1") }), &["check.0.interval"]);
        check(named(CheckForm { timeout: "3".to_owned(), ..of(Kind::Tcp, "a:1") }), &["check.0.timeout"]);
    }

    #[test]
    fn a_mistake_in_the_json_has_its_line() {
        assert_eq!(parse("{\n\"Name\": \"a\",\n}").expect_err("a comma too much").0, 3);
        assert!(parse(r#"{"Port":"x"}"#).is_err());
    }

    #[test]
    fn clashes_and_names_are_told() {
        let web = Form { name: "web".to_owned(), ..Form::default() };
        let instances = [("n1".to_owned(), "web".to_owned())];
        assert!(clash(&web, "n1", &instances).is_some_and(|t| t.contains("replaces")));
        assert!(clash(&web, "n2", &instances).is_some_and(|t| t.contains("second")));
        assert_eq!(clash(&web, "n2", &[]), None);
        assert!(name_warning("my_web").is_some() && name_warning("my-web").is_none() && name_warning("").is_none());
    }

    #[test]
    fn an_instance_becomes_its_registration_again() {
        let service = Service { id: "web-1".to_owned(), name: "web".to_owned(), port: 80, ..Service::default() };
        let checks =
            [CheckDefinition { id: "c".to_owned(), service_id: "web-1".to_owned(), tcp: "a:1".to_owned(), ..CheckDefinition::default() }];
        let registration = of_instance(&service, &checks);
        assert_eq!(registration.check.as_ref().map(|c| (c.tcp.as_str(), c.service_id.as_str())), Some(("a:1", "")));
        assert_eq!(registration.weights, None);
    }
}
