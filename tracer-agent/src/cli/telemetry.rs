//! What the agent tells of what it counts: who asked for it, by flag or environment, and the service that tells them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    CliError,
    session::{FLUSH, Session, variable},
};
use crate::{
    capture::{HostInfo, clock},
    config::values::{MetricsTarget, metrics},
    export::otlp::{OtlpSettings, Signal},
    kernel::capability,
    metrics::{Board, Readers, Service},
    observe::Event,
};

/// The interval that the OpenTelemetry specification has.
const INTERVAL: Duration = Duration::from_secs(60);

impl Session {
    /// Starts to tell whoever was named by `--metrics`, or in the environment of a daemon; `None` where nobody was. It has to be called
    /// before anything is attached, so that an address that is taken is told at once, and readiness before it is reached.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a backend makes no sense.
    pub fn telemetry(&self, host: &HostInfo) -> Result<Option<Service>, CliError> {
        if self.options.metrics.is_empty() {
            return Ok(None);
        }
        let readers = self.readers()?;
        let board = Arc::new(Board::new(clock::boot_now, unix_now()));
        let log = Arc::clone(&self.log);
        let who = (host.clone(), self.options.resource.clone());
        let service = Service::start(
            &readers,
            board,
            &who,
            unix_now,
            &(Arc::new(move |text| log.say(&Event::Export(text))) as _),
            || capability::keep(capability::NONE),
        );
        let service = service.map_err(anyhow::Error::from)?;
        for address in service.addresses() {
            self.log.say(&Event::Serving { address: *address });
        }
        Ok(Some(service))
    }

    /// Tells a last time.
    pub fn end_telemetry(service: Option<Service>) {
        if let Some(service) = service {
            service.shutdown(FLUSH);
        }
    }

    /// Who is to be told.
    ///
    /// # Errors
    /// [`CliError::Misuse`] for a backend that makes no sense.
    pub(super) fn readers(&self) -> Result<Readers, CliError> {
        let mut readers = Readers::default();
        for target in &self.options.metrics {
            match target {
                MetricsTarget::Prometheus { address } => {
                    readers.listen.push(address.unwrap_or_else(|| self.address()));
                }
                MetricsTarget::Otlp { url } => {
                    let (settings, warnings) = OtlpSettings::of(Signal::Metrics, url.as_deref(), variable)
                        .map_err(|error| CliError::Misuse(error.into()))?;
                    self.remark(warnings);
                    readers.push.push((settings, self.interval()));
                }
            }
        }
        Ok(readers)
    }

    fn address(&self) -> SocketAddr {
        let (address, warnings) = metrics::of_environment(variable);
        self.remark(warnings);
        address
    }

    fn interval(&self) -> Duration {
        const NAME: &str = "OTEL_METRIC_EXPORT_INTERVAL";
        let Some(text) = variable(NAME).filter(|text| !text.trim().is_empty()) else {
            return INTERVAL;
        };
        if let Ok(millis @ 1..) = text.trim().parse() {
            return Duration::from_millis(millis);
        }
        self.remark(vec![format!(
            "{NAME}={text} is not a number of milliseconds: ignored"
        )]);
        INTERVAL
    }
}

fn unix_now() -> u64 {
    clock::boot_now()
        .0
        .saturating_add_signed(clock::unix_minus_boot_ns())
}
