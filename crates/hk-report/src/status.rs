//! Whether a bug is one of today's worries, or was dealt with before.

use crate::model::Finding;

/// Neither in the baseline nor suppressed.
pub(crate) fn is_new(finding: &Finding) -> bool {
    !matches!(finding.status.as_str(), "known" | "suppressed")
}
