//! What a check definition means: which kind of check, how often, how long, with which thresholds.
//!
//! Pure. Never starts anything and never guesses: a definition is either turned into a [`Checked`] or refused with
//! Consul's text. Contract: health checks, sections "Check types" and "Common numbers".

use std::{collections::BTreeMap, time::Duration};

use shared::check::CheckDefinition;

use super::schedule::Thresholds;

/// Output kept when nobody says otherwise, bytes.
pub const OUTPUT_SIZE_MAX: usize = 4096;

const INTERVAL_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_NETWORK: Duration = Duration::from_secs(10);
const TIMEOUT_PROGRAM: Duration = Duration::from_secs(30);
const DEREGISTER_AFTER_MIN: Duration = Duration::from_secs(60);

/// How a check finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs a program.
    Script {
        /// Program and arguments.
        args: Vec<String>,
    },
    /// Runs a program inside a container.
    Docker {
        /// The container.
        container: String,
        /// The shell that runs it.
        shell: String,
        /// Program and arguments.
        args: Vec<String>,
    },
    /// Makes an HTTP request.
    Http(Http),
    /// Opens a TCP connection.
    Tcp {
        /// `host:port`.
        address: String,
        /// Complete a TLS handshake too.
        tls: Option<Tls>,
    },
    /// Sends a datagram.
    Udp {
        /// `host:port`.
        address: String,
    },
    /// Asks the standard gRPC health service.
    Grpc {
        /// `host:port[/service]`.
        target: String,
        /// Speak TLS.
        tls: Option<Tls>,
    },
    /// Pings over HTTP/2.
    H2Ping {
        /// `host:port`.
        address: String,
        /// Speak TLS.
        tls: Option<Tls>,
    },
    /// Asks the operating system for one of its services.
    OsService {
        /// Its name.
        name: String,
    },
    /// Waits to be told.
    Ttl {
        /// How long a report stays valid.
        ttl: Duration,
    },
    /// Follows other checks.
    Alias(Alias),
}

/// How to speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Accept any certificate.
    pub skip_verify: bool,
    /// Name to expect instead of the host's; empty means the host's.
    pub server_name: String,
}

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Where to, as written.
    pub url: String,
    /// Method; empty means GET.
    pub method: String,
    /// Headers, which replace the default ones.
    pub header: BTreeMap<String, Vec<String>>,
    /// Body.
    pub body: String,
    /// Answer with the redirect itself.
    pub disable_redirects: bool,
    /// TLS for `https`.
    pub tls: Tls,
}

/// What an alias check follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alias {
    /// Node; empty means the agent's own.
    pub node: String,
    /// Instance; empty means the node's checks alone.
    pub service_id: String,
}

impl Kind {
    /// The word in `Type`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Script { .. } => "script",
            Self::Docker { .. } => "docker",
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
            Self::Udp { .. } => "udp",
            Self::Grpc { .. } => "grpc",
            Self::H2Ping { .. } => "h2ping",
            Self::OsService { .. } => "os_service",
            Self::Ttl { .. } => "ttl",
            Self::Alias(_) => "alias",
        }
    }

    /// Whether it runs programs, which the agent must allow.
    #[must_use]
    pub fn is_script(&self) -> bool {
        matches!(self, Self::Script { .. } | Self::Docker { .. })
    }
}

/// A definition that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it does.
    pub kind: Kind,
    /// Time from the end of one run to the start of the next; zero for TTL and alias.
    pub interval: Duration,
    /// Longest run.
    pub timeout: Duration,
    /// Results in a row needed to change the status.
    pub thresholds: Thresholds,
    /// Output kept, bytes, before the agent's own limit.
    pub output_size_max: usize,
    /// Deregister the service after being critical for so long.
    pub deregister_critical_service_after: Option<Duration>,
}

/// Turns a definition into what it means.
///
/// # Errors
/// Consul's text, without its prefix `Invalid check: `.
pub fn check(definition: &CheckDefinition) -> Result<Checked, &'static str> {
    validate(definition)?;
    let kind = kind(definition);
    let timeout = match (definition.timeout.as_std(), &kind) {
        (Duration::ZERO, Kind::Script { .. } | Kind::Docker { .. } | Kind::OsService { .. }) => TIMEOUT_PROGRAM,
        (Duration::ZERO, _) => TIMEOUT_NETWORK,
        (given, _) => given,
    };
    let interval = match kind {
        Kind::Ttl { .. } | Kind::Alias(_) => Duration::ZERO,
        _ => definition.interval.as_std().max(INTERVAL_MIN),
    };
    let count = |n: i64| u32::try_from(n).unwrap_or(if n < 0 { 0 } else { u32::MAX });
    let critical = count(definition.failures_before_critical);
    let warning = if definition.failures_before_warning > 0 { count(definition.failures_before_warning) } else { critical };
    let deregister_after = definition.deregister_critical_service_after.as_std();
    Ok(Checked {
        kind,
        interval,
        timeout,
        thresholds: Thresholds { success: count(definition.success_before_passing), warning, critical },
        output_size_max: definition.output_max_size.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(OUTPUT_SIZE_MAX),
        deregister_critical_service_after: (!deregister_after.is_zero()).then(|| deregister_after.max(DEREGISTER_AFTER_MIN)),
    })
}

fn validate(definition: &CheckDefinition) -> Result<(), &'static str> {
    let runs = !definition.args.is_empty()
        || [&definition.http, &definition.tcp, &definition.udp, &definition.grpc, &definition.h2ping, &definition.os_service]
            .iter()
            .any(|field| !field.is_empty());
    let alias = !definition.alias_node.is_empty() || !definition.alias_service.is_empty();
    let (interval, ttl) = (definition.interval.0, definition.ttl.0);
    let refusals = [
        (interval > 0 && ttl > 0, "Interval and TTL cannot both be specified"),
        (runs && interval <= 0, "Interval must be > 0 for Script, HTTP, or TCP checks"),
        (runs && alias, "Interval cannot be set for Alias checks"),
        (alias && ttl > 0, "TTL must be not be set for Alias checks"),
        (!runs && !alias && ttl <= 0, "TTL must be > 0 for TTL checks"),
        (definition.output_max_size.unwrap_or(0) < 0, "MaxOutputMaxSize must be positive"),
        (
            definition.failures_before_warning > definition.failures_before_critical,
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
    ];
    refusals.iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, text)| Err(text))
}

fn kind(definition: &CheckDefinition) -> Kind {
    let given = |text: &String| !text.is_empty();
    let tls = Tls { skip_verify: definition.tls_skip_verify, server_name: definition.tls_server_name.clone() };
    if definition.ttl.0 > 0 {
        Kind::Ttl { ttl: definition.ttl.as_std() }
    } else if !definition.args.is_empty() && given(&definition.docker_container_id) {
        Kind::Docker { container: definition.docker_container_id.clone(), shell: definition.shell.clone(), args: definition.args.clone() }
    } else if !definition.args.is_empty() {
        Kind::Script { args: definition.args.clone() }
    } else if given(&definition.http) {
        Kind::Http(Http {
            url: definition.http.clone(),
            method: definition.method.clone(),
            header: definition.header.clone(),
            body: definition.body.clone(),
            disable_redirects: definition.disable_redirects,
            tls,
        })
    } else if given(&definition.tcp) {
        Kind::Tcp { address: definition.tcp.clone(), tls: definition.tcp_use_tls.then_some(tls) }
    } else if given(&definition.grpc) {
        Kind::Grpc { target: definition.grpc.clone(), tls: definition.grpc_use_tls.then_some(tls) }
    } else if given(&definition.udp) {
        Kind::Udp { address: definition.udp.clone() }
    } else if given(&definition.h2ping) {
        Kind::H2Ping { address: definition.h2ping.clone(), tls: definition.h2ping_use_tls.unwrap_or(true).then_some(tls) }
    } else if given(&definition.os_service) {
        Kind::OsService { name: definition.os_service.clone() }
    } else {
        Kind::Alias(Alias { node: definition.alias_node.clone(), service_id: definition.alias_service.clone() })
    }
}

#[cfg(test)]
mod tests {
    use shared::go;

    use super::*;

    fn define(json: &str) -> CheckDefinition {
        serde_json::from_str(json).expect("a definition")
    }

    #[test]
    fn a_definition_is_refused_with_consuls_text() {
        let cases = [
            (r#"{}"#, "TTL must be > 0 for TTL checks"),
            (r#"{"TTL":"-1s"}"#, "TTL must be > 0 for TTL checks"),
            (r#"{"DockerContainerID":"x","Interval":"1s"}"#, "TTL must be > 0 for TTL checks"),
            (r#"{"HTTP":"http://x/"}"#, "Interval must be > 0 for Script, HTTP, or TCP checks"),
            (r#"{"HTTP":"http://x/","Interval":"-1s"}"#, "Interval must be > 0 for Script, HTTP, or TCP checks"),
            (r#"{"TTL":"10s","Interval":"1s"}"#, "Interval and TTL cannot both be specified"),
            (r#"{"HTTP":"http://x/","Interval":"1s","OutputMaxSize":-1}"#, "MaxOutputMaxSize must be positive"),
            (r#"{"AliasService":"x","TTL":"1s"}"#, "TTL must be not be set for Alias checks"),
            (
                r#"{"TCP":"x:1","Interval":"1s","FailuresBeforeWarning":3,"FailuresBeforeCritical":2}"#,
                "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(check(&define(json)), Err(expected), "{json}");
        }
    }

    #[test]
    fn a_definition_has_one_kind_and_the_first_wins() {
        let cases = [
            (r#"{"TTL":"1s"}"#, "ttl"),
            (r#"{"HTTP":"http://x/","TCP":"x:1","Interval":"1s"}"#, "http"),
            (r#"{"HTTP":"http://x/","TTL":"-1s","Interval":"1s"}"#, "http"),
            (r#"{"Args":["a"],"HTTP":"http://x/","Interval":"1s"}"#, "script"),
            (r#"{"Args":["a"],"DockerContainerID":"c","Interval":"1s"}"#, "docker"),
            (r#"{"GRPC":"x:1/s","Interval":"1s"}"#, "grpc"),
            (r#"{"UDP":"x:1","Interval":"1s"}"#, "udp"),
            (r#"{"H2PING":"x:1","Interval":"1s"}"#, "h2ping"),
            (r#"{"OSService":"x","Interval":"1s"}"#, "os_service"),
            (r#"{"AliasNode":"n","Interval":"1s"}"#, "alias"),
        ];
        for (json, expected) in cases {
            assert_eq!(check(&define(json)).map(|c| c.kind.word()), Ok(expected), "{json}");
        }
    }

    #[test]
    fn numbers_have_their_defaults_and_bounds() {
        let tcp = check(&define(r#"{"TCP":"x:1","Interval":"10ms","DeregisterCriticalServiceAfter":"1s"}"#)).expect("valid");
        assert_eq!((tcp.interval, tcp.timeout), (Duration::from_secs(1), Duration::from_secs(10)));
        assert_eq!(tcp.deregister_critical_service_after, Some(Duration::from_secs(60)));
        assert_eq!(tcp.output_size_max, 4096);

        let mut script = define(r#"{"Args":["x"],"Interval":"1h","OutputMaxSize":10,"FailuresBeforeCritical":3}"#);
        let checked = check(&script).expect("valid");
        assert_eq!((checked.timeout, checked.output_size_max), (Duration::from_secs(30), 10));
        assert_eq!(checked.thresholds, Thresholds { success: 0, warning: 3, critical: 3 });
        script.timeout = go::Duration::from_secs(2);
        assert_eq!(check(&script).expect("valid").timeout, Duration::from_secs(2));
    }
}
