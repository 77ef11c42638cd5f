//! The runs that a worker has in hand, and the way to each.

use std::collections::{HashMap, HashSet};

use tokio::sync::mpsc;

use super::agent_run::RunCommand;
use domain::{BootInstant, LeaseKey, TaskId, TaskInput, Usd};

/// A run reads its commands at once, unless it waits for the store.
const COMMANDS: usize = 16;

/// Kept over a restart of the actor: the attempts don't end with its panic.
#[derive(Default)]
pub struct RunningTasks(HashMap<TaskId, Running>);

struct Running {
    /// Lease under which it was claimed.
    key: LeaseKey,
    /// The way to it.
    commands: mpsc::Sender<RunCommand>,
    /// Messages and interrupts that were passed on.
    heard: HashSet<i64>,
    /// What is left of its budget, where its children have some of it and that was passed on.
    budget: Option<Usd>,
}

impl RunningTasks {
    /// Takes a run in hand. Returns where it hears its commands.
    pub fn add(&mut self, key: LeaseKey) -> mpsc::Receiver<RunCommand> {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        self.0.insert(key.task, Running { key, commands, heard: HashSet::new(), budget: None });
        receiver
    }

    /// Removes a task that is over.
    pub fn remove(&mut self, key: LeaseKey) {
        if self.find(key).is_some() {
            self.0.remove(&key.task);
        }
    }

    /// Forgets those that are over without having said so.
    pub fn retain_living(&mut self) {
        self.0.retain(|_, running| !running.commands.is_closed());
    }

    /// True if the task is among them.
    pub fn has(&self, task: TaskId) -> bool {
        self.0.contains_key(&task)
    }

    /// Returns the number of running tasks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the leases of all running tasks.
    pub fn leases(&self) -> Vec<LeaseKey> {
        self.0.values().map(|running| running.key).collect()
    }

    /// Returns the input that was passed on to them.
    pub fn heard(&self) -> Vec<i64> {
        self.0.values().flat_map(|running| running.heard.iter().copied()).collect()
    }

    /// Returns the budgets that were passed on to them.
    pub fn budgets(&self) -> Vec<(TaskId, Usd)> {
        self.0.iter().filter_map(|(task, running)| Some((*task, running.budget?))).collect()
    }

    /// Tells tasks what is left of their budgets.
    pub fn limit(&mut self, budgets: &[(TaskId, Usd)]) {
        for (task, budget) in budgets {
            let Some(running) = self.0.get_mut(task) else { continue };
            // Not taken, it comes again with the next look.
            if running.tell(RunCommand::Limit(*budget)) {
                running.budget = Some(*budget);
            }
        }
    }

    fn find(&self, key: LeaseKey) -> Option<&Running> {
        self.0.get(&key.task).filter(|running| running.key == key)
    }

    /// Tells tasks that they belong to another worker.
    pub fn lose(&self, lost: &[LeaseKey]) {
        for running in lost.iter().filter_map(|key| self.find(*key)) {
            running.tell(RunCommand::Lost);
        }
    }

    /// Tells tasks that their leases were renewed.
    pub fn extend(&self, kept: impl Iterator<Item = LeaseKey>, until: BootInstant) {
        for running in kept.filter_map(|key| self.find(key)) {
            running.tell(RunCommand::Extend(until));
        }
    }

    /// Tells all of them.
    pub fn tell(&self, command: &RunCommand) {
        for running in self.0.values() {
            running.tell(command.clone());
        }
    }

    /// Passes on what was said, all of a task's together: what the lease needs must find room as well.
    pub fn pass_on(&mut self, said: Vec<(TaskId, TaskInput)>) {
        let mut by_task: HashMap<TaskId, Vec<TaskInput>> = HashMap::new();
        for (task, one) in said {
            by_task.entry(task).or_default().push(one);
        }
        for (task, said) in by_task {
            let Some(running) = self.0.get_mut(&task) else { continue };
            let numbers: Vec<i64> = said.iter().filter_map(TaskInput::number).collect();
            // Not taken, it comes again with the next look.
            if running.commands.capacity() > COMMANDS / 2 && running.tell(RunCommand::Hear(said)) {
                running.heard.extend(numbers);
            }
        }
    }
}

impl Running {
    /// True if it was told.
    fn tell(&self, command: RunCommand) -> bool {
        // Closed: it has ended. Full: it waits for the store, and its shim's deadline decides.
        let told = self.commands.try_send(command);
        if let Err(error) = &told {
            tracing::debug!(taskId = %self.key.task, %error, "An attempt takes no command");
        }
        told.is_ok()
    }
}
