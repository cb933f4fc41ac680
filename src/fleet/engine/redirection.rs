//! The way to the node of a cluster that has the keys of the fleet. All of them have one hash tag, so they are in one slot.
//!
//! MOVED names the node that has the slot: the connection goes there, and stays there. ASK names the node that takes the slot
//! over: it is asked for the one command. Both are followed a few times.

use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::sleep;

use super::line::{ANSWER_BYTES_MAX, Line, Node};
use super::{Connection, EngineError};
use spansieve_core::fleet::MemberId;

/// The most redirections of one command: nodes may know of a move one after another.
const REDIRECTIONS_MAX: usize = 5;
/// The pause after two nodes have named one another.
const PAUSE: Duration = Duration::from_millis(50);

/// The commands that append a batch to the stream of a member, each with that one key.
pub(super) struct Append {
    pub(super) to: MemberId,
    pub(super) add: Cmd,
    /// The answer to it has no meaning.
    pub(super) expire: Cmd,
}

/// A redirection to another node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirection {
    /// It has the slot.
    Moved(Node),
    /// It takes the slot over, and has the keys that are missing here.
    Ask(Node),
    /// A node has some of the keys of the slot, at present.
    Later,
}

impl Redirection {
    /// Reads an error of the node `from`.
    pub(super) fn of(error: &RedisError, from: &Node) -> Option<Self> {
        let node = || error.redirect_node().and_then(|(address, _)| from.redirected(address));
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => node().map(Redirection::Moved),
            ErrorKind::Server(ServerErrorKind::Ask) => node().map(Redirection::Ask),
            ErrorKind::Server(ServerErrorKind::TryAgain) => Some(Redirection::Later),
            _ => None,
        }
    }
}

impl Connection<'_> {
    /// Returns the answer to a command with one key, from the node that has it.
    pub(super) async fn query(&mut self, command: &Cmd, bytes_max: usize) -> Result<Value, EngineError> {
        let mut last = None;
        for _ in 0..REDIRECTIONS_MAX {
            let mut answer = self.line.query(command, bytes_max).await;
            let mut redirection = redirected(&answer, &self.line);
            if let Some(Redirection::Ask(node)) = redirection {
                let line = self.asked(node).await?;
                answer = line.ask(command, bytes_max).await;
                // The slot is where it was, or has arrived meanwhile: the node that has it says so.
                redirection = redirected(&answer, line).map(|_| Redirection::Later);
            }
            let Some(redirection) = redirection else { return answer };
            self.follow(redirection).await?;
            last = answer.err();
        }
        Err(given_up(last))
    }

    /// Appends batches. Returns the errors of those that were not appended.
    pub(super) async fn append(
        &mut self,
        mut appends: Vec<Append>,
    ) -> Result<Vec<(MemberId, RedisError)>, EngineError> {
        let (mut errors, mut last) = (Vec::new(), None);
        for _ in 0..REDIRECTIONS_MAX {
            let mut redirection = send(&mut self.line, false, &mut appends, &mut errors, &mut last).await?;
            if let Some(Redirection::Ask(node)) = redirection {
                let line = self.asked(node).await?;
                redirection = send(line, true, &mut appends, &mut errors, &mut last).await?.map(|_| Redirection::Later);
            }
            let Some(redirection) = redirection else { return Ok(errors) };
            self.follow(redirection).await?;
        }
        Err(given_up(last.map(EngineError::Redis)))
    }

    /// Goes to the node that has the slot, or waits.
    async fn follow(&mut self, redirection: Redirection) -> Result<(), EngineError> {
        let (Redirection::Moved(node) | Redirection::Ask(node)) = redirection else {
            sleep(PAUSE).await;
            return Ok(());
        };
        self.line = match self.asked.take().filter(|line| *line.node() == node) {
            Some(line) => line,
            None => self.engine.open(&node).await?,
        };
        let before = self.engine.owner.lock().replace(node.clone());
        if before.as_ref() != Some(&node) {
            tracing::info!(%node, "The cluster has the keys of the fleet at this node.");
        }
        Ok(())
    }

    /// Returns the connection to the node that takes the slot over.
    async fn asked(&mut self, node: Node) -> Result<&mut Line, EngineError> {
        let line = match self.asked.take().filter(|line| *line.node() == node) {
            Some(line) => line,
            None => {
                tracing::info!(%node, "The cluster moves the keys of the fleet to this node.");
                self.engine.open(&node).await?
            }
        };
        Ok(self.asked.insert(line))
    }
}

fn redirected(answer: &Result<Value, EngineError>, line: &Line) -> Option<Redirection> {
    match answer {
        Err(EngineError::Redis(error)) => Redirection::of(error, line.node()),
        _ => None,
    }
}

fn given_up(last: Option<EngineError>) -> EngineError {
    let last = last.map(|error| error.to_string()).unwrap_or_default();
    EngineError::Redirected { times: REDIRECTIONS_MAX, last }
}

/// Appends batches at one node. Leaves those that were redirected, and adds the errors of the others.
async fn send(
    line: &mut Line,
    asks: bool,
    appends: &mut Vec<Append>,
    errors: &mut Vec<(MemberId, RedisError)>,
    last: &mut Option<RedisError>,
) -> Result<Option<Redirection>, EngineError> {
    let (mut pipe, mut receivers) = (redis::pipe(), Vec::with_capacity(appends.len()));
    pipe.ignore_errors();
    // The commands move, because the batches in them are large.
    for Append { to, add, expire } in appends.drain(..) {
        receivers.push(to);
        for (command, is_ignored) in [(add, false), (expire, true)] {
            if asks {
                pipe.cmd("ASKING").ignore();
            }
            pipe.add_command(command);
            if is_ignored {
                pipe.ignore();
            }
        }
    }
    let answers: Vec<RedisResult<Value>> = line.query_all(&pipe, ANSWER_BYTES_MAX).await?;
    let mut redirection = None;
    let mut sent = pipe.cmd_iter().skip(usize::from(asks)).step_by(1 + usize::from(asks));
    for (to, answer) in receivers.into_iter().zip(answers) {
        let (Some(add), Some(expire)) = (sent.next(), sent.next()) else { break };
        let Err(error) = answer else { continue };
        match Redirection::of(&error, line.node()) {
            Some(found) => {
                redirection.get_or_insert(found);
                *last = Some(error);
                appends.push(Append { to, add: add.clone(), expire: expire.clone() });
            }
            None => errors.push((to, error)),
        }
    }
    Ok(redirection)
}

#[cfg(test)]
mod tests;
