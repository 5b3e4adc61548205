//! The GPUs of this machine, as NVIDIA's management library (NVML) tells them.
//!
//! The library is loaded at start, where there is one. Where there is none there is no GPU to tell of, which is no error:
//! the model server may run elsewhere, or on another maker's hardware.

use std::sync::Arc;

use nvml_wrapper::{Nvml, error::NvmlError};

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gpu {
    pub(crate) name: String,
    /// Share of the last sampling period in which it computed, in percent.
    pub(crate) utilization_pct: u32,
    pub(crate) vram_used_bytes: u64,
    pub(crate) vram_total_bytes: u64,
}

/// The library, or why it is not there.
#[derive(Debug, Clone)]
pub(crate) enum Gpus {
    Present(Arc<Nvml>),
    Absent(String),
}

impl Gpus {
    /// Looks for the library.
    pub(crate) fn open() -> Self {
        match Nvml::init() {
            Ok(nvml) => Gpus::Present(Arc::new(nvml)),
            Err(error) => Gpus::Absent(format!("no NVML here: {error}")),
        }
    }

    /// The GPUs now, or why there is nothing to tell. Takes milliseconds and blocks.
    pub(crate) fn read(&self) -> Result<Vec<Gpu>, String> {
        match self {
            Gpus::Present(nvml) => read(nvml).map_err(|error| error.to_string()),
            Gpus::Absent(why) => Err(why.clone()),
        }
    }
}

fn read(nvml: &Nvml) -> Result<Vec<Gpu>, NvmlError> {
    let one = |index| {
        let device = nvml.device_by_index(index)?;
        let memory = device.memory_info()?;
        // A GPU that is partitioned tells no utilisation as a whole.
        let utilization_pct = device.utilization_rates().map_or(0, |rates| rates.gpu);
        let (vram_used_bytes, vram_total_bytes) = (memory.used, memory.total);
        Ok(Gpu { name: device.name()?, utilization_pct, vram_used_bytes, vram_total_bytes })
    };
    (0..nvml.device_count()?).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_told_where_there_are_any_and_the_reason_where_there_are_none() {
        match Gpus::open().read() {
            Ok(gpus) => {
                for gpu in &gpus {
                    assert!(gpu.vram_used_bytes <= gpu.vram_total_bytes && gpu.utilization_pct <= 100, "{gpu:?}");
                    assert!(!gpu.name.is_empty() && gpu.vram_total_bytes > 0, "{gpu:?}");
                }
                println!("{gpus:?}");
            }
            Err(why) => assert!(!why.is_empty()),
        }
    }
}
