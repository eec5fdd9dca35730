//! The ten-line function.
use fc_hooks::{App, Route};

static APP: App<u64> = App::new(&[
    Route::initialize(|_, _| Ok("ready".into())),
    Route::invoke(|served, _, request| {
        *served += 1;
        Ok(request.body().to_vec().into())
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
    fn one_life() {
        let mut instance = Instance::new(&APP, 0);
        assert_eq!(instance.initialize().text(), "ready");
        assert_eq!(instance.invoke("an event").text(), "an event");
        assert_eq!(instance.pre_stop().text(), "served 1");
    }
}
