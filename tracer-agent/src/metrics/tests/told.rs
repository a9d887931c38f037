//! Texts and messages of what was counted.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;

use super::{call, request, set, strict};
use crate::{
    export::{
        DropCause, EndpointReport, ExporterReport, Report,
        tests::{host, process, text},
    },
    live::Tally,
    metrics::{
        Family, Measures, Settings,
        exposition::{self, Format},
        otlp::{self, Moment},
        own,
    },
    pipeline::{self, Pipeline},
};

/// What the core's loop publishes.
pub fn published() -> Vec<Family> {
    let mut measures = Measures::new(Settings::default());
    for id in 1..9 {
        measures.observe(&request(id, 0, 200, (0, u64::from(id) * 4)));
        measures.observe(&call(id, "bank.example", (0, 100)));
        measures.observe(&request(id + 10, id, 200, (0, 90)));
    }
    let mut families = measures.families();
    families.extend(own::of_stages(
        &Pipeline::new(pipeline::Settings::default()).counters(),
    ));
    families.extend(own::of_way(
        &Tally::default(),
        std::time::Duration::from_millis(3),
    ));
    families
}

/// Everything that an agent tells.
fn all() -> Vec<Family> {
    let mut families = published();
    let exporter = ExporterReport {
        exporter: "otlp:http://h:4318".into(),
        accepted: 9,
        resumed: 0,
        kept: 0,
        disk_errors: 0,
        delivered: 5,
        retries: 1,
        dropped: vec![(DropCause::QueueFull, 2)],
        endpoints: vec![EndpointReport {
            endpoint: "http://h:4318".into(),
            delivered: 5,
            failures: 3,
        }],
    };
    families.extend(own::of_exporters(&Report {
        exporters: vec![exporter],
    }));
    families.extend(own::of_process(
        crate::metrics::process::usage(),
        std::time::Duration::from_secs(5),
    ));
    families
}

fn value(samples: &[strict::Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let mut found = samples.iter().filter(|sample| {
        sample.name == name && labels.iter().all(|(key, value)| sample.label(key) == Some(value))
    });
    let one = found.next().unwrap_or_else(|| panic!("{name} is missing"));
    assert!(found.next().is_none(), "{name} {labels:?} is not one");
    one.value
}

#[test]
fn everything_is_well_formed_in_both_texts_and_says_the_same() {
    let families = all();
    let prometheus = strict::read(&exposition::text(&families, Format::Prometheus), false);
    let mut open = strict::read(&exposition::text(&families, Format::OpenMetrics), true);
    assert!(
        open.iter()
            .any(|sample| sample.exemplar.as_deref() == Some(&"01".repeat(16)))
    );
    open.iter_mut().for_each(|sample| sample.exemplar = None);
    assert_eq!(prometheus, open);
    let shop = [("service_name", "shop"), ("http_response_status_code", "200")];
    assert_eq!(
        value(&prometheus, "http_server_request_duration_seconds_count", &shop),
        16.0
    );
    let edge = [("client", "web"), ("server", "shop")];
    assert_eq!(
        value(&prometheus, "traces_service_graph_request_total", &edge),
        8.0
    );
    let dropped = [("cause", "queue_full")];
    assert_eq!(
        value(&prometheus, "tracer_agent_exporter_dropped_spans_total", &dropped),
        2.0
    );
    let endpoint = [("exporter", "otlp:http://h:4318"), ("endpoint", "http://h:4318")];
    for (name, count) in [("delivered_spans", 5.0), ("failures", 3.0)] {
        let name = format!("tracer_agent_exporter_endpoint_{name}_total");
        assert_eq!(value(&prometheus, &name, &endpoint), count);
    }
    assert_eq!(
        value(&prometheus, "tracer_agent_exporter_pending_spans", &[]),
        2.0
    );
    assert_eq!(
        value(
            &prometheus,
            "tracer_agent_kernel_lost_total",
            &[("cause", "ring_full")]
        ),
        0.0
    );
    assert_eq!(
        value(
            &prometheus,
            "tracer_agent_links_total",
            &[("evidence", "request-id")]
        ),
        0.0
    );
    assert!(value(&prometheus, "tracer_agent_process_cpu_seconds_total", &[]) > 0.0);
}

#[test]
fn every_counter_of_every_stage_is_told_once() {
    let counters = Pipeline::new(pipeline::Settings::default()).counters();
    let told: usize = own::of_stages(&counters)
        .iter()
        .map(|family| family.points.len())
        .sum();
    assert_eq!(told, counters.len());
}

#[test]
fn nothing_to_tell_is_an_empty_text() {
    assert_eq!(exposition::text(&[], Format::Prometheus), "");
    assert_eq!(exposition::text(&[], Format::OpenMetrics), "# EOF\n");
}

#[test]
fn open_metrics_is_for_those_who_ask_for_it() {
    let of_prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, format) in [
        (of_prometheus_2_42, Format::OpenMetrics),
        (
            "text/plain, Application/OpenMetrics-Text; version=1.0.0",
            Format::OpenMetrics,
        ),
        ("application/openmetrics-text;q=0, text/plain", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("", Format::Prometheus),
    ] {
        assert_eq!(Format::of_accept(accept), format, "{accept}");
    }
}

#[test]
fn a_service_is_a_resource_and_the_agent_another() {
    let families = all();
    let of_agent = [
        ("team".to_owned(), "edge".to_owned()),
        ("service.name".to_owned(), "x".to_owned()),
    ];
    let moment = Moment {
        unix_ns: 2_000_000_000_000_000_000,
        since_unix_ns: 5,
    };
    let request = otlp::request(&families, &host(), &of_agent, moment);
    let names: Vec<_> = request
        .resource_metrics
        .iter()
        .map(|group| {
            let attributes = &group.resource.as_ref().unwrap().attributes;
            let of = |key| attributes.iter().filter(|known| known.key == key).count();
            assert_eq!((of("team"), of("service.name"), of("host.name")), (1, 1, 1));
            format!(
                "{:?}",
                attributes[0].value.as_ref().unwrap().value.as_ref().unwrap()
            )
        })
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in ["shop", "web", "tracer-agent"] {
        assert!(names.iter().any(|known| known.contains(name)), "{names:?}");
    }
    let metrics = request
        .resource_metrics
        .iter()
        .flat_map(|group| &group.scope_metrics[0].metrics);
    for metric in metrics {
        match metric.data.as_ref().unwrap() {
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, 2);
                for point in &histogram.data_points {
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    assert!(
                        point.start_time_unix_nano > 5 && point.start_time_unix_nano < point.time_unix_nano
                    );
                }
            }
            Data::Sum(sum) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
                assert!(
                    sum.data_points
                        .iter()
                        .all(|point| point.start_time_unix_nano >= 5)
                );
            }
            Data::Gauge(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn no_label_breaks_the_text(name in any::<String>(), host in any::<String>(), error in any::<String>()) {
        let mut request = request(1, 0, 200, (0, 3));
        request.process = process(7, &name);
        set(&mut request, "error.type", text(&error));
        let mut measures = Measures::new(Settings::default());
        measures.observe(&request);
        measures.observe(&call(2, &host, (0, 1)));
        let families = measures.families();
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let text = exposition::text(&families, format);
            let samples = strict::read(&text, format == Format::OpenMetrics);
            let found = samples.iter().find(|sample| sample.name == "http_server_request_duration_seconds_count");
            let found = found.unwrap();
            if name.len() <= 255 && error.len() <= 255 {
                prop_assert_eq!(found.label("service_name"), Some(name.as_str()));
                prop_assert_eq!(found.label("error_type"), Some(error.as_str()));
            }
        }
    }
}
