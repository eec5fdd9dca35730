use super::*;
use crate::{Context, Error, Reply, Result, Route, Thaw};

#[derive(Default)]
struct State {
    thaws: Vec<String>,
    stopped: bool,
}

fn thawed(state: &mut State, _: &Context<'_>, thaw: &Thaw) -> Result<()> {
    state.thaws.push(thaw.evidence.to_string());
    Ok(())
}

fn left(_: &mut State, context: &Context<'_>, _: &crate::Request<'_>) -> Result {
    Ok(format!("{:?} {}", context.time_left(), context.cancelled()).into())
}

static APP: App<State> = App::new(&[
    Route::initialize(|_, context| {
        log::info!("loading for {:?}", context.request_id());
        Ok("ready".into())
    }),
    Route::pre_freeze(|_, _| Ok("frozen soon".into())),
    Route::pre_stop(|state, _| {
        state.stopped = true;
        Ok("bye".into())
    }),
    Route::on_thaw(thawed),
    Route::invoke(|_, _, event| Ok(event.body().to_vec().into())),
    Route::get("/left", left),
    Route::get("/fails", |_, _, _| Err(Error::typed("NoStock", "sold out"))),
    Route::post("/json", |_, _, request| Reply::json(&request.json::<Vec<u8>>()?)),
    Route::get("/stream", |_, _, _| Ok(Reply::stream(std::io::Cursor::new("in chunks")))),
    Route::get("/broken", |_, _, _| Ok(Reply::stream_sized(std::io::Cursor::new("too short"), 100))),
]);

#[test]
fn one_life() {
    let mut instance = Instance::new(&APP, State::default());
    let ready = instance.initialize();
    assert_eq!((ready.status(), ready.text(), ready.is_failed()), (200, "ready", false));
    let id = "1-6b49d200-00000001-000000000001";
    assert_eq!(
        ready.log(),
        [
            format!("FC Initialize Start RequestId: {id}"),
            format!("INFO loading for Some(\"{id}\")"),
            format!("FC Initialize End RequestId: {id}"),
        ]
    );
    assert_eq!(instance.invoke([0, 1, 2]).body(), [0, 1, 2]);
    assert_eq!(instance.pre_freeze().text(), "frozen soon");
    assert_eq!(instance.lifecycle().phase(), crate::Phase::Frozen);
    instance.invoke("again");
    assert_eq!(instance.state().thaws, ["pre-freeze"]);
    assert_eq!(instance.pre_stop().text(), "bye");
    assert_eq!(instance.lifecycle().phase(), crate::Phase::Stopped);
    assert!(instance.stop().is_empty(), "pre-stop does not run twice");
}

#[test]
fn calls_and_their_answers() {
    let mut instance = Instance::new(&APP, State::default());
    let failed = instance.call(Request::get("/fails"));
    assert_eq!((failed.status(), failed.is_failed()), (500, true));
    assert_eq!(failed.text(), r#"{"errorMessage":"internal error","errorType":"NoStock"}"#);
    assert!(failed.log()[1].starts_with("ERROR the call failed: NoStock: sold out"), "{:?}", failed.log());
    assert!(failed.log()[2].ends_with(", Error: Unhandled function error"), "{:?}", failed.log());

    let json = instance.call(Request::post("/json").json(&[1, 2]));
    assert_eq!((json.json::<Vec<u8>>(), json.header("Content-Type")), (vec![1, 2], Some("application/json")));
    assert_eq!(instance.call(Request::post("/json").body("{")).status(), 400);

    let stream = instance.call(Request::get("/stream"));
    assert_eq!((stream.text(), stream.header("transfer-encoding")), ("in chunks", Some("chunked")));
    assert!(!stream.is_cut() && instance.call(Request::get("/broken")).is_cut());

    assert_eq!(instance.call(Request::get("/pre-stop")).status(), 404, "an outside caller");
    assert_eq!(instance.send(Request::get("/pre-stop")).text(), "bye", "a client at the port itself");
    assert_eq!(instance.call(Request::get("no slash")).status(), 400, "not HTTP");
    assert_eq!(instance.call(Request::get("/left").header("x-long", &"x".repeat(40_000))).status(), 431);
}

#[test]
fn clocks_are_the_tests() {
    let mut instance = Instance::new(&APP, State::default());
    let ask = |instance: &mut Instance<State>| {
        let answer = instance.call(Request::get("/left").header("x-fc-function-timeout", "60"));
        answer.text().to_owned()
    };
    assert_eq!(ask(&mut instance), "Some(60s) false");
    instance.advance(Duration::from_secs(3600));
    assert_eq!(ask(&mut instance), "Some(60s) false");
    assert_eq!(instance.lifecycle().idle().length, Duration::from_secs(3600));
    instance.cancel();
    assert_eq!(ask(&mut instance), "Some(60s) true");
    assert_eq!(instance.stop().len(), 2, "the markers of pre-stop");
    assert!(instance.state().stopped && instance.state().thaws.is_empty());
}

/// Each way to freeze leaves the signs that it leaves on a real machine.
#[test]
fn freezes_and_their_signs() {
    let cases: [(Freeze, &[&str]); 6] = [
        (Freeze::ControlGroup, &["interrupted"]),
        (Freeze::Sigstop, &["sigcont"]),
        (Freeze::MachineSuspended, &["clocks-disagree+caller-clock"]),
        (Freeze::MachinePaused, &["caller-clock"]),
        (Freeze::Restored, &["caller-clock+restored"]),
        (Freeze::Unnoticed, &[]),
    ];
    for (how, signs) in cases {
        let mut instance = Instance::new(&APP, State::default());
        // The second request is the first whose time can be compared.
        instance.invoke("");
        instance.invoke("");
        instance.freeze(Duration::from_secs(60), how);
        instance.invoke("");
        assert_eq!(instance.state().thaws, signs, "{how:?}");
        let seen = if signs.is_empty() { None } else { Some(Duration::from_secs(60)) };
        assert_eq!(instance.lifecycle().last_thaw().map(|thaw| thaw.gap), seen, "{how:?}");
    }
}

/// Two instances of one thread do not share their clocks.
#[test]
fn instances_are_apart() {
    let (mut early, mut late) = (Instance::new(&APP, State::default()), Instance::new(&APP, State::default()));
    late.advance(Duration::from_secs(100));
    early.invoke("");
    late.invoke("");
    assert_eq!(early.lifecycle().idle().length, Duration::ZERO);
    assert_eq!(late.lifecycle().idle().length, Duration::from_secs(100));
}

#[test]
fn configured_instances() {
    let config = Config::new().health_path("/health").and_then(|config| config.limit("body_bytes_max", 3)).unwrap();
    let mut instance = Instance::with_config(&APP, State::default(), &config);
    assert_eq!(instance.send(Request::get("/health")).text(), "ok");
    assert_eq!(instance.invoke("four").status(), 413);
    instance.state_mut().thaws.push("set by the test".to_owned());
    assert_eq!(instance.state().thaws.len(), 1);
}
