//! The commands to an attempt, which may come while it waits for something else.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::agent_run::RunCommand;
use domain::BootInstant;

/// See the [module](self).
pub struct Commands {
    receiver: mpsc::Receiver<RunCommand>,
    /// Commands that came while the attempt waited for something else.
    kept: VecDeque<RunCommand>,
}

impl From<mpsc::Receiver<RunCommand>> for Commands {
    fn from(receiver: mpsc::Receiver<RunCommand>) -> Self {
        Self { receiver, kept: VecDeque::new() }
    }
}

impl Commands {
    /// The next command; `None` when the worker is gone.
    pub async fn recv(&mut self) -> Option<RunCommand> {
        match self.kept.pop_front() {
            Some(command) => Some(command),
            None => self.receiver.recv().await,
        }
    }

    /// Waits for some work. Renewals move the deadline meanwhile, however long it takes; other commands are kept.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>, deadline: &mut BootInstant) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(command) = self.receiver.recv() => match command {
                    RunCommand::Extend(until) => *deadline = until,
                    command => self.kept.push_back(command),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[actix::test]
    async fn a_lease_is_renewed_during_work_and_nothing_else_is_lost() {
        let (sender, receiver) = mpsc::channel(16);
        let (mut commands, mut deadline) = (Commands::from(receiver), crate::process::boot_now());
        let until = deadline.plus_ms(60_000);
        for command in [RunCommand::Draining, RunCommand::Extend(until), RunCommand::Shutdown] {
            sender.send(command).await.expect("a receiver");
        }
        drop(sender);
        let work = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        };
        assert_eq!(commands.during(work, &mut deadline).await, 7);
        assert_eq!(deadline, until);
        assert_eq!(commands.recv().await, Some(RunCommand::Draining));
        assert_eq!(commands.recv().await, Some(RunCommand::Shutdown));
        assert_eq!(commands.recv().await, None);
    }
}
