//! What the programs in the kernel say of what they do, at the level `debug`. Else the verifier leaves out the code for it.

use std::sync::{Arc, Mutex, PoisonError};

use aya::Ebpf;
use aya_log::EbpfLogger;

/// The map of what was said, and the level up to which something is.
pub const MAP: &str = "AYA_LOGS";
/// Bytes of the map.
pub const BYTES: u32 = 128 << 10;
/// Nothing is said: below every level.
pub const SILENT: u8 = 0;
/// Everything up to [`log::Level::Debug`] is said.
pub const DEBUG: u8 = aya_log::Level::Debug as u8;
/// Lines that wait to be asked for; beyond it they are counted.
const MAX_LINES: usize = 1024;

/// Lines of the programs, in order.
pub struct Voice {
    logger: EbpfLogger<Sink>,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    more: usize,
}

/// Bytes of the map where nothing is said: a page is the least.
pub fn no_bytes() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(BYTES)
}

impl Voice {
    /// That of the programs in this object; none if it cannot be heard.
    pub fn of(loaded: &mut Ebpf) -> Option<Self> {
        let said = Arc::<Mutex<Said>>::default();
        let logger = EbpfLogger::init_with_logger(loaded, Sink(Arc::clone(&said))).ok()?;
        Some(Self { logger, said })
    }

    /// What was said since that was asked for.
    pub fn said(&mut self) -> Vec<String> {
        self.logger.flush();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Said { mut lines, more } = std::mem::take(&mut *said);
        if more > 0 {
            lines.push(format!("{more} lines more"));
        }
        lines
    }
}

struct Sink(Arc<Mutex<Said>>);

impl log::Log for Sink {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.lines.len() < MAX_LINES {
            said.lines.push(record.args().to_string());
        } else {
            said.more += 1;
        }
    }

    fn flush(&self) {}
}
