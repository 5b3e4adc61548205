//! The control: what the disk itself charges for one small durable write, in the folder that is measured.
//!
//! A file is filled with zeros and synced; then 4 KiB are written after 4 KiB, so that nothing is allocated and no length
//! changes, as in the journal's segments. In turns by both ways of making a write durable: buffered and then `fdatasync`,
//! which the journal uses, and with `O_DIRECT` and `O_DSYNC`.

use crate::output::{self, microseconds};
use anyhow::Context;
use hdrhistogram::Histogram;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

/// Writes in all, by each way; half are made before the pipeline runs and half after it, in case the disk changes its
/// mood.
const WRITES: u64 = 200;
const BLOCK_BYTES: usize = 4_096;

/// Zero-filled files and the times of their writes.
#[derive(Debug)]
pub(crate) struct Control {
    buffered: Writes,
    direct: Writes,
}

impl Control {
    /// Makes the files in `dir`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Control> {
        let buffered = Writes::new(&dir.join("control"), OFlags::empty())?;
        let direct = Writes::new(&dir.join("control-direct"), OFlags::DIRECT | OFlags::DSYNC)?;
        Ok(Control { buffered, direct })
    }

    /// Makes the next half of the writes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn half(&mut self) -> anyhow::Result<()> {
        for _ in 0..WRITES / 2 {
            self.buffered.write(File::sync_data)?;
            self.direct.write(|_| Ok(()))?;
        }
        Ok(())
    }

    /// Median of the buffered writes so far, in nanoseconds.
    pub(crate) fn p50_ns(&self) -> u64 {
        self.buffered.times.value_at_quantile(0.5)
    }

    /// Rows of a table.
    pub(crate) fn rows(&self) -> String {
        let row = |label, writes: &Writes| {
            let at = |quantile| microseconds(writes.times.value_at_quantile(quantile));
            output::row(label, format!("p50 {} us, p99 {} us", at(0.5), at(0.99)))
        };
        row("4 KiB + fdatasync", &self.buffered) + &row("4 KiB direct + dsync", &self.direct)
    }
}

#[derive(Debug)]
struct Writes {
    file: File,
    written: u64,
    /// Holds a block that starts at a multiple of its size, as direct writes want it.
    memory: Vec<u8>,
    times: Histogram<u64>,
}

impl Writes {
    fn new(path: &Path, flags: OFlags) -> anyhow::Result<Writes> {
        let context = || format!("cannot write {}", path.display());
        let file = File::create(path).with_context(context)?;
        let length = usize::try_from(WRITES)? * BLOCK_BYTES;
        file.write_all_at(&vec![0; length], 0).with_context(context)?;
        file.sync_all().with_context(context)?;
        let flags = i32::try_from(flags.bits()).context("flags of an open file")?;
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).with_context(context)?;
        Ok(Writes { file, written: 0, memory: vec![0xA5; 2 * BLOCK_BYTES], times: output::histogram()? })
    }

    fn write(&mut self, sync: impl FnOnce(&File) -> std::io::Result<()>) -> anyhow::Result<()> {
        let skip = self.memory.as_ptr().align_offset(BLOCK_BYTES);
        let block = self.memory.get(skip..skip + BLOCK_BYTES).context("memory cannot be aligned")?;
        let started = Instant::now();
        self.file.write_all_at(block, self.written * BLOCK_BYTES as u64).context("cannot write the control file")?;
        sync(&self.file).context("cannot sync the control file")?;
        output::record(&mut self.times, started.elapsed());
        self.written += 1;
        Ok(())
    }
}
