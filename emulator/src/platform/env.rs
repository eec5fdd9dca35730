//! The environment that the platform sets (sections ENV and JOB of the contract).

use super::{Generation, Platform, ids};

/// The variable with the event of a container without web server mode.
pub const JOB_EVENT: &str = "FC_CUSTOM_CONTAINER_EVENT";

/// The variables with the port: the documented one, then the older one.
pub const PORT_NAMES: [&str; 2] = ["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT"];

impl Platform {
    /// The variables of an instance that should listen on `port`.
    pub fn env(&self, port: u16) -> Vec<(String, String)> {
        let port = port.to_string();
        let instance = format!("c-{:08x}-{:012x}", ids::random() as u32, ids::random() & 0xffff_ffff_ffff);
        let mut pairs = vec![
            (PORT_NAMES[0], port.as_str()),
            (PORT_NAMES[1], port.as_str()),
            ("FC_FUNC_CODE_PATH", "/code"),
            ("FC_ACCOUNT_ID", "1234567890123456"),
            ("FC_FUNCTION_HANDLER", "index.handler"),
            ("FC_FUNCTION_MEMORY_SIZE", "512"),
            ("FC_FUNCTION_NAME", "fc-emulator"),
            ("FC_REGION", "cn-hangzhou"),
            ("FC_INSTANCE_ID", &instance),
        ];
        if self.settings.credentials.are_in_environment() {
            pairs.push(("ALIBABA_CLOUD_ACCESS_KEY_ID", &self.secrets.key_id));
            pairs.push(("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &self.secrets.key_secret));
            pairs.push(("ALIBABA_CLOUD_SECURITY_TOKEN", &self.secrets.token));
        }
        if self.settings.generation == Generation::Fc2 {
            pairs.push(("FC_SERVICE_NAME", "fc-emulator"));
            pairs.push(("FC_QUALIFIER", "LATEST"));
        }
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn both_variables_hold_the_port() {
        let env = Platform::new(Settings::default()).env(9001);
        for name in PORT_NAMES {
            assert!(env.contains(&(name.to_owned(), "9001".to_owned())), "{name}");
        }
    }
}
