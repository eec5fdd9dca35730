//! The ten lines, with the event as the reply: its bytes stay where they came in.
use fc_hooks::{App, Reply, Route};

static APP: App<u64> = App::new(&[
    Route::initialize(|_, _| Ok("ready".into())),
    Route::invoke(|served, _, _| {
        *served += 1;
        Ok(Reply::echo())
    }),
    Route::pre_stop(|served, _| Ok(format!("served {served}").into())),
]);

fn main() -> std::process::ExitCode {
    fc_hooks::run(&APP, 0)
}

#[cfg(test)]
mod tests {
    use super::APP;
    use fc_hooks::testing::Instance;

    #[test]
    fn an_event_comes_back() {
        let mut instance = Instance::new(&APP, 0);
        assert_eq!(instance.initialize().text(), "ready");
        assert_eq!(instance.invoke("an event").text(), "an event");
        assert_eq!(instance.pre_stop().text(), "served 1");
    }
}
