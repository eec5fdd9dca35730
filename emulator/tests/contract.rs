//! The severities of the checks agree with the confidence of their rules in `docs/contract.md`.

use std::collections::BTreeMap;

use fc_emulator::check::{Severity, all};

const CONTRACT: &str = include_str!("../../docs/contract.md");

/// The confidence of each rule. A rule is stated in bold: its name, its letters, and `binds` if a server can break it.
fn confidences() -> BTreeMap<&'static str, &'static str> {
    let bold = CONTRACT.split("**").skip(1).step_by(2);
    let rules = bold.filter(|text| text.starts_with("C-")).filter_map(|text| text.split_once(' '));
    rules.map(|(name, rest)| (name, rest.split([',', '.']).next().unwrap_or_default())).collect()
}

#[test]
fn a_rule_that_is_disputed_or_inferred_is_never_a_must() {
    let confidences = confidences();
    let mut doubtful = 0;
    for check in all() {
        let confidence = confidences.get(check.rule);
        let confidence = confidence.unwrap_or_else(|| panic!("{}: the contract has no rule {}", check.id, check.rule));
        if confidence.split('/').any(|letter| matches!(letter, "X" | "I")) {
            doubtful += 1;
            assert_ne!(check.severity, Severity::Must, "{}: {} has confidence {confidence}", check.id, check.rule);
        }
    }
    assert!(doubtful > 5, "only {doubtful} checks have a doubtful rule: the search is broken");
}

/// The documents tell how many checks there are.
#[test]
fn documents_count_the_checks() {
    let documents =
        [("README.md", include_str!("../../README.md")), ("CHANGELOG.md", include_str!("../../CHANGELOG.md"))];
    let told = format!("{} checks of the contract", all().len());
    for (name, text) in documents {
        assert!(text.contains(&told), "{name} should say `{told}`");
    }
}
