//! Metrics as the messages of OTLP: cumulative, one resource a service, and one for the agent.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, Exemplar as OtlpExemplar, Gauge, Histogram as OtlpHistogram,
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, metric,
        number_data_point,
    },
    resource::v1::Resource,
};

use super::{
    Exemplar, Family, Histogram, Kind, Point, Value,
    family::{Labels, text},
};
use crate::{
    capture::input::{AttributeValue, HostInfo, ProcessInfo},
    export::otlp::mapping::{self, any_value, attribute},
};

/// The service that the agent is.
const AGENT: &str = "tracer-agent";
/// Names the service of a resource.
const SERVICE_NAME: &str = "service.name";
/// OTLP's `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// When a request is made, for who.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub unix_ns: u64,
    /// Since when counters count that do not say themselves.
    pub since_unix_ns: u64,
}

/// The request that carries these metrics; without series there is none.
pub fn request<'a>(
    families: impl IntoIterator<Item = &'a Family>,
    host: &HostInfo,
    of_agent: &[(String, String)],
    moment: Moment,
) -> ExportMetricsServiceRequest {
    let mut resources: Vec<(Labels, BTreeMap<&str, Metric>)> = Vec::new();
    for family in families {
        let mut by_service: Vec<(Labels, Vec<&Point>)> = Vec::new();
        for point in &family.points {
            match by_service
                .iter_mut()
                .find(|(service, _)| *service == point.service)
            {
                Some((_, points)) => points.push(point),
                None => by_service.push((point.service.clone(), vec![point])),
            }
        }
        for (service, points) in by_service {
            let metric = metric(family, &points, moment);
            match resources.iter_mut().find(|(known, _)| *known == service) {
                Some((_, metrics)) => drop(metrics.insert(family.name, metric)),
                None => resources.push((service, BTreeMap::from([(family.name, metric)]))),
            }
        }
    }
    ExportMetricsServiceRequest {
        resource_metrics: resources
            .into_iter()
            .map(|(service, metrics)| ResourceMetrics {
                resource: Some(resource(&service, host, of_agent)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(mapping::scope()),
                    metrics: metrics.into_values().collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            })
            .collect(),
    }
}

/// The service, or the agent where there is none, on its host.
fn resource(service: &Labels, host: &HostInfo, of_agent: &[(String, String)]) -> Resource {
    let value = |key: &str| {
        service
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    };
    let name = match value(SERVICE_NAME) {
        Some(AttributeValue::Text(name)) => name.to_string(),
        _ => AGENT.to_owned(),
    };
    let of_service = service
        .iter()
        .filter(|(key, _)| *key != SERVICE_NAME)
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let of_agent = of_agent
        .iter()
        .filter(|(key, _)| !key.starts_with("service.") && value(key).is_none())
        .map(|(key, value)| (key.clone(), text(value.clone())));
    let process = ProcessInfo {
        service_name: name,
        resource: of_service.chain(of_agent).collect(),
        ..ProcessInfo::default()
    };
    mapping::resource(&process, host)
}

fn metric(family: &Family, points: &[&Point], moment: Moment) -> Metric {
    let numbers = || points.iter().filter_map(|point| number(point, moment)).collect();
    Metric {
        name: family.name.into(),
        description: family.help.into(),
        unit: family.unit.ucum().into(),
        data: Some(match family.kind {
            Kind::Counter => metric::Data::Sum(Sum {
                data_points: numbers(),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            Kind::Gauge => metric::Data::Gauge(Gauge {
                data_points: numbers(),
            }),
            Kind::Histogram => metric::Data::Histogram(OtlpHistogram {
                data_points: points
                    .iter()
                    .filter_map(|point| match &point.value {
                        Value::Histogram(histogram) => Some(histogram_point(point, histogram, moment)),
                        Value::Whole(_) | Value::Real(_) => None,
                    })
                    .collect(),
                aggregation_temporality: CUMULATIVE,
            }),
        }),
        ..Default::default()
    }
}

fn since(point: &Point, moment: Moment) -> u64 {
    match point.since_unix_ns {
        0 => moment.since_unix_ns,
        since => since.min(moment.unix_ns),
    }
}

fn number(point: &Point, moment: Moment) -> Option<NumberDataPoint> {
    Some(NumberDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: since(point, moment),
        time_unix_nano: moment.unix_ns,
        value: Some(match &point.value {
            Value::Whole(value) => number_data_point::Value::AsInt(i64::try_from(*value).unwrap_or(i64::MAX)),
            Value::Real(value) => number_data_point::Value::AsDouble(*value),
            Value::Histogram(_) => return None,
        }),
        ..Default::default()
    })
}

fn histogram_point(point: &Point, histogram: &Histogram, moment: Moment) -> HistogramDataPoint {
    let exemplars = (0..histogram.counts().len()).filter_map(|bucket| histogram.exemplar(bucket));
    HistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: since(point, moment),
        time_unix_nano: moment.unix_ns,
        count: histogram.count(),
        sum: Some(histogram.sum_seconds()),
        bucket_counts: histogram.counts().to_vec(),
        explicit_bounds: histogram.bounds().to_vec(),
        exemplars: exemplars.map(otlp_exemplar).collect(),
        ..Default::default()
    }
}

fn otlp_exemplar(exemplar: &Exemplar) -> OtlpExemplar {
    OtlpExemplar {
        time_unix_nano: exemplar.unix_ns,
        trace_id: exemplar.trace.bytes().to_vec(),
        span_id: exemplar.span.bytes().to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.seconds)),
        ..Default::default()
    }
}

fn attributes(labels: &Labels) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    labels
        .iter()
        .map(|(key, value)| attribute(key, any_value(value.clone())))
        .collect()
}
