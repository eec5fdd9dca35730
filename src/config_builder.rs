//! A configuration from a chain of methods. Each checks its value as [`Config::set`] does.

use crate::config::Config;
use crate::start_error::StartError;

/// ```
/// use fc_hooks::Config;
///
/// let config = Config::new()
///     .listen("127.0.0.1:0")?
///     .limit("body_bytes_max", 1 << 20)?
///     .limit("headers_max", 64)?
///     .call_markers(false);
/// assert_eq!(config.limits.body_bytes_max, 1 << 20);
/// # Ok::<(), fc_hooks::StartError>(())
/// ```
impl Config {
    /// The defaults, whatever the environment says. [`Config::from_env`] reads it.
    pub fn new() -> Config {
        Config::default()
    }

    /// Sets [`Config::listen`] from text, such as `127.0.0.1:9000` or `unix:/run/function.sock`.
    ///
    /// # Errors
    /// The text has another form.
    pub fn listen(mut self, address: &str) -> Result<Config, StartError> {
        self.set("listen", address)?;
        Ok(self)
    }

    /// Sets a limit of [`Config::limits`]. Bytes and counts are plain numbers, times are milliseconds.
    ///
    /// # Errors
    /// [`Limits::NAMES`](crate::Limits::NAMES) has no limit of that name, or the value is out of its range.
    pub fn limit(mut self, name: &str, value: u64) -> Result<Config, StartError> {
        self.limits.set(name, &value.to_string())?;
        Ok(self)
    }

    /// Sets [`Config::health_path`].
    ///
    /// # Errors
    /// The path is malformed, or it is the path of a hook or of events.
    pub fn health_path(mut self, path: &str) -> Result<Config, StartError> {
        self.set("health-path", path)?;
        Ok(self)
    }

    /// Sets [`Config::call_markers`].
    pub fn call_markers(mut self, printed: bool) -> Config {
        self.call_markers = printed;
        self
    }

    /// Sets [`Config::control_path_required`].
    pub fn require_control_path(mut self) -> Config {
        self.control_path_required = true;
        self
    }

    /// Sets [`Config::idle_means_frozen`].
    pub fn idle_means_frozen(mut self, is_so: bool) -> Config {
        self.idle_means_frozen = is_so;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_sets_its_field() {
        let build = || {
            Config::new()
                .listen("127.0.0.1:0")?
                .limit("headers_max", 3)?
                .health_path("/health")
                .map(|config| config.call_markers(false).require_control_path().idle_means_frozen(true))
        };
        let config = build().unwrap();
        assert_eq!((config.listen.to_string(), config.limits.headers_max), ("127.0.0.1:0".to_owned(), 3));
        assert_eq!(config.health_path.as_deref(), Some("/health"));
        assert!(!config.call_markers && config.control_path_required && config.idle_means_frozen);
    }

    #[test]
    fn wrong_values_are_refused() {
        let refused = [
            Config::new().listen("nowhere"),
            Config::new().limit("headers_max", 0),
            Config::new().limit("nonsense", 1),
            Config::new().health_path("/invoke"),
        ];
        assert!(refused.iter().all(Result::is_err));
    }
}
