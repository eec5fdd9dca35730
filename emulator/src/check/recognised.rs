//! Whether the target has the hooks that the function is configured with. A server that answers any path, such as a
//! static site, answers hooks as well, and runs none.

use super::context::{CheckContext, alike, settle};
use super::{Check, Severity, Stop, Verdict, fail, skip};
use crate::instance::Instance;
use crate::platform::{Hook, Request, ids};

pub const CHECKS: &[Check] = &[Check {
    id: "hooks-recognised",
    rule: "C-DEP-2",
    severity: Severity::Should,
    needs: &[],
    request: "every hook, and before it a path that no target has, with the same method",
    expected: "another answer than to that path, or the log marker of the hook",
    fix: "implement the hook, or leave it out of --hooks and of the function's configuration; if it does run, let its \
          answer differ from the one for unknown paths",
    run: hooks_recognised,
}];

/// How a hook is answered.
enum Answer {
    Own,
    LikeAnyPath(String),
    /// Both answers are empty, or the hook does not work, which another check reports.
    Undecided,
}

fn hooks_recognised(context: &CheckContext<'_>) -> Verdict {
    let instance = context.start()?;
    let (mut own, mut like_any_path, mut count) = (Vec::new(), Vec::new(), 0);
    for hook in context.hooks(&instance) {
        count += 1;
        match answer(&instance, hook)? {
            Answer::Own => own.push(hook.path()),
            Answer::LikeAnyPath(shown) => like_any_path.push(shown),
            Answer::Undecided => {}
        }
    }
    match (like_any_path.is_empty(), own.is_empty()) {
        (false, _) => fail(like_any_path.join(", ")),
        (true, false) => Ok(format!("an answer of its own: {}", own.join(", "))),
        (true, true) if count == 0 => skip("the platform calls no hook under these options"),
        (true, true) => skip("the answers to hooks and to unknown paths are empty, so nothing shows a hook"),
    }
}

fn answer(instance: &Instance, hook: Hook) -> Result<Answer, Stop> {
    let nowhere = format!("/no-such-path-{:x}", ids::random());
    let unknown = instance.platform.http(hook.method(), &nowhere, &[], Vec::new());
    // A target that does not answer here answers no hook like this.
    let unknown_answer = instance.send(&unknown).ok();
    let mark = instance.target.output().map_or(0, |output| output.mark());
    let request = instance.platform.hook(hook);
    let Ok(response) = instance.send(&request) else { return Ok(Answer::Undecided) };
    if !response.is_success() {
        return Ok(Answer::Undecided);
    }
    let same = unknown_answer.is_some_and(|unknown_answer| alike((&request, &response), (&unknown, &unknown_answer)));
    if !same || printed_marker(instance, mark, &request) {
        return Ok(Answer::Own);
    }
    if response.body_bytes == 0 {
        return Ok(Answer::Undecided);
    }
    let shown = format!("{}: {} `{}`", request.line, response.status, response.body_text(60));
    Ok(Answer::LikeAnyPath(format!("{shown}, and {} the same way", unknown.line)))
}

fn printed_marker(instance: &Instance, mark: usize, request: &Request) -> bool {
    instance.target.output().is_some_and(|output| {
        settle(output);
        output.since(mark).iter().any(|line| line.text.starts_with("FC ") && line.text.contains(&request.id))
    })
}
