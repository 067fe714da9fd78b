//! Health: the one place that says what a set of checks means.
//!
//! Nothing else in Muster derives "passing": server, DNS and dashboard all call [`Health::of_checks`].
//! Contract: the status model of health checks.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    check::Check,
    decode::{Decode, Fault, Reader},
    endpoint::{Read, endpoint, segment},
    node::Node,
    service::Service,
};

/// A check's status word. Anything but the three known words is carried as given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(Cow<'static, str>);

impl Status {
    /// `passing`.
    pub const PASSING: Self = Self(Cow::Borrowed("passing"));
    /// `warning`.
    pub const WARNING: Self = Self(Cow::Borrowed("warning"));
    /// `critical`.
    pub const CRITICAL: Self = Self(Cow::Borrowed("critical"));
    /// No status at all.
    pub const NONE: Self = Self(Cow::Borrowed(""));

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of the three words an agent may report.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.as_str(), "passing" | "warning" | "critical")
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Status {
    fn from(word: &str) -> Self {
        match word {
            "passing" => Self::PASSING,
            "warning" => Self::WARNING,
            "critical" => Self::CRITICAL,
            "" => Self::NONE,
            other => Self(Cow::Owned(other.to_owned())),
        }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Decode for Status {
    fn fill(&mut self, from: &mut Reader<'_>) -> Result<(), Fault> {
        let mut text = String::new();
        from.text(&mut text)?;
        *self = Self::from(text.as_str());
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(Cow::<str>::deserialize(deserializer)?.as_ref()))
    }
}

/// What a set of checks means. Ordered from best to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Decode)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There are no checks, so nothing is known.
    #[default]
    None,
    /// Every check passes.
    Passing,
    /// At least one check warns.
    Warning,
    /// At least one check is critical or has an unknown status.
    Critical,
    /// A maintenance check is set, on the instance or on its node.
    Maintenance,
}

impl Health {
    /// All values, best first.
    pub const ALL: [Self; 5] = [Self::None, Self::Passing, Self::Warning, Self::Critical, Self::Maintenance];

    /// The health one check stands for.
    #[must_use]
    pub fn of_check(check: &Check) -> Self {
        if check.is_maintenance() {
            return Self::Maintenance;
        }
        match check.status.as_str() {
            "passing" => Self::Passing,
            "warning" => Self::Warning,
            _ => Self::Critical,
        }
    }

    /// The worst of the checks; [`Health::None`] when there are none.
    pub fn of_checks<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Self {
        checks.into_iter().map(Self::of_check).max().unwrap_or_default()
    }

    /// The health of a node from every check on it. Maintenance of one of its services is that service's alone: it neither
    /// puts the node into maintenance nor hides how the rest of it is.
    pub fn of_node<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Self {
        Self::of_checks(checks.into_iter().filter(|check| check.service_id.is_empty() || !check.is_maintenance()))
    }

    /// The health of a service from its instances: the worst of them, but maintenance counts only when
    /// every instance is in it, since taking some instances out is not an outage.
    pub fn of_instances(instances: impl IntoIterator<Item = Self>) -> Self {
        let (mut worst, mut maintenance) = (None, false);
        for instance in instances {
            if instance == Self::Maintenance {
                maintenance = true;
            } else {
                worst = worst.max(Some(instance));
            }
        }
        match worst {
            Some(health) => health,
            None if maintenance => Self::Maintenance,
            None => Self::None,
        }
    }

    /// Whether DNS and queries hand the instance out: everything but critical and maintenance.
    #[must_use]
    pub fn is_usable(self) -> bool {
        self < Self::Critical
    }

    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }
}

/// How many of something are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Counts {
    /// All of them.
    pub total: u32,
    /// All checks pass.
    pub passing: u32,
    /// Some check warns.
    pub warning: u32,
    /// Some check is critical.
    pub critical: u32,
    /// In maintenance.
    pub maintenance: u32,
    /// Without checks.
    pub none: u32,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, health: Health) {
        self.total += 1;
        *match health {
            Health::None => &mut self.none,
            Health::Passing => &mut self.passing,
            Health::Warning => &mut self.warning,
            Health::Critical => &mut self.critical,
            Health::Maintenance => &mut self.maintenance,
        } += 1;
    }

    /// How many are in one state.
    #[must_use]
    pub fn of(&self, health: Health) -> u32 {
        match health {
            Health::None => self.none,
            Health::Passing => self.passing,
            Health::Warning => self.warning,
            Health::Critical => self.critical,
            Health::Maintenance => self.maintenance,
        }
    }
}

/// One instance with its node and all checks that bear on it (`CheckServiceNode`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceNode {
    /// The node.
    pub node: Node,
    /// The instance.
    pub service: Service,
    /// Node checks first, then the instance's own.
    pub checks: Vec<Check>,
}

impl ServiceNode {
    /// The instance's health.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::of_checks(&self.checks)
    }
}

/// `GET /v1/health/service/:name`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetService {
    /// Service name.
    pub service: String,
    /// Tags it must all have.
    pub tags: Vec<String>,
    /// Only instances whose every check passes.
    pub passing: bool,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetService: "GET" -> Vec<ServiceNode>, this => format!("health/service/{}", segment(&this.service)), query {
    let mut pairs: Vec<_> = this.tags.iter().map(|tag| ("tag", tag.clone())).collect();
    if this.passing {
        pairs.push(("passing", String::new()));
    }
    pairs.extend(this.read.pairs());
    pairs
});

/// `GET /v1/health/node/:name`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetNode {
    /// Node name.
    pub node: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetNode: "GET" -> Vec<Check>, this => format!("health/node/{}", segment(&this.node)), query this.read.pairs());

/// `GET /v1/health/checks/:service`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetChecks {
    /// Service name.
    pub service: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetChecks: "GET" -> Vec<Check>, this => format!("health/checks/{}", segment(&this.service)), query this.read.pairs());

/// `GET /v1/health/state/:state`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetState {
    /// A status word or `any`.
    pub state: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetState: "GET" -> Vec<Check>, this => format!("health/state/{}", segment(&this.state)), query this.read.pairs());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{NODE_MAINTENANCE, SERF_HEALTH};

    #[test]
    fn a_node_is_in_maintenance_only_when_the_node_itself_is() {
        let check = |id: &str, service_id: &str, status: &str| Check {
            id: id.to_owned(),
            service_id: service_id.to_owned(),
            status: status.into(),
            ..Check::default()
        };
        let alive = check(SERF_HEALTH, "", "passing");
        let service = check("_service_maintenance:web", "web", "critical");
        let warns = check("disk", "db", "warning");
        let node = check(NODE_MAINTENANCE, "", "critical");
        assert_eq!(Health::of_node([&alive, &service]), Health::Passing);
        assert_eq!(Health::of_node([&alive, &service, &warns]), Health::Warning);
        assert_eq!(Health::of_node([&alive, &service, &node]), Health::Maintenance);
        assert_eq!(Health::of_node([&service]), Health::None, "nothing is known of the node");
        assert_eq!(Health::of_checks([&alive, &service]), Health::Maintenance, "the instance itself");
    }
}
