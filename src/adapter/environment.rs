//! What the program and the commands of hooks find in their environment. Pure.
//!
//! The adapter's own variables stay with it: a program that is built with this library would take them for its own.

use crate::config::Listen;
use crate::function::freeze::Thaw;
use crate::platform::variables;
use std::ffi::CString;

/// The environment of the program: the variables that name the port say its own, not the platform's.
pub(crate) fn of_program(inherited: Vec<CString>, address: &Listen) -> Vec<CString> {
    let is_passed_on = |variable: &CString| {
        let name = name_of(variable);
        !name.starts_with(variables::OURS.as_bytes()) && !variables::PORTS.iter().any(|port| port.as_bytes() == name)
    };
    let mut environment = inherited;
    environment.retain(is_passed_on);
    if let Listen::Tcp(address) = address {
        for name in variables::PORTS {
            push(&mut environment, name, address.port().to_string().as_bytes());
        }
    }
    environment
}

/// What a command of a hook is told about its call.
pub(crate) struct CommandCall<'a> {
    /// The hook's name.
    pub(crate) hook: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) thaw: Option<&'a Thaw>,
    pub(crate) secrets: Secrets<'a>,
}

/// The credentials in a command's environment.
pub(crate) enum Secrets<'a> {
    Withhold,
    /// Those of the environment, or those of the request, where it has any: access key id, access key secret, security
    /// token.
    Give([Option<&'a [u8]>; 3]),
}

/// The environment of a command: the program's, and what it is told about the call.
pub(crate) fn of_command(of_program: &[CString], call: &CommandCall<'_>) -> Vec<CString> {
    let given = match call.secrets {
        Secrets::Withhold => [None; 3],
        Secrets::Give(given) => given,
    };
    let is_replaced = |variable: &CString| {
        let is_withheld = |place: usize| matches!(call.secrets, Secrets::Withhold) || given[place].is_some();
        let name = name_of(variable);
        let secret = variables::CREDENTIALS.iter().position(|secret| secret.as_bytes() == name);
        secret.is_some_and(is_withheld) || name == variables::REQUEST_ID.as_bytes()
    };
    let mut environment = of_program.to_vec();
    environment.retain(|variable| !is_replaced(variable));
    push(&mut environment, variables::adapter::TOLD_HOOK, call.hook.as_bytes());
    push(&mut environment, variables::REQUEST_ID, call.request_id.as_bytes());
    for (name, value) in variables::CREDENTIALS.iter().zip(given) {
        if let Some(value) = value {
            push(&mut environment, name, value);
        }
    }
    if let Some(thaw) = call.thaw {
        push(&mut environment, variables::adapter::TOLD_GAP, (thaw.gap.as_millis() as u64).to_string().as_bytes());
        push(&mut environment, variables::adapter::TOLD_EVIDENCE, thaw.evidence.to_string().as_bytes());
        push(&mut environment, variables::adapter::TOLD_CONFIDENCE, thaw.confidence.name().as_bytes());
    }
    environment
}

fn name_of(variable: &CString) -> &[u8] {
    variable.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn push(environment: &mut Vec<CString>, name: &str, value: &[u8]) {
    // The values of headers hold no zero byte, and our own do not either.
    if let Ok(variable) = CString::new([name.as_bytes(), b"=", value].concat()) {
        environment.push(variable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::freeze::{Clock, Confidence, Evidence};
    use std::time::Duration;

    fn environment(variables: &[&str]) -> Vec<CString> {
        variables.iter().map(|variable| CString::new(*variable).unwrap()).collect()
    }

    fn texts(environment: &[CString]) -> Vec<&str> {
        environment.iter().map(|variable| variable.to_str().unwrap()).collect()
    }

    #[test]
    fn the_program_is_told_its_own_port() {
        let inherited =
            ["A=b=c", "FC_SERVER_PORT=9000", "FC_HOOKS_LISTEN=x", "FC_REGION=r", "PORT=1", "PORTAL=2", "=x"];
        let app = "127.0.0.1:4000".parse().unwrap();
        let mut seen = of_program(environment(&inherited), &app);
        seen.sort();
        let expected = [
            "=x",
            "A=b=c",
            "FC_CUSTOM_LISTEN_PORT=4000",
            "FC_REGION=r",
            "FC_SERVER_PORT=4000",
            "PORT=4000",
            "PORTAL=2",
            "_FAAS_RUNTIME_PORT=4000",
        ];
        assert_eq!(texts(&seen), expected);
        let seen = of_program(environment(&inherited), &Listen::Unix("/a".into()));
        assert_eq!(texts(&seen), ["A=b=c", "FC_REGION=r", "PORTAL=2", "=x"], "a Unix socket has no port");
    }

    #[test]
    fn a_command_is_told_its_call_and_no_secret() {
        let of_program = environment(&[
            "A=b",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET=old",
            "ALIBABA_CLOUD_SECURITY_TOKEN=old",
            "FC_REQUEST_ID=0",
        ]);
        let call = |secrets| CommandCall { hook: "initialize", request_id: "1-a", thaw: None, secrets };
        let seen = of_command(&of_program, &call(Secrets::Withhold));
        assert_eq!(texts(&seen), ["A=b", "FC_HOOKS_HOOK=initialize", "FC_REQUEST_ID=1-a"]);
        let seen = of_command(&of_program, &call(Secrets::Give([Some(b"id"), Some(b"new"), None])));
        let expected = [
            "A=b",
            "ALIBABA_CLOUD_SECURITY_TOKEN=old",
            "FC_HOOKS_HOOK=initialize",
            "FC_REQUEST_ID=1-a",
            "ALIBABA_CLOUD_ACCESS_KEY_ID=id",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET=new",
        ];
        assert_eq!(texts(&seen), expected);
    }

    #[test]
    fn a_thaw_is_told_with_its_evidence() {
        let thaw = Thaw {
            evidence: Evidence { sigcont: true, interrupted: true, ..Evidence::default() },
            confidence: Confidence::Certain,
            gap: Duration::from_millis(12_345),
            gap_clock: Clock::Monotonic,
        };
        let call = CommandCall { hook: "on-thaw", request_id: "", thaw: Some(&thaw), secrets: Secrets::Withhold };
        let expected = [
            "FC_HOOKS_HOOK=on-thaw",
            "FC_REQUEST_ID=",
            "FC_HOOKS_GAP_MS=12345",
            "FC_HOOKS_EVIDENCE=sigcont+interrupted",
            "FC_HOOKS_CONFIDENCE=certain",
        ];
        assert_eq!(texts(&of_command(&[], &call)), expected);
    }
}
