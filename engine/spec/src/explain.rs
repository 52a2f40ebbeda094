//! A plan as text, for people.

use std::fmt::Write as _;

use crate::plan::{Plan, StageKind};

/// What is done and what is not, a line each.
pub fn explain(plan: &Plan) -> String {
    let mut text = format!("webhook {}", plan.webhook);
    if let Some(preset) = &plan.preset {
        let _ = write!(text, ", preset {preset}");
    }
    text.push('\n');
    for stage in &plan.stages {
        let what = match &stage.kind {
            StageKind::Checkout => "fetches the commit".to_owned(),
            StageKind::Deploy => "cuts the release and promotes it into the first environment".to_owned(),
            StageKind::Image { copy, .. } => {
                let copies: Vec<String> = copy.iter().map(|entry| format!("{} to {}", entry.source, entry.destination)).collect();
                format!("image: copies {}", copies.join(", "))
            }
            StageKind::Command { script } => {
                let mut lines = script.lines().filter(|line| !line.trim().is_empty());
                let first = lines.next().unwrap_or_default().trim().to_owned();
                if lines.next().is_some() { format!("runs {first} …") } else { format!("runs {first}") }
            }
        };
        let needs: Vec<&str> = stage.needs.iter().map(hookwright_core::StageName::as_str).collect();
        let after = if needs.is_empty() { String::new() } else { format!(" (after {})", needs.join(", ")) };
        let _ = writeln!(text, "  {}{after}: {what}", stage.name);
        if !stage.outputs.is_empty() {
            let _ = writeln!(text, "      outputs {}", stage.outputs.join(", "));
        }
    }
    for left_out in &plan.left_out {
        let _ = writeln!(text, "  {} is left out: {}", left_out.stage, left_out.reason);
    }
    text
}
