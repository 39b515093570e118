//! Which build of each module a recording is about.

use crate::assemble::exe_path;
use crate::finding::module_spec;
use crate::recording::{Body, Recording, RecordingError};
use hk_symbols::hex;
use std::collections::BTreeMap;

/// Build ids of the modules that findings' stacks lie in, by path. Modules without one are left out.
pub fn build_ids(recording: &Recording) -> Result<BTreeMap<String, String>, RecordingError> {
    let processes = recording.processes()?;
    let mut ids = BTreeMap::new();
    for record in &recording.records()?.records {
        let Body::Finding(body) = &record.body else { continue };
        let process = processes.iter().find(|(index, _)| *index == record.header.process);
        let exe = process.map(|(_, process)| exe_path(process)).unwrap_or_default();
        let specs = body.modules().map(|module| module_spec(&module, &exe));
        for spec in specs.filter(|spec| !spec.build_id.is_empty()) {
            ids.insert(spec.path.to_string_lossy().into_owned(), hex(&spec.build_id));
        }
    }
    Ok(ids)
}
