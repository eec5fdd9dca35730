//! The task behind the gate: a hook, or `on_thaw`, as a request to the program or as a command.

use super::calls::{Body, Own};
use super::peers::Owner;
use super::proxy::{COMMAND, Proxy};
use super::system::AdapterSystem;
use crate::adapter::command::Run;
use crate::adapter::config::time_text;
use crate::adapter::environment::{CommandCall, Secrets, of_command};
use crate::adapter::gate::{HookAnswer, Task};
use crate::adapter::head::{RequestChanges, write_bare_request, write_request};
use crate::adapter::program::{Exit, Signal};
use crate::adapter::relay::ROOM_BEFORE;
use crate::adapter::settings::Action;
use crate::adapter::upstream;
use crate::function::dispatch::{CallLog, LogMarker};
use crate::function::marker_log::MarkerWriter;
use crate::function::panic::error_json;
use crate::function::request::{Headers, LoggedId};
use crate::http1::head::Head;
use crate::logging::OneLine;
use crate::platform::headers;
use crate::server::system::{Interest, Token};
use crate::tuning::{COMMAND_OUTPUT_BYTES_MAX, COMMAND_READ_RUN_MAX};
use rustix::io::Errno;
use std::ffi::CString;
use std::time::Duration;

/// A task that was begun.
pub(super) struct RunningTask<K> {
    task: Task,
    /// The client whose call it answers.
    client: Option<Token>,
    request_id: String,
    time_max: Duration,
    deadline: Duration,
    how: How<K>,
}

enum How<K> {
    Request {
        /// What the program gets.
        head: Vec<u8>,
        asks_by_head: bool,
        upstream: Option<Token>,
        status: Option<u16>,
        body: Vec<u8>,
    },
    Command {
        words: Vec<CString>,
        environment: Vec<CString>,
        /// Its process, once it runs, and the end of its output.
        process: Option<(i32, Option<K>)>,
        run: Run,
    },
}

impl<K> RunningTask<K> {
    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.how {
            How::Request { .. } => Some(self.deadline),
            How::Command { run, .. } => run.deadline(),
        }
    }
}

impl<O: AdapterSystem> Proxy<O> {
    /// Takes note of a task that [`Proxy::start_task`] starts. `call`: the head of the request that brought it about.
    #[cold]
    #[inline(never)]
    pub(super) fn prepare_task(
        &mut self,
        task: Task,
        client: Option<Token>,
        call: Option<(&Head<'_>, &[u8])>,
        request_id: LoggedId<'_>,
    ) {
        let action = match task {
            Task::Hook(hook) => self.settings.hook(hook),
            Task::Thaw(_) => self.settings.on_thaw.as_ref(),
        };
        let Some(action) = action else { return };
        let given = Headers(call.map_or(&[], |(head, _)| head.headers));
        let limit = match task {
            Task::Hook(hook) => hook.time_limit(),
            Task::Thaw(_) => None,
        };
        let limit = limit.and_then(|header| given.get(header)?.parse().ok()).map(Duration::from_secs);
        let time_max = limit.unwrap_or(self.settings.hook_time_max);
        let deadline = self.clock.reading().saturating_add(time_max);
        let how = match action {
            Action::Request { method, path } => How::Request {
                head: self.task_head(&task, method, path, call),
                asks_by_head: method == "HEAD",
                upstream: None,
                status: None,
                body: Vec::new(),
            },
            Action::Command(words) => How::Command {
                words: words.clone(),
                environment: self.task_environment(&task, request_id.text(), given),
                process: None,
                run: Run::new(self.clock.reading(), time_max),
            },
        };
        if let Task::Hook(hook) = task {
            MarkerWriter::new(&mut self.system, &mut self.marker_log).start(LogMarker::Hook(hook), request_id);
        }
        self.task =
            Some(RunningTask { task, client, request_id: request_id.text().to_owned(), time_max, deadline, how });
    }

    #[cold]
    #[inline(never)]
    fn task_head(&self, task: &Task, method: &str, path: &str, call: Option<(&Head<'_>, &[u8])>) -> Vec<u8> {
        let mut out = Vec::new();
        let (of_platform_only, thaw) = match task {
            Task::Hook(_) => (false, None),
            Task::Thaw(thaw) => (true, Some(thaw)),
        };
        match call {
            Some((head, bytes)) => {
                let changes = RequestChanges {
                    method: Some(method),
                    target: Some(path),
                    withhold_secrets: self.settings.withhold_secrets,
                    is_hook: true,
                    of_platform_only,
                    thaw,
                };
                write_request(&mut out, bytes, head, changes);
            }
            None => write_bare_request(&mut out, method, path, thaw),
        }
        out
    }

    #[cold]
    #[inline(never)]
    fn task_environment(&self, task: &Task, request_id: &str, given: Headers<'_>) -> Vec<CString> {
        let credentials = [headers::ACCESS_KEY_ID, headers::ACCESS_KEY_SECRET, headers::SECURITY_TOKEN];
        let secrets = if self.settings.command_secrets {
            Secrets::Give(credentials.map(|name| given.get_bytes(name).filter(|value| !value.is_empty())))
        } else {
            Secrets::Withhold
        };
        let (hook, thaw) = match task {
            Task::Hook(hook) => (hook.name(), None),
            Task::Thaw(thaw) => (ON_THAW, Some(thaw)),
        };
        of_command(&self.environment, &CommandCall { hook, request_id, thaw, secrets })
    }

    /// Starts the task that was prepared, if it does not run already.
    #[cold]
    #[inline(never)]
    pub(super) fn start_task(&mut self) {
        let Some(task) = &mut self.task else { return };
        match &mut task.how {
            How::Request { upstream: None, head, .. } => {
                self.head.clear();
                self.head.append(head);
                // A new connection: a hook cannot be repeated, and comes rarely.
                match self.send_on(Owner::Task, None, 0..0) {
                    Ok(token) => self.note_task_connection(token),
                    Err(error) => self.end_task(Err(format!("cannot connect to the program: {error}"))),
                }
            }
            How::Command { process: process @ None, words, environment, .. } => {
                let started = self.system.spawn(words, environment);
                match started {
                    Ok((pid, output)) => {
                        let outcome =
                            output.as_ref().map(|output| self.system.register(output, COMMAND, Interest::Read));
                        *process = Some((pid, output));
                        if let Some(Err(error)) = outcome {
                            log::warn!("cannot wait for the output of a command: {error}");
                        }
                    }
                    Err(error) => {
                        let name = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
                        self.end_task(Err(format!("cannot execute {name}: {error}")));
                    }
                }
            }
            How::Request { .. } | How::Command { .. } => {}
        }
    }

    fn note_task_connection(&mut self, token: Token) {
        if let Some(RunningTask { how: How::Request { upstream, .. }, .. }) = &mut self.task {
            *upstream = Some(token);
        }
    }

    pub(super) fn task_asks_by_head(&self) -> bool {
        matches!(self.task, Some(RunningTask { how: How::Request { asks_by_head: true, .. }, .. }))
    }

    /// The head of a reply has come for a task, or for the question whether the program serves.
    #[cold]
    #[inline(never)]
    pub(super) fn note_task_status(&mut self, owner: Owner, seen: u16) {
        match (owner, &mut self.task) {
            (Owner::Ready, _) => self.stage.note_status(seen),
            (_, Some(RunningTask { how: How::Request { status, .. }, .. })) => *status = Some(seen),
            _ => {}
        }
    }

    /// A piece of a reply's body that a task has asked for.
    #[cold]
    #[inline(never)]
    pub(super) fn read_task_reply(&mut self, token: Token, start: usize, end: usize) {
        let Some(upstream) = self.upstreams.get(token) else { return };
        let owner = upstream.owner;
        if !upstream.download.is_done() {
            let mut surplus = Vec::new();
            let Ok(piece) = upstream.download.pass(&mut self.scratch, start..end, &mut surplus) else {
                return self.task_connection_ended(token, false);
            };
            if let (Owner::Task, Some(RunningTask { how: How::Request { body, .. }, .. })) = (owner, &mut self.task) {
                let room = COMMAND_OUTPUT_BYTES_MAX - body.len();
                body.extend_from_slice(&self.scratch[piece.start..piece.end.min(piece.start + room)]);
            }
        }
        let Some(upstream) = self.upstreams.get(token) else { return };
        if upstream.download.is_done() {
            self.task_connection_ended(token, true);
        }
    }

    /// A connection of a task has done its work, or has broken.
    #[cold]
    #[inline(never)]
    pub(super) fn task_connection_ended(&mut self, token: Token, is_whole: bool) {
        let Some(owner) = self.upstreams.get(token).map(|upstream| upstream.owner) else { return };
        self.close_upstream(token, upstream::CloseReason::Done);
        if owner == Owner::Ready {
            return self.ready_answered(is_whole);
        }
        let Some(RunningTask { how: How::Request { status, body, .. }, .. }) = &mut self.task else { return };
        let body = std::mem::take(body);
        let outcome = match *status {
            Some(200..=299) if is_whole => Ok(body),
            Some(status) if is_whole => {
                log::warn!("the program answered a hook with {status}");
                return self.end_task_with(HookAnswer { succeeded: false, body });
            }
            _ => Err("the program closed the connection without a whole reply".to_owned()),
        };
        self.end_task(outcome);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn end_task(&mut self, outcome: Result<Vec<u8>, String>) {
        let answer = match outcome {
            Ok(body) => HookAnswer { succeeded: true, body },
            Err(cause) => {
                let id = self.task.as_ref().map(|task| task.request_id.as_str()).unwrap_or_default();
                log::error!("a hook failed: {}, request {id}", OneLine(&cause));
                HookAnswer { succeeded: false, body: error_json(&cause, "HookFailed") }
            }
        };
        self.end_task_with(answer);
    }

    /// The task has ended: its call gets the answer, and the calls that wait are looked at again.
    #[cold]
    #[inline(never)]
    fn end_task_with(&mut self, answer: HookAnswer) {
        let Some(task) = self.task.take() else { return };
        match task.how {
            How::Request { upstream: Some(token), .. } => self.close_upstream(token, upstream::CloseReason::Overdue),
            How::Command { process: Some((_, Some(output))), .. } => self.system.deregister(&output),
            How::Request { .. } | How::Command { .. } => {}
        }
        self.now = self.system.now();
        self.gate.task_ended(self.now, answer.clone());
        if let Task::Hook(hook) = task.task {
            let markers = &mut MarkerWriter::new(&mut self.system, &mut self.marker_log);
            markers.end(LogMarker::Hook(hook), LoggedId::new(task.request_id.as_bytes()), !answer.succeeded);
        }
        if let Some(token) = task.client {
            let end = ROOM_BEFORE + self.take_input(token);
            if let Some(reader) = self.clients.get(token).and_then(|client| client.call.hook_body.take()) {
                let body = Body { start: ROOM_BEFORE, reader, is_chunked: false, expects_continue: false };
                self.take_body(token, body, end);
            }
            let outcome = self.answer(token, &Own::Hook(&answer));
            self.sync(token, outcome);
        }
        self.again.append(&mut self.waiting);
    }

    /// The client whose call the task answers has left; the task goes on.
    pub(super) fn leave_task(&mut self, token: Token) {
        if let Some(task) = &mut self.task
            && task.client == Some(token)
        {
            task.client = None;
        }
    }

    pub(super) fn fire_task_timeout(&mut self, now: Duration) {
        let Some(task) = &mut self.task else { return };
        match &mut task.how {
            How::Request { .. } if now >= task.deadline => {
                let cause = ["the program gave no answer within ", &time_text(task.time_max)].concat();
                self.end_task(Err(cause));
            }
            How::Command { process: Some((pid, _)), run, .. } => {
                if run.expire(now) {
                    self.system.signal_group(*pid, Signal::Kill);
                }
            }
            How::Request { .. } | How::Command { .. } => {}
        }
    }

    /// The command of a hook has written something.
    #[cold]
    #[inline(never)]
    pub(super) fn read_command(&mut self) {
        let Some(RunningTask { how: How::Command { process: Some((_, output)), run, .. }, .. }) = &mut self.task else {
            return;
        };
        let Some(socket) = output else { return };
        // Bounded: a command that writes without end must not keep the loop from looking at its time limit.
        for _ in 0..COMMAND_READ_RUN_MAX {
            match self.system.read_into(socket, &mut self.scratch) {
                Ok(bytes) if bytes > 0 => run.output(&self.scratch[..bytes]),
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => {
                    self.system.deregister(socket);
                    *output = None;
                    return;
                }
            }
        }
    }

    /// Takes the statuses of children that have ended.
    #[cold]
    #[inline(never)]
    pub(super) fn reap(&mut self) {
        while let Some((pid, exit)) = self.system.reap() {
            if pid == self.program.pid() {
                self.program.exited(exit);
            } else {
                self.command_exited(pid, exit);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn command_exited(&mut self, pid: i32, exit: Exit) {
        let is_ours = matches!(
            &self.task,
            Some(RunningTask { how: How::Command { process: Some((known, _)), .. }, .. }) if *known == pid
        );
        if !is_ours {
            return;
        }
        self.read_command();
        let Some(RunningTask { how: How::Command { run, .. }, .. }) = &mut self.task else { return };
        let ended = std::mem::replace(run, Run::new(Duration::ZERO, Duration::ZERO));
        let outcome = ended.exited(exit);
        if outcome.ok {
            return self.end_task(Ok(outcome.body));
        }
        if outcome.body.is_empty() {
            return self.end_task(Err(outcome.cause));
        }
        log::error!("a hook failed: {}", OneLine(&outcome.cause));
        self.end_task_with(HookAnswer { succeeded: false, body: outcome.body });
    }
}

/// What a command is told of a thaw, as the name of its hook.
const ON_THAW: &str = "on-thaw";
