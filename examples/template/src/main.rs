//! A function for Function Compute. `cargo run` serves it on port 9000.

use fc_hooks::{App, Context, Reply, Request, Result, Thaw};
use std::process::ExitCode;

static APP: App<State> = App::builder()
    .initialize(initialize)
    .on_thaw(on_thaw)
    .invoke(event)
    .get("/served", served)
    .pre_stop(pre_stop)
    .build();

/// One thread calls everything, so plain data: no lock, no `Arc`.
#[derive(Default)]
struct State {
    served: u64,
}

/// Slow work belongs here, not before `run`. It runs until it succeeds once.
fn initialize(_: &mut State, _: &Context) -> Result {
    Ok("ready".into())
}

/// Before the first call after a freeze: connections may be dead, and credentials out of date.
fn on_thaw(_: &mut State, _: &Context, _: &Thaw) -> Result<()> {
    Ok(())
}

fn event(state: &mut State, _: &Context, event: &Request) -> Result {
    if event.body() == b"fail" {
        return Err("the event asked for it")?;
    }
    state.served += 1;
    Ok(event.body().to_vec().into())
}

fn served(state: &mut State, _: &Context, _: &Request) -> Result {
    Reply::json(&state.served)
}

fn pre_stop(state: &mut State, _: &Context) -> Result {
    Ok(format!("served {}", state.served).into())
}

fn main() -> ExitCode {
    fc_hooks::run(&APP, State::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc_hooks::testing::{Freeze, Instance, Request};
    use std::time::Duration;

    #[test]
    fn one_life() {
        let mut function = Instance::new(&APP, State::default());
        assert_eq!(function.initialize().text(), "ready");
        assert_eq!(function.invoke("an event").text(), "an event");
        function.freeze(Duration::from_secs(60), Freeze::ControlGroup);
        assert_eq!(function.call(Request::get("/served")).text(), "1");
        assert_eq!(function.lifecycle().counts().thawed, 1);
        assert_eq!(function.pre_stop().text(), "served 1");
    }

    #[test]
    fn an_event_fails() {
        let answer = Instance::new(&APP, State::default()).invoke("fail");
        assert_eq!((answer.status(), answer.is_failed()), (404, true));
    }
}
