//! Lets a protocol library start the tasks of its connections among the agent's own.

use std::future::Future;

use super::Tasks;

/// Starts tasks under one name.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Where they run.
    pub tasks: Tasks,
    /// What they are called.
    pub name: &'static str,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        drop(self.tasks.spawn(self.name, task));
    }
}
