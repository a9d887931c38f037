use super::*;

type Variables<'a> = &'a [(&'a str, &'a str)];

/// `OTEL_EXPORTER_OTLP_` is left out of the names.
fn parsed(
    flag: Option<&str>,
    variables: Variables<'_>,
) -> Result<(OtlpSettings, Vec<String>), SettingsError> {
    OtlpSettings::from_env(flag, |name| {
        let name = name.strip_prefix("OTEL_EXPORTER_OTLP_")?;
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn settings(flag: Option<&str>, variables: Variables<'_>) -> OtlpSettings {
    let (settings, warnings) = parsed(flag, variables).unwrap();
    assert_eq!(warnings, [""; 0], "{variables:?}");
    settings
}

#[test]
fn endpoints_are_resolved_as_the_specification_says() {
    const GRPC: (&str, &str) = ("PROTOCOL", "grpc");
    for (variables, endpoint) in [
        (&[][..], "http://localhost:4318/v1/traces"),
        (&[GRPC][..], "http://localhost:4317/"),
        (
            &[("ENDPOINT", "http://collector:4318")],
            "http://collector:4318/v1/traces",
        ),
        (
            &[("ENDPOINT", "http://collector:4318/")],
            "http://collector:4318/v1/traces",
        ),
        (
            &[("ENDPOINT", "https://backend/otlp/")],
            "https://backend/otlp/v1/traces",
        ),
        (
            &[("TRACES_ENDPOINT", "https://backend/in?a=b")],
            "https://backend/in?a=b",
        ),
        (&[("TRACES_ENDPOINT", "https://backend")], "https://backend/"),
        (
            &[("TRACES_ENDPOINT", "http://one/x"), ("ENDPOINT", "http://two")],
            "http://one/x",
        ),
        (
            &[("TRACES_ENDPOINT", " "), ("ENDPOINT", "http://two")],
            "http://two/v1/traces",
        ),
        (
            &[("ENDPOINT", "http://[::1]:4318")],
            "http://[::1]:4318/v1/traces",
        ),
        (
            &[GRPC, ("ENDPOINT", "https://collector:4317/ignored")],
            "https://collector:4317/",
        ),
        (&[GRPC, ("ENDPOINT", "collector:4317")], "https://collector:4317/"),
        (
            &[GRPC, ("ENDPOINT", "collector:4317"), ("INSECURE", "TRUE")],
            "http://collector:4317/",
        ),
        (
            &[GRPC, ("ENDPOINT", "https://collector:4317"), ("INSECURE", "true")],
            "https://collector:4317/",
        ),
    ] {
        assert_eq!(settings(None, variables).endpoint, endpoint, "{variables:?}");
    }
}

#[test]
fn the_flag_wins_and_its_path_is_used_as_it_is() {
    let variables = [("TRACES_ENDPOINT", "http://other/x")];
    for (flag, endpoint) in [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        (
            "https://backend/api/traces?key=1",
            "https://backend/api/traces?key=1",
        ),
    ] {
        assert_eq!(settings(Some(flag), &variables).endpoint, endpoint);
    }
}

#[test]
fn a_written_port_4317_is_grpc_unless_the_protocol_is_given() {
    assert_eq!(
        settings(Some("http://localhost:4317"), &[]).protocol,
        Protocol::Grpc
    );
    assert_eq!(
        settings(None, &[("ENDPOINT", "http://localhost:4317")]).protocol,
        Protocol::Grpc
    );
    let http = settings(Some("http://localhost:4317"), &[("PROTOCOL", "http/protobuf")]);
    assert_eq!(http.protocol, Protocol::HttpProtobuf);
    assert_eq!(
        settings(Some("http://localhost:4318"), &[]).protocol,
        Protocol::HttpProtobuf
    );
    let traces = [("PROTOCOL", "grpc"), ("TRACES_PROTOCOL", "http/json")];
    assert_eq!(settings(None, &traces).protocol, Protocol::HttpJson);
}

#[test]
fn several_endpoints_are_one_destination_of_one_protocol() {
    let of = |urls: &[&str], variables: Variables<'_>| {
        let env = |name: &str| {
            let known = |known: &str| format!("OTEL_EXPORTER_OTLP_{known}") == name;
            let pair = variables.iter().find(|(variable, _)| known(variable));
            pair.map(|(_, value)| (*value).to_owned())
        };
        OtlpSettings::from_env(urls.iter().copied(), env)
    };
    let urls = ["http://one:4318", "https://two/in?key=1", "http://one:4318/"];
    let (settings, _) = of(&urls, &[("ENDPOINT", "http://ignored")]).unwrap();
    let each: Vec<String> = settings.each().map(|one| one.endpoint.to_string()).collect();
    assert_eq!(each, ["http://one:4318/v1/traces", "https://two/in?key=1"]);
    assert!(settings.each().all(|one| one.others.is_empty()));
    assert_eq!(settings.names(), ["http://one:4318", "https://two"]);

    let (grpc, _) = of(&["http://one:4317", "http://two:4317"], &[]).unwrap();
    assert_eq!(grpc.protocol, Protocol::Grpc);
    let mixed = ["http://one:4317", "https://two"];
    assert_eq!(
        of(&mixed, &[]).unwrap_err().to_string(),
        "--export otlp: endpoints of one destination speak one protocol, but only some have the port of gRPC, 4317: \
         set OTEL_EXPORTER_OTLP_PROTOCOL"
    );
    assert_eq!(of(&mixed, &[("PROTOCOL", "grpc")]).unwrap().0.others.len(), 1);
    assert!(of(&["http://one", "ftp://two"], &[]).is_err());
}

#[test]
fn endpoints_that_differ_in_what_may_be_secret_have_names_of_their_own() {
    let urls = ["http://one/KEY", "http://one/OTHER"];
    let (settings, _) = OtlpSettings::from_env(urls, |_| None).unwrap();
    assert_eq!(settings.names(), ["http://one", "http://one (2)"]);
}

#[test]
fn the_queue_stays_that_of_the_first_endpoint_when_others_come_and_go() {
    let name = |urls: &[&str]| {
        let (settings, _) = OtlpSettings::from_env(urls.iter().copied(), |_| None).unwrap();
        settings.queue_name()
    };
    assert_eq!(name(&["http://one"]), name(&["http://one", "http://two"]));
    assert_ne!(name(&["http://one"]), name(&["http://two", "http://one"]));
}

#[test]
fn headers_are_decoded_and_kept_out_of_every_text() {
    let variables = [(
        "HEADERS",
        "Authorization=Basic%20YTpi, x-tenant = a%2Cb ,x-tenant=c,,x-empty=",
    )];
    let settings = settings(None, &variables);
    let headers: Vec<_> = settings
        .headers
        .iter()
        .map(|(key, value)| (key.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        headers,
        [
            ("authorization", "Basic YTpi"),
            ("x-tenant", "c"),
            ("x-empty", "")
        ]
    );
    assert!(!format!("{settings:?}").contains("YTpi"));

    let (settings, warnings) = parsed(None, &[("HEADERS", "secret,a b=secret,c=%0asecret,d=e")]).unwrap();
    assert_eq!(settings.headers.len(), 1);
    assert_eq!(warnings.len(), 3);
    assert!(
        warnings.iter().all(|warning| !warning.contains("secret")),
        "{warnings:?}"
    );
}

#[test]
fn timeout_compression_and_files_are_taken_with_the_traces_variable_first() {
    let settings = settings(
        None,
        &[
            ("TIMEOUT", "1500"),
            ("TRACES_TIMEOUT", "250"),
            ("COMPRESSION", "gzip"),
            ("CERTIFICATE", "/ca.pem"),
            ("CLIENT_CERTIFICATE", "/me.pem"),
            ("TRACES_CLIENT_KEY", "/me.key"),
        ],
    );
    assert_eq!(settings.timeout, Duration::from_millis(250));
    assert_eq!(settings.compression, Compression::Gzip);
    assert_eq!(settings.certificate, Some("/ca.pem".into()));
    let identity = ClientIdentity {
        certificate: "/me.pem".into(),
        key: "/me.key".into(),
    };
    assert_eq!(settings.client_identity, Some(identity));
}

#[test]
fn numbers_and_words_that_cannot_be_read_are_ignored_with_a_warning() {
    let variables = [
        ("PROTOCOL", "http/xml"),
        ("TIMEOUT", "soon"),
        ("COMPRESSION", "brotli"),
        ("INSECURE", "yes"),
    ];
    let (settings, warnings) = parsed(None, &variables).unwrap();
    assert_eq!(settings, self::settings(None, &[]));
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(
        warnings[0],
        "OTEL_EXPORTER_OTLP_PROTOCOL=http/xml is none of grpc, http/protobuf, http/json: ignored"
    );
}

#[test]
fn an_endpoint_that_cannot_be_used_is_an_error_that_says_what_to_do() {
    for (variables, words) in [
        (
            &[("ENDPOINT", "collector:4318")][..],
            "OTEL_EXPORTER_OTLP_ENDPOINT: \"collector:4318\" is not a URL: write it like http://localhost:4318",
        ),
        (
            &[("TRACES_ENDPOINT", "ftp://collector")],
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: scheme \"ftp\" is not supported: use http:// or https://",
        ),
        (
            &[("ENDPOINT", "https://me:secret@backend")],
            "OTEL_EXPORTER_OTLP_ENDPOINT: credentials in a URL are not sent: \
             put them into OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            &[("CLIENT_KEY", "/me.key")],
            "a client certificate needs its key: set both OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE \
             and OTEL_EXPORTER_OTLP_CLIENT_KEY",
        ),
    ] {
        assert_eq!(parsed(None, variables).unwrap_err().to_string(), words);
    }
    for flag in ["", "http://", "/v1/traces", "http://a b", "localhost"] {
        assert!(parsed(Some(flag), &[]).is_err(), "{flag:?}");
    }
}

#[test]
fn a_queue_is_named_by_its_endpoint_without_what_may_be_secret() {
    let name = |url| settings(Some(url), &[]).queue_name();
    assert_eq!(
        name("https://in.example.com:4318/v1/KEY"),
        name("https://in.example.com:4318/v1/KEY")
    );
    assert_ne!(
        name("https://in.example.com:4318/v1/KEY"),
        name("https://in.example.com:4318/v1/OTHER")
    );
    let plain = name("https://in.example.com:4318/v1/KEY");
    assert!(
        plain.starts_with("otlp-in.example.com-4318-") && !plain.contains("KEY"),
        "{plain}"
    );
    assert!(!name("http://[::1]:4318").contains(['[', ':', '/']));
}
