//! `serve` reads the manifests of `deploy/` for Serverless Devs as they are. `make manifests` also serves by them.

#![cfg(feature = "serve")]

use std::collections::BTreeSet;
use std::path::Path;

use fc_emulator::serve::definition::{Hooks, Program, load};

#[test]
fn manifests_for_serverless_devs_are_read() {
    for (path, name) in [
        ("deploy/inspector/s.yaml", "fc-hooks-inspector"),
        ("deploy/adapter/s.yaml", "counter"),
        ("examples/template/s.yaml", "my-function"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let functions = load(&path).unwrap_or_else(|fault| panic!("{fault}"));
        let [function] = &functions[..] else { panic!("{}: {functions:?}", path.display()) };
        assert_eq!(function.name, name);
        assert_eq!(function.hooks, Hooks { initialize: Some(10), pre_freeze: None, pre_stop: Some(10) }, "{name}");
        assert!(matches!(&function.program, Program::Image { port: Some(9000), .. }), "{name}: {:?}", function.program);
        // The others decide something on one's own machine, too.
        let ignored: BTreeSet<&str> = function.ignored.iter().map(|(field, _)| field.as_str()).collect();
        let expected = BTreeSet::from(["cpu", "description", "diskSize", "entrypoint", "region"]);
        assert!(ignored.is_subset(&expected), "{name}: {ignored:?}");
    }
}
