use super::*;

fn from(pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let lookup = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    Settings::from_lookup(&lookup).map_err(|error| error.to_string())
}

fn set(name: &str, value: &str) -> Settings {
    from(&[(name, value)]).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn request_to(method: &str, path: &str) -> Action {
    Action::Request { method: method.to_owned(), path: path.to_owned() }
}

fn command(words: &[&str]) -> Action {
    Action::Command(words.iter().map(|word| CString::new(*word).unwrap()).collect())
}

#[test]
fn actions_of_hooks() {
    let cases = [
        ("POST /warm-up", request_to("POST", "/warm-up")),
        ("GET  /a?b=c%20d", request_to("GET", "/a?b=c%20d")),
        ("M-SEARCH /initialize", request_to("M-SEARCH", "/initialize")),
        ("exec: ./flush --all", command(&["./flush", "--all"])),
        ("exec:./flush 'a b'", command(&["./flush", "a b"])),
        ("exec: sh -c './a && ./b'", command(&["sh", "-c", "./a && ./b"])),
    ];
    for (value, expected) in cases {
        let hooks = [
            ("FC_HOOKS_INITIALIZE", Hook::Initialize),
            ("FC_HOOKS_PRE_FREEZE", Hook::PreFreeze),
            ("FC_HOOKS_PRE_STOP", Hook::PreStop),
        ];
        for (variable, hook) in hooks {
            let settings = set(variable, value);
            for &other in Hook::ALL {
                assert_eq!(settings.hook(other), (other == hook).then_some(&expected), "{variable} {value}");
            }
            assert_eq!(settings.on_thaw, None);
        }
        assert_eq!(set("FC_HOOKS_ON_THAW", value).on_thaw, Some(expected), "{value}");
    }
}

#[test]
fn addresses_of_the_program() {
    let cases = [
        ("", "127.0.0.1:0"),
        ("8080", "127.0.0.1:8080"),
        (":8080", "127.0.0.1:8080"),
        ("localhost:8080", "127.0.0.1:8080"),
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("10.1.2.3:80", "10.1.2.3:80"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
    ];
    for (value, expected) in cases {
        assert_eq!(set("FC_HOOKS_APP", value).program.to_string(), expected, "{value}");
    }
}

#[test]
fn lists_of_statuses() {
    let cases: [(&str, &[(u16, u16)]); 6] = [
        ("", &[(500, 599)]),
        ("500-599", &[(500, 599)]),
        ("404", &[(404, 404)]),
        ("404, 500-599", &[(404, 404), (500, 599)]),
        ("100-999", &[(100, 999)]),
        ("none", &[]),
    ];
    for (value, expected) in cases {
        assert_eq!(set("FC_HOOKS_FAIL_ON", value).fail_on, Statuses(expected.to_vec()), "{value}");
    }
    let statuses = Statuses(vec![(404, 404), (500, 599)]);
    let contained: Vec<u16> =
        [200, 403, 404, 405, 499, 500, 599, 600].into_iter().filter(|s| statuses.contains(*s)).collect();
    assert_eq!(contained, [404, 500, 599]);
}

#[test]
fn readiness() {
    let answers = |method: &str, path: &str, ranges: &[(u16, u16)]| Ready::Request {
        method: method.to_owned(),
        path: path.to_owned(),
        statuses: Statuses(ranges.to_vec()),
    };
    let cases = [
        ("", false, Ready::Connect),
        ("port", false, Ready::Connect),
        ("early", true, Ready::Connect),
        ("GET /healthz", false, answers("GET", "/healthz", &[(200, 399)])),
        ("GET /healthz 200", false, answers("GET", "/healthz", &[(200, 200)])),
        ("HEAD / 200-299, 404", false, answers("HEAD", "/", &[(200, 299), (404, 404)])),
        ("early GET /healthz 204", true, answers("GET", "/healthz", &[(204, 204)])),
    ];
    for (value, early, ready) in cases {
        let settings = set("FC_HOOKS_READY", value);
        assert_eq!((settings.early, settings.ready), (early, ready), "{value}");
    }
}

#[test]
fn times() {
    let cases =
        [("1ms", 1), ("500ms", 500), ("3s", 3000), ("2m", 120_000), ("86400s", 86_400_000), ("1440m", 86_400_000)];
    for (value, ms) in cases {
        assert_eq!(time(value), Some(Duration::from_millis(ms)), "{value}");
    }
    for value in ["", "3", "s", "0s", "-1s", "+1s", "1.5s", "1 s", "3S", "3h", "86401s", "18446744073709551615m"] {
        assert_eq!(time(value), None, "{value}");
    }
    let fields = |settings: &Settings| [settings.ready_time_max, settings.hook_time_max, settings.kill_time_max];
    let before = fields(&Settings::default());
    for (index, name) in ["READY", "HOOK", "STOP"].into_iter().enumerate() {
        let after = fields(&set(&format!("FC_HOOKS_{name}_TIMEOUT"), "7s"));
        for place in 0..3 {
            let expected = if place == index { Duration::from_secs(7) } else { before[place] };
            assert_eq!(after[place], expected, "{name}");
        }
    }
}

#[test]
fn the_other_settings() {
    assert_eq!(set("FC_HOOKS_EVENT_PATH", "/events?a=b").event_path.as_deref(), Some("/events?a=b"));
    let secrets = |settings: &Settings| (settings.withhold_secrets, settings.command_secrets);
    assert_eq!(secrets(&Settings::default()), (false, false));
    assert_eq!(secrets(&set("FC_HOOKS_WITHHOLD_SECRETS", "on")), (true, false));
    assert_eq!(secrets(&set("FC_HOOKS_COMMAND_SECRETS", "on")), (false, true));
    let mut settings = set("FC_HOOKS_COMMAND_SECRETS", "on");
    settings.set("command-secrets", "off").unwrap();
    assert_eq!(secrets(&settings), (false, false), "an option counts over a variable");
}

#[test]
fn each_mistake_names_variable_value_and_what_is_expected() {
    let action = "expected METHOD /PATH (such as POST /warm-up) or exec: COMMAND, not";
    let app = "expected [HOST:]PORT (such as 127.0.0.1:8080) or unix:PATH, not";
    let ready = "expected port, METHOD /PATH [STATUS-STATUS,…] (such as GET /healthz 200-299) or early, not";
    let statuses = "expected statuses such as 404,500-599, or none, not";
    let time = "expected a time such as 500ms, 3s or 2m, at most 24 hours, not";
    let cases = [
        ("INITIALIZE", "warm-up", format!("{action} 'warm-up'")),
        ("INITIALIZE", "/warm-up", format!("{action} '/warm-up'")),
        ("PRE_FREEZE", "post /warm-up", format!("{action} 'post /warm-up'")),
        ("PRE_FREEZE", "POST warm-up", format!("{action} 'POST warm-up'")),
        ("PRE_STOP", "POST /a b", format!("{action} 'POST /a b'")),
        ("PRE_STOP", "POST /a#b", format!("{action} 'POST /a#b'")),
        ("PRE_STOP", "POST http://a/", format!("{action} 'POST http://a/'")),
        ("ON_THAW", "CONNECT /a", format!("{action} 'CONNECT /a'")),
        ("ON_THAW", "GET /ä", format!("{action} 'GET /ä'")),
        ("ON_THAW", "run ./a", format!("{action} 'run ./a'")),
        ("INITIALIZE", "exec:", "'exec:': no command stands behind exec:".to_owned()),
        ("INITIALIZE", "exec: 'a", "'exec: 'a': the quote ' is not closed".to_owned()),
        ("INITIALIZE", "exec: a \\", "'exec: a \\': nothing follows the last \\".to_owned()),
        (
            "INITIALIZE",
            "exec: a && b",
            "'exec: a && b': only a shell understands &: quote it, or write exec: sh -c '…'".to_owned(),
        ),
        ("APP", "example.org:80", format!("{app} 'example.org:80'")),
        ("APP", "0", format!("{app} '0'")),
        ("APP", "127.0.0.1", format!("{app} '127.0.0.1'")),
        ("APP", "unix:", format!("{app} 'unix:'")),
        ("EVENT_PATH", "events", "expected a path such as /events, not 'events'".to_owned()),
        ("FAIL_ON", "5xx", format!("{statuses} '5xx'")),
        ("FAIL_ON", "599-500", format!("{statuses} '599-500'")),
        ("FAIL_ON", "99", format!("{statuses} '99'")),
        ("FAIL_ON", "1000", format!("{statuses} '1000'")),
        ("FAIL_ON", "500,", format!("{statuses} '500,'")),
        ("FAIL_ON", "500-599-600", format!("{statuses} '500-599-600'")),
        ("READY", "soon", format!("{ready} 'soon'")),
        ("READY", "earlybird", format!("{ready} 'earlybird'")),
        ("READY", "early soon", format!("{ready} 'early soon'")),
        ("READY", "/healthz", format!("{ready} '/healthz'")),
        ("READY", "GET /healthz ok", format!("{ready} 'GET /healthz ok'")),
        ("READY_TIMEOUT", "120", format!("{time} '120'")),
        ("HOOK_TIMEOUT", "0s", format!("{time} '0s'")),
        ("STOP_TIMEOUT", "5h", format!("{time} '5h'")),
        ("WITHHOLD_SECRETS", "yes", "expected on or off, not 'yes'".to_owned()),
        ("COMMAND_SECRETS", "1", "expected on or off, not '1'".to_owned()),
    ];
    for (name, value, expected) in cases {
        let variable = format!("FC_HOOKS_{name}");
        assert_eq!(from(&[(&variable, value)]).err(), Some(format!("{variable}: {expected}")));
    }
    assert_eq!(Settings::default().set("nothing", "").unwrap_err().to_string(), "unknown setting: nothing");
}

#[test]
fn program_and_adapter_need_two_addresses() {
    let cases = [
        ("0.0.0.0:9000", "9000", true),
        ("127.0.0.1:9000", "9000", true),
        ("[::]:9000", "9000", true),
        ("127.0.0.2:9000", "9000", false),
        ("0.0.0.0:9000", "9001", false),
        ("0.0.0.0:0", "9000", false),
        ("unix:/a", "unix:/a", true),
        ("unix:/a", "unix:/b", false),
        ("unix:/a", "9000", false),
    ];
    for (listen, app, clash) in cases {
        let config = Config { listen: listen.parse().unwrap(), ..Config::default() };
        let error = set("FC_HOOKS_APP", app).check(&config).err().map(|error| error.to_string());
        assert_eq!(error.is_some(), clash, "{listen} {app}");
        let names_both = |error: &String| error.starts_with("FC_HOOKS_APP: '") && error.contains("the adapter listens");
        assert!(error.as_ref().is_none_or(names_both), "{error:?}");
    }
    assert!(Settings::default().check(&Config::default()).is_ok());
}
