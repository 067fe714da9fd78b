//! What can be done to services from more than one page: run their checks, maintenance, deregister.
//!
//! Many at once are sent eight at a time, one call an object, and answered by one list of outcomes: never by one
//! notice each.

use std::{cell::RefCell, future::Future, pin::Pin, rc::Rc};

use shared::{
    agent, catalog,
    check::{self, Check},
    endpoint,
    health::{self, Health, ServiceNode},
};

use crate::api::{Error, send};

/// Calls under way at once.
const AT_ONCE: usize = 8;

/// How one of many went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// What it was done to: a check, an instance.
    pub(crate) object: String,
    /// What came of it, or why not.
    pub(crate) result: Result<String, String>,
}

/// Something done to a whole service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run its checks now.
    Run,
    /// Take its instances out of traffic, with a reason.
    Maintain(String),
    /// Put them back.
    Resume,
    /// Remove its instances.
    Deregister,
}

impl Action {
    /// The deed as a question or heading.
    pub(crate) fn title(&self) -> &'static str {
        match self {
            Self::Run => "Run checks",
            Self::Maintain(_) => "Put into maintenance",
            Self::Resume => "End maintenance",
            Self::Deregister => "Deregister",
        }
    }
}

/// Does the action to every instance of the services.
pub(crate) async fn on_services(action: Action, dc: String, services: Vec<String>) -> Vec<Outcome> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut outcomes = Vec::new();
    for service in services {
        let read = endpoint::Read { dc: dc.clone(), ..Default::default() };
        match send(&health::GetService { service: service.clone(), read, ..Default::default() }).await {
            Ok(instances) => jobs.extend(plan(&action, &instances)),
            Err(error) => outcomes.push(Outcome { object: service, result: Err(error.to_string()) }),
        }
    }
    outcomes.extend(all(jobs).await);
    outcomes
}

type Job = Pin<Box<dyn Future<Output = Outcome>>>;

fn plan(action: &Action, instances: &[ServiceNode]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for instance in instances {
        let has_agent = instance.checks.iter().any(|check| check.id == check::SERF_HEALTH);
        if *action == Action::Run {
            for check in instance.checks.iter().filter(|check| has_agent && !check.service_id.is_empty() && check.is_runnable()) {
                jobs.push(Box::pin(run(instance.service.id.clone(), check.clone())));
            }
            continue;
        }
        jobs.push(Box::pin(change(action.clone(), instance.clone(), has_agent)));
    }
    jobs
}

async fn run(instance: String, check: Check) -> Outcome {
    let object = format!("{} on {instance}", check.name);
    let result = send(&check::RunNow { node: check.node.clone(), id: check.id.clone() }).await;
    Outcome { object, result: result.map(|run| ran(&check, &run)).map_err(|error| error.to_string()) }
}

/// What a run came to: "Still critical, in 212 ms".
pub(crate) fn ran(before: &Check, run: &check::Run) -> String {
    let word = if before.status == run.result { "Still" } else { "Now" };
    format!("{word} {}, in {}", run.result, crate::format::duration(run.duration_ms as f64))
}

async fn change(action: Action, instance: ServiceNode, has_agent: bool) -> Outcome {
    let (node, id) = (instance.node.name.clone(), instance.service.id.clone());
    let object = format!("{id} on {node}");
    let done: Result<String, Error> = match action {
        Action::Maintain(reason) => {
            let call = agent::SetServiceMaintenance { node, id, enable: true, reason };
            send(&call).await.map(|()| "In maintenance".to_owned())
        }
        Action::Resume if instance.health() != Health::Maintenance => Ok("Was not in maintenance".to_owned()),
        Action::Resume => {
            let call = agent::SetServiceMaintenance { node, id, enable: false, reason: String::new() };
            send(&call).await.map(|()| "Back in traffic".to_owned())
        }
        // An agent would register it again from its own list, so the agent itself must forget it.
        Action::Deregister if has_agent => {
            send(&agent::DeregisterService { node, id }).await.map(|()| "Deregistered by its agent".to_owned())
        }
        Action::Deregister => {
            let deregistration =
                catalog::Deregistration { node, service_id: id, datacenter: instance.node.datacenter.clone(), ..Default::default() };
            send(&catalog::Deregister { deregistration }).await.map(|_| "Removed from the catalog".to_owned())
        }
        Action::Run => Ok(String::new()),
    };
    Outcome { object, result: done.map_err(|error| error.to_string()) }
}

/// Runs the jobs, [`AT_ONCE`] at a time, and keeps their order.
async fn all(jobs: Vec<Job>) -> Vec<Outcome> {
    let count = jobs.len();
    let queue = Rc::new(RefCell::new(jobs.into_iter().enumerate()));
    let done: Rc<RefCell<Vec<Option<Outcome>>>> = Rc::new(RefCell::new(vec![None; count]));
    let workers = (0..AT_ONCE.min(count)).map(|_| {
        let (queue, done) = (Rc::clone(&queue), Rc::clone(&done));
        wasm_bindgen_futures::future_to_promise(async move {
            loop {
                let next = queue.borrow_mut().next();
                let Some((at, job)) = next else { return Ok(wasm_bindgen::JsValue::NULL) };
                let outcome = job.await;
                done.borrow_mut()[at] = Some(outcome);
            }
        })
    });
    let workers: js_sys::Array = workers.collect();
    // The workers never reject.
    let _ = wasm_bindgen_futures::JsFuture::from(js_sys::Promise::all(&workers)).await;
    done.take().into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_whether_anything_changed() {
        let before = Check { status: "critical".into(), ..Check::default() };
        let run = |result: &str| check::Run { result: result.into(), duration_ms: 212, ..check::Run::default() };
        assert_eq!(ran(&before, &run("critical")), "Still critical, in 212 ms");
        assert_eq!(ran(&before, &run("passing")), "Now passing, in 212 ms");
    }
}
