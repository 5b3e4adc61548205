//! The control: what the disk itself charges for one small durable write, in the folder that is measured.
//!
//! A file is filled with zeros and synced; then 4 KiB are written after 4 KiB, each followed by `fdatasync`. Nothing is
//! allocated and no length changes, as in the journal's segments.

use crate::output;
use anyhow::Context;
use hdrhistogram::Histogram;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// Writes in all; half are made before the pipeline runs and half after it, in case the disk changes its mood.
const SYNCS: u64 = 200;
const BLOCK_BYTES: usize = 4_096;

/// A zero-filled file and the times of its writes.
#[derive(Debug)]
pub(crate) struct Control {
    file: File,
    written: u64,
    times: Histogram<u64>,
}

impl Control {
    /// Makes the file in `dir`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Control> {
        let path = dir.join("control");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        for block in 0..SYNCS {
            file.write_all_at(&[0; BLOCK_BYTES], block * BLOCK_BYTES as u64).context("cannot fill the control file")?;
        }
        file.sync_all().context("cannot sync the control file")?;
        Ok(Control { file, written: 0, times: output::histogram()? })
    }

    /// Makes the next half of the writes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn half(&mut self) -> anyhow::Result<()> {
        for _ in 0..SYNCS / 2 {
            let started = Instant::now();
            let at = self.written % SYNCS * BLOCK_BYTES as u64;
            self.file.write_all_at(&[0xA5; BLOCK_BYTES], at).context("cannot write the control file")?;
            self.file.sync_data().context("cannot sync the control file")?;
            output::record(&mut self.times, started.elapsed());
            self.written += 1;
        }
        Ok(())
    }

    /// Median of the writes so far, in nanoseconds.
    pub(crate) fn p50_ns(&self) -> u64 {
        self.times.value_at_quantile(0.5)
    }
}
